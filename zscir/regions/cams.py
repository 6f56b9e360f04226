"""Class-activation maps of texts on an image tower, all texts of a batch at once.

They answer: which cells of a layer's activations raise the cosine between the image's feature and a text's
feature? `zscir.regions.noun_cams` is the front door. Letters in shapes: R rows (one
image with one text each), C channels, h x w the grid of the layer, D joint width, S image side.
"""

import contextlib
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from open_clip.transformer import ResidualAttentionBlock, VisionTransformer
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from zscir.backbone import Backbone
from zscir.regions.token_drop import pooled

METHODS = ("gradcam", "hirescam", "layercam", "gradcam++", "eigengradcam")


def encode_below(backbone: Backbone, pixels: Tensor, layers: Sequence[str]) -> tuple[Tensor, Tensor | None]:
    """Features [B, D] as `Backbone.encode_images` gives them, and the tokens [B, T, W] below the layers.

    `text_maps` goes on from these tokens, so that one forward serves both. They are what enters the first
    block that holds one of the layers; None for another tower than open_clip's Vision Transformer, or for a
    layer below its blocks.
    """
    first = first_block(backbone.model, layers)
    if first is None:
        return backbone.encode_images(pixels), None
    caught: list[Tensor] = []
    transformer = backbone.model.visual.transformer
    if first < len(transformer.resblocks):
        hook = transformer.resblocks[first].register_forward_pre_hook(lambda _, args: caught.append(args[0]))
    else:
        hook = transformer.register_forward_hook(lambda _, args, output: caught.append(output))
    with hook:  # it comes off at the end
        features = backbone.encode_images(pixels)
    return features, caught[0]


def first_block(model: nn.Module, layers: Sequence[str]) -> int | None:
    """Number of the first block that holds one of the layers; for the norm behind them their number."""
    visual = model.visual
    if not isinstance(visual, VisionTransformer):
        return None
    parts = [*visual.transformer.resblocks, visual.ln_post]
    modules = [model.get_submodule(layer) for layer in layers]
    holders = [[n for n, part in enumerate(parts) if module in part.modules()] for module in modules]
    return min(min(found) for found in holders) if all(holders) else None


def text_maps(
    backbone: Backbone,
    pixels: Tensor,
    rows: Tensor,
    texts: Tensor,
    methods: Sequence[str],
    layers: Sequence[str],
    grain: str = "patch",
    below: Tensor | None = None,
) -> list[Tensor]:
    """Maps [R, h, w] in [0, 1] of each method, from one forward of the images and one pull-back of all texts.

    Up to the layer nothing is recorded. Above it the tower runs once an image, not once a row: only the
    cotangent, the gradient of the cosine by the image feature, differs between the texts of one image.

    Args:
        backbone: the frozen towers.
        pixels: [B, 3, S, S] normalised.
        rows: [R] int64, the image of each row, increasing.
        texts: [R, D] text features.
        methods: of `METHODS`; they differ only in what they make of the same activations and gradients.
        layers: module paths; several are averaged after each was scaled.
        grain: "patch", or "pixel" for maps of the image's size [R, S, S].
        below: the tokens of `encode_below`; the blocks before them are then not run again.
    """
    model, visual = backbone.model, backbone.model.visual
    with torch.enable_grad(), backbone.autocast(), sdpa_kernel(SDPBackend.MATH):  # which can be batched
        if class_token_tail(model, layers):
            tokens = _below_last(visual, pixels) if below is None else below
            features, watched = _through_class_token(visual, tokens)
        else:
            forward = partial(visual, pixels)
            if below is not None:
                forward = partial(_above, visual, below, first_block(model, layers))
            features, watched = _watched(model, layers, forward)
        gradients = _pulled_back(features, watched, rows, texts)
    grids = [
        (as_grid(a.detach()).float()[rows], as_grid(g).float())
        for a, g in zip(watched, gradients, strict=True)
    ]
    if len({own.shape[-2:] for own, _ in grids}) > 1:
        raise ValueError(f"layers must share one grid, got {[tuple(own.shape[-2:]) for own, _ in grids]}")
    found = [[scaled(_class_map(method, *both)) for both in grids] for method in methods]
    maps = [scaled(torch.stack(own).mean(dim=0)) for own in found]
    return [upsample_cams(own, backbone.image_size) for own in maps] if grain == "pixel" else maps


def _above(visual: VisionTransformer, tokens: Tensor, first: int) -> Tensor:
    """Features [B, D], not normalised, of tokens [B, T, W] that enter a block."""
    return pooled(visual, nn.Sequential(*visual.transformer.resblocks[first:])(tokens))


def _watched(
    model: nn.Module, layers: Sequence[str], forward: Callable[[], Tensor]
) -> tuple[Tensor, list[Tensor]]:
    """Features [B, D] of a forward and the activations of the layers, from which on the graph is recorded."""
    watched: list[Tensor] = []

    def watch(module: nn.Module, args: tuple, output: Tensor) -> Tensor:
        watched.append(output if output.requires_grad else output.detach().requires_grad_(True))
        return watched[-1].clone()  # what follows may write in place

    with contextlib.ExitStack() as hooks:
        for layer in layers:
            hooks.enter_context(model.get_submodule(layer).register_forward_hook(watch))
        features = forward()
    return features[0] if isinstance(features, tuple) else features, watched


def class_token_tail(model: nn.Module, layers: Sequence[str]) -> bool:
    """Whether the layer is ``ln_1`` of the last block of an open_clip tower that pools the class token."""
    visual = model.visual
    if not isinstance(visual, VisionTransformer) or visual.attn_pool is not None:
        return False
    last = visual.transformer.resblocks[-1]
    own = [model.get_submodule(layer) for layer in layers] == [last.ln_1]
    return own and visual.pool_type == "tok" and type(last) is ResidualAttentionBlock


@torch.no_grad()
def _below_last(visual: VisionTransformer, pixels: Tensor) -> Tensor:
    """The tokens [B, T, W] that enter the last block."""
    return nn.Sequential(*visual.transformer.resblocks[:-1])(visual._embeds(pixels))


def _through_class_token(visual: VisionTransformer, tokens: Tensor) -> tuple[Tensor, list[Tensor]]:
    """As `_watched`, from the tokens [B, T, W] that enter the last block, but that block computes the class
    token alone: nothing else is read. Without it, maps of one noun cost 14 to 22 % more on one core, those
    of four nouns 30 to 76 % (ViT-L-14, ViT-B-16).

    Its one query q meets keys and values only in sums, so the weights of these move to the other side:
    q . (K h) = (K' q) . h, and the mean of V h is V of the mean of h. No token is multiplied by a matrix.
    """
    block = visual.transformer.resblocks[-1]
    h = block.ln_1(tokens).detach().requires_grad_(True)
    attention, first = block.attn, tokens[:, 0]
    heads, width = attention.num_heads, tokens.shape[-1]
    wq, wk, wv = attention.in_proj_weight.chunk(3)  # [W, W] each
    bq, _, bv = attention.in_proj_bias.chunk(3)  # a key's bias shifts all scores alike
    q = F.linear(h[:, 0], wq, bq).unflatten(1, (heads, -1)) * (width // heads) ** -0.5  # [B, heads, d]
    towards = torch.einsum("bnd,ndw->bnw", q, wk.unflatten(0, (heads, -1)))
    weights = torch.einsum("bnw,btw->bnt", towards, h).softmax(dim=-1)
    means = torch.einsum("bnt,btw->bnw", weights, h)
    out = torch.einsum("bnw,ndw->bnd", means, wv.unflatten(0, (heads, -1))).flatten(1) + bv  # [B, W]
    token = first + block.ls_1(attention.out_proj(out))
    token = token + block.ls_2(block.mlp(block.ln_2(token)))
    feature = visual.ln_post(token)
    return feature if visual.proj is None else feature @ visual.proj, [h]


def _pulled_back(features: Tensor, watched: Sequence[Tensor], rows: Tensor, texts: Tensor) -> list[Tensor]:
    """Gradients [R, ...] of the cosine of each row's feature and text by the activations of its image."""
    own = features.detach().float()[rows].requires_grad_(True)
    (cotangents,) = torch.autograd.grad(F.cosine_similarity(own, texts, dim=-1).sum(), own)  # [R, D]
    place = torch.arange(len(rows), device=rows.device) - torch.searchsorted(rows, rows)  # 0, 1, ... an image
    most = int(place.max()) + 1
    stacked = features.new_zeros(most, *features.shape)  # [K, B, D], zero where an image has fewer texts
    stacked[place, rows] = cotangents.to(features)
    if most == 1:
        return [g[rows] for g in torch.autograd.grad(features, watched, stacked[0])]
    pulled = torch.autograd.grad(features, watched, stacked, is_grads_batched=True)
    return [g[place, rows] for g in pulled]


def scaled(maps: Tensor) -> Tensor:
    """Each map [..., h, w] without its negative part, moved and stretched to [0, 1]; a flat map becomes 0.

    The order and the small constant are pytorch-grad-cam's.
    """
    maps = maps.clamp(min=0)
    maps = maps - maps.amin(dim=(-2, -1), keepdim=True)
    return maps / (1e-7 + maps.amax(dim=(-2, -1), keepdim=True))


def upsample_cams(grid: Tensor, size: int) -> Tensor:
    """Maps [..., size, size] from maps at patch grain [..., h, w], float32 in [0, 1].

    Bilinear, then stretched to [0, 1] again: exactly what ``grain="pixel"`` gives.
    """
    flat = grid.float().reshape(-1, 1, *grid.shape[-2:])
    flat = F.interpolate(flat, size=(size, size), mode="bilinear", align_corners=False)
    return scaled(flat).reshape(*grid.shape[:-2], size, size)


def as_grid(tokens: Tensor) -> Tensor:
    """Activations as [R, C, h, w]: tokens [R, T, C] lose what precedes the square grid of patches.

    Raises:
        ValueError: neither tokens nor a grid.

    >>> as_grid(torch.zeros(2, 1 + 49, 8)).shape
    torch.Size([2, 8, 7, 7])
    """
    if tokens.ndim == 4:
        return tokens
    if tokens.ndim != 3:
        raise ValueError(f"layer must give tokens [R, T, C] or a grid [R, C, h, w], got {list(tokens.shape)}")
    side = int(tokens.shape[1] ** 0.5)
    patches = tokens[:, tokens.shape[1] - side * side :]  # without class token and registers
    return patches.transpose(1, 2).unflatten(2, (side, side))  # [R, C, h, w]


def _class_map(method: str, activations: Tensor, gradients: Tensor) -> Tensor:
    """What a method makes of activations and gradients [R, C, h, w]: maps [R, h, w], not scaled yet."""
    if method == "eigengradcam":
        return _first_component(gradients * activations)
    if method == "gradcam":
        gradients = gradients.mean(dim=(2, 3), keepdim=True)
    elif method == "layercam":
        gradients = gradients.clamp(min=0)
    elif method == "gradcam++":  # equation 19 of its paper
        squares, sums = gradients**2, activations.sum(dim=(2, 3), keepdim=True)
        weights = squares / (2 * squares + sums * squares * gradients + 1e-6)
        gradients = (weights * gradients.clamp(min=0)).sum(dim=(2, 3), keepdim=True)
    return (gradients * activations).sum(dim=1)


def _first_component(weighted: Tensor) -> Tensor:
    """Cells [R, C, h, w] along the first principal axis of their channels: [R, h, w]."""
    cells = weighted.flatten(2).transpose(1, 2)  # [R, h * w, C]
    cells = cells - cells.mean(dim=1, keepdim=True)
    axes = np.linalg.svd(cells.cpu().numpy())[2][:, 0]  # [R, C]
    return (cells @ torch.from_numpy(axes).to(cells)[..., None]).view(len(weighted), *weighted.shape[2:])
