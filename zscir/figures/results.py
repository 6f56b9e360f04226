"""Figures of chapters 4 to 6: losses, readings of pseudo-words, recalls, kinds."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from zscir.figures.scenes import show_picture
from zscir.figures.style import PALETTE, WIDTH, new_figure
from zscir.retrieval import Scores

#: Colour and marker of the methods that the chapters compare, so that each looks the same everywhere.
LOOKS = {
    "image": (PALETTE[5], "s"),
    "text": (PALETTE[6], "D"),
    "image + text": (PALETTE[3], "P"),
    "slerp": ("#882255", "v"),
    "Pic2Word": (PALETTE[1], "^"),
    "masked pairs": (PALETTE[0], "o"),
    "adjectives hidden": ("#117777", "h"),
    "target's caption": (PALETTE[2], "*"),
}
_OTHERS = ((PALETTE[7], "X"), ("#222222", "<"), ("#999933", ">"), (PALETTE[4], "d"))  # of unknown methods
_LINE = 13 / 72  # inches of one line of text
_MOST_KINDS = 20


def look(name: str, number: int = 0) -> tuple[str, str]:
    """Colour and marker of a method: its own in `LOOKS`, else that of the ``number``-th unknown one.

    "image alone" is "image", "text alone" is "text".
    """
    return LOOKS.get(name.removesuffix(" alone"), _OTHERS[number % len(_OTHERS)])


def query_count(scores: Mapping[str, Scores]) -> str:
    """On how many queries the methods were scored, as the axes say it: ``n = 2,240 queries``."""
    return f"n = {len(next(iter(scores.values())).query_ids):,} queries"


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
            colour, _ = look(name, number)
            known = history[history[column].notna()]
            if len(known):
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
    texts = []
    for number in range(len(images)):
        lines = [
            f"{name}:\n{textwrap.fill(', '.join(found[number]), width)}" for name, found in words.items()
        ]
        texts.append("\n".join(lines))
    depth = max(text.count("\n") + 1 for text in texts)
    figure, axes = new_figure(1, len(images), height=WIDTH / len(images) + (depth + 2) * _LINE)
    for axis, image, text in zip(axes.flat, images, texts, strict=True):
        show_picture(axis, image, text)
    return figure


def recall_intervals(scores: Mapping[str, Scores], metrics: Sequence[str]) -> Figure:
    """A panel a metric: each method's percentage as a point on its 95 % bootstrap interval."""
    figure, axes = new_figure(1, len(metrics), height=0.9 + 0.36 * len(scores), sharey=True)
    names = list(scores)
    for axis, metric in zip(axes.flat, metrics, strict=True):
        for row, name in enumerate(names):
            colour, marker = look(name, row)
            low, high = scores[name].interval(metric)
            axis.plot([low, high], [row, row], "|-", color=colour, linewidth=1.6, markersize=9)
            axis.plot(scores[name].metrics[metric], row, marker, color=colour, markersize=5.5, clip_on=False)
        axis.set(title=in_words(metric), yticks=range(len(names)), yticklabels=names)
        axis.set_xlabel(f"%, {query_count(scores)}", fontsize=8.5)
        axis.set_ylim(len(names) - 0.5, -0.5)
        axis.set_xlim(left=0)
    return figure


def in_words(metric: str) -> str:
    """The name of a metric as the field writes it.

    >>> in_words("recall_subset@1")
    'Recall$_{subset}$@1'
    """
    return (
        metric.replace("recall_subset", "Recall$_{subset}$").replace("recall", "Recall").replace("map", "mAP")
    )


def kind_bars(scores: Mapping[str, Scores], metric: str, hard: Sequence[str] = ()) -> Figure:
    """Bars of one metric by group of queries, with 95 % intervals; ``hard`` groups in a panel of their own.

    More than twenty groups (the sets of the real CIRR) are no kinds: all queries are then one group.

    Args:
        scores: method -> scores on the same queries; the metric must be 0 or 1 for each query.
        metric: such as "recall@1".
        hard: groups to set apart, where they occur.
    """
    counts = pd.Series(next(iter(scores.values())).groups).value_counts()
    if len(counts) > _MOST_KINDS:
        counts = pd.Series({"all queries": int(counts.sum())})
    sides = [
        [kind for kind in counts.index if kind not in hard],
        [kind for kind in counts.index if kind in hard],
    ]
    sides = [side for side in sides if side]
    sizes = [len(side) for side in sides]
    figure, axes = new_figure(len(sides), 1, height=1.2 + 0.42 * sum(sizes), sharex=True, height_ratios=sizes)
    for axis, kinds in zip(axes.flat, sides, strict=True):
        _bars_of_kinds(axis, scores, metric, {kind: int(counts[kind]) for kind in kinds})
    axes[-1, 0].set(xlabel=f"{in_words(metric)}, %")
    if len(sides) == 2:
        axes[1, 0].set_title("hard kinds")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=3)
    return figure


def _bars_of_kinds(axis: Axes, scores: Mapping[str, Scores], metric: str, counts: Mapping[str, int]) -> None:
    """Horizontal bars: a group of one bar a method for every kind."""
    height = 0.8 / len(scores)
    for number, (name, one) in enumerate(scores.items()):
        groups = np.array(one.groups)
        members = [one.values[metric][(groups == kind) | (kind == "all queries")] for kind in counts]
        shares = 100 * np.array([values.mean() for values in members])
        bounds = np.array([wilson_interval(values.sum(), len(values)) for values in members])
        places = np.arange(len(counts)) + (number - (len(scores) - 1) / 2) * height
        error = np.abs(bounds.T - shares)
        style = {"color": look(name, number)[0], "linewidth": 0, "label": name, "height": height * 0.92}
        axis.barh(places, shares, xerr=error, error_kw={"elinewidth": 1, "ecolor": "#333333"}, **style)
    labels = [f"{kind} ({count})" for kind, count in counts.items()]
    axis.set(yticks=range(len(counts)), yticklabels=labels, ylim=(len(counts) - 0.4, -0.6))
    axis.grid(False, axis="y")


def wilson_interval(hits: float, count: int, z: float = 1.959964) -> tuple[float, float]:
    """Wilson's 95 % interval of a share, in percent; it holds for few trials, too.

    >>> [round(bound, 1) for bound in wilson_interval(0, 10)]
    [0.0, 27.8]
    """
    share = hits / count
    middle = share + z**2 / (2 * count)
    reach = z * math.sqrt(share * (1 - share) / count + z**2 / (4 * count**2))
    scale = 100 / (1 + z**2 / count)
    low, high = (middle - reach) * scale, (middle + reach) * scale
    return (0.0 if hits == 0 else low), (100.0 if hits == count else high)
