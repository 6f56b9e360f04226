"""Maps by pytorch-grad-cam: those of `zscir.regions.noun_cams` are held against them (extra ``test``)."""

from collections.abc import Sequence
from functools import partial

import pytorch_grad_cam
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zscir.backbone import Backbone
from zscir.regions.cams import as_grid
from zscir.regions.maps import CONTRAST_NOUNS, TEMPLATE

CLASSES = {
    "gradcam": "GradCAM",
    "hirescam": "HiResCAM",
    "layercam": "LayerCAM",
    "gradcam++": "GradCAMPlusPlus",
    "eigengradcam": "EigenGradCAM",
}


class ImageTower(nn.Module):
    """The image tower alone, as pytorch-grad-cam wants a model: pixels in, one feature row out."""

    def __init__(self, backbone: Backbone):
        super().__init__()
        self.model, self.autocast = backbone.model, backbone.autocast

    def forward(self, pixels: Tensor) -> Tensor:
        """Features [R, D] of pixels [R, 3, S, S]."""
        with self.autocast():
            features = self.model.visual(pixels)
        return (features[0] if isinstance(features, tuple) else features).float()


def reference_cams(
    backbone: Backbone,
    pixels: Tensor,
    nouns: Sequence[Sequence[str]],
    method: str | None = None,
    layer: str | Sequence[str] | None = None,
    grain: str = "pixel",
) -> list[Tensor]:
    """Maps as `zscir.regions.noun_cams` gives them; with the grain "pixel" just as pytorch-grad-cam does."""
    counts = [len(row) for row in nouns]
    texts = backbone.encode_texts([TEMPLATE.replace("{noun}", noun) for row in nouns for noun in row])
    if backbone.cam_target == "contrast":
        contrast = [TEMPLATE.replace("{noun}", noun) for noun in CONTRAST_NOUNS]
        texts = texts - backbone.encode_texts(contrast).mean(dim=0)
    size = [tuple(pixels.shape[:1:-1])]  # width and height of a map

    def reshape(tokens: Tensor) -> Tensor:
        tokens = as_grid(tokens).float()
        size[:] = [tuple(tokens.shape[:1:-1])] if grain == "patch" else size
        return tokens

    layers = [layer] if isinstance(layer, str) else list(layer or backbone.cam_layers)
    modules = [backbone.model.get_submodule(path) for path in layers]
    kind = getattr(pytorch_grad_cam, CLASSES[method or backbone.cam_method])
    cam = kind(ImageTower(backbone), modules, reshape)
    cam.get_target_width_height = lambda _: size[0]
    rows = torch.repeat_interleave(torch.tensor(counts)).to(pixels.device)
    try:
        with torch.enable_grad():
            watched = pixels[rows].detach().clone().requires_grad_(True)  # the weights are frozen
            maps = cam(watched, [partial(F.cosine_similarity, text, dim=-1) for text in texts])
    finally:
        cam.activations_and_grads.release()
    return list(torch.from_numpy(maps).to(pixels.device).split(counts))
