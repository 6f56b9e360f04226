"""Evaluators on the real annotation files, against a slow version that reads those files by itself."""

import json

import numpy as np
import pytest
import torch
from benchmark_roots import shared_data

from zscir.benchmarks import load_benchmark
from zscir.retrieval import score_features

WIDTH = 24


def seeded(rows, seed, kind="normal"):
    """float32 features: of any length, or axis vectors whose scores are 0 or 1, so that most images tie."""
    rng = np.random.default_rng(seed)
    if kind == "tied":
        return np.eye(5, dtype=np.float32)[rng.integers(5, size=rows)]
    lengths = rng.uniform(0.5, 3, size=(rows, 1))
    return (rng.normal(size=(rows, WIDTH)) * lengths).astype(np.float32)


def slow_orders(queries, gallery):
    """For each query the gallery rows by falling cosine, equal ones in gallery order."""
    queries, gallery = queries.astype(float), gallery.astype(float)
    queries /= np.sqrt((queries**2).sum(axis=1, keepdims=True))
    gallery /= np.sqrt((gallery**2).sum(axis=1, keepdims=True))
    for query in queries:
        yield np.argsort(-(gallery @ query), kind="stable")


def slow_cirr(root, queries, gallery):
    """Recall and Recall_subset of CIRR val, straight from its files."""
    pairs = json.loads((root / "captions" / "cap.rc2.val.json").read_text())
    names = list(json.loads((root / "image_splits" / "split.rc2.val.json").read_text()))
    row = {name: number for number, name in enumerate(names)}
    hits = {f"recall@{k}": 0 for k in (1, 5, 10, 50)} | {f"recall_subset@{k}": 0 for k in (1, 2, 3)}
    for pair, order in zip(pairs, slow_orders(queries, gallery), strict=True):
        ranked = order[order != row[pair["reference"]]]
        members = [row[name] for name in pair["img_set"]["members"]]
        within = ranked[np.isin(ranked, members)]
        assert len(within) == 5
        for metric in hits:
            kind, k = metric.split("@")
            hits[metric] += row[pair["target_hard"]] in (ranked if kind == "recall" else within)[: int(k)]
    return {metric: 100 * count / len(pairs) for metric, count in hits.items()}


def slow_fashioniq(root, category, names, queries, gallery):
    """Recall of one FashionIQ category; the reference stays."""
    pairs = json.loads((root / "captions" / f"cap.{category}.val.json").read_text())
    row = {name: number for number, name in enumerate(names)}
    hits = {f"recall@{k}": 0 for k in (1, 5, 10, 50)}
    for pair, order in zip(pairs, slow_orders(queries, gallery), strict=True):
        place = int(np.flatnonzero(order == row[pair["target"]])[0])
        for metric in hits:
            hits[metric] += place < int(metric.partition("@")[2])
    return {metric: 100 * count / len(pairs) for metric, count in hits.items()}


@pytest.mark.parametrize("kind", ["normal", "tied"])
def test_cirr_agrees_with_the_slow_version(kind):
    root = shared_data("cirr")
    queries, gallery = seeded(4181, 1, kind), seeded(2297, 2, kind)
    benchmark = load_benchmark("cirr", root, split="val", require_images=False)
    assert (len(benchmark.queries), len(benchmark.gallery)) == (4181, 2297)
    wanted = slow_cirr(root, queries, gallery)
    for features in ((queries, gallery), (torch.from_numpy(queries), torch.from_numpy(gallery))):
        assert score_features(benchmark, *features).metrics == pytest.approx(wanted, abs=1e-9)
    there = score_features(benchmark, queries, gallery, device="cpu").metrics  # the way of a GPU
    assert there == pytest.approx(wanted, abs=1e-9)


@pytest.mark.parametrize("kind", ["normal", "tied"])
@pytest.mark.parametrize(
    ("category", "gallery", "size"), [("dress", "original", 3817), ("shirt", "union", 3089)]
)
def test_fashioniq_agrees_with_the_slow_version(category, gallery, size, kind):
    root = shared_data("fashion-iq")
    options = {"category": category, "gallery": gallery}
    benchmark = load_benchmark("fashioniq", root, split="val", require_images=False, **options)
    names = json.loads((root / "image_splits" / f"split.{category}.val.json").read_text())
    if gallery == "union":
        pairs = json.loads((root / "captions" / f"cap.{category}.val.json").read_text())
        used = {pair[key] for pair in pairs for key in ("candidate", "target")}
        names = [name for name in names if name in used]
    assert benchmark.gallery == names and len(names) == size
    features = seeded(len(benchmark.queries), 3, kind), seeded(size, 4, kind)
    wanted = slow_fashioniq(root, category, names, *features)
    assert score_features(benchmark, *features).metrics == pytest.approx(wanted, abs=1e-9)


def test_captions_are_joined_as_the_papers_do():
    root = shared_data("fashion-iq")
    pairs = json.loads((root / "captions" / "cap.dress.val.json").read_text())
    both = load_benchmark("fashioniq", root, category="dress", require_images=False)
    one = load_benchmark("fashioniq", root, category="dress", captions="second-first", require_images=False)
    for pair, averaged, single in zip(pairs, both.queries, one.queries, strict=True):
        first, second = pair["captions"]
        assert single.text == (f"{second} and {first}",)
        first, second = first.strip(".?, "), second.strip(".?, ")
        assert averaged.text == (f"{first} and {second}", f"{second} and {first}")
        assert (averaged.reference, averaged.targets) == (pair["candidate"], (pair["target"],))
