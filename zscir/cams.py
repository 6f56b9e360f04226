"""Two engines for class-activation maps of a text on an image tower: a fast batched one and the reference.

Both answer the same question: which cells of a layer's activations raise the cosine between the image's
feature and a text's feature. `zscir.regions.noun_cams` is the front door. Letters in shapes: R rows (one
image with one text each), C channels, h x w the grid of the layer, D joint width, S image side.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zscir.backbone import Backbone

FAST_METHODS = ("gradcam", "hirescam", "layercam")
#: Every method, and the class of pytorch-grad-cam that is its reference.
REFERENCES = {
    "gradcam": "GradCAM",
    "hirescam": "HiResCAM",
    "layercam": "LayerCAM",
    "gradcam++": "GradCAMPlusPlus",
    "eigengradcam": "EigenGradCAM",
}


def fast_maps(
    backbone: Backbone, pixels: Tensor, rows: Tensor, texts: Tensor, method: str, layers: Sequence[str]
) -> Tensor:
    """Maps [R, h, w] in [0, 1] from one pass: below the layer per image, above it per row.

    The tower runs once over the images up to the layer; there the batch is expanded to one row per text,
    the blocks above run on the rows, and one backward pass of the summed cosines gives all gradients.

    Args:
        backbone: the frozen towers.
        pixels: [B, 3, S, S] normalised.
        rows: [R] int64, the image of each row.
        texts: [R, D] text features.
        method: one of `FAST_METHODS`.
        layers: module paths; several are averaged after each was scaled.
    """
    watched: list[Tensor] = []

    def watch(module: nn.Module, args: tuple, output: Tensor) -> Tensor:
        watched.append(output if output.requires_grad else output.detach().requires_grad_(True))
        return watched[-1].clone()  # what follows may write in place

    with torch.enable_grad(), backbone.autocast(), _expanded_at(backbone.model, layers, rows):
        with _hooks(backbone.model.get_submodule(layer).register_forward_hook(watch) for layer in layers):
            features = backbone.model.visual(pixels)
        features = features[0] if isinstance(features, tuple) else features
        similarity = F.cosine_similarity(features.float(), texts, dim=-1).sum()
        gradients = torch.autograd.grad(similarity, watched)
    grids = [
        scaled(_class_map(method, as_grid(a.detach()).float(), as_grid(g).float()))
        for a, g in zip(watched, gradients, strict=True)
    ]
    if len({grid.shape for grid in grids}) > 1:
        raise ValueError(f"layers must share one grid, got {[tuple(grid.shape[1:]) for grid in grids]}")
    return scaled(torch.stack(grids).mean(dim=0))


def reference_maps(
    backbone: Backbone, pixels: Tensor, rows: Tensor, texts: Tensor, method: str, layers: Sequence[str]
) -> Tensor:
    """The same maps [R, h, w] from pytorch-grad-cam; knows every method of `REFERENCES`, slower."""
    return _pytorch_grad_cam(backbone, pixels[rows], texts, method, layers, None)


def reference_pixel_maps(
    backbone: Backbone, pixels: Tensor, rows: Tensor, texts: Tensor, method: str, layers: Sequence[str]
) -> Tensor:
    """Maps [R, S, S] exactly as pytorch-grad-cam returns them."""
    return _pytorch_grad_cam(backbone, pixels[rows], texts, method, layers, (pixels.shape[-1],) * 2)


def scaled(maps: Tensor) -> Tensor:
    """Each map [..., h, w] without its negative part, moved and stretched to [0, 1]; a flat map becomes 0.

    The order and the small constant are pytorch-grad-cam's.
    """
    maps = maps.clamp(min=0)
    maps = maps - maps.amin(dim=(-2, -1), keepdim=True)
    return maps / (1e-7 + maps.amax(dim=(-2, -1), keepdim=True))


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
    """Weighted sum over channels [R, h, w] of activations and gradients [R, C, h, w]."""
    if method == "gradcam":
        gradients = gradients.mean(dim=(2, 3), keepdim=True)
    elif method == "layercam":
        gradients = gradients.clamp(min=0)
    return (gradients * activations).sum(dim=1)


@contextlib.contextmanager
def _hooks(handles: Iterator) -> Iterator[None]:
    """Take the hooks off again at the end."""
    handles = list(handles)
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _expanded_at(model: nn.Module, layers: Sequence[str], rows: Tensor) -> contextlib.AbstractContextManager:
    """Context in which the batch turns from images into rows where the first of the blocks begins."""
    done = []

    def expand(module: nn.Module, args: tuple) -> tuple:
        if done:
            return args
        done.append(True)
        return (args[0][rows], *args[1:])

    blocks = {_block(layer) for layer in layers}
    return _hooks(model.get_submodule(block).register_forward_pre_hook(expand) for block in blocks)


def _block(layer: str) -> str:
    """The numbered block that a layer lies in, or the layer itself: a residual must expand with it.

    >>> _block("visual.transformer.resblocks.3.ln_1"), _block("visual.layer4")
    ('visual.transformer.resblocks.3', 'visual.layer4')
    """
    parts = layer.split(".")
    numbered = [i for i, part in enumerate(parts) if part.isdigit()]
    return ".".join(parts[: numbered[0] + 1]) if numbered else layer


class _ImageTower(nn.Module):
    """The image tower alone, as pytorch-grad-cam wants a model: pixels in, one feature row out."""

    def __init__(self, backbone: Backbone):
        super().__init__()
        self.model, self.autocast = backbone.model, backbone.autocast

    def forward(self, pixels: Tensor) -> Tensor:
        """Features [R, D] of pixels [R, 3, S, S]."""
        with self.autocast():
            features = self.model.visual(pixels)
        return (features[0] if isinstance(features, tuple) else features).float()


def _cosine_with(text: Tensor) -> Callable[[Tensor], Tensor]:
    return lambda feature: F.cosine_similarity(feature, text, dim=-1)


def _pytorch_grad_cam(
    backbone: Backbone,
    pixels: Tensor,
    texts: Tensor,
    method: str,
    layers: Sequence[str],
    size: tuple[int, int] | None,
) -> Tensor:
    """Run the reference; ``size`` (width, height) of its maps, or None for the layer's own grid."""
    import pytorch_grad_cam  # brings OpenCV and scikit-learn along, so only when asked for

    grid: list[tuple[int, int]] = []

    def reshape(tokens: Tensor) -> Tensor:
        tokens = as_grid(tokens).float()
        grid.append((tokens.shape[3], tokens.shape[2]))
        return tokens

    modules = [backbone.model.get_submodule(layer) for layer in layers]
    cam = getattr(pytorch_grad_cam, REFERENCES[method])(_ImageTower(backbone), modules, reshape)
    cam.get_target_width_height = lambda _: size or grid[-1]
    try:
        with torch.enable_grad():
            watched = pixels.detach().clone().requires_grad_(True)  # the weights are frozen
            maps = cam(watched, [_cosine_with(text) for text in texts])
    finally:
        cam.activations_and_grads.release()
    return torch.from_numpy(maps).to(pixels.device)
