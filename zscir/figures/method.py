"""The one picture that explains the method, as an SVG with pocket pictures in it.

    python -m zscir.figures.method book/_assets/method.svg

Boxes and arrows are typed here; the pictures are drawn by ``zscir.pocket``, and the masked one is masked by
the class-activation map of the backbone, as in training.
"""

from __future__ import annotations

import base64
import io
import sys
from pathlib import Path

import torch
from PIL import Image

from zscir.backbone import Backbone, load_backbone
from zscir.regions import noun_cams
from zscir.regions.masks import noun_regions
from zscir.storage.whole import written_whole

ATTRIBUTION = "drawings: OpenMoji, CC BY-SA 4.0"
#: Pixels of an embedded picture, and its number of colours: small, and sharp enough.
PIXELS, COLOURS = 168, 96
_INK, _GREY, _BLUE, _ORANGE, _GREEN = "#222222", "#6b6b6b", "#0173b2", "#b45f06", "#027a57"
_STYLE = f"""text{{font-family:system-ui,'Segoe UI','DejaVu Sans',Helvetica,Arial,sans-serif;fill:{_INK}}}
.label{{font-size:14px;fill:{_GREY}}} .text{{font-size:17px}} .head{{font-size:15px;font-weight:600}}
.small{{font-size:11px;fill:{_GREY}}} .arrow{{stroke:{_GREY};stroke-width:2;fill:none;marker-end:url(#tip)}}
.box{{fill:#ffffff;stroke:#b9b9b9;stroke-width:1.5}} .cell{{stroke:{_ORANGE}}}
.tower{{fill:#eaf2f8;stroke:{_BLUE};stroke-width:1.5}}"""


def method_svg(backbone: Backbone | None = None, tau: float = 0.3) -> str:
    """The picture as SVG text, below 150 kB.

    Args:
        backbone: whose map masks the picture; the pocket one when None.
        tau: threshold on the map.
    """
    pictures = _pictures()
    masked = _masked(pictures["original"], "dog", backbone or load_backbone(), tau)
    parts = [
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 1093 392" role="img">',
        "<title>One masked pair: the method in one picture</title>",
        f"<desc>{ATTRIBUTION}</desc><style>{_STYLE}</style>",
        f'<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" '
        f'orient="auto"><path d="M0 0L8 4L0 8z" fill="{_GREY}"/></marker></defs>',
        '<rect width="1093" height="392" rx="10" fill="#ffffff"/>',
        *_pair(pictures["original"], masked, tau),
        *_inversion(),
        *_query(),
        *_batch(pictures),
        f'<text x="1073" y="382" text-anchor="end" class="small">{ATTRIBUTION}</text>',
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def write_method_svg(path: str | Path, backbone: Backbone | None = None, tau: float = 0.3) -> Path:
    """Write `method_svg` to ``path``, whole or not at all; the path."""
    with written_whole(path) as scratch:
        scratch.write_text(method_svg(backbone, tau), encoding="utf-8")
    return Path(path)


def _pictures() -> dict[str, Image.Image]:
    """The original and two others of its batch."""
    from zscir.pocket.scenes import Object, Scene, render

    scenes = {
        "original": Scene("beach", (Object("dog"), Object("chair")), relation="beside", seed=3),
        "other 1": Scene("beach", (Object("cat"), Object("chair")), relation="beside", seed=8),
        "other 2": Scene("snow", (Object("dog"), Object("bed")), relation="beside", seed=5),
    }
    return {name: render(scene, PIXELS)[0] for name, scene in scenes.items()}


def _masked(picture: Image.Image, noun: str, backbone: Backbone, tau: float) -> Image.Image:
    """The picture with all but the noun's regions in the mean colour."""
    grid = noun_cams(backbone, backbone.preprocess(picture)[None], [[noun]], grain="patch")[0]
    kept = noun_regions(grid.cpu(), tau, size=picture.width)[0][0]
    grey = tuple(round(255 * value) for value in backbone.mean)
    mask = Image.fromarray((kept.to(torch.uint8) * 255).numpy())
    return Image.composite(picture, Image.new("RGB", picture.size, grey), mask)


def _pair(original: Image.Image, masked: Image.Image, tau: float) -> list[str]:
    """Left half: the pair, and what is left of either side."""
    return [
        _words(110, 30, "image–caption pair", "head"),
        _words(370, 30, "masked pair", "head"),
        _caption(20, "a ", "dog", " and a chair"),
        _caption(280, "a ", "*", " and a chair"),
        _arrow("M204 74H274"),
        _words(239, 64, "noun", "label"),
        _image(original, 35, 128, 150),
        _image(masked, 295, 128, 150),
        _arrow("M194 203H286"),
        _words(240, 193, "map ≥ τ", "label"),
        _words(240, 222, f"τ = {tau:g}", "label"),
        _words(110, 304, "The text loses one noun …", "label"),
        _words(370, 304, "… the image keeps only that noun.", "label"),
    ]


def _inversion() -> list[str]:
    """From the masked image to the pseudo-word: a frozen tower, then the network that is trained."""
    return [
        _arrow("M452 203H470"),
        *_tower(476, 162, 76, "image", "tower"),
        _arrow("M556 203H574"),
        f'<path d="M580 168L640 186V220L580 238z" fill="#fdebd0" stroke="{_ORANGE}" stroke-width="2"/>',
        _words(608, 210, "φ", "text"),
        _words(610, 258, "trained", "label"),
        _arrow("M644 203H664"),
        _chip(670, 190, 7),
        _words(705, 238, "pseudo-word", "label"),
        _arrow("M705 184V106"),
    ]


def _query() -> list[str]:
    """The composed query and the frozen text tower."""
    return [
        _words(746, 30, "composed query", "head"),
        '<rect x="635" y="48" width="222" height="52" rx="8" class="box"/>',
        '<text x="651" y="80" class="text">a</text>',
        _chip(670, 61, 7),
        '<text x="750" y="80" class="text">and a chair</text>',
        _arrow("M464 74H629"),
        _arrow("M861 74H899"),
        *_tower(905, 43, 162, "text tower"),
        _arrow("M986 109V138"),
    ]


def _tower(x: float, y: float, width: float, *words: str) -> list[str]:
    """A tower of CLIP: a box with its name, line by line, and that it is frozen."""
    height = 42 + 20 * len(words) if len(words) > 1 else 62
    lines = [_words(x + width / 2, y + 27 + 20 * n, one, "text") for n, one in enumerate(words)]
    box = f'<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="8" class="tower"/>'
    return [box, *lines, _words(x + width / 2, y + height - 13, "frozen", "label")]


def _batch(pictures: dict[str, Image.Image]) -> list[str]:
    """What the query must find, and what it must not."""
    frame = f'<rect x="904" y="144" width="164" height="164" rx="4" fill="{_GREEN}"/>'
    loss = "query-target loss: among all images of the batch, the composed query finds its own"
    return [
        frame,
        _image(pictures["original"], 911, 151, 150),
        _image(pictures["other 1"], 813, 151, 70),
        _image(pictures["other 2"], 813, 231, 70),
        _words(986, 330, "must find this one", "label"),
        _words(848, 330, "not these", "label"),
        _words(546, 362, loss, "head"),
    ]


def _words(x: float, y: float, words: str, kind: str) -> str:
    return f'<text x="{x}" y="{y}" text-anchor="middle" class="{kind}">{words}</text>'


def _caption(x: float, before: str, noun: str, after: str) -> str:
    """A caption in a box 180 wide, its noun in the colour of what is trained."""
    marked = f'<tspan fill="{_ORANGE}" font-weight="700">{noun}</tspan>'
    box = f'<rect x="{x}" y="48" width="180" height="52" rx="8" class="box"/>'
    return f'{box}<text x="{x + 90}" y="80" text-anchor="middle" class="text">{before}{marked}{after}</text>'


def _arrow(path: str) -> str:
    return f'<path d="{path}" class="arrow"/>'


def _chip(x: float, y: float, cells: int) -> str:
    """A vector: a row of cells."""
    shades = ("#f5b971", "#e08e2b", "#fbdcb4", "#b9690b", "#f0a54a", "#fbe8cd", "#cf7a17")
    return "".join(
        f'<rect x="{x + 10 * k}" y="{y}" width="10" height="26" fill="{shades[k % 7]}" class="cell"/>'
        for k in range(cells)
    )


def _image(picture: Image.Image, x: float, y: float, side: float) -> str:
    """An embedded PNG, ``side`` wide."""
    out = io.BytesIO()
    picture.quantize(COLOURS, dither=Image.Dither.NONE).save(out, "PNG", optimize=True)
    data = base64.b64encode(out.getvalue()).decode()
    return f'<image x="{x}" y="{y}" width="{side}" height="{side}" href="data:image/png;base64,{data}"/>'


if __name__ == "__main__":
    write_method_svg(sys.argv[1])
