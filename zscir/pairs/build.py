"""Image-caption pairs -> masked pairs -> features; a changed tau repeats only what depends on tau.

    pairs = load_pairs("pocket-small")
    masked = build_masked_pairs(backbone, pairs, tau=0.3)
    masked.masked_captions[0], masked.report
    masked_pairs_at(backbone, pairs, [0.2, 0.3, 0.4])      # {tau: MaskedPairs}, images read once

Of every caption one noun becomes ``*``; of its image only what belongs to that noun is kept. What is
computed is stored as artifacts, each named by all that it depends on and made shard by shard: a run that was
killed goes on where it was, and its features are the same to the byte.

* ``image-features``: backbone, pairs;
* ``nouns``: the hidden nouns (backbone, pairs, strategy, span, seed);
* ``cams``: their maps at patch grain (the above, CAM method, layer and target);
* ``masked-features``: the masked images (the above, mask source, tau, keep, fill, grain).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from zscir.backbone import Backbone
from zscir.pairs.features import (
    MAX_SKIPPED,
    check_skipped,
    features_layer,
    image_features,
    readable_rows,
    run_layers,
    stored,
    unreadable_images,
)
from zscir.pairs.hidden_nouns import HiddenNouns, hidden_nouns, noun_texts, nouns_key, only
from zscir.pairs.masked_features import Masking, cams_layer, largest_maps, lookup, masked_layer
from zscir.pairs.masked_pairs import MaskedPairs
from zscir.pairs.masking import MASK_SOURCES, check_masking
from zscir.pairs.sources import Pairs, load_pairs
from zscir.regions.token_drop import check_drop

__all__ = [
    "MASK_SOURCES",
    "MaskedPairs",
    "Pairs",
    "build_masked_pairs",
    "check_masking",
    "image_features",
    "load_pairs",
    "masked_pairs_at",
    "readable_rows",
]


def build_masked_pairs(
    backbone: Backbone,
    pairs: Pairs,
    tau: float = 0.3,
    *,
    keep: str = "noun",
    fill: str = "mean",
    grain: str = "pixel",
    cam_method: str | None = None,
    cam_layer: str | Sequence[str] | None = None,
    cam_target: str | None = None,
    nouns: str = "one",
    noun_strategy: str = "random",
    span: str = "noun",
    mask_source: str = "cam",
    seed: int = 0,
    epoch: int = 0,
    max_skipped: float = MAX_SKIPPED,
    n_process: int = 1,
    progress: bool = True,
) -> MaskedPairs:
    """Masked pairs: captions with one noun as ``*``, features of the images with the rest masked.

    Args:
        backbone: encodes the images and gives the CAMs.
        pairs: images with captions.
        tau: threshold on the CAM in [0, 1]; what is below is masked.
        keep: "noun" keeps where the CAM is high (the paper), "rest" the complement.
        fill: what stands in masked pixels, see ``zscir.regions.mask_image``; or "drop", which leaves masked
            patches out of a Vision Transformer, see ``zscir.regions.token_drop``.
        grain: "pixel" thresholds the map at the image's size, "patch" at the size of the CAM layer's grid.
        cam_method, cam_layer, cam_target: see ``zscir.regions.noun_cams``; the backbone's own when None.
        nouns: "one" noun a caption, or "all" of them, each a masked pair (see ``MaskedPairs.draw``).
        noun_strategy: which one, see ``zscir.nouns.choose_noun``; "most-visible" takes the one whose CAM has
            the largest mean.
        span: "noun" masks the noun alone, "chunk" with its determiner and adjectives.
        mask_source: "cam" (the paper), "true" (label maps of drawn pairs, no tau), "none" (the image stays
            whole), "random" (the CAM of another pair's noun on that pair's image: a floor).
        seed, epoch: of the random noun (their sum: another epoch draws anew) and of "random".
        max_skipped: share of the pairs that may be left out (unreadable, incomplete, without a usable noun).
        n_process: worker processes of spaCy.
        progress: show bars on stdout, where that is a terminal.

    Raises:
        ValueError: an illegal value; "true" for pairs without label maps; "drop" for a tower without patch
            tokens; a backbone without CAM layer; more than ``max_skipped`` left out, counted by reason.
    """
    options = {"keep": keep, "fill": fill, "grain": grain, "cam_method": cam_method, "cam_layer": cam_layer}
    options |= {"cam_target": cam_target, "nouns": nouns, "noun_strategy": noun_strategy, "span": span}
    options |= {"mask_source": mask_source, "seed": seed, "epoch": epoch, "max_skipped": max_skipped}
    made = masked_pairs_at(backbone, pairs, [tau], **options, n_process=n_process, progress=progress)
    return made[tau]


def masked_pairs_at(
    backbone: Backbone, pairs: Pairs, taus: Sequence[float], **options
) -> dict[float, MaskedPairs]:
    """Masked pairs at several thresholds; they share all but the masked images.

    Each image is read once, its features and the CAMs of its nouns are computed once.

    Args:
        backbone: encodes the images and gives the CAMs.
        pairs: images with captions.
        taus: the thresholds, as in `build_masked_pairs`.
        **options: those of `build_masked_pairs`.

    Raises:
        ValueError: as `build_masked_pairs`, or no tau.
    """
    if not taus:
        raise ValueError("taus is empty; legal: at least one threshold")
    return _Work(backbone, pairs, **options).run(list(dict.fromkeys(taus)))


@dataclass
class _Work:
    """One call of `masked_pairs_at`: the settings, and the way from pairs to artifacts."""

    backbone: Backbone
    pairs: Pairs
    keep: str = "noun"
    fill: str = "mean"
    grain: str = "pixel"
    cam_method: str | None = None
    cam_layer: str | Sequence[str] | None = None
    cam_target: str | None = None
    nouns: str = "one"
    noun_strategy: str = "random"
    span: str = "noun"
    mask_source: str = "cam"
    seed: int = 0
    epoch: int = 0
    max_skipped: float = MAX_SKIPPED
    n_process: int = 1
    progress: bool = True

    def run(self, taus: list[float]) -> dict[float, MaskedPairs]:
        """Compute what is not stored yet; put the pairs of each tau together."""
        self._check(taus)
        features = features_layer(self.backbone, self.pairs)
        strategy = "all" if self.nouns == "all" else self.noun_strategy
        chosen = strategy == "most-visible"
        hidden, key = self._hidden("all" if chosen else strategy)
        cams = self._cams(hidden, key)
        if chosen:  # by the maps of all nouns, so these come first
            self._run([features, cams], "CAMs")
            order = largest_maps(np.load(cams[0].folder / "cams.npy", mmap_mode="r"), hidden.rows)
            hidden, key = only(hidden, order), {**key, "strategy": strategy, **self._how}
        else:
            order = None
        if self.mask_source == "none":
            self._run([features], "images")
            return {tau: self._whole(hidden, features[0].folder) for tau in taus}
        needs_maps = self.mask_source != "true"
        key = {**key, **self._how} if needs_maps else key
        found = lookup(cams[0], hidden, order) if needs_maps else None
        layers = {tau: self._masked(tau, hidden, key, found) for tau in taus}
        before = [features, cams] if needs_maps else [features]
        self._run([*before, *{layer[0].folder: layer for layer in layers.values()}.values()], "masked images")
        return {tau: self._made(hidden, features[0].folder, layers[tau][0].folder) for tau in taus}

    def _check(self, taus: Sequence[float]) -> None:
        for tau in taus:
            names = ("keep", "fill", "cam_method", "cam_target", "noun_strategy", "span", "mask_source")
            check_masking(tau, **{name: getattr(self, name) for name in (*names, "grain", "nouns")})
        if not 0 <= self.max_skipped <= 1:
            raise ValueError(f"max_skipped is {self.max_skipped!r}; legal: 0 <= max_skipped <= 1")
        if self.mask_source == "true" and not self.pairs.has_true_masks:
            raise ValueError(
                f"mask_source is 'true', but pairs {self.pairs.name!r} have no label maps; legal: cam, none"
            )
        if self.fill == "drop" or (self.mask_source == "true" and self.grain == "patch"):
            check_drop(self.backbone)
        needs_maps = self.mask_source in ("cam", "random") or self.noun_strategy == "most-visible"
        if needs_maps and not (self.cam_layer or self.backbone.cam_layers):
            raise ValueError(
                f"cam_layer is None, but backbone {self.backbone.name!r} has no default layer for maps"
            )

    @property
    def _how(self) -> dict:
        layer = [self.cam_layer] if isinstance(self.cam_layer, str) else self.cam_layer
        return {
            "method": self.cam_method or self.backbone.cam_method,
            "layer": list(layer or self.backbone.cam_layers),
            "target": self.cam_target or self.backbone.cam_target,
        }

    def _hidden(self, strategy: str) -> tuple[HiddenNouns, dict]:
        """The hidden nouns and the key they are stored by."""
        key = nouns_key(self.backbone, self.pairs, strategy, self.span, self.seed + self.epoch)
        folder = hidden_nouns(
            self.backbone, self.pairs, key, n_process=self.n_process, progress=self.progress
        )
        hidden = HiddenNouns.of(folder)
        check_skipped(self.pairs, self._skipped(hidden), self.max_skipped)
        return hidden, key

    def _skipped(self, hidden: HiddenNouns, unreadable: Sequence[tuple[int, str]] = ()) -> dict:
        """Reason -> row and text of every pair that is left out; a pair has one reason."""
        broken = {row for row, _ in unreadable}
        skipped = {"unreadable": list(unreadable)}
        skipped["incomplete"] = [(-1, text) for text in self.pairs.incomplete]
        for reason in ("without_noun", "beyond_context"):
            rows = [row for row in getattr(hidden, reason) if row not in broken]
            skipped[reason] = [(row, f"caption {row}: {self.pairs.captions[row]!r:.80}") for row in rows]
        return skipped

    def _cams(self, hidden: HiddenNouns, key: dict):
        @cache
        def texts() -> dict[str, Tensor]:
            return noun_texts(self.backbone, hidden, key)

        return cams_layer(self.backbone, hidden, texts, key, self._how)

    def _masked(self, tau: float, hidden: HiddenNouns, key: dict, cams):
        seed = self.seed + self.epoch
        masking = Masking(self.mask_source, float(tau), self.keep, self.fill, self.grain, seed)
        return masked_layer(self.backbone, self.pairs, hidden, masking, key, cams)

    def _run(self, layers: list, label: str) -> None:
        options = {"max_skipped": self.max_skipped, "label": label, "progress": self.progress}
        run_layers(self.backbone, self.pairs, layers, **options)

    def _whole(self, hidden: HiddenNouns, features: Path) -> MaskedPairs:
        """The pairs of mask source "none"."""
        whole = stored(features / "features.npy")
        good = whole[:, 0].isfinite().tolist()
        places = [place for place, row in enumerate(hidden.rows) if good[row]]
        rows = torch.tensor([hidden.rows[place] for place in places], dtype=torch.long)
        area, empty = torch.ones(len(rows)), torch.zeros(len(rows), dtype=torch.bool)
        return self._put_together(hidden, whole, places, whole[rows], area, empty)

    def _made(self, hidden: HiddenNouns, features: Path, masked: Path) -> MaskedPairs:
        """The pairs that artifacts hold."""
        whole = stored(features / "features.npy")
        places, made, area, empty = (
            stored(masked / f"{name}.npy") for name in ("places", "features", "area", "empty")
        )
        return self._put_together(hidden, whole, places.tolist(), made, area, empty)

    def _put_together(self, hidden, whole, places, made, area, empty) -> MaskedPairs:
        layer, _ = features_layer(self.backbone, self.pairs)
        skipped = self._skipped(hidden, unreadable_images(layer))
        check_skipped(self.pairs, skipped, self.max_skipped)
        rows = torch.tensor([hidden.rows[place] for place in places], dtype=torch.long)
        broken = {row for row, _ in skipped["unreadable"]}
        usable = sum(row not in broken for row in hidden.rows)
        report = {"pairs": len(whole), "masked": len(places)}
        report |= {reason: len(found) for reason, found in skipped.items()}
        report |= {"without_true_mask": usable - len(places), "empty_masks": int(empty.sum())}
        report["mean_kept_area"] = float(area.double().mean()) if len(area) else 0.0
        return MaskedPairs(
            image_features=whole[rows],
            masked_features=made,
            masked_captions=[hidden.captions[place] for place in places],
            nouns=[hidden.nouns[place] for place in places],
            lemmas=[hidden.lemmas[place] for place in places],
            rows=rows,
            report=report,
            kept_area=area,
            skipped=skipped,
        )
