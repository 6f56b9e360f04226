"""What an evaluation returns: percentages, ranks, the protocol, and how sure one may be of them.

Everything is kept for every query, so that two methods can be compared on the same queries:

    low, high = scores.interval("recall@1")
    compare({"Pic2Word": a, "masked pairs": b})
    difference(b, a, "recall@1")
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import pandas as pd

#: what describes a row of a table; any other difference in protocol gets a column of its own
METHOD_KEYS = ("method", "prompt", "backbone", "inversion", "preprocessing", "ties")
SAMPLES = 10_000


class Difference(NamedTuple):
    """How much better one method is than another, in percentage points, on the same queries."""

    difference: float
    low: float
    high: float
    p: float


@dataclass(frozen=True, eq=False)
class Scores:
    """The result of one method on one benchmark.

    Attributes:
        query_ids: in the order of the benchmark.
        groups: group of each query.
        aspects: semantic aspects of each query (CIRCO), else ().
        values: metric -> float64 [Q] in [0, 1], what each query contributes.
        ranks: int64 [Q], from 0: the rank of the best target.
        subset_ranks: int64 [Q], from 0: the rank within the subset, -1 without one.
        protocol: how it was scored: reference kept or removed, gallery, captions, prompt, ties, ...
        strata: int [Q]; a metric is the unweighted mean over strata (one but in `average`).
    """

    query_ids: tuple[str, ...]
    groups: tuple[str, ...]
    aspects: tuple[tuple[str, ...], ...]
    values: dict[str, np.ndarray] = field(repr=False)
    ranks: np.ndarray = field(repr=False)
    subset_ranks: np.ndarray = field(repr=False)
    protocol: dict[str, object]
    strata: np.ndarray = field(repr=False)

    @property
    def metrics(self) -> dict[str, float]:
        """Metric -> percentage."""
        return {name: 100 * float(_parts(self, name).sum()) for name in self.values}

    def __repr__(self) -> str:
        """The percentages, on one line."""
        shown = ", ".join(f"{name} {value:.2f}" for name, value in self.metrics.items())
        return f"Scores({len(self.query_ids):,} queries: {shown})"

    def per_group(self, by: str = "group") -> pd.DataFrame:
        """One row a group: its name, the number of queries n, and each metric in percent.

        Args:
            by: "group", or "aspect" for CIRCO's semantic aspects (a query counts in each of its own).
        """
        if by not in ("group", "aspect"):
            raise ValueError(f"by={by!r} is not one of 'group', 'aspect'")
        kinds = [(group,) for group in self.groups] if by == "group" else self.aspects
        members: dict[str, list[int]] = {}
        for number, names in enumerate(kinds):
            for name in names:
                members.setdefault(name, []).append(number)
        rows = [
            {by: name, "n": len(own), **{m: 100 * v[own].mean() for m, v in self.values.items()}}
            for name, own in members.items()
        ]
        return pd.DataFrame(rows, columns=[by, "n", *self.values])

    def interval(
        self, metric: str, level: float = 0.95, samples: int = SAMPLES, seed: int = 0
    ) -> tuple[float, float]:
        """Percentile bootstrap interval of a metric over queries: (low, high) in percent.

        Queries are drawn again with replacement, within each category of an average.
        """
        means = _bootstrap(self, _values(self, metric), samples, seed)
        return _percentiles(means, level)


def compare(scores: dict[str, Scores]) -> pd.DataFrame:
    """The table of a paper: one row a method, one column a metric, in percent.

    Where the rows were not scored alike (another gallery, reference kept or removed, queries
    dropped, ...), a column says so: such rows must not be read as better or worse methods.

    Raises:
        ValueError: no scores, or scores of different benchmarks or metrics.
    """
    if not scores:
        raise ValueError("scores is empty: give at least one name -> Scores")
    first = next(iter(scores.values()))
    for name, other in scores.items():
        benchmark = (other.protocol.get("benchmark"), list(other.values))
        if benchmark != (first.protocol.get("benchmark"), list(first.values)):
            raise ValueError(f"{name!r} is scored on {benchmark}, which is not what the first is scored on")
    table = pd.DataFrame({name: one.metrics for name, one in scores.items()}).T
    keys = dict.fromkeys(key for one in scores.values() for key in one.protocol if key not in METHOD_KEYS)
    for key in keys:
        column = [one.protocol.get(key, "not said") for one in scores.values()]
        if len({str(value) for value in column}) > 1:
            table[key] = column
    return table.rename_axis("method")


def average(scores: Sequence[Scores]) -> Scores:
    """The unweighted mean over categories, as FashionIQ results are published, as Scores.

    Intervals and differences of the mean work as for one category; `per_group` lists the categories.

    Raises:
        ValueError: no scores, other metrics, or a query that occurs twice (the same category).
    """
    if not scores:
        raise ValueError("scores is empty: give the Scores of each category")
    if any(list(one.values) != list(scores[0].values) for one in scores):
        raise ValueError(f"all scores must have the metrics {list(scores[0].values)}")
    query_ids = tuple(name for one in scores for name in one.query_ids)
    if len(set(query_ids)) < len(query_ids):
        raise ValueError("the same queries occur twice: give each category once")
    if any(one.strata.any() for one in scores):
        raise ValueError("an average cannot be averaged again: give the Scores of each category")
    return Scores(
        query_ids=query_ids,
        groups=tuple(group for one in scores for group in one.groups),
        aspects=tuple(names for one in scores for names in one.aspects),
        values={name: np.concatenate([one.values[name] for one in scores]) for name in scores[0].values},
        ranks=np.concatenate([one.ranks for one in scores]),
        subset_ranks=np.concatenate([one.subset_ranks for one in scores]),
        protocol=_joined_protocol(scores),
        strata=np.repeat(np.arange(len(scores)), [len(one.query_ids) for one in scores]),
    )


def difference(
    a: Scores, b: Scores, metric: str, level: float = 0.95, samples: int = SAMPLES, seed: int = 0
) -> Difference:
    """How much better `a` is than `b`, paired by query: points, interval and p.

    The interval is a percentile bootstrap over queries; p comes from a two-sided permutation test
    that swaps the two methods' results on a query at random.

    Raises:
        ValueError: the two were not scored on the same queries, or have no such metric.
    """
    if a.query_ids != b.query_ids or not np.array_equal(a.strata, b.strata):
        raise ValueError("a and b must be scored on the same queries in the same order")
    gain = _values(a, metric) - _values(b, metric)  # [Q]
    low, high = _percentiles(_bootstrap(a, gain, samples, seed), level)
    weighted = gain * _weights(a)
    observed = weighted.sum()
    sizes, counts = np.unique(np.abs(weighted[weighted != 0]), return_counts=True)
    rng = np.random.default_rng(seed)
    positive = rng.binomial(counts, 0.5, size=(samples, len(counts)))
    swapped = (2 * positive - counts) @ sizes  # [samples]
    extreme = (np.abs(swapped) >= abs(observed) - 1e-12).sum()
    return Difference(100 * float(observed), low, high, float((extreme + 1) / (samples + 1)))


def _values(scores: Scores, metric: str) -> np.ndarray:
    if metric not in scores.values:
        raise ValueError(f"metric={metric!r} is not one of {', '.join(scores.values)}")
    return scores.values[metric]


def _weights(scores: Scores) -> np.ndarray:
    """Weight of each query [Q], summing to 1: equal within a stratum, strata equal."""
    sizes = np.bincount(scores.strata)
    return 1 / (sizes[scores.strata] * len(sizes))


def _parts(scores: Scores, metric: str) -> np.ndarray:
    return scores.values[metric] * _weights(scores)


def _bootstrap(scores: Scores, values: np.ndarray, samples: int, seed: int) -> np.ndarray:
    """Means of resampled queries [samples].

    A resample is known by how often each distinct value occurs in it, which is multinomial; so
    10,000 resamples of 0/1 values cost two numbers each.
    """
    rng = np.random.default_rng(seed)
    strata = range(int(scores.strata.max()) + 1)
    means = np.zeros(samples)
    for stratum in strata:
        distinct, counts = np.unique(values[scores.strata == stratum], return_counts=True)
        drawn = rng.multinomial(counts.sum(), counts / counts.sum(), size=samples)
        means += drawn @ distinct / counts.sum()
    return means / len(strata)


def _percentiles(means: np.ndarray, level: float) -> tuple[float, float]:
    if not 0 < level < 1:
        raise ValueError(f"level={level} must lie between 0 and 1")
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return 100 * float(low), 100 * float(high)


def _joined_protocol(scores: Sequence[Scores]) -> dict[str, object]:
    """What all say, once; what they say differently, one after the other; ties added up."""
    joined: dict[str, object] = {}
    for key in dict.fromkeys(key for one in scores for key in one.protocol):
        said = list(dict.fromkeys(str(one.protocol.get(key, "not said")) for one in scores))
        joined[key] = scores[0].protocol[key] if len(said) == 1 else "; ".join(said)
    if all("ties" in one.protocol for one in scores):
        joined["ties"] = sum(one.protocol["ties"] for one in scores)
    return joined
