"""The scripts of ``benchmarks/`` run, in small; what they print is what they measured."""

import json
import sys

import pytest

from zscir.backbone.weights import build_model, save_backbone
from zscir.storage.paths import REPO

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


def test_training(run_script, capsys):
    record = run_script("training", "--batch", "4", "--repeats", "2")
    assert record["loss"]["theirs"] == pytest.approx(record["loss"]["ours"], rel=1e-6)
    assert record["largest difference of gradients / largest gradient"] < 1e-4
    assert all(len(values) == 2 for values in record["seconds"].values())
    assert json.loads(capsys.readouterr().out) == record


def test_gpu(run_script):
    record = run_script("gpu", "--batch", "4", "--steps", "1", "--images", "2", "--precision", "fp32")
    assert record["training"]["pairs per second"] > 0 and record["training"]["FLOPs of a step"] > 1e4
    assert record["masking"]["images per second"] > 0


def test_the_record_keeps_the_bar():
    record = json.loads((FOLDER / "results" / "training.json").read_text("utf-8"))
    assert record["settings"]["backbone"] == "ViT-B-32"
    assert record["theirs / ours"]["median of turns"] >= 10
    assert record["loss"]["theirs"] == pytest.approx(record["loss"]["ours"], rel=1e-5)
    assert record["largest difference of gradients / largest gradient"] < 1e-3
