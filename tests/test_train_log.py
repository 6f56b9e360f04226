"""What a training says: its CSV file, lines or a bar."""

import sys

import pandas as pd
import pytest
import torch

from zscir.inversion import TrainConfig, fit
from zscir.inversion import log as train_log
from zscir.inversion.log import COLUMNS, TrainingLog, as_frame, shown_progress


@pytest.fixture(autouse=True)
def artifacts(tmp_path, monkeypatch):
    monkeypatch.setenv("ZSCIR_ARTIFACTS", str(tmp_path / "artifacts"))
    return tmp_path / "artifacts"


def test_the_file_grows_row_by_row_and_keeps_what_was_before(tmp_path):
    before = [[10, 1.0, 1.0, float("nan"), float("nan"), 0.1, 5.0, 100.0]]
    log = TrainingLog(tmp_path, before)
    log.add(20, [0.5, 0.5, float("nan"), float("nan")], 0.05, 80, torch.device("cpu"))
    found = pd.read_csv(tmp_path / "log.csv")
    assert list(found.columns) == list(COLUMNS) and found.step.tolist() == [10, 20]
    assert found.pairs_per_second[1] > 0 and found.memory_mib[1] > 10
    assert found.equals(as_frame(log.rows))


def test_a_training_writes_it(tiny_backbone, colour_pairs, artifacts):
    run = fit(TrainConfig(pairs=colour_pairs, steps=12, batch=8, warmup=1), backbone=tiny_backbone)
    (log,) = artifacts.glob("inversion-checkpoints/*/log.csv")
    assert pd.read_csv(log).equals(run.history)
    assert (run.history.pairs_per_second > 0).all() and (run.history.memory_mib > 10).all()


def test_plain_lines_where_there_is_no_terminal(capsys):
    with shown_progress(True, 50, 0) as moved:
        for step in range(1, 51):
            moved(step, 1.25)
    said = capsys.readouterr()
    assert said.err == "" and said.out.splitlines()[-1] == "step 50/50: loss 1.2500"
    assert len(said.out.splitlines()) == 10
    with shown_progress(False, 50, 0) as moved:
        moved(50, 1.25)
    assert capsys.readouterr().out == ""


def test_a_bar_in_a_terminal_is_on_stdout(capsys, monkeypatch):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    with shown_progress(True, 50, 20) as moved:
        moved(30, 1.25)
        moved(50, 1.0)
    said = capsys.readouterr()
    assert said.err == "" and "training phi: 100%" in said.out and "50/50" in said.out


def test_a_bar_in_a_notebook_goes_when_it_is_done(monkeypatch):
    import IPython.display

    shown = []

    class Handle:
        def update(self, what):
            shown.append(what.data)

    monkeypatch.setattr(train_log, "_in_notebook", lambda: True)
    monkeypatch.setattr(IPython.display, "display", lambda what, **k: shown.append(what.data) or Handle())
    with shown_progress(True, 50, 20) as moved:
        moved(30, 1.25)
    assert "20/50" in shown[0] and "30/50 loss 1.250" in shown[1] and shown[-1] == ""
