"""The garments of the fashion pictures, with sleeves and lengths.

Redrawn by hand after OpenMoji's dress, T-shirt and blouse (CC BY-SA 4.0), so that
sleeves and hems can change, on OpenMoji's 72 x 72 box.
"""

from __future__ import annotations

from .vocabulary import check

#: Hems, from short to long.
LENGTHS: tuple[str, ...] = ("short", "medium", "long")
#: Sleeves, from none to long.
SLEEVES: tuple[str, ...] = ("none", "short", "long")
#: The sleeves a garment has when none are named.
PLAIN_SLEEVES: dict[str, str] = {"dress": "none", "shirt": "short", "top": "short"}

_STROKE = 'fill="none" stroke="#000" stroke-linecap="round" stroke-linejoin="round" stroke-width="2"'
#: Height of each hem, and how far a skirt flares.
_HEMS = {"dress": (47, 57, 69), "shirt": (46, 55, 66), "top": (43, 53, 64)}
_FLARES = (12, 15.5, 20)
#: Shoulder and armpit (y) of each garment, and how far its body is from the edge.
_SLEEVES_AT = {"dress": (7, 19, 24.5), "shirt": (15.5, 28, 21.5), "top": (14, 27, 20.5)}
#: Paths and their colours: a strapped dress with a flared skirt, a T-shirt with a collar, a blouse.
_PARTS = {
    "dress": [
        (
            "M36,21 L29.4,13 V5 H24 V13 C24,19 28,33 28,33 L{left},{hem} "
            "H{right} L44,33 C44,33 48,19 48,13 V5 H42.6 V13 Z",
            "#61b2e4",
        )
    ],
    "shirt": [
        ("M28,11 L21,15.5 V{hem} H51 V15.5 L44,11 L36,21 Z", "#61b2e4"),
        ("M28,11 C31,7 41,7 44,11 L39.5,19 L36,15 L32.5,19 Z", "#92d3f5"),
    ],
    "top": [
        (
            "M27,12 C27,24 45,24 45,12 L52,14 C50,24 48,30 49,38 C50,46 52,{above} 53,{hem} "
            "C46,{below} 26,{below} 19,{hem} C20,{above} 22,46 23,38 C24,30 22,24 20,14 Z",
            "#8967aa",
        )
    ],
}
_SEAMS = {"dress": ["M28.5,33 H43.5"], "shirt": [], "top": ["M24,37 C30,39 42,39 48,37"]}


def garment(noun: str, length: str, sleeves: str) -> tuple[str, str]:
    """The fill layer and the line layer of a dress, a shirt or a top.

    Raises ValueError for a length or sleeves that are not in `LENGTHS` or `SLEEVES`.
    """
    check("length", length, LENGTHS)
    check("sleeves", sleeves, SLEEVES)
    hem, flare = (sizes[LENGTHS.index(length)] for sizes in (_HEMS[noun], _FLARES))
    gaps = {"hem": hem, "above": hem - 4, "below": hem + 3, "left": 36 - flare, "right": 36 + flare}
    parts = [(path.format(**gaps), colour) for path, colour in _PARTS[noun]]
    parts = [*_sleeves(sleeves, *_SLEEVES_AT[noun]), *parts]
    fills = "".join(f'<path fill="{colour}" d="{path}"/>' for path, colour in parts)
    lines = "".join(f'<path {_STROKE} d="{path}"/>' for path in [path for path, _ in parts] + _SEAMS[noun])
    buttons = "".join(f'<circle cx="36" cy="{y}" r="1"/>' for y in (25, 30, 35) if noun == "shirt")
    return fills, lines + buttons


def _sleeves(kind: str, shoulder: float, armpit: float, inset: float) -> list[tuple[str, str]]:
    """Left and right sleeve from the shoulder (y) to the armpit (y) of a body `inset` wide from the edge."""
    reach, drop, cuff = (12, 13, 6) if kind == "short" else (17, 37, 6)
    parts = []
    for side in (1, -1) if kind != "none" else ():
        x = inset if side == 1 else 72 - inset
        out = x - side * reach * 0.75
        path = (
            f"M{x},{shoulder} L{out:.1f},{shoulder + drop} L{out + side * cuff:.1f},{shoulder + drop + 3} "
            f"L{x + side * 1.5:.1f},{armpit} Z"
        )
        parts.append((path, "#4a9fd6"))
    return parts
