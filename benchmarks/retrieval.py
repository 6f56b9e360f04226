"""Scoring cached features, and exact search in a million of them, each beside a peer in one run.

python benchmarks/retrieval.py --root /data/cirr --out benchmarks/results/retrieval.json
python benchmarks/retrieval.py --search --out benchmarks/results/search.json       # needs faiss-cpu

Scoring: the slow side sorts the whole gallery for every query (NumPy, float64), as published evaluation code
does; both must agree in every metric. A gallery of CIRCO's size is scored in a process of its own, whose peak
memory is recorded.

Search: the k nearest of a thousand queries among a million unit features, by the flat inner-product index of
faiss and by `zscir.retrieval.search`, in turns, each in a process of its own with AVX2 and nothing newer. The
seconds begin with the features in memory, so they hold what is done to a gallery before its first query.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import records

from zscir.benchmarks import Benchmark, Query, load_benchmark
from zscir.retrieval import score_features
from zscir.retrieval.metrics import NEAR, UnitRows, unit_rows
from zscir.retrieval.search import nearest
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


def faiss_search(queries: np.ndarray, gallery: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Gallery rows and scores [Q, k] by the flat index of faiss."""
    import faiss

    index = faiss.IndexFlatIP(gallery.shape[1])
    index.add(gallery)
    scores, found = index.search(queries, k)
    return found, scores


def our_search(queries: np.ndarray, gallery: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The same by `zscir.retrieval.search`."""
    rows = UnitRows(gallery, range(len(gallery)), "gallery_features")
    unit = unit_rows(queries, range(len(queries)), "query_features")
    found = list(nearest(unit, rows, k, np.full(len(queries), -1)))
    return np.stack([best for best, _ in found]), np.stack([scores for _, scores in found])


SIDES = {"faiss": faiss_search, "zscir": our_search}


def one_side(side: str, folder: Path, k: int) -> dict[str, float]:
    """Search once in this process, and keep what was found."""
    queries, gallery = (np.load(folder / f"{name}.npy") for name in ("queries", "gallery"))
    before = peak_memory()
    start = time.perf_counter()
    found, scores = SIDES[side](queries, gallery, k)
    seconds = round(time.perf_counter() - start, 3)
    np.savez(folder / f"{side}.npz", found=found, scores=scores)
    return {
        "seconds": seconds,
        "peak bytes": peak_memory(),
        "bytes beyond the features": peak_memory() - before,
    }


def searched(rows: int, count: int, k: int, repeats: int) -> dict[str, object]:
    """Both sides in turns: seconds, memory, and how far what they find differs."""
    env = os.environ | records.AVX2 | {"OPENBLAS_CORETYPE": "Haswell", "FAISS_OPT_LEVEL": "AVX2"}
    taken: dict[str, list[dict]] = {side: [] for side in SIDES}
    with tempfile.TemporaryDirectory() as scratch:
        for name, size, seed in (("gallery", rows, 4), ("queries", count, 5)):
            matrix = features(size, seed)
            matrix /= np.linalg.norm(matrix, axis=1, keepdims=True)
            np.save(Path(scratch, f"{name}.npy"), matrix)
            del matrix
        for _ in range(repeats):
            for side in SIDES:
                alone = [sys.executable, __file__, "--side", side, "--folder", scratch, "-k", str(k)]
                done = subprocess.run(alone, env=env, stdout=subprocess.PIPE, check=True)
                taken[side].append(json.loads(done.stdout))
        theirs, ours = (dict(np.load(Path(scratch, f"{side}.npz"))) for side in SIDES)
    middle = {side: statistics.median(one["seconds"] for one in runs) for side, runs in taken.items()}
    peak = {side: max(one["peak bytes"] for one in runs) for side, runs in taken.items()}
    other = theirs["found"] != ours["found"]
    return {
        "size": [count, rows, WIDTH, k],
        "runs": taken,
        "faiss / zscir, seconds": round(middle["faiss"] / middle["zscir"], 2),
        "faiss / zscir, peak bytes": round(peak["faiss"] / peak["zscir"], 2),
        "places with another image": int(other.sum()),
        "of these with cosines further apart than counts as equal (twice 1e-6)": int(
            (np.abs(theirs["scores"] - ours["scores"])[other] > 2 * NEAR).sum()
        ),
        "largest difference of a cosine": float(np.abs(theirs["scores"] - ours["scores"]).max()),
    }


def main() -> None:
    """Measure, print and store."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", help="folder of CIRR; its annotations are enough")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--large", action="store_true", help="only the large gallery, printed as JSON")
    parser.add_argument("--search", action="store_true", help="exact search beside faiss")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--queries", type=int, default=1000)
    parser.add_argument("-k", type=int, default=50)
    parser.add_argument("--side", choices=SIDES, help="only this side, printed as JSON")
    parser.add_argument("--folder", type=Path, help="where its features lie")
    args = parser.parse_args()
    if args.side:
        print(json.dumps(one_side(args.side, args.folder, args.k)))
        return
    if args.search:
        record = {
            "what": "exact search in a gallery of a million features, beside the flat index of faiss",
            "date": records.today(),
            "machine": machine() | {"threads": thread_share(1), "instruction_set": "AVX2"},
            "versions": versions(("numpy", "faiss-cpu", "zscir")),
            "search": searched(args.rows, args.queries, args.k, args.repeats),
        }
        records.write(record, args.out)
        return
    if args.large:
        print(json.dumps(large()))
        return
    alone = [sys.executable, __file__, "--large"]
    record = {
        "date": records.today(),
        "machine": machine() | {"threads": thread_share(1)},
        "versions": versions(("numpy", "zscir")),
        "CIRR val": compared(args.root, args.repeats),
        "gallery of CIRCO's size": json.loads(subprocess.run(alone, capture_output=True, check=True).stdout),
    }
    records.write(record, args.out)


if __name__ == "__main__":
    main()
