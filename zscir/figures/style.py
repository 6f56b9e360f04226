"""One look for all figures of the book: white grounds, colour-blind safe colours, 700 px wide.

    use_style()
    figure, axes = new_figure(1, 2, height=2.8)

Figures made here are unknown to pyplot: a cell that ends with one shows it exactly once.
"""

import io
import json
import re
import textwrap
import unicodedata
import warnings
from collections.abc import Mapping, Sequence
from functools import lru_cache

import matplotlib
import numpy as np
import pandas
import seaborn
from IPython import get_ipython
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import fontManager
from matplotlib.ft2font import FT2Font
from matplotlib.text import Text
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from zscir.storage.pictures import open_picture

FONT = "DejaVu Sans"
#: Inches; at the style's resolution 7 inches are 840 px, shown at the width of a page.
WIDTH = 7.0
DPI = 120
#: Inches of one line of text under a picture.
LINE = 13 / 72
#: Roles of pictures in a query, and the colour of their frame. Blue and orange differ for everyone.
FRAMES = {"reference": "#0173b2", "target": "#de8f05", "kept": "#029e73"}
#: Colour-blind safe (seaborn's "colorblind"), in the order in which series are drawn.
PALETTE = ("#0173b2", "#de8f05", "#029e73", "#cc78bc", "#ca9161", "#949494", "#56b4e9", "#d55e00")
#: Colour map of values from 0 to 1: even in lightness, readable without colour.
MAP_COLOURS = "viridis"
#: Colour and marker of the methods that the chapters compare, so that each looks the same everywhere.
METHOD_STYLES = {
    "image": (PALETTE[5], "s"),
    "text": (PALETTE[6], "D"),
    "image + text": (PALETTE[3], "P"),
    "slerp": ("#882255", "v"),
    "Pic2Word": (PALETTE[1], "^"),
    "masked pairs": (PALETTE[0], "o"),
    "adjectives hidden": ("#117777", "h"),
    "target's caption": (PALETTE[2], "*"),
}
#: What texts of the book's own hold that are formulas: a metric's name, ticks of a logarithmic axis.
OWN_FORMULAS = ("$_{subset}$", "\\mathdefault{")
_OTHERS = ((PALETTE[7], "X"), ("#222222", "<"), ("#999933", ">"), (PALETTE[4], "d"))  # of unknown methods


def use_style() -> None:
    """Set the book's look for what seaborn or matplotlib draw from here on, and for tables in notebooks.

    These show whole texts, and metrics by the names that the field writes. The book's figures show themselves
    even where pyplot, once used, would draw every figure its own way.
    """
    pandas.set_option("display.max_colwidth", None)
    if shell := get_ipython():
        html, png = (shell.display_formatter.formatters[kind] for kind in ("text/html", "image/png"))
        html.for_type(pandas.DataFrame, lambda table: _with_metric_names(table._repr_html_()))
        png.for_type(PageFigure, PageFigure._repr_png_)
    options = {"figure.dpi": DPI, "savefig.dpi": DPI, "axes.titlesize": 10, "axes.labelsize": 9.5}
    options |= {"xtick.labelsize": 9, "ytick.labelsize": 9, "legend.fontsize": 9, "legend.title_fontsize": 9}
    options |= {"axes.spines.top": False, "axes.spines.right": False, "axes.titlelocation": "left"}
    options |= {"figure.figsize": (WIDTH, 3.0), "legend.frameon": False, "grid.color": "#e4e4e4"}
    seaborn.set_theme(style="whitegrid", palette=list(PALETTE), font=FONT, rc=options)


class PageFigure(Figure):
    """A figure that notebooks show as a PNG, blank edges cut off, whatever backend pyplot has, or none.

    Texts are drawn as they were written: see `write_plainly`.
    """

    def draw(self, renderer: object) -> None:
        """As matplotlib draws a figure, after `write_plainly`."""
        write_plainly(self.findobj(Text))
        super().draw(renderer)

    def _repr_png_(self) -> bytes:
        """The PNG; where pictures are in it, its text "pictures" says as boxes: left, top, right, bottom."""
        out, trimmed, notes = io.BytesIO(), io.BytesIO(), PngInfo()
        self.savefig(out, format="png")
        image = open_picture(out.getvalue(), mode="RGBA")
        first, last = _inked_rows(image)
        shown = [axis for axis in self.axes if axis.images or axis.get_label() == "<colorbar>"]
        boxes = [axis.get_window_extent().extents.round().astype(int).tolist() for axis in shown]
        places = [(x0, image.height - y1 - first, x1, image.height - y0 - first) for x0, y0, x1, y1 in boxes]
        notes.add_text("pictures", json.dumps(places))
        image.crop((0, first, image.width, last)).save(trimmed, "PNG", optimize=True, pnginfo=notes)
        return trimmed.getvalue()


def write_plainly(texts: Sequence[Text]) -> None:
    """Prepare captions and names of files, which may hold anything, to be drawn as they were written.

    A dollar begins no formula, but in the book's own (`OWN_FORMULAS`); what is not `drawable` goes. Letters
    that the style's font lacks are taken from an installed one that has them; those that no font has become
    ``[...]``, and one warning tells how many there are.
    """
    lost: set[str] = set()
    for text in texts:
        if "$" in text.get_text() and not any(mark in text.get_text() for mark in OWN_FORMULAS):
            text.set_parse_math(False)
        said = drawable(text.get_text())
        fonts = {letter: _font_with(ord(letter)) for letter in sorted(set(said)) if ord(letter) > 0x24F}
        if others := dict.fromkeys(name for name in fonts.values() if name not in (FONT, "")):
            text.set_fontfamily([FONT, *others])
        if missing := [letter for letter, name in fonts.items() if not name]:
            said = re.sub(f"[{re.escape(''.join(missing))}]+", "[...]", said)
            lost.update(missing)
        if said != text.get_text():
            text.set_text(said)
    if lost:
        said = f"no font of this machine has {len(lost)} of the letters, [...] stands for them"
        warnings.warn(said, stacklevel=2)


def drawable(text: str) -> str:
    """A text without what no font draws: bytes that are no UTF-8 become ?, control characters spaces.

    >>> drawable("caf\\udce9 \\x07 $5")
    'caf?   $5'
    """
    return re.sub(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]", " ", text.encode("utf-8", "replace").decode("utf-8"))


def wrapped(text: str, width: int, most: int = 4) -> str:
    """A text in lines of ``width`` letters, wide ones (as the Chinese) counted twice; … after ``most`` lines.

    >>> wrapped("a dog on a red sofa", 8, most=2)
    'a dog on\\na red…'
    """
    wide = sum(unicodedata.east_asian_width(letter) in "WF" for letter in text)
    width = max(2, width * len(text) // max(1, len(text) + wide))
    lines = textwrap.wrap(text, width)
    if len(lines) > most:
        lines[most - 1 :] = [f"{lines[most - 1][: width - 1]}…"]
    return "\n".join(lines)


@lru_cache(maxsize=4096)
def _font_with(letter: int) -> str:
    """The first installed upright font that has a code point, the style's own before all others; or ""."""
    upright = (font for font in fontManager.ttflist if font.style == "normal" and font.weight == 400)
    fonts = {font.name: font.fname for font in upright if not font.name.startswith("Last Resort")}  # boxes
    names = sorted(fonts, key=lambda name: (name != FONT, name))
    return next((name for name in names if letter in _letters(fonts[name])), "")


@lru_cache(maxsize=256)
def _letters(file: str) -> frozenset[int]:
    """Code points that matplotlib can draw with a font."""
    font = FT2Font(file)
    return frozenset(font.get_charmap() if font.scalable else ())


def _inked_rows(image: Image.Image, margin: int = 8) -> tuple[int, int]:
    """First row of an image that is not blank, and the one after the last, with a margin; else all rows."""
    pixels = np.asarray(image.convert("RGB"))
    inked = np.flatnonzero((pixels != pixels[0, 0]).any(axis=(1, 2)))
    if not len(inked):
        return 0, image.height
    return max(0, int(inked[0]) - margin), min(image.height, int(inked[-1]) + 1 + margin)


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


def method_style(name: str, number: int = 0) -> tuple[str, str]:
    """Colour and marker of a method: its own in `METHOD_STYLES`, else those of the ``number``-th unknown one.

    "image alone" is "image", "text alone" is "text".
    """
    return METHOD_STYLES.get(name.removesuffix(" alone"), _OTHERS[number % len(_OTHERS)])


def metric_name(metric: str) -> str:
    """The name of a metric as the field writes it.

    >>> metric_name("recall_subset@1")
    'Recall$_{subset}$@1'
    """
    words = {"recall_subset": "Recall$_{subset}$", "recall": "Recall", "map": "mAP", "fashioniq": "FashionIQ"}
    for word, name in words.items():
        metric = metric.replace(word, name)
    return metric


def _with_metric_names(text: str) -> str:
    """A text in which metrics have the names of `metric_name`, without formulas."""
    names = re.compile(r"\b(?:fashioniq )?\w+@\d+")
    return names.sub(lambda found: re.sub(r"[${}]", "", metric_name(found[0])), text)


def legend_above(figure: Figure, columns: int = 3) -> None:
    """One legend above all panels, each name once, where there is something to tell apart."""
    handles: dict[str, object] = {}
    for axis in figure.axes:
        for handle, label in zip(*axis.get_legend_handles_labels(), strict=True):
            handles[label] = handle
    if handles:
        figure.legend(handles.values(), handles.keys(), loc="outside upper center", ncols=columns)


def label_rows(axis: Axes, labels: Sequence[object]) -> None:
    """Texts along the left side, the first on top, and no line across them."""
    texts = [drawable(str(label)) for label in labels]
    axis.set(yticks=range(len(labels)), yticklabels=texts, ylim=(len(labels) - 0.5, -0.5))
    axis.grid(False, axis="y")


def dot_on_interval(
    axis: Axes,
    value: float,
    interval: tuple[float, float],
    place: float,
    colour: str,
    marker: str = "o",
    label: str | None = None,
) -> None:
    """A number as a dot on its interval, along x at the height ``place``; NaN bounds give no interval."""
    axis.plot(interval, [place, place], color=colour, linewidth=2.2, solid_capstyle="butt")
    axis.plot(value, place, marker, color=colour, markersize=7, label=label, clip_on=False)


def interval_bars(axis: Axes, shares: Mapping[str, Sequence], labels: Sequence[str]) -> None:
    """A group of horizontal bars a label, a bar a method, each with its interval.

    Args:
        axis: where to draw.
        shares: method -> for each label a share: value, low, high first, as
            `zscir.retrieval.statistics.share_of` gives it.
        labels: what stands to the left, from top to bottom.
    """
    height = 0.82 / len(shares)
    for number, (method, own) in enumerate(shares.items()):
        values, low, high = np.array([share[:3] for share in own]).T
        places = np.arange(len(labels)) + (number - (len(shares) - 1) / 2) * height
        error = {"xerr": np.abs([low - values, high - values]), "error_kw": {"elinewidth": 1}}
        style = {"color": method_style(method, number)[0], "ecolor": "#333333", "linewidth": 0}
        axis.barh(places, values, height=0.92 * height, label=method, **error, **style)
    label_rows(axis, labels)
