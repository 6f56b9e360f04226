"""Artifacts: the same key gives the same folder, and nothing half-built is taken for whole."""

import hashlib
import json
import threading
import zlib
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from zscir.inversion import TrainConfig, fit, load_inversion
from zscir.storage import artifact, artifacts, fingerprint
from zscir.storage.shards import Layer


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
    monkeypatch.setattr("zscir.storage.artifacts.lock", lambda path: nullcontext(False))  # no locks here
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


# ---------------------------------------------------------------------------------------------- damaged files


def flip(path):
    data = bytearray(path.read_bytes())
    data[-3] ^= 4
    path.write_bytes(data)


def cut(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


DAMAGES = {"flipped": flip, "cut": cut, "empty": lambda path: path.write_bytes(b""), "gone": Path.unlink}
damages = pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.setenv("ZSCIR_ARTIFACTS", str(tmp_path / "artifacts"))
    return tmp_path / "artifacts"


@pytest.fixture
def work(root):
    """A function that stores something, and the pattern of the file it stores."""

    def compute():
        return artifact("demo", {"a": 1}, lambda tmp: np.save(tmp / "features.npy", np.arange(9.0)))

    return compute, "demo/*/features.npy"


@damages
def test_what_is_damaged_is_named_set_aside_and_computed_anew(work, root, capsys, damage):
    compute, pattern = work
    compute()
    (path,) = root.glob(pattern)
    whole = path.read_bytes()
    damage(path)
    capsys.readouterr()
    compute()
    said = capsys.readouterr()
    name = path.parent.name
    assert said.out.count("\n") == 1 and said.err == ""
    assert said.out.startswith(f"{path.parent.parent.name}/{name}: {path.name} is ")
    assert said.out.endswith(f"; set aside as {name}.damaged, computed anew\n") and str(root) not in said.out
    assert path.read_bytes() == whole
    aside = path.parent.with_name(f"{name}.damaged") / path.name
    assert not aside.exists() if damage is Path.unlink else aside.read_bytes() != whole
    compute()
    assert capsys.readouterr().out == ""


@damages
def test_a_damaged_key_is_named_too(work, root, capsys, damage):
    compute, pattern = work
    compute()
    (path,) = root.glob(pattern)
    whole = path.read_bytes()
    damage(path.with_name("key.json"))
    capsys.readouterr()
    compute()
    assert "/" + path.parent.name + ": key.json is " in capsys.readouterr().out
    assert path.read_bytes() == whole


def test_stored_before_there_were_checksums_it_is_computed_anew(root, capsys):
    folder = artifact("demo", {}, lambda tmp: (tmp / "x").write_text("old"))
    record = json.loads((folder / "key.json").read_text())
    assert record.pop("files") == {"x": f"3 bytes with CRC-32 {zlib.crc32(b'old'):08x}"}
    (folder / "key.json").write_text(json.dumps(record))
    assert (artifact("demo", {}, lambda tmp: (tmp / "x").write_text("new")) / "x").read_text() == "new"
    assert "older than checksums; set aside" in capsys.readouterr().out


def test_many_damaged_files_are_one_line_and_files_below_folders_count(root, capsys):
    def build(folder):
        (folder / "images").mkdir()
        for number in range(5):
            (folder / "images" / f"{number}.png").write_bytes(b"12345")

    for _ in range(2):  # the older copy that was set aside gives way
        folder = artifact("demo", {}, build)
        (folder / "more.txt").touch()  # what was not stored with it does not matter
        assert artifact("demo", {}, build) == folder and (folder / "more.txt").exists()
        for number in (1, 3, 4):
            flip(folder / "images" / f"{number}.png")
        artifact("demo", {}, build)
        assert ": images/1.png is 5 bytes with" in (said := capsys.readouterr().out)
        assert "(and 2 more files); set aside" in said and said.count("\n") == 1
    assert sorted(path.name for path in (root / "demo").iterdir()) == [folder.name, f"{folder.name}.damaged"]


def test_bytes_are_read_once_a_process(root, monkeypatch):
    read = []

    def crc32(data, value=None):
        if value is not None:  # of a file; else of JSON
            read.append(len(data))
        return 0

    monkeypatch.setattr(artifacts.zlib, "crc32", crc32)
    for _ in range(3):
        artifact("demo", {}, lambda tmp: (tmp / "x").write_bytes(b"12345"))
    assert read == [5, 5]  # to write the checksum, and to compare it


@damages
def test_a_damaged_part_is_computed_anew(root, capsys, damage):
    layer = Layer("demo", {"a": 1}, 2)
    columns = [{"x": np.full((2, 3), index), "words": [f"no. {index}", "ä"]} for index in range(3)]
    for index in range(3):
        layer.write(index, columns[index])
    whole = (part := layer.parts / "000001.npz").read_bytes()
    if damage is flip:
        part.write_bytes(whole[:150] + bytes([whole[150] ^ 4]) + whole[151:])  # in the middle of a column
    else:
        damage(part)
    assert [layer.has(index) for index in range(3)] == [True, False, True]
    said = capsys.readouterr().out
    if damage is not Path.unlink:
        assert said.startswith(f"{layer.parts.name}/000001.npz: ") and said.count("\n") == 1
        assert said.endswith("; set aside as 000001.npz.damaged, computed anew\n")
    layer.write(1, columns[1])
    folder = layer.finish(3)
    assert np.array_equal(np.load(folder / "x.npy"), np.repeat([[0] * 3, [1] * 3, [2] * 3], 2, axis=0))
    assert json.loads((folder / "words.json").read_text("utf-8")) == [
        "no. 0",
        "ä",
        "no. 1",
        "ä",
        "no. 2",
        "ä",
    ]


def test_a_flipped_bit_anywhere_in_a_part_is_found_or_does_not_matter(root):
    layer = Layer("demo", {}, 2)
    layer.write(0, {"x": np.arange(3, dtype=np.int8)})
    part, found = layer.parts / "000000.npz", 0
    whole = part.read_bytes()
    for place in range(len(whole)):
        data = bytearray(whole)
        data[place] ^= 1 << place % 8
        part.write_bytes(data)
        if layer.has(0):
            assert layer.read(0)["x"].tolist() == [0, 1, 2], place
        else:
            found += 1
    assert found > 128  # the column and most of what surrounds it


def test_a_flipped_phi_is_refused(root, colour_pairs, tiny_backbone):
    config = TrainConfig(pairs=colour_pairs, steps=4, batch=8, warmup=1, hidden=8)
    run = fit(config, backbone=tiny_backbone, progress=False)
    flip(run.path / "phi.safetensors")
    with pytest.raises(ValueError, match="is damaged: phi.safetensors is .* was written as"):
        load_inversion(run.path)
