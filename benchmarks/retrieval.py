"""Scoring cached features: a full sort against the library, in one run; and a gallery of 123,403 images.

python benchmarks/retrieval.py --root /data/cirr --out benchmarks/results/retrieval.json

The slow side sorts the whole gallery for every query (NumPy, float64), as published evaluation code does;
both must agree in every metric. The large gallery is scored in a process of its own, whose peak memory is
recorded.
"""

import argparse
import datetime
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from zscir.benchmarks import Benchmark, Query, load_benchmark
from zscir.retrieval import score_features
from zscir.storage.provenance import machine, peak_memory, thread_share, versions

WIDTH = 768
GALLERY = 123_403
QUERIES = 800


def features(rows: int, seed: int) -> np.ndarray:
    """Seeded float32 features [rows, WIDTH]."""
    return np.random.default_rng(seed).standard_normal((rows, WIDTH), dtype=np.float32)


def full_sort(benchmark: Benchmark, queries: np.ndarray, gallery: np.ndarray) -> dict[str, float]:
    """Recall and Recall_subset of CIRR by a stable sort of all cosines."""
    queries = queries / np.linalg.norm(queries.astype(float), axis=1, keepdims=True)
    gallery = gallery / np.linalg.norm(gallery.astype(float), axis=1, keepdims=True)
    order = np.argsort(-(queries @ gallery.T), axis=1, kind="stable")
    names = np.array(benchmark.gallery)[order]  # [Q, N]
    hits = dict.fromkeys(benchmark.metrics, 0)
    for query, ranked in zip(benchmark.queries, names, strict=True):
        ranked = ranked[ranked != query.reference]
        within = ranked[np.isin(ranked, query.subset)]
        for metric in hits:
            kind, k = metric.split("@")
            hits[metric] += query.targets[0] in (ranked if kind == "recall" else within)[: int(k)]
    return {metric: 100 * count / len(benchmark.queries) for metric, count in hits.items()}


def compared(root: str, repeats: int) -> dict[str, object]:
    """Seconds of both sides on CIRR val, run in turns, and the largest difference between their metrics."""
    benchmark = load_benchmark("cirr", root, require_images=False)
    queries, gallery = features(len(benchmark.queries), 0), features(len(benchmark.gallery), 1)
    sides = {"full sort": lambda: full_sort(benchmark, queries, gallery)}
    sides["score_features"] = lambda: score_features(benchmark, queries, gallery).metrics
    taken: dict[str, list[float]] = {name: [] for name in sides}
    found = {}
    for _ in range(repeats):
        for name, work in sides.items():
            start = time.perf_counter()
            found[name] = work()
            taken[name].append(round(time.perf_counter() - start, 3))
    middle = {name: statistics.median(values) for name, values in taken.items()}
    slow, fast = found.values()
    return {
        "size": [len(benchmark.queries), len(benchmark.gallery), WIDTH],
        "seconds": taken,
        "full sort / score_features": round(middle["full sort"] / middle["score_features"], 2),
        "largest difference of a metric": max(abs(slow[name] - fast[name]) for name in slow),
    }


def large() -> dict[str, object]:
    """Score CIRCO's size in this process: seconds, and the peak of its memory with the features."""
    names = [str(number) for number in range(GALLERY)]
    asked = [Query(str(n), names[n], ("x",), (names[n + 1], names[n + 2])) for n in range(QUERIES)]
    benchmark = Benchmark("circo", "val", asked, names, {}, False, ("map@5", "recall@5"), {})
    queries, gallery = features(QUERIES, 2), features(GALLERY, 3)
    start = time.perf_counter()
    score_features(benchmark, queries, gallery)
    seconds = round(time.perf_counter() - start, 2)
    return {"size": [QUERIES, GALLERY, WIDTH], "seconds": seconds, "peak bytes": peak_memory()}


def main() -> None:
    """Measure, print and store."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", help="folder of CIRR; its annotations are enough")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--large", action="store_true", help="only the large gallery, printed as JSON")
    args = parser.parse_args()
    if args.large:
        print(json.dumps(large()))
        return
    alone = [sys.executable, __file__, "--large"]
    record = {
        "date": datetime.date.today().isoformat(),
        "machine": machine() | {"threads": thread_share(1)},
        "versions": versions(("numpy", "zscir")),
        "CIRR val": compared(args.root, args.repeats),
        "gallery of CIRCO's size": json.loads(subprocess.run(alone, capture_output=True, check=True).stdout),
    }
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(record, indent=1))


if __name__ == "__main__":
    main()
