"""Figures of chapter 8: shares with intervals, reasons of failure, recall by likeness."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from zscir.figures.results import in_words, look, wilson_interval
from zscir.figures.style import new_figure

_COLUMNS = ("panel", "row", "method", "value", "low", "high")
_LABEL = 30  # letters in a line of a label


def counted(hits: Sequence[bool] | np.ndarray) -> dict[str, float]:
    """Share of hits in percent, with Wilson's 95 % interval: ``value``, ``low``, ``high`` and ``n``.

    >>> {name: round(one, 1) for name, one in counted([True, False, False, False]).items()}
    {'value': 25.0, 'low': 4.6, 'high': 69.9, 'n': 4}

    Raises:
        ValueError: no hit and no miss: a share of nothing.
    """
    count = len(hits)
    if not count:
        raise ValueError("hits is empty: a share needs at least one trial")
    low, high = wilson_interval(int(np.sum(hits)), count)
    return {"value": 100 * float(np.mean(hits)), "low": low, "high": high, "n": count}


def share_dots(shares: pd.DataFrame, xlabel: str) -> Figure:
    """A panel a question, a row a way of answering, a dot a method: percentages on their intervals.

    Args:
        shares: a row a dot, with columns ``panel``, ``row``, ``method``, ``value``, ``low``, ``high`` (all in
            percent), and perhaps ``chance``, which becomes a tick where it is known (not NaN).
        xlabel: what is counted.

    Raises:
        ValueError: no row, or a column that is missing.
    """
    if missing := [name for name in _COLUMNS if name not in shares]:
        raise ValueError(f"shares lacks the column {missing[0]!r}; needed: {', '.join(_COLUMNS)}")
    if shares.empty:
        raise ValueError("shares is empty: give at least one dot")
    panels, rows, methods = (list(dict.fromkeys(shares[name])) for name in ("panel", "row", "method"))
    height = 1.1 + len(rows) * max(0.3, 0.17 * len(methods))
    figure, axes = new_figure(1, len(panels), height=height, sharey=True)
    for axis, panel in zip(axes.flat, panels, strict=True):
        _dots(axis, shares[shares["panel"] == panel], rows, methods)
        axis.set(title=panel, xlabel=xlabel, xlim=(0, 100), xticks=range(0, 101, 25))
        axis.set(yticks=range(len(rows)), yticklabels=rows, ylim=(len(rows) - 0.5, -0.5))
        axis.grid(False, axis="y")
    labels: dict[str, object] = {}
    for handles, names in (axis.get_legend_handles_labels() for axis in axes.flat):
        labels |= dict(zip(names, handles, strict=True))
    figure.legend(labels.values(), labels.keys(), loc="outside upper center", ncols=4)
    return figure


def _dots(axis: Axes, shares: pd.DataFrame, rows: list[str], methods: list[str]) -> None:
    """The dots of one panel, each on its interval, and the ticks of chance."""
    for one in shares.itertuples():
        number, place = methods.index(one.method), rows.index(one.row)
        colour, marker = look(one.method, number)
        if pd.notna(getattr(one, "chance", np.nan)):
            tick = {"color": "black", "linewidth": 1.2, "label": "chance"}
            axis.plot([one.chance] * 2, [place - 0.42, place + 0.42], **tick)
        place += 0.2 * (number - (len(methods) - 1) / 2)
        axis.plot([one.low, one.high], [place, place], color=colour, linewidth=2.2, solid_capstyle="butt")
        axis.plot(one.value, place, marker, color=colour, markersize=7, label=one.method, clip_on=False)


def reason_bars(named: Mapping[str, Sequence[str]], order: Sequence[str]) -> Figure:
    """Horizontal bars: for each reason the share of all queries, one bar a method, with 95 % intervals.

    Args:
        named: method -> the reason of every query.
        order: all reasons, from top to bottom.

    Raises:
        ValueError: no method, or a reason that is not in ``order``; it is named.
    """
    if not named:
        raise ValueError("named is empty: give the reasons of at least one method")
    if unknown := {one for found in named.values() for one in found} - set(order):
        raise ValueError(f"reason {sorted(unknown)[0]!r} is not in order: {', '.join(order)}")
    figure, axes = new_figure(1, 1, height=0.9 + 0.2 * len(order) * (len(named) + 0.5))
    axis, thick = axes[0, 0], 0.84 / len(named)
    for number, (method, found) in enumerate(named.items()):
        shares = [counted([one == reason for one in found]) for reason in order]
        values = np.array([one["value"] for one in shares])
        error = np.abs(np.array([[one["low"], one["high"]] for one in shares]).T - values)
        places = np.arange(len(order)) + (number - (len(named) - 1) / 2) * thick
        style = {"color": look(method, number)[0], "height": 0.92 * thick, "label": method, "linewidth": 0}
        axis.barh(places, values, xerr=error, error_kw={"elinewidth": 1, "ecolor": "#333333"}, **style)
    labels = [textwrap.fill(reason, _LABEL) for reason in order]
    axis.set(yticks=range(len(order)), yticklabels=labels, ylim=(len(order) - 0.4, -0.6))
    axis.set(xlabel=f"% of all queries (n = {len(next(iter(named.values()))):,})", xlim=(0, None))
    axis.grid(False, axis="y")
    figure.legend(*axis.get_legend_handles_labels(), loc="outside upper center", ncols=3)
    return figure


def likeness_curves(table: pd.DataFrame, metric: str) -> Figure:
    """Recall against how like the target is to the reference: a line a method, with Wilson's 95 % intervals.

    Args:
        table: from `zscir.analysis.failures.recall_by_likeness`.
        metric: name of what was counted, such as "recall@10".
    """
    figure, axes = new_figure(1, 1, height=3.4)
    axis = axes[0, 0]
    for number, (method, own) in enumerate(table.groupby("method", sort=False)):
        values = 100 * own["hits"] / own["n"]
        bounds = np.array([wilson_interval(*pair) for pair in zip(own["hits"], own["n"], strict=True)])
        colour, marker = look(method, number)
        line = {"color": colour, "marker": marker, "capsize": 2, "label": method}
        axis.errorbar(own["likeness"], values, np.abs(bounds.T - values.to_numpy()), **line)
    sizes = sorted({int(count) for count in table["n"]})
    among = f"{sizes[0]}" if len(sizes) == 1 else f"{sizes[0]} to {sizes[-1]}"
    axis.set(xlabel=f"cosine of reference and target (mean of a group; n = {among} queries each)")
    axis.set(ylabel=f"{in_words(metric)}, %", ylim=(0, 100))
    figure.legend(*axis.get_legend_handles_labels(), loc="outside upper center", ncols=3)
    return figure
