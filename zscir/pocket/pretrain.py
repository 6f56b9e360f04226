"""Train the pocket backbone: a small open_clip model, from pocket pictures and captions alone.

    zscir pocket pretrain --images 900000 --out zscir/pocket/weights

Scenes come from a pool of drawn pictures; captions are drawn anew every time a picture is
seen, one that tells everything and one that leaves things out. Two losses: CLIP's own, and
the same with the mean cosine of a text's best `top_patches` patches in place of the pooled
feature's (multiple-instance learning), which keeps what a patch shows in that patch: without
it so small a tower localises no better than chance. The first part of the training drops
patches at random (as FLIP does), so that the tower is used to pictures of which a part is
missing. Training stops and resumes at its checkpoints.
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import hashlib
import json
import math
import os
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import open_clip
import torch
from PIL import Image
from torch.nn import functional

from ..artifacts import artifact, fingerprint
from ..paths import artifacts_root
from . import captions, scenes

#: Share of garment pictures among the training scenes.
FASHION_SHARE = 0.12
#: First entries of the random seeds, so that no two uses share a stream.
TRAIN_STREAM, HELD_OUT_STREAM, CAPTION_STREAM = 101, 102, 103


@dataclass(frozen=True)
class PretrainConfig:
    """How the pocket backbone is trained. `images` counts pictures seen, `pool` distinct pictures."""

    images: int = 300_000
    batch: int = 256
    pool: int = 100_000
    lr: float = 1e-3
    muon_lr: float = 2e-3
    weight_decay: float = 0.1
    warmup: int = 200
    patch_dropout: float = 0.3
    whole_share: float = 0.5
    patch_weight: float = 0.5
    patch_scale: float = 25.0
    top_patches: int = 4
    seed: int = 0
    image_size: int = 100
    patch: int = 10
    layers: int = 4
    width: int = 192
    text_layers: int = 4
    context: int = 40
    pool_type: str = "avg"
    first_cam_block: int = 2
    cam_method: str = "hirescam"

    @property
    def steps(self) -> int:
        """Optimiser steps."""
        return self.images // self.batch

    def model_cfg(self) -> dict:
        """open_clip's model description."""
        vision = {"layers": self.layers, "width": self.width, "head_width": 48, "patch_size": self.patch}
        vision |= {"image_size": self.image_size, "pool_type": self.pool_type}
        text = {"context_length": self.context, "vocab_size": 49408, "width": self.width}
        text |= {"heads": self.width // 48, "layers": self.text_layers}
        return {"embed_dim": self.width, "vision_cfg": vision, "text_cfg": text}


def training_scene(index: int, seed: int, stream: int = TRAIN_STREAM) -> scenes.Scene:
    """The scene of one training (or held-out) picture."""
    rng = np.random.default_rng([stream, seed, index])
    return scenes.sample_garment(rng) if rng.random() < FASHION_SHARE else scenes.sample_scene(rng)


def _draw(job: tuple[int, int, int, int, int]) -> tuple[np.ndarray, list[str]]:
    start, stop, seed, size, stream = job
    pixels = np.empty((stop - start, size, size, 3), dtype=np.uint8)
    told = []
    for row, index in enumerate(range(start, stop)):
        scene = training_scene(index, seed, stream)
        picture = scenes.render(scene)[0].resize((size, size), Image.Resampling.BICUBIC)
        pixels[row] = np.asarray(picture)
        told.append(scene.to_json())
    return pixels, told


def draw_pool(
    count: int, seed: int, size: int, stream: int = TRAIN_STREAM
) -> tuple[np.ndarray, list[scenes.Scene]]:
    """Pictures uint8 [count, size, size, 3] (a memory map) and their scenes; drawn once, then reused."""
    key = {"count": count, "seed": seed, "size": size, "stream": stream, "world": world_fingerprint()}

    def build(folder: Path) -> None:
        pixels = np.lib.format.open_memmap(folder / "pixels.npy", "w+", np.uint8, (count, size, size, 3))
        jobs = [(i, min(i + 500, count), seed, size, stream) for i in range(0, count, 500)]
        with ProcessPoolExecutor(os.cpu_count()) as workers, open(folder / "scenes.jsonl", "w") as lines:
            for job, (drawn, told) in zip(jobs, workers.map(_draw, jobs), strict=True):
                pixels[job[0] : job[1]] = drawn
                lines.writelines(line + "\n" for line in told)
        pixels.flush()

    folder = artifact("pretrain-pool", key, build)
    told = (folder / "scenes.jsonl").read_text().splitlines()
    return np.load(folder / "pixels.npy", mmap_mode="r"), [scenes.Scene.from_json(line) for line in told]


def world_sample(seed: int = 0) -> str:
    """Fingerprint of the first 64 training scenes and 8 training pictures: what the backbone was shown."""
    shown = [training_scene(index, seed) for index in range(64)]
    pixels = [hashlib.sha256(scenes.render(scene)[0].tobytes()).hexdigest() for scene in shown[:8]]
    return fingerprint([scene.to_json() for scene in shown], pixels)


def world_fingerprint() -> str:
    """Fingerprint of what the pocket world draws and says: its source files."""
    files = sorted(Path(__file__).parent.glob("*.py"))
    return fingerprint([(f.name, f.read_text()) for f in files if f.name in _WORLD_FILES])


_WORLD_FILES = {"vocabulary.py", "backgrounds.py", "_canvas.py", "drawing.py", "garments.py", "scenes.py"}


class Run:
    """One training run: model, optimisers, position. `step` does one optimiser step."""

    def __init__(self, config: PretrainConfig, device: str = "cpu") -> None:
        torch.manual_seed(config.seed)
        self.config, self.device, self.done, self.log = config, device, 0, []
        self.model = open_clip.CLIP(**config.model_cfg()).to(device)
        self.model.visual.output_tokens = True
        self.model.visual.patch_dropout = open_clip.transformer.PatchDropout(config.patch_dropout)
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

    def text_features(self, said: list[str]) -> torch.Tensor:
        """L2-normalised features [B, dim]; the tower runs on as many tokens as the longest text has."""
        ids = self.tokenizer(said)
        ids = ids[:, : int((ids != 0).sum(dim=1).max())].to(self.device)
        model, length = self.model, ids.shape[1]
        x = model.token_embedding(ids) + model.positional_embedding[:length]
        x = model.ln_final(model.transformer(x, attn_mask=model.attn_mask[:length, :length]))
        x = x[torch.arange(len(said)), ids.argmax(dim=1)] @ model.text_projection
        return functional.normalize(x.float(), dim=1)

    def step(self) -> dict:
        """One optimiser step; returns what is logged."""
        config = self.config
        torch.manual_seed(config.seed * 1_000_003 + self.done)  # which patches are dropped
        whole = self.done >= (1 - config.whole_share) * config.steps
        self.model.visual.patch_dropout.prob = 0.0 if whole else config.patch_dropout
        rate = min(1.0, (self.done + 1) / config.warmup)
        rate *= 0.5 * (1 + math.cos(math.pi * self.done / config.steps)) * 0.98 + 0.02
        for optimiser, peak in zip(self.optimisers, (config.lr, config.muon_lr), strict=True):
            optimiser.param_groups[0]["lr"] = peak * rate
        rows = self.rows(self.done)
        rng = np.random.default_rng([CAPTION_STREAM, config.seed, self.done])
        said = [[captions.caption(self.scenes[r], rng, full) for r in rows] for full in (True, False)]
        with torch.autocast(self.device, torch.bfloat16):
            pooled, tokens = self.model.visual(self.prepared(self.pixels[rows]))
            images = functional.normalize(pooled.float(), dim=1)
            patches = functional.normalize((tokens @ self.model.visual.proj).float(), dim=2)
            texts = [self.text_features(s) for s in said]
        scale = self.model.logit_scale.exp()
        losses = [_clip_loss(scale * images @ text.T) for text in texts]
        losses.append(_clip_loss(config.patch_scale * best_patches(patches, texts[1], config.top_patches)))
        ((losses[0] + losses[1]) / 2 + config.patch_weight * losses[2]).backward()
        for optimiser in self.optimisers:
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)
        with torch.no_grad():
            self.model.logit_scale.clamp_(0, math.log(100))
        self.done += 1
        full, partial, patch = (float(value.detach()) for value in losses)
        if not math.isfinite(full + partial + patch):
            raise FloatingPointError(
                f"a loss is not finite at step {self.done}; the last checkpoint is whole"
            )
        entry = {"step": self.done, "loss_full": full, "loss_partial": partial, "loss_patch": patch}
        return entry | {"lr": rate * config.lr}

    def save(self, path: Path) -> None:
        """Write a checkpoint, atomically."""
        state = {"config": dataclasses.asdict(self.config), "done": self.done, "log": self.log}
        state |= {"model": self.model.state_dict(), "optimisers": [o.state_dict() for o in self.optimisers]}
        torch.save(state, path.with_suffix(".part"))
        os.replace(path.with_suffix(".part"), path)

    def resume(self, path: Path) -> None:
        """Go on from a checkpoint of the same configuration."""
        state = torch.load(path, map_location=self.device, weights_only=True)
        if state["config"] != dataclasses.asdict(self.config):
            raise ValueError(f"{path} is a checkpoint of another configuration: {state['config']}")
        self.done, self.log = state["done"], state["log"]
        self.model.load_state_dict(state["model"])
        for optimiser, saved in zip(self.optimisers, state["optimisers"], strict=True):
            optimiser.load_state_dict(saved)


def best_patches(patches: torch.Tensor, texts: torch.Tensor, count: int) -> torch.Tensor:
    """Mean cosine [B, T] of each text with those `count` patches of each image that fit it best.

    Patches [B, P, dim] and texts [T, dim] are L2-normalised.
    """
    return (patches @ texts.T).topk(min(count, patches.shape[1]), dim=1).values.mean(dim=1)


def _clip_loss(logits: torch.Tensor) -> torch.Tensor:
    labels = torch.arange(len(logits), device=logits.device)
    return (functional.cross_entropy(logits, labels) + functional.cross_entropy(logits.T, labels)) / 2


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
    from ..backbone import save_backbone

    blocks = range(run.config.first_cam_block, run.config.layers)
    cam_layers = [f"visual.transformer.resblocks.{block}.ln_1" for block in blocks]
    config = {"model_cfg": run.config.model_cfg(), "preprocess_cfg": preprocess_cfg(run.config)}
    config |= {"cam_layers": cam_layers, "cam_method": run.config.cam_method, "cam_target": "contrast"}
    run.model.visual.output_tokens = False
    run.model.eval()
    save_backbone(run.model, config, folder)
    about = {
        "config": dataclasses.asdict(run.config),
        "steps_done": run.done,
        "world": world_sample(run.config.seed),
    }
    about |= {"torch": torch.__version__.split("+")[0], "open_clip": open_clip.__version__}
    (folder / "training.json").write_text(json.dumps(about, indent=1) + "\n")
    with open(folder / "training_log.csv", "w", newline="") as out:
        writer = csv.DictWriter(
            out, fieldnames=["step", "loss_full", "loss_partial", "loss_patch", "lr", "images_per_second"]
        )
        writer.writeheader()
        writer.writerows({k: f"{v:.5g}" for k, v in entry.items()} for entry in run.log)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``zscir pocket pretrain``."""
    for item in dataclasses.fields(PretrainConfig):
        kind = type(item.default)
        parser.add_argument(f"--{item.name.replace('_', '-')}", type=kind, default=item.default)
    parser.add_argument(
        "--checkpoint", type=Path, default=None, help="checkpoint file (default: among the artifacts)"
    )
    parser.add_argument("--out", type=Path, required=True, help="folder for the trained model")


def main(args: argparse.Namespace) -> None:
    """Run ``zscir pocket pretrain``."""
    names = [item.name for item in dataclasses.fields(PretrainConfig)]
    config = PretrainConfig(**{name: getattr(args, name) for name in names})
    checkpoint = (
        args.checkpoint or artifacts_root() / "pretrain" / f"{fingerprint(dataclasses.asdict(config))}.pt"
    )
    checkpoint.parent.mkdir(parents=True, exist_ok=True)
    export(train(config, checkpoint), args.out)
