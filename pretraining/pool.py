"""The pool of training pictures, drawn once.

pixels, shown = draw_pool(80_000, seed=0, size=100)
"""

from __future__ import annotations

import hashlib
import os
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image

from zscir.pocket.layouts import source_fingerprint
from zscir.pocket.scenes import Scene, render, training_scene
from zscir.storage import artifact, fingerprint

#: First entries of the random seeds, so that no two uses share a stream.
TRAIN_STREAM, HELD_OUT_STREAM = 101, 102


def _draw(job: tuple[int, int, int, int]) -> tuple[np.ndarray, list[str]]:
    start, stop, seed, size = job
    pixels = np.empty((stop - start, size, size, 3), dtype=np.uint8)
    shown = []
    for row, index in enumerate(range(start, stop)):
        scene = training_scene(index, seed, TRAIN_STREAM)
        picture = render(scene)[0].resize((size, size), Image.Resampling.BICUBIC)
        pixels[row] = np.asarray(picture)
        shown.append(scene.to_json())
    return pixels, shown


def draw_pool(count: int, seed: int, size: int) -> tuple[np.ndarray, list[Scene]]:
    """Pictures uint8 [count, size, size, 3] (a memory map) and their scenes; drawn once, then reused."""
    key = {"count": count, "seed": seed, "size": size, "world": source_fingerprint()}

    def build(folder: Path) -> None:
        pixels = np.lib.format.open_memmap(folder / "pixels.npy", "w+", np.uint8, (count, size, size, 3))
        jobs = [(i, min(i + 500, count), seed, size) for i in range(0, count, 500)]
        with (
            ProcessPoolExecutor(os.cpu_count()) as workers,
            open(folder / "scenes.jsonl", "w", encoding="utf-8") as lines,
        ):
            for job, (drawn, shown) in zip(jobs, workers.map(_draw, jobs), strict=True):
                pixels[job[0] : job[1]] = drawn
                lines.writelines(line + "\n" for line in shown)
        pixels.flush()

    folder = artifact("pretrain-pool", key, build)
    lines = (folder / "scenes.jsonl").read_text("utf-8").splitlines()
    return np.load(folder / "pixels.npy", mmap_mode="r"), [Scene.from_json(line) for line in lines]


def world_sample(seed: int = 0) -> str:
    """Fingerprint of the first 64 training scenes and 8 training pictures: what the backbone was shown."""
    shown = [training_scene(index, seed, TRAIN_STREAM) for index in range(64)]
    pixels = [hashlib.sha256(render(scene)[0].tobytes()).hexdigest() for scene in shown[:8]]
    return fingerprint([scene.to_json() for scene in shown], pixels)
