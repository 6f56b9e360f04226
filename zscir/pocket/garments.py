"""The garments of the fashion pictures, with sleeves and lengths.

Redrawn by hand after OpenMoji's dress, T-shirt and blouse (CC BY-SA 4.0), so that
sleeves and hems can change: each function returns the fill layer and the line layer
on OpenMoji's 72 x 72 box.
"""

from __future__ import annotations

from collections.abc import Callable

#: Hems, from short to long.
LENGTHS: tuple[str, ...] = ("short", "medium", "long")
#: Sleeves, from none to long.
SLEEVES: tuple[str, ...] = ("none", "short", "long")
#: The sleeves a garment has when none are named.
PLAIN_SLEEVES: dict[str, str] = {"dress": "none", "shirt": "short", "top": "short"}

_STROKE = 'fill="none" stroke="#000" stroke-linecap="round" stroke-linejoin="round" stroke-width="2"'


def _check(length: str, sleeves: str) -> None:
    if length not in LENGTHS:
        raise ValueError(f"length={length!r} is not one of {LENGTHS}")
    if sleeves not in SLEEVES:
        raise ValueError(f"sleeves={sleeves!r} is not one of {SLEEVES}")


def _draw(parts: list[tuple[str, str]], lines: list[str] | None = None) -> tuple[str, str]:
    """Fill and outline every (path, colour); add bare lines on top."""
    fills = "".join(f'<path fill="{colour}" d="{path}"/>' for path, colour in parts)
    drawn = "".join(f'<path {_STROKE} d="{path}"/>' for path in [p for p, _ in parts] + (lines or []))
    return fills, drawn


def _sleeves(kind: str, shoulder: float, armpit: float, inset: float) -> list[tuple[str, str]]:
    """Left and right sleeve from the shoulder (y) to the armpit (y) of a body `inset` wide from the edge."""
    if kind == "none":
        return []
    reach, drop, cuff = (12, 13, 6) if kind == "short" else (17, 37, 6)
    parts = []
    for side in (1, -1):
        x = inset if side == 1 else 72 - inset
        out = x - side * reach * 0.75
        path = (
            f"M{x},{shoulder} L{out:.1f},{shoulder + drop} L{out + side * cuff:.1f},{shoulder + drop + 3} "
            f"L{x + side * 1.5:.1f},{armpit} Z"
        )
        parts.append((path, "#4a9fd6"))
    return parts


def dress(length: str, sleeves: str) -> tuple[str, str]:
    """A dress: strapped or sleeved top, waist, flared skirt."""
    _check(length, sleeves)
    hem = {"short": 47, "medium": 57, "long": 69}[length]
    flare = {"short": 12, "medium": 15.5, "long": 20}[length]
    body = (
        f"M36,21 L29.4,13 V5 H24 V13 C24,19 28,33 28,33 L{36 - flare},{hem} "
        f"H{36 + flare} L44,33 C44,33 48,19 48,13 V5 H42.6 V13 Z"
    )
    return _draw([*_sleeves(sleeves, 7, 19, 24.5), (body, "#61b2e4")], ["M28.5,33 H43.5"])


def shirt(length: str, sleeves: str) -> tuple[str, str]:
    """A T-shirt with a collar and three buttons."""
    _check(length, sleeves)
    hem = {"short": 46, "medium": 55, "long": 66}[length]
    body = f"M28,11 L21,15.5 V{hem} H51 V15.5 L44,11 L36,21 Z"
    collar = "M28,11 C31,7 41,7 44,11 L39.5,19 L36,15 L32.5,19 Z"
    parts = [*_sleeves(sleeves, 15.5, 28, 21.5), (body, "#61b2e4"), (collar, "#92d3f5")]
    fills, lines = _draw(parts)
    buttons = "".join(f'<circle cx="36" cy="{y}" r="1"/>' for y in (25, 30, 35))
    return fills, lines + buttons


def top(length: str, sleeves: str) -> tuple[str, str]:
    """A blouse: round neck, narrow waist, curved hem."""
    _check(length, sleeves)
    hem = {"short": 43, "medium": 53, "long": 64}[length]
    body = (
        f"M27,12 C27,24 45,24 45,12 L52,14 C50,24 48,30 49,38 C50,46 52,{hem - 4} 53,{hem} "
        f"C46,{hem + 3} 26,{hem + 3} 19,{hem} C20,{hem - 4} 22,46 23,38 C24,30 22,24 20,14 Z"
    )
    return _draw([*_sleeves(sleeves, 14, 27, 20.5), (body, "#8967aa")], ["M24,37 C30,39 42,39 48,37"])


#: Garment -> the function that draws it.
DRAW: dict[str, Callable[[str, str], tuple[str, str]]] = {"dress": dress, "shirt": shirt, "top": top}
