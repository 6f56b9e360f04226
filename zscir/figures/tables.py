"""Results in words and tables: what chapters 5 to 7 print, true whatever the outcome is.

score_table(scores, ["recall@1", "recall@5"])
difference_sentence(difference(b, a, "recall@1"), "masked pairs", "Pic2Word", "Recall@1")
"""

import math
from collections.abc import Mapping, Sequence

import pandas as pd

from zscir.retrieval import Scores
from zscir.retrieval.comparison import protocol_note
from zscir.retrieval.scores import Table
from zscir.retrieval.statistics import Difference, Interval

NBSP = "\u00a0"  # a space at which no line is broken


def score_table(scores: Mapping[str, Scores], metrics: Sequence[str]) -> Table:
    """One row a method, one column a metric: the percentage and its 95 % bootstrap interval, as text.

    The protocol that all rows share is shown below the table.
    """
    cell = f"{{:.1f}}{NBSP}[{{:.1f}},{NBSP}{{:.1f}}]".format
    rows = {
        name: [cell(own.metrics[metric], *own.interval(metric)) for metric in metrics]
        for name, own in scores.items()
    }
    table = Table(pd.DataFrame.from_dict(rows, orient="index", columns=list(metrics)))
    table.note = protocol_note(scores)
    return table


def difference_table(differences: Mapping[str, Difference]) -> pd.DataFrame:
    """One row a name (a tuple makes a row of several levels): the difference in points, its 95 % interval, p.

    Resampling finds no p below 0.0001, so the smallest are bounds.

    >>> difference_table({("A", "Recall@1"): Difference(2.0, 0.5, 3.5, 0.01)}).index.nlevels
    2
    """
    rows = {
        name: (
            f"{gain.difference:+.1f}",
            f"[{gain.low:+.1f}, {gain.high:+.1f}]",
            f"{gain.p:.4f}" if gain.p > 1e-4 else "≤ 0.0001",
        )
        for name, gain in differences.items()
    }
    return pd.DataFrame(rows, index=["difference", "95 % interval", "p"]).T


def difference_sentence(gain: Difference | Interval, first: str, second: str, metric: str) -> str:
    """What a paired difference says about two methods, or kinds of training, with its interval, in Markdown.

    Args:
        gain: over queries, as `zscir.retrieval.difference` gives it, or over seeds, as
            `zscir.retrieval.statistics.paired_gain` does.
        first, second: what gains, and on what.
        metric: as the sentence should name it.

    >>> difference_sentence(Difference(2.0, 0.5, 3.5, 0.01), "A", "B", "Recall@1")
    'In Recall@1 A is 2.0 points above B (95 % interval +0.5 to +3.5): the interval excludes zero.'
    >>> difference_sentence(Interval(-1.0, -2.5, 0.5, 5), "A", "B", "Recall@1")
    'In Recall@1 A is 1.0 points below B (mean of 5 seeds, 95 % interval -2.5 to +0.5): the interval includes
    zero, so these trainings do not decide which is better.'
    >>> difference_sentence(Interval(0.4, float("nan"), float("nan"), 1), "A", "B", "Recall@1")
    'In Recall@1 A is 0.4 points above B (a single seed: nothing is known of the spread).'
    """
    points, trials, counted = gain[0], "queries", ""
    if isinstance(gain, Interval):
        trials, counted = "trainings", "a single seed" if gain.n == 1 else f"mean of {gain.n} seeds"
    place = f"{abs(points):.1f} points {'above' if points > 0 else 'below'}" if points else "level with"
    words = f"In {metric} {first} is {place} {second}"
    if math.isnan(gain.low):
        return f"{words} ({counted}: nothing is known of the spread)."
    bounds = f"95 % interval {gain.low:+.1f} to {gain.high:+.1f}"
    undecided = f"includes zero, so these {trials} do not decide which is better"
    verdict = "excludes zero" if gain.excludes_zero else undecided
    return f"{words} ({', '.join(filter(None, (counted, bounds)))}): the interval {verdict}."
