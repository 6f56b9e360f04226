"""The one picture that explains the method, as an SVG with pocket pictures in it.

    python book/method_picture.py book/_assets/method.svg

Boxes, arrows and words stand in ``method_picture.svg`` beside this script, with gaps (``$original``) for the
pictures and τ. The pictures are drawn by ``zscir.pocket``, and the masked one is masked by the map of the
backbone, as in training.
"""

import base64
import io
import sys
from pathlib import Path
from string import Template

import torch
from PIL import Image

from zscir.backbone import Backbone, load_backbone
from zscir.pocket.scenes import Object, Scene, render
from zscir.regions import noun_cams
from zscir.regions.masks import noun_regions
from zscir.storage.whole import written_whole

#: Pixels of an embedded picture, and its number of colours: small, and sharp enough.
PIXELS, COLOURS = 168, 96
_SCENES = {
    "original": Scene("beach", (Object("dog"), Object("chair")), relation="beside", seed=3),
    "other_1": Scene("beach", (Object("cat"), Object("chair")), relation="beside", seed=8),
    "other_2": Scene("snow", (Object("dog"), Object("bed")), relation="beside", seed=5),
}


def method_svg(backbone: Backbone | None = None, tau: float = 0.3) -> str:
    """The picture as SVG text, below 150 kB.

    Args:
        backbone: whose map masks the picture; the pocket one when None.
        tau: threshold on the map.
    """
    pictures = {name: render(scene, PIXELS)[0] for name, scene in _SCENES.items()}
    pictures["masked"] = _masked(pictures["original"], "dog", backbone or load_backbone(), tau)
    text = Path(__file__).with_suffix(".svg").read_text(encoding="utf-8")
    links = {name: _png(picture) for name, picture in pictures.items()}
    return Template(text).substitute(links, tau=f"{tau:g}")


def write_method_svg(path: str | Path, backbone: Backbone | None = None, tau: float = 0.3) -> Path:
    """Write `method_svg` to ``path``, whole or not at all; the path."""
    with written_whole(path) as scratch:
        scratch.write_text(method_svg(backbone, tau), encoding="utf-8")
    return Path(path)


def _masked(picture: Image.Image, noun: str, backbone: Backbone, tau: float) -> Image.Image:
    """The picture with all but the noun's regions in the mean colour."""
    grid = noun_cams(backbone, backbone.preprocess(picture)[None], [[noun]], grain="patch")[0]
    kept = noun_regions(grid.cpu(), tau, size=picture.width)[0][0]
    grey = tuple(round(255 * value) for value in backbone.mean)
    mask = Image.fromarray((kept.to(torch.uint8) * 255).numpy())
    return Image.composite(picture, Image.new("RGB", picture.size, grey), mask)


def _png(picture: Image.Image) -> str:
    """A picture as the link of an SVG's image."""
    out = io.BytesIO()
    picture.quantize(COLOURS, dither=Image.Dither.NONE).save(out, "PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(out.getvalue()).decode()}"


if __name__ == "__main__":
    write_method_svg(sys.argv[1])
