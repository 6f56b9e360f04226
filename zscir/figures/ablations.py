"""Figures of chapter 7: trainings that differ in one choice, several seeds each."""

import math
from collections.abc import Mapping, Sequence
from textwrap import fill

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from zscir.figures.style import (
    PALETTE,
    dot_on_interval,
    label_rows,
    legend_above,
    method_style,
    metric_name,
    new_figure,
)
from zscir.retrieval.statistics import Spread, t_interval

#: Colours and dashes of the lines that a study is held against.
_LINES = {
    "Pic2Word": (method_style("Pic2Word")[0], "--"),
    "true masks": (PALETTE[2], "-."),
    "random masks": (PALETTE[5], ":"),
}
_JITTER = 0.16
_LEGEND = 0.35  # inches


def study_dots(
    rows: pd.DataFrame, metrics: Sequence[str], spreads: Mapping[str, Spread] | None = None
) -> Figure:
    """A panel a metric, a line a label: every seed a small dot, their mean a large one in its 95 % interval.

    Args:
        rows: a row a training: columns ``label``, ``seed`` and the metrics, from ``study_rows``.
        metrics: columns in percent, one a panel; a label that has none of it (NaN) gets no dot.
        spreads: as in `study_curves`.
    """
    labels = list(dict.fromkeys(rows["label"]))
    figure, axes = new_figure(1, len(metrics), height=1.0 + 0.34 * len(labels), sharey=True)
    for axis, metric in zip(axes.flat, metrics, strict=True):
        for place, label in enumerate(labels):
            colour, marker = method_style("Pic2Word" if label == "Pic2Word" else "masked pairs")
            values = rows.loc[rows["label"] == label, metric].dropna()
            if not len(values):
                continue
            mean, low, high, n = t_interval(values, (spreads or {}).get(metric))
            heights = place + np.linspace(-_JITTER, _JITTER, n) if n > 1 else [place]
            axis.plot(values, heights, "o", color=colour, alpha=0.45, markersize=3.5)
            dot_on_interval(axis, mean, (low, high), place, colour, marker)
        label_rows(axis, labels)
        axis.set(title=metric_name(metric).replace(" ", "\n"), xlabel="%")
    return figure


def study_curves(
    curves: Mapping[str, pd.DataFrame],
    metrics: Sequence[str],
    axis_name: str,
    references: Mapping[str, pd.DataFrame] | None = None,
    logarithmic: bool = False,
    spreads: Mapping[str, Spread] | None = None,
) -> Figure:
    """A panel a metric against a number: means on a line, in the band of their 95 % intervals; seeds as dots.

    Four panels stand two by two.

    Args:
        curves: name -> a row a training, the number in the column ``label``, from ``study_rows``.
        metrics: columns in percent, one a panel.
        axis_name: what the number is.
        references: name -> rows of a training to compare with, drawn as a level line at its mean.
        logarithmic: whether equal factors are equal steps on the axis.
        spreads: metric -> spread of one training, as `zscir.retrieval.statistics.pooled_spread` gives it;
            a point's own without.
    """
    columns = len(metrics) if len(metrics) < 4 else 2
    rows = math.ceil(len(metrics) / columns)
    height = 2.85 * rows + 0.35 + (_LEGEND if references else 0)
    figure, axes = new_figure(rows, columns, height=height)
    for axis, metric in zip(axes.flat, metrics, strict=True):
        _draw_references(axis, references, metric)
        for number, (name, rows) in enumerate(curves.items()):
            known = rows.dropna(subset=[metric])
            _curve(axis, known, metric, name, number, (spreads or {}).get(metric))
        places = sorted({float(place) for rows in curves.values() for place in rows["label"]})
        axis.set_xscale("log" if logarithmic else "linear")
        axis.set_xticks(places, _spaced(places, logarithmic), fontsize=8)
        axis.minorticks_off()
        axis.set(title=metric_name(metric), xlabel=axis_name, ylabel="%" if axis in axes[:, 0] else "")
    legend_above(figure, columns=4)
    return figure


def verdicts_figure(found: pd.DataFrame) -> Figure:
    """A panel a measure, a line a claim: points gained, in the 95 % interval over seeds and queries.

    Triangles are what Holm's correction leaves standing, and point to the winner; circles are undecided.

    Args:
        found: from `zscir.analysis.claims.verdicts`.
    """
    measures, claims = (list(dict.fromkeys(found[name])) for name in ("measure", "claim"))
    figure, axes = new_figure(1, len(measures), height=1.1 + 0.52 * len(claims), sharey=True)
    for axis, measure in zip(axes.flat, measures, strict=True):
        for place, row in enumerate(found[found["measure"] == measure].itertuples()):
            colour, marker = _effect_style(row.gain, row.verdict != "undecided")
            dot_on_interval(axis, row.gain, (row.low, row.high), place, colour, marker)
        axis.axvline(0, color="black", linewidth=1)
        label_rows(axis, [fill(claim, 26) for claim in claims])
        axis.set(title=metric_name(measure).replace(" ", "\n"), xlabel="points")
    return figure


def _effect_style(gain: float, decided: bool) -> tuple[str, str]:
    """Colour and marker of an effect."""
    if not decided:
        return PALETTE[5], "o"
    return (PALETTE[2], ">") if gain > 0 else (PALETTE[7], "<")


def effects_figure(table: pd.DataFrame, base: str) -> Figure:
    """All choices in one picture: points gained on the base with 95 % intervals over seeds, study by study.

    Args:
        table: from `zscir.analysis.ablation_tables.effects`, with a column ``measure``: a panel each.
        base: name of what all are held against.
    """
    measures, choices = table["measure"].unique(), table[["study", "label"]].drop_duplicates()
    height = 1.2 + 0.24 * (len(choices) + choices["study"].nunique())
    figure, axes = new_figure(1, len(measures), height=height, sharey=True)
    places, ticks, place = {}, [], 0.0
    for study, rows in choices.groupby("study", sort=False):
        ticks.append((place, study, "bold"))
        for label in rows["label"]:
            place += 1
            places[study, label] = place
            ticks.append((place, label, "normal"))
        place += 1.2
    for axis, measure in zip(axes.flat, measures, strict=True):
        for row in table[table["measure"] == measure].itertuples():
            colour, marker = _effect_style(row.gain, row.low > 0 or row.high < 0)
            dot_on_interval(axis, row.gain, (row.low, row.high), places[row.study, row.label], colour, marker)
        axis.axvline(0, color="black", linewidth=1)
        axis.set_title(metric_name(measure).replace(" ", "\n"))
        axis.grid(False, axis="y")
    axis.set(ylim=(place - 0.6, -0.7))
    axes[0, 0].set_yticks([at for at, _, _ in ticks], [text for _, text, _ in ticks])
    for label, (_, _, weight) in zip(axes[0, 0].get_yticklabels(), ticks, strict=True):
        label.set_fontweight(weight)
    figure.supxlabel(f"points gained on {base}", fontsize=9.5)
    return figure


def _draw_references(axis: Axes, references: Mapping[str, pd.DataFrame] | None, metric: str) -> None:
    """A line at the mean of each training to compare with, where the metric is known of it."""
    for name, rows in (references or {}).items():
        if rows[metric].notna().any():
            colour, dash = _LINES.get(name, (PALETTE[7], "--"))
            axis.axhline(rows[metric].mean(), color=colour, linestyle=dash, linewidth=1.4, label=name)


def _spaced(places: Sequence[float], logarithmic: bool) -> list[str]:
    """What to write at each place: nothing where it would touch what stands before."""
    along = np.log(places) if logarithmic else np.asarray(places)
    room, last, texts = 0.07 * (along[-1] - along[0]), -math.inf, []
    for at, place in zip(along, places, strict=True):
        texts.append(f"{place:g}" if at - last >= room else "")
        last = at if texts[-1] else last
    return texts


def _curve(
    axis: Axes, rows: pd.DataFrame, metric: str, name: str, number: int, spread: Spread | None
) -> None:
    """One training's means along the axis, in a band, with a dot a seed."""
    colour, marker = method_style(name, number)
    found = {float(place): t_interval(own, spread=spread) for place, own in rows.groupby("label")[metric]}
    means, low, high, _ = zip(*found.values(), strict=True) if found else [()] * 4
    axis.fill_between(list(found), low, high, color=colour, alpha=0.15, linewidth=0)
    axis.plot(rows["label"].astype(float), rows[metric], "o", color=colour, alpha=0.4, markersize=3.5)
    axis.plot(list(found), means, color=colour, marker=marker, markersize=6, label=name)
