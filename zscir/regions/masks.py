"""From a map to a mask, from a mask to what the backbone sees of the image.

    keep = keep_mask(cams, tau=0.3)                                  # bool, True where the noun is
    masked = mask_image(pixels, keep, fill="mean")                   # pixels, painted over elsewhere
    features = encode_masked(backbone, pixels, keep, fill="drop")    # [B, D]

Letters in shapes: B images, S image side, h x w a grid of cells, D joint width.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from open_clip import OPENAI_DATASET_MEAN, OPENAI_DATASET_STD
from torch import Tensor
from torchvision.transforms.functional import gaussian_blur

from zscir.backbone import Backbone
from zscir.regions.cams import upsample_cams
from zscir.regions.token_drop import at_least_one, encode_kept, kept_patches, patch_grid
from zscir.storage.checks import chosen

KEEPS = ("noun", "rest")
#: Fills that put something into a masked pixel.
PAINTS = ("mean", "black", "blur", "noise")
#: All fills; "drop" leaves masked patches out of the tower instead (see ``zscir.regions.token_drop``).
FILLS = (*PAINTS, "drop")


class MaskedImages(NamedTuple):
    """Features [B, D] of masked images, float32, rows of length 1; the masks ``keep``, bool [B, S, S] or
    [B, h, w]; and which of these the threshold alone would have left ``empty``, bool [B]."""

    features: Tensor
    keep: Tensor
    empty: Tensor


def encode_regions(
    backbone: Backbone,
    pixels: Tensor,
    maps: Tensor,
    tau: float,
    keep: str = "noun",
    fill: str = "mean",
    generator: torch.Generator | None = None,
) -> MaskedImages:
    """From the map of a noun to the feature of its image with the rest masked.

    Args:
        backbone: the frozen towers.
        pixels: [B, 3, S, S] normalised.
        maps: one an image, in [0, 1], of the image's size [B, S, S] or of the CAM layer's grid [B, h, w].
        tau, keep: as in `keep_mask`.
        fill: as in `encode_masked`; "drop" turns the masks into masks of patches.
        generator: of the noise.

    Raises:
        ValueError: an illegal value, or "drop" for a tower without patch tokens.
    """
    kept, empty = noun_regions(maps, tau, keep, backbone.image_size)
    if fill == "drop":
        kept = kept_patches(kept, patch_grid(backbone))
    return MaskedImages(encode_masked(backbone, pixels, kept, fill, generator), kept, empty)


def noun_regions(
    maps: Tensor, tau: float, keep: str = "noun", size: int | None = None
) -> tuple[Tensor, Tensor]:
    """`keep_mask` and `is_empty` of maps [B, h, w], brought to ``size`` x ``size`` first if it is given."""
    if size is not None and maps.shape[-1] != size:
        maps = upsample_cams(maps, size)
    return keep_mask(maps.float(), tau, keep), is_empty(maps.float(), tau, keep)


def keep_mask(cam: Tensor, tau: float, keep: str = "noun") -> Tensor:
    """Which cells stay visible, bool [..., h, w], for maps [..., h, w] in [0, 1].

    ``keep="noun"`` keeps where the map is at least ``tau`` (what is unrelated to the noun is masked, as in
    the paper); ``keep="rest"`` keeps the complement. A mask that would keep nothing keeps one cell: the
    highest of the map, or the lowest for "rest" (`is_empty` tells which masks these are).

    Raises:
        ValueError: ``tau`` outside [0, 1], or another ``keep``.

    >>> keep_mask(torch.tensor([[0.1, 0.2], [0.3, 1.0]]), tau=0.3).tolist()
    [[False, False], [True, True]]
    """
    kept, scores = _kept(cam, tau, keep), cam if keep == "noun" else -cam
    return at_least_one(kept.flatten(-2), scores.flatten(-2)).unflatten(-1, cam.shape[-2:])


def is_empty(cam: Tensor, tau: float, keep: str = "noun") -> Tensor:
    """Whether the threshold alone would keep nothing, bool [...], for maps [..., h, w]."""
    return ~_kept(cam, tau, keep).flatten(-2).any(dim=-1)


def mask_image(
    pixels: Tensor,
    keep: Tensor,
    fill: str = "mean",
    mean: Sequence[float] = OPENAI_DATASET_MEAN,
    std: Sequence[float] = OPENAI_DATASET_STD,
    generator: torch.Generator | None = None,
) -> Tensor:
    """The images with everything outside ``keep`` filled.

    Args:
        pixels: [B, 3, S, S] normalised with ``mean`` and ``std``.
        keep: [B, S, S] bool, True where the image stays.
        fill: "mean", the normalisation's mean colour (0 after normalising); "black"; "blur", the image
            itself under a Gaussian of S / 16 pixels; "noise", a normal variable per pixel and channel with
            the normalisation's mean and deviation.
        mean, std: the backbone's normalisation.
        generator: CPU generator of the noise, by default seeded with 0; rows draw one after the other, so
            the same images in other batch sizes get the same noise.

    Raises:
        ValueError: an unknown ``fill`` or a mask of another shape or type.
    """
    if fill not in PAINTS:
        hint = "; 'drop' paints nothing, see encode_masked" if fill == "drop" else ""
        raise ValueError(f"fill must be one of {PAINTS}, got {fill!r}{hint}")
    expected = (pixels.shape[0], *pixels.shape[2:])
    if keep.dtype != torch.bool or tuple(keep.shape) != expected:
        raise ValueError(f"keep must be bool {list(expected)}, got {keep.dtype} {list(keep.shape)}")
    return torch.where(keep[:, None], pixels, _filling(pixels, fill, mean, std, generator))


def expand_mask(keep: Tensor, size: int) -> Tensor:
    """Masks [..., size, size] from masks of coarser cells [..., h, w], bool: each pixel as its cell.

    >>> expand_mask(torch.tensor([[True, False]]), 2).tolist()
    [[True, False], [True, False]]
    """
    flat = keep.reshape(-1, 1, *keep.shape[-2:]).float()
    return (F.interpolate(flat, (size, size), mode="nearest-exact") > 0).reshape(*keep.shape[:-2], size, size)


def encode_masked(
    backbone: Backbone,
    pixels: Tensor,
    keep: Tensor,
    fill: str = "mean",
    generator: torch.Generator | None = None,
) -> Tensor:
    """Features [B, D] of the masked images, float32, rows of length 1.

    Args:
        backbone: the frozen towers.
        pixels: [B, 3, S, S] normalised.
        keep: bool [B, S, S], or of coarser cells [B, h, w].
        fill: as `mask_image` knows them, or "drop" (see `zscir.regions.token_drop.encode_kept`).
        generator: of the noise.

    Raises:
        ValueError: an unknown fill, a mask of another shape, or "drop" for a tower without patch tokens.
    """
    if fill == "drop":
        return encode_kept(backbone, pixels, keep)
    if keep.shape[-1] != pixels.shape[-1]:
        keep = expand_mask(keep, pixels.shape[-1])
    return backbone.encode_images(mask_image(pixels, keep, fill, backbone.mean, backbone.std, generator))


def _kept(cam: Tensor, tau: float, keep: str) -> Tensor:
    if not 0 <= tau <= 1:
        raise ValueError(f"tau must lie in [0, 1], got {tau!r}")
    return cam >= tau if chosen("keep", keep, KEEPS) == "noun" else cam < tau


def _filling(
    pixels: Tensor, fill: str, mean: Sequence[float], std: Sequence[float], generator: torch.Generator | None
) -> Tensor:
    """What stands outside the mask, [B, 3, S, S] or broadcastable to it."""
    if fill == "mean":
        return pixels.new_zeros(1, 3, 1, 1)
    if fill == "black":
        black = [-m / s for m, s in zip(mean, std, strict=True)]
        return pixels.new_tensor(black)[None, :, None, None]
    if fill == "blur":
        sigma = pixels.shape[-1] / 16
        return gaussian_blur(pixels, kernel_size=2 * round(3 * sigma) + 1, sigma=sigma)
    generator = generator if generator is not None else torch.Generator().manual_seed(0)
    noise = [torch.randn(pixels.shape[1:], generator=generator) for _ in pixels]
    return torch.stack(noise).to(pixels) if noise else pixels
