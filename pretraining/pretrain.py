"""Train the pocket backbone: a small open_clip model, from pocket pictures and captions alone.

    python -m pretraining.pretrain --out zscir/pocket/weights

Scenes come from a pool of drawn pictures; captions are drawn anew every time a picture is
seen, one that tells everything and one that leaves things out, and beside them short texts
that name one thing or place. The losses are in `losses`; `locality` keeps what a patch shows
in that patch, without which so small a tower localises no better than chance. In most steps
patches are dropped at random (as FLIP does) or blanked, so that the tower is used to pictures
of which a part is missing. Training stops and resumes at its checkpoints.
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import json
import math
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import open_clip
import torch
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel

from zscir.backbone.weights import save_backbone
from zscir.pocket import captions
from zscir.storage import fingerprint
from zscir.storage.paths import artifacts_root
from zscir.storage.whole import written_whole

from .locality import image_tokens, start_local
from .losses import clip_loss, named_in, patch_losses, short_texts
from .pool import draw_pool, world_sample

#: First entry of the random seed that captions are drawn from.
CAPTION_STREAM = 103


@dataclass(frozen=True)
class PretrainConfig:
    """How the pocket backbone is trained. `images` counts pictures seen, `pool` distinct pictures;
    `relative` percent of the captions may be worded like relative captions."""

    images: int = 250_000
    batch: int = 128
    pool: int = 80_000
    lr: float = 1e-3
    muon_lr: float = 2e-3
    weight_decay: float = 0.1
    warmup: int = 100
    patch_dropout: float = 0.3
    blank_share: float = 0.2
    whole_share: float = 0.3
    inside_weight: float = 0.5
    found_weight: float = 0.7
    local_weight: float = 1.0
    patch_scale: float = 20.0
    thing_patches: int = 5
    place_share: float = 0.25
    seed: int = 0
    image_size: int = 100
    patch: int = 10
    layers: int = 4
    width: int = 192
    text_layers: int = 4
    context: int = 40
    cam_layers: str = "visual.ln_post"
    cam_method: str = "hirescam"
    relative: int = 100

    @property
    def steps(self) -> int:
        """Optimiser steps."""
        return self.images // self.batch

    def model_cfg(self) -> dict:
        """open_clip's model description."""
        vision = {"layers": self.layers, "width": self.width, "head_width": 48, "patch_size": self.patch}
        vision |= {"image_size": self.image_size, "pool_type": "avg"}
        text = {"context_length": self.context, "vocab_size": 49408, "width": self.width}
        text |= {"heads": self.width // 48, "layers": self.text_layers}
        return {"embed_dim": self.width, "vision_cfg": vision, "text_cfg": text}


class Run:
    """One training run: model, optimisers, position. `step` does one optimiser step."""

    def __init__(self, config: PretrainConfig, device: str = "cpu") -> None:
        torch.manual_seed(config.seed)
        self.config, self.device, self.done, self.log = config, device, 0, []
        self.model = open_clip.CLIP(**config.model_cfg())
        start_local(self.model.visual)
        self.model.to(device)
        self.tokenizer = open_clip.SimpleTokenizer(context_length=config.context)
        self.pixels, self.scenes = draw_pool(config.pool, config.seed, config.image_size)
        hidden = [p for n, p in self.model.named_parameters() if p.ndim == 2 and ".resblocks." in n]
        chosen = {id(p) for p in hidden}
        plain = [p for p in self.model.parameters() if id(p) not in chosen]
        self.optimisers = [
            torch.optim.AdamW(plain, lr=config.lr, betas=(0.9, 0.98), weight_decay=0.02),
            torch.optim.Muon(
                hidden, lr=config.muon_lr, weight_decay=config.weight_decay, adjust_lr_fn="match_rms_adamw"
            ),
        ]
        self.mean = torch.tensor(open_clip.OPENAI_DATASET_MEAN, device=device).view(3, 1, 1) * 255
        self.std = torch.tensor(open_clip.OPENAI_DATASET_STD, device=device).view(3, 1, 1) * 255

    def rows(self, step: int) -> np.ndarray:
        """Rows of the pool seen at `step`: every epoch a new order."""
        per_epoch = self.config.pool // self.config.batch
        epoch, at = divmod(step, per_epoch)
        order = np.random.default_rng([self.config.seed, epoch]).permutation(self.config.pool)
        return np.sort(order[at * self.config.batch : (at + 1) * self.config.batch])

    def prepared(self, pixels: np.ndarray) -> torch.Tensor:
        """uint8 [B, S, S, 3] -> normalised float32 [B, 3, S, S]."""
        batch = torch.from_numpy(np.ascontiguousarray(pixels)).to(self.device).permute(0, 3, 1, 2).float()
        return (batch - self.mean) / self.std

    def text_features(self, *sets: list[str]) -> list[torch.Tensor]:
        """L2-normalised features [B, dim] of each set, run on as many tokens as its longest text has."""
        model = self.model
        ids = [tokens[:, : int((tokens != 0).sum(dim=1).max())] for tokens in map(self.tokenizer, sets)]
        flat = torch.cat([tokens.flatten() for tokens in ids]).to(self.device)
        used, place = flat.unique(return_inverse=True)
        words = functional.embedding(place, model.token_embedding(used))  # its gradient sums in one order
        words = words.split([tokens.numel() for tokens in ids])
        features = []
        for tokens, x in zip(ids, words, strict=True):
            length = tokens.shape[1]
            x = x.view(*tokens.shape, -1) + model.positional_embedding[:length]
            x = model.transformer(x, attn_mask=model.attn_mask[:length, :length])
            x = model.ln_final(x[torch.arange(len(tokens)), tokens.argmax(dim=1)]) @ model.text_projection
            features.append(functional.normalize(x.float(), dim=1))
        return features

    def thinned(self, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        """The pictures of this step, perhaps with blanked patches, and the patches to run on (None: all)."""
        config = self.config
        if self.done >= (1 - config.whole_share) * config.steps:
            return pixels, None
        side = config.image_size // config.patch
        chance = torch.rand(len(pixels), side * side)
        if torch.rand(()) < config.blank_share:
            seen = chance > 0.8 * torch.rand(len(pixels), 1)
            seen = (
                seen.view(-1, 1, side, side)
                .repeat_interleave(config.patch, 2)
                .repeat_interleave(config.patch, 3)
            )
            return pixels * seen.to(pixels.device), None
        count = round(side * side * (1 - config.patch_dropout))
        return pixels, chance.argsort(dim=1)[:, :count].to(pixels.device)

    def losses(self) -> dict[str, torch.Tensor]:
        """The losses of this step, by name."""
        config, rows = self.config, self.rows(self.done)
        rng = np.random.default_rng([CAPTION_STREAM, config.seed, self.done])
        shown = [self.scenes[row] for row in rows]
        said = [
            [captions.caption(scene, rng, full, config.relative) for scene in shown] for full in (True, False)
        ]
        with torch.autocast(self.device, torch.bfloat16), sdpa_kernel(SDPBackend.MATH):
            pixels, kept = self.thinned(self.prepared(self.pixels[rows]))
            pooled, patches, far = image_tokens(self.model.visual, pixels, kept)
            full, partial, short = self.text_features(*said, short_texts(rng, plain=config.relative == 0))
        images = self.model.logit_scale.exp() * functional.normalize(pooled.float(), dim=1)
        cosines = functional.normalize(patches.float(), dim=2) @ short.T
        named = named_in(shown).to(self.device)
        inside, found = patch_losses(
            cosines, named, config.patch_scale, config.thing_patches, config.place_share
        )
        losses = {"full": clip_loss(images @ full.T), "partial": clip_loss(images @ partial.T)}
        return losses | {"inside": inside, "found": found, "far": far}

    def step(self) -> dict:
        """One optimiser step; returns what is logged."""
        config = self.config
        torch.manual_seed(config.seed * 1_000_003 + self.done)  # which patches are dropped
        rate = min(1.0, (self.done + 1) / config.warmup)
        rate *= 0.5 * (1 + math.cos(math.pi * self.done / config.steps)) * 0.98 + 0.02
        for optimiser, peak in zip(self.optimisers, (config.lr, config.muon_lr), strict=True):
            optimiser.param_groups[0]["lr"] = peak * rate
        losses = self.losses()
        total = (losses["full"] + losses["partial"]) / 2 + config.inside_weight * losses["inside"]
        total = total + config.found_weight * losses["found"] + config.local_weight * losses["far"]
        total.backward()
        for optimiser in self.optimisers:
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)
        with torch.no_grad():
            self.model.logit_scale.clamp_(0, math.log(100))
        self.done += 1
        if not math.isfinite(float(total.detach())):
            raise FloatingPointError(
                f"the loss is not finite at step {self.done}; the last checkpoint is whole"
            )
        return {
            "step": self.done,
            **{k: float(v.detach()) for k, v in losses.items()},
            "lr": rate * config.lr,
        }

    def save(self, path: Path) -> None:
        """Write a checkpoint, atomically."""
        state = {"config": dataclasses.asdict(self.config), "done": self.done, "log": self.log}
        state |= {"model": self.model.state_dict(), "optimisers": [o.state_dict() for o in self.optimisers]}
        with written_whole(path) as scratch:
            torch.save(state, scratch)

    def resume(self, path: Path) -> None:
        """Go on from a checkpoint of the same configuration."""
        state = torch.load(path, map_location=self.device, weights_only=True)
        if state["config"] != dataclasses.asdict(self.config):
            raise ValueError(f"{path} is a checkpoint of another configuration: {state['config']}")
        self.done, self.log = state["done"], state["log"]
        self.model.load_state_dict(state["model"])
        for optimiser, saved in zip(self.optimisers, state["optimisers"], strict=True):
            optimiser.load_state_dict(saved)


def preprocess_cfg(config: PretrainConfig) -> dict:
    """open_clip's description of how a picture is prepared."""
    mean, std = list(open_clip.OPENAI_DATASET_MEAN), list(open_clip.OPENAI_DATASET_STD)
    return {
        "size": config.image_size,
        "mean": mean,
        "std": std,
        "interpolation": "bicubic",
        "resize_mode": "shortest",
    }


def train(config: PretrainConfig, checkpoint: Path, every: int = 200) -> Run:
    """Train (or go on training) and keep a checkpoint every `every` steps."""
    run = Run(config, "cuda" if torch.cuda.is_available() else "cpu")
    if checkpoint.is_file():
        run.resume(checkpoint)
        print(f"resuming at step {run.done} of {config.steps}")
    since, started = run.done, time.monotonic()
    while run.done < config.steps:
        entry = run.step()
        if run.done % 20 == 0 or run.done == config.steps:
            entry["images_per_second"] = (run.done - since) * config.batch / (time.monotonic() - started)
            run.log.append(entry)
            print(" ".join(f"{k}={v:.5g}" for k, v in entry.items()), flush=True)
        if run.done % every == 0 or run.done == config.steps:
            run.save(checkpoint)
    return run


def export(run: Run, folder: Path) -> None:
    """Write the trained model, its log and its provenance to `folder` (fp16 safetensors, JSON, CSV)."""
    cam_layers = run.config.cam_layers.split(",")
    config = {"model_cfg": run.config.model_cfg(), "preprocess_cfg": preprocess_cfg(run.config)}
    config |= {"cam_layers": cam_layers, "cam_method": run.config.cam_method, "cam_target": "contrast"}
    run.model.eval()
    save_backbone(run.model, config, folder)
    about = {
        "config": dataclasses.asdict(run.config),
        "steps_done": run.done,
        "world": world_sample(run.config.seed),
    }
    about |= {"torch": torch.__version__.split("+")[0], "open_clip": open_clip.__version__}
    (folder / "training.json").write_text(json.dumps(about, indent=1) + "\n", "utf-8")
    with open(folder / "training_log.csv", "w", newline="", encoding="utf-8") as out:
        writer = csv.DictWriter(out, fieldnames=list(run.log[-1]) if run.log else ["step"])
        writer.writeheader()
        writer.writerows({k: f"{v:.5g}" for k, v in entry.items()} for entry in run.log)


def main(words: list[str] | None = None) -> None:
    """Train, or go on training, as the command line says, and write the trained model."""
    about = __doc__.partition("\n")[0]
    parser = argparse.ArgumentParser(prog="python -m pretraining.pretrain", description=about)
    for item in dataclasses.fields(PretrainConfig):
        kind = type(item.default)
        parser.add_argument(f"--{item.name.replace('_', '-')}", type=kind, default=item.default)
    parser.add_argument(
        "--checkpoint", type=Path, default=None, help="checkpoint file (default: among the artifacts)"
    )
    parser.add_argument("--out", type=Path, required=True, help="folder for the trained model")
    args = parser.parse_args(words)
    names = [item.name for item in dataclasses.fields(PretrainConfig)]
    config = PretrainConfig(**{name: getattr(args, name) for name in names})
    checkpoint = (
        args.checkpoint or artifacts_root() / "pretrain" / f"{fingerprint(dataclasses.asdict(config))}.pt"
    )
    checkpoint.parent.mkdir(parents=True, exist_ok=True)
    export(train(config, checkpoint), args.out)


if __name__ == "__main__":
    main()
