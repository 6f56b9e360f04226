"""What several processes want at once is made by one of them."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from zscir.storage import artifact, fingerprint, locks

BUILDER = """
import sys, time
from pathlib import Path
from zscir.storage import artifact

def build(folder):
    with open(sys.argv[1] + "/builds", "a") as builds:
        builds.write("x")
    time.sleep(float(sys.argv[2]))

artifact("demo", {"a": 1}, build, root=Path(sys.argv[1]))
"""


def builder(folder, seconds: float) -> subprocess.Popen:
    """A process that builds an artifact, which takes it some time."""
    return subprocess.Popen([sys.executable, "-c", BUILDER, str(folder), str(seconds)])


def wait_for(path) -> None:
    """Until a file is there."""
    end = time.monotonic() + 60
    while not path.exists():
        assert time.monotonic() < end, path
        time.sleep(0.02)


def test_of_several_processes_one_builds_and_the_others_wait(tmp_path):
    for process in [builder(tmp_path, 1.5) for _ in range(3)]:
        assert process.wait(timeout=60) == 0
    assert (tmp_path / "builds").read_text() == "x"
    assert [path.name for path in (tmp_path / "demo").iterdir()] == [fingerprint({"a": 1})]


@pytest.mark.posix
def test_a_killed_process_leaves_no_lock(tmp_path):
    killed = builder(tmp_path, 600)
    wait_for(tmp_path / "builds")
    lock = tmp_path / ".locks" / f"demo-{fingerprint({'a': 1})}"
    assert lock.exists()
    killed.send_signal(signal.SIGKILL)
    killed.wait(timeout=60)
    folder = artifact("demo", {"a": 1}, lambda tmp: (tmp / "whole").touch(), root=tmp_path)
    assert (folder / "whole").exists() and not lock.exists()


@pytest.mark.slow
def test_equal_trainings_at_once_are_one_training(tmp_path, colour_pairs):
    worker = Path(__file__).with_name("train_worker.py")
    env = {**os.environ, "ZSCIR_ARTIFACTS": str(tmp_path / "artifacts"), "PYTHONPATH": str(worker.parents[1])}
    settings = {"pairs": colour_pairs, "steps": 12, "batch": 8, "warmup": 3, "hidden": 24}
    words = [sys.executable, str(worker), json.dumps([{**settings, "checkpoint_every": 1}])]
    both = [subprocess.Popen(words, env=env, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    told = [process.communicate(timeout=300)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0] and told[0] == told[1]
    (folder,) = (tmp_path / "artifacts" / "inversion").iterdir()
    assert json.loads(told[0])["path"] == str(folder)
    assert not list((tmp_path / "artifacts" / ".locks").iterdir())


def refusing(monkeypatch, code: int) -> None:
    """Let every file system answer with this error when it is asked for a lock."""

    def refuse(self):
        raise OSError(code, "no locks here")

    monkeypatch.setattr(locks.FileLock, "_acquire", refuse)


@pytest.mark.parametrize("code", locks._WITHOUT_LOCKS)
def test_without_locks_the_work_is_done_all_the_same(tmp_path, monkeypatch, code):
    refusing(monkeypatch, code)
    with locks.lock(tmp_path / "kind" / "thing"), locks.lock(tmp_path / "kind" / "thing") as alone:
        assert alone is None, "nothing is known of the others, so nothing of theirs may be removed"
        assert not (tmp_path / ".locks" / "kind-thing").exists()


def test_other_troubles_of_a_lock_are_told(tmp_path, monkeypatch):
    refusing(monkeypatch, 5)
    with pytest.raises(OSError, match="no locks here"), locks.lock(tmp_path / "kind" / "x"):
        pass


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no such children")
def test_a_forked_child_does_not_keep_the_lock_of_a_killed_process(tmp_path):
    forked = (
        "import os, sys, time; from pathlib import Path; from zscir.storage.locks import lock\n"
        "with lock(Path(sys.argv[1], 'kind', 'x')): os.write(1, b'%d\\n' % os.fork()), time.sleep(60)"
    )
    command = [sys.executable, "-c", forked, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        child = max(int(process.stdout.readline()) for _ in range(2))
        process.kill()
        process.wait(timeout=60)
        try:
            with locks.lock(tmp_path / "kind" / "x"):
                os.kill(child, 0)  # it lives
        finally:
            os.kill(child, signal.SIGKILL)
