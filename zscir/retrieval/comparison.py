"""Set results side by side: tables with intervals, paired differences, means over categories.

compare({"Pic2Word": a, "masked pairs": b})      # a paper's table; the protocol stands below it
difference(b, a, "recall@1")                     # points, interval and p, paired by query
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from zscir.retrieval.scores import Scores, Table, protocol_line
from zscir.retrieval.statistics import LEVEL, Difference, percentiles, permutation_p, resampled_means
from zscir.storage.checks import chosen

#: what describes a row of a table; any other difference in protocol gets a column of its own
METHOD_KEYS = ("method", "prompt", "inversion", "weight", "ties", "near ties")
MARK = "*"
#: resamples for each point of a curve
CURVE_SAMPLES = 2000


def compare(
    scores: Mapping[str, Scores] | Sequence[Scores],
    against: str | None = None,
    metrics: Sequence[str] | None = None,
) -> Table:
    """The table of a paper: one row a method, one column a metric, "26.10 ± 0.71 *" in percent.

    ± is half the bootstrap interval over queries. A star marks a difference to the row ``against`` (by
    default the first) whose paired interval excludes zero; there is none where the rows were not asked the
    same queries. Where the rows were not scored alike (another gallery, reference kept or removed, queries
    dropped, ...), a column says so: such rows must not be read as better or worse methods. What they share
    stands below the table.

    Args:
        scores: name -> Scores, or Scores alone, which are then named by their method.
        against: the row that the others are held against.
        metrics: columns; by default all.

    Raises:
        ValueError: no scores, scores of different benchmarks or metrics, or an unknown name.
    """
    named = named_scores(scores)
    against = next(iter(named)) if against is None else chosen("against", against, named)
    base = named[against]
    cells = {
        name: {metric: _cell(own, base, metric) for metric in metrics or base.values}
        for name, own in named.items()
    }
    note = (
        f"± half the {LEVEL:.0%} bootstrap interval over queries; {MARK} differs from {against!r} "
        "(paired interval without 0). "
    )
    return _table(cells, named, note)


def _table(cells: dict[str, dict], named: Mapping[str, Scores], note: str = "") -> Table:
    """Rows of cells, a column for each protocol key in which they contradict each other, and the note."""
    table = Table(pd.DataFrame.from_dict(cells, orient="index"))
    for key, values in _protocol_values(named).items():
        if len(values) > 1:
            table[key] = [own.protocol.get(key, "not said") for own in named.values()]
    table.note = note + protocol_note(named)
    return table.rename_axis("method")


def named_scores(scores: Mapping[str, Scores] | Sequence[Scores]) -> dict[str, Scores]:
    """Name -> Scores; nameless ones are called by their method, numbered where it occurs again.

    Raises:
        ValueError: none, or scores of different benchmarks or metrics.
    """
    if isinstance(scores, Mapping):
        named = dict(scores)
    else:
        named = {}
        for own in scores:
            method = str(own.protocol.get("method", "features"))
            number = 1 + sum(name.partition(" #")[0] == method for name in named)
            named[method if number == 1 else f"{method} #{number}"] = own
    if not named:
        raise ValueError("scores is empty: give at least one Scores, or name -> Scores")
    first = next(iter(named.values()))
    for name, other in named.items():
        benchmark = (other.protocol.get("benchmark"), list(other.values))
        if benchmark != (first.protocol.get("benchmark"), list(first.values)):
            raise ValueError(f"{name!r} is scored on {benchmark}, which is not what the first is scored on")
    return named


def protocol_note(scores: Mapping[str, Scores]) -> str:
    """What the scores say of their protocol, as far as they agree, in one line."""
    return protocol_line({k: values[0] for k, values in _protocol_values(scores).items() if len(values) == 1})


def _cell(own: Scores, base: Scores, metric: str) -> str:
    low, high = own.interval(metric)
    paired = own is not base and _same_queries(own, base) and difference(own, base, metric)
    mark = f" {MARK}" if paired and paired.excludes_zero else ""
    return f"{own.metrics[metric]:.2f} ± {(high - low) / 2:.2f}{mark}"


def _protocol_values(scores: Mapping[str, Scores]) -> dict[str, list[str]]:
    """Protocol key -> what the rows say that have it, each once, for the keys that describe no method."""
    keys = dict.fromkeys(key for own in scores.values() for key in own.protocol if key not in METHOD_KEYS)
    said = {key: [str(own.protocol[key]) for own in scores.values() if key in own.protocol] for key in keys}
    return {key: list(dict.fromkeys(values)) for key, values in said.items()}


def _same_queries(a: Scores, b: Scores) -> bool:
    return a.query_ids == b.query_ids and np.array_equal(a.strata, b.strata)


def average(scores: Sequence[Scores]) -> Scores:
    """The unweighted mean over categories, as FashionIQ results are published, as Scores.

    Intervals and differences of the mean work as for one category; `per_group` lists the categories.

    Raises:
        ValueError: no scores, other metrics, or a query that occurs twice (the same category).
    """
    if not scores:
        raise ValueError("scores is empty: give the Scores of each category")
    if any(list(part.values) != list(scores[0].values) for part in scores):
        raise ValueError(f"all scores must have the metrics {list(scores[0].values)}")
    query_ids = tuple(name for part in scores for name in part.query_ids)
    if len(set(query_ids)) < len(query_ids):
        raise ValueError("the same queries occur twice: give each category once")
    if any(part.strata.any() for part in scores):
        raise ValueError("an average cannot be averaged again: give the Scores of each category")
    return Scores(
        query_ids,
        tuple(group for part in scores for group in part.groups),
        {name: np.concatenate([part.values[name] for part in scores]) for name in scores[0].values},
        np.concatenate([part.ranks for part in scores]),
        np.concatenate([part.subset_ranks for part in scores]),
        _joined_protocol(scores),
        np.repeat(np.arange(len(scores)), [len(part.query_ids) for part in scores]),
    )


def difference(a: Scores, b: Scores, metric: str) -> Difference:
    """How much better `a` is than `b`, paired by query: points, interval and p.

    The interval is a percentile bootstrap over queries; p comes from a two-sided permutation test
    that swaps the two methods' results on a query at random.

    Raises:
        ValueError: the two were not scored on the same queries, or have no such metric.
    """
    if not _same_queries(a, b):
        raise ValueError("a and b must be scored on the same queries in the same order")
    gain = a.values_of(metric) - b.values_of(metric)  # [Q]
    low, high = percentiles(resampled_means(gain, a.strata))
    weighted = gain * a.weights
    return Difference(100 * float(weighted.sum()), 100 * low, 100 * high, permutation_p(weighted))


def composition_gap(composed: Scores, text: Scores, image: Scores, metric: str = "recall@10") -> Difference:
    """What a composed query gains on the better of its two parts: R@10 - max(text only, image only).

    A benchmark that can be solved by one modality leaves no gap, however good the method (arXiv 2605.14787).
    The interval is that of `difference` to the better part.

    Args:
        composed: of any method.
        text, image: of the methods "text" and "image" on the same queries.
        metric: another one where the benchmark has no recall@10, such as GeneCIS's recall@1.

    Raises:
        ValueError: the three were not scored on the same queries, or have no such metric.
    """
    gains = [difference(composed, part, metric) for part in (text, image)]
    return min(gains, key=lambda gain: gain.difference)


def unimodal_queries(text: Scores, image: Scores, k: int = 10) -> np.ndarray:
    """Which queries one modality solves: the text or the image finds a target among the first k, bool [Q].

    ``subset(benchmark, np.flatnonzero(~unimodal_queries(text, image)), "...")`` of
    `zscir.benchmarks.circus` keeps the others.

    Raises:
        ValueError: the two were not scored on the same queries.
    """
    if not _same_queries(text, image):
        raise ValueError("text and image must be scored on the same queries in the same order")
    return np.minimum(text.ranks, image.ranks) < k


def recall_table(scores: Scores, ks: Sequence[int]) -> pd.DataFrame:
    """Recall at every k, from the ranks of the best targets: columns k, recall, low, high, in percent."""
    rows = []
    for k in ks:
        hits = (scores.ranks < k).astype(float)
        low, high = percentiles(resampled_means(hits, scores.strata, CURVE_SAMPLES))
        rows.append((k, 100 * float((hits * scores.weights).sum()), 100 * low, 100 * high))
    return pd.DataFrame(rows, columns=["k", "recall", "low", "high"])


def largest_changes(first: Scores, second: Scores, count: int = 2) -> tuple[list[int], list[int]]:
    """Numbers of the queries that the second method wins and loses by most, by the rank of the right answer.

    What counts is how many times closer to the top the answer is: 1 instead of 10 is as much as 10 instead
    of 100.

    Raises:
        ValueError: the two were not scored on the same queries.
    """
    if first.query_ids != second.query_ids:
        raise ValueError("the two must be scored on the same queries in the same order")
    gain = np.log(first.ranks + 1) - np.log(second.ranks + 1)
    order = np.argsort(-gain, kind="stable")
    wins = [int(number) for number in order[:count] if gain[number] > 0]
    losses = [int(number) for number in order[::-1][:count] if gain[number] < 0]
    return wins, losses


def _joined_protocol(scores: Sequence[Scores]) -> dict[str, object]:
    """What all say, once; what they say differently, one after the other; ties added up."""
    joined: dict[str, object] = {}
    for key in dict.fromkeys(key for part in scores for key in part.protocol):
        values = list(dict.fromkeys(str(part.protocol.get(key, "not said")) for part in scores))
        joined[key] = scores[0].protocol[key] if len(values) == 1 else "; ".join(values)
    for key in ("ties", "near ties"):
        if all(key in part.protocol for part in scores):
            joined[key] = sum(part.protocol[key] for part in scores)
    return joined
