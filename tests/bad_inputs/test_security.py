"""What a stranger's file could try: each is refused, or shown harmless."""

import ast
import struct
import subprocess
import tarfile
import zlib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from markdown_it import MarkdownIt
from papermill.iorw import load_notebook_node
from papermill.parameterize import parameterize_notebook
from places import old_pickle, pickled, png, tar_of
from torch import nn

from zscir.backbone.weights import WEIGHT_FILES, read_weights
from zscir.book.chapters import run_checks, source_of
from zscir.book.record import table, values_line
from zscir.figures.live import LiveFigure
from zscir.figures.style import new_figure
from zscir.inversion import load_inversion
from zscir.inversion.checkpoints import load_checkpoint
from zscir.pairs import load_pairs
from zscir.retrieval.scores import Table
from zscir.storage.paths import REPO
from zscir.storage.pictures import open_picture

SCRIPT = "</script><script>alert('`1`')</script><img src=x onerror=alert(1)>"


def members(*names, kind=tarfile.REGTYPE, target=""):
    """Entries that are no plain files."""
    found = []
    for name in names:
        found.append(tarfile.TarInfo(name))
        found[-1].type, found[-1].linkname = kind, target
    return found


def test_names_in_a_tar_are_names_alone(tmp_path):
    (tmp_path / "inner").mkdir()
    evil = ["../up", "/etc/absolute", "a/../../../b", "C:\\x"]
    pairs = [member for name in evil for member in ((f"{name}.png", png()), (f"{name}.txt", b"a dog"))]
    links = members("l.png", kind=tarfile.SYMTYPE, target="/etc/passwd")
    links += members("h.png", kind=tarfile.LNKTYPE, target="../up.png")
    links += members("d.png", kind=tarfile.BLKTYPE) + members("f.png", kind=tarfile.FIFOTYPE)
    (tmp_path / "inner" / "0.tar").write_bytes(tar_of(*pairs, *links))
    found = load_pairs(tmp_path / "inner")
    assert [image.size for image in found.images] == [(40, 30)] * len(evil)
    assert len(found.incomplete) == 4 and all("which is not followed" in text for text in found.incomplete)
    assert sorted(tmp_path.rglob("*")) == [tmp_path / "inner", tmp_path / "inner" / "0.tar"]


@pytest.mark.parametrize("size", [-512, -1, 2**62])
def test_a_tar_whose_member_has_an_impossible_size_is_refused(tmp_path, size):
    data = bytearray(tar_of(("0.png", png()), ("0.txt", b"a dog")))
    data[124:136] = (
        (size & (2**95 - 1) | 1 << 95).to_bytes(12, "big")
        if size > 0
        else size.to_bytes(12, "big", signed=True)
    )
    data[148:156] = b" " * 8
    data[148:156] = b"%06o\0 " % sum(data[:512])
    (tmp_path / "0.tar").write_bytes(data)
    with pytest.raises(ValueError, match=r"0\.tar is no whole tar file"):
        load_pairs(tmp_path)


def huge_png():
    """A PNG of 60,000 x 60,000 pixels in 100 bytes."""
    data = bytearray(png())
    data[16:24] = struct.pack(">II", 60_000, 60_000)
    data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
    return bytes(data)


def huge_gif():
    """A GIF whose screen has 65,535 x 65,535 pixels."""
    return b"GIF89a" + struct.pack("<HH", 65_535, 65_535) + b"\x80\0\0" + bytes(6) + b";"


LAUGHS = b"""<?xml version="1.0"?><!DOCTYPE svg [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;">]>
<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/><text>&b;</text></svg>"""
EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n(x) (w) file closefile\n"


@pytest.mark.parametrize("data", [huge_png(), huge_gif(), LAUGHS, EPS], ids=["png", "gif", "svg", "eps"])
def test_pictures_that_would_grow_or_run_are_refused(data, monkeypatch, tmp_path):
    monkeypatch.setattr(subprocess, "Popen", None)  # Pillow hands EPS to Ghostscript
    (tmp_path / "a.png").write_bytes(data)
    for source in (data, tmp_path / "a.png"):
        with pytest.raises(ValueError, match="cannot be decoded as an image"):
            open_picture(source)


@pytest.mark.parametrize("content", [pickled(), old_pickle()], ids=["torch", "pickle"])
def test_no_file_of_weights_runs_code(content, tmp_path, monkeypatch, make_tiny_config):
    monkeypatch.chdir(tmp_path)
    Path("w.pt").write_bytes(content)
    Path("w.ckpt").write_bytes(content)
    for read, path in (
        (read_weights, Path("w.pt")),
        (load_inversion, "w.pt"),
        (load_inversion, "w.ckpt"),
        (load_checkpoint, "w.pt"),
    ):
        with pytest.raises(ValueError, match=r"w\.(pt|ckpt)"):
            read(path)
    for name in WEIGHT_FILES:
        Path(name).write_bytes(content)
        with pytest.raises(ValueError, match=name):
            read_weights(Path(name))
    assert not Path("bomb-went-off").exists()


class Sleeper(nn.Module):
    """A module that does something when it is loaded."""

    def __init__(self):
        super().__init__()
        self.proj = nn.Parameter(torch.ones(2))

    @torch.jit.export
    def __getstate__(self):
        return (self.proj, self.training)

    @torch.jit.export
    def __setstate__(self, state: tuple[torch.Tensor, bool]):
        self.proj = state[0]
        self.training = state[1]
        print("loaded")

    def forward(self, x):
        return x * self.proj


def test_an_archive_of_torchscript_that_runs_when_loaded_is_refused(tmp_path, capfd):
    torch.jit.script(Sleeper()).save(str(tmp_path / "w.pt"))
    capfd.readouterr()
    with pytest.raises(ValueError, match=r"w\.pt holds code that runs when it is loaded"):
        read_weights(tmp_path / "w.pt")
    assert capfd.readouterr().out == ""


def test_everything_that_unpickles_is_told_not_to_believe():
    calls = {}
    for path in (REPO / "zscir").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call):
                calls.setdefault(ast.unparse(node.func), []).append((path.name, ast.unparse(node)))
    assert calls["torch.load"] and all("weights_only=True" in text for _, text in calls["torch.load"])
    assert calls["np.load"] and not [text for _, text in calls["np.load"] if "allow_pickle" in text]
    believing = {"pickle.load", "eval", "yaml.load", "os.system", "pd.read_pickle"}
    assert not believing & calls.keys()
    assert [name for name, _ in calls["pickle.loads"]] == ["outcomes.py"]  # the task that a sweep has sent
    assert [name for name, _ in calls["exec"]] == ["chapters.py"]  # the chapter's own cells
    assert not [
        text for own in calls.values() for _, text in own if "shell=True" in text or "extractall" in text
    ]


def test_a_parameter_is_a_value_and_never_code(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    value = "'''\"; import os; os.mkdir('out') #\\\n\"\"\"; os.mkdir('out')\r`${x}`"
    notebook = load_notebook_node(str(source_of(REPO, "05")))
    done = parameterize_notebook(notebook, {"prompt": value, "world": value})
    injected = next(c for c in done.cells if "injected-parameters" in c.metadata.get("tags", []))
    found = {}
    exec(injected.source, found)
    assert found["prompt"] == found["world"] == value
    with pytest.raises(ValueError, match="world is "):
        run_checks(source_of(REPO, "05"), {"world": value})
    assert not list(tmp_path.iterdir())


def test_words_of_files_are_no_markup_on_a_page():
    html = MarkdownIt("commonmark", {"html": True}).enable("table").render
    shown = html(table([("parameters", "x"), ("a", values_line({"root": SCRIPT, "prompt": "``" + SCRIPT}))]))
    assert "<script" not in shown and "<img" not in shown and shown.count("&lt;script&gt;") == 2
    frame = Table(pd.DataFrame({SCRIPT: [SCRIPT]}, index=[SCRIPT]))
    frame.note = SCRIPT
    live = LiveFigure(
        ("tau",),
        new_figure(1, 1)[0],
        SCRIPT,
        SCRIPT,
        {"captions": [SCRIPT]},
        {"a": np.ones(2, np.uint8)},
        SCRIPT,
    )
    assert "<script" not in frame._repr_html_() and "<img src=x" not in frame._repr_html_()
    assert "<script>alert" not in live._repr_html_() and "<img src=x" not in live._repr_html_()
