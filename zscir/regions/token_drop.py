"""Image features from some of the patches: masked patch tokens are left out of the Vision Transformer.

    features = encode_kept(backbone, pixels, keep)        # [B, D], as of the kept patches alone

A painted-over pixel still costs as much as any other, and its colour still tells the tower something. A
token that is left out does neither: what remains keeps its own position, attends to what remains, and the
cost falls with the share that is kept. (FLIP, Li et al. 2023, trains CLIP so.)

Letters in shapes: B images, S image side, h x w the grid of patches, T tokens of one image,
N of all, W width, D joint width.
"""

from collections.abc import Callable
from itertools import groupby

import torch
import torch.nn.functional as F
from open_clip.transformer import ResidualAttentionBlock, VisionTransformer
from torch import Tensor

from zscir.backbone import Backbone

#: A patch stays when at least this share of its pixels does.
KEPT_SHARE = 0.5


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
    return at_least_one(share >= KEPT_SHARE, share).unflatten(1, tuple(grid))


def at_least_one(kept: Tensor, scores: Tensor) -> Tensor:
    """What is kept, bool [..., N]; where that is nothing, the cell with the highest score [..., N]."""
    best = torch.zeros_like(kept).scatter(-1, scores.argmax(dim=-1, keepdim=True), True)
    return torch.where(kept.any(dim=-1, keepdim=True), kept, best)


@torch.no_grad()
def encode_kept(backbone: Backbone, pixels: Tensor, keep: Tensor) -> Tensor:
    """Image features [B, D], float32, rows of length 1, seen through the kept patches alone.

    Args:
        backbone: with a Vision Transformer of open_clip's own, any pooling.
        pixels: [B, 3, S, S] normalised; what lies in patches that are left out has no effect.
        keep: bool, of pixels [B, S, S] (see `kept_patches`) or of patches [B, h, w]; every image keeps one.

    A row does not depend on the other rows, beyond rounding.

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
        first = int((counts == 0).nonzero()[0])
        raise ValueError(f"keep of image {first} has no patch left: keep at least one")
    order = counts.argsort(stable=True)  # like counts side by side
    with backbone.autocast():
        features = _features(backbone.model.visual, pixels.to(backbone.device)[order], kept[order])
    return F.normalize(features.float(), dim=-1)[order.argsort()]


def _features(visual: VisionTransformer, pixels: Tensor, kept: Tensor) -> Tensor:
    """Features [B, D] of images sorted by how many patches they keep.

    The tokens of all images are packed one after the other, [N, W]: what works on single tokens runs on all
    of them at once, without padding; attention and pooling run on images with the same count.
    """
    if len(pixels) == 0:
        return pixels.new_zeros(0, visual.output_dim)
    packed = visual._embeds(pixels)[F.pad(kept, (1, 0), value=True)]  # [N, W], the class token always in
    lengths = groupby((kept.sum(dim=1) + 1).tolist())  # neighbours of one length together
    runs = [(len(list(same)), length) for length, same in lengths]
    for block in visual.transformer.resblocks:
        plain = type(block) is ResidualAttentionBlock
        packed = _packed_block(block, packed, runs) if plain else _each(block, packed, runs)
    return _each(lambda tokens: pooled(visual, tokens), packed, runs)


def pooled(visual: VisionTransformer, tokens: Tensor) -> Tensor:
    """Features [B, D], not normalised, of what the last block gives [B, T, W]."""
    feature = visual._pool(tokens)[0]  # [B, W]
    return feature if visual.proj is None else feature @ visual.proj


def _each(work: Callable[[Tensor], Tensor], packed: Tensor, runs: list[tuple[int, int]]) -> Tensor:
    """Apply ``work`` ([b, T, C] to [b, ..., C']) to images of one length at a time, packed again.

    ``runs`` are (how many images, their tokens each), one after the other.
    """
    parts = packed.split([count * length for count, length in runs])
    done = [work(part.unflatten(0, run)) for part, run in zip(parts, runs, strict=True)]
    return torch.cat([out.flatten(0, -2) for out in done])


def _packed_block(block: ResidualAttentionBlock, packed: Tensor, runs: list[tuple[int, int]]) -> Tensor:
    """What a block of open_clip makes of packed tokens [N, W]."""
    attention = block.attn

    def attend(joined: Tensor) -> Tensor:
        """Attention of [b, T, 3 W] -> [b, T, W]; in between [b, heads, T, W / heads]."""
        split = joined.unflatten(2, (3, attention.num_heads, -1)).permute(2, 0, 3, 1, 4)
        return F.scaled_dot_product_attention(*split).transpose(1, 2).flatten(2)

    joined = F.linear(block.ln_1(packed), attention.in_proj_weight, attention.in_proj_bias)  # [N, 3 W]
    packed = packed + block.ls_1(attention.out_proj(_each(attend, joined, runs)))
    return packed + block.ls_2(block.mlp(block.ln_2(packed)))
