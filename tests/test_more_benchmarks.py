"""GeneCIS, COCO composition, ImageNet-R domains, CIRR-extended; and images that are not whole."""

import json

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from benchmark_roots import (
    cirr_entries,
    write_cirr,
    write_composition,
    write_domains,
    write_genecis,
    write_image,
    write_json,
)
from PIL import Image
from slow_versions import slow_metrics
from test_retrieval import artifacts, backbone, inversion  # noqa: F401  (fixtures)

from zscir.benchmarks import Region, load_benchmark
from zscir.benchmarks.images import broken_images
from zscir.retrieval import evaluate, retrieve, score_features
from zscir.retrieval.features import gallery_features
from zscir.retrieval.queries import query_features


def test_genecis_ranks_the_candidates_only(tmp_path):
    benchmark = load_benchmark("genecis", write_genecis(tmp_path), task="change_object")
    query = benchmark.queries[2]
    assert (query.reference, query.targets) == ("000000000102", ("000000000103",))
    assert sorted(query.subset) == [f"{number:012d}" for number in (103, 104, 105, 106)]
    assert query.text == ("color 2",) and query.group == "change_object"
    assert benchmark.metrics == ("recall@1", "recall@2", "recall@3")
    assert benchmark.protocol["size"] == "6 queries, 9 gallery images (published: 1,960)"
    rng = np.random.default_rng(0)
    queries, gallery = rng.normal(size=(6, 4)), rng.normal(size=(len(benchmark.gallery), 4))
    hits = dict.fromkeys(benchmark.metrics, 0)
    for number, one in enumerate(benchmark.queries):
        rows = {name: gallery[benchmark.row[name]] for name in one.subset}
        cosine = {n: row @ queries[number] / np.linalg.norm(row) for n, row in rows.items()}
        order = sorted(cosine, key=cosine.get, reverse=True)
        for metric in hits:
            hits[metric] += one.targets[0] in order[: int(metric[-1])]
        found = retrieve(benchmark, queries, gallery, number)
        assert found.ids == order and found.rank == 1 + order.index(one.targets[0])
    scores = score_features(benchmark, queries, gallery)
    assert scores.metrics == pytest.approx({metric: 100 * count / 6 for metric, count in hits.items()})


def test_equal_scores_do_not_flatter_on_genecis(tmp_path):
    benchmark = load_benchmark("genecis", write_genecis(tmp_path, count=400), task="change_object")
    ones = np.ones((400, 3)), np.ones((len(benchmark.gallery), 3))
    scores = score_features(benchmark, *ones)
    assert scores.metrics["recall@1"] == pytest.approx(25, abs=7)
    assert scores.protocol["ties"] == 400
    again = load_benchmark("genecis", tmp_path, task="change_object")
    assert again.gallery == benchmark.gallery and again.queries == benchmark.queries


def test_attribute_crops_are_widened_and_squared(tmp_path):
    benchmark = load_benchmark("genecis", write_genecis(tmp_path, "focus_attribute"), task="focus_attribute")
    name = benchmark.queries[0].reference
    assert name == "100:4,5,20,10"
    assert benchmark.image_path(name).name == "100.jpg"
    with Image.open(benchmark.image_path(name)) as whole:
        # left = max(0, 4 - 14) = 0, right = min(48, 34); top = max(0, 5 - 7) = 0, bottom = 17
        cut = whole.convert("RGB").crop((0, 0, 34, 17))
    shown = benchmark.open_image(name)
    assert shown.size == (34, 34)
    assert np.array_equal(np.asarray(shown)[8:25], np.asarray(cut))
    assert not np.asarray(shown)[:8].any()


def test_crops_are_encoded_not_whole_files(tmp_path, backbone):  # noqa: F811
    benchmark = load_benchmark("genecis", write_genecis(tmp_path, "focus_attribute"), task="focus_attribute")
    scores = evaluate(backbone, benchmark, "image")
    assert scores.protocol["gallery"] == "the query's own candidates, shuffled"
    gallery = gallery_features(backbone, benchmark)
    image = benchmark.open_image(benchmark.gallery[3])
    wanted = backbone.encode_images(backbone.preprocess(image)[None])[0]
    assert torch.allclose(gallery[3], wanted, atol=1e-6)
    assert evaluate(backbone, benchmark, "text").protocol["cleaning"] == "none"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda e: e[1].pop("condition"), "without the key 'condition': entry 1"),
        (lambda e: e[1].update(reference={"image_id": 3}), "whose 'reference' is not a 'val_image_id'"),
        (lambda e: e[1].update(gallery=[]), "whose 'gallery' is not a list of a 'val_image_id'"),
    ],
)
def test_malformed_genecis(tmp_path, change, message):
    path = write_genecis(tmp_path) / "genecis" / "change_object.json"
    entries = json.loads(path.read_text())
    change(entries)
    write_json(path, entries)
    with pytest.raises(ValueError, match=message):
        load_benchmark("genecis", tmp_path, task="change_object")


def test_composition_asks_with_regions(tmp_path, backbone, inversion):  # noqa: F811
    benchmark = load_benchmark("composition", write_composition(tmp_path))
    first, second = benchmark.queries
    assert first.text == ("dog and bench and kite",) and second.text == ("cat",)
    assert first.targets == ("000000000139.jpg",) and first.group == "dog"
    assert first.reference not in benchmark.gallery and not benchmark.exclude_reference
    assert benchmark.image_path(first.reference).parent.name == "val2017_masked"
    region = benchmark.open_image(first.reference)
    assert region.size == (20, 30)
    features = query_features(backbone, benchmark, "image")
    wanted = backbone.encode_images(backbone.preprocess(region)[None])[0]
    assert torch.allclose(features[0], wanted, atol=1e-6)
    scores = evaluate(backbone, benchmark, "inversion", inversion)
    assert scores.protocol["prompt"] == "a photo of * and {caption}"
    assert list(scores.metrics) == [f"recall@{k}" for k in (1, 5, 10, 50, 100)]
    other = evaluate(backbone, benchmark, "inversion", inversion, prompt="searle")
    assert other.protocol["prompt"] == "a photo of * that {caption}"


def test_malformed_composition(tmp_path):
    path = write_composition(tmp_path) / "coco" / "coco_eval.csv"
    text = path.read_text()
    path.write_text(text.replace("0.0;0.0;30.0;30.0", "0.0;0.0;30.0"))
    with pytest.raises(ValueError, match="region of four numbers: line 3"):
        load_benchmark("composition", tmp_path)
    path.write_text(text.replace("query_class", "class"))
    with pytest.raises(ValueError, match="columns that coco_eval.csv lacks: query_class"):
        load_benchmark("composition", tmp_path)


def test_domains_have_all_images_of_a_class_as_answers(tmp_path, backbone, inversion):  # noqa: F811
    benchmark = load_benchmark("domains", write_domains(tmp_path))
    assert [(q.group, q.text, len(q.targets)) for q in benchmark.queries] == [
        ("cartoon", ("cartoon",), 3),
        ("toy", ("toy",), 1),
    ]
    assert benchmark.protocol["without"].startswith("6 queries")
    assert len(benchmark.gallery) == 5
    rng = np.random.default_rng(0)
    features = rng.normal(size=(2, 6)), rng.normal(size=(5, 6))
    benchmark.metrics = ("recall_all@1", "recall_all@2", "precision@2", "precision@10")
    wanted = slow_metrics(benchmark, *features)
    assert score_features(benchmark, *features).metrics == pytest.approx(wanted)
    one = load_benchmark("domains", tmp_path, domain="toy")
    assert [query.group for query in one.queries] == ["toy"]
    assert evaluate(backbone, one, "inversion", inversion).protocol["prompt"] == "a {caption} of *"


def test_malformed_domains(tmp_path):
    path = write_domains(tmp_path) / "imgnet" / "imgnet_targets.txt"
    path.write_text(path.read_text() + "imgnet/x.jpg\nimgnet/y.jpg three\n")
    with pytest.raises(
        ValueError, match="2 lines of imgnet_targets.txt that are not a path and a number: line 6"
    ):
        load_benchmark("domains", tmp_path)


def test_cirr_extended_asks_each_annotation(tmp_path):
    root = write_cirr(tmp_path)
    texts = {"0": "being a photo of dogs", "1": "[cr0] nothing", "2": " focus on it ", "3": "[cr1]"}
    extended = [
        {"pairid": entry["pairid"], "reference": entry["reference"], "caption_extend": texts}
        for entry in cirr_entries()
    ]
    path = root / "cirr" / "captions_ext" / "cap.ext.rc2.val.json"
    write_json(path, extended)
    benchmark = load_benchmark("cirr", root, captions="extended")
    assert [query.id for query in benchmark.queries[:3]] == ["100-0", "100-2", "101-0"]
    assert benchmark.queries[1].text == ("focus on it",)
    plain = load_benchmark("cirr", root)
    assert benchmark.queries[1].targets == plain.queries[0].targets
    assert benchmark.queries[1].subset == plain.queries[0].subset
    assert benchmark.protocol["captions"] == "extended: auxiliary annotations, 8 marked ones skipped"
    assert plain.protocol["captions"] == "original"
    write_json(path, [*extended, extended[0] | {"pairid": 7}, extended[0] | {"caption_extend": {"0": "x"}}])
    with pytest.raises(ValueError) as caught:
        load_benchmark("cirr", root, captions="extended")
    assert "pairs of cap.ext.rc2.val.json that are not among the captions: 7" in str(caught.value)
    assert "whose 'caption_extend' is not a text for each of" in str(caught.value)


def test_broken_images_are_found_before_any_encoding(tmp_path):
    for seed, name in enumerate(("whole.png", "cut.png", "whole.jpg", "cut.jpg", "text.png", "page.jpg")):
        write_image(tmp_path / name, seed)
    for name in ("cut.png", "cut.jpg"):
        (tmp_path / name).write_bytes((tmp_path / name).read_bytes()[:-40])
    (tmp_path / "text.png").write_text("<html>404</html>")
    (tmp_path / "page.jpg").write_bytes((tmp_path / "page.jpg").read_bytes()[:20])
    found = broken_images({path.name: path for path in tmp_path.iterdir()})
    assert set(found) == {"cut.png", "cut.jpg", "text.png", "page.jpg"}
    assert "the file is cut off" in found["cut.jpg"] and "cannot identify" in found["text.png"]


def test_broken_images_can_be_dropped_like_missing_ones(tmp_path):
    root = write_cirr(tmp_path)
    (root / "dev" / "dev-0-1-img0.png").write_text("not an image")
    with pytest.raises(ValueError, match="1 images that cannot be read") as caught:
        load_benchmark("cirr", root)
    assert "read: 4 queries, 12 gallery images (published: 4,181 and 2,297)" in str(caught.value)
    benchmark = load_benchmark("cirr", root, allow_missing=True)
    assert benchmark.protocol["dropped"] == "2 of 4 queries and 1 of 12 gallery images, unreadable"
    (root / "dev" / "dev-0-2-img0.png").unlink()
    benchmark = load_benchmark("cirr", root, allow_missing=True)
    assert benchmark.protocol["dropped"].endswith("1 missing on disk and 1 unreadable")


def test_a_region_may_reach_over_the_edge():
    image = Image.new("RGB", (50, 40), "red")
    assert Region((30, 20, 20, 20), 0.5).cut(image).size == (30, 30)
    assert Region((0, 0, 10, 4), square=True).cut(image).size == (10, 10)


def test_slerp_and_target_pad_reach_the_features(tmp_path, backbone):  # noqa: F811
    benchmark = load_benchmark("cirr", write_cirr(tmp_path))
    image, text = (query_features(backbone, benchmark, method) for method in ("image", "text"))
    ends = [query_features(backbone, benchmark, "slerp", weight=weight) for weight in (0, 1)]
    assert torch.allclose(ends[0], image, atol=1e-5) and torch.allclose(ends[1], text, atol=1e-5)
    middle = query_features(backbone, benchmark, "slerp", weight=0.5)
    total = query_features(backbone, benchmark, "sum")
    assert torch.allclose(middle, total, atol=1e-5)  # the same direction half-way between unit rows
    assert torch.allclose(total, F.normalize(image + text, dim=-1), atol=1e-6)
    for seed, path in enumerate(sorted((tmp_path / "dev").iterdir())):
        pixels = np.random.default_rng(seed).integers(0, 256, size=(30, 60, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(path)
    plain = gallery_features(backbone, benchmark)
    padded = gallery_features(backbone, benchmark, "targetpad")
    with Image.open(benchmark.image_path(benchmark.gallery[0])) as picture:
        canvas = Image.new("RGB", (60, 48))
        canvas.paste(picture, (0, 9))
    wanted = backbone.encode_images(backbone.preprocess(canvas)[None])[0]
    assert torch.allclose(padded[0], wanted, atol=1e-6)
    assert not torch.allclose(plain, padded, atol=1e-2)
    scores = evaluate(backbone, benchmark, "slerp", weight=0.7, preprocessing="targetpad", cleaning="lower")
    said = {
        key: scores.protocol[key] for key in ("method", "weight", "preprocessing", "cleaning", "precision")
    }
    assert said == {
        **{"method": "slerp", "weight": 0.7, "preprocessing": "targetpad, 32 px"},
        **{"cleaning": "lower", "precision": "fp32"},
    }
