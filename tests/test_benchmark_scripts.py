"""The scripts of ``benchmarks/`` run, in small; what they print is what they measured."""

import json
import re
import sys

import pytest

from zscir.backbone.weights import build_model, save_backbone
from zscir.storage.paths import REPO

sys.path.insert(0, str(REPO / "book" / "_ext"))
from build_record import fresh_clone_markdown  # noqa: E402  (an extension of the pages)

FOLDER = REPO / "benchmarks"


@pytest.fixture
def tiny_folder(tmp_path, make_tiny_config):
    config = make_tiny_config()
    return str(save_backbone(build_model(config["model_cfg"]), config, tmp_path / "tiny"))


@pytest.fixture
def run_script(tmp_path, monkeypatch, tiny_folder):
    """Run a script's main with a tiny backbone; its record."""
    monkeypatch.syspath_prepend(str(FOLDER))

    def run(name, *words):
        out = tmp_path / "record.json"
        argv = [name, "--backbone", tiny_folder, "--pretrained", "", "--out", str(out), *words]
        monkeypatch.setattr(sys, "argv", argv)
        monkeypatch.delitem(sys.modules, name, raising=False)
        __import__(name).main()
        return json.loads(out.read_text("utf-8"))

    return run


@pytest.mark.parametrize("step", ["pic2word", "paper"])
def test_training(run_script, capsys, step):
    record = run_script("training", "--step", step, "--batch", "4", "--repeats", "2")
    assert [*record["loss"]] == ["theirs", "whole texts", "ours"]
    assert record["loss"]["theirs"] == pytest.approx(record["loss"]["ours"], rel=1e-6)
    assert record["largest difference of gradients / largest gradient"] < 1e-4
    assert all(len(values) == 2 for values in record["seconds"].values())
    assert json.loads(capsys.readouterr().out) == record


def test_gpu(run_script):
    record = run_script("gpu", "--batch", "4", "--steps", "1", "--images", "2", "--precision", "fp32")
    assert record["training"]["pairs per second"] > 0 and record["training"]["FLOPs of a step"] > 1e4
    assert record["masking"]["images per second"] > 0


def test_captions_are_counted(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    said = ["two red dogs are on the beach", "one cat, without a hat!"]
    found = __import__("captions").statistics_of(said)
    expected = {"captions": 2, "words": 6.0, "words, standard deviation": 1.0, "nouns": 2.0}
    assert {name: found[name] for name in expected} == expected
    assert found["adjectives a noun"] == 0.25
    assert [found[f"share with a {name}"] for name in ("place", "count", "negation")] == [0.5, 0.5, 0.5]


def test_the_record_keeps_the_bar():
    record = json.loads((FOLDER / "results" / "training.json").read_text("utf-8"))
    assert record["settings"]["backbone"] == "ViT-B-32"
    assert record["theirs / ours"]["median of turns"] >= 10
    assert record["loss"]["theirs"] == pytest.approx(record["loss"]["ours"], rel=1e-5)
    assert record["largest difference of gradients / largest gradient"] < 1e-3


@pytest.mark.parametrize(
    "path", sorted((FOLDER / "results").glob("training_paper_*.json")), ids=lambda p: p.stem
)
def test_the_step_of_the_paper_keeps_the_bar(path):
    record = json.loads(path.read_text("utf-8"))
    assert record["settings"]["step"] == "paper"
    assert record["whole texts / ours"]["median of turns"] >= 1.8
    assert record["theirs / ours"]["median of turns"] >= 10
    assert record["largest difference of gradients / largest gradient"] < 1e-3


@pytest.mark.parametrize("path", sorted((FOLDER / "results").glob("checksums.json")), ids=lambda p: p.stem)
def test_checksums_cost_at_most_two_percent_of_a_chapter(path):
    chapters = json.loads(path.read_text("utf-8"))["chapters"]
    assert chapters and all(0 < chapter["share"] <= 0.02 for chapter in chapters)


def test_book_sums_up_the_records_of_the_chapters(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(str(FOLDER))
    monkeypatch.delitem(sys.modules, "book", raising=False)
    machine = {"processor": "P", "instruction_set": "AVX2", "cores": 2, "threads": 2, "gpu": None}
    chapters = [
        {"chapter": name, "seconds": seconds, "peak_memory": 10**9, "machine": machine, "profile": "quick"}
        | {"commit": "c", "versions": {}}
        for name, seconds in (("01_a", 30.0), ("02_b", 90.0))
    ]
    record = __import__("book").summary(chapters, install=60.0, build=150.0, pages=30.0, rerun=20.0)
    assert record["seconds"] == {
        "install": 60.0,
        "chapters": {"01_a": 30.0, "02_b": 90.0},
        "build": 150.0,
        "pages": 30.0,
        "rerun": 20.0,
        "all": 210.0,
    }
    path = tmp_path / "book.json"
    assert "not there yet" in fresh_clone_markdown(path)
    path.write_text(json.dumps(record), "utf-8")
    said = fresh_clone_markdown(path)
    assert (
        "profile quick: P, AVX2, 2 cores, 2 threads, no GPU; a chapter held at most 1.0 GB at once." in said
    )
    assert "| {doc}`notebooks/02_b` | 1.5 minutes |" in said and "| all | 3.5 minutes |" in said


def test_the_readme_quotes_the_record_of_a_fresh_clone():
    quoted = re.search(r"fresh clone[^.]*? (\d+) minutes", (REPO / "README.md").read_text("utf-8"))
    path = FOLDER / "results" / "book.json"
    if path.is_file():
        minutes = json.loads(path.read_text("utf-8"))["seconds"]["all"] / 60
        assert quoted and int(quoted[1]) == round(minutes)
    else:
        assert quoted is None
