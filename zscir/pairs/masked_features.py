"""The image half of masked pairs: maps of the hidden nouns, and the features of what the masks leave."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from zscir.backbone import Backbone
from zscir.pairs.features import IMAGE_BATCH, SHARD, Make, Shard
from zscir.pairs.hidden_nouns import HiddenNouns
from zscir.pairs.sources import Pairs
from zscir.regions import encode_masked, keep_mask, noun_cams
from zscir.regions.maps import upsample_cams
from zscir.regions.masks import is_empty
from zscir.regions.token_drop import kept_patches, patch_grid
from zscir.storage.shards import Columns, Layer


@dataclass(frozen=True)
class Masking:
    """How an image is masked: the settings of ``zscir.pairs.build_masked_pairs`` of the same names."""

    source: str
    tau: float
    keep: str
    fill: str
    grain: str
    seed: int

    @property
    def key(self) -> dict:
        """What the masked features depend on, of these."""
        key = {"mask_source": self.source, "keep": self.keep, "fill": self.fill, "grain": self.grain}
        key |= {"tau": float(self.tau)} if self.source != "true" else {}
        return key | ({"mask_seed": self.seed} if "random" in self.source or self.fill == "noise" else {})


def cams_layer(
    backbone: Backbone, hidden: HiddenNouns, texts: Callable[[], dict[str, Tensor]], key: dict, how: dict
) -> tuple[Layer, Make]:
    """Maps [M, h, w] float16 of the hidden nouns at patch grain; 0 where the image cannot be read.

    ``texts`` gives the nouns' text features when they are first needed; ``how`` are options of `noun_cams`.
    """

    def make(shard: Shard) -> Columns:
        places = hidden.within(shard.rows)
        by_row: dict[int, list[int]] = {row: [] for row in shard.readable}
        for place in places:
            by_row.get(hidden.rows[place], []).append(place)
        maps: np.ndarray | None = None
        for first in range(0, len(shard.readable), IMAGE_BATCH):
            here = [by_row[row] for row in shard.readable[first : first + IMAGE_BATCH]]
            nouns = [[hidden.lemmas[place] for place in one] for one in here]
            at = [place - places.start for one in here for place in one]
            pixels = shard.pixels[first : first + IMAGE_BATCH]
            found = torch.cat(noun_cams(backbone, pixels, nouns, grain="patch", texts=texts(), **how))
            maps = np.zeros((len(places), *found.shape[1:]), np.float16) if maps is None else maps
            maps[at] = found.cpu().numpy()
        return {"cams": _no_maps(backbone, len(places), how) if maps is None else maps}

    return Layer("cams", {**key, **how}, SHARD), make


def _no_maps(backbone: Backbone, count: int, how: dict) -> np.ndarray:
    """Maps of a shard in which no image can be read."""
    size = backbone.image_size
    (one,) = noun_cams(backbone, torch.zeros(1, 3, size, size), [[]], grain="patch", **how)
    return np.zeros((count, *one.shape[1:]), dtype=np.float16)


def lookup(layer: Layer, hidden: HiddenNouns, order: list[int] | None):
    """Maps of some of a shard's nouns: from the whole, from what was just made, or from a part on disk."""

    def cams(shard: Shard, places: Sequence[int]) -> np.ndarray:
        if layer.is_whole:
            at = places if order is None else [order[place] for place in places]
            return np.load(layer.folder / "cams.npy", mmap_mode="r")[at].astype(np.float32)
        part = shard.made.get("cams") or layer.read(shard.index)
        first = hidden.within(shard.rows).start
        return part["cams"][[place - first for place in places]].astype(np.float32)

    return cams


def largest_maps(cams: np.ndarray, rows: Sequence[int]) -> list[int]:
    """For each pair the place of the map [M, h, w] with the largest mean, the first of equals."""
    best: dict[int, tuple[float, int]] = {}
    for place, row in enumerate(rows):
        mass = float(cams[place].mean(dtype=np.float64))
        if row not in best or mass > best[row][0]:
            best[row] = (mass, place)
    return [place for _, place in best.values()]


def masked_layer(
    backbone: Backbone,
    pairs: Pairs,
    hidden: HiddenNouns,
    masking: Masking,
    key: dict,
    cams: Callable[[Shard, Sequence[int]], np.ndarray] | None,
) -> tuple[Layer, Make]:
    """Columns of the hidden nouns that have a mask: ``places``, ``features``, ``area`` (the kept share of the
    image) and ``empty`` (whether the threshold alone kept nothing).

    ``cams`` gives the maps [n, h, w] of some of a shard's nouns; None for true masks.
    """

    def make(shard: Shard) -> Columns:
        at = {row: place for place, row in enumerate(shard.readable)}
        places = [place for place in hidden.within(shard.rows) if hidden.rows[place] in at]
        if masking.source == "true":
            truth = {place: _true_map(backbone, pairs, hidden, place) for place in places}
            places = [place for place in places if truth[place] is not None]
        seen = _shuffled(places, masking.seed) if masking.source == "random" else places
        noise = torch.Generator().manual_seed(masking.seed + 1_000_003 * shard.index)
        made: list[tuple[Tensor, ...]] = []
        for first in range(0, len(places), IMAGE_BATCH):
            batch = slice(first, first + IMAGE_BATCH)
            if masking.source == "true":
                keep, empty = _true_masks(backbone, masking, [truth[place] for place in places[batch]])
            else:
                keep, empty = _masks(backbone, masking, torch.from_numpy(cams(shard, seen[batch])))
            pixels = shard.pixels[[at[hidden.rows[place]] for place in places[batch]]]
            features = encode_masked(backbone, pixels, keep, masking.fill, noise).cpu()
            made.append((features, keep.float().mean(dim=(1, 2)), empty))
        empty_columns = (torch.zeros(0, backbone.dim), torch.zeros(0), torch.zeros(0, dtype=torch.bool))
        columns = [torch.cat(column).numpy() for column in zip(empty_columns, *made, strict=True)]
        return {"places": np.array(places, dtype=np.int64)} | dict(
            zip(("features", "area", "empty"), columns, strict=True)
        )

    return Layer("masked-features", {**key, **masking.key}, SHARD), make


def _masks(backbone: Backbone, masking: Masking, maps: Tensor) -> tuple[Tensor, Tensor]:
    """What is kept, bool [n, S, S] or [n, h, w], and which of the masks were empty, bool [n]."""
    if masking.grain == "pixel":
        maps = upsample_cams(maps, backbone.image_size)
    keep = keep_mask(maps.float(), masking.tau, masking.keep)
    keep = kept_patches(keep, patch_grid(backbone)) if masking.fill == "drop" else keep
    return keep, is_empty(maps.float(), masking.tau, masking.keep)


def _true_masks(backbone: Backbone, masking: Masking, maps: list[Tensor]) -> tuple[Tensor, Tensor]:
    maps = torch.stack(maps)
    keep = keep_mask(maps, 0.5, masking.keep)
    coarse = masking.fill == "drop" or masking.grain == "patch"
    keep = kept_patches(keep, patch_grid(backbone)) if coarse else keep
    return keep, is_empty(maps, 0.5, masking.keep)


def _true_map(backbone: Backbone, pairs: Pairs, hidden: HiddenNouns, place: int) -> Tensor | None:
    """The label map under the same resizing and cropping as the image, 0 or 1, [S, S]; None: not there."""
    mask = pairs.true_mask(hidden.rows[place], hidden.lemmas[place])
    if mask is None:
        return None
    pixels = backbone.preprocess(Image.fromarray(mask.astype(np.uint8) * 255))[0]
    return (pixels * backbone.std[0] + backbone.mean[0] > 0.5).float()


def _shuffled(places: Sequence[int], seed: int) -> list[int]:
    """The places in another order, in which none stands at its own (from two on)."""
    if not places:
        return []
    shuffled = np.random.default_rng([seed, places[0]]).permutation(len(places))
    order = np.empty(len(places), dtype=np.int64)
    order[shuffled] = np.roll(shuffled, 1)
    return [places[at] for at in order]
