"""How far a relative caption contradicts its reference image.

*The dog, but as a cat*: no answer can please both. The text alone ranks the gallery; what of it comes before
the reference says how badly the reference fits the text.
"""

from __future__ import annotations

import numpy as np

from zscir.benchmarks import Benchmark
from zscir.retrieval.metrics import similarity_chunks, unit_rows


def query_conflict(benchmark: Benchmark, text: object, gallery: object) -> np.ndarray:
    """Share of the gallery that fits each text better than its reference does, float64 [Q] in percent.

    0 is a text that describes its reference, 100 one that contradicts it.

    Args:
        benchmark: from `load_benchmark`.
        text: features of the relative captions [Q, D], rows in the order of the queries.
        gallery: features of the gallery [N, D].

    Raises:
        ValueError: other numbers of rows, or references that the gallery does not hold.
    """
    names = [query.id for query in benchmark.queries]
    references = [benchmark.row.get(query.reference, -1) for query in benchmark.queries]
    if -1 in references:
        raise ValueError(f"{benchmark.name} has references outside the gallery: their conflict is unknown")
    text = unit_rows(text, names, "features of the texts")
    gallery = unit_rows(gallery, benchmark.gallery, "gallery_features")
    return 100 - share_below(text, gallery, np.array(references))


def share_below(queries: np.ndarray, gallery: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Percent of the other gallery images that a query likes less than the wanted one, float64 [Q].

    Args:
        queries: unit rows [Q, D].
        gallery: unit rows [N, D].
        wanted: row of the gallery for each query [Q].

    >>> share_below(np.eye(2), np.array([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]]), np.array([1, 1]))
    array([50., 50.])
    """
    shares = np.empty(len(queries))  # equal ones count half
    nobody = np.full(len(queries), -1)
    for rows, scores in similarity_chunks(queries, gallery, nobody):
        own = np.take_along_axis(scores, wanted[rows][:, None], axis=1)
        below, equal = (scores < own).sum(axis=1), (scores == own).sum(axis=1) - 1
        shares[rows] = 100 * (below + equal / 2) / max(1, scores.shape[1] - 1)
    return shares
