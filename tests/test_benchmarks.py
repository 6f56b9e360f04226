"""The readers: official layouts become the same queries and gallery; what is wrong is said at once."""

import json
import sys
from types import SimpleNamespace

import pytest
from benchmark_roots import (
    cirr_entries,
    shared_data,
    write_circo,
    write_cirr,
    write_fashioniq,
    write_json,
)

from zscir.benchmarks import check_options, load_benchmark


@pytest.mark.parametrize(
    ("annotations", "images"),
    [
        ("cirr", ""),
        ("", ""),
        ("cirr", "img_raw"),
        ("", "img_raw"),
        ("cirr", "cirr/img_raw"),
        ("cirr", "cirr"),
    ],
)
def test_cirr_published_layouts(tmp_path, annotations, images):
    root = write_cirr(tmp_path, annotations=annotations, images=images)
    benchmark = load_benchmark("cirr", root)
    assert [query.id for query in benchmark.queries] == ["100", "101", "102", "103"]
    first = benchmark.queries[1]
    assert first.reference == "dev-0-2-img0"
    assert first.targets == ("dev-0-5-img0",)
    assert first.text == ("change number 1",)
    assert first.subset == tuple(f"dev-0-{k}-img0" for k in (0, 1, 3, 4, 5))
    assert first.group == "7"
    assert benchmark.exclude_reference
    assert benchmark.gallery[:2] == ["dev-0-0-img0", "dev-0-1-img0"]
    assert len(benchmark.gallery) == 12
    assert all(benchmark.image_path(name).is_file() for name in benchmark.gallery)
    assert benchmark.protocol["reference"] == "removed"
    assert benchmark.protocol["dropped"] == "none"
    assert benchmark.protocol["size"] == "4 queries, 12 gallery images (published: 4,181 and 2,297)"


def test_cirr_test_split_has_no_targets(tmp_path):
    benchmark = load_benchmark("cirr", write_cirr(tmp_path, split="test1"), split="test1")
    assert {query.targets for query in benchmark.queries} == {()}
    assert all(len(query.subset) == 5 for query in benchmark.queries)


def test_cirr_kind_becomes_the_group(tmp_path):
    entries = [entry | {"kind": "place"} for entry in cirr_entries()]
    benchmark = load_benchmark("cirr", write_cirr(tmp_path, entries=entries))
    assert {query.group for query in benchmark.queries} == {"place"}


def test_fashioniq_options(tmp_path):
    root = write_fashioniq(tmp_path)
    benchmark = load_benchmark("fashioniq", root, category="dress")
    assert [query.id for query in benchmark.queries] == ["dress-0", "dress-1", "dress-2"]
    query = benchmark.queries[2]
    assert (query.reference, query.targets, query.group) == ("dressB4", ("dressB0",), "dress")
    assert query.text == ("is shade 4 and has 0 sleeves", "has 0 sleeves and is shade 4")
    assert not benchmark.exclude_reference
    assert benchmark.gallery == [f"dressB{number}" for number in range(5)]
    assert [benchmark.image_path(name).suffix for name in benchmark.gallery[:2]] == [".png", ".jpg"]
    other = load_benchmark("fashioniq", root, category="dress", gallery="union", captions="second-first")
    assert other.gallery == ["dressB0", "dressB1", "dressB2", "dressB4"]
    assert other.queries[2].text == ("has 0 sleeves and is shade 4. ",)
    assert other.protocol["gallery"] == "union"
    assert other.protocol["captions"] == "second-first"


def test_circo_ids_targets_and_reference(tmp_path):
    root = write_circo(tmp_path)
    benchmark = load_benchmark("circo", root)
    query = benchmark.queries[0]
    assert query.reference == "5"
    assert query.targets == ("9761", "243611", "57541")
    assert benchmark.image_path("5").name == "000000000005.jpg"
    assert not benchmark.exclude_reference
    assert benchmark.protocol["captions"] == "relative caption alone"
    said = query.text[0]
    for wording, text in (
        ("shared", "find {} but {}"),
        ("shared-megapairs", "find a picture that also {}, but {}"),
    ):
        shared = load_benchmark("circo", root, captions=wording)
        assert shared.queries[0].text == (text.format("a bear", said),)
        assert text.format("{concept}", "{caption}") in shared.protocol["captions"]
    removed = load_benchmark("circo", root, reference="removed")
    assert removed.exclude_reference
    assert removed.protocol["reference"] == "removed"
    test = load_benchmark("circo", write_circo(tmp_path, "test"), split="test")
    assert [query.targets for query in test.queries] == [(), ()]


@pytest.mark.parametrize(
    ("arguments", "legal"),
    [
        ({"name": "cir"}, "name is 'cir'; legal: cirr, fashioniq, circo"),
        ({"name": "cirr", "split": "test"}, "split is 'test'; legal: val, test1"),
        ({"name": "circo", "split": "test1"}, "split is 'test1'; legal: val, test"),
        ({"name": "fashioniq", "category": "skirt"}, "category is 'skirt'; legal: dress, shirt, toptee"),
        ({"name": "fashioniq", "gallery": "all"}, "gallery is 'all'; legal: original, union"),
        ({"name": "cirr", "category": "dress"}, "reference"),
        ({"name": "circo", "reference": "gone"}, "reference is 'gone'; legal: kept, removed"),
    ],
)
def test_unknown_choices_name_the_legal_ones(tmp_path, arguments, legal):
    with pytest.raises(ValueError, match=legal):
        load_benchmark(root=tmp_path, **arguments)


def test_missing_files_are_all_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such folder"):
        load_benchmark("cirr", tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError) as caught:
        load_benchmark("cirr", tmp_path)
    message = str(caught.value)
    assert "2 annotation files missing" in message
    assert "cap.rc2.val.json" in message
    assert "split.rc2.val.json" in message


def test_missing_and_empty_images_in_one_error(tmp_path):
    root = write_cirr(tmp_path)
    (root / "dev" / "dev-0-1-img0.png").unlink()
    (root / "dev" / "dev-0-3-img0.png").write_bytes(b"")
    with pytest.raises(FileNotFoundError) as caught:
        load_benchmark("cirr", root)
    message = str(caught.value)
    assert "2 images missing or empty" in message
    assert "dev-0-1-img0.png" in message
    assert "dev-0-3-img0.png" in message
    assert "drop the 2 queries" in message
    annotated = load_benchmark("cirr", root, require_images=False)
    assert len(annotated.queries) == 4


def test_allow_missing_drops_and_says_so(tmp_path):
    root = write_cirr(tmp_path)
    (root / "dev" / "dev-1-3-img0.png").unlink()  # in the set of two queries, reference or target of none
    benchmark = load_benchmark("cirr", root, allow_missing=True)
    assert [query.id for query in benchmark.queries] == ["100", "101"]
    assert "dev-1-3-img0" not in benchmark.gallery
    assert len(benchmark.gallery) == 11
    assert benchmark.protocol["dropped"] == ("2 of 4 queries and 1 of 12 gallery images, missing on disk")
    (root / "dev" / "dev-0-3-img0.png").unlink()
    with pytest.raises(FileNotFoundError, match="no query can do without them"):
        load_benchmark("cirr", root, allow_missing=True)


def _edit(entries, key, value):
    entries[1][key] = value


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda e: e[1].pop("caption"), "without the key 'caption': entry 1"),
        (lambda e: _edit(e, "caption", "  "), "whose 'caption' is not a non-empty string"),
        (lambda e: _edit(e, "pairid", "x"), "whose 'pairid' is not an integer"),
        (lambda e: _edit(e, "pairid", 100), "1 query ids used twice: 100"),
        (lambda e: _edit(e, "target_hard", "dev-1-0-img0"), "whose target is not in their set: pairid 101"),
        (lambda e: _edit(e, "reference", "dev-1-0-img0"), "whose reference is not in their set"),
        (lambda e: _edit(e, "target_hard", "dev-0-2-img0"), "target is their own reference"),
        (lambda e: e[1]["img_set"]["members"].pop(3), "6 different members"),
        (lambda e: e.insert(0, 3), "without the key 'pairid': entry 0"),
        (lambda e: e.clear(), "without entries"),
    ],
)
def test_malformed_cirr_captions(tmp_path, change, message):
    root = write_cirr(tmp_path)
    path = root / "cirr" / "captions" / "cap.rc2.val.json"
    entries = json.loads(path.read_text())
    change(entries)
    write_json(path, entries)
    with pytest.raises(ValueError, match=message):
        load_benchmark("cirr", root, require_images=False)


def test_truncated_json_and_wrong_containers(tmp_path):
    root = write_fashioniq(tmp_path)
    captions = root / "captions" / "cap.dress.val.json"
    captions.write_text(captions.read_text()[:-20])
    write_json(root / "image_splits" / "split.dress.val.json", {"B0": 1})
    with pytest.raises(ValueError) as caught:
        load_benchmark("fashioniq", root)
    assert "not whole JSON" in str(caught.value)
    assert "do not hold a JSON list" in str(caught.value)


def test_targets_outside_the_gallery(tmp_path):
    root = write_fashioniq(tmp_path)
    splits = root / "image_splits" / "split.dress.val.json"
    write_json(splits, ["dressB0", "dressB1", "dressB4", "dressB4"])
    with pytest.raises(ValueError) as caught:
        load_benchmark("fashioniq", root)
    assert "targets not in the gallery: dressB2 (query dress-1)" in str(caught.value)
    assert "listed twice in the gallery: dressB4" in str(caught.value)


def test_one_error_names_different_kinds_of_problems(tmp_path):
    root = write_cirr(tmp_path)
    (root / "dev" / "dev-0-0-img0.png").unlink()
    path = root / "cirr" / "captions" / "cap.rc2.val.json"
    entries = json.loads(path.read_text())
    del entries[3]["img_set"]
    write_json(path, entries)
    with pytest.raises(ValueError) as caught:
        load_benchmark("cirr", root)
    assert "1 images missing or empty" in str(caught.value)
    assert "without the key 'img_set': entry 3" in str(caught.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda e: e[0].update(gt_img_ids=[243611]), "lack the target or repeat an image: id 0"),
        (lambda e: e[0].update(gt_img_ids=[9761, 5]), "reference is one of their right answers: id 0"),
        (lambda e: e[0].update(gt_img_ids=[9761, 1234]), "targets not in the gallery: 1234"),
        (lambda e: e[0].update(reference_img_id="5"), "whose 'reference_img_id' is not an integer"),
        (lambda e: e[1].pop("shared_concept"), "without the key 'shared_concept'"),
    ],
)
def test_malformed_circo(tmp_path, change, message):
    root = write_circo(tmp_path)
    path = root / "annotations" / "val.json"
    entries = json.loads(path.read_text())
    change(entries)
    write_json(path, entries)
    with pytest.raises(ValueError, match=message):
        load_benchmark("circo", root)


def test_unknown_image_id(tmp_path):
    benchmark = load_benchmark("circo", write_circo(tmp_path))
    with pytest.raises(ValueError, match="no image id '6'"):
        benchmark.image_path("6")


def test_pocket_roots_come_from_the_pocket(tmp_path, monkeypatch):
    write_cirr(tmp_path / "cirr-root")
    asked = []

    def make_pocket(size):
        asked.append(size)
        return SimpleNamespace(root=lambda name: tmp_path / f"{name}-root")

    monkeypatch.setitem(sys.modules, "zscir.pocket", SimpleNamespace(make_pocket=make_pocket))
    benchmark = load_benchmark("cirr", "pocket-tiny")
    assert asked == ["tiny"]
    assert len(benchmark.queries) == 4


def test_real_cirr_annotations():
    benchmark = load_benchmark("cirr", shared_data("cirr"), require_images=False)
    assert benchmark.protocol["size"] == "4,181 queries, 2,297 gallery images"
    query = benchmark.queries[0]
    assert (query.id, query.reference, query.group) == ("12060", "dev-244-0-img0", "36")
    assert query.targets == ("dev-1028-1-img1",)
    assert query.text == ("show three bottles of soft drink",)
    assert len({query.group for query in benchmark.queries}) == 503
    assert benchmark.image_path("dev-244-0-img0").parts[-2:] == ("dev", "dev-244-0-img0.png")
    with pytest.raises(FileNotFoundError, match="2,297 images missing"):
        load_benchmark("cirr", shared_data("cirr"))


@pytest.mark.parametrize(
    ("category", "queries", "original", "union"), [("dress", 2017, 3817, 2628), ("shirt", 2038, 6346, 3089)]
)
def test_real_fashioniq_annotations(category, queries, original, union):
    root = shared_data("fashion-iq")
    for gallery, size in (("original", original), ("union", union)):
        benchmark = load_benchmark(
            "fashioniq", root, category=category, gallery=gallery, require_images=False
        )
        assert (len(benchmark.queries), len(benchmark.gallery)) == (queries, size)
        assert "published" not in benchmark.protocol["size"]


@pytest.mark.posix
def test_a_link_to_itself_is_a_missing_image(tmp_path):
    root = write_cirr(tmp_path)
    place = root / "dev" / "dev-0-0-img0.png"
    place.unlink()
    place.symlink_to(place.name)
    with pytest.raises(FileNotFoundError, match="1 images missing or empty: .*dev-0-0-img0.png"):
        load_benchmark("cirr", root)
    dropped = load_benchmark("cirr", root, allow_missing=True).protocol["dropped"]
    assert dropped.startswith("2 of 4 queries and 1 of 12 gallery images")


def test_a_number_too_long_for_python_is_named_with_its_file(tmp_path):
    root = write_cirr(tmp_path)
    path = root / "cirr" / "captions" / "cap.rc2.val.json"
    path.write_text(path.read_text("utf-8").replace('"pairid": 100', f'"pairid": {"9" * 5000}'), "utf-8")
    with pytest.raises(ValueError, match="files that are not whole JSON: .*cap.rc2.val.json"):
        load_benchmark("cirr", root)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"allow_missing": "False"}, "allow_missing is 'False'; legal: True, False"),
        ({"upright": None}, "upright is None; legal: True, False"),
        ({"reference": ["kept"]}, "reference is .*; legal: removed, kept"),
        ({"category": "dress"}, "cirr has no option 'category'; its options are reference, captions"),
    ],
)
def test_options_are_checked_before_anything_is_read(options, said):
    for read in (check_options, lambda name, **given: load_benchmark(name, "/nowhere", **given)):
        with pytest.raises(ValueError, match=said):
            read("cirr", **options)
