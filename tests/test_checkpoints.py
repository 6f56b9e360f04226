"""Checkpoints: a killed training goes on to the same weights; what is damaged or foreign is told."""

import json
import os
import signal
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import torch

from zscir.inversion import TrainConfig, fit, load_inversion
from zscir.inversion.checkpoints import _last_whole, checkpoints, load_checkpoint, save_checkpoint

WORKER = Path(__file__).with_name("train_worker.py")
SETTINGS = {"steps": 17, "batch": 8, "warmup": 3, "hidden": 24, "checkpoint_every": 5}


@pytest.fixture(autouse=True)
def artifacts(tmp_path, monkeypatch):
    monkeypatch.setenv("ZSCIR_ARTIFACTS", str(tmp_path / "artifacts"))
    return tmp_path / "artifacts"


def config(pairs, **changes):
    return TrainConfig(pairs=pairs, **SETTINGS | changes)


def train(pairs, artifacts, kill_at=""):
    """A training in another process; its exit status."""
    root = str(WORKER.parents[1])
    env = {**os.environ, "ZSCIR_ARTIFACTS": str(artifacts), "PYTHONPATH": root}
    words = [sys.executable, str(WORKER), json.dumps([{**SETTINGS, "pairs": pairs}]), str(kill_at)]
    done = subprocess.run(words, capture_output=True, text=True, env=env, timeout=300)
    assert kill_at or done.returncode == 0, done.stderr
    return done.returncode


@pytest.fixture
def stored(tiny_backbone, colour_pairs, artifacts):
    """A finished training and the folder of its checkpoints."""
    run = fit(config(colour_pairs), backbone=tiny_backbone, progress=False)
    (folder,) = (artifacts / "inversion-checkpoints").iterdir()
    return run, folder


@pytest.mark.thorough
@pytest.mark.posix
@pytest.mark.slow
def test_killed_twice_and_resumed_gives_the_same_bits(colour_pairs, tmp_path, monkeypatch, tiny_backbone):
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    assert train(colour_pairs, killed, kill_at=7) == -signal.SIGKILL
    (folder,) = (killed / "inversion-checkpoints").iterdir()
    assert [path.name for path in checkpoints(folder)] == ["step-00000005.ckpt"]
    assert not list((killed / "inversion").glob("*/key.json"))
    assert train(colour_pairs, killed, kill_at=13) == -signal.SIGKILL
    half = folder / ".step-00000015.ckpt-0badcafe.tmp"  # killed while a checkpoint was being written
    half.write_bytes(b"\0" * 99)
    assert train(colour_pairs, killed) == 0
    assert not half.exists()
    monkeypatch.setenv("ZSCIR_ARTIFACTS", str(whole))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        run = fit(config(colour_pairs), backbone=tiny_backbone, progress=False)
    finally:
        torch.set_num_threads(threads)
    (resumed,) = (killed / "inversion").glob("*/phi.safetensors")
    assert resumed.read_bytes() == (run.path / "phi.safetensors").read_bytes()
    assert [path.name for path in checkpoints(folder)] == ["step-00000015.ckpt", "step-00000017.ckpt"]
    again = load_inversion(resumed.parent)
    exact = ["step", "loss", "original", "query_target", "lr"]
    assert again.history[exact].equals(run.history[exact])


def test_a_checkpoint_says_where_it_comes_from(stored, tiny_backbone, colour_pairs):
    run, folder = stored
    parts, record = load_checkpoint(checkpoints(folder)[-1])
    assert record["step"] == 17 and TrainConfig(**record["config"]) == config(colour_pairs)
    assert record["backbone"]["fingerprint"] == tiny_backbone.fingerprint
    assert record["pairs"] == run.record["pairs"] and record["versions"]["torch"]
    assert record["git_commit"] is None or len(record["git_commit"]) >= 40
    assert set(parts) == {"phi", "mean", "optimizer", "recent"}


def test_a_checkpoint_is_an_inversion(stored, tiny_backbone, make_tiny_backbone):
    run, folder = stored
    first, last = (load_inversion(path, tiny_backbone) for path in checkpoints(folder))
    same = zip(last.phi.parameters(), run.phi.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in same) and first.record["step"] == 15
    with pytest.raises(ValueError, match="was fitted to backbone 'tiny'"):
        load_inversion(folder / "step-00000017.ckpt", make_tiny_backbone(seed=5))
    quick = make_tiny_backbone(precision="bf16")  # the same weights
    assert load_inversion(folder / "step-00000017.ckpt", quick).phi is not None


@pytest.mark.parametrize("damage", ["cut", "empty", "flipped", "missing"])
def test_damage_is_told_and_names_the_file(stored, tiny_backbone, colour_pairs, damage):
    run, folder = stored
    last = checkpoints(folder)[-1]
    data = bytearray(last.read_bytes())
    weights = load_checkpoint(last)[0]["mean"]["layers.0.weight"].numpy().tobytes()
    if damage == "cut":
        last.write_bytes(data[: len(data) // 2])
    elif damage == "empty":
        last.write_bytes(b"")
    elif damage == "flipped":
        data[data.index(weights) + 7] ^= 1
        last.write_bytes(data)
    else:
        last.unlink()
    error = FileNotFoundError if damage == "missing" else ValueError
    for work in (
        lambda: load_inversion(last),
        lambda: fit(config(colour_pairs, seed=1), backbone=tiny_backbone, resume=last),
    ):
        with pytest.raises(error, match=last.name):
            work()


def test_an_earlier_checkpoint_takes_over_when_the_last_is_damaged(
    stored, tiny_backbone, colour_pairs, artifacts, capsys
):
    run, folder = stored
    wanted = (run.path / "phi.safetensors").read_bytes()
    (run.path / "key.json").unlink()
    last = checkpoints(folder)[-1]
    last.write_bytes(b"")
    with pytest.raises(ValueError, match="remove .*step-00000017.ckpt to go on from the checkpoint before"):
        fit(config(colour_pairs), backbone=tiny_backbone, resume=last)
    again = fit(config(colour_pairs), backbone=tiny_backbone)
    said = capsys.readouterr().out
    assert "step-00000017.ckpt: damaged or cut off" in said and "resumed at step 15 of 17" in said
    assert (again.path / "phi.safetensors").read_bytes() == wanted


def test_foreign_checkpoints_are_refused(stored, make_tiny_backbone, tiny_backbone, colour_pairs):
    _, folder = stored
    last = checkpoints(folder)[-1]
    with pytest.raises(ValueError, match=r"was trained with backbone 'tiny' \(\w+\), not with 'tiny'"):
        fit(config(colour_pairs), backbone=make_tiny_backbone(seed=2), resume=last)
    with pytest.raises(ValueError, match="was trained with lr 0.001, not 0.002, tau 0.3, not 0.1"):
        fit(config(colour_pairs, lr=2e-3, tau=0.1), backbone=tiny_backbone, resume=last)
    with pytest.raises(ValueError, match="was trained with pairs"):
        fit(config(colour_pairs, limit=30), backbone=tiny_backbone, resume=last)
    with pytest.raises(FileNotFoundError, match="holds no checkpoint"):
        fit(config(colour_pairs, seed=3), backbone=tiny_backbone, resume=folder / "nowhere")


def test_beginning_anew(stored, tiny_backbone, colour_pairs, capsys):
    run, folder = stored
    (run.path / "key.json").unlink()
    fit(config(colour_pairs), backbone=tiny_backbone)
    assert "resumed at step 17 of 17" in capsys.readouterr().out
    (run.path / "key.json").unlink()
    fit(config(colour_pairs), backbone=tiny_backbone, resume=False)
    assert "resumed" not in capsys.readouterr().out


def test_only_the_last_are_kept(tmp_path):
    for step in (1, 2, 30, 4):
        save_checkpoint(tmp_path, step, {"a": torch.ones(2)}, {})
    assert [path.name for path in checkpoints(tmp_path)] == ["step-00000004.ckpt", "step-00000030.ckpt"]
    parts, record = load_checkpoint(tmp_path / "step-00000030.ckpt")
    assert record["step"] == 30 and torch.equal(parts["a"], torch.ones(2))


def test_json_that_is_no_object(stored):
    settings = stored[0].path / "config.json"
    settings.write_text("[1]", "utf-8")
    with pytest.raises(ValueError, match="config.json is damaged: it holds no JSON object"):
        load_inversion(settings.parent)


def test_a_checkpoint_that_is_set_aside_says_what_is_wrong_with_it(tmp_path, capsys):
    (tmp_path / "step-00000002.ckpt").write_bytes(b"PK\3\4 cut")
    with zipfile.ZipFile(tmp_path / "step-00000001.ckpt", "w") as archive:
        archive.writestr("whole", "but no checkpoint")
    assert _last_whole(tmp_path) == []
    cut, other = capsys.readouterr().out.splitlines()
    assert "step-00000002.ckpt: damaged or cut off (File is not a zip file); set aside as" in cut
    assert "step-00000001.ckpt: no checkpoint that can be read; set aside as" in other
