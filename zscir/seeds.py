"""Several trainings of one kind: their mean, and how sure one may be of it.

    seed_interval([49.1, 50.2, 49.8])           # of the mean over trainings, by Student's t
    paired_gain(ours, theirs, "recall@1")       # tables of trainings, paired by their seed

What `zscir.comparison` says holds for two given networks and other queries; what is said here holds for the
given queries and other trainings: another draw of nouns, first weights and batches.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import stats


class Interval(NamedTuple):
    """A mean over ``n`` trainings and its interval; NaN bounds when a single one tells nothing of spread."""

    mean: float
    low: float
    high: float
    n: int

    @property
    def excludes_zero(self) -> bool:
        """Whether the whole interval lies on one side of 0."""
        return self.low > 0 or self.high < 0


def seed_interval(values: Sequence[float], level: float = 0.95) -> Interval:
    """Mean of independent trainings with Student's t-interval.

    Args:
        values: one number a training; NaN are refused, not dropped.
        level: of the interval, between 0 and 1.

    Raises:
        ValueError: no value, one that is not a number, or an illegal level.

    >>> [round(bound, 2) for bound in seed_interval([1.0, 2.0, 3.0])]
    [2.0, -0.48, 4.48, 3]
    >>> seed_interval([1.0])
    Interval(mean=1.0, low=nan, high=nan, n=1)
    """
    values = np.asarray(values, dtype=float)
    if values.ndim != 1 or len(values) == 0 or not np.isfinite(values).all():
        raise ValueError(f"values are {values.tolist()}; legal: at least one finite number, in one row")
    if not 0 < level < 1:
        raise ValueError(f"level is {level!r}; legal: between 0 and 1")
    mean, n = float(values.mean()), len(values)
    if n == 1:
        return Interval(mean, math.nan, math.nan, 1)
    reach = float(stats.t.ppf((1 + level) / 2, n - 1) * values.std(ddof=1) / math.sqrt(n))
    return Interval(mean, mean - reach, mean + reach, n)


def paired_gain(ours: pd.DataFrame, theirs: pd.DataFrame, metric: str, level: float = 0.95) -> Interval:
    """Mean over the seeds that both have of what ours gains on theirs, with its t-interval.

    Two trainings of one seed share the order of their batches, and the hidden nouns where both have some.

    Args:
        ours, theirs: a row a training, with the columns ``seed`` (each once) and ``metric``.
        metric: the column.
        level: of the interval.

    Raises:
        ValueError: a seed occurs twice, or no seed is in both.

    >>> ours = pd.DataFrame({"seed": [0, 1, 2], "recall@1": [5.0, 6.0, 7.0]})
    >>> theirs = pd.DataFrame({"seed": [1, 2], "recall@1": [4.0, 5.0]})
    >>> paired_gain(ours, theirs, "recall@1")
    Interval(mean=2.0, low=2.0, high=2.0, n=2)
    """
    columns = []
    for name, table in (("ours", ours), ("theirs", theirs)):
        column = table.set_index("seed")[metric]
        if not column.index.is_unique:
            twice = column.index[column.index.duplicated()][0]
            raise ValueError(f"{name} has seed {twice} twice; legal: one row a seed")
        columns.append(column)
    gains = (columns[0] - columns[1]).dropna()
    if not len(gains):
        raise ValueError(f"no seed is in both: {list(columns[0].index)} and {list(columns[1].index)}")
    return seed_interval(gains.to_numpy(), level)
