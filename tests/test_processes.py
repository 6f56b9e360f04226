"""Several processes make masked pairs, and train, as one does; shards may be uneven."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from zscir import cli
from zscir.backbone.weights import build_model, save_backbone
from zscir.inversion import TrainConfig, fit
from zscir.inversion.processes import Processes, SharedTower
from zscir.storage.dealing import Dealt
from zscir.storage.locks import lock
from zscir.storage.shards import Layer

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
    one.wait()
    one.add_gradients([])


def test_the_tower_passes_for_a_backbone(tiny_backbone):
    words = torch.randn(2, tiny_backbone.token_width)
    ids = tiny_backbone.tokenize(["a * at night", "the *"])
    tower = SharedTower(tiny_backbone, Processes())
    ours, plain = tower.compose_tokens(ids, words), tiny_backbone.compose_tokens(ids, words)
    assert torch.allclose(ours, plain, atol=1e-5)
    assert tower.logit_scale == tiny_backbone.logit_scale


@pytest.mark.thorough
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


# -------------------------------------------------------------------------------------- masked pairs


@pytest.fixture
def layer(tmp_path, monkeypatch):
    """A layer of parts that say who made them."""
    monkeypatch.setenv("ZSCIR_ARTIFACTS", str(tmp_path / "artifacts"))
    return Layer("demo", {}, 1)


def test_a_part_that_another_makes_is_left_to_it(layer, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with lock(layer.parts.with_name(f"{layer.parts.name}-3")), Dealt([layer], 6) as dealt:
        assert dealt.own == [1, 3, 5]
        for index in dealt.take(wait=False):
            assert not any(lock_is_free(layer, held) for held in (index, 3))
            layer.write(index, {"x": np.full(1, index)})
            dealt.release(index)
            made = [number for number in range(6) if layer.has(number)]
            assert made[-1] != 3
    assert sorted(made) == [0, 1, 2, 4, 5]  # of the others' share, too
    with Dealt([layer], 6) as dealt:  # the other is gone, and its part is not there
        for index in dealt:
            layer.write(index, {"x": np.full(1, index)})
    assert np.load(layer.finish(6) / "x.npy").tolist() == [0, 1, 2, 3, 4, 5]


def lock_is_free(layer, index):
    with lock(layer.parts.with_name(f"{layer.parts.name}-{index}"), wait=False) as free:
        return free


def test_who_waits_for_a_part_takes_what_was_made(layer):
    other = threading.Event()

    def make():
        with lock(layer.parts.with_name(f"{layer.parts.name}-0")):
            other.set()
            time.sleep(0.2)
            layer.write(0, {"x": np.zeros(1)})

    thread = threading.Thread(target=make)
    thread.start()
    other.wait()
    with Dealt([layer], 1) as dealt:
        assert list(dealt) == []
    thread.join()


def test_where_there_are_no_locks_a_share_is_made_all_the_same(layer, monkeypatch):
    def without(self, **options):
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr("filelock.FileLock.acquire", without)
    with Dealt([layer], 4, share=(1, 2)) as dealt:
        assert list(dealt) == [1, 3]


def kill_one(cluster, artifacts, seen, over):
    """SIGKILL to a worker when two shards of masked images are stored; what was there then."""
    while not over.wait(0.01):
        if len(parts := list(artifacts.glob("masked-features/.parts*/*.npz"))) >= 2:
            os.kill(cluster.workers[0].pid, signal.SIGKILL)
            seen |= {part: part.stat().st_mtime_ns for part in parts}
            return


@pytest.mark.thorough
@pytest.mark.posix
@pytest.mark.slow
def test_workers_of_a_cluster_make_masked_pairs_and_one_is_killed(
    colour_pairs, make_tiny_config, tmp_path, monkeypatch, capsys
):
    from dask.distributed import LocalCluster

    table = Path(colour_pairs, "pairs.tsv")
    header, *rows = table.read_text("utf-8").splitlines()
    table.write_text("\n".join([header, *rows * 49]) + "\n", "utf-8")  # 7 shards
    config = make_tiny_config()
    backbone = str(save_backbone(build_model(config["model_cfg"]), config, tmp_path / "tiny"))
    words = ["pairs", colour_pairs, "--backbone", backbone, "--fill", "noise", "--out"]
    several, one, seen, over = tmp_path / "several", tmp_path / "one", {}, threading.Event()
    monkeypatch.setattr("zscir.pairs.cluster.TASK", 1)
    monkeypatch.setenv("ZSCIR_ARTIFACTS", str(several))
    finished, finish = {}, Layer.finish

    def noted(layer, count):
        finished.update((part, part.stat().st_mtime_ns) for part in layer.parts.glob("*.npz"))
        return finish(layer, count)

    monkeypatch.setattr(Layer, "finish", noted)
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as two:
        killer = threading.Thread(target=kill_one, args=(two, several, seen, over))
        killer.start()
        status = cli.main([*words, str(tmp_path / "a"), "--scheduler", two.scheduler_address])
        over.set()
        killer.join()
    assert status == 0
    assert "[7/7] share " in capsys.readouterr().err
    assert 2 <= len(seen) < 7 and seen.items() <= finished.items()  # none was written again
    monkeypatch.setenv("ZSCIR_ARTIFACTS", str(one))
    assert cli.main([*words, str(tmp_path / "b")]) == 0
    assert files_of(several) == files_of(one)
    assert files_of(tmp_path / "a") == files_of(tmp_path / "b")


def files_of(folder):
    """Bytes of the files in a folder of artifacts or of a dataset; not of `datasets`' own fingerprint, nor of
    the empty lock that a killed process leaves behind."""
    files = [path for path in folder.rglob("*") if path.is_file() and path.name != "state.json"]
    files = [path for path in files if path.parent != folder / ".locks"]
    return {path.relative_to(folder): path.read_bytes() for path in files}


def test_what_workers_do_not_see_is_told(tmp_path):
    from zscir.pairs.cluster import make_shards
    from zscir.storage.outcomes import SweepError

    with pytest.raises(SweepError, match="a worker does not see /nowhere/.shared-x: let ZSCIR_ART"):
        make_shards({}, sign="/nowhere/.shared-x", sources=(), same=("", ""), masking=None, work={})
