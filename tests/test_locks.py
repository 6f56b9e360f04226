"""What several processes want at once is made by one of them."""

import signal
import subprocess
import sys
import time

import pytest

from zscir import locks
from zscir.artifacts import artifact, fingerprint

BUILDER = """
import sys, time
from pathlib import Path
from zscir.artifacts import artifact

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


@pytest.mark.skipif(locks.fcntl is None, reason="this system has no such locks")
def test_of_several_processes_one_builds_and_the_others_wait(tmp_path):
    for process in [builder(tmp_path, 1.5) for _ in range(3)]:
        assert process.wait(timeout=60) == 0
    assert (tmp_path / "builds").read_text() == "x"
    assert [path.name for path in (tmp_path / "demo").iterdir()] == [fingerprint({"a": 1})]


@pytest.mark.skipif(locks.fcntl is None, reason="this system has no such locks")
def test_a_killed_process_leaves_no_lock(tmp_path):
    killed = builder(tmp_path, 600)
    wait_for(tmp_path / "builds")
    lock = tmp_path / "demo" / f".lock-{fingerprint({'a': 1})}"
    assert lock.exists()
    killed.send_signal(signal.SIGKILL)
    killed.wait(timeout=60)
    folder = artifact("demo", {"a": 1}, lambda tmp: (tmp / "whole").touch(), root=tmp_path)
    assert (folder / "whole").exists() and not lock.exists()


@pytest.mark.parametrize("code", locks._WITHOUT)
def test_without_locks_the_work_is_done_all_the_same(tmp_path, monkeypatch, code):
    def refuse(handle, how):
        raise OSError(code, "no locks here")

    if locks.fcntl is not None:
        monkeypatch.setattr(locks.fcntl, "lockf", refuse)
    with locks.alone(tmp_path / "thing"):
        pass
    monkeypatch.setattr(locks, "fcntl", None)
    with locks.alone(tmp_path / "other"):
        assert not (tmp_path / ".lock-other").exists()


@pytest.mark.skipif(locks.fcntl is None, reason="this system has no such locks")
def test_other_troubles_of_a_lock_are_told(tmp_path, monkeypatch):
    def refuse(handle, how):
        raise OSError(5, "the disk is broken")

    monkeypatch.setattr(locks.fcntl, "lockf", refuse)
    with pytest.raises(OSError, match="the disk is broken"), locks.alone(tmp_path / "thing"):
        pass
