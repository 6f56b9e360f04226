"""Score, look at, or submit features on a benchmark; where the features came from does not matter.

    benchmark = load_benchmark("cirr", root, require_images=False)
    score_features(benchmark, query_features, gallery_features).metrics["recall@1"]

Rows stand in the order of ``benchmark.queries`` and ``benchmark.gallery``; ranking is by cosine.
"""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from zscir.benchmarks import Benchmark
from zscir.metrics import Ranks, metric_values, rank_targets, similarity_chunks, top_k, unit_rows
from zscir.scores import Scores

SUBMITTED = 50
SUBMITTED_SUBSET = 3
SERVER_LIMIT_BYTES = 5_000_000


class Retrieved(NamedTuple):
    """What a query finds: gallery image ids, best first, and their cosines (float32)."""

    ids: list[str]
    scores: np.ndarray


def score_features(benchmark: Benchmark, query_features: object, gallery_features: object) -> Scores:
    """Rank the gallery for every query and score the result by the benchmark's protocol.

    Args:
        benchmark: from `load_benchmark`.
        query_features: torch tensor or array [Q, D], rows in the order of ``benchmark.queries``.
        gallery_features: torch tensor or array [N, D], rows in the order of ``benchmark.gallery``.

    Returns:
        Scores; ``protocol["ties"]`` counts the queries in which a target had the same score as another
        image (gallery order decides).

    Raises:
        ValueError: wrong shapes, rows that are zero or not finite, or a split without targets.
    """
    require_targets(benchmark)
    ranks = rank_targets(
        *_features(benchmark, query_features, gallery_features),
        targets=_rows(benchmark, [query.targets for query in benchmark.queries]),
        excluded=_excluded(benchmark),
        members=_rows(benchmark, [query.subset for query in benchmark.queries]),
    )
    return _scores(benchmark, ranks)


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
    queries, gallery = _features(benchmark, query_features, gallery_features)
    row = slice(query_index, query_index + 1)
    _, scores = next(similarity_chunks(queries[row], gallery, _excluded(benchmark)[row]))
    best = top_k(scores[0], k)
    return Retrieved([benchmark.gallery[i] for i in best], scores[0, best])


def write_submission(
    path: str | Path, benchmark: Benchmark, query_features: object, gallery_features: object
) -> list[Path]:
    """Write what the benchmark's server accepts into the folder `path`.

    CIRR: ``cirr_{split}_recall.json`` (50 names a query) and ``cirr_{split}_recall_subset.json`` (3
    names), the reference in neither. CIRCO: ``circo_{split}.json`` (50 integer ids a query). A gallery
    smaller than 50 gives shorter lists.

    Returns:
        The files written.

    Raises:
        ValueError: a benchmark without a server, dropped queries (the servers want every one), or
            a file larger than the server takes.
    """
    if benchmark.name not in ("cirr", "circo"):
        raise ValueError(f"{benchmark.name} has no test server; submissions exist for 'cirr' and 'circo'")
    if benchmark.protocol.get("dropped", "none") != "none":
        raise ValueError(f"the server wants every query, but {benchmark.protocol['dropped']}")
    if benchmark.name == "cirr" and not benchmark.exclude_reference:
        raise ValueError(
            "CIRR submissions leave the reference out; load the benchmark with reference='removed'"
        )
    features = _features(benchmark, query_features, gallery_features)
    contents = (
        _cirr_lists(benchmark, *features) if benchmark.name == "cirr" else _circo_lists(benchmark, *features)
    )
    texts = {name: json.dumps(content, separators=(",", ":")) for name, content in contents.items()}
    for name, text in texts.items():
        if len(text) > SERVER_LIMIT_BYTES:
            raise ValueError(
                f"{name} would have {len(text):,} bytes; the server takes {SERVER_LIMIT_BYTES:,}"
            )
    folder = Path(path)
    folder.mkdir(parents=True, exist_ok=True)
    return [_write_whole(folder / f"{name}.json", text) for name, text in texts.items()]


def _features(benchmark: Benchmark, queries: object, gallery: object) -> tuple[np.ndarray, np.ndarray]:
    """Both matrices as float64 rows of length 1, checked against the benchmark."""
    return (
        unit_rows(queries, [query.id for query in benchmark.queries], "query_features"),
        unit_rows(gallery, benchmark.gallery, "gallery_features"),
    )


def _rows(benchmark: Benchmark, names: Sequence[Sequence[str]]) -> np.ndarray:
    """Gallery rows of image ids: int64 [Q, longest], -1 behind the shorter ones."""
    rows = np.full((len(names), max(map(len, names), default=0)), -1, dtype=np.int64)
    for number, image_ids in enumerate(names):
        rows[number, : len(image_ids)] = [benchmark.row[image_id] for image_id in image_ids]
    return rows


def _excluded(benchmark: Benchmark) -> np.ndarray:
    """Gallery row of each query's reference where it is removed, else -1: int64 [Q]."""
    if not benchmark.exclude_reference:
        return np.full(len(benchmark.queries), -1, dtype=np.int64)
    return np.array([benchmark.row[query.reference] for query in benchmark.queries], dtype=np.int64)


def _scores(benchmark: Benchmark, ranks: Ranks) -> Scores:
    found = np.where(ranks.targets >= 0, ranks.targets, np.iinfo(np.int64).max)
    return Scores(
        query_ids=tuple(query.id for query in benchmark.queries),
        groups=tuple(query.group for query in benchmark.queries),
        aspects=tuple(query.aspects for query in benchmark.queries),
        values={name: metric_values(name, ranks) for name in benchmark.metrics},
        ranks=found.min(axis=1),
        subset_ranks=ranks.subset,
        protocol={**benchmark.protocol, "ties": int(ranks.tied.sum())},
        strata=np.zeros(len(benchmark.queries), dtype=np.int64),
    )


def _cirr_lists(benchmark: Benchmark, queries: np.ndarray, gallery: np.ndarray) -> dict[str, dict]:
    recall: dict[str, object] = {"version": "rc2", "metric": "recall"}
    subset: dict[str, object] = {"version": "rc2", "metric": "recall_subset"}
    members = _rows(benchmark, [query.subset for query in benchmark.queries])
    for rows, scores in similarity_chunks(queries, gallery, _excluded(benchmark)):
        for number, row in enumerate(scores, start=rows.start):
            query = benchmark.queries[number]
            recall[query.id] = [benchmark.gallery[i] for i in top_k(row, SUBMITTED)]
            within = np.sort(members[number])
            best = within[top_k(row[within], SUBMITTED_SUBSET)]
            subset[query.id] = [benchmark.gallery[i] for i in best]
    return {f"cirr_{benchmark.split}_recall": recall, f"cirr_{benchmark.split}_recall_subset": subset}


def _circo_lists(benchmark: Benchmark, queries: np.ndarray, gallery: np.ndarray) -> dict[str, dict]:
    if sorted(int(query.id) for query in benchmark.queries) != list(range(len(benchmark.queries))):
        raise ValueError("the CIRCO server wants query ids 0, 1, 2, ... without gaps")
    lists = {}
    for rows, scores in similarity_chunks(queries, gallery, _excluded(benchmark)):
        for number, row in enumerate(scores, start=rows.start):
            best = top_k(row, SUBMITTED)
            lists[benchmark.queries[number].id] = [int(benchmark.gallery[i]) for i in best]
    return {f"circo_{benchmark.split}": lists}


def _write_whole(path: Path, text: str) -> Path:
    """Write beside the place and move in, so that no half-written file is ever seen."""
    scratch = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        scratch.write_text(text, encoding="utf-8")
        os.replace(scratch, path)
    finally:
        scratch.unlink(missing_ok=True)
    return path
