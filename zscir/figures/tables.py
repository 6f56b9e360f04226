"""Results in words and tables: what chapters 5 to 7 print, true whatever the outcome is.

score_table(scores, ["recall@1", "recall@5"])
"""

from collections.abc import Mapping, Sequence

import pandas as pd

from zscir.retrieval import Scores
from zscir.retrieval.comparison import protocol_note
from zscir.retrieval.scores import Table
from zscir.retrieval.statistics import Difference

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
