"""Image-caption pairs -> masked pairs -> features; a changed tau repeats only what depends on tau.

    pairs = load_pairs("pocket-small")
    masked = build_masked_pairs(backbone, pairs, tau=0.3)
    masked.masked_captions[0], masked.report

Of every caption one noun becomes ``*``; of its image only what belongs to that noun is kept. What is computed
is stored as artifacts, each named by all that it depends on:

* ``image-features``: backbone, pairs;
* ``nouns``: the drawn nouns (backbone, pairs, strategy, span, seed);
* ``cams``: their maps at patch grain (the above, CAM method and layer);
* ``masked-features``: the masked images (the above, mask source, tau, keep, fill).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from zscir.artifacts import artifact
from zscir.backbone import PLACEHOLDER, Backbone
from zscir.features import image_features, new_array, pixel_batches, stored
from zscir.nouns import SPANS, STRATEGIES, Noun, choose_noun, find_nouns, mask_noun
from zscir.regions import (
    FILLS,
    KEEPS,
    METHODS,
    TARGETS,
    encode_masked,
    is_empty,
    keep_mask,
    noun_cams,
    upsample_cams,
)
from zscir.sources import Pairs, load_pairs
from zscir.token_drop import check_drop

__all__ = ["MASK_SOURCES", "MaskedPairs", "Pairs", "build_masked_pairs", "image_features", "load_pairs"]

MASK_SOURCES = ("cam", "true", "none", "random")


@dataclass
class MaskedPairs:
    """Pairs with one noun masked in the caption and the rest masked in the image; N of the P pairs.

    Attributes:
        image_features: [N, D] float32, L2-normalised: the whole images.
        masked_features: [N, D] float32, L2-normalised: the masked images.
        masked_captions: the captions with ``*`` for the noun.
        nouns: what stood there.
        rows: [N] int64, increasing: which of the pairs.
        report: ``pairs`` P, ``masked`` N; left out are ``without_noun``, ``beyond_context`` (the noun lies
            behind the longest text of the backbone) and ``without_true_mask``; ``empty_masks`` (where the
            threshold alone kept nothing) and ``mean_kept_area`` (share of the image, 0 to 1) of the N.
    """

    image_features: Tensor
    masked_features: Tensor
    masked_captions: list[str]
    nouns: list[str]
    rows: Tensor
    report: dict


def check_masking(
    tau: float,
    keep: str = "noun",
    fill: str = "mean",
    cam_method: str | None = None,
    cam_target: str | None = None,
    noun_strategy: str = "random",
    span: str = "noun",
    mask_source: str = "cam",
):
    """Raise ValueError, naming parameter, value and legal values, for what `build_masked_pairs` refuses."""
    if isinstance(tau, bool) or not isinstance(tau, (int, float)) or not 0 <= tau <= 1:
        raise ValueError(f"tau is {tau!r}; legal: 0 <= tau <= 1")
    for name, value, legal in (
        ("keep", keep, KEEPS),
        ("fill", fill, FILLS),
        ("cam_method", cam_method, (None, *METHODS)),
        ("cam_target", cam_target, (None, *TARGETS)),
        ("noun_strategy", noun_strategy, STRATEGIES),
        ("span", span, SPANS),
        ("mask_source", mask_source, MASK_SOURCES),
    ):
        if value not in legal:
            raise ValueError(f"{name} is {value!r}; legal: {', '.join(map(str, legal))}")


def build_masked_pairs(
    backbone: Backbone,
    pairs: Pairs,
    tau: float = 0.3,
    *,
    keep: str = "noun",
    fill: str = "mean",
    cam_method: str | None = None,
    cam_layer: str | None = None,
    cam_target: str | None = None,
    noun_strategy: str = "random",
    span: str = "noun",
    mask_source: str = "cam",
    seed: int = 0,
    progress: bool = True,
) -> MaskedPairs:
    """Masked pairs: captions with one noun as ``*``, features of the images with the rest masked.

    Args:
        backbone: encodes the images and gives the CAMs.
        pairs: images with captions.
        tau: threshold on the CAM in [0, 1]; what is below is masked.
        keep: "noun" keeps where the CAM is high (the paper), "rest" the complement.
        fill: what stands in masked pixels, see ``zscir.masks.mask_image``; or "drop", which leaves masked
            patches out of a Vision Transformer, see ``zscir.token_drop``.
        cam_method, cam_layer, cam_target: see ``zscir.regions.noun_cams``; the backbone's own when None.
        noun_strategy: which noun of a caption, see ``zscir.nouns.choose_noun``; "most-visible" takes the one
            whose text feature is closest to the image feature.
        span: "noun" masks the noun alone, "chunk" with its determiner and adjectives.
        mask_source: "cam" (the paper), "true" (label maps of drawn pairs, no tau), "none" (the image stays
            whole), "random" (the CAM of another pair's noun on that pair's image: a floor).
        seed: of the drawn nouns and of "random".
        progress: show bars on stdout, where that is a terminal.

    Raises:
        ValueError: an illegal value; "true" for pairs without label maps; "drop" for a tower
            without patch tokens; unreadable images.
    """
    check_masking(tau, keep, fill, cam_method, cam_target, noun_strategy, span, mask_source)
    if mask_source == "true" and not pairs.has_true_masks:
        raise ValueError(
            f"mask_source is 'true', but pairs {pairs.name!r} have no label maps; legal: cam, none"
        )
    if fill == "drop":
        check_drop(backbone)
    whole = image_features(backbone, pairs, progress=progress)
    draw = {"backbone": backbone.fingerprint, "pairs": pairs.fingerprint}
    draw |= {"strategy": noun_strategy, "span": span, "seed": seed}
    folder = artifact("nouns", draw, lambda tmp: _write_nouns(tmp, backbone, pairs, whole, draw))
    drawn = json.loads((folder / "nouns.json").read_text(encoding="utf-8"))
    if mask_source == "none":
        rows = torch.tensor(drawn["rows"], dtype=torch.long)
        return _masked_pairs(
            drawn, whole, whole[rows], range(len(rows)), {"empty_masks": 0, "mean_kept_area": 1.0}
        )
    key = {**draw, "mask_source": mask_source, "keep": keep, "fill": fill}
    masks = _Masks(backbone, pairs, drawn, mask_source, keep, tau=0.5)
    if mask_source != "true":
        how = {"method": cam_method or backbone.cam_method, "layer": cam_layer or list(backbone.cam_layers)}
        how["target"] = cam_target or backbone.cam_target
        key |= {"tau": float(tau), **how}
        masks.tau = float(tau)
        masks.cams = _cams(backbone, pairs, drawn, draw, how, progress)
        masks.order = _other_pairs(len(masks.cams), seed) if mask_source == "random" else None
    folder = artifact("masked-features", key, lambda tmp: _write_masked(tmp, masks, fill, seed, progress))
    report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    return _masked_pairs(drawn, whole, stored(folder / "features.npy"), report.pop("places"), report)


def _masked_pairs(
    drawn: dict, whole: Tensor, masked: Tensor, places: Sequence[int], report: dict
) -> MaskedPairs:
    """Put together what the artifacts hold; ``places`` are the drawn nouns that have a mask."""
    rows = torch.tensor([drawn["rows"][place] for place in places], dtype=torch.long)
    left_out = {name: drawn[name] for name in ("without_noun", "beyond_context")}
    left_out["without_true_mask"] = len(drawn["rows"]) - len(rows)
    return MaskedPairs(
        image_features=whole[rows],
        masked_features=masked,
        masked_captions=[drawn["captions"][place] for place in places],
        nouns=[drawn["nouns"][place] for place in places],
        rows=rows,
        report={"pairs": len(whole), "masked": len(rows), **left_out, **report},
    )


def _write_nouns(folder: Path, backbone: Backbone, pairs: Pairs, whole: Tensor, draw: dict):
    """One noun a caption -> nouns.json: columns rows, nouns, lemmas, captions; counts of those without."""
    columns: dict = {"rows": [], "nouns": [], "lemmas": [], "captions": []}
    found = find_nouns(pairs.captions)
    usable = [
        [noun for noun in nouns if _fits(backbone, mask_noun(caption, noun, draw["span"]))]
        for caption, nouns in zip(pairs.captions, found, strict=True)
    ]
    visible = _visibility(backbone, whole, usable) if draw["strategy"] == "most-visible" else {}
    for row, nouns in enumerate(usable):
        rng = np.random.default_rng([draw["seed"], row])
        noun = choose_noun(nouns, draw["strategy"], rng, visible.get(row, []))
        if noun is not None:
            masked = mask_noun(pairs.captions[row], noun, draw["span"])
            for name, value in zip(columns, (row, noun.text, noun.lemma, masked), strict=True):
                columns[name].append(value)
    none = sum(not nouns for nouns in found)
    columns |= {"without_noun": none, "beyond_context": len(found) - none - len(columns["rows"])}
    (folder / "nouns.json").write_text(json.dumps(columns, ensure_ascii=False), encoding="utf-8")


def _fits(backbone: Backbone, masked: str) -> bool:
    """Whether the tokenizer sees exactly one ``*`` in the text, within the context."""
    ids = backbone.tokenizer.encode(masked.replace(PLACEHOLDER, f" {PLACEHOLDER} "))
    room = backbone.context_length - 2
    return ids.count(backbone.placeholder_id) == 1 and backbone.placeholder_id in ids[:room]


def _visibility(backbone: Backbone, whole: Tensor, nouns: Sequence[Sequence[Noun]]) -> dict[int, list[float]]:
    """Cosine of "a photo of a {noun}" and the image, for every noun of every row that has one."""
    lemmas = sorted({noun.lemma for row in nouns for noun in row})
    features = backbone.encode_texts([f"a photo of a {lemma}" for lemma in lemmas]).cpu()
    place = {lemma: index for index, lemma in enumerate(lemmas)}
    return {
        row: (features[[place[noun.lemma] for noun in found]] @ whole[row]).tolist()
        for row, found in enumerate(nouns)
        if found
    }


def _cams(backbone: Backbone, pairs: Pairs, drawn: dict, draw: dict, how: dict, progress: bool) -> np.ndarray:
    """Maps [N, h, w] float16 of the drawn nouns at patch grain (an artifact)."""

    def build(folder: Path):
        store, first = None, 0
        for rows, pixels in pixel_batches(backbone, pairs, drawn["rows"], "CAMs", progress):
            nouns = [[lemma] for lemma in drawn["lemmas"][first : first + len(rows)]]
            maps = noun_cams(backbone, pixels, nouns, **how, grain="patch")
            maps = torch.cat(maps).cpu().numpy()
            if store is None:
                store = new_array(folder / "cams.npy", (len(drawn["rows"]), *maps.shape[1:]), np.float16)
            store[first : first + len(rows)] = maps
            first += len(rows)
        if store is None:
            np.save(folder / "cams.npy", np.zeros((0, 1, 1), np.float16))

    folder = artifact("cams", {**draw, **how}, build)
    return np.load(folder / "cams.npy", mmap_mode="r")


def _other_pairs(count: int, seed: int) -> np.ndarray:
    """A shuffled order [count] in which nothing stands at its own place (from two on)."""
    shuffled = np.random.default_rng(seed).permutation(count)
    order = np.empty(count, dtype=np.int64)
    order[shuffled] = np.roll(shuffled, 1)
    return order


@dataclass
class _Masks:
    """Where the masks of the drawn nouns come from."""

    backbone: Backbone
    pairs: Pairs
    drawn: dict
    source: str
    keep: str
    tau: float
    cams: np.ndarray | None = None
    order: np.ndarray | None = None

    def places(self) -> list[int]:
        """The drawn nouns that have a mask."""
        drawn = zip(self.drawn["rows"], self.drawn["lemmas"], strict=True)
        if self.source != "true":
            return list(range(len(self.drawn["rows"])))
        return [at for at, (row, lemma) in enumerate(drawn) if self.pairs.true_mask(row, lemma) is not None]

    def maps(self, places: Sequence[int]) -> Tensor:
        """Maps [n, S, S] float32 in [0, 1] of drawn nouns."""
        if self.source == "true":
            return torch.stack([self._true_map(place) for place in places])
        chosen = places if self.order is None else self.order[places]
        return upsample_cams(torch.from_numpy(self.cams[chosen]), self.backbone.image_size)

    def _true_map(self, place: int) -> Tensor:
        """The label map under the same resizing and cropping as the image, 0 or 1, [S, S]."""
        mask = self.pairs.true_mask(self.drawn["rows"][place], self.drawn["lemmas"][place])
        pixels = self.backbone.preprocess(Image.fromarray(mask.astype(np.uint8) * 255))[0]
        return (pixels * self.backbone.std[0] + self.backbone.mean[0] > 0.5).float()


def _write_masked(folder: Path, masks: _Masks, fill: str, seed: int, progress: bool):
    """Features of the masked images -> features.npy, and report.json."""
    backbone, places = masks.backbone, masks.places()
    store = new_array(folder / "features.npy", (len(places), backbone.dim))
    noise = torch.Generator().manual_seed(seed)
    first = empty = 0
    area = 0.0
    rows = [masks.drawn["rows"][place] for place in places]
    for batch, pixels in pixel_batches(backbone, masks.pairs, rows, "masked images", progress):
        maps = masks.maps(places[first : first + len(batch)])
        kept = keep_mask(maps, masks.tau, masks.keep)
        empty += int(is_empty(maps, masks.tau, masks.keep).sum())
        area += float(kept.float().mean(dim=(1, 2)).sum())
        features = encode_masked(backbone, pixels, kept, fill, noise)
        store[first : first + len(batch)] = features.cpu().numpy()
        first += len(batch)
    store.flush()
    report = {"places": places, "empty_masks": empty, "mean_kept_area": area / len(places) if places else 0.0}
    (folder / "report.json").write_text(json.dumps(report), encoding="utf-8")
