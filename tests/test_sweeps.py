"""Sweeps: the grid, points that are stored at once, whoever works on them, and chapters as a task."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import nbformat
import pandas as pd
import pytest
import sweep_tasks as tasks

from zscir import cli
from zscir.book import plan_chapter, sweep_chapter
from zscir.book.chapters import run_checks
from zscir.book.record import recorded_values
from zscir.book.sweep import chapter_point
from zscir.storage import grid, run_points, workers
from zscir.storage.outcomes import Outcome, SweepError

PARAMETERS = 'tau: float = 0.3  # threshold\nseed: int = 0  # of all\nworld: str = "small"  # its size'
KERNEL = {"name": "python3", "language": "python", "display_name": "Python 3 (ipykernel)"}
MEASURE = """from myst_nb import glue
import numpy as np, pandas as pd
glue("recall@1 masked pairs", np.float64(100 * tau + seed), display=False)
glue("world", world, display=False)
glue("tau", f"{tau:g}", display=False)
glue("sure", np.bool_(True))
glue("nothing", float("nan"), display=False)
glue("table", pd.DataFrame({"a": [1]}), display=False)
glue("series", pd.Series([1, 2]), display=False)
glue("list", [1, 2], display=False)"""


def calls(folder: Path) -> list[int]:
    """The numbers that were worked on, in order."""
    return [int(line.split()[0]) for line in (folder / "calls").read_text().splitlines()]


def write_chapter(
    root: Path, *code: str, name: str = "01_a", parameters: str = PARAMETERS, checked: bool = False
) -> None:
    """A tiny chapter with the given cells; the first of them may be the one that checks the parameters."""
    cells = [nbformat.v4.new_markdown_cell("# A chapter"), nbformat.v4.new_code_cell(parameters)]
    cells[1].metadata["tags"] = ["parameters"]
    cells += [nbformat.v4.new_code_cell(text) for text in code]
    cells[2].metadata["tags"] = ["checks"] if checked else []
    path = root / "notebooks" / f"{name}.ipynb"
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": KERNEL}), path)


def test_a_grid_is_the_product_in_the_order_given():
    assert grid({"a": [1, 2], "b": ["x"]}) == [{"a": 1, "b": "x"}, {"a": 2, "b": "x"}]
    assert [list(one.values()) for one in grid({"a": [2, 1]}, 2)] == [[2, 0], [2, 1], [1, 0], [1, 1]]
    assert grid({}, [7, 3]) == [{"seed": 7}, {"seed": 3}]
    assert grid({"taus": [[0.1, 0.2], [0.3]]}) == [{"taus": [0.1, 0.2]}, {"taus": [0.3]}]


@pytest.mark.parametrize(
    ("axes", "seeds", "message"),
    [
        ({}, None, "axes is empty"),
        ({"tau": []}, None, "axis 'tau' is empty"),
        ({"tau": [0.1, 0.2, 0.1]}, None, "axis 'tau' has the value 0.1 twice"),
        ({"tau": [0, 0.0]}, None, "axis 'tau' has the value 0.0 twice"),
        ({"world": "tiny"}, None, "axis 'world' is 'tiny'; legal: a list"),
        ({"tau": 0.3}, None, "axis 'tau' is 0.3; legal: a list"),
        ({"seed": [1, 2]}, 3, "seed is given twice"),
        ({"tau": [0.1]}, 0, "seeds is 0; legal: how many"),
        ({"tau": [0.1]}, -1, "seeds is -1"),
        ({"tau": [0.1]}, True, "seeds is True"),
        ({"tau": [0.1]}, [], r"seeds is \[\]"),
        ({"tau": [0.1]}, [0.5], r"seeds is \[0.5\]"),
        ({"tau": [0.1]}, [1, 1], "axis 'seed' has the value 1 twice"),
    ],
)
def test_a_grid_tells_mistakes(axes, seeds, message):
    with pytest.raises(ValueError, match=message):
        grid(axes, seeds)


def test_points_are_stored_at_once_and_never_run_again(tmp_path, capsys):
    task, folder = partial(tasks.noted, folder=tmp_path, offset=1), tmp_path / "sweep"
    points = grid({"x": [3, 1, 2]})
    table = run_points(task, points[:2], folder, workers=1)
    assert list(table) == ["x", "square", "name", "seconds"] and calls(tmp_path) == [3, 1]
    assert "[1/2] x 3: " in capsys.readouterr().err
    whole = run_points(task, points, folder, workers=1, progress=False)
    assert calls(tmp_path) == [3, 1, 2] and capsys.readouterr().err == ""
    assert whole.x.tolist() == [3, 1, 2] and whole.square.tolist() == [10, 2, 5]
    pd.testing.assert_frame_equal(whole[:2], table)
    pd.testing.assert_frame_equal(pd.read_csv(folder / "table.csv"), whole, check_dtype=False)
    stored = [json.loads(path.read_text()) for path in (folder / "points").iterdir()]
    assert sorted(one["point"]["x"] for one in stored) == [1, 2, 3]
    assert all(set(one) == {"point", "result", "seconds", "crc32"} for one in stored)
    record = json.loads((folder / "provenance.json").read_text())
    assert record["task"] == {"name": "sweep_tasks.noted", "arguments": {"offset": 1}}  # a path says where
    assert [run["points"] for run in record["runs"]] == [2, 1]
    for run in record["runs"]:
        assert {"date", "git_commit", "versions"} <= set(run) and run["versions"]["torch"]
        assert set(run["machines"][0]) >= {"processor", "cores", "threads", "torch"}
    run_points(task, points, folder, progress=False)
    assert json.loads((folder / "provenance.json").read_text()) == record  # nothing was run


@pytest.mark.posix
def test_failing_points_do_not_stop_the_others(tmp_path):
    task, points, folder = partial(tasks.moody, folder=tmp_path), grid({"x": [2, 3, 4, 5, 6]}), tmp_path / "s"
    run_points(task, points[:1], folder, workers=1)
    with pytest.raises(SweepError, match="3 of 5 points failed; what was finished is stored") as caught:
        run_points(task, points, folder, workers=2)
    told = str(caught.value)
    assert r"x 3: ValueError: 3 is odd (sweep_tasks.py, line " in told and "x 5: ValueError" in told
    assert "x 4: its process died, killed or out of memory" in told
    stored = [json.loads(path.read_text())["point"]["x"] for path in (folder / "points").iterdir()]
    assert sorted(stored) == [2, 6] == sorted(calls(tmp_path))
    assert not (folder / "table.csv").exists()  # the older one had fewer points
    assert run_points(task, [points[0], points[4]], folder).x.tolist() == [2, 6]


def test_a_hopeless_task_stops_at_once(tmp_path):
    with pytest.raises(SweepError, match="1 of 9 points failed, 8 were not tried.*\n.*nothing to measure"):
        run_points(tasks.hopeless, grid({"x": range(9)}), tmp_path, workers=1)


def test_failures_are_told_also_when_nobody_works_any_more(tmp_path, monkeypatch):
    def half(task, points, *options):
        yield 1, Outcome(error="ValueError: two is odd today")
        raise SweepError("the last worker is gone")

    monkeypatch.setattr("zscir.storage.workers.outcomes", half)
    message = (
        "the last worker is gone\n1 of 3 points failed, 2 were not tried.*\n  x 2: ValueError: two is odd"
    )
    with pytest.raises(SweepError, match=message):
        run_points(tasks.noted, grid({"x": [1, 2, 3]}), tmp_path / "sweep")


def test_results_that_fit_no_table_are_named(tmp_path):
    with pytest.raises(SweepError) as caught:
        run_points(tasks.odd_result, grid({"x": [0, 1, 2, 3]}), tmp_path, workers=1)
    for words in (
        "must return a dict of scalars, got list",
        "'rows' is [1, 2]",
        "result 'x' has the name",
        "result 'seconds' has",
    ):
        assert words in str(caught.value)


def test_cores_are_shared_out(tmp_path, monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr("zscir.storage.provenance.cores", lambda: 6)
    table = run_points(tasks.threads, grid({"torch": [False], "x": [1, 2]}), tmp_path, workers=2)
    assert table.asked.tolist() == ["3", "3"] and "OMP_NUM_THREADS" not in os.environ
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # who asks for fewer gets fewer
    table = run_points(tasks.threads, [{"torch": True}], tmp_path, workers=1)
    assert (table.asked.tolist(), table.used.tolist()) == (["1"], [1])


@pytest.mark.posix
def test_a_killed_sweep_goes_on_where_it_was(tmp_path):
    command = [sys.executable, tasks.__file__, str(tmp_path)]
    assert subprocess.run(command, timeout=300).returncode == -signal.SIGKILL
    assert len(list((tmp_path / "sweep" / "points").glob("*.json"))) == 2
    worker = int((tmp_path / "calls").read_text().splitlines()[-1].split()[1])
    for _ in range(100):  # it must not work on for nobody
        if not Path(f"/proc/{worker}").exists():
            break
        time.sleep(0.1)
    else:
        pytest.fail(f"worker {worker} lives on")
    assert subprocess.run(command, timeout=300).returncode == 0
    assert calls(tmp_path) == [0, 1, 2, 2, 3]
    assert pd.read_csv(tmp_path / "sweep" / "table.csv").square.tolist() == [0, 1, 4, 9]


@pytest.fixture
def finished(tmp_path):
    """A task, its points and the folder of its finished sweep."""
    task, points = partial(tasks.noted, folder=tmp_path), grid({"x": [1, 2]})
    run_points(task, points, tmp_path / "sweep", workers=1)
    return task, points, tmp_path / "sweep"


def test_damaged_files_are_all_named(finished):
    task, points, folder = finished
    first, second = sorted((folder / "points").glob("*.json"))
    texts = first.read_text(), second.read_text()
    other = texts[0].replace('"square": ', '"square": 1')  # a digit more
    result = texts[0].replace('"result": {', '"result": 3, "was": {')
    for broken in (texts[0][:20], "[]", texts[1], other, result):
        first.write_text(broken)
        with pytest.raises(ValueError, match=f"damaged or cut off, remove to compute again: {first}"):
            run_points(task, points, folder)
    second.write_text("")
    with pytest.raises(ValueError, match=f"{first}.*{second}"):
        run_points(task, points, folder)
    first.unlink()
    second.write_text(texts[1])
    assert run_points(task, points, folder, workers=1).square.tolist() == [1, 4]
    (folder / "provenance.json").write_text("{")
    with pytest.raises(ValueError, match="provenance.json is damaged or cut off"):
        run_points(task, points, folder)
    (folder / "provenance.json").unlink()
    with pytest.raises(ValueError, match="holds points but no provenance.json"):
        run_points(task, points, folder)


def test_a_folder_belongs_to_one_task(finished, tmp_path):
    _, points, folder = finished
    other = partial(tasks.noted, folder=tmp_path, offset=2)
    with pytest.raises(ValueError, match="another task or state: offset None, not 2; name another folder"):
        run_points(other, points, folder)
    with pytest.raises(ValueError, match="sweep_tasks.noted, not sweep_tasks.threads"):
        run_points(tasks.threads, points, folder)


@pytest.mark.parametrize(
    ("points", "options", "message"),
    [
        ([], {}, "points is empty"),
        ([1], {}, "a point must be a dict of parameters, got 1"),
        ([{}], {}, "a point must be a dict"),
        ([{"x": 1}, {"x": 1}], {}, "the point x 1 occurs twice"),
        ([{"x": 1}, {"y": 1}], {}, "a point has the parameters y; legal: those of the first, x"),
        ([{"x": 1}], {"workers": 0}, "workers is 0; legal: None or whole numbers from 1"),
        ([{"x": 1}], {"workers": 2.5}, "workers is 2.5"),
        ([{"x": 1}], {"workers": 2, "scheduler": "tcp://here:1"}, "workers is 2 beside a scheduler"),
    ],
)
def test_bad_points_and_options_are_told_before_anything_runs(tmp_path, points, options, message):
    with pytest.raises(ValueError, match=message):
        run_points(tasks.noted, points, tmp_path / "sweep", **options)
    assert not (tmp_path / "sweep").exists()


def test_a_task_must_be_readable_by_others(tmp_path):
    with pytest.raises(TypeError, match="a function at the top of a module"):
        run_points(lambda point: {}, [{"x": 1}], tmp_path)


def test_a_task_that_workers_cannot_import_is_told(tmp_path, monkeypatch):
    import types

    here_only = types.ModuleType("here_only")
    exec("def task(point): return {}", here_only.__dict__)
    monkeypatch.setitem(sys.modules, "here_only", here_only)
    with pytest.raises(SweepError, match="x 1: .*No module named 'here_only'"):
        run_points(here_only.task, [{"x": 1}], tmp_path, workers=1)


def kill_one_at_work(folder: Path, killed: list[tuple[int, int]]) -> None:
    """SIGKILL to the first worker that is at work when three points have begun; which, and at what."""
    for _ in range(600):
        lines = [line.split() for line in (folder / "calls").read_text().splitlines()]
        ended = {(x, pid) for what, x, pid in lines if what == "end"}
        at_work = [(x, pid) for what, x, pid in lines if what == "begin" and (x, pid) not in ended]
        if len(lines) >= 3 and at_work:
            number, worker = map(int, at_work[-1])  # it has only just begun
            os.kill(worker, signal.SIGKILL)
            killed.append((number, worker))
            return
        time.sleep(0.05)


@pytest.mark.posix
def test_a_cluster_loses_nothing_when_a_worker_is_killed(tmp_path):
    from dask.distributed import LocalCluster

    (tmp_path / "calls").touch()
    points, killed = grid({"x": [5, 4, 3, 2, 1, 0]}), []
    options = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": None}
    killer = threading.Thread(target=kill_one_at_work, args=(tmp_path, killed))
    task, folder = partial(tasks.slow, folder=tmp_path), tmp_path / "sweep"
    with LocalCluster(**options) as two:
        killer.start()
        table = run_points(task, points, folder, scheduler=two.scheduler_address)
        killer.join()
        again = run_points(task, points, folder, scheduler=two.scheduler_address)
    assert table.x.tolist() == [5, 4, 3, 2, 1, 0] and table.square.tolist() == [25, 16, 9, 4, 1, 0]
    assert len(list((folder / "points").glob("*.json"))) == 6
    pd.testing.assert_frame_equal(again, table)
    lines = [line.split() for line in (tmp_path / "calls").read_text().splitlines()]
    begun = [int(x) for what, x, _ in lines if what == "begin"]
    ((number, worker),) = killed
    assert begun.count(number) == 2 and set(begun) == set(range(6))
    assert len({pid for _, _, pid in lines}) >= 2
    assert json.loads((folder / "provenance.json").read_text())["runs"][0]["points"] == 6


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:9", "nonsense://here"])
def test_a_scheduler_that_does_not_answer_is_told_within_seconds(tmp_path, monkeypatch, address):
    monkeypatch.setattr(workers, "PATIENCE", 1)
    start = time.perf_counter()
    with pytest.raises(SweepError, match=f"scheduler is '{address}'.*`dask scheduler` starts one"):
        run_points(tasks.threads, [{"x": 1}], tmp_path, scheduler=address)
    assert time.perf_counter() - start < 15 and [path.name for path in tmp_path.iterdir()] == [".locks"]


class Lost:
    """A future that ends without an outcome."""

    def __init__(self, error: Exception):
        self.error = error

    def result(self):
        raise self.error


def test_what_a_cluster_loses_is_told():
    from dask.distributed import CancelledError

    with pytest.raises(SweepError, match="the scheduler is gone.*the same call goes on from there"):
        workers._received(Lost(CancelledError("connection lost")))
    found = workers._received(Lost(ModuleNotFoundError("No module named 'zscir'")))
    assert "ModuleNotFoundError: No module named 'zscir'" in found.error
    assert not found.hopeless and found.result is None


def test_a_chapter_is_swept_from_the_shell(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("zscir.book.chapters.REPO", tmp_path)
    write_chapter(tmp_path, MEASURE)
    words = ["sweep", "01", "-p", "tau", "0", "0.25", "-p", "world", "tiny", "--seeds", "1", "--workers", "1"]
    assert cli.main(words) == 0
    folder = tmp_path / "_build" / "sweeps" / "01_a-world-tiny-tau-seed"
    said = capsys.readouterr().out
    assert said.endswith(f"the table: {folder / 'table.csv'}\n") and "recall@1 masked pairs" in said
    table = pd.read_csv(folder / "table.csv")
    measured = ["recall@1 masked pairs", "world", "sure", "nothing"]
    assert list(table) == ["tau", "seed", *measured, "seconds"]  # no tables, lists, nor tau once more
    assert table.tau.tolist() == [0.0, 0.25] and table["recall@1 masked pairs"].tolist() == [0.0, 25.0]
    assert set(table.world) == {"tiny"} and table.sure.all() and table.nothing.isna().all()
    copies = sorted(folder.glob("notebooks/*.ipynb"))
    assert [one.stem for one in copies] == sorted(one.stem for one in folder.glob("points/*.json"))
    before = [one.stat().st_mtime_ns for one in copies]
    assert cli.main(words) == 0 and [one.stat().st_mtime_ns for one in copies] == before
    write_chapter(tmp_path, MEASURE, "print('changed')")
    capsys.readouterr()
    assert cli.main(words) == 2 and "another task or state: state " in capsys.readouterr().err


def test_a_point_of_a_chapter_gives_what_it_glued(tmp_path):
    write_chapter(tmp_path, MEASURE)
    found = chapter_point({"tau": 0.5, "seed": 2}, chapter="01_a", folder=Path("kept"), root=tmp_path)
    (copy,) = (tmp_path / "kept" / "notebooks").iterdir()
    assert found.pop("nothing") != found.get("nothing")  # not a number
    assert found == {"recall@1 masked pairs": 52.0, "world": "small", "sure": True}
    assert recorded_values(copy)["tau"] == "0.5"
    write_chapter(tmp_path, "def glue(*args): pass\nglue('recall', 1)")
    with pytest.raises(SweepError, match="chapter 01_a glues no number and no text"):
        chapter_point({"tau": 0.5}, chapter="01_a", folder=Path("kept"), root=tmp_path)
    with pytest.raises(SweepError, match="in another state"):
        chapter_point({"tau": 0.5}, chapter="01_a", folder=Path("kept"), root=tmp_path, state="older")


def test_a_failing_chapter_is_told_with_its_point(tmp_path, capsys):
    write_chapter(tmp_path, MEASURE, "assert seed == 0, 'only zero'")
    with pytest.raises(SweepError, match="1 of 1 points failed") as caught:
        sweep_chapter("01_a", {}, [1], root=tmp_path, workers=1)
    assert "seed 1: BookError: chapter 01_a failed in cell 4" in str(caught.value)  # one was injected
    assert (
        "AssertionError: only zero" in str(caught.value) and "[1/1] seed 1: FAILED" in capsys.readouterr().err
    )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["-p", "Tau", "0.1", "0.2"], "chapter 01_a has no parameter 'Tau'; it has: tau (default 0.3), seed"),
        (["-p", "tau", "0.1", "0.2", "high"], "tau of chapter 01_a must be float, got 'high'"),
        (["-p", "tau", "0.1", "0.2", "1.7"], "tau is 1.7; legal: 0 <= tau <= 1"),
        (["-p", "tau", "0.1", "0.2", "-p", "lam", "1"], "no parameter 'lam'"),
        (["-p", "tau", "0.1", "0.2", "-p", "world", "7"], "world of chapter 01_a must be str, got 7"),
        (["-p", "tau", "0.1", "-p", "tau", "0.2"], "-p tau is given twice"),
        (["-p", "tau"], "-p tau has no value"),
        (["-p", "tau", "0.1"], "axes is empty: give a parameter some values, or seeds"),
        (["-p", "tau", "0.1", "0.1"], "axis 'tau' has the value 0.1 twice"),
        (["-p", "tau", "0.1", "0.2", "--seeds", "0"], "seeds is 0; legal: how many"),
        (["-p", "seed", "4", "--seeds", "2"], "seed is fixed and varied"),
        (["-p", "seed", "4", "5", "--seeds", "2"], "seed is given twice"),
        (["--seeds", "2", "--profile", "slow"], "no profile 'slow'"),
        (["--seeds", "2", "--workers", "0"], "workers is 0; legal: None or whole numbers from 1"),
    ],
)
def test_mistakes_are_told_before_anything_runs(tmp_path, monkeypatch, capsys, words, message):
    monkeypatch.setattr("zscir.book.chapters.REPO", tmp_path)
    check = "from zscir import Masking\nMasking(tau=tau, seed=seed)"
    write_chapter(tmp_path, check, MEASURE, checked=True)
    assert cli.main(["sweep", "01_a", *words]) == 2
    assert message in capsys.readouterr().err and not (tmp_path / "_build").exists()


def test_a_chapter_without_seed_or_without_glue_is_refused(tmp_path):
    write_chapter(tmp_path, MEASURE, name="01_a", parameters="tau: float = 0.3  # threshold")
    with pytest.raises(ValueError, match="chapter 01_a has no parameter 'seed'"):
        plan_chapter("01_a", {"tau": [0.1, 0.2]}, 2, root=tmp_path)
    write_chapter(tmp_path, "print(tau)", name="02_b")
    with pytest.raises(ValueError, match="chapter 02_b glues nothing; a sweep tabulates"):
        plan_chapter("02_b", {"tau": [0.1, 0.2]}, root=tmp_path)


def test_a_data_folder_need_only_be_where_the_work_is_done(tmp_path):
    check = "from zscir import benchmark_root\nbenchmark_root(root, 'tiny')"
    parameters = 'root: str = ""  # folder\nseed: int = 0  # of all'
    write_chapter(tmp_path, check, MEASURE, parameters=parameters, checked=True)
    given = {"root": tmp_path, "fixed": {"root": "/data/elsewhere"}}
    with pytest.raises(FileNotFoundError, match="root is '/data/elsewhere'"):
        plan_chapter("01_a", {}, 2, **given)
    assert len(plan_chapter("01_a", {}, 2, anywhere=True, **given).points) == 2
    away = [{"pairs": "/away/pairs.tsv"}, {"backbone": "/away/clip"}]
    away.append({"backbone": "ViT-B-32", "pretrained": "/away/clip.pt"})
    for fixed in away:
        with pytest.raises(FileNotFoundError, match="/away"):
            plan_chapter("02", {}, 2, fixed=fixed, folder=tmp_path / "real")
        assert (
            len(plan_chapter("02", {}, 2, fixed=fixed, anywhere=True, folder=tmp_path / "real").points) == 2
        )
    with pytest.raises(ValueError, match="backbone is 'ViT-B32'; legal: "):
        plan_chapter("02", {}, 2, fixed={"backbone": "ViT-B32"}, anywhere=True, folder=tmp_path / "real")


def test_chapters_checked_at_once_leave_the_folder_as_it_was(tmp_path, monkeypatch):
    """A build with parameters checks two chapters in two threads; each looks where it will run."""
    check = "import os, time\nbegun.set()\ntime.sleep(wait)\nplaces.append(os.getcwd())"
    write_chapter(tmp_path, check, MEASURE, parameters="seed: int = 0  # of all", checked=True)
    monkeypatch.chdir(tmp_path / "notebooks")
    chosen = {"places": [], "begun": threading.Event()}
    with ThreadPoolExecutor(2) as pool:
        for wait in (0.2, 0.6):  # the second begins in the midst of the first, and would end after it
            pool.submit(run_checks, tmp_path / "notebooks" / "01_a.ipynb", chosen | {"wait": wait})
            assert chosen["begun"].wait(10)
    assert chosen["places"] == [str(tmp_path)] * 2 and Path.cwd() == tmp_path / "notebooks"
