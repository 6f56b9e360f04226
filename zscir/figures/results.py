"""Figures of chapters 4 to 6: losses, readings of pseudo-words, recalls, kinds, conflicts."""

import base64
import io
import math
from collections.abc import Mapping, Sequence
from html import escape

import numpy as np
import pandas as pd
from IPython.display import HTML
from matplotlib.figure import Figure
from PIL import Image, ImageOps

from zscir.figures.style import (
    dot_on_interval,
    interval_bars,
    label_rows,
    legend_above,
    method_style,
    metric_name,
    new_figure,
)
from zscir.retrieval import Scores, difference
from zscir.retrieval.comparison import recall_table
from zscir.retrieval.statistics import share_of, t_interval

KS = (1, 2, 3, 5, 7, 10, 15, 20, 30, 50)
_MOST_KINDS = 20
_NEAR = 10  # points


def loss_curves(histories: Mapping[str, pd.DataFrame], batch: int) -> Figure:
    """Two panels, original and query-target loss (logarithmic), against the step: one line a training.

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
    axes[0, 0].set(ylabel="loss, nats", yscale="log")
    axes[0, 0].yaxis.set_major_formatter("{x:g}")
    return figure


def readings(images: Sequence[Image.Image], words: Mapping[str, Sequence[Sequence[str]]]) -> HTML:
    """A table: a row a picture, a column a method with the words that its pseudo-word is closest to.

    Args:
        images: at least one; shown small.
        words: method -> for each image its words, closest first.

    Raises:
        ValueError: no picture, or a method without words for each of them.
    """
    if not images:
        raise ValueError("images is empty: give at least one picture")
    for name, found in words.items():
        if len(found) != len(images):
            raise ValueError(f"words[{name!r}] has {len(found)} entries for {len(images)} images")
    table = {"": [thumbnail(image) for image in images]}
    table |= {escape(name): [escape(", ".join(own)) for own in found] for name, found in words.items()}
    return HTML(pd.DataFrame(table).to_html(escape=False, index=False, border=0, classes="readings"))


def thumbnail(image: Image.Image, side: int = 72) -> str:
    """A small version of a picture as HTML; the words beside it say what it is for."""
    out = io.BytesIO()
    ImageOps.contain(image.convert("RGB"), (2 * side, 2 * side)).save(out, "PNG", optimize=True)
    coded = base64.b64encode(out.getvalue()).decode()
    style = f"width:{side}px;min-width:{side}px;padding:0"  # also where the table is wider than the window
    return f'<img alt="picture" style="{style}" src="data:image/png;base64,{coded}">'


def recall_intervals(
    scores: Mapping[str, Scores], metrics: Sequence[str], against: str = "Pic2Word"
) -> Figure:
    """A column of two panels a metric: each method's percentage, and, closer, what it gains on one of them.

    Above, a point on its 95 % bootstrap interval over queries; below, the paired difference on its own. Where
    that is more than `_NEAR` points, the panel only writes it at its edge.

    Args:
        scores: method -> scores on the same queries.
        metrics: names, such as "recall@1".
        against: the method that the lower panels hold the others against.
    """
    others = [name for name in scores if name != against]
    figure, axes = new_figure(2, len(metrics), height=2.0 + 0.56 * len(scores), sharey="row")
    for metric, above, below in zip(metrics, *axes, strict=True):
        for row, (name, own) in enumerate(scores.items()):
            dot_on_interval(above, own.metrics[metric], own.interval(metric), row, *method_style(name, row))
        label_rows(above, list(scores))
        above.set(title=metric_name(metric))
        above.set_xlabel(f"%, {_query_count(scores)}", fontsize=8.5)
        gains = [difference(scores[name], scores[against], metric) for name in others]
        near = [gain for gain in gains if abs(gain.difference) <= _NEAR]
        reach = 1.1 * (max((abs(end) for gain in near for end in gain[:3]), default=0) or _NEAR)
        for row, (name, gain) in enumerate(zip(others, gains, strict=True)):
            if gain in near:
                dot_on_interval(below, gain.difference, gain[1:3], row, *method_style(name, row))
            else:
                side = "right" if gain.difference > 0 else "left"
                place = 0.97 * math.copysign(reach, gain.difference)
                below.text(place, row, f"{gain.difference:+.0f}", ha=side, va="center", fontsize=8.5)
        below.axvline(0, color="black", linewidth=1)
        label_rows(below, others)
        below.set(xlim=(-reach, reach))
        below.set_xlabel(f"points gained on {against}", fontsize=8.5)
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
