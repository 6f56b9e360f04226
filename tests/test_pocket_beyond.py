"""The pocket world in the layouts of GeneCIS, COCO composition and ImageNet-R: what is asked is there."""

import csv
import json

import numpy as np
import pytest
from PIL import Image

from zscir.benchmarks import load_benchmark
from zscir.benchmarks.genecis import TASKS
from zscir.pocket import SIZES
from zscir.pocket.beyond import DISTRACTORS, make_beyond


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ZSCIR_ARTIFACTS", str(tmp_path_factory.mktemp("artifacts")))
        yield make_beyond("tiny")


def test_it_is_drawn_once_and_always_the_same(world, tmp_path):
    assert make_beyond("tiny") == world
    again = make_beyond("tiny", root=tmp_path)
    files = sorted(path.relative_to(world) for path in world.rglob("*") if path.is_file())
    for path in files:
        if path.name != "key.json":
            assert (again / path).read_bytes() == (world / path).read_bytes(), path
    with pytest.raises(ValueError, match="size is 'huge'; legal: tiny"):
        make_beyond("huge")


@pytest.mark.parametrize("task", TASKS)
def test_genecis_has_one_answer_among_ten(world, task):
    benchmark = load_benchmark("genecis", "pocket-tiny", task=task)
    assert len(benchmark.queries) == SIZES["tiny"]["genecis"]
    for query in benchmark.queries:
        assert len(query.subset) == DISTRACTORS + 1 and query.targets[0] in query.subset
        assert query.reference not in query.subset
        assert min(benchmark.open_image(query.reference).size) > 10


def test_composition_shows_the_thing_alone(world):
    benchmark = load_benchmark("composition", "pocket-tiny")
    assert len(benchmark.queries) == SIZES["tiny"]["composition"]
    with (world / "composition" / "coco_eval.csv").open() as file:
        rows = list(csv.DictReader(file))
    for row, query in zip(rows, benchmark.queries, strict=True):
        assert query.text[0].split(" and ") == [row["query_class"], *row["classes"].split(";")]
        region = np.asarray(benchmark.open_image(query.reference)).astype(int)
        x1, y1, x2, y2 = map(int, row["query_regions"].split(";"))
        with Image.open(benchmark.image_path(query.targets[0])) as picture:
            whole = np.asarray(picture.convert("RGB"))[y1:y2, x1:x2].astype(int)
        alike = np.abs(region - whole).max(axis=2) < 40  # two JPEG files
        assert 0.2 < alike.mean() and (alike | (region.min(axis=2) > 200)).mean() > 0.9


def test_domains_are_the_styles(world):
    benchmark = load_benchmark("domains", "pocket-tiny")
    nouns = SIZES["tiny"]["domains"]
    assert len(benchmark.queries) == nouns * 3 * 2 and len(benchmark.gallery) == nouns * 4 * 3
    for query in benchmark.queries:
        noun = query.reference.split("/")[2]
        style = {"sketch": "sketch", "black and white picture": "black_and_white"}[query.group]
        assert len(query.targets) == 4
        assert all(name.startswith(f"imgnet/{style}/{noun}/") for name in query.targets)
        if style == "black_and_white":
            pixels = np.asarray(benchmark.open_image(query.targets[0])).astype(int)
            assert np.ptp(pixels, axis=2).max() < 12
    with pytest.raises(ValueError, match="not among those of domains.txt: toy"):
        load_benchmark("domains", "pocket-tiny", domain="toy")


def test_change_object_keeps_the_place(world):
    entries = json.loads((world / "genecis" / "genecis" / "change_object.json").read_text())
    assert {"reference", "target", "gallery", "condition"} == set(entries[0])
    assert len({entry["condition"] for entry in entries}) > 1
