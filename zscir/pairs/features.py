"""Features of captioned images, read in parallel, made shard by shard, stored once.

features = image_features(backbone, load_pairs("pocket-small"))     # [P, D]
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from zscir.backbone import Backbone
from zscir.pairs.sources import Pairs
from zscir.storage.locks import lock
from zscir.storage.shards import Columns, Layer

IMAGE_BATCH = 128
#: Pairs a shard; their pixels are held at once.
SHARD = 256
#: Share of pairs that may be left out before the work stops.
MAX_SKIPPED = 0.2


@dataclass
class Shard:
    """Neighbouring pairs with their images read.

    ``rows`` are all of them; ``readable`` those whose image could be decoded, with ``pixels``
    [len(readable), 3, S, S]; ``trouble`` says for each other row why not. ``made`` holds what layers have
    made of this shard, by kind.
    """

    index: int
    rows: range
    readable: list[int]
    pixels: Tensor
    trouble: dict[int, str]
    made: dict[str, Columns] = field(default_factory=dict)


#: Makes a layer's columns of a shard.
Make = Callable[[Shard], Columns]


def image_features(
    backbone: Backbone, pairs: Pairs, *, max_skipped: float = MAX_SKIPPED, progress: bool = True
) -> Tensor:
    """Features [P, D] float32, L2-normalised, of all images of the pairs (an artifact, memory-mapped).

    A row whose image cannot be read is NaN; `readable_rows` gives the others.

    Raises:
        ValueError: more than ``max_skipped`` of the images cannot be read; they are counted, the first named.
    """
    layer, make = features_layer(backbone, pairs)
    run_layers(backbone, pairs, [(layer, make)], max_skipped=max_skipped, label="images", progress=progress)
    return stored(layer.folder / "features.npy")


def readable_rows(features: Tensor) -> Tensor:
    """Which rows of `image_features` stand for an image that could be read: int64, increasing."""
    return features[:, 0].isfinite().nonzero().flatten()


def features_layer(backbone: Backbone, pairs: Pairs) -> tuple[Layer, Make]:
    """The layer of `image_features` and what fills it."""

    def make(shard: Shard) -> Columns:
        features = np.full((len(shard.rows), backbone.dim), np.nan, dtype=np.float32)
        places = [row - shard.rows.start for row in shard.readable]
        for first in range(0, len(places), IMAGE_BATCH):
            batch = slice(first, first + IMAGE_BATCH)
            features[places[batch]] = backbone.encode_images(shard.pixels[batch]).cpu().numpy()
        return {"features": features, "unreadable": [list(one) for one in shard.trouble.items()]}

    key = {"backbone": backbone.fingerprint, "pairs": pairs.fingerprint}
    return Layer("image-features", key, SHARD), make


def unreadable_images(layer: Layer) -> list[tuple[int, str]]:
    """Row and trouble of every image that could not be read, of a whole layer of `features_layer`."""
    return [(row, text) for row, text in json.loads((layer.folder / "unreadable.json").read_text("utf-8"))]


def run_layers(
    backbone: Backbone,
    pairs: Pairs,
    layers: Sequence[tuple[Layer, Make]],
    *,
    max_skipped: float,
    label: str,
    progress: bool,
) -> None:
    """Make every part that is missing, each image read once for all layers, then join the parts.

    Of several processes that want one of the layers, one makes it and the others wait.

    Raises:
        ValueError: more than ``max_skipped`` of the images cannot be read (found as early as it is sure).
    """
    with _locked([layer for layer, _ in layers]):
        missing = [(layer, make) for layer, make in layers if not layer.is_whole]
        cut = [range(first, min(first + SHARD, len(pairs))) for first in range(0, len(pairs), SHARD)]
        wanted = [index for index in range(len(cut)) if not all(layer.has(index) for layer, _ in missing)]
        trouble: list[tuple[int, str]] = []
        shown = progress and sys.stdout.isatty()
        with tqdm(total=len(wanted) * SHARD, desc=label, file=sys.stdout, disable=not shown) as bar:
            for shard in _shards(backbone, pairs, [(index, cut[index]) for index in wanted]):
                trouble += shard.trouble.items()
                check_skipped(pairs, {"unreadable": trouble}, max_skipped)
                for layer, make in missing:
                    if not layer.has(shard.index):
                        shard.made[layer.kind] = make(shard)
                        layer.write(shard.index, shard.made[layer.kind])
                bar.update(len(shard.rows))
        for layer, _ in missing:
            layer.finish(len(cut))
    for layer, _ in layers:
        if layer.kind == "image-features":
            check_skipped(pairs, {"unreadable": unreadable_images(layer)}, max_skipped)


@contextmanager
def _locked(layers: Sequence[Layer]) -> Iterator[None]:
    """Inside the block no other process makes one of the layers that are not whole."""
    with ExitStack() as locks:
        for parts in sorted(layer.parts for layer in layers if not layer.is_whole):  # all in one order
            locks.enter_context(lock(parts))
        yield


def check_skipped(pairs: Pairs, skipped: dict[str, Sequence[tuple[int, str]]], most: float) -> None:
    """ValueError when more than ``most`` of the pairs are left out; ``skipped``: reason -> (row, text)."""
    count = sum(len(found) for found in skipped.values())
    if count <= most * len(pairs):
        return
    counts = ", ".join(f"{name} {len(found)}" for name, found in skipped.items() if len(found))
    shown = "; ".join(str(text) for found in skipped.values() for _, text in list(found)[:3])
    raise ValueError(
        f"pairs {pairs.name!r}: {count} of {len(pairs)} are left out ({counts}), more than "
        f"max_skipped = {most:g} allows: {shown}"
    )


def _shards(backbone: Backbone, pairs: Pairs, wanted: Sequence[tuple[int, range]]) -> Iterator[Shard]:
    """The shards, the images of the next one being read while one is worked on."""

    def pixels_of(row: int) -> Tensor | str:
        try:
            return backbone.preprocess(pairs.images[row])
        except OSError as error:
            return str(error)

    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        ahead: list[list[Future]] = []
        try:
            for place, (index, rows) in enumerate(wanted):
                for _, later in wanted[place + len(ahead) : place + 2]:
                    ahead.append([pool.submit(pixels_of, row) for row in later])
                yield _shard(backbone, index, rows, [future.result() for future in ahead.pop(0)])
        finally:
            for future in (one for futures in ahead for one in futures):
                future.cancel()


def _shard(backbone: Backbone, index: int, rows: range, found: Sequence[Tensor | str]) -> Shard:
    read = {row: one for row, one in zip(rows, found, strict=True) if not isinstance(one, str)}
    size = (0, 3, backbone.image_size, backbone.image_size)
    pixels = torch.stack(list(read.values())) if read else torch.zeros(size)
    trouble = {row: one for row, one in zip(rows, found, strict=True) if isinstance(one, str)}
    return Shard(index, rows, list(read), pixels, trouble)


def stored(path: Path) -> Tensor:
    """A stored array as a tensor, read from the file where it is used and never written back."""
    return torch.from_numpy(np.load(path, mmap_mode="c"))
