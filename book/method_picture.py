"""The one picture that explains the method, as an SVG with pocket pictures in it: wide, and tall for phones.

    python book/method_picture.py book/_assets/method.svg          # and book/_assets/method-tall.svg

Boxes, arrows and words stand in ``method_picture.svg`` beside this script, with gaps (``$original``) for the
pictures, τ, and what differs between the two layouts: where groups stand, and what links them. The pictures
are drawn by ``zscir.pocket``, and the masked one is masked by the map of the backbone, as in training.
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
_WORDS = "query-target loss: among all images of the batch,", "the composed query finds its own"
_HEAD = '<text x="{}" y="{}" text-anchor="middle" class="head">{}</text>'
#: Places of the groups, the arrows between them, and the words below, of both layouts.
LAYOUTS = {
    "wide": {
        **{"width": 1093, "height": 392, "right": 1073, "bottom": 382},
        **{"towers": "0 0", "query": "0 0", "text": "0 0", "others": "0 0"},
        "links": ["M452 203H470", "M705 184V106", "M464 74H629", "M861 74H899"],
        "foot": _HEAD.format(546, 362, " ".join(_WORDS)),
    },
    "tall": {
        **{"width": 500, "height": 944, "right": 484, "bottom": 934},
        **{"towers": "-420 190", "query": "-600 440", "text": "-840 530", "others": "-553 530"},
        "links": ["M370 312V330H94V346", "M285 438V506H263", "M464 74H490V528H263", "M146 544V567"],
        "foot": "".join(_HEAD.format(250, 888 + 20 * line, words) for line, words in enumerate(_WORDS)),
    },
}


def method_svg(backbone: Backbone | None = None, tau: float = 0.3, layout: str = "wide") -> str:
    """The picture as SVG text, below 150 kB.

    Args:
        backbone: whose map masks the picture; the pocket one when None.
        tau: threshold on the map.
        layout: "wide" or "tall".
    """
    places = dict(LAYOUTS[layout])
    places["links"] = "\n".join(f'<path d="{path}" class="arrow"/>' for path in places["links"])
    pictures = {name: render(scene, PIXELS)[0] for name, scene in _SCENES.items()}
    pictures["masked"] = _masked(pictures["original"], "dog", backbone or load_backbone(), tau)
    text = Path(__file__).with_suffix(".svg").read_text(encoding="utf-8")
    links = {name: _png(picture) for name, picture in pictures.items()}
    return Template(text).substitute(links, tau=f"{tau:g}", **places)


def write_method_svg(path: str | Path, backbone: Backbone | None = None, tau: float = 0.3) -> Path:
    """Write both layouts, ``path`` and beside it NAME-tall.svg, each whole or not at all; the path."""
    path = Path(path)
    for layout, file in {"wide": path, "tall": path.with_name(f"{path.stem}-tall{path.suffix}")}.items():
        with written_whole(file) as scratch:
            scratch.write_text(method_svg(backbone, tau, layout), encoding="utf-8")
    return path


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
