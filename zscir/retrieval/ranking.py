"""Score or look at features on a benchmark; where the features came from does not matter.

    benchmark = load_benchmark("cirr", root, require_images=False)
    score_features(benchmark, query_features, gallery_features).metrics["recall@1"]

Rows stand in the order of ``benchmark.queries`` and ``benchmark.gallery``; ranking is by cosine, and images
with equal cosines rank in gallery order (to within `zscir.retrieval.metrics.NEAR`).
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from zscir.benchmarks import Benchmark
from zscir.retrieval.metrics import (
    Ranks,
    UnitRows,
    metric_values,
    rank_targets,
    scores_at,
    top_k,
    unit_rows,
)
from zscir.retrieval.scores import Scores
from zscir.retrieval.search import nearest


class Retrieved(NamedTuple):
    """What a query finds: gallery image ids, best first, and their cosines (float32).

    ``rank`` is the place of the query's (first) target in the whole ranking, from 1; 0 where it has none.
    """

    ids: list[str]
    scores: np.ndarray
    rank: int = 0


def score_features(
    benchmark: Benchmark, query_features: object, gallery_features: object, device: str | None = None
) -> Scores:
    """Rank the gallery for every query and score the result by the benchmark's protocol.

    Args:
        benchmark: from `load_benchmark`.
        query_features: torch tensor or array [Q, D], one row for each of ``benchmark.queries``, in that
            order (also where a query has several wordings: average their features first).
        gallery_features: torch tensor or array [N, D], one row for each of ``benchmark.gallery``.
        device: where the products are computed, such as "cuda"; None for the CPU. Results are the same.

    Features may have any float type and any length of rows: they are normalised here, in float64, so the
    ranking is by cosine.

    Returns:
        Scores, in percent in ``.metrics``; ``protocol["ties"]`` counts the queries in which a target had
        the same score as another image, ``protocol["near ties"]`` those with one to within
        `zscir.retrieval.metrics.NEAR`, the same included (gallery order decides).

    Raises:
        ValueError: wrong shapes, rows that are zero or not finite, or a split without targets.
    """
    require_targets(benchmark)
    ranks = rank_targets(
        *feature_rows(benchmark, query_features, gallery_features),
        targets=gallery_rows(benchmark, [query.targets for query in benchmark.queries]),
        excluded=excluded_rows(benchmark),
        members=gallery_rows(benchmark, [query.subset for query in benchmark.queries]),
        device=device,
    )
    if benchmark.ranked == "subset":
        ranks = Ranks(ranks.subset[:, None], ranks.subset, *ranks.within, ranks.within)
    found = np.where(ranks.targets >= 0, ranks.targets, np.iinfo(np.int64).max)
    return Scores(
        query_ids=tuple(query.id for query in benchmark.queries),
        groups=tuple(query.group for query in benchmark.queries),
        values={name: metric_values(name, ranks) for name in benchmark.metrics},
        ranks=found.min(axis=1),
        subset_ranks=ranks.subset,
        protocol={**benchmark.protocol, "ties": int(ranks.tied.sum()), "near ties": int(ranks.near.sum())},
        strata=np.zeros(len(benchmark.queries), dtype=np.int64),
    )


def require_targets(benchmark: Benchmark) -> None:
    """Raise ValueError when a query has no public targets, as on test splits, or none is left."""
    unanswered = sum(not query.targets for query in benchmark.queries)
    if unanswered or not benchmark.queries:
        raise ValueError(
            f"{benchmark.name} {benchmark.split} has {unanswered:,} queries without public targets "
            f"(of {len(benchmark.queries):,}), so it cannot be scored here; "
            "use write_submission(path, benchmark, query_features, gallery_features) for its server"
        )


def retrieve(
    benchmark: Benchmark, query_features: object, gallery_features: object, query_index: int, k: int = 10
) -> Retrieved:
    """The k images that one query finds, the reference left out where the protocol says so.

    Args:
        benchmark: from `load_benchmark`.
        query_features: [Q, D], all rows.
        gallery_features: [N, D].
        query_index: row of the query, from 0.
        k: how many images; fewer come back from a smaller gallery.
    """
    if not 0 <= query_index < len(benchmark.queries):
        raise ValueError(f"query_index={query_index} is not one of 0 to {len(benchmark.queries) - 1}")
    queries, gallery = feature_rows(benchmark, query_features, gallery_features)
    row = slice(query_index, query_index + 1)
    query, own, excluded = benchmark.queries[query_index], queries[row], excluded_rows(benchmark)[row]
    members = np.unique(gallery_rows(benchmark, [query.subset]))[None]
    if benchmark.ranked == "subset":
        scores = scores_at(own, gallery, members, excluded)[0]
        best = top_k(scores, k)
        found, scores = members[0, best], scores[best]
    else:
        found, scores = next(nearest(own, gallery, k, excluded))
    rank = 0
    if query.targets:
        ranks = rank_targets(own, gallery, gallery_rows(benchmark, [query.targets]), excluded, members)
        rank = 1 + int((ranks.subset if benchmark.ranked == "subset" else ranks.targets[:, 0])[0])
    return Retrieved([benchmark.gallery[i] for i in found], scores, rank)


def feature_rows(benchmark: Benchmark, queries: object, gallery: object) -> tuple[np.ndarray, UnitRows]:
    """Both matrices as float64 rows of length 1, checked against the benchmark; the gallery's when used."""
    return (
        unit_rows(queries, [query.id for query in benchmark.queries], "query_features"),
        UnitRows(gallery, benchmark.gallery, "gallery_features"),
    )


def gallery_rows(benchmark: Benchmark, names: Sequence[Sequence[str]]) -> np.ndarray:
    """Gallery rows of image ids: int64 [Q, longest], -1 behind the shorter ones."""
    rows = np.full((len(names), max(map(len, names), default=0)), -1, dtype=np.int64)
    try:
        for number, image_ids in enumerate(names):
            rows[number, : len(image_ids)] = [benchmark.row[image_id] for image_id in image_ids]
    except KeyError as error:
        raise ValueError(f"image {error} of query number {number} is not in the gallery") from error
    return rows


def excluded_rows(benchmark: Benchmark) -> np.ndarray:
    """Gallery row of each query's reference where it is removed, else -1: int64 [Q]."""
    if not benchmark.exclude_reference:
        return np.full(len(benchmark.queries), -1, dtype=np.int64)
    return np.array([benchmark.row.get(query.reference, -1) for query in benchmark.queries], dtype=np.int64)
