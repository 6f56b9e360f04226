"""Backgrounds of the pocket world: sixteen places drawn as small SVG documents with random variation.

    python -m pretraining.backgrounds

writes those that pictures show, `zscir.pocket.scenes.BACKGROUNDS` of each place, into the file that
``zscir.pocket`` reads. Each place is one function drawing on a `Canvas`. Stickers stand between y = 70
and 120: keep that calm.
"""

import json
import lzma

import numpy as np

from pretraining.canvas import Canvas
from zscir.pocket.drawing import BACKGROUNDS_FILE
from zscir.pocket.scenes import BACKGROUNDS
from zscir.pocket.vocabulary import PLACES


def _beach(c: Canvas) -> None:
    horizon, shore, slope = c.u(42, 50), c.u(66, 73), c.u(-6, 6)
    c.sky(horizon)
    c.boxes("#3fa0c8 #6cc9d6 #a5e3dc", (0, horizon, 128, 50))
    glints = ((c.u(0, 110), c.u(horizon + 3, shore - 6), c.u(8, 20), 0.9) for _ in range(5))
    c.boxes("#ffffff", *glints, op=0.5)
    for y, fill in ((shore, "#f6fbf8"), (shore + 2.4, "#d9bf8e"), (shore + 7, "#f1dcae #e6c98f")):
        c.path(f"M0,{y - slope:.1f}Q32,{y - 5 - slope / 2:.1f} 64,{y:.1f}T128,{y + slope:.1f}V128H0z", fill)
    c.dots(16, (86, 126), (0.7, 1.6), "#c9a66b", 0.5, flat=0.5)
    side, turn = c.one((0, 1)), c.u(-0.08, 0.08)
    for angle in np.linspace(0.15, 1.35, 5) + turn:  # a palm's fronds in one corner
        x, y = 44 * np.cos(angle), 30 * np.sin(angle)
        over, tip, under = (abs(128 * side - v) for v in (x * 0.7 - 4, x, x * 0.45 - 2))
        d = f"M{136 * side - 4},-4Q{over:.1f},{y * 0.1 - 6:.1f} {tip:.1f},{y:.1f}"
        c.path(f"{d}Q{under:.1f},{y * 0.5:.1f} {136 * side - 4},-4z", c.pick("#5fa36a #4f9562 #74b374"), 0.9)


def _forest(c: Canvas) -> None:
    c.boxes("#a9cf9a #e4efc2 #b8d69a", (0, 0, 128, 128))
    c.firs(76, 58, 9, "#a3c596")
    c.firs(77, 46, 10, "#83b083")
    for i in range(9):
        x, w = i * 15 + c.u(-3, 7), c.u(2, 4.5)
        trunk = ((x, 0), (x + w, 0), (x + w * 1.3, 78), (x - w * 0.3, 78))
        c.poly(c.pick("#8b7a62 #7a7560 #97866b"), *trunk, op=0.85)
    c.bushes(1, 19, "#4e8759", 9)
    c.bushes(-1, 16, "#5d965f", 8)
    c.bushes(-4, 14, "#6fa768", 7)
    c.hills(75, 3, "#84ab68 #6b9359", 4)
    c.bushes(76, 5, "#6a9a5c #7cab66")
    for x in (c.u(20, 60), c.u(50, 90), c.u(80, 120)):
        c.poly("#fff9d2 none", (x, 0), (x + 10, 0), (x - 12, 105), (x - 38, 105), op=0.4)
    c.dots(14, (86, 126), (1.5, 3.4), "#557f4c", 0.35, flat=0.35)


def _city(c: Canvas) -> None:
    c.sky(70)
    far, middle, near = "#bccbdd #c6d1e2", "#8fa3c4 #a5a6c9 #93b0c4", "#7286ad #8a82ab #6f94a8"
    for layer, (walls, low, high) in enumerate(((far, 32, 60), (middle, 18, 48), (near, 7, 24))):
        x = -c.u(0, 8)
        while x < 128:
            w, top = c.u(10, 18), 72 - c.u(low, high)
            mast = 8 * (layer < 2 and c.u(0, 1) < 0.35)
            c.boxes(c.pick(walls), (x, top, w, 80 - top), (x + w / 2 - 0.6, top - mast, 1.2, mast))
            spots = ((x + a, y) for a in np.arange(2, w - 3, 4) for y in np.arange(top + 3, 70, 6))
            lit = [(a, y, 2, 2.4) for a, y in spots if layer and c.u(0, 1) < 0.65]
            c.boxes(c.pick("#fff1bd #e7f1fa"), *lit, op=0.75)
            x += w + c.u(0, 2)
    c.bushes(74, 5, "#86b07f #95bb86")
    c.boxes("#dcd8cf #bfbcb9", (0, 75, 128, 53))
    c.boxes("#ffffff", *((0, y, 128, 0.8) for y in (82, 93, 109)), op=0.4)


def _desert(c: Canvas) -> None:
    c.days("desert")
    c.sky(60, 0)
    for x in (c.u(0, 45), c.u(60, 105)):
        w, h = c.u(14, 26), c.u(9, 17)
        c.poly("#d9a07c #cf8d6a", (x - 5, 64), (x, 60 - h), (x + w, 60 - h), (x + w + 5, 64), op=0.85)
    c.hills(60, 4, "#e9bd7c #dca763")
    for _ in range(c.one((2, 3, 4))):
        x, y, s = c.u(5, 123), c.u(62, 68), c.u(0.6, 1)
        arms = f"m{-4 * s:.1f},{4 * s:.1f}v{3 * s:.1f}h{8 * s:.1f}v{-5 * s:.1f}"
        c.stroke(f"M{x:.1f},{y:.1f}v{-12 * s:.1f}{arms}", "#7f9e69", 2 * s)
    c.hills(70, 5, "#f2cf93 #e2b06b", 2)
    c.hills(92, 6, "#f7dba5 #e9bc7c", 2)
    c.stroke("".join(f"M{c.u(0, 80):.1f},{y}q12,-3 24,0t24,0" for y in (104, 112, 120)), "#d5a05f", 0.8, 0.4)


def _snow(c: Canvas) -> None:
    c.days("snow")
    c.sky(66, 1)
    c.hills(50, 7, "#cfdfee")
    c.firs(66, 24, 10, "#b0c9d3")
    c.firs(68, 18, 12, "#86a8b3")
    c.hills(66, 4, "#f6fafd #d3e3f1")
    c.hills(84, 5, "#ffffff #dbe8f4", 2)
    c.hills(106, 4, "#ffffff #e6eff8", 2)
    c.dots(38, (0, 92), (0.5, 1.5), "#ffffff", 0.9)


def _night_sky(c: Canvas) -> None:
    c.boxes("#17244f #2b4480 #5a77b0", (0, 0, 128, 128))
    for i in range(4):
        c.glow("#8fa6e8", 10 + 36 * i, c.u(35, 45) + 8 * i, 34, 17, 0.3)
    c.dots(30, (0, 98), (0.3, 0.8), "#d5e2ff", 0.8)
    c.dots(22, (0, 90), (0.5, 1.2), "#fff6dd")
    x, y, r, side = c.u(20, 108), c.u(16, 34), c.u(9, 12), c.one((0, 1))
    c.glow("#fff3c9", x, y, 3 * r, 3 * r, 0.4)
    inner = f"a{r * 1.25:.1f},{r * 1.25:.1f} 0 0 {1 - side} 0,{-2 * r:.1f}z"
    c.path(f"M{x:.1f},{y - r:.1f}a{r:.1f},{r:.1f} 0 1 {side} 0,{2 * r:.1f}{inner}", "#fff0bd")
    c.hills(98, 5, "#2f4776")
    c.firs(112, 10, 16, "#22355f")
    c.hills(110, 3, "#22355f #1a2a50")


def _meadow(c: Canvas) -> None:
    c.sky(62, 3)
    c.hills(56, 7, "#b0d6a2")
    c.hills(63, 5, "#98cb83", 2)
    c.hills(73, 4, "#a2d583 #7bbd68")
    blades = (f"M{c.u(0, 128):.1f},{c.u(78, 127):.1f}l1.2,-3.6l1.2,3.6z" for _ in range(46))
    c.path("".join(blades), "#62a857", 0.55)
    for fill in ("#ffffff", "#f7d774", "#f3a6b8", "#c9a8e6", "#f59a8a"):
        c.dots(5, (72, 98), (0.6, 1.2), fill, flat=0.8)
        for x, y in ((c.u(0, 128), c.u(104, 126)) for _ in range(3)):
            c.ovals(fill, *((x + a, y + b, 1.1, 1.1) for a, b in ((-1.2, 0), (1.2, 0), (0, -1.2), (0, 1.2))))
            c.ovals("#f2b93b", (x, y, 0.7, 0.7))


def _sea(c: Canvas) -> None:
    horizon = c.u(32, 42)
    c.sky(horizon, 3)
    c.boxes("#8ac4dc #4b9cc6 #2f7fb3", (0, horizon, 128, 96))
    c.boxes("#ffffff", *((c.u(0, 115), c.u(horizon + 2, 70), c.u(5, 14), 0.8) for _ in range(9)), op=0.5)
    y, gap = horizon + 5, 5.0
    while y < 132:
        step = gap * 2.2
        crest = f"q{step / 2:.1f},{-gap * 0.55:.1f} {step:.1f},0"
        d = f"M{-c.u(0, 20):.1f},{y:.1f}" + crest * int(150 / step + 2)
        c.path(d + "V132H-30z", "#3585ba", 0.16)
        c.stroke(d, "#e8f6fb", 0.5 + gap * 0.05, 0.5)
        y, gap = y + gap * 1.35, gap * 1.22


def _living_room(c: Canvas) -> None:
    wall, stripe = c.one(("#e9d9c0 #e2cfb2", "#cfdccf #c4d4c5", "#d5dbe6 #cad2e0", "#eed3c8 #e7c8bb")).split()
    c.boxes(wall, (0, 0, 128, 84))
    c.boxes(stripe, *((x, 0, 5, 84) for x in range(-4, 128, 12)))
    side = c.one((0, 1))
    x = c.u(14, 26) + 54 * side
    c.boxes("#fbf8f2", (x - 2, 10, 36, 48))
    c.boxes("#a5d4ee #dff0f4", (x, 12, 32, 44))
    c.ovals("#9cc88f", (x + 9, 52, 8, 7), (x + 23, 52, 8, 12))
    c.boxes("#fbf8f2", (x - 4, 56, 40, 3.5), (x + 15, 12, 2, 44), (x, 32, 32, 2), (0, 79, 128, 5))
    curtain = c.pick("#d98f7e #7fa8a3 #c9a25f #a58cb8")
    for s, edge in ((1, x - 9), (-1, x + 41)):
        c.path(f"M{edge:.1f},7h{17 * s}Q{edge + 15 * s:.1f},40 {edge + 8 * s:.1f},66h{-9 * s}z", curtain, 0.9)
    c.boxes("#a5805c", (x - 12, 5, 56, 2.2))
    for i in range(c.one((1, 2))):
        a, b, w, h = x + 16 + (46 + 22 * i) * (1 - 2 * side), c.u(18, 26), c.u(8, 10), c.u(16, 24)
        c.boxes("#b08d63", (a - w, b, 2 * w, h))
        c.boxes(c.pick("#f3e6cc #c9dde0 #e6c4b4"), (a - w + 2, b + 2, 2 * w - 4, h - 4))
    c.boxes("#cda272 #b98a5a", (0, 84, 128, 44))
    c.boxes("#a67b4e", *((0, y, 128, 0.8) for y in (90, 99, 111)), op=0.5)
    c.ovals(c.pick("#d9a796 #9fbdb8 #d8c08c #b6a6c9"), (64, 110, 54, 13), op=0.9)
    c.ovals("#ffffff", (64, 110, 46, 10), op=0.25)


def _kitchen(c: Canvas) -> None:
    front, hood = c.pick("#a9c6b4 #a8c0d4 #e0c79c #e3b3a3 #c6bfd6"), c.one((32, 64))
    doors = [x for x in range(0, 128, 32) if x != hood]
    c.boxes("#f7f3ea", (0, 0, 128, 128))
    c.boxes(
        "#d9d0c1",
        *((0, y, 128, 0.7) for y in range(32, 66, 8)),
        *((x, y, 0.7, 8) for y in range(32, 64, 8) for x in range(4 + y // 8 % 2 * 6, 128, 12)),
        op=0.9,
    )
    c.boxes(front, *((x + 0.7, 0, 30.6, 29) for x in doors), (0, 70, 128, 36))
    c.boxes("#ffffff", *((x + 4, 2, 24, 23) for x in doors), *((x + 3, 74, 26, 28) for x in doors), op=0.22)
    c.boxes("#a49c8e", *((x + 24, 18, 1.6, 6) for x in doors), *((x + 11, 77, 10, 1.6) for x in doors))
    x = hood + 16
    c.poly("#c3c8cb #dfe3e4", (x - 5, 0), (x + 5, 0), (x + 5, 16), (x + 15, 27), (x - 15, 27), (x - 5, 16))
    c.boxes("#d3d7d8", (hood, 70, 32, 36))
    c.boxes("#96a1a6", (hood + 4, 80, 24, 18), (hood + 4, 75, 24, 1.6))
    c.boxes("#d9b88c #c39d6e", (0, 64, 128, 6))
    for top, low, s, t in ((106, 115, 12, 15), (115, 128, 15, 19)):  # two rows of floor tiles
        for k in range(-6 + (top > 106), 6, 2):
            tile = ((64 + s * k, top), (64 + s * k + s, top), (64 + t * k + t, low), (64 + t * k, low))
            c.poly(front, *tile, op=0.4)


def _mountains(c: Canvas) -> None:
    c.sky(70)
    for base, low, fill, shade, n in ((70, 30, "#a9bbd6", "#98acca", 4), (74, 36, "#8299bd", "#6f87ae", 3)):
        for i in range(n):
            x, h = (i + c.u(0.2, 0.8)) * 128 / n, c.u(low, low + 17)
            w, top = h * c.u(0.75, 0.95), base - h
            c.poly(fill, (x, top), (x + w, base + 4), (x - w, base + 4))
            c.poly(shade, (x, top), (x + w, base + 4), (x + w * 0.1, base + 4), (x - w * 0.08, top + h * 0.5))
            snow = ((0, 0), (0.34, 0.34), (0.14, 0.26), (0, 0.42), (-0.16, 0.27), (-0.34, 0.34))
            c.poly("#f8fbff", *((x + w * a, top + h * b) for a, b in snow))
    c.hills(74, 3, "#7fa588", 4)
    c.firs(82, 11, 15, "#628c76")
    c.hills(80, 3, "#a3c98d #84b477", 2)
    c.hills(102, 4, "#b0d396 #8fbd7c", 2)


def _street(c: Canvas) -> None:
    c.sky(50)
    x = -c.u(0, 14)
    while x < 128:
        w, top = c.u(22, 30), 74 - c.u(38, 54)
        c.boxes(c.pick("#e8b9a0 #ecd7a4 #b9cfc0 #b6c8dc #dcb7c0 #e6ddcb"), (x, top, w, 74 - top))
        roof = ((x - 1, top + 1), (x + 1, top - 2), (x + w / 2, top - c.one((2, 12))), (x + w - 1, top - 2))
        c.poly(c.pick("#b9786a #9a8078 #8f8fa5"), *roof, (x + w + 1, top + 1))
        panes = [(x + w * k, y, w * 0.24, 7) for k in (0.16, 0.6) for y in np.arange(top + 5, 52, 11)]
        c.boxes("#fbf7ee", *panes)
        glass = c.pick("#8fb0c6 #a3c0d0 #f3dfa4")
        c.boxes(glass, *((a + 0.8, b + 0.8, w * 0.24 - 1.6, 5.4) for a, b, *_ in panes))
        c.boxes("#a9c2cf", (x + w * 0.12, 62, w * 0.42, 12))
        c.boxes(c.pick("#8c6a5a #6f8a86 #9a6f78"), (x + w * 0.66, 60, w * 0.22, 14))
        c.boxes(c.pick("#d98676 #7fae9f #d9b25f #8a9cc4"), (x + w * 0.06, 57.5, w * 0.88, 4))
        x += w
    c.boxes("#d9d4cb #c8c2b8", (0, 74, 128, 11))
    c.boxes("#aaa59e", (0, 84, 128, 2))
    c.boxes("#8d919a #7c808b", (0, 86, 128, 42))
    c.boxes("#f3ecd8", *((a, 105, 15, 3) for a in np.arange(c.u(-20, 0), 128, 28)), op=0.8)


def _underwater(c: Canvas) -> None:
    c.boxes("#9be0e2 #45aac4 #1f6f9f", (0, 0, 128, 128))
    for _ in range(5):
        x, w, lean = c.u(0, 110), c.u(5, 13), c.u(-30, 10)
        c.poly("#ffffff none", (x, 0), (x + w, 0), (x + w * 2 + lean, 112), (x + lean - w, 112), op=0.3)
    c.hills(103, 5, "#2f86a5")
    c.hills(114, 3, "#d9cfa0 #b3b08e")
    for i in range(9):
        x, y, s = c.u(0, 26) + 102 * (i % 2), c.u(114, 124), c.u(8, 17)
        d = f"M{x:.1f},{y:.1f}q{c.u(4, 8):.1f},{-s / 2:.1f} 0,{-s:.1f}" + f"t0,{-s:.1f}" * 2
        c.stroke(d, c.pick("#4f9f7a #68b283 #d98a8f #3d8d82"), c.u(2, 3.6), 0.85)
    bubbles = [(c.u(4, 124), c.u(6, 100), c.u(0.8, 3)) for _ in range(16)]
    c.ovals("#e6fbff", *((x, y, r, r) for x, y, r in bubbles), op=0.45)
    c.ovals("#ffffff", *((x - r * 0.3, y - r * 0.3, r * 0.35, r * 0.35) for x, y, r in bubbles), op=0.9)


def _farm(c: Canvas) -> None:
    c.sky(58)
    c.hills(54, 5, "#b4d69c")
    c.hills(62, 2, "#93c47e")
    x, s = c.u(22, 90), c.u(0.9, 1.2)
    c.boxes("#cdd1d4", (x + 17 * s, 66 - 27 * s, 9 * s, 27 * s))
    c.ovals("#cdd1d4", (x + 21.5 * s, 66 - 27 * s, 4.5 * s, 4 * s))
    c.boxes("#c97666", (x - 13 * s, 66 - 15 * s, 26 * s, 15 * s))
    for fill, k in (("#9b5650", 1.15), ("#c97666", 0.95)):
        gable = ((-13, -14), (-8, -22), (0, -27), (8, -22), (13, -14))
        c.poly(fill, *((x + a * s * k, 66 + b * s - (k > 1) * 1.5) for a, b in gable))
    c.boxes("#f4e9dd", (x - 5 * s, 66 - 10 * s, 10 * s, 10 * s), (x - 2 * s, 66 - 19 * s, 4 * s, 4 * s))
    c.boxes("#a95b50", (x - 4 * s, 66 - 9 * s, 8 * s, 9 * s))
    aim = c.u(44, 84)
    c.boxes("#c5cf7c #b3b665", (0, 66, 128, 62))
    for far, near in ((aim + 7 * i, aim + 24 * i) for i in range(-9, 10)):
        c.poly("#8fb25c", (far, 66), (far + 3, 66), (near + 11, 128), (near, 128), op=0.55)
    c.boxes("#7fae66", (0, 64, 128, 2.5))
    c.boxes("#f3ead9", *((a, 62, 1.8, 9) for a in range(2, 128, 12)), (0, 64, 128, 1.3), (0, 67.4, 128, 1.3))


def _space(c: Canvas) -> None:
    c.boxes("#0e0b24 #1d1440 #120d2c", (0, 0, 128, 128))
    for _ in range(5):
        colour = c.pick("#7a3f9d #a8457f #3b55a8 #2f8a96")
        c.glow(colour, c.u(0, 128), c.u(0, 128), c.u(34, 60), c.u(22, 42), 0.5)
    c.dots(32, (0, 128), (0.3, 0.7), "#cfe0ff", 0.8)
    c.dots(22, (0, 128), (0.5, 1.1), "#fff1dc")
    side = c.one((0, 1))
    x, y, r = c.u(24, 42) + 60 * side, c.u(20, 40), c.u(9, 13)
    c.ovals(c.pick("#e0b07c #d99aa6 #dcc898") + " #8f6070", (x, y, r, r))
    ring = f"M{x - r:.1f},{y + 1:.1f}C{x - 2.6 * r:.1f},{y + r:.1f} {x + r:.1f},{y + r * 0.6:.1f}"
    c.stroke(f"{ring} {x + 1.8 * r:.1f},{y - r * 0.5:.1f}", "#f0dcb0", 1.8, 0.9)
    x, y, r = c.u(90, 116) - 78 * side, c.u(12, 56), c.u(4, 8)
    c.ovals(c.pick("#9fd0e8 #b5d9a8 #d0b0e0") + " #4f5f90", (x, y, r, r))


def _studio(c: Canvas) -> None:
    grey, cream = "#f0eeea #e6e3de #cfcbc4 #f1eeea", "#f4ecdf #ebe2d2 #d6cab6 #f5eee2"
    c.boxes(c.one((grey, cream, "#e9edf0 #dfe4e8 #c6ccd2 #eef1f3")), (0, c.u(-14, 0), 128, 144))
    c.glow("#ffffff", c.u(40, 88), c.u(24, 44), c.u(60, 80), 50, 0.8)
    c.glow("#8f887f", 64, 116, 62, 10, 0.25)


_UNTINTED = ("night sky", "living room", "kitchen", "underwater", "space", "studio")


def background(place: str, variant: int) -> str:
    """SVG document (viewBox 0 0 128 128) of one drawing of `place`; the same variant is the same string."""
    canvas = Canvas(np.random.default_rng([PLACES.index(place), variant]))
    globals()["_" + place.replace(" ", "_")](canvas)  # "night sky" is drawn by `_night_sky`, and so on
    if place not in _UNTINTED and canvas.day[3]:
        canvas.boxes(canvas.day[2], (0, 0, 128, 128), op=canvas.day[3])
    head = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 128 128" width="128" height="128">'
    return f"{head}<defs>{''.join(canvas.defs)}</defs>{''.join(canvas.shapes)}</svg>"


if __name__ == "__main__":
    drawn = {place: [background(place, variant) for variant in range(BACKGROUNDS)] for place in PLACES}
    BACKGROUNDS_FILE.write_bytes(lzma.compress(json.dumps(drawn).encode(), preset=9))
