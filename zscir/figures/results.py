"""Figures of chapters 4 to 6: losses, readings of pseudo-words, recalls, kinds, conflicts."""

import math
import textwrap
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from PIL import Image

from zscir.figures.pictures import depth_of, show_picture
from zscir.figures.style import (
    LINE,
    WIDTH,
    dot_on_interval,
    interval_bars,
    label_rows,
    legend_above,
    method_style,
    metric_name,
    new_figure,
)
from zscir.retrieval import Scores
from zscir.retrieval.comparison import recall_table
from zscir.retrieval.statistics import share_of, t_interval

KS = (1, 2, 3, 5, 7, 10, 15, 20, 30, 50)
_MOST_KINDS = 20


def loss_curves(histories: Mapping[str, pd.DataFrame], batch: int) -> Figure:
    """Two panels, original and query-target loss, against the step: one line a training.

    Args:
        histories: name -> ``Inversion.history``; a loss that had no share (NaN) gives no line.
        batch: a dotted line marks log(batch), the loss of a guess among that many.
    """
    figure, axes = new_figure(1, 2, height=3.0, sharey=True)
    panels = {"original": "original loss", "query_target": "query-target loss"}
    for axis, (column, title) in zip(axes.flat, panels.items(), strict=True):
        for number, (name, history) in enumerate(histories.items()):
            known = history[history[column].notna()]
            if len(known):
                colour, _ = method_style(name, number)
                axis.plot(known["step"], known[column], color=colour, label=name, linewidth=1.6)
        axis.axhline(math.log(batch), color="black", linestyle=":", linewidth=1.2, label="guess: log(batch)")
        axis.set(title=title, xlabel="step", ylabel="")
        axis.legend()
    axes[0, 0].set(ylabel="loss, nats", ylim=(0, None))
    return figure


def readings(images: Sequence[Image.Image], words: Mapping[str, Sequence[Sequence[str]]]) -> Figure:
    """Pictures, below each one line a method: the words that its pseudo-word is closest to.

    Args:
        images: at least one.
        words: method -> for each image its words, closest first.

    Raises:
        ValueError: no picture, or a method without words for each of them.
    """
    if not images:
        raise ValueError("images is empty: give at least one picture")
    for name, found in words.items():
        if len(found) != len(images):
            raise ValueError(f"words[{name!r}] has {len(found)} entries for {len(images)} images")
    width = max(14, round(100 / len(images)))
    texts = [
        "\n".join(f"{name}:\n{textwrap.fill(', '.join(own[number]), width)}" for name, own in words.items())
        for number in range(len(images))
    ]
    figure, axes = new_figure(1, len(images), height=WIDTH / len(images) + (depth_of(texts) + 2) * LINE)
    for axis, image, text in zip(axes.flat, images, texts, strict=True):
        show_picture(axis, image, text)
    return figure


def recall_intervals(scores: Mapping[str, Scores], metrics: Sequence[str]) -> Figure:
    """A panel a metric: each method's percentage as a point on its 95 % bootstrap interval."""
    figure, axes = new_figure(1, len(metrics), height=0.9 + 0.36 * len(scores), sharey=True)
    for axis, metric in zip(axes.flat, metrics, strict=True):
        for row, (name, own) in enumerate(scores.items()):
            dot_on_interval(axis, own.metrics[metric], own.interval(metric), row, *method_style(name, row))
        label_rows(axis, list(scores))
        axis.set(title=metric_name(metric))
        axis.set_xlabel(f"%, {_query_count(scores)}", fontsize=8.5)
        axis.set_xlim(left=0)
    return figure


def recall_curves(scores: Mapping[str, Scores], ks: Sequence[int] = KS) -> Figure:
    """Recall@k against k, one line a method, in its 95 % bootstrap band over queries.

    Of several right answers the best-ranked counts.

    Args:
        scores: method -> Scores.
        ks: where the curve is computed, rising.
    """
    figure, axes = new_figure(1, 1, height=3.6)
    axis = axes[0, 0]
    for number, (name, own) in enumerate(scores.items()):
        table = recall_table(own, ks)
        colour, marker = method_style(name, number)
        axis.fill_between(table["k"], table["low"], table["high"], color=colour, alpha=0.15, linewidth=0)
        axis.plot(table["k"], table["recall"], color=colour, marker=marker, markersize=4, label=name)
    axis.set_xscale("log")
    axis.set_xticks(list(ks), [str(k) for k in ks])
    axis.minorticks_off()
    axis.set(xlabel="k", ylabel=f"Recall@k, %, {_query_count(scores)}", ylim=(0, 100))
    legend_above(figure)
    return figure


def kind_bars(scores: Mapping[str, Scores], metric: str, hard: Sequence[str] = ()) -> Figure:
    """Bars of one metric by group of queries, with 95 % intervals; ``hard`` groups in a panel of their own.

    More than twenty groups (the sets of the real CIRR) are no kinds: all queries are then one group.

    Args:
        scores: method -> scores on the same queries; the metric must be 0 or 1 for each query.
        metric: such as "recall@1".
        hard: groups to set apart, where they occur.
    """
    groups = pd.Series(next(iter(scores.values())).groups)
    if groups.nunique() > _MOST_KINDS:
        groups[:] = "all queries"
    counts = groups.value_counts()
    sides = [[kind for kind in counts.index if (kind in hard) == apart] for apart in (False, True)]
    sides = [side for side in sides if side]
    sizes = [len(side) for side in sides]
    figure, axes = new_figure(len(sides), 1, height=1.2 + 0.42 * sum(sizes), sharex=True, height_ratios=sizes)
    for axis, kinds in zip(axes.flat, sides, strict=True):
        shares = {
            name: [share_of(own.values[metric][groups == kind]) for kind in kinds]
            for name, own in scores.items()
        }
        interval_bars(axis, shares, [f"{kind.replace('_', ' ')} ({counts[kind]})" for kind in kinds])
    axes[-1, 0].set(xlabel=f"{metric_name(metric)}, %")
    if len(sides) == 2:
        axes[1, 0].set_title("hard kinds")
    legend_above(figure)
    return figure


def conflict_curves(table: pd.DataFrame, bins: int = 5) -> Figure:
    """Two panels against the conflict of a query: how far the answer follows the text, and the image.

    Args:
        table: from `zscir.analysis.conflicts.conflict_table`.
        bins: groups of equally many queries; each is a point, with a 95 % interval of its mean.
    """
    figure, axes = new_figure(1, 2, height=3.4, sharey=True)
    place = table["conflict"].rank(method="first", pct=True)  # in (0, 1]
    table = table.assign(bin=np.ceil(place * bins).astype(int))
    panels = {"text": "follows the text", "image": "keeps to the image"}
    for axis, (column, title) in zip(axes.flat, panels.items(), strict=True):
        for number, (name, own) in enumerate(table.groupby("method", sort=False)):
            groups = own.groupby("bin")
            means = [t_interval(values) for _, values in groups[column]]
            reach = [interval.high - interval.value for interval in means]
            colour, marker = method_style(name, number)
            line = {"color": colour, "marker": marker, "capsize": 2, "label": name}
            axis.errorbar(groups["conflict"].mean(), [each.value for each in means], reach, **line)
        count = table["query"].nunique()
        axis.set(title=title, xlabel=f"conflict of text and image, %\nn = {count:,} queries")
    axes[0, 0].set(ylabel="% of the gallery outdone")
    legend_above(figure)
    return figure


def _query_count(scores: Mapping[str, Scores]) -> str:
    """On how many queries the methods were scored, as the axes say it: ``n = 2,240 queries``."""
    return f"n = {len(next(iter(scores.values())).query_ids):,} queries"
