"""The scenes that are trained on, and the pool of their pictures, drawn once.

pixels, shown = draw_pool(80_000, seed=0, size=100)
"""

from __future__ import annotations

import hashlib
import os
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image

from zscir.storage import artifact, fingerprint

from . import scenes

#: Share of garment pictures among the training scenes.
FASHION_SHARE = 0.12
#: First entries of the random seeds, so that no two uses share a stream.
TRAIN_STREAM, HELD_OUT_STREAM = 101, 102
#: The source files that decide what a picture shows.
_WORLD_FILES = {"vocabulary.py", "backgrounds.py", "_canvas.py", "drawing.py", "garments.py", "scenes.py"}


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
