"""What an evaluation returns: percentages, ranks, the protocol, and how sure one may be of them.

Everything is kept for every query, so that two methods can be compared on the same queries
(`zscir.retrieval.comparison`):

    scores.metrics["recall@1"]                  # percent
    low, high = scores.interval("recall@1")     # 95 %, over queries

A `Table` says below what its numbers hold for:

>>> table = Table({"recall@1": [26.1]}, index=["A"])
>>> table.note = protocol_line({"reference": "removed", "split": "val"})
>>> table
   recall@1
A      26.1
Protocol: reference: removed; split: val
"""

import html
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from zscir.retrieval.statistics import percentiles, resampled_means
from zscir.storage.checks import chosen

#: mean of two metrics that papers print beside the others: benchmark -> the two
AVERAGES = {"cirr": ("recall@5", "recall_subset@1"), "fashioniq": ("recall@10", "recall@50")}


class Table(pd.DataFrame):
    """A DataFrame with a note that is shown below it: the protocol that its numbers hold for."""

    _metadata = ["note"]

    @property
    def _constructor(self) -> type:
        return Table

    def __repr__(self) -> str:
        """The table, then the note."""
        note = getattr(self, "note", "")
        return super().__repr__() + (f"\n{note}" if note else "")

    def _repr_html_(self) -> str | None:
        shown = super()._repr_html_()
        words, mark, protocol = html.escape(getattr(self, "note", "")).partition("Protocol: ")
        below = f'<p class="protocol">{words}</p>' if words else ""
        if mark:
            below += f'<details class="protocol"><summary>Protocol</summary>{protocol}</details>'
        return shown + below if shown else shown


def protocol_line(protocol: Mapping[str, object]) -> str:
    """A protocol in one line, "" for an empty one."""
    words = "; ".join(f"{key}: {value}" for key, value in protocol.items())
    return f"Protocol: {words}" if words else ""


@dataclass(frozen=True, eq=False)
class Scores:
    """The result of one method on one benchmark.

    Attributes:
        query_ids: in the order of the benchmark.
        groups: group of each query.
        values: metric -> float64 [Q] in [0, 1], what each query contributes.
        ranks: int64 [Q], from 0: the rank of the best target.
        subset_ranks: int64 [Q], from 0: the rank within the subset, -1 without one.
        protocol: how it was scored: reference kept or removed, gallery, captions, prompt, ties, ...
        strata: int [Q]; a metric is the unweighted mean over strata (one but in `average`).
    """

    query_ids: tuple[str, ...]
    groups: tuple[str, ...]
    values: dict[str, np.ndarray] = field(repr=False)
    ranks: np.ndarray = field(repr=False)
    subset_ranks: np.ndarray = field(repr=False)
    protocol: dict[str, object]
    strata: np.ndarray = field(repr=False)

    @property
    def metrics(self) -> dict[str, float]:
        """Metric -> percentage."""
        return {name: 100 * float((value * self.weights).sum()) for name, value in self.values.items()}

    @property
    def weights(self) -> np.ndarray:
        """Weight of each query [Q], summing to 1: equal within a stratum, strata equal."""
        sizes = np.bincount(self.strata)
        return 1 / (sizes[self.strata] * len(sizes))

    def values_of(self, metric: str) -> np.ndarray:
        """What each query contributes to a metric [Q], 0 to 1. Raises ValueError for a metric it lacks."""
        return self.values[chosen("metric", metric, self.values)]

    @property
    def averages(self) -> dict[str, float]:
        """The mean of two metrics that papers print for the benchmark, by name; {} where there is none."""
        pair = AVERAGES.get(str(self.protocol.get("benchmark")), ())
        if not pair or any(name not in self.values for name in pair):
            return {}
        return {f"({pair[0]} + {pair[1]}) / 2": sum(self.metrics[name] for name in pair) / 2}

    def summary(self) -> Table:
        """One row a metric: value in percent, its interval over queries, number of queries n."""
        rows = [(m, value, *self.interval(m), len(self.ranks)) for m, value in self.metrics.items()]
        return self._noted(pd.DataFrame(rows, columns=["metric", "value", "low", "high", "n"]))

    def __repr__(self) -> str:
        """The percentages, on one line."""
        shown = ", ".join(f"{name} {value:.2f}" for name, value in self.metrics.items())
        return f"Scores({len(self.query_ids):,} queries: {shown})"

    def per_group(self) -> Table:
        """One row a group: its name, the number of queries n, and each metric in percent."""
        groups = pd.DataFrame(self.values).groupby(pd.Series(self.groups, name="group"), sort=False)
        table = 100 * groups.mean()
        table.insert(0, "n", groups.size())
        return self._noted(table.reset_index())

    def part(self, group: str) -> "Scores":
        """The scores of one group's queries alone: its own metrics, intervals and differences.

        Raises:
            ValueError: no query is of that group.
        """
        chosen("group", group, dict.fromkeys(self.groups))
        rows = np.flatnonzero([name == group for name in self.groups])
        return Scores(
            tuple(self.query_ids[row] for row in rows),
            (group,) * len(rows),
            {name: value[rows] for name, value in self.values.items()},
            self.ranks[rows],
            self.subset_ranks[rows],
            self.protocol | {"group": group},
            np.unique(self.strata[rows], return_inverse=True)[1],
        )

    def _noted(self, frame: pd.DataFrame) -> Table:
        """The frame with the protocol below."""
        table = Table(frame)
        table.note = protocol_line(self.protocol)
        return table

    def interval(self, metric: str) -> tuple[float, float]:
        """Percentile bootstrap 95 % interval of a metric over queries: (low, high) in percent.

        Queries are drawn again with replacement, within each category of an average.
        """
        low, high = percentiles(resampled_means(self.values_of(metric), self.strata))
        return 100 * low, 100 * high
