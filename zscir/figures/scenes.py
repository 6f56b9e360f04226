"""Figures made of pictures: captioned pictures, a set of six, what a query finds."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image, ImageOps

from zscir.benchmarks import Benchmark
from zscir.figures.style import FRAMES, WIDTH, new_figure

_LINE = 13 / 72  # inches of one line of text under a picture


def picture_grid(
    images: Sequence[Image.Image],
    texts: Sequence[str] | None = None,
    *,
    columns: int = 4,
    roles: Sequence[str] | None = None,
) -> Figure:
    """Pictures in rows, each with its text below.

    Args:
        images: at least one.
        texts: one a picture, wrapped to its width.
        columns: pictures a row.
        roles: one a picture: a key of ``FRAMES``, whose colour frames it, or "" for no frame.

    Raises:
        ValueError: no picture, or as many texts or roles as there are no pictures.
    """
    if not images:
        raise ValueError("images is empty: give at least one picture")
    for name, value in (("texts", texts), ("roles", roles)):
        if value is not None and len(value) != len(images):
            raise ValueError(f"{name} has {len(value)} entries for {len(images)} images")
    wrapped = [_wrapped(text, columns) for text in texts] if texts else [""] * len(images)
    rows = -(-len(images) // columns)
    lines = max(text.count("\n") + 1 for text in wrapped) if texts else 0
    figure, axes = new_figure(rows, columns, height=rows * (WIDTH / columns + lines * _LINE))
    for number, axis in enumerate(axes.flat):
        if number < len(images):
            show_picture(axis, images[number], wrapped[number], roles[number] if roles else "")
        else:
            axis.set_axis_off()
    return figure


def show_picture(axis: Axes, image: Image.Image, text: str = "", role: str = "", size: float = 8.5) -> None:
    """Put a picture with a text below into ``axis``, framed when it has a role (a key of ``FRAMES``)."""
    axis.imshow(image, interpolation="antialiased")
    axis.set(xticks=[], yticks=[])
    axis.grid(False)
    axis.set_xlabel(text, fontsize=size, labelpad=5, linespacing=1.2)
    for spine in axis.spines.values():
        spine.set(visible=bool(role), color=FRAMES.get(role, "none"), linewidth=4)


def benchmark_picture(benchmark: Benchmark, image_id: str) -> Image.Image:
    """The picture of an image id, in RGB."""
    with Image.open(benchmark.image_path(image_id)) as image:
        return image.convert("RGB")


def set_of_six(benchmark: Benchmark, query_index: int) -> Figure:
    """The set of a CIRR query: its reference and the five others, among them the target.

    Raises:
        ValueError: the query has no set, as in other benchmarks.
    """
    query = benchmark.queries[query_index]
    if not query.subset:
        raise ValueError(f"query {query.id} of {benchmark.name} has no set; only CIRR's queries do")
    ids = [query.reference, *query.subset]
    roles = ["reference", *("target" if one in query.targets else "" for one in query.subset)]
    figure = picture_grid([benchmark_picture(benchmark, one) for one in ids], roles, columns=6, roles=roles)
    figure.suptitle(f"“{' / '.join(query.text)}”", fontsize=10)
    return figure


def query_examples(benchmark: Benchmark, rows: Sequence[int], columns: int = 3) -> Figure:
    """Queries with their answers: group, reference and target side by side, relative caption below."""
    down = -(-len(rows) // columns)
    texts = [textwrap.fill(f"“{benchmark.queries[row].text[0]}”", 36) for row in rows]
    lines = 1 + max(text.count("\n") + 1 for text in texts)
    figure, axes = new_figure(down, columns, height=down * (WIDTH / columns / 2 + lines * _LINE))
    for axis in axes.flat[len(rows) :]:
        axis.set_axis_off()
    for axis, row, text in zip(axes.flat, rows, texts, strict=False):
        query = benchmark.queries[row]
        roles = {"reference": query.reference, "target": query.targets[0]}
        sides = [_framed(benchmark_picture(benchmark, one), FRAMES[role]) for role, one in roles.items()]
        show_picture(axis, _side_by_side(sides), text)
        axis.set_title(query.group, fontsize=9, fontweight="bold")
    return figure


def rankings(benchmark: Benchmark, query_index: int, found: Mapping[str, Sequence[str]]) -> Figure:
    """What one query finds by several methods: a row a method, best first, targets framed.

    The reference stands before each row, the (first) target behind the first row.

    Args:
        benchmark: from `load_benchmark`.
        query_index: row of the query.
        found: method -> image ids in the order of its ranking.
    """
    query = benchmark.queries[query_index]
    columns = max(len(ids) for ids in found.values()) + 2
    figure, axes = new_figure(len(found), columns, height=len(found) * (WIDTH / columns + 0.2) + 0.4)
    for row, (method, ids) in zip(axes, found.items(), strict=True):
        show_picture(row[0], benchmark_picture(benchmark, query.reference), role="reference")
        row[0].set_ylabel(method, fontsize=9)
        for place, axis in enumerate(row[1:]):
            if place >= len(ids):
                axis.set_axis_off()
                continue
            role = "target" if ids[place] in query.targets else ""
            show_picture(axis, benchmark_picture(benchmark, ids[place]), role=role)
    for axis, title in zip(axes[0], ["reference", *range(1, columns - 1), "target"], strict=True):
        axis.set_title(str(title), fontsize=9, loc="center")
    axes[0, -1].set_axis_on()
    show_picture(axes[0, -1], benchmark_picture(benchmark, query.targets[0]), role="target")
    figure.suptitle(f"“{' / '.join(query.text)}”", fontsize=10)
    return figure


def _framed(image: Image.Image, colour: str, side: int = 256) -> Image.Image:
    """The picture, ``side`` pixels square, in a frame of that colour."""
    return ImageOps.expand(image.resize((side, side), Image.Resampling.BICUBIC), side // 24, colour)


def _side_by_side(images: Sequence[Image.Image], gap: int = 16) -> Image.Image:
    """Pictures of one size in a row, on white."""
    width, height = images[0].size
    row = Image.new("RGB", (len(images) * (width + gap) - gap, height), "white")
    for number, image in enumerate(images):
        row.paste(image, (number * (width + gap), 0))
    return row


def _wrapped(text: str, columns: int) -> str:
    """The text broken to the width of one of ``columns`` pictures."""
    return textwrap.fill(text, max(12, round(105 / columns)), break_long_words=False)
