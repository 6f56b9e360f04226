"""The scripts of ``benchmarks/`` run, in small; what they print is what they measured."""

import json
import os
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest

from zscir.backbone.weights import build_model, save_backbone
from zscir.pairs import build_masked_pairs, load_pairs
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
    record = __import__("book").summary(
        chapters, 2 * 10**9, install=60.0, build=150.0, pages=30.0, rerun=20.0
    )
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
    assert "profile quick: P, AVX2, 2 cores, 2 threads, no GPU; a chapter held at most 1.0 GB at once" in said
    assert "the build held at most 2.0 GB at once." in said
    assert "| {doc}`notebooks/02_b` | 1.5 minutes |" in said and "| all | 3.5 minutes |" in said


def test_book_knows_what_a_command_holds_with_its_children(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(str(FOLDER))
    monkeypatch.delitem(sys.modules, "book", raising=False)
    child = (
        "import time; held = bytearray(300_000_000); held[::4096] = b'1' * len(held[::4096]); time.sleep(2)"
    )
    words = [
        sys.executable,
        "-c",
        f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])",
    ]
    took, held = __import__("book").timed(tmp_path, dict(os.environ), *words)
    assert took >= 2 and 300_000_000 < held < 600_000_000
    with pytest.raises(subprocess.CalledProcessError):
        __import__("book").timed(tmp_path, dict(os.environ), sys.executable, "-c", "raise SystemExit(3)")


def test_the_readme_quotes_the_record_of_a_fresh_clone():
    quoted = re.search(r"fresh clone[^.]*? (\d+) minutes", (REPO / "README.md").read_text("utf-8"))
    path = FOLDER / "results" / "book.json"
    if path.is_file():
        minutes = json.loads(path.read_text("utf-8"))["seconds"]["all"] / 60
        assert quoted and int(quoted[1]) == round(minutes)
    else:
        assert quoted is None


def test_all_that_can_be_wrong_with_a_sample_is_counted(tmp_path, monkeypatch, tiny_backbone):
    monkeypatch.syspath_prepend(str(FOLDER))
    monkeypatch.setenv("ZSCIR_ARTIFACTS", str(tmp_path / "artifacts"))
    monkeypatch.delitem(sys.modules, "dry_run", raising=False)
    dry_run = __import__("dry_run")
    monkeypatch.setattr(dry_run, "BROKEN", 6)
    monkeypatch.setattr(dry_run, "TAR", 60)
    rng, count = np.random.default_rng(0), 6 * len(dry_run.FAULTS) + 5
    pool = [(rng.integers(0, 255, (40, 40, 3), dtype=np.uint8), f"a {noun}") for noun in ("dog", "red boat")]
    (tmp_path / "tars").mkdir()
    drawn = dry_run.write_tars(tmp_path / "tars", count, pool)
    assert set(drawn) == set(dry_run.FAULTS) and len(list((tmp_path / "tars").glob("*.tar"))) == 2
    report = build_masked_pairs(tiny_backbone, load_pairs(tmp_path / "tars")).report
    wanted = dry_run.expected(count, drawn)
    assert {name: report.get(name) for name in wanted} == wanted
    (one,) = (tmp_path / "artifacts" / "nouns").iterdir()
    other = tmp_path / "other" / "nouns" / one.name
    shutil.copytree(one, other)
    monkeypatch.setattr(dry_run, "KINDS", ("nouns",))
    assert dry_run.differences(tmp_path / "artifacts", tmp_path / "other") == []
    (other / "rows.json").write_text("[]", "utf-8")
    (other / "more").touch()
    assert len(dry_run.differences(tmp_path / "artifacts", tmp_path / "other")) == 2


def test_search_finds_what_its_peer_finds(monkeypatch):
    pytest.importorskip("faiss")
    monkeypatch.syspath_prepend(str(FOLDER))
    monkeypatch.delitem(sys.modules, "retrieval", raising=False)
    retrieval = __import__("retrieval")
    queries, gallery = (retrieval.features(rows, rows) for rows in (20, 3000))
    gallery /= np.linalg.norm(gallery, axis=1, keepdims=True)
    queries /= np.linalg.norm(queries, axis=1, keepdims=True)
    (found, scores), (ours, own) = (search(queries, gallery, 5) for search in retrieval.SIDES.values())
    assert np.array_equal(found, ours) and np.allclose(scores, own, atol=2e-6, rtol=0)


def test_the_records_of_size_keep_the_bar():
    dry, search = (FOLDER / "results" / f"{name}.json" for name in ("dry_run", "search"))
    if dry.is_file():
        run = json.loads(dry.read_text("utf-8"))
        held = run["undisturbed"]
        assert held["peak bytes"] <= 3 * 2**30 and run["files that differ"] == 0
        assert held["most bytes in the last quarter"] < 1.1 * held["most bytes in the second quarter"]
    if search.is_file():
        run = json.loads(search.read_text("utf-8"))["search"]
        assert run["faiss / zscir, seconds"] >= 1 and run["faiss / zscir, peak bytes"] >= 1
        assert run["of these with cosines further apart than counts as equal (twice 1e-6)"] == 0


def test_hours_are_those_of_the_records(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(REPO / "book" / "_ext"))
    hours = __import__("build_record").hours_markdown
    assert "recorded yet" in hours(tmp_path)
    machine = {"processor": "P", "instruction_set": "AVX2", "cores": 2, "threads": 2, "gpu": None}
    run = {"date": "2026-01-02", "machine": machine, "samples": 99, "broken": {"a": 2, "b": 1}}
    run |= {"images per second": 100.0, "undisturbed": {"peak bytes": 2_000_000_000}}
    (tmp_path / "dry_run.json").write_text(json.dumps(run), "utf-8")
    fast = {"settings": {"backbone": "ViT-L-14"}, "masking": {"images per second": 1000.0}}
    fast |= {"training": {"pairs per second": 4000.0, "peak memory, GB": 7.0}}
    (tmp_path / "gpu.json").write_text(json.dumps(run | fast), "utf-8")
    said = hours(tmp_path)
    assert "99 samples in tars, 3 of them broken in 2 ways" in said and "at most 2.0 GB" in said
    assert "2,905,954 take 8.1 hours" in said and "2,905,954 take 0.8 hours" in said
    assert "4,000 pairs a second, 12 minutes for every pair once, with 7.0 GB" in said


def test_the_gpu_record_is_of_the_real_size_and_agrees_with_the_cpu():
    record = json.loads((FOLDER / "results" / "gpu.json").read_text("utf-8"))
    assert record["machine"]["gpu"] and record["settings"]["backbone"] == "ViT-L-14"
    assert record["agreement with the CPU"]["largest relative difference"] < 1e-4
