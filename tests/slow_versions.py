"""Rankings and metrics written a second time, slowly, in Python's own words, to hold the library against."""

from itertools import pairwise

import numpy as np


def slow_ranking(benchmark, queries, gallery, number):
    """Image ids by falling cosine, near ties in gallery order: Python's own sorts over all images."""
    cosines = []
    for row in gallery:
        product = float(np.dot(queries[number], row))
        cosines.append(np.float32(product / np.linalg.norm(queries[number]) / np.linalg.norm(row)))
    order = sorted(range(len(gallery)), key=lambda i: (-cosines[i], i))
    groups = [[order[0]]]
    for before, after in pairwise(order):
        if cosines[before] - cosines[after] <= 1e-6:
            groups[-1].append(after)
        else:
            groups.append([after])
    names = [benchmark.gallery[i] for group in groups for i in sorted(group)]
    if benchmark.exclude_reference:
        names.remove(benchmark.queries[number].reference)
    return names


def slow_metric(metric, query, names):
    """One metric of one query, from the whole ranking."""
    kind, k = metric.split("@")
    k = int(k)
    if kind == "recall":
        return float(query.targets[0] in names[:k])
    if kind == "recall_subset":
        within = [name for name in names if name in query.subset]
        return float(query.targets[0] in within[:k])
    hits = [name in query.targets for name in names[:k]]
    if kind == "recall_all":
        return sum(hits) / len(query.targets)
    if kind == "precision":
        return sum(hits) / k
    precision = [sum(hits[: place + 1]) / (place + 1) for place, hit in enumerate(hits) if hit]
    return sum(precision) / min(len(query.targets), k)


def slow_metrics(benchmark, queries, gallery):
    """Every metric of a benchmark, in percent."""
    sums = dict.fromkeys(benchmark.metrics, 0.0)
    for number, query in enumerate(benchmark.queries):
        names = slow_ranking(benchmark, queries, gallery, number)
        for metric in benchmark.metrics:
            sums[metric] += slow_metric(metric, query, names)
    return {metric: 100 * total / len(benchmark.queries) for metric, total in sums.items()}
