"""Where a noun is in an image, and the image with the rest of it masked.

    cams = noun_cams(backbone, pixels, [["dog", "sofa"], ["owl"]])     # [2, S, S] and [1, S, S]
    keep = keep_mask(cams[0], tau=0.3)                                 # bool, True where the noun is
    masked = mask_image(pixels[:1].expand(2, -1, -1, -1), keep)

The class-activation map (CAM) of a noun on an image says how much each cell raises the cosine between the
image's feature and the feature of "a photo of a {noun}". Letters in shapes: B images, S image side, h x w
the grid of the CAM layer.
"""

from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor

from zscir.backbone import Backbone
from zscir.backbone.weights import check_layer
from zscir.regions.cams import METHODS, encode_below, text_maps
from zscir.storage.checks import chosen

TARGETS = ("cosine", "contrast")
#: Of which size a map is: the image's, or that of the layer's grid.
GRAINS = ("pixel", "patch")
TEMPLATE = "a photo of a {noun}"
#: Image-noun rows that run at once.
MAX_ROWS = 256
#: Common, unlike things; what their texts share is what "contrast" takes away.
CONTRAST_NOUNS = tuple(
    """dog bird fish insect horse person car boat airplane bicycle tree flower fruit bread cup chair bed lamp
    book phone guitar ball hat shoe house bridge mountain beach street room""".split()
)


def noun_cams(
    backbone: Backbone,
    pixels: Tensor,
    nouns: Sequence[Sequence[str]],
    *,
    method: str | None = None,
    layer: str | Sequence[str] | None = None,
    target: str | None = None,
    grain: str = "pixel",
    texts: Mapping[str, Tensor] | None = None,
    below: Tensor | None = None,
) -> list[Tensor]:
    """Class-activation maps of every noun on its image.

    Args:
        backbone: the frozen towers.
        pixels: [B, 3, S, S] normalised.
        nouns: of each image.
        method: by default ``backbone.cam_method``; "gradcam" (Selvaraju et al. 2017), "hirescam" (gradient
            and activation multiplied cell by cell; Draelos and Carin 2020), "layercam" (Jiang et al. 2021),
            "gradcam++" (Chattopadhay et al. 2018) or "eigengradcam".
        layer: module path, by default ``backbone.cam_layers``; maps of several are averaged. Take a norm, not
            a block's output: the norm that follows ignores its length, so hirescam is nearly 0 there.
        target: what a cell should raise, by default ``backbone.cam_target``: "cosine" of the image with the
            noun's text, or "contrast", that less its mean over `CONTRAST_NOUNS`: what all nouns share.
        grain: "pixel" for maps of the image's size, "patch" for the layer's own grid (see `upsample_cams`).
        texts: features [D] of the nouns' texts, where they are known already; the others are encoded.
        below: see `encode_with_cams`: tokens of ``zscir.regions.cams.encode_below``.

    Returns:
        For each image a tensor [n_nouns, S, S] (or [n_nouns, h, w]), float32 in [0, 1], each map with its
        peak at 1 unless nothing raises the target: then it is 0 everywhere.

    Raises:
        ValueError: an unknown method, target, grain or layer, an empty noun or one whose text is
            longer than the backbone reads, or not one list of nouns an image.
    """
    own = method or backbone.cam_method
    how = {"layer": layer, "target": target, "grain": grain, "texts": texts, "below": below}
    return cams_by_method(backbone, pixels, nouns, [own], **how)[own]


def cams_by_method(
    backbone: Backbone,
    pixels: Tensor,
    nouns: Sequence[Sequence[str]],
    methods: Sequence[str],
    *,
    layer: str | Sequence[str] | None = None,
    target: str | None = None,
    grain: str = "pixel",
    texts: Mapping[str, Tensor] | None = None,
    below: Tensor | None = None,
) -> dict[str, list[Tensor]]:
    """`noun_cams` by several methods from one forward and one backward pass: method -> maps of each image."""
    if len(nouns) == 0 and len(pixels) == 0:
        return {method: [] for method in methods}
    target = target or backbone.cam_target
    layers = _check_request(backbone, pixels, nouns, methods, layer, target, grain)
    if not any(counts := [len(row) for row in nouns]):  # the shape of a map, none of them
        shape = noun_cams(backbone, pixels[:1], [["thing"]], method=methods[0], layer=layers, grain=grain)[0]
        return {method: [shape[:0]] * len(nouns) for method in methods}
    texts = _targets(backbone, [noun for row in nouns for noun in row], target, texts or {})
    found = []
    for images in _chunks(counts, MAX_ROWS):
        rows = torch.repeat_interleave(torch.tensor([counts[i] for i in images])).to(backbone.device)
        request = (backbone, pixels[images].to(backbone.device), rows, texts[: len(rows)], methods, layers)
        texts = texts[len(rows) :]
        found.append(text_maps(*request, grain, None if below is None else below[images]))
    whole = (torch.cat(maps) for maps in zip(*found, strict=True))
    return {method: list(maps.split(counts)) for method, maps in zip(methods, whole, strict=True)}


def encode_with_cams(
    backbone: Backbone, pixels: Tensor, nouns: Sequence[Sequence[str]], **options: object
) -> tuple[Tensor, list[Tensor]]:
    """`Backbone.encode_images` and `noun_cams` of the same images; both from one forward where the tower and
    the method allow it, and the same as apart.

    Args:
        backbone, pixels, nouns, options: as in `noun_cams`.
    """
    layer = options.get("layer") or backbone.cam_layers
    features, below = encode_below(backbone, pixels, [layer] if isinstance(layer, str) else list(layer))
    return features, noun_cams(backbone, pixels, nouns, below=below, **options)


def _chunks(counts: Sequence[int], most: int) -> Iterator[list[int]]:
    """Images in order, those without nouns left out, in groups of at most ``most`` nouns (or one image)."""
    group: list[int] = []
    total = 0
    for image, count in enumerate(counts):
        if group and count and total + count > most:
            yield group
            group, total = [], 0
        if count:
            group.append(image)
            total += count
    if group:
        yield group


def _targets(backbone: Backbone, nouns: Sequence[str], target: str, known: Mapping[str, Tensor]) -> Tensor:
    """What the feature of each row's image should be near to, [R, D]."""
    texts = _noun_features(backbone, nouns, known)
    if target == "contrast":
        texts = texts - _noun_features(backbone, CONTRAST_NOUNS, known).mean(dim=0)
    return texts


def _noun_features(backbone: Backbone, nouns: Sequence[str], known: Mapping[str, Tensor]) -> Tensor:
    """Text features [R, D], each different noun that is not known encoded once."""
    unknown = {noun: TEMPLATE.replace("{noun}", noun) for noun in sorted(set(nouns) - known.keys())}
    room = backbone.context_length - 2
    for noun, text in unknown.items():
        if (tokens := len(backbone.tokenizer.encode(text))) > room:
            raise ValueError(
                f"noun {noun!r:.80} is too long: its text has {tokens} tokens, and backbone "
                f"{backbone.name!r} reads {room}"
            )
    encoded = backbone.encode_texts(list(unknown.values())) if unknown else []
    features = {**known, **dict(zip(unknown, encoded, strict=True))}
    return torch.stack([features[noun] for noun in nouns]) if nouns else torch.zeros(0, backbone.dim)


def _check_request(backbone, pixels, nouns, methods, layer, target, grain) -> list[str]:
    """Raise on what `noun_cams` cannot do; return the layers as a list."""
    for method in methods:
        chosen("method", method, METHODS)
    chosen("target", target, TARGETS)
    chosen("grain", grain, GRAINS)
    if len(nouns) != len(pixels) or any(isinstance(row, str) for row in nouns):
        raise ValueError(f"nouns must be {len(pixels)} lists of nouns, one an image, got {nouns!r:.200}")
    if any(not noun.strip() for row in nouns for noun in row):
        raise ValueError("nouns must not be empty strings")
    layers = [layer] if isinstance(layer, str) else list(layer or backbone.cam_layers)
    if not layers:
        raise ValueError(f"layer must be given: backbone {backbone.name!r} has no default layer for maps")
    for path in layers:
        check_layer(backbone.model, path)
    return layers
