"""Image features from some of the patches: masked patch tokens are left out of the Vision Transformer.

    features = encode_kept(backbone, pixels, keep)        # [B, D], as of the kept patches alone

A painted-over pixel still costs as much as any other, and its colour still tells the tower something. A
token that is left out does neither: what remains keeps its own position, attends to what remains, and the
cost falls with the share that is kept. (FLIP, Li et al. 2023, trains CLIP so.)

Letters in shapes: B images, S image side, h x w the grid of patches, T tokens, W width, D joint width.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from open_clip.transformer import VisionTransformer
from torch import Tensor

from zscir.backbone import Backbone

#: A patch stays when at least this share of its pixels does.
KEPT_SHARE = 0.5
#: Images run together when the shorter one lacks at most this share of the longest one's patches.
SLACK = 1 / 8


def check_drop(backbone: Backbone) -> None:
    """Raise ValueError unless the image tower is a Vision Transformer of open_clip's own."""
    if not isinstance(backbone.model.visual, VisionTransformer):
        kind = type(backbone.model.visual).__name__
        raise ValueError(
            f"fill 'drop' needs the patch tokens of open_clip's VisionTransformer, but the image tower of "
            f"{backbone.name!r} is a {kind}; fills that work: mean, black, blur, noise"
        )


def patch_grid(backbone: Backbone) -> tuple[int, int]:
    """Rows and columns of the patches that the image tower sees; raises like `check_drop`."""
    check_drop(backbone)
    return tuple(backbone.model.visual.grid_size)


def kept_patches(keep: Tensor, grid: tuple[int, int]) -> Tensor:
    """Which patches stay, bool [B, h, w], for masks bool [B, S, S] of pixels.

    A patch stays when at least half of its pixels do (`KEPT_SHARE`). Where none reaches that, the one with
    the largest share stays, the first of equals. A mask [B, h, w] of that very grid is returned as it is.

    >>> keep = torch.zeros(1, 4, 4, dtype=torch.bool)
    >>> keep[0, 0, :3] = True
    >>> kept_patches(keep, (2, 2)).int().tolist()
    [[[1, 0], [0, 0]]]
    """
    if tuple(keep.shape[1:]) == tuple(grid):
        return keep
    share = F.adaptive_avg_pool2d(keep.float()[:, None], grid).flatten(1)  # [B, h * w]
    kept = share >= KEPT_SHARE
    best = torch.zeros_like(kept).scatter(1, share.argmax(dim=1, keepdim=True), True)
    return torch.where(kept.any(dim=1, keepdim=True), kept, best).unflatten(1, tuple(grid))


@torch.no_grad()
def encode_kept(backbone: Backbone, pixels: Tensor, keep: Tensor) -> Tensor:
    """Image features [B, D], float32, rows of length 1, seen through the kept patches alone.

    Args:
        backbone: with a Vision Transformer of open_clip's own, any pooling.
        pixels: [B, 3, S, S] normalised; what lies in patches that are left out has no effect.
        keep: bool, of pixels [B, S, S] (see `kept_patches`) or of patches [B, h, w]; every image keeps one.

    A row does not depend on the other rows, beyond rounding. Images of like counts run together; the shorter
    are padded with tokens that nothing attends to and no mean counts.

    Raises:
        ValueError: another kind of image tower, shapes that do not fit, or an image without a kept patch.
    """
    grid, side = patch_grid(backbone), backbone.image_size
    shapes = [(len(pixels), side, side), (len(pixels), *grid)]
    if keep.dtype != torch.bool or tuple(keep.shape) not in shapes:
        legal = " or ".join(str(list(shape)) for shape in shapes)
        raise ValueError(f"keep must be bool {legal}, got {keep.dtype} {list(keep.shape)}")
    kept = kept_patches(keep, grid).flatten(1).to(backbone.device)  # [B, h * w]
    counts = kept.sum(dim=1)
    if not counts.all():
        raise ValueError(
            f"keep of image {int((counts == 0).nonzero()[0])} has no patch left: keep at least one"
        )
    features = torch.empty(len(pixels), backbone.dim, device=backbone.device)
    slack = 0.0 if backbone.model.visual.attn_pool is not None else SLACK  # its queries see all
    for rows in _groups(counts.tolist(), slack):
        with _only(backbone, kept[rows]):
            features[rows] = backbone.encode_images(pixels[rows])
    return features


def _groups(counts: list[int], slack: float) -> Iterator[list[int]]:
    """Rows in groups of like counts, the longest first.

    >>> list(_groups([3, 16, 14, 3], slack=1 / 8))
    [[1, 2], [0, 3]]
    """
    group: list[int] = []
    for row in sorted(range(len(counts)), key=lambda row: -counts[row]):
        if group and counts[row] < (1 - slack) * counts[group[0]]:
            yield group
            group = []
        group.append(row)
    if group:
        yield group


@contextlib.contextmanager
def _only(backbone: Backbone, kept: Tensor) -> Iterator[None]:
    """Context in which the image tower's transformer gets the class token and the kept patches [b, h * w]."""
    visual = backbone.model.visual
    counts = kept.sum(dim=1, keepdim=True)  # [b, 1]
    longest = int(counts.max())
    order = (~kept).byte().argsort(dim=1, stable=True)[:, :longest]  # [b, longest]: kept ones first, in order
    real = torch.arange(longest, device=kept.device) < counts  # [b, longest]
    padded = not bool(real.all())
    heads = visual.transformer.resblocks[0].attn.num_heads

    def drop(module, args: tuple, kwargs: dict) -> tuple[tuple, dict]:
        tokens = args[0]  # [b, 1 + h * w, W]
        patches = tokens[:, 1:].gather(1, order[..., None].expand(-1, -1, tokens.shape[2]))
        if padded:  # no token attends to padding: [b * heads, T, T]
            seen = F.pad(real, (1, 0), value=True)[:, None, None]
            mask = torch.zeros(seen.shape, device=tokens.device).masked_fill(~seen, float("-inf"))
            kwargs["attn_mask"] = mask.expand(-1, heads, 1 + longest, -1).flatten(0, 1)
        return (torch.cat([tokens[:, :1], patches], dim=1),), kwargs

    def weigh(module, args: tuple, tokens: Tensor) -> Tensor:
        """Scale the patches so that a mean over all of them is the mean over the real ones."""
        weights = real.to(tokens.dtype) * longest / counts
        return torch.cat([tokens[:, :1], tokens[:, 1:] * weights[..., None]], dim=1)

    handles = [visual.transformer.register_forward_pre_hook(drop, with_kwargs=True)]
    if padded and visual.pool_type == "avg":
        pooled = visual.transformer if visual.final_ln_after_pool else visual.ln_post
        handles.append(pooled.register_forward_hook(weigh))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
