"""One flipped bit anywhere in what is stored or fetched: it is told, or it changes nothing."""

import json
from collections.abc import Callable
from pathlib import Path

import nbformat
import pytest
import torch

from zscir.backbone.weights import read_weights
from zscir.book import chapters
from zscir.inversion.checkpoints import load_checkpoint, save_checkpoint
from zscir.inversion.external import read_published
from zscir.storage.outcomes import Outcome
from zscir.storage.points import Store

WEIGHTS = {"layers.0.weight": torch.eye(2), "layers.0.bias": torch.tensor([0.5, 3.0])}
Reader = Callable[[], object]


def plain(value: object) -> object:
    """A value to compare: tensors as lists."""
    if isinstance(value, torch.Tensor):
        return value.tolist()
    if isinstance(value, dict):
        return {name: plain(one) for name, one in value.items()}
    return [plain(one) for one in value] if isinstance(value, (list, tuple)) else value


def checkpoint(folder: Path) -> tuple[Path, Reader]:
    """A checkpoint of a training."""
    path = save_checkpoint(folder, 3, {"phi": WEIGHTS, "recent": [torch.ones(2)]}, {"history": [[1, 0.5]]})
    return path, lambda: plain(load_checkpoint(path))


def published(folder: Path) -> tuple[Path, Reader]:
    """A network that others published."""
    torch.save({"Phi": WEIGHTS}, folder / "phi.pt")
    return folder / "phi.pt", lambda: plain(read_published(folder / "phi.pt")[0].state_dict())


def backbone(folder: Path) -> tuple[Path, Reader]:
    """Weights of a backbone."""
    torch.save({"logit_scale": torch.tensor(2.5), "visual.proj": torch.eye(2)}, folder / "clip.pt")
    return folder / "clip.pt", lambda: plain(read_weights(folder / "clip.pt"))


def point(folder: Path) -> tuple[Path, Reader]:
    """A finished point of a sweep."""
    done = {"tau": 0.2}
    Store(folder, point).add(done, Outcome({"recall@1": 41.25}, seconds=1.5, machine={"processor": "x"}))
    (path,) = (folder / "points").iterdir()
    return path, lambda: Store(folder, point).read([done])


def provenance(folder: Path) -> tuple[Path, Reader]:
    """What made the points of a sweep."""
    point(folder)
    return folder / "provenance.json", lambda: Store(folder, point).record["runs"]


def copy(folder: Path) -> tuple[Path, Reader]:
    """An executed chapter."""
    said = nbformat.v4.new_output("stream", text="recall 41.25\n")
    cell = nbformat.v4.new_code_cell("print()", id="01-1", outputs=[said])
    notebook = nbformat.v4.new_notebook(cells=[cell], metadata={"zscir": {"stamp": "0a1b", "record": {}}})
    path = chapters._store(notebook, folder / "01_a.ipynb")

    def read() -> object:
        if not chapters.told_by(path):
            raise ValueError("it is run again")
        return json.loads(path.read_text("utf-8"))

    return path, read


@pytest.mark.parametrize("kind", [checkpoint, published, backbone, point, provenance, copy])
def test_a_flipped_bit_is_told_or_changes_nothing(tmp_path, kind):
    path, read = kind(tmp_path)
    data, wanted, told = path.read_bytes(), read(), 0
    step = max(1, len(data) // 200)
    for place in range(0, len(data), step):
        path.write_bytes(data[:place] + bytes([data[place] ^ (1 << place % 8)]) + data[place + 1 :])
        try:
            found = read()
        except ValueError as error:
            told += 1
            assert kind is copy or path.name in str(error)
        else:
            assert found == wanted, place
    assert told > len(data) / step / 20


@pytest.mark.parametrize("read", [read_published, read_weights])
def test_the_flipped_tensor_is_named(tmp_path, read):
    path = tmp_path / "phi.pt"
    torch.save({"Phi": WEIGHTS}, path)
    data = path.read_bytes()
    place = data.index(torch.tensor([0.5, 3.0]).numpy().tobytes())
    path.write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
    with pytest.raises(ValueError, match=r"phi.pt is damaged: phi/data/1 has other bytes .* fetch it again"):
        read(path)


def test_archives_without_checksums_are_read(tmp_path):
    torch.serialization.set_crc32_options(False)
    try:
        torch.save({"Phi": WEIGHTS}, tmp_path / "phi.pt")
    finally:
        torch.serialization.set_crc32_options(True)
    assert plain(read_published(tmp_path / "phi.pt")[0].state_dict()) == plain(WEIGHTS)
