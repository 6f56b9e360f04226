"""Artifacts: the same key gives the same folder, and nothing half-built is taken for whole."""

import hashlib
import json
import threading
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from zscir.storage import artifact, fingerprint


@dataclass
class Point:
    """A dataclass to name."""

    x: float
    where: Path


def test_fingerprint_ignores_order_and_container_type():
    assert fingerprint({"a": 1, "b": (2, 3)}) == fingerprint({"b": [2, 3], "a": 1})
    assert fingerprint(Point(np.float64(0.5), Path("/x"))) == fingerprint({"where": "/x", "x": 0.5})
    assert fingerprint(np.int64(3), np.bool_(True)) == fingerprint(3, True)


@pytest.mark.parametrize("other", [({"a": 2},), ({"b": 1},), ({"a": "1"},), ({"a": True},), ({"a": 1}, None)])
def test_fingerprint_tells_values_apart(other):
    assert fingerprint({"a": 1}) != fingerprint(*other)


def test_fingerprint_is_the_hash_of_the_canonical_text():
    expected = hashlib.sha256(b'["tau",0.3,{"a":null,"b":[1]}]').hexdigest()[:16]
    assert fingerprint("tau", 0.3, {"b": (1,), "a": None}) == expected


@pytest.mark.parametrize("bad", [{1, 2}, np.zeros(2), object(), {1: "a"}, Point, b"x", [np.ones(1)]])
def test_fingerprint_refuses_what_has_no_one_spelling(bad):
    with pytest.raises(TypeError):
        fingerprint(bad)


def test_fingerprint_refuses_nan():
    with pytest.raises(ValueError):
        fingerprint(float("nan"))


def test_built_once_then_reused(tmp_path):
    calls = []

    def build(folder):
        calls.append(folder)
        (folder / "data.txt").write_text("hello")

    first = artifact("demo", {"tau": 0.3}, build, root=tmp_path)
    again = artifact("demo", {"tau": 0.3}, build, root=tmp_path)
    other = artifact("demo", {"tau": 0.4}, build, root=tmp_path)
    assert first == again == tmp_path / "demo" / fingerprint({"tau": 0.3})
    assert other != first and len(calls) == 2
    assert (first / "data.txt").read_text() == "hello"
    record = json.loads((first / "key.json").read_text())
    assert record["key"] == {"tau": 0.3} and set(record["versions"]) == {"zscir", "torch", "open_clip_torch"}
    assert sorted(p.name for p in (tmp_path / "demo").iterdir()) == sorted([first.name, other.name])


def test_environment_variable_names_the_root(tmp_path, monkeypatch):
    monkeypatch.setenv("ZSCIR_ARTIFACTS", str(tmp_path / "elsewhere"))
    folder = artifact("demo", {}, lambda tmp: (tmp / "x").touch())
    assert folder.parent == tmp_path / "elsewhere" / "demo"


@pytest.mark.parametrize("error", [RuntimeError("no"), KeyboardInterrupt()])
def test_failed_build_leaves_nothing(tmp_path, error):
    def build(folder):
        (folder / "half").write_text("x")
        raise error

    with pytest.raises(type(error)):
        artifact("demo", {}, build, root=tmp_path)
    assert list((tmp_path / "demo").iterdir()) == []


def test_folder_without_key_is_built_anew(tmp_path):
    folder = tmp_path / "demo" / fingerprint({"a": 1})
    folder.mkdir(parents=True)
    (folder / "half").write_text("x")
    built = artifact("demo", {"a": 1}, lambda tmp: (tmp / "whole").touch(), root=tmp_path)
    assert built == folder
    assert sorted(p.name for p in built.iterdir()) == ["key.json", "whole"]


def test_loser_of_a_race_drops_its_copy(tmp_path, monkeypatch):
    monkeypatch.setattr("zscir.storage.artifacts.lock", nullcontext)  # a file system without locks
    barrier = threading.Barrier(2)
    results = []

    def build(folder):
        barrier.wait(timeout=10)  # both build at once
        (folder / "by").write_text(threading.current_thread().name)

    def run():
        results.append(artifact("demo", {"a": 1}, build, root=tmp_path))

    threads = [threading.Thread(target=run, name=name) for name in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 2 and results[0] == results[1]
    assert [p.name for p in (tmp_path / "demo").iterdir()] == [results[0].name]
    assert (results[0] / "by").read_text() in {"a", "b"}


@pytest.mark.parametrize("kind", ["", "a/b", "..", ".", "a b"])
def test_kind_is_one_folder_name(tmp_path, kind):
    with pytest.raises(ValueError, match="kind"):
        artifact(kind, {}, lambda tmp: None, root=tmp_path)
