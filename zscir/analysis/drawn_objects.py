"""What chapters 2 and 3 count: nouns against what a scene shows, maps against where its objects are.

Both need pairs that know their own truth, so drawn ones: ``load_pairs("pocket-small")``.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from zscir.analysis.mask_quality import localisation
from zscir.backbone import Backbone
from zscir.backbone.weights import default_cam_layer
from zscir.nouns import Noun
from zscir.pairs import Pairs
from zscir.pocket.vocabulary import THINGS
from zscir.regions.maps import cams_by_method, noun_cams
from zscir.regions.masks import expand_mask
from zscir.regions.token_drop import kept_patches, patch_grid

#: Methods of maps that `localisation_table` compares.
METHODS = ("gradcam", "layercam", "hirescam")
#: What a noun of a caption can be in the drawn picture.
JUDGEMENTS = ("an object", "the place", "not in the picture", "something else")


def judged_nouns(pairs: Pairs, nouns: Sequence[Sequence[Noun]]) -> pd.DataFrame:
    """What each noun of each caption is in its picture.

    Args:
        pairs: drawn pairs.
        nouns: what ``find_nouns(pairs.captions)`` gives.

    Returns:
        One row a noun: ``row`` of the pair, ``text``, ``lemma``, ``is`` (one of `JUDGEMENTS`: "not in the
        picture" is a thing of the world that this scene lacks, "something else" any other word).

    Raises:
        ValueError: pairs without scenes.
    """
    _need_scenes(pairs)
    rows = [
        {"row": row, "text": noun.text, "lemma": noun.lemma, "is": _judgement(pairs, row, noun.lemma)}
        for row, found in enumerate(nouns)
        for noun in found
    ]
    return pd.DataFrame(rows, columns=["row", "text", "lemma", "is"])


def mentions(pairs: Pairs, nouns: Sequence[Sequence[Noun]]) -> pd.DataFrame:
    """Every mention of a thing of the world in a caption, and whether ``find_nouns`` found it.

    Mentions are found without any grammar, by looking for the names of the vocabulary, longest first (but
    "top of" names no garment).

    Returns:
        One row a mention: ``row``, ``word``, ``found`` ("exactly", "in a longer noun" or "no").

    Raises:
        ValueError: pairs without scenes.
    """
    _need_scenes(pairs)
    names = {word for thing in THINGS.values() for word in (*thing.names, thing.plural)}
    longest_first = "|".join(f"{re.escape(word)}(?:e?s)?" for word in sorted(names, key=len, reverse=True))
    pattern = re.compile(rf"\b(?:{longest_first})\b(?! of\b)")
    rows = [
        {"row": row, "word": match[0], "found": _found(match.start(), match.end(), nouns[row])}
        for row, caption in enumerate(pairs.captions)
        for match in pattern.finditer(caption)
    ]
    return pd.DataFrame(rows, columns=["row", "word", "found"])


@dataclass
class DrawnObjects:
    """R objects of drawn pictures, as the backbone sees them.

    Attributes:
        rows: the pair of each object. lemmas: its noun.
        pixels: [R, 3, S, S] normalised. masks: [R, S, S] bool, where the object is seen.
    """

    rows: list[int]
    lemmas: list[str]
    pixels: Tensor
    masks: Tensor

    def maps(self, backbone: Backbone, **options) -> Tensor:
        """CAMs [R, S, S] of all objects; options as in ``zscir.regions.noun_cams``."""
        return torch.cat(noun_cams(backbone, self.pixels, [[lemma] for lemma in self.lemmas], **options))

    def maps_by_method(
        self, backbone: Backbone, methods: Sequence[str], layer: Sequence[str] | None = None
    ) -> dict[str, Tensor]:
        """The same by several methods: method -> CAMs [R, S, S]."""
        nouns = [[lemma] for lemma in self.lemmas]
        found = cams_by_method(backbone, self.pixels, nouns, methods, layer=layer)
        return {method: torch.cat(maps) for method, maps in found.items()}


def drawn_objects(backbone: Backbone, pairs: Pairs, rows: Sequence[int]) -> DrawnObjects:
    """The objects (no garments, which fill their picture) of some drawn pairs, with their true masks.

    Raises:
        ValueError: pairs without scenes, or no object in these rows.
    """
    _need_scenes(pairs)
    found: list[tuple[int, str, Tensor, Tensor]] = []
    for row in rows:
        scene = json.loads(pairs.scenes[row])
        pixels = backbone.preprocess(pairs.images[row])
        for noun in dict.fromkeys(thing["noun"] for thing in scene["objects"]):
            mask = backbone.preprocess_mask(pairs.true_mask(row, noun))
            if scene["place"] != "studio" and mask.any():
                found.append((row, noun, pixels, mask))
    if not found:
        raise ValueError(f"rows {list(rows)[:5]} ... of {pairs.name!r} show no object")
    numbers, nouns, pixels, masks = zip(*found, strict=True)
    return DrawnObjects(list(numbers), list(nouns), torch.stack(pixels), torch.stack(masks))


def localisation_table(
    backbone: Backbone, objects: DrawnObjects, layers: Mapping[str, Sequence[str]]
) -> pd.DataFrame:
    """Mean best IoU and pointing (0 to 1): one row a layer (name -> module paths), a column pair a method."""
    table = {}
    for name, layer in layers.items():
        maps = objects.maps_by_method(backbone, METHODS, layer)
        found = {method: localisation(own, objects.masks) for method, own in maps.items()}
        columns = {"IoU": "best_iou", "pointing": "pointing"}
        table[name] = {(title, m): found[m][key].mean() for title, key in columns.items() for m in METHODS}
    return pd.DataFrame.from_dict(table, orient="index").rename_axis("layer")


def blind_maps(objects: DrawnObjects, maps: Tensor, seed: int = 0) -> dict[str, Tensor]:
    """Maps [R, S, S] that know nothing of the noun: what a map must beat.

    "a map of another picture" shuffles ``maps`` [R, S, S]; "a blob in the middle" is one Gaussian for all.
    """
    count, side = maps.shape[0], maps.shape[-1]
    order = np.random.default_rng(seed).permutation(count)
    away = (torch.arange(side) - (side - 1) / 2) / (side / 4)
    blob = torch.exp(-(away[:, None] ** 2 + away[None, :] ** 2) / 2)
    other = torch.empty_like(maps)
    other[order] = maps[np.roll(order, 1)]
    blobs = (blob / blob.max()).expand(count, -1, -1)
    return {"a map of another picture": other, "a blob in the middle": blobs}


def true_cells(backbone: Backbone, objects: DrawnObjects) -> Tensor:
    """The true masks as coarse as the tower's patches, bool [R, S, S]: the best that whole patches can do.

    Raises:
        ValueError: a tower without patch tokens.
    """
    return expand_mask(kept_patches(objects.masks, patch_grid(backbone)), backbone.image_size)


def block_layers(backbone: Backbone, most: int = 6) -> dict[str, Sequence[str]]:
    """Layers to compare: the norm at the entrance of each block of the image tower, name -> module paths;
    then what else the backbone's own maps are made from and, when that is several layers, their mean.

    Of towers with more than ``most`` blocks some, evenly spread, the last among them; of an image tower
    without numbered blocks the backbone's own layers alone.
    """
    own = list(backbone.cam_layers)
    numbered = r"(.*\.)(\d+)(\..*)"
    found = [re.fullmatch(numbered, path) for path in (*own, default_cam_layer(backbone.model))]
    split = next(filter(None, found), None)
    if split is None:
        return {"the backbone's own": own}
    blocks = len(backbone.model.get_submodule(split[1].rstrip(".")))
    chosen = sorted({round(block) for block in np.linspace(0, blocks - 1, min(most, blocks))})
    layers = {f"block {block + 1} of {blocks}": [f"{split[1]}{block}{split[3]}"] for block in chosen}
    layers |= {f"then {path.split('.')[-1]}": [path] for path in own if not re.fullmatch(numbered, path)}
    return layers | ({f"the backbone's own (mean of {len(own)})": own} if len(own) > 1 else {})


def _need_scenes(pairs: Pairs) -> None:
    if not pairs.has_true_masks:
        raise ValueError(f"pairs are {pairs.name!r}, which say nothing of their scenes; legal: pocket-<size>")


def _judgement(pairs: Pairs, row: int, lemma: str) -> str:
    scene = json.loads(pairs.scenes[row])
    names = set(pairs.synonyms.get(lemma, ()))
    if names & {thing["noun"] for thing in scene["objects"]}:
        return "an object"
    if scene["place"] in names:
        return "the place"
    return "not in the picture" if names else "something else"


def _found(start: int, end: int, nouns: Sequence[Noun]) -> str:
    around = [(noun.start, noun.end) for noun in nouns if noun.start <= start and end <= noun.end]
    return "exactly" if (start, end) in around else "in a longer noun" if around else "no"
