"""Results in words and tables: what chapters 5 to 7 print, true whatever the outcome is.

score_table(scores, ["recall@1", "recall@5"])
difference_sentence(difference(b, a, "recall@1"), "masked pairs", "Pic2Word", "Recall@1")
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from zscir.retrieval import Scores
from zscir.retrieval.comparison import Difference, protocol_note
from zscir.retrieval.tables import Table

NBSP = "\u00a0"  # a space at which no line is broken


def score_table(scores: Mapping[str, Scores], metrics: Sequence[str]) -> Table:
    """One row a method, one column a metric: the percentage and its 95 % bootstrap interval, as text.

    The protocol that all rows share is shown below the table.
    """
    rows = {
        name: {
            metric: "{:.1f} [{:.1f}, {:.1f}]".format(one.metrics[metric], *one.interval(metric)).replace(
                " ", NBSP
            )
            for metric in metrics
        }
        for name, one in scores.items()
    }
    table = Table(pd.DataFrame.from_dict(rows, orient="index", columns=list(metrics)))
    table.note = protocol_note(scores)
    return table


def difference_table(differences: Mapping[str, Difference]) -> pd.DataFrame:
    """One row a name: the paired difference in points, its 95 % interval and p."""
    rows = {
        name: {
            "difference": f"{one.difference:+.1f}",
            "95 % interval": f"[{one.low:+.1f}, {one.high:+.1f}]",
            "p": f"{one.p:.4f}",
        }
        for name, one in differences.items()
    }
    return pd.DataFrame.from_dict(rows, orient="index")


def difference_sentence(one: Difference, first: str, second: str, metric: str) -> str:
    """What a paired difference says about two methods, with its interval, in Markdown.

    >>> from zscir.retrieval.comparison import Difference
    >>> difference_sentence(Difference(2.0, 0.5, 3.5, 0.01), "A", "B", "Recall@1")
    'In Recall@1 A is 2.0 points above B (95 % interval +0.5 to +3.5): the interval excludes zero.'
    >>> difference_sentence(Difference(-1.0, -2.5, 0.5, 0.2), "A", "B", "Recall@1")
    'In Recall@1 A is 1.0 points below B (95 % interval -2.5 to +0.5): the interval includes zero, so these
    queries do not decide which is better.'
    """
    place = f"{abs(one.difference):.1f} points {'above' if one.difference > 0 else 'below'}"
    place = place if one.difference else "level with"
    sure = one.low > 0 or one.high < 0
    verdict = "excludes zero." if sure else "includes zero, so these queries do not decide which is better."
    return (
        f"In {metric} {first} is {place} {second} "
        f"(95 % interval {one.low:+.1f} to {one.high:+.1f}): the interval {verdict}"
    )


def best_row(table: pd.DataFrame, column: str) -> str:
    """Name of the row with the highest number in a column; several names when they tie.

    >>> best_row(pd.DataFrame({"recall@1": [1.0, 3.0, 3.0]}, index=["a", "b", "c"]), "recall@1")
    'b and c'
    """
    *others, last = map(str, table.index[table[column] == table[column].max()])
    return f"{', '.join(others)} and {last}" if others else last
