"""The shell's commands: what they pass on, and how they tell a mistake."""

import dataclasses
import re
import subprocess
import sys
import warnings
from pathlib import Path

import pandas as pd
import pytest

from zscir import cli
from zscir.book import BookError
from zscir.storage.outcomes import SweepError


def recorded(monkeypatch, name, result="done"):
    """Replace a function of zscir.book.pages by one that notes how it was called."""
    calls = []

    def note(*args, **kwargs):
        calls.append((args, kwargs))
        return result

    monkeypatch.setattr(f"zscir.book.{name}", note)
    return calls


def test_book_passes_its_options(monkeypatch, capsys):
    calls = recorded(monkeypatch, "build", "index.html")
    assert cli.main(["book", "--profile", "quick", "--only", "05", "-p", "tau", "0.27"]) == 0
    assert calls == [(("quick", {"tau": 0.27}, "05"), {"force": False, "jobs": None})]
    assert capsys.readouterr().out == "the book: index.html\n"


def test_run_passes_its_parameters(monkeypatch, capsys):
    ran = recorded(monkeypatch, "run_chapter", Path("done"))
    assert (
        cli.main(["run", "05", "-p", "tau", "1e-1", "-p", "world", "tiny", "-o", "x.ipynb", "--force"]) == 0
    )
    assert ran == [(("05", {"tau": 0.1, "world": "tiny"}, "default", "x.ipynb"), {"force": True})]
    assert capsys.readouterr().out == "done\n"


def test_sweep_hands_on_what_is_fixed_what_varies_and_who_works(monkeypatch, capsys):
    from zscir.book.sweep import Plan

    planned, ran = [], []

    def plan(*args, **options):
        planned.append((args, options))
        return Plan(len, [{"tau": 0.2}], Path("there"))

    def run(*args, **options):
        ran.append((args, options))
        return pd.DataFrame({"tau": [0.2]})

    monkeypatch.setattr("zscir.book.plan_chapter", plan)
    monkeypatch.setattr("zscir.storage.run_points", run)
    words = ["sweep", "05", "-p", "tau", "0.2", "4e-1", "-p", "world", "tiny", "--seeds", "3", "-o", "out"]
    assert cli.main([*words, "--scheduler", "tcp://here:1"]) == 0
    given = {"fixed": {"world": "tiny"}, "profile": "default", "folder": "out", "anywhere": True}
    assert planned == [(("05", {"tau": [0.2, 0.4]}, 3), given)]
    assert ran == [((len, [{"tau": 0.2}], Path("there")), {"workers": None, "scheduler": "tcp://here:1"})]
    assert capsys.readouterr().out == " tau\n 0.2\nthe table: there/table.csv\n"


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (ValueError("tau must be\n in [0, 1]"), 2, "zscir: tau must be in [0, 1]\n"),
        (FileNotFoundError("no such folder"), 2, "zscir: no such folder\n"),
        (BookError("chapter x failed\n    1 / 0"), 1, "zscir: chapter x failed\n    1 / 0\n"),
        (
            KeyboardInterrupt(),
            130,
            "zscir: interrupted; what was finished is stored, the same command goes on\n",
        ),
        (SweepError("2 of 3 points failed:\n  tau 2"), 1, "zscir: 2 of 3 points failed:\n  tau 2\n"),
    ],
)
def test_mistakes_are_told_without_a_traceback(monkeypatch, capsys, error, status, said):
    def fail(*args, **kwargs):
        raise error

    monkeypatch.setattr("zscir.book.run_chapter", fail)
    assert cli.main(["run", "05"]) == status
    assert capsys.readouterr().err == said


def test_a_fault_of_the_library_is_not_hidden(monkeypatch):
    def fail(*args, **kwargs):
        raise RuntimeError("out of memory")

    monkeypatch.setattr("zscir.book.run_chapter", fail)
    with pytest.raises(RuntimeError, match="out of memory"):
        cli.main(["run", "05"])


def test_fields_of_the_configuration_become_options_with_its_types():
    from zscir.inversion import TrainConfig

    def config(*words: str) -> TrainConfig | None:
        return cli.parse(["train", *words])[1].kwargs.get("config")

    assert config() is None
    words = ("--tau", "0.2", "--steps", "700", "--pairs", "x", "--keep", "rest", "--online")
    assert config(*words) == TrainConfig(tau=0.2, steps=700, pairs="x", keep="rest", online=True)
    assert config("--no-online") == TrainConfig()


def test_a_machine_that_cannot_store_is_told_in_one_line(tmp_path, monkeypatch, capsys):
    (tmp_path / "file").touch()
    monkeypatch.setenv("ZSCIR_ARTIFACTS", str(tmp_path / "file" / "x"))
    assert cli.main(["pocket", "make", "--size", "tiny"]) == 2
    said = capsys.readouterr().err
    assert (
        said.count("\n") == 1 and f"{tmp_path / 'file' / 'x'}; ZSCIR_ARTIFACTS names another folder" in said
    )


def test_a_reader_that_stops_reading_is_no_mistake():
    code = "import sys; from zscir import cli\n"
    code += "def parse(words):\n    raise BrokenPipeError\ncli.parse = parse\nsys.exit(cli.main(['x']))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_warning_is_one_line(monkeypatch, capsys):
    monkeypatch.setattr(warnings, "formatwarning", warnings.formatwarning)  # back again afterwards
    monkeypatch.setattr("sys.argv", ["zscir", "--help"])
    assert cli.main() == 0
    assert warnings.formatwarning("2 texts\n cut", UserWarning, "x.py", 3) == "zscir: warning: 2 texts cut\n"


def test_help_is_quick_and_names_every_command():
    code = "import sys; sys.argv = ['zscir', '--help']; from zscir.cli import main\ntry: main()\nfinally: "
    done = subprocess.run(
        [sys.executable, "-c", code + "assert not {'torch', 'papermill'} & set(sys.modules)"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert all(
        re.search(rf"^\W*{name}\b", done.stdout, re.MULTILINE)
        for name in ("book", "run", "sweep", "pocket", "train", "evaluate", "retrieve", "submission")
    )


def test_options_are_those_of_the_settings(capsys):
    from zscir.inversion import TrainConfig
    from zscir.pairs import Masking

    for command, settings in (("train", TrainConfig), ("pairs", Masking)):
        assert cli.main([command, "--help"]) == 0
        said = capsys.readouterr().out
        assert all(f"--{f.name.replace('_', '-')}" in said for f in dataclasses.fields(settings))


def test_pairs_writes_a_dataset_and_says_what_was_left_out(tmp_path, monkeypatch, capsys):
    from datasets import load_from_disk
    from PIL import Image

    monkeypatch.setenv("ZSCIR_ARTIFACTS", str(tmp_path / "artifacts"))
    captions = ["a dog on a sofa", "a red car", "it is here", "an owl", "a boat on the sea", "a cat"]
    for row in range(6):
        Image.new("RGB", (100, 100), (40 * row, 90, 200)).save(tmp_path / f"{row}.png")
    lines = ["file\tcaption", *(f"{row}.png\t{caption}" for row, caption in enumerate(captions))]
    (tmp_path / "table.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    words = ["pairs", str(tmp_path / "table.tsv"), "--out", str(tmp_path / "out"), "--nouns", "all"]
    assert cli.main([*words, "--tau", "0.4", "--fill", "drop"]) == 0
    said = capsys.readouterr().out
    assert "masked: 7" in said and "without_noun: 1" in said
    assert load_from_disk(str(tmp_path / "out"))["masked_caption"][0] == "a * on a sofa"
    assert cli.main([*words, "--tau", "0.4", "--fill", "drop"]) == 2
    assert "out is not empty" in capsys.readouterr().err
    assert cli.main([*words, "--tau", "1.7"]) == 2
    assert "tau is 1.7; legal: 0 <= tau <= 1" in capsys.readouterr().err


def test_where_results_go_is_checked_before_the_work(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("zscir.cli_settings.load_pairs", None)  # nothing is loaded
    monkeypatch.setattr("zscir.cli_settings.load_backbone", None)
    monkeypatch.setattr("zscir.cli_settings.load_benchmark", None)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").touch()
    for out, said in (("full", "is not empty; name a new folder"), ("full/x", "Not a directory")):
        assert cli.main(["pairs", "pocket-tiny", "--out", str(tmp_path / out)]) == 2
        assert said in capsys.readouterr().err
    words = ["evaluate", "cirr", "--root", "pocket-tiny", "--submission", str(tmp_path / "full" / "x")]
    assert cli.main(words) == 2
    assert str(tmp_path / "full" / "x") in capsys.readouterr().err
