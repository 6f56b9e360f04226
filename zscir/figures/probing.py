"""Figures of chapter 8: shares with intervals, reasons of failure, recall by likeness."""

import textwrap
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from zscir.figures.style import (
    dot_on_interval,
    interval_bars,
    label_rows,
    legend_above,
    method_style,
    metric_name,
    new_figure,
)
from zscir.retrieval.statistics import share_of, wilson_interval

_COLUMNS = ("panel", "row", "method", "value", "low", "high")
_LABEL = 30  # letters in a line of a label


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
        label_rows(axis, rows)
        axis.set(title=panel, xlabel=xlabel, xlim=(0, 100), xticks=range(0, 101, 25))
    legend_above(figure, columns=4)
    return figure


def _dots(axis: Axes, shares: pd.DataFrame, rows: list[str], methods: list[str]) -> None:
    """The dots of one panel, each on its interval, and the ticks of chance."""
    for share in shares.itertuples():
        number, place = methods.index(share.method), rows.index(share.row)
        if pd.notna(getattr(share, "chance", np.nan)):
            tick = {"color": "black", "linewidth": 1.2, "label": "chance"}
            axis.plot([share.chance] * 2, [place - 0.42, place + 0.42], **tick)
        place += 0.2 * (number - (len(methods) - 1) / 2)
        style = method_style(share.method, number)
        dot_on_interval(axis, share.value, (share.low, share.high), place, *style, label=share.method)


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
    if unknown := {reason for found in named.values() for reason in found} - set(order):
        raise ValueError(f"reason {sorted(unknown)[0]!r} is not in order: {', '.join(order)}")
    figure, axes = new_figure(1, 1, height=0.9 + 0.2 * len(order) * (len(named) + 0.5))
    shares = {
        method: [share_of([given == reason for given in found]) for reason in order]
        for method, found in named.items()
    }
    interval_bars(axes[0, 0], shares, [textwrap.fill(reason, _LABEL) for reason in order])
    axes[0, 0].set(xlabel=f"% of all queries (n = {len(next(iter(named.values()))):,})", xlim=(0, None))
    legend_above(figure)
    return figure


def likeness_curves(table: pd.DataFrame, metric: str) -> Figure:
    """Recall against how like the target is to the reference: a line a method, with Wilson's 95 % intervals.

    Args:
        table: from `zscir.analysis.failures.recall_by_likeness`.
        metric: name of what was counted, such as "recall@10".
    """
    figure, axes = new_figure(1, 1, height=3.4)
    for number, (method, own) in enumerate(table.groupby("method", sort=False)):
        values = 100 * own["hits"] / own["n"]
        bounds = np.array([wilson_interval(*pair) for pair in zip(own["hits"], own["n"], strict=True)])
        colour, marker = method_style(method, number)
        line = {"color": colour, "marker": marker, "capsize": 2, "label": method}
        axes[0, 0].errorbar(own["likeness"], values, np.abs(bounds.T - values.to_numpy()), **line)
    sizes = sorted({int(count) for count in table["n"]})
    among = f"{sizes[0]}" if len(sizes) == 1 else f"{sizes[0]} to {sizes[-1]}"
    axes[0, 0].set(xlabel=f"cosine of reference and target (mean of a group; n = {among} queries each)")
    axes[0, 0].set(ylabel=f"{metric_name(metric)}, %", ylim=(0, 100))
    legend_above(figure)
    return figure
