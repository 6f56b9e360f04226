"""How sure one may be of a number: over queries, objects and pictures, and over trainings.

    percentiles(resampled_means(hits, strata), 0.95)       # a metric of one network, over other queries
    wilson_interval(3, 10)                                 # a share of few trials
    t_interval([49.1, 50.2, 49.8])                         # a mean over trainings, by Student's t
    paired_gain(ours, theirs, "recall@1")                  # tables of trainings, paired by their seed
    t_interval([49.1], spread=pooled_spread(table, by, "recall@1"))    # few seeds, many such trainings

An interval over queries holds for the given networks and other queries; one over trainings for the given
queries and other trainings: another draw of nouns, first weights and batches. The bootstraps are ours:
`scipy.stats.bootstrap` takes seconds where these take milliseconds, and refuses a single value.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

SAMPLES = 10_000
OBJECT_SAMPLES = 1000
#: Of all intervals.
LEVEL = 0.95


class Interval(NamedTuple):
    """A mean or a percentage of ``n`` trainings or trials with its 95 % interval.

    The bounds are NaN when a single training tells nothing of spread.
    """

    value: float
    low: float
    high: float
    n: int

    @property
    def excludes_zero(self) -> bool:
        """Whether the whole interval lies on one side of 0."""
        return self.low > 0 or self.high < 0


class Difference(NamedTuple):
    """How much better one method is than another, in percentage points, on the same queries."""

    difference: float
    low: float
    high: float
    p: float

    excludes_zero = Interval.excludes_zero


class Spread(NamedTuple):
    """Standard deviation over seeds of one training, estimated with ``df`` degrees of freedom."""

    sd: float
    df: int


def resampled_means(
    values: np.ndarray, strata: np.ndarray, samples: int = SAMPLES, seed: int = 0
) -> np.ndarray:
    """Means of values [Q] drawn again with replacement within each stratum, the strata counting alike.

    A resample is known by how often each distinct value occurs in it, which is multinomial; so
    10,000 resamples of 0/1 values cost two numbers each.

    Args:
        values: [Q].
        strata: int [Q], from 0.
        samples, seed: how many resamples, and their draw.

    Returns:
        float64 [samples].
    """
    rng = np.random.default_rng(seed)
    numbers = range(int(strata.max()) + 1)
    means = np.zeros(samples)
    for number in numbers:
        distinct, counts = np.unique(values[strata == number], return_counts=True)
        drawn = rng.multinomial(counts.sum(), counts / counts.sum(), size=samples)
        means += drawn @ distinct / counts.sum()
    return means / len(numbers)


def percentiles(means: np.ndarray) -> tuple[float, float]:
    """The ends of the middle 95 % of resampled means."""
    low, high = np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def mean_interval(values: np.ndarray, seed: int = 0) -> tuple[float, float, float]:
    """Mean of values [R], which may all differ, and the ends of its 95 % percentile bootstrap interval.

    >>> mean_interval(np.array([0.5, 0.5]))
    (0.5, 0.5, 0.5)
    """
    draws = np.random.default_rng(seed).integers(len(values), size=(OBJECT_SAMPLES, len(values)))
    return float(values.mean()), *percentiles(values[draws].mean(axis=1))


def permutation_p(gains: np.ndarray) -> float:
    """Two-sided p of a sum of paired gains [Q]: how often signs drawn at random give as large a sum."""
    sizes, counts = np.unique(np.abs(gains[gains != 0]), return_counts=True)
    positive = np.random.default_rng(0).binomial(counts, 0.5, size=(SAMPLES, len(counts)))
    swapped = (2 * positive - counts) @ sizes  # [samples]
    extreme = (np.abs(swapped) >= abs(gains.sum()) - 1e-12).sum()
    return float((extreme + 1) / (SAMPLES + 1))


def wilson_interval(hits: float, count: int) -> tuple[float, float]:
    """Wilson's 95 % interval of a share, in percent; it holds for few trials, too.

    >>> [round(bound, 1) for bound in wilson_interval(0, 10)]
    [0.0, 27.8]
    """
    bounds = stats.binomtest(int(hits), int(count)).proportion_ci(method="wilson")
    return 100 * float(bounds.low), 100 * float(bounds.high)


def share_of(hits: Sequence[bool] | np.ndarray) -> Interval:
    """Share of hits in percent, with Wilson's 95 % interval.

    >>> [round(number, 1) for number in share_of([True, False, False, False])]
    [25.0, 4.6, 69.9, 4]

    Raises:
        ValueError: no hit and no miss: a share of nothing.
    """
    if not len(hits):
        raise ValueError("hits is empty: a share needs at least one trial")
    return Interval(100 * float(np.mean(hits)), *wilson_interval(int(np.sum(hits)), len(hits)), len(hits))


def t_interval(values: Sequence[float], spread: Spread | None = None) -> Interval:
    """Mean of independent numbers, such as a metric of several trainings, with Student's t-interval.

    Args:
        values: one number a training; NaN are refused, not dropped.
        spread: of one such training, where more is known of it than these values tell.

    Raises:
        ValueError: no value, or one that is not a number.

    >>> [round(bound, 2) for bound in t_interval([1.0, 2.0, 3.0])]
    [2.0, -0.48, 4.48, 3]
    >>> t_interval([1.0])
    Interval(value=1.0, low=nan, high=nan, n=1)
    >>> [round(bound, 2) for bound in t_interval([1.0], spread=Spread(sd=0.5, df=60))]
    [1.0, -0.0, 2.0, 1]
    """
    values = np.asarray(values, dtype=float)
    if values.ndim != 1 or len(values) == 0 or not np.isfinite(values).all():
        raise ValueError(f"values are {values.tolist()}; legal: at least one finite number, in one row")
    mean, n = float(values.mean()), len(values)
    if n == 1 and spread is None:
        return Interval(mean, math.nan, math.nan, 1)
    spread = spread or Spread(float(values.std(ddof=1)), n - 1)
    reach = float(stats.t.ppf((1 + LEVEL) / 2, spread.df) * spread.sd / math.sqrt(n))
    return Interval(mean, mean - reach, mean + reach, n)


def pooled_spread(table: pd.DataFrame, by: Sequence[str], metric: str) -> Spread:
    """How far trainings that differ by their seed alone lie apart, from many points together.

    With two or three seeds a point's own spread is hardly known. Where all spread alike, that of all points
    is: the square root of the mean variance within points, each weighed by its degrees of freedom.

    Args:
        table: a row a training.
        by: the columns that make a point; an empty cell (NaN) is a value like others.
        metric: the column; rows without it are left out.

    Raises:
        ValueError: no point has two seeds.

    >>> rows = {"tau": [0.1, 0.1, 0.2, 0.2, 0.3], "recall@1": [5.0, 7.0, 1.0, 1.0, 9.0]}
    >>> pooled_spread(pd.DataFrame(rows), ["tau"], "recall@1")
    Spread(sd=1.0, df=2)
    """
    groups = table.dropna(subset=[metric]).groupby(list(by), dropna=False)[metric]
    freedom = groups.size() - 1
    if not freedom.sum():
        raise ValueError(f"no point of the table has two seeds with {metric!r}: nothing tells their spread")
    variance = float((groups.var(ddof=1).fillna(0) * freedom).sum() / freedom.sum())
    return Spread(math.sqrt(variance), int(freedom.sum()))


def paired_gain(
    ours: pd.DataFrame, theirs: pd.DataFrame, metric: str, spread: Spread | None = None
) -> Interval:
    """Mean over the seeds that both have of what ours gains on theirs, with its t-interval.

    Two trainings of one seed share the order of their batches, and the hidden nouns where both have some.

    Args:
        ours, theirs: a row a training, with the columns ``seed`` (each once) and ``metric``.
        metric: the column.
        spread: of one training, where more is known of it than these tables tell. A difference of two spreads
            by the square root of two times that; what the two share through their seed is not taken off.

    Raises:
        ValueError: a seed occurs twice, or no seed is in both.

    >>> ours = pd.DataFrame({"seed": [0, 1, 2], "recall@1": [5.0, 6.0, 7.0]})
    >>> theirs = pd.DataFrame({"seed": [1, 2], "recall@1": [4.0, 5.0]})
    >>> paired_gain(ours, theirs, "recall@1")
    Interval(value=2.0, low=2.0, high=2.0, n=2)
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
    both = spread and Spread(math.sqrt(2) * spread.sd, spread.df)
    return t_interval(gains.to_numpy(), both)


def crossed_gain(gains: np.ndarray) -> Difference:
    """Mean of paired gains over seeds *and* queries at once, in points, with its 95 % interval and p.

    Both are drawn: other seeds and other queries would have given another mean. The variance is that of two
    crossed samples, between seeds plus between queries less what both hold, and t has the degrees of freedom
    that Satterthwaite's formula gives.

    Args:
        gains: [S, Q], what each query gained in the trainings of each seed; at least two of both.

    >>> crossed_gain(np.array([[1.0, 0.0, 0.0, 1.0], [1.0, 0.0, 1.0, 1.0]])).difference
    62.5
    """
    seeds, queries = gains.shape
    by_seed, by_query, mean = gains.mean(axis=1), gains.mean(axis=0), float(gains.mean())
    rest = gains - by_seed[:, None] - by_query + mean
    parts = by_seed.var(ddof=1) / seeds, by_query.var(ddof=1) / queries
    both = (rest**2).sum() / ((seeds - 1) * (queries - 1)) / (seeds * queries)
    variance = max(sum(parts) - both, *parts)
    if not variance:
        return Difference(100 * mean, 100 * mean, 100 * mean, float(not mean))
    freedom = sum(parts) ** 2 / (parts[0] ** 2 / (seeds - 1) + parts[1] ** 2 / (queries - 1))
    error = math.sqrt(variance)
    reach = float(stats.t.ppf((1 + LEVEL) / 2, freedom)) * error
    p = float(2 * stats.t.sf(abs(mean) / error, freedom))
    return Difference(100 * mean, 100 * (mean - reach), 100 * (mean + reach), p)


def holm(p: Sequence[float]) -> list[float]:
    """Holm's adjusted p of several tests: below 0.05, a claim holds though many were asked.

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    order = np.argsort(p, kind="stable")
    steps = np.maximum.accumulate(np.asarray(p, dtype=float)[order] * np.arange(len(p), 0, -1))
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum(steps, 1)
    return adjusted.round(12).tolist()
