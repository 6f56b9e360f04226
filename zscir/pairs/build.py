"""Image-caption pairs -> masked pairs -> features; a changed tau repeats only what depends on tau.

    pairs = load_pairs("pocket-small")
    masked = build_masked_pairs(backbone, pairs, Masking(tau=0.3))
    masked.masked_captions[0], masked.report
    masked_pairs_at(backbone, pairs, [0.2, 0.3, 0.4])      # {tau: MaskedPairs}, images read once

Of every caption one noun becomes ``*``; of its image only what belongs to that noun is kept. What is
computed is stored as artifacts, each named by all that it depends on and made shard by shard: a run that was
killed goes on where it was, and its features are the same to the byte.

* ``image-features``: backbone, pairs;
* ``nouns``: the hidden nouns (backbone, pairs, strategy, span, seed);
* ``cams``: their maps at patch grain (the above, CAM method, layer and target);
* ``masked-features``: the masked images (the above, mask source, tau, keep, fill).
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from functools import cache

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from zscir.backbone import Backbone
from zscir.pairs.features import (
    IMAGE_BATCH,
    MAX_SKIPPED,
    SHARD,
    Shard,
    check_skipped,
    features_layer,
    features_of,
    stored,
    unfinished_shards,
    unreadable_images,
)
from zscir.pairs.hidden_nouns import HiddenNouns, hidden_nouns, noun_texts
from zscir.pairs.masked_pairs import MaskedPairs
from zscir.pairs.masking import Masking
from zscir.pairs.sources import Pairs
from zscir.regions import encode_regions, encode_with_cams, noun_cams
from zscir.storage.checks import check, number, whole
from zscir.storage.dealing import Share
from zscir.storage.shards import Columns, Layer


def build_masked_pairs(
    backbone: Backbone, pairs: Pairs, masking: Masking | None = None, **options: object
) -> MaskedPairs:
    """Masked pairs: captions with one noun as ``*``, features of the images with the rest masked.

    Args:
        backbone: encodes the images and gives the CAMs.
        pairs: images with captions.
        masking: how; by default ``Masking()``.
        **options: of `masked_pairs_at` (``max_skipped``, ``n_process``, ``progress``), and settings of
            `Masking` in place of those of ``masking``, such as ``tau=0.4``.

    Raises:
        ValueError: an illegal value; "true" for pairs without label maps; "drop" for a tower without patch
            tokens; a backbone without CAM layer; more than ``max_skipped`` left out, counted by reason.
    """
    tau = options.pop("tau", (masking or Masking()).tau)
    return masked_pairs_at(backbone, pairs, [tau], masking, **options)[tau]


def masked_pairs_at(
    backbone: Backbone,
    pairs: Pairs,
    taus: Sequence[float],
    masking: Masking | None = None,
    *,
    max_skipped: float = MAX_SKIPPED,
    n_process: int = 1,
    progress: bool = True,
    **settings: object,
) -> dict[float, MaskedPairs]:
    """Masked pairs at several thresholds; they share all but the masked images.

    Each image is read once, its features and the CAMs of its nouns are computed once.

    Args:
        backbone, pairs, masking: as in `build_masked_pairs`.
        taus: the thresholds, in place of that of ``masking``.
        max_skipped: share of the pairs that may be left out (unreadable, incomplete, without a usable noun).
        n_process: worker processes of spaCy.
        progress: show bars on stdout, where that is a terminal.
        **settings: of `Masking`, in place of those of ``masking``.

    Raises:
        ValueError: as `build_masked_pairs`, or no tau.
    """
    check("max_skipped", max_skipped, number("0 <= max_skipped <= 1", lambda share: 0 <= share <= 1))
    check("n_process", n_process, whole("whole numbers from 1 (-1: one a core)", lambda n: n >= 1 or n == -1))
    masking = replace(masking or Masking(), **settings)
    at = {tau: replace(masking, tau=tau) for tau in taus}
    if not at:
        raise ValueError("taus is empty; legal: at least one threshold")
    work = {"n_process": n_process, "max_skipped": max_skipped, "progress": progress}
    hidden, layers = fill_layers(backbone, pairs, list(at.values()), **work)
    features = features_layer(backbone, pairs)
    found = {tau: _put_together(pairs, hidden, features, layers.get(own)) for tau, own in at.items()}
    for masked in found.values():
        check_skipped(pairs, masked.skipped, max_skipped)
    return found


def fill_layers(
    backbone: Backbone,
    pairs: Pairs,
    at: Sequence[Masking],
    *,
    n_process: int,
    share: Share | None = None,
    **work: object,
) -> tuple[HiddenNouns, dict[Masking, Layer]]:
    """Make what masked pairs consist of: the hidden nouns, and the features of masked images at each masking.

    Arguments and errors are those of `masked_pairs_at`. ``at`` are maskings that differ in tau alone. With a
    ``share``, only its shards of the images are made, and not joined (`zscir.storage.dealing`).
    """
    masking = at[0]
    masking.check_for(backbone, pairs)
    hidden = hidden_nouns(backbone, pairs, masking, n_process=n_process, progress=work["progress"])
    check_skipped(pairs, _left_out(pairs, hidden), work["max_skipped"])
    maps = Layer("cams", {**hidden.key, **masking.cams(backbone)}, SHARD)
    if masking.strategy == "most-visible":  # by the maps of all nouns, so these come first
        _fill(backbone, pairs, hidden, maps, {}, **work)
        hidden = _most_visible(hidden, maps, masking.cams(backbone))
    from_maps = masking.mask_source in ("cam", "random")
    key, layers = hidden.key | (masking.cams(backbone) if from_maps else {}), {}
    if masking.mask_source != "none":
        layers = {own: Layer("masked-features", {**key, **own.key}, SHARD) for own in at}
    _fill(backbone, pairs, hidden, maps if from_maps else None, layers, share=share, **work)
    return hidden, layers


def _fill(
    backbone: Backbone, pairs: Pairs, hidden: HiddenNouns, maps: Layer | None, masked: dict, **work: object
) -> None:
    """Shard by shard: images -> features -> maps of the nouns -> for each masking: mask -> features -> store.

    What is stored already is not made again. ``hidden`` are the nouns of the masked images; a layer of maps
    that is not whole yet has the same. ``masked`` has a layer for each masking; ``work`` is ``max_skipped``,
    ``progress`` and ``share``.
    """
    features, texts = features_layer(backbone, pairs), cache(lambda: noun_texts(backbone, hidden))
    layers = [features, *([] if maps is None else [maps]), *masked.values()]
    label = "masked images" if masked else "images"
    with unfinished_shards(backbone, pairs, layers, label, **work) as shards:
        for shard in shards:
            encoded = cams = None
            if maps is not None and not maps.has(shard.index):
                encoded, cams = _encode_with_maps(backbone, shard, hidden, texts(), maps.key)
            if not features.has(shard.index):
                features.write(shard.index, features_of(backbone, shard, encoded))
            if cams is not None:
                maps.write(shard.index, {"cams": cams})
            missing = {masking: layer for masking, layer in masked.items() if not layer.has(shard.index)}
            regions = _regions(backbone, pairs, shard, hidden, maps) if missing else {}
            for masking, layer in missing.items():
                layer.write(shard.index, _masked_of(backbone, shard, hidden, masking, regions))


def _encode_with_maps(
    backbone: Backbone, shard: Shard, hidden: HiddenNouns, texts: dict[str, Tensor], key: dict
) -> tuple[list[Tensor], np.ndarray]:
    """Features of the batches of a shard, and from the same forward the maps [m, h, w] float16 of its m nouns
    at patch grain; 0 where the image cannot be read."""
    how = {name: key[name] for name in ("method", "layer", "target")} | {"grain": "patch", "texts": texts}
    places = hidden.within(shard.rows)
    places_of: dict[int, list[int]] = {row: [] for row in shard.readable}
    for place in places:
        places_of.get(hidden.rows[place], []).append(place)
    encoded, found = [], []
    for rows, pixels in shard.batches():
        nouns = [[hidden.lemmas[place] for place in places_of[row]] for row in rows]
        features, maps = encode_with_cams(backbone, pixels, nouns, **how)
        encoded.append(features)
        found += maps
    if not found:  # no image can be read: only the shape of a map
        size = backbone.image_size
        found = noun_cams(backbone, torch.zeros(1, 3, size, size), [[]], **how)
    found = torch.cat(found).cpu().numpy()
    cams = np.zeros((len(places), *found.shape[1:]), np.float16)
    cams[[place - places.start for of_row in places_of.values() for place in of_row]] = found
    return encoded, cams


def _most_visible(hidden: HiddenNouns, maps: Layer, how: dict) -> HiddenNouns:
    """Of each pair the noun whose map has the largest mean, the first of equals."""
    cams = np.load(maps.folder / "cams.npy", mmap_mode="r")
    mass = pd.Series([float(cam.mean(dtype=np.float64)) for cam in cams], dtype=float)
    best = mass.groupby(hidden.rows).idxmax()
    return hidden.only(best.tolist(), strategy="most-visible", **how)


def _regions(
    backbone: Backbone, pairs: Pairs, shard: Shard, hidden: HiddenNouns, maps: Layer | None
) -> dict[int, Tensor]:
    """Maps of the nouns of a shard whose image could be read: place -> [h, w] float32.

    From the stored maps, or from the pairs' own label maps, where the noun has one.
    """
    places = hidden.within(shard.rows)
    readable = set(shard.readable)
    if maps is None:
        places = [place for place in places if hidden.rows[place] in readable]
        own = {place: _true_map(backbone, pairs, hidden, place) for place in places}
        return {place: region for place, region in own.items() if region is not None}
    cams = None
    if not maps.is_whole:
        with suppress(FileNotFoundError):  # another process has joined it meanwhile
            cams = maps.read(shard.index)["cams"]
    if cams is None:
        cams = np.load(maps.folder / "cams.npy", mmap_mode="r")[hidden.places[places.start : places.stop]]
    cams = torch.from_numpy(cams.astype(np.float32))
    return {place: cam for place, cam in zip(places, cams, strict=True) if hidden.rows[place] in readable}


def _true_map(backbone: Backbone, pairs: Pairs, hidden: HiddenNouns, place: int) -> Tensor | None:
    """The label map under the same resizing and cropping as the image, 0 or 1, [S, S]; None: not there."""
    mask = pairs.true_mask(hidden.rows[place], hidden.lemmas[place])
    if mask is None:
        return None
    return backbone.preprocess_mask(mask).float()


def _masked_of(
    backbone: Backbone, shard: Shard, hidden: HiddenNouns, masking: Masking, regions: dict[int, Tensor]
) -> Columns:
    """Columns of the hidden nouns that have a map: ``places``, ``features``, ``area`` (the kept share of the
    image) and ``empty`` (whether the threshold alone kept nothing)."""
    places, seed = list(regions), masking.drawn_by
    seen = _shuffled(places, seed) if masking.mask_source.startswith("random") else places
    tau = 0.5 if masking.from_labels else masking.tau
    noise = torch.Generator().manual_seed(seed + 1_000_003 * shard.index)
    at = {row: place for place, row in enumerate(shard.readable)}
    columns = [(torch.zeros(0, backbone.dim), torch.zeros(0), torch.zeros(0, dtype=torch.bool))]
    for first in range(0, len(places), IMAGE_BATCH):
        batch = slice(first, first + IMAGE_BATCH)
        pixels = shard.pixels[[at[hidden.rows[place]] for place in places[batch]]]
        maps = torch.stack([regions[place] for place in seen[batch]])
        how = (tau, masking.keep, masking.fill)
        features, keep, empty = encode_regions(backbone, pixels, maps, *how, generator=noise)
        columns.append((features.cpu(), keep.float().mean(dim=(1, 2)), empty))
    features, area, empty = (torch.cat(column).numpy() for column in zip(*columns, strict=True))
    return {"places": np.array(places, dtype=np.int64), "features": features, "area": area, "empty": empty}


def _shuffled(places: Sequence[int], seed: int) -> list[int]:
    """The places in another order, in which none stands at its own (from two on)."""
    if not places:
        return []
    shuffled = np.random.default_rng([seed, places[0]]).permutation(len(places))
    order = np.empty(len(places), dtype=np.int64)
    order[shuffled] = np.roll(shuffled, 1)
    return [places[at] for at in order]


def _left_out(pairs: Pairs, hidden: HiddenNouns, unreadable: Sequence[tuple[int, str]] = ()) -> dict:
    """Reason -> row and text of every pair that is left out; a pair has one reason."""
    broken = {row for row, _ in unreadable}
    skipped = {"unreadable": list(unreadable), "incomplete": [(-1, text) for text in pairs.incomplete]}
    for reason in ("without_noun", "beyond_context"):
        rows = [row for row in getattr(hidden, reason) if row not in broken]
        skipped[reason] = [(row, f"caption {row}: {pairs.captions[row]!r:.80}") for row in rows]
    return skipped


def _put_together(pairs: Pairs, hidden: HiddenNouns, features: Layer, masked: Layer | None) -> MaskedPairs:
    """The pairs that the layers hold; without masked images the whole ones stand for them."""
    whole = stored(features.folder / "features.npy")
    if masked is None:
        good = whole[:, 0].isfinite().tolist()
        places = [place for place, row in enumerate(hidden.rows) if good[row]]
        area, empty = torch.ones(len(places)), torch.zeros(len(places), dtype=torch.bool)
    else:
        area, empty = (stored(masked.folder / f"{name}.npy") for name in ("area", "empty"))
        places = stored(masked.folder / "places.npy").tolist()
    rows = torch.tensor([hidden.rows[place] for place in places], dtype=torch.long)
    skipped = _left_out(pairs, hidden, unreadable_images(features))
    broken = {row for row, _ in skipped["unreadable"]}
    usable = sum(row not in broken for row in hidden.rows)
    report = {"pairs": len(whole), "masked": len(places)}
    report |= {reason: len(found) for reason, found in skipped.items()}
    report |= {"remarked": count} if (count := len(unreadable_images(features, "remarks"))) else {}
    report |= {"without_true_mask": usable - len(places), "empty_masks": int(empty.sum())}
    report["mean_kept_area"] = float(area.double().mean()) if len(area) else 0.0
    return MaskedPairs(
        image_features=whole[rows],
        masked_features=whole[rows] if masked is None else stored(masked.folder / "features.npy"),
        masked_captions=[hidden.captions[place] for place in places],
        nouns=[hidden.nouns[place] for place in places],
        lemmas=[hidden.lemmas[place] for place in places],
        rows=rows,
        report=report,
        kept_area=area,
        skipped=skipped,
    )
