"""Features of captioned images, read in parallel, made shard by shard, stored once.

features = image_features(backbone, load_pairs("pocket-small"))     # [P, D]
"""

import json
import os
import sys
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from zscir.backbone import Backbone
from zscir.pairs.sources import Pairs
from zscir.storage.dealing import Dealt, Share
from zscir.storage.pictures import take_remarks
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
    [len(readable), 3, S, S]; ``trouble`` says for each other row why not, ``remarks`` what the decoder
    remarked on some.
    """

    index: int
    rows: range
    readable: list[int]
    pixels: Tensor
    trouble: dict[int, str]
    remarks: dict[int, str] = field(default_factory=dict)

    def batches(self) -> Iterator[tuple[list[int], Tensor]]:
        """Readable rows and their pixels, `IMAGE_BATCH` at a time."""
        for first in range(0, len(self.readable), IMAGE_BATCH):
            batch = slice(first, first + IMAGE_BATCH)
            yield self.readable[batch], self.pixels[batch]


def image_features(backbone: Backbone, pairs: Pairs, *, progress: bool = True) -> Tensor:
    """Features [P, D] float32, L2-normalised, of all images of the pairs (an artifact, memory-mapped).

    A row whose image cannot be read is NaN; `readable_rows` gives the others.

    Raises:
        ValueError: more than `MAX_SKIPPED` of the images cannot be read; they are counted, the first named.
    """
    layer = features_layer(backbone, pairs)
    work = {"max_skipped": MAX_SKIPPED, "progress": progress}
    with unfinished_shards(backbone, pairs, [layer], "images", **work) as shards:
        for shard in shards:
            layer.write(shard.index, features_of(backbone, shard))
    return stored(layer.folder / "features.npy")


def readable_rows(features: Tensor) -> Tensor:
    """Which rows of `image_features` stand for an image that could be read: int64, increasing."""
    return features[:, 0].isfinite().nonzero().flatten()


def features_layer(backbone: Backbone, pairs: Pairs) -> Layer:
    """The layer of `image_features`."""
    key = {"backbone": backbone.fingerprint, "pairs": pairs.fingerprint}
    return Layer("image-features", key, SHARD)


def features_of(backbone: Backbone, shard: Shard, encoded: Sequence[Tensor] | None = None) -> Columns:
    """Columns of the whole images of a shard: ``features``, ``unreadable`` rows with reasons, ``remarks``.

    ``encoded`` are the features of its batches, where they are known already.
    """
    if encoded is None:
        encoded = [backbone.encode_images(pixels) for _, pixels in shard.batches()]
    features = np.full((len(shard.rows), backbone.dim), np.nan, dtype=np.float32)
    if shard.readable:
        features[[row - shard.rows.start for row in shard.readable]] = torch.cat(list(encoded)).cpu().numpy()
    notes = {"unreadable": shard.trouble, "remarks": shard.remarks}
    return {"features": features} | {name: list(map(list, found.items())) for name, found in notes.items()}


def unreadable_images(layer: Layer, notes: str = "unreadable") -> list[tuple[int, str]]:
    """Row and trouble of every image that could not be read, of a whole layer of `features_layer`.

    With "remarks" as ``notes``: of every image that the decoder remarked on.
    """
    return [(row, text) for row, text in json.loads((layer.folder / f"{notes}.json").read_text("utf-8"))]


@contextmanager
def unfinished_shards(
    backbone: Backbone,
    pairs: Pairs,
    layers: Sequence[Layer],
    label: str,
    *,
    max_skipped: float,
    progress: bool,
    share: Share | None = None,
) -> Iterator[Iterator[Shard]]:
    """The shards that some of the layers lack, each image read once; the block writes their parts.

    Several processes that want one of the layers deal them out (`zscir.storage.dealing`). After the block the
    parts are joined, but not those of a ``share``, which is made alone.

    Raises:
        ValueError: more than ``max_skipped`` of the images cannot be read (found as early as it is sure).
    """
    count = shard_count(pairs)
    with (
        Dealt(layers, count, share) as dealt,
        closing(_shards(backbone, pairs, dealt, max_skipped)) as shards,
    ):
        shown = {"disable": not (progress and sys.stdout.isatty()), "file": sys.stdout}
        yield iter(tqdm(shards, label, len(dealt.own), unit="image", unit_scale=SHARD * dealt.of, **shown))
    if share is not None:
        return
    for layer in dealt.layers:
        layer.finish(count)
    for layer in layers:
        if layer.kind == "image-features":
            check_skipped(pairs, {"unreadable": unreadable_images(layer)}, max_skipped)


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


def shard_count(pairs: Pairs) -> int:
    """Into how many shards the pairs are cut."""
    return -(-len(pairs) // SHARD)


def _shards(backbone: Backbone, pairs: Pairs, dealt: Dealt, max_skipped: float) -> Iterator[Shard]:
    """The shards, the images of the next one being read while one is worked on."""

    def pixels_of(row: int) -> tuple[Tensor | None, str]:
        """Pixels and the first remark on them, or None and why they cannot be read."""
        try:
            image = pairs.images[row]
            return backbone.preprocess(image), "; ".join(image.info.get("remarks", [])[:1])
        except OSError as error:
            return None, str(error)

    def oldest() -> Iterator[Shard]:
        """The shard that was taken first; when the caller is done with it, others may see it."""
        index, rows, futures = ahead.popleft()
        shard = _shard(backbone, index, rows, [future.result() for future in futures])
        trouble.extend(shard.trouble.items())
        check_skipped(pairs, {"unreadable": trouble}, max_skipped)
        yield shard
        dealt.release(index)

    trouble: list[tuple[int, str]] = []
    ahead: deque[tuple] = deque()
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        try:
            for wait in (False, True):  # first what is free, then what others began
                for index in dealt.take(wait):
                    rows = range(index * SHARD, min((index + 1) * SHARD, len(pairs)))
                    ahead.append((index, rows, [pool.submit(pixels_of, row) for row in rows]))
                    if wait or len(ahead) == 2:
                        yield from oldest()
                while ahead:
                    yield from oldest()
        finally:
            take_remarks()  # they are in the shards
            for future in (future for _, _, futures in ahead for future in futures):
                future.cancel()


def _shard(backbone: Backbone, index: int, rows: range, found: Sequence[tuple[Tensor | None, str]]) -> Shard:
    of_row = dict(zip(rows, found, strict=True))
    read = {row: pixels for row, (pixels, _) in of_row.items() if pixels is not None}
    size = (0, 3, backbone.image_size, backbone.image_size)
    pixels = torch.stack(list(read.values())) if read else torch.zeros(size)
    trouble = {row: text for row, (_, text) in of_row.items() if row not in read}
    remarks = {row: text for row, (_, text) in of_row.items() if row in read and text}
    return Shard(index, rows, list(read), pixels, trouble, remarks)


def stored(path: Path) -> Tensor:
    """A stored array as a tensor, read from the file where it is used and never written back."""
    return torch.from_numpy(np.load(path, mmap_mode="c"))
