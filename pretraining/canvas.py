"""The drawing surface of the pocket world's backgrounds: shapes, gradients, skies and hills as SVG text.

A fill is "#rrggbb", or several colours separated by spaces for a gradient downwards ("none" last: fades out).
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from zscir.pocket.drawing import hex_of, hls_of

_Point = tuple[float, float]
_Box = tuple[float, float, float, float]

#: Times of day: colours of the sky, of the sun, of a light over the whole drawing, and its strength.
DAYS = {
    "most places": [
        ("#7fbfe8 #d5eefa", "#fff6cf", "#ffffff", 0.0),
        ("#8fd0ee #f3f6ea", "#fff2c0", "#ffe9b0", 0.06),
        ("#8fb4e0 #f6dfcf", "#ffe2b0", "#ffc890", 0.1),
        ("#a79bd0 #fbc9a4", "#ffdc9c", "#f59a70", 0.14),
    ],
    "desert": [
        ("#f3c98b #fdebc4", "#fff7da", "#ffb070", 0.0),
        ("#8ccbe0 #fbe6be", "#fff7da", "#ffd090", 0.06),
        ("#e59a86 #fbd9a0", "#fff0c8", "#f08a60", 0.08),
    ],
    "snow": [
        ("#9cc4e6 #e6f1fa", "#ffffff", "#ffffff", 0.0),
        ("#b9b8e0 #f9dfe4", "#fff4e4", "#e8c8e0", 0.08),
        ("#88aed6 #d6e5f3", "#ffffff", "#b8d0f0", 0.08),
    ],
}


class Canvas:
    """Shapes of one drawing, with the random choices and the palette shift that vary it."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng
        self.defs: list[str] = []
        # The plain base keeps hairlines between shapes opaque.
        self.shapes = ['<rect width="128" height="128" fill="#cccccc"/>']
        self.hue, self.light, self.saturation = self.u(-0.018, 0.018), self.u(-0.025, 0.02), self.u(0.85, 1.1)
        self.days("most places")

    def days(self, kind: str) -> None:
        """Draw a time of day: sky, sun, light over the whole drawing, strength of that light."""
        self.day = self.one(DAYS[kind])

    def u(self, low: float, high: float) -> float:
        """A random number in the range."""
        return float(self.rng.uniform(low, high))

    def one(self, options: Sequence[Any]) -> Any:
        """One of the options, at random."""
        return options[int(self.rng.integers(len(options)))]

    def pick(self, colours: str) -> str:
        """One of the colours of a list in words, at random."""
        return self.one(colours.split())

    def tone(self, colour: str) -> str:
        """The colour in this drawing's palette."""
        hue, light, strength = hls_of(colour)
        light = float(np.clip(light + self.light * min(1.0, 4 * light), 0, 1))
        return hex_of((hue + self.hue) % 1.0, light, min(1.0, strength * self.saturation))

    def paint(self, fill: str, kind: str = "linear") -> str:
        """The SVG value of a fill; several colours define a gradient."""
        colours = fill.split()
        if len(colours) == 1:
            return fill if fill == "none" else self.tone(fill)
        stops = ""
        for i, colour in enumerate(colours):
            seen = f'{self.tone(colours[i - 1])}" stop-opacity="0' if colour == "none" else self.tone(colour)
            stops += f'<stop offset="{i / (len(colours) - 1):.2f}" stop-color="{seen}"/>'
        name, axis = f"g{len(self.defs)}", ' x1="0" y1="0" x2="0" y2="1"' if kind == "linear" else ""
        self.defs.append(f'<{kind}Gradient id="{name}"{axis}>{stops}</{kind}Gradient>')
        return f"url(#{name})"

    def path(self, d: str, fill: str, op: float = 1, line: str = "", kind: str = "linear") -> None:
        """One shape from SVG path data."""
        # Fill and stroke opacity render several times faster than the opacity of a whole element.
        faint = "" if op == 1 else f' fill-opacity="{op:.2f}" stroke-opacity="{op:.2f}"'
        self.shapes.append(f'<path d="{d}" fill="{self.paint(fill, kind)}"{line}{faint}/>')

    def stroke(self, d: str, colour: str, width: float, op: float = 1) -> None:
        """A round-ended line along SVG path data."""
        line = f' stroke="{self.tone(colour)}" stroke-width="{width:.1f}" stroke-linecap="round"'
        self.path(d, "none", op, line)

    def poly(self, fill: str, *points: _Point, op: float = 1) -> None:
        """A polygon."""
        self.path("M" + " ".join(f"{x:.1f},{y:.1f}" for x, y in points) + "z", fill, op)

    def boxes(self, fill: str, *boxes: _Box, op: float = 1) -> None:
        """Rectangles (x, y, width, height) of one colour."""
        self.path("".join(f"M{x:.1f},{y:.1f}h{w:.1f}v{h:.1f}h{-w:.1f}z" for x, y, w, h in boxes), fill, op)

    def ovals(self, fill: str, *ovals: _Box, op: float = 1, kind: str = "linear") -> None:
        """Ellipses (x, y, half width, half height) of one colour."""
        d = "".join(
            f"M{x - a:.1f},{y:.1f}a{a:.1f},{b:.1f} 0 1 1 {2 * a:.1f},0a{a:.1f},{b:.1f} 0 1 1 {-2 * a:.1f},0z"
            for x, y, a, b in ovals
        )
        self.path(d, fill, op, kind=kind)

    def glow(self, fill: str, x: float, y: float, a: float, b: float, op: float = 1) -> None:
        """A soft ellipse that fades to nothing at its rim."""
        self.ovals(f"{fill} none", (x, y, a, b), op=op, kind="radial")

    def dots(self, count: int, y: _Point, r: _Point, fill: str, op: float = 1, flat: float = 1) -> None:
        """Dots of one colour scattered over the width, with heights and radii in the given ranges."""
        sizes = [self.u(*r) for _ in range(count)]
        self.ovals(fill, *((self.u(0, 128), self.u(*y), size, flat * size) for size in sizes), op=op)

    def bushes(self, y: float, size: float, fills: str, count: int = 12) -> None:
        """Rows of round leaf shapes about height y, one row for each colour."""
        for fill in fills.split():
            spots = [(i * 128 / (count - 1) + self.u(-5, 5), self.u(0.55, 1) * size) for i in range(count)]
            self.ovals(fill, *((x, y + self.u(-0.2, 0.2) * r, 1.2 * r, r) for x, r in spots))

    def hills(self, y: float, swing: float, fill: str, bumps: int = 3) -> None:
        """A smooth rolling outline about height y, filled down to the bottom edge."""
        step = 160 / bumps
        d = f"M{-self.u(10, 30):.1f},{y:.1f}"
        for i in range(bumps + 1):
            d += f"q{step / 2:.1f},{2 * swing * self.u(0.5, 1) * (-1) ** (i + 1):.1f} {step:.1f},0"
        self.path(d + "V128H-30z", fill)

    def sky(self, horizon: float, clouds: int = 2) -> None:
        """Sky of the drawing's time of day, with the sun and some clouds."""
        self.boxes(self.day[0], (0, 0, 128, horizon + 8))
        x, y, r = self.u(14, 114), self.u(14, horizon * 0.6), self.u(6, 9)
        self.glow(self.day[1], x, y, 4 * r, 4 * r, 0.7)
        self.ovals(self.day[1], (x, y, r, r))
        for i in range(clouds):
            x, y, w = self.u(5, 40) + 85 * i / max(1, clouds - 1), self.u(9, horizon * 0.55), self.u(9, 15)
            puffs = ((-0.8, 0.2), (-0.35, 0.4), (0.2, 0.32), (0.55, 0.24), (0.85, 0.17))
            blobs = ((x + w * a, y + w * (0.3 - b), w * b, w * b) for a, b in puffs)
            self.ovals("#ffffff", *blobs, op=0.85)

    def firs(self, y: float, height: float, count: int, fill: str) -> None:
        """A row of small fir trees standing at height y."""
        d = ""
        for i in range(count):
            x, h = (i + self.u(0.1, 0.9)) * 128 / count, height * self.u(0.65, 1.1)
            d += f"M{x:.1f},{y - h:.1f}l{h * 0.14:.1f},{h * 0.45:.1f}"
            d += f"h{-h * 0.05:.1f}l{h * 0.15:.1f},{h * 0.6:.1f}"
            d += f"h{-h * 0.48:.1f}l{h * 0.15:.1f},{-h * 0.6:.1f}h{-h * 0.05:.1f}z"
        self.path(d, fill)
