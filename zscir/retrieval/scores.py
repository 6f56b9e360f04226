"""What an evaluation returns: percentages, ranks, the protocol, and how sure one may be of them.

Everything is kept for every query, so that two methods can be compared on the same queries
(`zscir.retrieval.comparison`):

    scores.metrics["recall@1"]                  # percent
    low, high = scores.interval("recall@1")     # 95 %, over queries
    scores.frame()                              # tidy: a row for each query and metric
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from zscir.retrieval.tables import Table, protocol_line

#: mean of two metrics that papers print beside the others: benchmark -> the two
AVERAGES = {"cirr": ("recall@5", "recall_subset@1"), "fashioniq": ("recall@10", "recall@50")}
SAMPLES = 10_000


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
        seeds: metric -> its percentage with each seed, where several were pooled.
    """

    query_ids: tuple[str, ...]
    groups: tuple[str, ...]
    aspects: tuple[tuple[str, ...], ...]
    values: dict[str, np.ndarray] = field(repr=False)
    ranks: np.ndarray = field(repr=False)
    subset_ranks: np.ndarray = field(repr=False)
    protocol: dict[str, object]
    strata: np.ndarray = field(repr=False)
    seeds: dict[str, tuple[float, ...]] = field(default_factory=dict, repr=False)

    @property
    def metrics(self) -> dict[str, float]:
        """Metric -> percentage."""
        return {name: 100 * float((value * weights_of(self)).sum()) for name, value in self.values.items()}

    @property
    def averages(self) -> dict[str, float]:
        """The mean of two metrics that papers print for the benchmark, by name; {} where there is none."""
        pair = AVERAGES.get(str(self.protocol.get("benchmark")), ())
        if not pair or any(name not in self.values for name in pair):
            return {}
        return {f"({pair[0]} + {pair[1]}) / 2": sum(self.metrics[name] for name in pair) / 2}

    def frame(self) -> pd.DataFrame:
        """Tidy: one row for each query and metric.

        Columns: query, group, metric, value (percent: 0 or 100 for recall), rank of the best target (from 1).
        """
        parts = {"query": self.query_ids, "group": self.groups, "rank": self.ranks + 1}
        parts |= {name: 100 * value for name, value in self.values.items()}
        table = pd.DataFrame(parts).melt(["query", "group", "rank"], var_name="metric")
        return table[["query", "group", "metric", "value", "rank"]]

    def summary(self, level: float = 0.95) -> Table:
        """One row a metric: value in percent, low and high of its interval over queries, number of queries n.

        Where seeds were pooled, also their number and the standard deviation over them.
        """
        rows = []
        for name, value in self.metrics.items():
            low, high = self.interval(name, level)
            row = {"metric": name, "value": value, "low": low, "high": high, "n": len(self.query_ids)}
            if self.seeds:
                row |= {"seeds": len(self.seeds[name]), "sd": float(np.std(self.seeds[name], ddof=1))}
            rows.append(row)
        return self._noted(pd.DataFrame(rows))

    def __repr__(self) -> str:
        """The percentages, on one line."""
        shown = ", ".join(f"{name} {value:.2f}" for name, value in self.metrics.items())
        return f"Scores({len(self.query_ids):,} queries: {shown})"

    def per_group(self, by: str = "group") -> Table:
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
        return self._noted(pd.DataFrame(rows, columns=[by, "n", *self.values]))

    def part(self, group: str) -> Scores:
        """The scores of one group's queries alone: its own metrics, intervals and differences.

        Raises:
            ValueError: no query is of that group, or seeds were pooled (take the part of each seed first).
        """
        if self.seeds:
            raise ValueError("pooled scores have no parts: take the part of each seed, then pool them")
        rows = np.flatnonzero([one == group for one in self.groups])
        if not len(rows):
            raise ValueError(f"group={group!r} is not one of {', '.join(dict.fromkeys(self.groups))}")
        return Scores(
            query_ids=tuple(self.query_ids[row] for row in rows),
            groups=(group,) * len(rows),
            aspects=tuple(self.aspects[row] for row in rows),
            values={name: value[rows] for name, value in self.values.items()},
            ranks=self.ranks[rows],
            subset_ranks=self.subset_ranks[rows],
            protocol=self.protocol | {"group": group},
            strata=np.unique(self.strata[rows], return_inverse=True)[1],
        )

    def _noted(self, frame: pd.DataFrame) -> Table:
        """The frame with the protocol below."""
        table = Table(frame)
        table.note = protocol_line(self.protocol)
        return table

    def interval(
        self, metric: str, level: float = 0.95, samples: int = SAMPLES, seed: int = 0
    ) -> tuple[float, float]:
        """Percentile bootstrap interval of a metric over queries: (low, high) in percent.

        Queries are drawn again with replacement, within each category of an average;
        `scipy.stats.bootstrap` with method="percentile" gives the same, in seconds instead of milliseconds.
        """
        means = bootstrap(self, values_of(self, metric), samples, seed)
        return percentiles(means, level)


def values_of(scores: Scores, metric: str) -> np.ndarray:
    """What each query contributes to a metric [Q], from 0 to 1. Raises ValueError for a metric it lacks."""
    if metric not in scores.values:
        raise ValueError(f"metric={metric!r} is not one of {', '.join(scores.values)}")
    return scores.values[metric]


def weights_of(scores: Scores) -> np.ndarray:
    """Weight of each query [Q], summing to 1: equal within a stratum, strata equal."""
    sizes = np.bincount(scores.strata)
    return 1 / (sizes[scores.strata] * len(sizes))


def bootstrap(scores: Scores, values: np.ndarray, samples: int, seed: int) -> np.ndarray:
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


def percentiles(means: np.ndarray, level: float) -> tuple[float, float]:
    """The middle ``level`` of bootstrap means, in percent. Raises ValueError for a level outside 0 to 1."""
    if not 0 < level < 1:
        raise ValueError(f"level={level} must lie between 0 and 1")
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return 100 * float(low), 100 * float(high)
