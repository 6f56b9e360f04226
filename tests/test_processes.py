"""Several processes train as one does; shards may be uneven."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from zscir.inversion import TrainConfig, fit
from zscir.inversion.processes import Processes, SharedTower

WORKER = Path(__file__).with_name("train_worker.py")


@pytest.mark.parametrize(("rows", "count"), [(8, 2), (9, 2), (3, 4), (0, 2), (17, 5)])
def test_rows_are_dealt_out_whole(rows, count):
    dealt, sizes = [], []
    for index in range(count):
        one = Processes()
        one.count, one.index = count, index
        mine = list(range(rows))[one.part(rows)]
        dealt, sizes = dealt + mine, [*sizes, len(mine)]
    assert dealt == list(range(rows)) and max(sizes) - min(sizes) <= 1


def test_alone_nothing_happens():
    one, features = Processes(), torch.ones(3, 2)
    assert one.first and one.gather(features, 3) is features and one.agree({"a": 1}) == {"a": 1}
    assert one.first_then_all(lambda: 5) == 5
    one.wait()
    one.add_gradients([])


def test_the_tower_passes_for_a_backbone(tiny_backbone):
    words = torch.randn(2, tiny_backbone.token_width)
    ids = tiny_backbone.tokenize(["a * at night", "the *"])
    tower = SharedTower(tiny_backbone, Processes())
    ours, plain = tower.compose_tokens(ids, words), tiny_backbone.compose_tokens(ids, words)
    assert torch.allclose(ours, plain, atol=1e-5)
    assert tower.logit_scale == tiny_backbone.logit_scale


@pytest.mark.slow
def test_two_processes_train_as_one(tiny_backbone, colour_pairs, tmp_path, monkeypatch):
    """With dropout, a batch of odd size, and a pair without a noun; from features and from images."""
    settings = {"pairs": colour_pairs, "steps": 20, "batch": 9, "warmup": 3, "hidden": 24}
    trainings = [settings, {**settings, "online": True}]
    two = {**os.environ, "ZSCIR_ARTIFACTS": str(tmp_path / "two"), "PYTHONPATH": str(WORKER.parents[1])}
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    words = [*launch, str(WORKER), json.dumps(trainings)]
    done = subprocess.run(
        words, capture_output=True, text=True, env={**two, "OMP_NUM_THREADS": "1"}, timeout=300
    )
    assert done.returncode == 0, done.stderr[-3000:]
    monkeypatch.setenv("ZSCIR_ARTIFACTS", str(tmp_path / "one"))
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    for line, one in zip(lines, trainings, strict=True):
        said, run = json.loads(line), fit(TrainConfig(**one), backbone=tiny_backbone, progress=False)
        assert np.allclose(said["loss"], run.history.loss, rtol=1e-5)
        assert said["report"] == run.record["report"] and said["report"]["left_over_per_epoch"] == 0
        theirs = load_file(Path(said["path"]) / "phi.safetensors")
        for name, ours in run.phi.state_dict().items():
            assert torch.allclose(theirs[name], ours, atol=1e-5), name


def test_a_batch_too_small_for_so_many(colour_pairs, tiny_backbone, monkeypatch):
    monkeypatch.setattr(
        Processes, "__init__", lambda self: self.__dict__.update(count=4, index=0, device=None)
    )
    with pytest.raises(ValueError, match="batch is 3; legal: at least one pair for each of 4"):
        fit(TrainConfig(pairs=colour_pairs, batch=3), backbone=tiny_backbone)
