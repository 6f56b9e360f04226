"""Figures and sentences of chapter 7: trainings that differ in one choice, several seeds each."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from zscir.analysis.ablations import BASE
from zscir.figures.results import in_words, look
from zscir.figures.style import PALETTE, new_figure
from zscir.retrieval.statistics import Interval, Spread, paired_gain, seed_interval

#: Colours and dashes of the lines that a study is held against.
_LINES = {
    "Pic2Word": (look("Pic2Word")[0], "--"),
    "true masks": (PALETTE[2], "-."),
    "random masks": (PALETTE[5], ":"),
}
_JITTER = 0.16


def study_dots(
    rows: pd.DataFrame, metrics: Sequence[str], references: Mapping[str, pd.DataFrame] | None = None
) -> Figure:
    """A panel a metric, a line a label: every seed a small dot, their mean a large one in its 95 % interval.

    Args:
        rows: a row a training: columns ``label``, ``seed`` and the metrics, from ``study_rows``.
        metrics: columns in percent, one a panel.
        references: name -> rows of a training to compare with, drawn as an upright line at its mean.
    """
    labels = list(dict.fromkeys(rows["label"]))
    figure, axes = new_figure(
        1, len(metrics), height=1.0 + 0.34 * len(labels) + _room(references), sharey=True
    )
    for axis, metric in zip(axes.flat, metrics, strict=True):
        for name, one in (references or {}).items():
            colour, dash = _LINES.get(name, (PALETTE[7], "--"))
            axis.axvline(one[metric].mean(), color=colour, linestyle=dash, linewidth=1.4, label=name)
        for place, label in enumerate(labels):
            colour, marker = look(str(label)) if str(label) in _NAMED else look("masked pairs")
            _dots(axis, rows.loc[rows["label"] == label, metric], place, colour, marker)
        axis.set(title=in_words(metric), xlabel="%", yticks=range(len(labels)), yticklabels=map(str, labels))
        axis.set_ylim(len(labels) - 0.5, -0.5)
        axis.grid(False, axis="y")
    _legend(figure, axes[0, 0])
    return figure


_NAMED = ("Pic2Word", "masked pairs")


def _room(references: Mapping | None) -> float:
    """Inches that a legend needs."""
    return 0.35 if references else 0.0


def _dots(axis: Axes, values: pd.Series, place: float, colour: str, marker: str) -> None:
    """The seeds of one training along x, at one height, with their mean and its interval."""
    one = seed_interval(values)
    heights = place + np.linspace(-_JITTER, _JITTER, len(values)) if len(values) > 1 else [place]
    axis.plot(values, heights, "o", color=colour, alpha=0.45, markersize=3.5)
    if one.n > 1:
        axis.plot([one.low, one.high], [place, place], color=colour, linewidth=2.2, solid_capstyle="butt")
    axis.plot(one.mean, place, marker, color=colour, markersize=8, markeredgecolor="white")


def study_curves(
    curves: Mapping[str, pd.DataFrame],
    metrics: Sequence[str],
    axis_name: str,
    references: Mapping[str, pd.DataFrame] | None = None,
    logarithmic: bool = False,
    spreads: Mapping[str, Spread] | None = None,
) -> Figure:
    """A panel a metric against a number: means on a line, in the band of their 95 % intervals; seeds as dots.

    Args:
        curves: name -> a row a training, the number in the column ``label``, from ``study_rows``.
        metrics: columns in percent, one a panel.
        axis_name: what the number is.
        references: name -> rows of a training to compare with, drawn as a level line at its mean.
        logarithmic: whether equal factors are equal steps on the axis.
        spreads: metric -> spread of one training, as `zscir.retrieval.statistics.pooled_spread` gives it;
            a point's own without.
    """
    figure, axes = new_figure(1, len(metrics), height=3.2 + _room(references))
    for axis, metric in zip(axes.flat, metrics, strict=True):
        for name, one in (references or {}).items():
            values = one[metric].dropna()
            if len(values):
                colour, dash = _LINES.get(name, (PALETTE[7], "--"))
                axis.axhline(values.mean(), color=colour, linestyle=dash, linewidth=1.4, label=name)
        for number, (name, rows) in enumerate(curves.items()):
            known = rows.dropna(subset=[metric])
            _curve(axis, known, metric, name, *look(name, number), spread=(spreads or {}).get(metric))
        places = sorted({float(place) for rows in curves.values() for place in rows["label"]})
        axis.set_xscale("log" if logarithmic else "linear")
        axis.set_xticks(places, _spaced(places, logarithmic), fontsize=8)
        axis.minorticks_off()
        axis.set(title=in_words(metric), xlabel=axis_name, ylabel="%" if axis is axes[0, 0] else "")
    _legend(figure, axes[0, 0])
    return figure


def _spaced(places: Sequence[float], logarithmic: bool) -> list[str]:
    """What to write at each place: nothing where it would touch what stands before."""
    along = np.log(places) if logarithmic else np.asarray(places)
    room, last, texts = 0.07 * (along[-1] - along[0]), -math.inf, []
    for at, place in zip(along, places, strict=True):
        texts.append(f"{place:g}" if at - last >= room else "")
        last = at if texts[-1] else last
    return texts


def _curve(
    axis: Axes,
    rows: pd.DataFrame,
    metric: str,
    name: str,
    colour: str,
    marker: str,
    spread: Spread | None,
) -> None:
    """One training's means along the axis, in a band, with a dot a seed."""
    found = {float(place): seed_interval(own, spread=spread) for place, own in rows.groupby("label")[metric]}
    places = list(found)
    low, high = ([getattr(one, side) for one in found.values()] for side in ("low", "high"))
    axis.fill_between(places, low, high, color=colour, alpha=0.15, linewidth=0)
    axis.plot(rows["label"].astype(float), rows[metric], "o", color=colour, alpha=0.4, markersize=3.5)
    axis.plot(
        places, [one.mean for one in found.values()], color=colour, marker=marker, markersize=6, label=name
    )


def _legend(figure: Figure, axis: Axes) -> None:
    """One legend above the panels, where there is something to tell apart."""
    handles, labels = axis.get_legend_handles_labels()
    if labels:
        figure.legend(handles, labels, loc="outside upper center", ncols=4)


def effects(
    studies: Mapping[str, pd.DataFrame], base: pd.DataFrame, metric: str, spread: Spread | None = None
) -> pd.DataFrame:
    """What each choice gains on the base, paired by seed: a row a choice.

    Args:
        studies: name -> rows of ``study_rows``.
        base: rows of the base training; a label whose rows are the base itself is left out.
        metric: column in percent.
        spread: of one training, as `zscir.retrieval.statistics.pooled_spread` gives it; else the rows' own.

    Returns:
        Columns study, label, gain, low, high (points; NaN bounds for a single seed of unknown spread), seeds.
    """
    found = []
    for study, rows in studies.items():
        for label, own in rows.groupby("label", sort=False):
            if _settings(own) == _settings(base):
                continue
            one = paired_gain(own, base, metric, spread=spread)
            found.append((study, str(label), one.mean, one.low, one.high, one.n))
    return pd.DataFrame(found, columns=["study", "label", "gain", "low", "high", "seeds"])


def _settings(rows: pd.DataFrame) -> set[tuple]:
    """The different settings of some rows, seeds aside."""
    return set(rows[[name for name in BASE if name in rows]].itertuples(index=False, name=None))


def effects_figure(table: pd.DataFrame, metric: str, base: str) -> Figure:
    """All choices in one picture: points gained on the base with 95 % intervals over seeds, study by study.

    Args:
        table: from `effects`.
        metric: what the axis is called by.
        base: name of what all are held against.
    """
    figure, axes = new_figure(1, 1, height=1.0 + 0.24 * (len(table) + table["study"].nunique()))
    axis, place, ticks = axes[0, 0], 0.0, []
    for study, rows in table.groupby("study", sort=False):
        ticks.append((place, f"{study}", True))
        for row in rows.itertuples():
            place += 1
            sure = row.low > 0 or row.high < 0
            colour = PALETTE[7] if sure and row.gain < 0 else PALETTE[2] if sure else PALETTE[5]
            axis.plot([row.low, row.high], [place, place], color=colour, linewidth=2.2, solid_capstyle="butt")
            marker = "<" if sure and row.gain < 0 else ">" if sure else "o"
            axis.plot(row.gain, place, marker, color=colour, markersize=6)
            ticks.append((place, row.label, False))
        place += 1.2
    axis.axvline(0, color="black", linewidth=1)
    axis.set_yticks([at for at, _, _ in ticks], [text for _, text, _ in ticks])
    for label, (_, _, heading) in zip(axis.get_yticklabels(), ticks, strict=True):
        label.set_fontweight("bold" if heading else "normal")
    axis.set(ylim=(place - 0.6, -0.7), xlabel=f"{in_words(metric)}: points gained on {base}")
    axis.grid(False, axis="y")
    return figure


def gain_sentence(gain: Interval, first: str, second: str, metric: str) -> str:
    """What the mean gain over seeds says about two kinds of training, in Markdown.

    >>> gain_sentence(Interval(-2.0, -3.0, -1.0, 5), "A", "B", "Recall@1")
    'In Recall@1 A is 2.0 points below B (mean of 5 seeds, 95 % interval -3.0 to -1.0): the interval excludes
    zero.'
    >>> gain_sentence(Interval(0.4, float("nan"), float("nan"), 1), "A", "B", "Recall@1")
    'In Recall@1 A is 0.4 points above B (a single seed: nothing is known of the spread).'
    """
    side = "above" if gain.mean > 0 else "below"
    said = f"In {metric} {first} is {abs(gain.mean):.1f} points {side} {second}"
    if math.isnan(gain.low):
        return f"{said} (a single seed: nothing is known of the spread)."
    seeds = "a single seed" if gain.n == 1 else f"mean of {gain.n} seeds"
    verdict = "excludes zero" if gain.excludes_zero else "includes zero, so these trainings do not decide"
    bounds = f"{gain.low:+.1f} to {gain.high:+.1f}"
    return f"{said} ({seeds}, 95 % interval {bounds}): the interval {verdict}."


def best_sentence(rows: pd.DataFrame, metric: str, name: str, what: str, spread: Spread | None = None) -> str:
    """Which label has the highest mean, and whether the second is beaten for sure, in Markdown.

    >>> rows = {"label": ["a", "a", "b", "b"], "seed": [0, 1, 0, 1], "recall@1": [5.0, 6.0, 4.0, 5.2]}
    >>> best_sentence(pd.DataFrame(rows), "recall@1", "Recall@1", "fill")
    'Mean Recall@1 is highest with fill *a* (5.5 %); *b* comes next, 0.9 points below, which is within what
    the seed may do.'
    """
    means = rows.groupby("label", sort=False)[metric].mean().sort_values(ascending=False)
    first, *others = means.index
    named = [f"{label:g}" if isinstance(label, float) else str(label) for label in means.index]
    said = f"Mean {name} is highest with {what} *{named[0]}* ({means.iloc[0]:.1f} %)"
    if not others:
        return f"{said}; there is nothing to compare it with."
    two = (rows[rows["label"] == label] for label in (first, others[0]))
    gain = paired_gain(*two, metric, spread=spread)
    verdict = "more than the seed explains" if gain.excludes_zero else "within what the seed may do"
    verdict = "not held against another seed" if math.isnan(gain.low) else verdict
    return f"{said}; *{named[1]}* comes next, {gain.mean:.1f} points below, which is {verdict}."
