"""Curves of results: recall against k with bands, and how far an answer follows text or image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from zscir.analysis.conflicts import query_conflict, share_below
from zscir.benchmarks import Benchmark
from zscir.figures.results import look, query_count
from zscir.figures.style import new_figure
from zscir.retrieval import Scores
from zscir.retrieval.metrics import similarity_chunks, unit_rows
from zscir.retrieval.ranking import excluded_rows
from zscir.retrieval.scores import bootstrap, percentiles, weights_of

KS = (1, 2, 3, 5, 7, 10, 15, 20, 30, 50)
_SAMPLES = 2000
_Z = 1.959964


def recall_curves(scores: Mapping[str, Scores], ks: Sequence[int] = KS) -> Figure:
    """Recall@k against k, one line a method, in its 95 % bootstrap band over queries.

    Of several right answers the best-ranked counts.

    Args:
        scores: method -> Scores.
        ks: where the curve is computed, rising.
    """
    figure, axes = new_figure(1, 1, height=3.6)
    axis = axes[0, 0]
    for number, (name, one) in enumerate(scores.items()):
        table = recall_table(one, ks)
        colour, marker = look(name, number)
        axis.fill_between(table["k"], table["low"], table["high"], color=colour, alpha=0.15, linewidth=0)
        axis.plot(table["k"], table["recall"], color=colour, marker=marker, markersize=4, label=name)
    axis.set_xscale("log")
    axis.set_xticks(list(ks), [str(k) for k in ks])
    axis.minorticks_off()
    axis.set(xlabel="k", ylabel=f"Recall@k, %, {query_count(scores)}", ylim=(0, 100))
    figure.legend(*axis.get_legend_handles_labels(), loc="outside upper center", ncols=3)
    return figure


def recall_table(scores: Scores, ks: Sequence[int] = KS) -> pd.DataFrame:
    """Recall at every k, from the ranks: columns k, recall, low, high, in percent."""
    rows = []
    for k in ks:
        hits = (scores.ranks < k).astype(float)
        low, high = percentiles(bootstrap(scores, hits, _SAMPLES, 0), 0.95)
        rows.append((k, 100 * float((hits * weights_of(scores)).sum()), low, high))
    return pd.DataFrame(rows, columns=["k", "recall", "low", "high"])


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
    gallery = unit_rows(gallery, benchmark.gallery, "gallery_features")
    text, image = (unit_rows(one, names, "features of text and image") for one in (text, image))
    parts = []
    for method, features in methods.items():
        answers = _first_answers(unit_rows(features, names, method), gallery, excluded_rows(benchmark))
        columns = {"query": names, "group": [query.group for query in benchmark.queries], "method": method}
        columns |= {"conflict": conflict, "text": share_below(text, gallery, answers)}
        parts.append(pd.DataFrame(columns | {"image": share_below(image, gallery, answers)}))
    return pd.concat(parts, ignore_index=True)


def conflict_curves(table: pd.DataFrame, bins: int = 5) -> Figure:
    """Two panels against the conflict of a query: how far the answer follows the text, and the image.

    Args:
        table: from `conflict_table`.
        bins: groups of equally many queries; each is a point, with a 95 % interval of its mean.
    """
    figure, axes = new_figure(1, 2, height=3.4, sharey=True)
    place = table["conflict"].rank(method="first", pct=True)  # in (0, 1]
    table = table.assign(bin=np.ceil(place * bins).astype(int))
    for axis, (column, title) in zip(
        axes.flat, {"text": "follows the text", "image": "keeps to the image"}.items(), strict=True
    ):
        for number, (name, own) in enumerate(table.groupby("method", sort=False)):
            groups = own.groupby("bin")
            places, means = groups["conflict"].mean(), groups[column].mean()
            reach = _Z * groups[column].std() / np.sqrt(groups[column].count())
            colour, marker = look(name, number)
            axis.errorbar(places, means, reach, color=colour, marker=marker, capsize=2, label=name)
        axis.set(
            title=title, xlabel=f"conflict of text and image, %\nn = {table['query'].nunique():,} queries"
        )
    axes[0, 0].set(ylabel="% of the gallery outdone")
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=3)
    return figure


def _first_answers(queries: np.ndarray, gallery: np.ndarray, excluded: np.ndarray) -> np.ndarray:
    chunks = similarity_chunks(queries, gallery, excluded)
    return np.concatenate([scores.argmax(axis=1) for _, scores in chunks])
