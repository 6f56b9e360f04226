"""The shell's commands that score, search and submit."""

import json
import re
from pathlib import Path

import pytest
from benchmark_roots import write_cirr, write_image
from PIL import Image
from test_more_benchmarks import write_genecis

from zscir import cli
from zscir.benchmarks.genecis import TASKS


@pytest.fixture(scope="module")
def tiny_folder(tmp_path_factory, make_tiny_config):
    """A folder with a random CLIP, as `--backbone` takes it."""
    from zscir.backbone.weights import build_model, save_backbone

    config = make_tiny_config()
    return str(save_backbone(build_model(config["model_cfg"]), config, tmp_path_factory.mktemp("tiny")))


@pytest.fixture(scope="module", autouse=True)
def own_artifacts(tmp_path_factory):
    """One folder of artifacts for this file, so that the tiny world is drawn once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ZSCIR_ARTIFACTS", str(tmp_path_factory.mktemp("artifacts")))
        yield


def test_evaluate_prints_scores_with_intervals_and_protocol(tiny_folder, capsys):
    words = ["evaluate", "cirr", "--root", "pocket-tiny", "--method", "image", "--backbone", tiny_folder]
    assert cli.main(words) == 0
    said = capsys.readouterr().out
    assert "recall@1 " in said and "recall_subset@1 " in said and "[" in said and "benchmark: cirr" in said
    assert cli.main([*words, "-p", "reference", "hidden"]) == 2
    assert "hidden" in capsys.readouterr().err


def test_fashioniq_is_the_mean_of_the_categories_unless_one_is_named(tiny_folder, capsys):
    words = ["evaluate", "fashioniq", "--root", "pocket-tiny", "--method", "text", "--backbone", tiny_folder]
    recalls = []
    for more in ([], *(["-p", "category", name] for name in ("dress", "shirt", "toptee"))):
        assert cli.main([*words, *more]) == 0
        recalls.append(float(re.search(r"recall@10 +([\d.]+)", capsys.readouterr().out)[1]))
    assert recalls[0] == pytest.approx(sum(recalls[1:]) / 3, abs=0.01)


def test_evaluate_writes_a_submission(tiny_folder, tmp_path, capsys):
    words = ["evaluate", "cirr", "--root", "pocket-tiny", "--method", "image", "--backbone", tiny_folder]
    assert cli.main([*words, "--submission", str(tmp_path / "server")]) == 0
    written = capsys.readouterr().out.split()
    assert len(written) == 2
    assert all(json.loads(Path(path).read_text())["version"] == "rc2" for path in written)


def test_train_then_evaluate_the_network(tiny_folder, capsys):
    small = ["--steps", "3", "--batch", "8", "--limit", "24", "--warmup", "1", "--preset", "pic2word"]
    assert cli.main(["train", "--backbone", tiny_folder, "--pairs", "pocket-tiny", *small]) == 0
    network = re.search(r"the network: (\S+)", capsys.readouterr().out)[1]
    words = ["evaluate", "cirr", "--root", "pocket-tiny", "--backbone", tiny_folder, "--inversion", network]
    assert cli.main(words) == 0
    said = capsys.readouterr().out
    assert "method: inversion" in said and "inversion: preset pic2word" in said
    assert cli.main([*words, "--lam", "0"]) == 0
    assert cli.main([*words, "--lam", "0.5"]) == 2
    assert "was trained with 0.0" in capsys.readouterr().err
    assert cli.main([*words[:-1], "nowhere"]) == 2
    assert "nowhere" in capsys.readouterr().err


def test_missing_images_can_be_allowed(tiny_folder, tmp_path, capsys):
    root = write_cirr(tmp_path)
    (root / "dev" / "dev-1-0-img0.png").unlink()
    words = ["evaluate", "cirr", "--root", str(root), "--method", "image", "--backbone", tiny_folder]
    assert cli.main(words) == 2
    assert "1 images missing or empty" in capsys.readouterr().err
    assert cli.main([*words, "--allow-missing"]) == 0
    assert "dropped: 2 of 4 queries and 1 of 12 gallery images" in capsys.readouterr().out


def test_every_choice_of_the_protocol_is_an_option(tiny_folder, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("zscir.backbone.clip.has_bf16", lambda device: True)
    words = ["evaluate", "cirr", "--root", str(write_cirr(tmp_path)), "--backbone", tiny_folder]
    words += ["--method", "slerp", "--weight", "0.7", "--cleaning", "lower", "--preprocessing", "targetpad"]
    assert cli.main([*words, "--precision", "bf16", "-p", "reference", "kept"]) == 0
    said = capsys.readouterr().out
    for line in ("weight: 0.7", "cleaning: lower", "preprocessing: targetpad, 32 px", "precision: bf16"):
        assert f"\n{line}\n" in f"{said}\n"
    assert "reference: kept" in said and "(recall@5 + recall_subset@1) / 2" in said
    for wrong in (["--method", "mean"], ["--prompt", "a photo"], ["--cleaning", "soap"]):
        assert cli.main([*words, *wrong]) == 2


def test_genecis_is_the_mean_of_its_tasks(tiny_folder, tmp_path, capsys):
    for task in TASKS:
        write_genecis(tmp_path, task)
    words = ["evaluate", "genecis", "--root", str(tmp_path), "--method", "text", "--backbone", tiny_folder]
    recalls = []
    for more in ([], *(["-p", "task", task] for task in TASKS)):
        assert cli.main([*words, *more]) == 0
        recalls.append(float(re.search(r"recall@1 +([\d.]+)", capsys.readouterr().out)[1]))
    assert recalls[0] == pytest.approx(sum(recalls[1:]) / 4, abs=0.02)


def test_retrieve_prints_and_draws_what_was_found(tiny_folder, tmp_path, capsys):
    for seed in range(14):
        write_image(tmp_path / "photos" / ("inner" if seed % 2 else "") / f"{seed}.png", seed)
    out = tmp_path / "out.png"
    words = ["retrieve", str(tmp_path / "photos" / "0.png"), "is on the beach", "--backbone", tiny_folder]
    words += ["--gallery", str(tmp_path / "photos"), "--out", str(out)]
    assert cli.main([*words, "--method", "image+text"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 11 and lines[-1] == f"the picture: {out}"
    places = [line.split() for line in lines[:-1]]
    assert [int(place) for place, _, _ in places] == list(range(1, 11))
    cosines = [float(cosine) for _, cosine, _ in places]
    assert cosines == sorted(cosines, reverse=True)
    found = {path for _, _, path in places}
    assert len(found) == 10 and str(tmp_path / "photos" / "0.png") not in found
    with Image.open(out) as picture:
        assert picture.width > 600
    assert cli.main([*words, "--gallery", str(tmp_path / "nothing")]) == 2
    assert cli.main(["retrieve", "no.png", "x", "--gallery", str(tmp_path / "photos")]) == 2
    assert "no.png" in capsys.readouterr().err


def test_submissions_are_checked(tiny_folder, tmp_path, capsys):
    root = write_cirr(tmp_path, "test1")
    words = ["evaluate", "cirr", "--root", str(root), "--split", "test1", "--method", "image"]
    assert cli.main([*words, "--backbone", tiny_folder, "--submission", str(tmp_path / "server")]) == 0
    written = capsys.readouterr().out.split()
    assert cli.main(["submission", "check", *written, "--root", str(root)]) == 0
    assert capsys.readouterr().out.count("the server can take it") == 2
    assert cli.main(["submission", "check", written[0]]) == 2  # alone, it has not CIRR's 4,148 queries
    assert "4,148" in capsys.readouterr().err
    content = json.loads(Path(written[0]).read_text())
    Path(written[0]).write_text(json.dumps(content | {"version": "rc1"}))
    assert cli.main(["submission", "check", written[0], "--root", str(root)]) == 2
    assert "wrong 'version'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flag", "given"), [("--quick-gelu", True), ("--no-quick-gelu", False), (None, None)]
)
def test_the_activation_of_a_weights_file_is_an_option(monkeypatch, tmp_path, capsys, flag, given):
    def stop(name, pretrained=None, device=None, precision="fp32", quick_gelu="none"):
        raise ValueError(f"{pretrained} {quick_gelu}")

    monkeypatch.setattr("zscir.cli_settings.load_backbone", stop)
    monkeypatch.setattr("zscir.inversion.training.load_backbone", stop)
    weights = ["--backbone", "ViT-B-32", "--pretrained", "w.pt", *([flag] if flag else [])]
    image = tmp_path / "a.png"
    Image.new("RGB", (8, 8)).save(image)
    words = {"pairs": ["pocket-tiny", "--out", str(tmp_path / "out")], "train": ["--pairs", "pocket-tiny"]}
    words["evaluate"] = ["cirr", "--root", "pocket-tiny"]
    words["retrieve"] = [str(image), "red", "--gallery", str(tmp_path), "--out", str(tmp_path / "found.png")]
    for command, own in words.items():
        assert cli.main([command, *own, *weights]) == 2
        assert capsys.readouterr().err == f"zscir: w.pt {given}\n"
