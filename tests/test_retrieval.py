"""Ranks, metrics and statistics against slow independent versions; encoding against the backbone itself."""

import os
import shutil
import subprocess
import sys
import tracemalloc
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import scipy.stats
import torch
import torch.nn.functional as F
from benchmark_roots import shared_data, write_cirr, write_fashioniq
from PIL import Image
from slow_versions import slow_metrics, slow_ranking

from zscir.backbone.clip import make_backbone
from zscir.backbone.weights import build_model
from zscir.benchmarks import Benchmark, Query, load_benchmark
from zscir.inversion import InversionNetwork
from zscir.pocket import make_pocket
from zscir.retrieval import (
    compare,
    compose_prompt,
    difference,
    evaluate,
    metrics,
    retrieve,
    score_features,
    search,
)
from zscir.retrieval.comparison import average
from zscir.retrieval.features import gallery_features
from zscir.retrieval.queries import query_features

ALL_METRICS = ("recall@1", "recall@5", "recall@10", "recall@50", "map@2", "map@5", "map@50")
ALL_METRICS += ("recall_all@3", "precision@2")


def small_benchmark(rng, queries=30, images=23, answers=3, exclude=True, subset=False, group="a"):
    """Random queries; the gallery has fewer images than the largest k."""
    gallery = [f"i{number}" for number in range(images)]
    asked = []
    for number in range(queries):
        names = [gallery[i] for i in rng.permutation(images)]
        targets = tuple(names[1 : 2 + rng.integers(answers)])
        asked.append(
            Query(
                id=f"{group}-{number}",
                reference=names[0],
                text=("x",),
                targets=targets,
                subset=tuple(rng.permutation([targets[0], *names[-4:]])) if subset else (),
                group=f"{group}{number % 2}",
            )
        )
    names = ALL_METRICS + (("recall_subset@1", "recall_subset@2", "recall_subset@3") if subset else ())
    return Benchmark(
        "cirr", "val", asked, gallery, {}, exclude, names, {"benchmark": "cirr", "dropped": "none"}
    )


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("exclude", [True, False])
@pytest.mark.parametrize("tied", [True, False])
def test_metrics_equal_the_slow_version(seed, exclude, tied, monkeypatch):
    rng = np.random.default_rng(seed)
    benchmark = small_benchmark(rng, exclude=exclude, subset=True)
    if tied:  # axis vectors: every score is 0 or 1, so nearly all images tie
        queries, gallery = np.eye(4)[rng.integers(4, size=30)], np.eye(4)[rng.integers(4, size=23)]
    else:
        queries, gallery = rng.normal(size=(30, 8)), rng.normal(size=(23, 8)) * rng.uniform(1, 9, (23, 1))
    scores = score_features(benchmark, queries, gallery)
    assert scores.metrics == pytest.approx(slow_metrics(benchmark, queries, gallery))
    for number, query in enumerate(benchmark.queries):
        names = slow_ranking(benchmark, queries, gallery, number)
        assert scores.ranks[number] == min(names.index(target) for target in query.targets)
        within = [name for name in names if name in query.subset]
        assert scores.subset_ranks[number] == within.index(query.targets[0])
    monkeypatch.setattr(metrics, "CHUNK_BYTES", 8 * 23 * 7)  # seven queries at a time
    again = score_features(benchmark, torch.tensor(queries), torch.tensor(gallery))
    assert again.metrics == scores.metrics
    assert np.array_equal(again.ranks, scores.ranks)


def test_ties_are_broken_by_gallery_order_and_counted():
    gallery = np.array([[1.0, 0], [0, 1], [0, 2], [1, 1]])
    queries = np.array([[0, 1.0], [0, 1], [1, 1]])
    asked = [
        Query("0", "i0", ("x",), ("i1",)),
        Query("1", "i0", ("x",), ("i2",)),
        Query("2", "i0", ("x",), ("i3",)),
    ]
    names = ["i0", "i1", "i2", "i3"]
    benchmark = Benchmark("cirr", "val", asked, names, {}, True, ("recall@1",), {})
    scores = score_features(benchmark, queries, gallery)
    assert scores.ranks.tolist() == [0, 1, 0]
    assert scores.protocol["ties"] == 2
    both = [Query("0", "i0", ("x",), ("i1", "i2"))]
    benchmark = Benchmark("circo", "val", both, names, {}, False, ("map@5",), {})
    assert score_features(benchmark, queries[:1], gallery).protocol["ties"] == 0


def test_near_ties_are_broken_by_gallery_order_and_counted():
    rng = np.random.default_rng(0)
    benchmark = small_benchmark(rng, queries=200, images=40, exclude=False, subset=True)
    queries = rng.normal(size=(200, 8))
    first = rng.normal(size=(20, 8))
    gallery = np.concatenate([first, first + 2e-7 * rng.normal(size=(20, 8))])  # every image twice
    scores = score_features(benchmark, queries, gallery)
    assert scores.metrics == pytest.approx(slow_metrics(benchmark, queries, gallery))
    assert scores.protocol["ties"] < scores.protocol["near ties"] > 150
    noisy = gallery + 1e-7 * rng.normal(size=gallery.shape)
    again = score_features(benchmark, queries, noisy)
    assert np.array_equal(again.ranks, scores.ranks) and again.metrics == scores.metrics
    for number in range(5):
        found = retrieve(benchmark, queries, noisy, number, k=40)
        assert found.ids == slow_ranking(benchmark, queries, gallery, number)
        assert found.rank == found.ids.index(benchmark.queries[number].targets[0]) + 1


def test_a_tie_with_the_removed_reference_does_not_count():
    names = ["i0", "i1", "i2"]
    asked = [Query("0", "i0", ("x",), ("i1",))]
    benchmark = Benchmark("cirr", "val", asked, names, {}, True, ("recall@1",), {})
    scores = score_features(benchmark, np.ones((1, 2)), np.array([[1.0, 1], [1, 1], [1, 0]]))
    assert scores.metrics["recall@1"] == 100
    assert scores.protocol["ties"] == 0


def test_one_image_gallery_and_k_beyond_it():
    asked = [Query("0", "i0", ("x",), ("i0",))]
    benchmark = Benchmark(
        "fashioniq", "val", asked, ["i0"], {}, False, ("recall@1", "recall@50", "map@50"), {}
    )
    scores = score_features(benchmark, -np.ones((1, 3)), np.ones((1, 3)))
    assert scores.metrics == {"recall@1": 100, "recall@50": 100, "map@50": 100}
    assert retrieve(benchmark, np.ones((1, 3)), np.ones((1, 3)), 0, k=50).ids == ["i0"]


def test_equal_features_tie_whatever_the_scale():
    rng = np.random.default_rng(0)
    row = rng.normal(size=97)
    gallery = np.stack([row * scale for scale in rng.uniform(0.1, 10, size=1003)])
    asked = [Query("0", "i1", ("x",), ("i0",)), Query("1", "i0", ("x",), ("i1002",))]
    names = [f"i{number}" for number in range(1003)]
    benchmark = Benchmark("circo", "val", asked, names, {}, False, ("recall@1",), {})
    assert score_features(benchmark, rng.normal(size=(2, 97)), gallery).ranks.tolist() == [0, 1002]


@pytest.mark.parametrize(
    ("queries", "gallery", "message"),
    [
        (np.ones((29, 8)), np.ones((23, 8)), "query_features must be a matrix of 30 rows"),
        (np.ones((30, 8)), np.ones((23, 8, 1)), "gallery_features must be a matrix of 23 rows"),
        (np.ones((30, 8)), np.ones((23, 7)), "query features are 8 wide, gallery features 7"),
        (np.zeros((30, 8)), np.ones((23, 8)), "30 rows that are zero or not finite, first 'a-0'"),
        (np.ones((30, 8)), np.full((23, 8), np.nan), "23 rows that are zero or not finite, first 'i0'"),
        (np.ones((30, 8)), np.full((23, 8), np.inf), "first 'i0'"),
    ],
)
def test_wrong_features_are_named(queries, gallery, message):
    benchmark = small_benchmark(np.random.default_rng(0))
    with pytest.raises(ValueError, match=message):
        score_features(benchmark, queries, gallery)


def test_unknown_metric_and_missing_subset():
    benchmark = small_benchmark(np.random.default_rng(0))
    benchmark.metrics = ("accuracy@5",)
    with pytest.raises(ValueError, match="recall@k, recall_subset@k, map@k, recall_all@k, precision@k"):
        score_features(benchmark, np.ones((30, 8)), np.ones((23, 8)))
    benchmark.metrics = ("recall_subset@1",)
    with pytest.raises(ValueError, match="needs a subset"):
        score_features(benchmark, np.ones((30, 8)), np.ones((23, 8)))


def test_test_splits_point_at_the_submission(tmp_path):
    benchmark = load_benchmark("cirr", write_cirr(tmp_path, "test1"), "test1")
    with pytest.raises(ValueError, match="write_submission"):
        score_features(benchmark, np.ones((4, 2)), np.ones((12, 2)))
    with pytest.raises(ValueError, match="write_submission"):
        evaluate(None, benchmark, "image")  # refused before the backbone is touched


def test_memory_is_bounded_by_the_chunk():
    rng = np.random.default_rng(0)
    queries, gallery = rng.normal(size=(1500, 4)), rng.normal(size=(40_000, 4))
    targets, none = rng.integers(40_000, size=(1500, 1)), np.full(1500, -1)
    tracemalloc.start()
    metrics.rank_targets(queries, gallery, targets, none, np.empty((1500, 0), dtype=np.int64))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 * metrics.CHUNK_BYTES < 8 * 1500 * 40_000


@pytest.mark.parametrize("k", [1, 3, 10, 100])
def test_top_k_equals_a_stable_sort(k):
    scores = np.random.default_rng(k).integers(5, size=40).astype(np.float32)
    scores[[3, 20]] = -np.inf
    wanted = sorted((i for i in range(40) if i not in (3, 20)), key=lambda i: (-scores[i], i))[:k]
    assert metrics.top_k(scores, k).tolist() == wanted
    with pytest.raises(ValueError, match="k=0"):
        metrics.top_k(scores, 0)


def all_cosines(queries, gallery, excluded):
    scores = (queries @ gallery.T).astype(np.float32)
    hidden = np.flatnonzero(excluded >= 0)
    scores[hidden, excluded[hidden]] = -np.inf
    return scores


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize(("k", "kept"), [(1, 2**23), (7, 2**23), (7, 40), (500, 2**23)])
def test_search_finds_what_sorting_all_finds(monkeypatch, kind, k, kept):
    """In chunks of the gallery and blocks of queries, with equal and nearly equal images, of any length."""
    monkeypatch.setattr(search, "ROWS", 64)
    monkeypatch.setattr(search, "QUERIES", 5)
    monkeypatch.setattr(search, "KEPT", kept)
    rng = np.random.default_rng(k)
    gallery = rng.normal(size=(300, 16))
    gallery[rng.integers(300, size=90)] = gallery[7]  # one picture many times
    gallery[200:240] = gallery[40:80] * (1 + 1e-6 * rng.normal(size=(40, 16)))
    gallery *= 10.0 ** rng.integers(-2, 3, size=(300, 1))
    queries = np.concatenate([gallery[[7, 7, 45]], rng.normal(size=(9, 16))])
    gallery, excluded = gallery.astype(kind), np.where(np.arange(12) % 2, -1, np.arange(12) * 20 + 7)
    rows = metrics.UnitRows(gallery, range(300), "gallery_features")
    unit = metrics.unit_rows(queries, range(12), "query_features")
    wanted = all_cosines(unit, rows[:], excluded)
    found = list(search.nearest(unit, rows, k, excluded))
    assert len(found) == 12
    for (best, scores), row in zip(found, wanted, strict=True):
        assert best.tolist() == metrics.top_k(row, k).tolist() and np.array_equal(scores, row[best])


def test_search_with_lengths_beyond_single_precision():
    rng = np.random.default_rng(0)
    gallery = rng.normal(size=(50, 8)).astype(np.float32)
    tiny = gallery * np.float32(1e-35)
    unit = metrics.unit_rows(rng.normal(size=(3, 8)), range(3), "query_features")
    nobody = np.full(3, -1)
    both = (metrics.UnitRows(rows, range(50), "gallery_features") for rows in (gallery, tiny))
    for (best, _), (again, _) in zip(*(search.nearest(unit, rows, 5, nobody) for rows in both), strict=True):
        assert best.tolist() == again.tolist()


def test_search_and_ranks_hold_no_copy_of_the_gallery():
    gallery = np.random.default_rng(0).normal(size=(100_000, 256)).astype(np.float32)
    queries, none = gallery[:40].astype(np.float64), np.full(40, -1)
    queries /= np.linalg.norm(queries, axis=1, keepdims=True)
    tracemalloc.start()
    rows = metrics.UnitRows(gallery, range(100_000), "gallery_features")
    assert [best[0] for best, _ in search.nearest(queries, rows, 10, none)] == list(range(40))
    ranks = metrics.rank_targets(queries, rows, np.arange(40)[:, None], none, np.empty((40, 0), np.int64))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (ranks.targets == 0).all() and peak < 2.2 * metrics.CHUNK_BYTES < 8 * gallery.size


# --- statistics -----------------------------------------------------------------------------------


def random_scores(seed=0, queries=200, group="a", noise=0.5):
    """Scores of noisy features of the targets, the same queries for the same `group`."""
    rng = np.random.default_rng(len(group))
    benchmark = small_benchmark(rng, queries=queries, images=60, group=group)
    gallery = rng.normal(size=(60, 16))
    rng = np.random.default_rng(seed)
    targets = [benchmark.row[query.targets[0]] for query in benchmark.queries]
    return score_features(benchmark, gallery[targets] + noise * rng.normal(size=(queries, 16)), gallery)


@pytest.mark.parametrize("metric", ["recall@1", "map@5"])
def test_interval_agrees_with_scipy(metric):
    scores = random_scores(noise=2)
    low, high = scores.interval(metric)
    wanted = scipy.stats.bootstrap(
        (scores.values[metric],), np.mean, n_resamples=5000, method="percentile", rng=np.random.default_rng(1)
    ).confidence_interval
    assert (low, high) == pytest.approx((100 * wanted.low, 100 * wanted.high), abs=0.8)
    assert low < scores.metrics[metric] < high
    assert scores.interval(metric) == (low, high)
    with pytest.raises(ValueError, match="recall@1"):
        scores.interval("recall@2")


def test_difference_is_paired():
    worse, better = random_scores(1, noise=2.5), random_scores(2, noise=2)
    found = difference(better, worse, "recall@1")
    assert found.difference == pytest.approx(better.metrics["recall@1"] - worse.metrics["recall@1"])
    assert found.low < found.difference < found.high
    gain = better.values["recall@1"] - worse.values["recall@1"]
    exact = scipy.stats.binomtest(int((gain > 0).sum()), int((gain != 0).sum())).pvalue  # McNemar's test
    assert found.p == pytest.approx(exact, abs=0.02)
    turned = difference(worse, better, "recall@1")
    assert turned.difference == pytest.approx(-found.difference)
    same = difference(better, better, "map@5")
    assert same == (0, 0, 0, 1)
    with pytest.raises(ValueError, match="same queries"):
        difference(better, random_scores(queries=150), "recall@1")


def test_average_is_the_unweighted_mean_of_categories():
    parts = [random_scores(1, 50, "dress", noise=2), random_scores(2, 300, "shirt", noise=1)]
    mean = average(parts)
    for metric in ALL_METRICS:
        wanted = (parts[0].metrics[metric] + parts[1].metrics[metric]) / 2
        assert mean.metrics[metric] == pytest.approx(wanted)
    low, high = mean.interval("recall@1")
    widths = [np.diff(part.interval("recall@1"))[0] for part in parts]
    assert low < mean.metrics["recall@1"] < high
    assert high - low == pytest.approx(np.hypot(*widths) / 2, rel=0.1)  # independent halves
    assert set(mean.per_group()["group"]) == {"dress0", "dress1", "shirt0", "shirt1"}
    assert mean.protocol["ties"] == mean.protocol["near ties"] == 0
    other = average([random_scores(3, 50, "dress", noise=2), random_scores(4, 300, "shirt", noise=1)])
    change = difference(mean, other, "recall@1")
    assert change.difference == pytest.approx(mean.metrics["recall@1"] - other.metrics["recall@1"])
    for wrong, message in [([], "empty"), (parts[:1] * 2, "twice"), ([mean], "averaged again")]:
        with pytest.raises(ValueError, match=message):
            average(wrong)


def test_scores_of_each_group():
    scores = random_scores(noise=2)
    table = scores.per_group()
    assert table["n"].sum() == 200
    assert list(table.columns) == ["group", "n", *ALL_METRICS]
    assert np.average(table["recall@1"], weights=table["n"]) == pytest.approx(scores.metrics["recall@1"])


def test_a_group_can_be_scored_alone():
    scores, other = random_scores(1, noise=2), random_scores(1, noise=1)
    row = scores.per_group().iloc[0]
    part = scores.part(row["group"])
    assert len(part.query_ids) == row["n"] and set(part.groups) == {row["group"]}
    assert part.metrics == pytest.approx({metric: row[metric] for metric in ALL_METRICS})
    assert part.protocol["group"] == row["group"] and "group" not in scores.protocol
    gain = difference(part, other.part(row["group"]), "recall@1")
    assert gain.difference == pytest.approx(row["recall@1"] - other.per_group().iloc[0]["recall@1"])
    mean = average([random_scores(2, 50, "dress"), random_scores(3, 300, "shirt")])
    assert mean.part("shirt1").interval("recall@1")[0] <= mean.part("shirt1").metrics["recall@1"]
    with pytest.raises(ValueError, match=f"group is 'sock'; legal: {row['group']}, "):
        scores.part("sock")


def test_dropped_queries_show_in_scores(tmp_path):
    root = write_cirr(tmp_path)
    (root / "dev" / "dev-1-0-img0.png").unlink()
    benchmark = load_benchmark("cirr", root, allow_missing=True)
    scores = score_features(benchmark, np.ones((2, 2)), np.ones((11, 2)))
    assert scores.protocol["dropped"].startswith("2 of 4 queries")


@pytest.mark.thorough
def test_ranks_are_the_same_with_other_instructions_and_threads(tmp_path):
    avx2 = {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2", "MKL_ENABLE_INSTRUCTIONS": "AVX2"}
    own = {name: value for name, value in os.environ.items() if name not in avx2}
    pocket, found = make_pocket("tiny"), []
    for number, settings in enumerate((avx2 | {"OMP_NUM_THREADS": "1"}, {"OMP_NUM_THREADS": "2"})):
        out, artifacts = tmp_path / f"{number}.npz", tmp_path / f"artifacts {number}"
        command = [sys.executable, Path(__file__).with_name("ranks_worker.py"), out]
        environment = own | settings | {"ZSCIR_ARTIFACTS": str(artifacts)}
        subprocess.run([*command, pocket.root("cirr"), pocket.root("circo")], env=environment, check=True)
        found.append(dict(np.load(out)))
    assert len(found[0]) == 16 and all(np.array_equal(found[0][name], found[1][name]) for name in found[0])


# --- real annotations -------------------------------------------------------------------------------


def test_real_cirr_perfect_and_chance():
    benchmark = load_benchmark("cirr", shared_data("cirr"), require_images=False)
    rng = np.random.default_rng(0)
    gallery = rng.normal(size=(2297, 16))
    targets = [benchmark.row[query.targets[0]] for query in benchmark.queries]
    perfect = score_features(benchmark, gallery[targets], gallery)
    assert set(perfect.metrics.values()) == {100.0}
    assert list(perfect.metrics) == list(benchmark.metrics)
    chance = score_features(benchmark, rng.normal(size=(4181, 16)), gallery)
    assert chance.metrics["recall_subset@1"] == pytest.approx(20, abs=3)
    assert chance.metrics["recall@50"] == pytest.approx(100 * 50 / 2296, abs=1)
    same_as_reference = [benchmark.row[query.reference] for query in benchmark.queries]
    near = score_features(benchmark, gallery[same_as_reference], gallery)
    assert near.metrics["recall@1"] < 5  # the reference itself is not in the ranking


def test_real_fashioniq_keeps_the_reference():
    benchmark = load_benchmark("fashioniq", shared_data("fashion-iq"), category="dress", require_images=False)
    gallery = np.random.default_rng(0).normal(size=(3817, 16))
    references = gallery[[benchmark.row[query.reference] for query in benchmark.queries]]
    assert score_features(benchmark, references, gallery).metrics["recall@1"] == 0
    assert retrieve(benchmark, references, gallery, 7, 1).ids == [benchmark.queries[7].reference]


# --- composing and encoding -------------------------------------------------------------------------


@pytest.fixture(scope="module")
def backbone():
    vision = {"layers": 1, "width": 32, "head_width": 16, "patch_size": 16, "image_size": 32}
    text = {"context_length": 24, "width": 32, "heads": 2, "layers": 1, "vocab_size": 49408}
    config = {"model_cfg": {"embed_dim": 16, "vision_cfg": vision, "text_cfg": text}}
    return make_backbone("tiny", build_model(config["model_cfg"]), config, device="cpu")


@pytest.fixture
def inversion():
    torch.manual_seed(0)
    return SimpleNamespace(phi=InversionNetwork(16, 32), config={"tau": 0.3})


@pytest.fixture(autouse=True)
def artifacts(tmp_path, monkeypatch):
    monkeypatch.setenv("ZSCIR_ARTIFACTS", str(tmp_path / "artifacts"))


def encoded(backbone, benchmark, name):
    with Image.open(benchmark.image_path(name)) as image:
        return backbone.encode_images(backbone.preprocess(image)[None])[0]


@pytest.mark.parametrize(
    ("caption", "style", "prompt"),
    [
        ("is red", "pic2word", "a photo of * , is red"),
        ("is red", "searle", "a photo of * that is red"),
        ("a 5* {hotel}", "{caption} like *", "a 5  {hotel} like *"),
    ],
)
def test_compose_prompt(caption, style, prompt):
    assert compose_prompt(caption, style) == prompt


@pytest.mark.parametrize(
    "style", ["searl", "* {caption} *", "a photo of *", "{caption}", "* {caption} {caption}"]
)
def test_compose_prompt_refuses(style):
    with pytest.raises(ValueError, match="'pic2word', 'searle'"):
        compose_prompt("is red", style)


def test_gallery_features_are_stored_by_content(tmp_path, backbone, monkeypatch):
    root = write_cirr(tmp_path / "one")
    benchmark = load_benchmark("cirr", root)
    features = gallery_features(backbone, benchmark)
    assert features.shape == (12, 16)
    assert features.dtype == torch.float32
    assert torch.allclose(features[5], encoded(backbone, benchmark, benchmark.gallery[5]), atol=1e-6)
    moved = shutil.copytree(root, tmp_path / "two")
    calls = []
    encode = backbone.encode_images
    monkeypatch.setattr(
        backbone, "encode_images", lambda pixels, **how: calls.append(len(pixels)) or encode(pixels, **how)
    )
    assert torch.equal(gallery_features(backbone, load_benchmark("cirr", moved)), features)
    assert calls == []
    shutil.copy(moved / "dev" / "dev-0-0-img0.png", moved / "dev" / "dev-0-1-img0.png")
    changed = gallery_features(backbone, load_benchmark("cirr", moved))
    assert calls == [12]
    assert torch.allclose(changed[1], features[0], atol=1e-6)


def test_query_features_of_every_method(tmp_path, backbone, inversion):
    benchmark = load_benchmark("fashioniq", write_fashioniq(tmp_path))
    query = benchmark.queries[1]
    image = encoded(backbone, benchmark, query.reference)
    texts = backbone.encode_texts(query.text)  # [2, 16], both orders
    text = F.normalize(texts.mean(dim=0), dim=-1)
    with torch.no_grad():
        word = inversion.phi.eval()(image[None])
        prompts = [f"a photo of * that {wording}" for wording in query.text]
        composed = backbone.encode_composed(prompts, word.expand(2, -1))
    wanted = {
        "image": image,
        "text": text,
        "image+text": F.normalize(image + text, dim=-1),
        "inversion": F.normalize(composed.mean(dim=0), dim=-1),
    }
    inversion.phi.train()  # dropout must not reach the evaluation
    for method, feature in wanted.items():
        found = query_features(backbone, benchmark, method, inversion, prompt="searle")
        assert found.shape == (3, 16)
        assert not found.requires_grad
        assert torch.allclose(found[1], feature, atol=1e-5), method


def test_evaluate_scores_and_records_the_protocol(tmp_path, backbone, inversion):
    benchmark = load_benchmark("cirr", write_cirr(tmp_path))
    scores = evaluate(backbone, benchmark, "inversion", inversion)
    queries = query_features(backbone, benchmark, "inversion", inversion)
    again = score_features(benchmark, queries, gallery_features(backbone, benchmark))
    assert scores.metrics == again.metrics
    assert scores.protocol["prompt"] == "a photo of * , {caption}"
    assert scores.protocol["method"] == "inversion"
    assert backbone.fingerprint in scores.protocol["backbone"]
    assert scores.protocol["reference"] == "removed"
    assert "inversion" in scores.protocol
    table = compare(
        {method: evaluate(backbone, benchmark, method) for method in ("image", "text", "image+text")}
    )
    assert list(table.columns) == list(benchmark.metrics)


def test_wrong_methods_are_named_before_encoding(tmp_path):
    benchmark = load_benchmark("cirr", write_cirr(tmp_path))
    with pytest.raises(
        ValueError, match="method is 'mean'; legal: image, text, image\\+text, slerp, inversion"
    ):
        evaluate(None, benchmark, "mean")
    with pytest.raises(ValueError, match="cleaning is 'soap'; legal: none, strip, lower"):
        evaluate(None, benchmark, "text", cleaning="soap")
    with pytest.raises(ValueError, match="preprocessing is 'crop'"):
        evaluate(None, benchmark, "text", preprocessing="crop")
    with pytest.raises(ValueError, match="weight=2"):
        evaluate(None, benchmark, "slerp", weight=2)
    with pytest.raises(ValueError, match="needs inversion="):
        evaluate(None, benchmark, "inversion")


def test_broken_and_missing_images_are_named(tmp_path, backbone):
    root = write_cirr(tmp_path)
    path = root / "dev" / "dev-0-4-img0.png"
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(
        ValueError, match=r"1 images that cannot be read: \S+dev-0-4-img0.png \(the file is cut"
    ):
        load_benchmark("cirr", root)
    with pytest.raises(ValueError, match="dev-0-4-img0.png cannot be decoded"):
        gallery_features(backbone, load_benchmark("cirr", root, require_images=False))
    path.unlink()
    with pytest.raises(FileNotFoundError, match="dev-0-4-img0.png"):
        gallery_features(backbone, load_benchmark("cirr", root, require_images=False))
    assert not list((tmp_path / "artifacts").rglob("*.npy"))


def test_palette_images_with_transparency_do_not_warn(tmp_path, backbone, recwarn):
    root = write_cirr(tmp_path)
    palette = Image.new("P", (40, 40))
    palette.putpalette([255, 0, 0, 0, 0, 255])
    palette.save(root / "dev" / "dev-0-0-img0.png", transparency=b"\x80\xff")
    assert gallery_features(backbone, load_benchmark("cirr", root)).isfinite().all()
    assert not [str(warning.message) for warning in recwarn if "ransparency" in str(warning.message)]


# --- looking and submitting -------------------------------------------------------------------------


def test_retrieve_follows_the_protocol():
    rng = np.random.default_rng(0)
    queries, gallery = rng.normal(size=(30, 8)), rng.normal(size=(23, 8))
    for exclude in (True, False):
        benchmark = small_benchmark(np.random.default_rng(1), exclude=exclude)
        for number in (0, 29):
            wanted = slow_ranking(benchmark, queries, gallery, number)
            found = retrieve(benchmark, queries, gallery, number, k=100)
            assert found.ids == wanted
            assert (np.diff(found.scores) <= 0).all()
            assert retrieve(benchmark, queries, gallery, number, k=3).ids == wanted[:3]
    with pytest.raises(ValueError, match="query_index=30 is not one of 0 to 29"):
        retrieve(benchmark, queries, gallery, 30)
    with pytest.raises(ValueError, match="k=0"):
        retrieve(benchmark, queries, gallery, 0, k=0)
