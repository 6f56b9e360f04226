"""Features of captioned images, read in parallel, stored once.

features = image_features(backbone, load_pairs("pocket-small"))     # [P, D]
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from zscir.artifacts import artifact
from zscir.backbone import Backbone
from zscir.sources import Pairs

IMAGE_BATCH = 128


def image_features(backbone: Backbone, pairs: Pairs, *, progress: bool = True) -> Tensor:
    """Features [P, D] float32, L2-normalised, of all images of the pairs (an artifact, memory-mapped).

    Raises:
        ValueError: images cannot be read; all are counted and the first five named.
    """
    key = {"backbone": backbone.fingerprint, "pairs": pairs.fingerprint}

    def build(folder: Path):
        store = new_array(folder / "features.npy", (len(pairs), backbone.dim))
        for rows, pixels in pixel_batches(backbone, pairs, range(len(pairs)), "images", progress):
            store[rows] = backbone.encode_images(pixels).cpu().numpy()
        store.flush()

    return stored(artifact("image-features", key, build) / "features.npy")


def pixel_batches(
    backbone: Backbone, pairs: Pairs, rows: Sequence[int], label: str, progress: bool
) -> Iterator[tuple[Sequence[int], Tensor]]:
    """Preprocessed images in batches: (rows of the batch, pixels [b, 3, S, S]).

    Raises:
        ValueError: an image cannot be read; the rest is looked through first, and all such are counted.
    """

    def pixels_of(row: int) -> Tensor:
        return backbone.preprocess(pairs.images[row])

    shown = progress and sys.stdout.isatty()
    with (
        ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool,
        tqdm(total=len(rows), desc=label, file=sys.stdout, disable=not shown) as bar,
    ):
        for first in range(0, len(rows), IMAGE_BATCH):
            batch = rows[first : first + IMAGE_BATCH]
            try:
                pixels = torch.stack(list(pool.map(pixels_of, batch)))
            except OSError as error:
                raise _unreadable(pairs, rows[first:], pool.map) from error
            yield batch, pixels
            bar.update(len(batch))


def _unreadable(pairs: Pairs, rows: Sequence[int], run: Callable) -> ValueError:
    """The error that counts the images of ``rows`` that cannot be read and names the first five."""

    def trouble(row: int) -> str | None:
        try:
            pairs.images[row]  # decodes
        except OSError as error:
            return str(error)
        return None

    found = [text for text in run(trouble, rows) if text is not None]
    shown = "; ".join(found[:5])
    return ValueError(f"pairs {pairs.name!r}: {len(found)} images cannot be read: {shown}")


def new_array(path: Path, shape: tuple[int, ...], dtype=np.float32) -> np.memmap:
    """A new .npy file, open for writing row by row."""
    return np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=shape)


def stored(path: Path) -> Tensor:
    """A stored array as a tensor, read from the file where it is used and never written back."""
    return torch.from_numpy(np.load(path, mmap_mode="c"))
