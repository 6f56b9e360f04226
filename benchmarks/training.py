"""A step as Pic2Word takes it against ours, on the same pairs, in one run.

Theirs: the image tower runs in every step, and the prompt is padded to the full context of 77 tokens. Ours:
features are stored beforehand, and the text tower runs on as many tokens as there are. Loss and gradient must
be the same.

python benchmarks/training.py --out benchmarks/results/training.json
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from zscir.backbone import Backbone, load_backbone
from zscir.inversion import InversionNetwork, original_loss
from zscir.inversion.network import NETWORKS, PROMPT, contrastive
from zscir.inversion.processes import Processes, SharedTower
from zscir.storage.provenance import machine, versions

#: The day of the record, not of the clock: records of one state of the project carry one date.
DATE = "2026-11-25"


def full_context(backbone: Backbone, pseudo_words: Tensor) -> Tensor:
    """Features of *a photo of \\** with its pseudo-words, by open_clip's own tower over all 77 tokens."""
    model, count = backbone.model, len(pseudo_words)
    ids = backbone.tokenizer([PROMPT]).expand(count, -1)
    words = model.token_embedding(ids)
    words = torch.where((ids == backbone.placeholder_id)[..., None], pseudo_words[:, None], words)
    x = model.transformer(words + model.positional_embedding, attn_mask=model.attn_mask)
    x = model.ln_final(x)[torch.arange(count), ids.argmax(dim=-1)] @ model.text_projection
    return F.normalize(x, dim=-1)


def loss_and_gradient(phi: InversionNetwork, loss_of: Callable[[], Tensor]) -> tuple[float, Tensor]:
    """A step's loss and its gradient, in one vector."""
    phi.zero_grad(set_to_none=True)
    loss = loss_of()
    loss.backward()
    return float(loss.detach()), torch.cat([p.grad.flatten() for p in phi.parameters()])


def both_ways(backbone: Backbone, phi: InversionNetwork, pixels: Tensor) -> dict[str, Callable]:
    """The two steps on the same images."""
    stored, prompt = backbone.encode_images(pixels), backbone.tokenize([PROMPT])
    tower = SharedTower(backbone, Processes())

    def theirs() -> tuple[float, Tensor]:
        images = backbone.encode_images(pixels)
        return loss_and_gradient(
            phi, lambda: contrastive(full_context(backbone, phi(images)), images, backbone.logit_scale)
        )

    def ours() -> tuple[float, Tensor]:
        return loss_and_gradient(phi, lambda: original_loss(tower, phi, stored, prompt))

    return {"theirs": theirs, "ours": ours}


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


def write(record: dict, out: Path | None) -> None:
    """Print a record and store it."""
    text = json.dumps(record, indent=1)
    print(text)
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(text + "\n", encoding="utf-8")


def parse_arguments() -> argparse.Namespace:
    """Options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
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
    pixels = torch.randn(args.batch, 3, backbone.image_size, backbone.image_size)
    settings = {**NETWORKS["three-layer"], "dropout": 0.0}  # the same function twice
    phi = InversionNetwork(backbone.dim, backbone.token_width, **settings).to(backbone.device)
    works = both_ways(backbone, phi, pixels.to(backbone.device))
    (their_loss, their_gradient), (our_loss, our_gradient) = works["theirs"](), works["ours"]()
    taken = alternating(works, args.repeats)
    ratios = [a / b for a, b in zip(taken["theirs"], taken["ours"], strict=True)]
    record = {
        "date": DATE,
        "machine": machine(),
        "versions": versions(("torch", "open_clip_torch")),
        "settings": {key: value for key, value in vars(args).items() if key != "out"},
        "loss": {"theirs": their_loss, "ours": our_loss},
        "largest difference of gradients / largest gradient": float(
            (their_gradient - our_gradient).abs().max() / their_gradient.abs().max()
        ),
        "seconds": {name: [round(one, 4) for one in values] for name, values in taken.items()},
        "pairs per second": {
            name: round(args.batch / statistics.median(values), 2) for name, values in taken.items()
        },
        "theirs / ours": {
            "median of turns": round(statistics.median(ratios), 2),
            "fastest of each": round(min(taken["theirs"]) / min(taken["ours"]), 2),
        },
    }
    write(record, args.out)


if __name__ == "__main__":
    main()
