"""One look for all figures of the book: white grounds, colour-blind safe colours, 700 px wide.

    use_style()
    figure, axes = new_figure(1, 2, height=2.8)

Figures made here are unknown to pyplot: a cell that ends with one shows it exactly once.
"""

from __future__ import annotations

import io

import matplotlib
import numpy as np
import pandas
import seaborn
from matplotlib.figure import Figure
from PIL import Image

#: Inches; at the style's resolution 7 inches are 840 px, shown at the width of a page.
WIDTH = 7.0
DPI = 120
#: Roles of pictures in a query, and the colour of their frame. Blue and orange differ for everyone.
FRAMES = {"reference": "#0173b2", "target": "#de8f05", "kept": "#029e73"}
#: Colour-blind safe (seaborn's "colorblind"), in the order in which series are drawn.
PALETTE = ("#0173b2", "#de8f05", "#029e73", "#cc78bc", "#ca9161", "#949494", "#56b4e9", "#d55e00")
#: Colour map of values from 0 to 1: even in lightness, readable without colour.
MAP_COLOURS = "viridis"


def use_style() -> None:
    """Set the book's look for what seaborn or matplotlib draw from here on; tables show whole texts."""
    pandas.set_option("display.max_colwidth", None)
    look = {"figure.dpi": DPI, "savefig.dpi": DPI, "axes.titlesize": 10, "axes.labelsize": 9.5}
    look |= {"xtick.labelsize": 9, "ytick.labelsize": 9, "legend.fontsize": 9, "legend.title_fontsize": 9}
    look |= {"axes.spines.top": False, "axes.spines.right": False, "axes.titlelocation": "left"}
    look |= {"figure.figsize": (WIDTH, 3.0), "legend.frameon": False, "grid.color": "#e4e4e4"}
    seaborn.set_theme(style="whitegrid", palette=list(PALETTE), font="DejaVu Sans", rc=look)


class PageFigure(Figure):
    """A figure that notebooks show as a PNG, blank edges cut off, whatever backend pyplot has, or none."""

    def _repr_png_(self) -> bytes:
        out, trimmed = io.BytesIO(), io.BytesIO()
        self.savefig(out, format="png")
        _without_blank_rows(Image.open(out)).save(trimmed, "PNG", optimize=True)
        return trimmed.getvalue()


def _without_blank_rows(image: Image.Image, margin: int = 8) -> Image.Image:
    """The image without what is blank above and below, but for a margin; as wide as it was."""
    pixels = np.asarray(image.convert("RGB"))
    inked = np.flatnonzero((pixels != pixels[0, 0]).any(axis=(1, 2)))
    if not len(inked):
        return image
    return image.crop((0, max(0, inked[0] - margin), image.width, min(image.height, inked[-1] + 1 + margin)))


def new_figure(rows: int = 1, columns: int = 1, height: float = 3.0, **options) -> tuple[Figure, np.ndarray]:
    """A figure of the book's width and its axes [rows, columns].

    Args:
        rows, columns: the grid of axes.
        height: of the whole figure, in inches.
        **options: passed to ``Figure.subplots``, such as ``sharey=True``.
    """
    figure = PageFigure(figsize=(WIDTH, height), dpi=matplotlib.rcParams["figure.dpi"], layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False, **options)


def note_figure(text: str) -> Figure:
    """A figure that only says why there is nothing to draw, such as pictures without labels."""
    figure, axes = new_figure(height=0.9)
    axes[0, 0].axis("off")
    axes[0, 0].text(0.5, 0.5, text, ha="center", va="center", style="italic")
    return figure
