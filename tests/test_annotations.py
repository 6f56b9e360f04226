"""Annotation files as people have them: a key twice, other encodings, captions that say nothing."""

import json

import pytest
from benchmark_roots import (
    write_circo,
    write_cirr,
    write_composition,
    write_domains,
    write_fashioniq,
    write_genecis,
)

from zscir.benchmarks import load_benchmark

FILES = {
    "cirr/captions/cap.rc2.val.json": (write_cirr, "cirr", {}),
    "cirr/image_splits/split.rc2.val.json": (write_cirr, "cirr", {}),
    "captions/cap.dress.val.json": (write_fashioniq, "fashioniq", {"category": "dress"}),
    "annotations/val.json": (write_circo, "circo", {}),
    "COCO2017_unlabeled/annotations/image_info_unlabeled2017.json": (write_circo, "circo", {}),
    "genecis/change_object.json": (write_genecis, "genecis", {"task": "change_object"}),
}
OTHERS = {
    "image_splits/split.dress.val.json": (write_fashioniq, "fashioniq", {"category": "dress"}),
    "coco/coco_eval.csv": (write_composition, "composition", {}),
    "imgnet/imgnet_targets.txt": (write_domains, "domains", {}),
}


def load(root, name, options):
    return load_benchmark(name, root, require_images=False, **options)


@pytest.mark.parametrize("file", FILES)
def test_a_key_twice_is_named_with_file_place_and_values(tmp_path, file):
    write, name, options = FILES[file]
    path = write(tmp_path) / file
    start = path.read_text().index("{", 1 if name in ("genecis", "circo") else 0)
    while (text := path.read_text())[start + 1] != '"':
        start = text.index("{", start + 1)
    key = text[start + 2 : text.index('"', start + 2)]
    path.write_text(text[: start + 1] + f'"{key}": "first", ' + text[start + 1 :])
    with pytest.raises(ValueError, match="keys used twice") as caught:
        load(tmp_path, name, options)
    assert f"{key} ({path.name}" in str(caught.value) and "has first and " in str(caught.value)
    if name in ("fashioniq", "genecis", "circo"):
        assert f"{path.name}[" in str(caught.value)  # the place


@pytest.mark.parametrize("file", [*FILES, *OTHERS])
def test_a_byte_order_mark_is_no_content(tmp_path, file):
    write, name, options = (FILES | OTHERS)[file]
    path = write(tmp_path) / file
    before = load(tmp_path, name, options)
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    after = load(tmp_path, name, options)
    assert (before.queries, before.gallery) == (after.queries, after.gallery)


@pytest.mark.parametrize("file", [*FILES, *OTHERS])
def test_another_encoding_is_named_with_file_and_line(tmp_path, file):
    write, name, options = (FILES | OTHERS)[file]
    path = write(tmp_path) / file
    path.write_bytes(path.read_bytes() + "\né".encode("cp1252"))
    line = path.read_bytes().count(b"\n") + 1
    with pytest.raises(
        ValueError, match=rf"1 files that are not UTF-8: .*{path.name}, line {line} has b'\\xe9'"
    ):
        load(tmp_path, name, options)


@pytest.mark.parametrize("text", ["", " \t\n", "...", "?! -", " ", "。"])
@pytest.mark.parametrize(
    ("write", "file", "key", "options"),
    [
        (write_cirr, "cirr/captions/cap.rc2.val.json", "caption", {}),
        (write_circo, "annotations/val.json", "relative_caption", {}),
        (write_circo, "annotations/val.json", "shared_concept", {}),
        (write_fashioniq, "captions/cap.dress.val.json", "captions", {"category": "dress"}),
        (write_genecis, "genecis/change_object.json", "condition", {"task": "change_object"}),
    ],
)
def test_captions_that_say_nothing(tmp_path, write, file, key, options, text):
    path = write(tmp_path) / file
    entries = json.loads(path.read_text())
    entries[1][key] = [text, text] if key == "captions" else text
    path.write_text(json.dumps(entries))
    with pytest.raises(ValueError, match=f"1 entries of {path.name} whose '{key}' is not a .*: entry 1 has "):
        load(tmp_path, write.__name__.removeprefix("write_"), options)


def test_one_empty_caption_of_two_is_counted_as_the_official_file_has_one(tmp_path):
    path = write_fashioniq(tmp_path) / "captions/cap.dress.val.json"
    entries = json.loads(path.read_text())
    entries[1]["captions"] = ["", "is grey"]
    path.write_text(json.dumps(entries))
    benchmark = load(tmp_path, "fashioniq", {"category": "dress"})
    assert benchmark.queries[1].text == (" and is grey", "is grey and ")
    assert benchmark.protocol["empty captions"].startswith("1 queries have one")


def test_captions_of_any_script_are_read(tmp_path):
    path = write_cirr(tmp_path) / "cirr/captions/cap.rc2.val.json"
    entries = json.loads(path.read_text())
    for entry, text in zip(entries, ["狗在海滩上", "с двумя собаками", "🐶", "costs $5"], strict=True):
        entry["caption"] = text
    path.write_text(json.dumps(entries, ensure_ascii=False), encoding="utf-8")
    assert [query.text[0] for query in load(tmp_path, "cirr", {}).queries][0] == "狗在海滩上"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("x.jpg,0;0;9;9,dog,cat,owl", "more or fewer cells than its first: line 4 has"),
        ("x.jpg,0;0;9;9,...,cat", "without id, class or region of four numbers: line 4 has"),
        ("x.jpg,0;0;9,dog,cat", "without id, class or region of four numbers: line 4 has"),
    ],
)
def test_lines_of_the_coco_list(tmp_path, line, message):
    path = write_composition(tmp_path) / "coco" / "coco_eval.csv"
    path.write_text(path.read_text() + line + "\n")
    with pytest.raises(ValueError, match=message):
        load(tmp_path, "composition", {})


@pytest.mark.parametrize("label", ["²", "-1", "1.5", "five"])
def test_labels_that_are_no_numbers(tmp_path, label):
    path = write_domains(tmp_path) / "imgnet" / "imgnet_targets.txt"
    path.write_text(path.read_text() + f"x.jpg {label}\n")
    with pytest.raises(ValueError, match=f"line 6 has 'x.jpg {label}'"):
        load(tmp_path, "domains", {})
