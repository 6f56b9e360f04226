"""What queries find, in pictures: grids with ranks, wins and losses of two methods, the best of a folder."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import ImageOps

from zscir.benchmarks import Benchmark
from zscir.benchmarks.images import open_image
from zscir.figures.scenes import show_picture
from zscir.figures.style import WIDTH, new_figure
from zscir.retrieval import Scores
from zscir.retrieval.ranking import Retrieved

_LINE = 13 / 72  # inches of one line of text
_COLUMNS = 6


def retrieved_grid(
    benchmark: Benchmark, found: Mapping[int, Retrieved], notes: Mapping[int, str] | None = None
) -> Figure:
    """A row a query: reference and relative caption, then what was found, best first; hits are framed.

    Below the reference stands the rank of the target in the whole ranking, where it is known.

    Args:
        benchmark: from `load_benchmark`.
        found: number of a query -> what `zscir.retrieve` returned for it.
        notes: number of a query -> what stands behind its caption, such as why it failed.

    Raises:
        ValueError: no query.
    """
    if not found:
        raise ValueError("found is empty: give at least one query")
    columns = 1 + max(len(one.ids) for one in found.values())
    side = WIDTH / columns
    figure, axes = new_figure(len(found), columns, height=len(found) * (side + 3.4 * _LINE))
    for row, (number, one) in zip(axes, found.items(), strict=True):
        _grid_row(row, benchmark, number, one, note=(notes or {}).get(number, ""))
    return figure


def _grid_row(
    row: np.ndarray, benchmark: Benchmark, number: int, one: Retrieved, said: str = "", note: str = ""
) -> None:
    """One query in a row of axes; ``said`` replaces the rank below the reference, ``note`` ends the title."""
    query = benchmark.queries[number]
    rank = said or (f"rank {one.rank}" if one.rank else "reference")
    picture = benchmark.open_image(query.reference)
    if query.reference in benchmark.regions:  # a cut-out of any shape
        picture = ImageOps.pad(picture, (max(picture.size),) * 2, color="white")
    show_picture(row[0], picture, rank, "reference")
    title = f"“{query.text[0]}”" + (f"  ({note})" if note else "")
    _line_above(row[0], textwrap.fill(title, 92))
    for place, axis in enumerate(row[1:]):
        if place >= len(one.ids):
            axis.set_axis_off()
            continue
        hit = one.ids[place] in query.targets
        text = f"{place + 1}  target" if hit else str(place + 1)
        show_picture(axis, benchmark.open_image(one.ids[place]), text, "target" if hit else "")


def _line_above(axis: Axes, text: str) -> None:
    """Text above an axis that may run over those to its right: only its height counts in the layout."""
    axis.set_title("\n".join(" " for _ in text.splitlines()), fontsize=9)  # keeps the height free
    place = {"xycoords": "axes fraction", "textcoords": "offset points", "annotation_clip": False}
    axis.annotate(text, (0, 1), (0, 6), fontsize=9, va="bottom", **place).set_in_layout(False)


def wins_and_losses(
    benchmark: Benchmark,
    found: Mapping[str, Mapping[int, Retrieved]],
    ranks: Mapping[str, Sequence[int]],
) -> Figure:
    """Queries in which two methods differ: two rows each, what the first and what the second method found.

    Args:
        benchmark: from `load_benchmark`.
        found: the two methods, each with the number of a query -> what it found for it.
        ranks: the two methods, each with the rank (from 0) of the right answer for every query, as in
            ``Scores.ranks``.

    Raises:
        ValueError: not two methods, or no query.
    """
    if len(found) != 2 or not all(found.values()):
        raise ValueError(f"found must have two methods with queries, got {list(found)}")
    first = next(iter(found.values()))
    columns = 1 + max(len(one.ids) for each in found.values() for one in each.values())
    side = WIDTH / columns
    figure, axes = new_figure(2 * len(first), columns, height=2 * len(first) * (side + 3.4 * _LINE))
    rows = iter(axes)
    for number in first:
        for name, each in found.items():
            said = f"{name}:\nrank {ranks[name][number] + 1}"
            _grid_row(next(rows), benchmark, number, each[number], said)
    return figure


def largest_changes(first: Scores, second: Scores, count: int = 2) -> tuple[list[int], list[int]]:
    """Numbers of the queries that the second method wins and loses by most, by the rank of the right answer.

    What counts is how many times closer to the top the answer is: 1 instead of 10 is as much as 10 instead
    of 100.

    Raises:
        ValueError: the two were not scored on the same queries.
    """
    if first.query_ids != second.query_ids:
        raise ValueError("the two must be scored on the same queries in the same order")
    gain = np.log(first.ranks + 1) - np.log(second.ranks + 1)
    order = np.argsort(-gain, kind="stable")
    wins = [int(number) for number in order[:count] if gain[number] > 0]
    losses = [int(number) for number in order[::-1][:count] if gain[number] < 0]
    return wins, losses


def found_files(image: str | Path, text: str, found: Retrieved) -> Figure:
    """The reference with its wish, then the files of a folder that were found, best first."""
    names = [Path(image), *map(Path, found.ids)]
    rows = -(-len(names) // _COLUMNS)
    side = WIDTH / _COLUMNS
    figure, axes = new_figure(rows, _COLUMNS, height=rows * (side + 2.6 * _LINE) + 0.3)
    for place, axis in enumerate(axes.flat):
        if place >= len(names):
            axis.set_axis_off()
            continue
        words = "reference" if place == 0 else f"{place}  {textwrap.shorten(names[place].name, 18)}"
        show_picture(axis, open_image(names[place]), words, "" if place else "reference", size=7.5)
    figure.suptitle(f"“{text}”", fontsize=10)
    return figure
