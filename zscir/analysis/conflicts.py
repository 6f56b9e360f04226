"""How far a relative caption contradicts its reference image.

*The dog, but as a cat*: no answer can please both. The text alone ranks the gallery; what of it comes before
the reference says how badly the reference fits the text.
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from zscir.analysis.failures import first_answers
from zscir.benchmarks import Benchmark
from zscir.retrieval.metrics import scores_at, similarity_blocks, unit_rows


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


def conflict_table(
    benchmark: Benchmark, text: object, image: object, gallery: object, methods: Mapping[str, object]
) -> pd.DataFrame:
    """How far the first answer of each method follows the text, and the image, for every query.

    Three shares of the gallery say so, each from 0 to 100 %. ``conflict``: how much of it fits the text
    better than the reference does, so 100 is a text that contradicts its image. ``text``: how much of it
    fits the text worse than the answer does. ``image``: how much of it is less like the reference than the
    answer is.

    Args:
        benchmark: from `load_benchmark`.
        text, image: query features of the methods "text" and "image" [Q, D].
        gallery: gallery features [N, D].
        methods: name -> query features [Q, D].

    Returns:
        Columns query, group, method, conflict, text, image.
    """
    names = [query.id for query in benchmark.queries]
    conflict = query_conflict(benchmark, text, gallery)
    unit = unit_rows(gallery, benchmark.gallery, "gallery_features")
    text, image = (unit_rows(rows, names, "features of text and image") for rows in (text, image))
    groups, parts = [query.group for query in benchmark.queries], []
    for method, features in methods.items():
        found = first_answers(benchmark, features, gallery)
        answers = np.array([benchmark.row[image_id] for image_id in found])
        columns = {"query": names, "group": groups, "method": method, "conflict": conflict}
        shares = {"text": share_below(text, unit, answers), "image": share_below(image, unit, answers)}
        parts.append(pd.DataFrame(columns | shares))
    return pd.concat(parts, ignore_index=True)


def share_below(queries: np.ndarray, gallery: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Percent of the other gallery images that a query likes less than the wanted one, float64 [Q].

    Args:
        queries: unit rows [Q, D].
        gallery: unit rows [N, D].
        wanted: row of the gallery for each query [Q].

    >>> share_below(np.eye(2), np.array([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]]), np.array([1, 1]))
    array([50., 50.])
    """
    nobody = np.full(len(queries), -1)
    own, below = scores_at(queries, gallery, wanted[:, None], nobody), np.zeros(len(queries))
    for rows, _, scores in similarity_blocks(queries, gallery, nobody):  # equal ones count half
        below[rows] += (scores < own[rows]).sum(axis=1) + (scores == own[rows]).sum(axis=1) / 2
    return 100 * (below - 0.5) / max(1, len(gallery) - 1)
