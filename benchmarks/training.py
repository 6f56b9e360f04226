"""A training step the naive way against ours, on the same pairs, in one run.

Theirs: the image tower runs in every step, on whole and masked images, and texts are padded to the full
context (CLIP's is 77 tokens). Ours: features are stored beforehand, and the text tower skips what changes
nothing. Between them, "whole texts": features are stored too, texts are cut to the longest of the batch and
run from start to end. Loss and gradient must be the same. How images are masked is not measured here.

python benchmarks/training.py --out benchmarks/results/training.json
python benchmarks/training.py --step paper --backbone pocket --pretrained "" --batch 128 \\
    --out benchmarks/results/training_paper_pocket.json
python benchmarks/training.py --step paper --backbone ViT-L-14 --batch 16 --repeats 3 \\
    --out benchmarks/results/training_paper_ViT-L-14.json
"""

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from records import today, write
from torch import Tensor, nn
from torch.nn import functional as F

from zscir.backbone import Backbone, load_backbone
from zscir.backbone.text_tower import run_blocks
from zscir.inversion import InversionNetwork, original_loss, query_target_loss
from zscir.inversion.network import NETWORKS, PROMPT
from zscir.nouns import choose_noun, find_nouns, mask_noun
from zscir.pocket.layouts import pair
from zscir.storage.provenance import machine, versions


@dataclass
class WholeTexts:
    """A backbone, to the losses, whose text tower runs all of every text; ``length`` pads the texts."""

    backbone: Backbone
    blocks: Callable[[nn.Module, Tensor], Tensor]
    length: int = 0

    @property
    def logit_scale(self) -> float:
        """That of the backbone."""
        return self.backbone.logit_scale

    def compose_tokens(self, ids: Tensor, pseudo_words: Tensor) -> Tensor:
        """Features [B, D], as ``Backbone.compose_tokens``."""
        tower = self.backbone.text_tower
        ids = F.pad(ids, (0, max(0, self.length - ids.shape[1]))).to(pseudo_words.device)
        star = (ids == self.backbone.placeholder_id)[..., None]
        words = torch.where(star, pseudo_words[:, None], tower.token_embedding(ids))
        x = self.blocks(tower, words + tower.positional_embedding[: ids.shape[1]])
        ends = x[torch.arange(len(ids)), ids.argmax(dim=1)]
        return F.normalize(tower.ln_final(ends) @ tower.text_projection, dim=-1)


def open_clip_blocks(tower: nn.Module, x: Tensor) -> Tensor:
    """Tokens [B, n, W] after all blocks, as open_clip runs them."""
    return tower.transformer(x, attn_mask=tower.attn_mask[: x.shape[1], : x.shape[1]])


def masked_captions(count: int) -> list[str]:
    """Captions of the pocket world with a noun masked."""
    captions, rng = [pair(row, 0)[1] for row in range(2 * count)], np.random.default_rng(0)
    found = zip(captions, find_nouns(captions), strict=True)
    masked = [mask_noun(caption, choose_noun(nouns, rng=rng)) for caption, nouns in found if nouns]
    return masked[:count]


def ways(backbone: Backbone, phi: InversionNetwork, batch: int, lam: float) -> dict[str, Callable]:
    """The step in each way, on the same random images and the same captions; each gives loss and gradient."""
    images = batch if lam == 0 else 2 * batch  # whole ones, then masked ones
    pixels = torch.randn(images, 3, backbone.image_size, backbone.image_size).to(backbone.device)
    prompt, captions = backbone.tokenize([PROMPT]), backbone.tokenize(masked_captions(batch))
    stored = backbone.encode_images(pixels)

    def step(tower: Backbone | WholeTexts, features: Tensor) -> tuple[float, Tensor]:
        phi.zero_grad(set_to_none=True)
        loss = (1 - lam) * original_loss(tower, phi, features[:batch], prompt)
        if lam > 0:
            loss = loss + lam * query_target_loss(tower, phi, features[batch:], captions, features[:batch])
        loss.backward()
        return float(loss.detach()), torch.cat([p.grad.flatten() for p in phi.parameters()])

    naive = WholeTexts(backbone, open_clip_blocks, backbone.context_length)
    whole = WholeTexts(backbone, run_blocks)
    return {
        "theirs": lambda: step(naive, backbone.encode_images(pixels)),
        "whole texts": lambda: step(whole, stored),
        "ours": lambda: step(backbone, stored),
    }


def differences(works: dict[str, Callable]) -> tuple[dict[str, float], float]:
    """The loss of each way, and how far their gradients are apart, relative to the largest component.

    Raises:
        AssertionError: they are not the same up to rounding.
    """
    losses, gradients = zip(*(work() for work in works.values()), strict=True)
    apart = max(float((one - gradients[0]).abs().max() / gradients[0].abs().max()) for one in gradients[1:])
    for loss in losses[1:]:
        torch.testing.assert_close(loss, losses[0], rtol=1e-5, atol=0)
    assert apart < 1e-3, f"gradients differ by {apart}"
    return dict(zip(works, losses, strict=True)), apart


def alternating(works: dict[str, Callable], repeats: int) -> dict[str, list[float]]:
    """Seconds of each work, in turns, so that a busy machine slows all alike; the first is left out."""
    taken: dict[str, list[float]] = {name: [] for name in works}
    for turn in range(repeats + 1):
        for name, work in works.items():
            start = time.perf_counter()
            work()
            if turn:
                taken[name].append(time.perf_counter() - start)
    return taken


def parse_arguments() -> argparse.Namespace:
    """Options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--step", choices=("pic2word", "paper"), default="pic2word")
    parser.add_argument("--backbone", default="ViT-B-32")
    parser.add_argument("--pretrained", default="random")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--out", type=Path)
    return parser.parse_args()


def main() -> None:
    """Measure, print and store."""
    args = parse_arguments()
    backbone = load_backbone(args.backbone, args.pretrained or None)
    torch.manual_seed(0)
    settings = {**NETWORKS["three-layer"], "dropout": 0.0}  # the same function each time
    phi = InversionNetwork(backbone.dim, backbone.token_width, **settings).to(backbone.device)
    works = ways(backbone, phi, args.batch, 0.5 if args.step == "paper" else 0.0)
    losses, apart = differences(works)
    taken = alternating(works, args.repeats)
    record = {
        "what": f"a training step of {args.backbone}, {args.step}: naive, with stored features, and ours",
        "date": today(),
        "machine": machine(),
        "versions": versions(("torch", "open_clip_torch")),
        "settings": {key: value for key, value in vars(args).items() if key != "out"},
        "loss": losses,
        "largest difference of gradients / largest gradient": apart,
        "seconds": {name: [round(value, 4) for value in values] for name, values in taken.items()},
        "pairs per second": {
            name: round(args.batch / statistics.median(values), 2) for name, values in taken.items()
        },
    }
    for name in ("theirs", "whole texts"):
        ratios = [a / b for a, b in zip(taken[name], taken["ours"], strict=True)]
        record[f"{name} / ours"] = {
            "median of turns": round(statistics.median(ratios), 2),
            "fastest of each": round(min(taken[name]) / min(taken["ours"]), 2),
        }
    write(record, args.out)


if __name__ == "__main__":
    main()
