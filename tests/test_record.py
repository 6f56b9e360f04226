"""The box of a chapter says what was run; tables about a build are read from its chapters, or refused."""

import json
import re
import subprocess
import sys
from datetime import UTC, datetime

import nbformat
import pytest
import torch

from zscir.book import declared_parameters, run_chapter
from zscir.book.record import box, chapter_record, chapter_records, recorded_values, sign, values_used
from zscir.storage.paths import REPO
from zscir.storage.provenance import NO_CHECKOUT, commit_of, kernel_facts

sys.path.insert(0, str(REPO / "book" / "_ext"))
from build_record import (  # noqa: E402  (an extension of the pages)
    chapters_markdown,
    needs_markdown,
    results_markdown,
    summary_markdown,
)

RESULTS, README = REPO / "benchmarks" / "results", REPO / "benchmarks" / "README.md"
DECLARED = {"tau": {"default": "0.3"}, "prompt": {"default": '"a | b"'}, "seed": {"default": "3"}}
KERNEL = {"processor": "A processor", "cores": 2, "threads": 1, "gpu": None, "peak_memory": 1_500_000_000}
CLEAN = {"commit": "0" * 40, "dirty": False}


def record_of(chosen=None, commit=CLEAN, kernel=KERNEL, name="05_cirr", remarks=()):
    started = datetime(2026, 3, 1, 9, 5, tzinfo=UTC)
    facts = (commit, started, 41.26, kernel, dict(remarks))
    return chapter_record(name, DECLARED, chosen or {}, "default", *facts)


def git(folder, *words):
    who = ["-c", "user.name=A", "-c", "user.email=a@example.org"]
    subprocess.run(["git", *who, *words], cwd=folder, check=True, capture_output=True)


def test_the_box_lists_all_parameters_and_those_that_were_changed():
    text = box(record_of({"tau": 0.27, "seed": 3}))
    assert "| parameters | `tau=0.27`, `prompt='a \\| b'`, `seed=3` |" in text
    assert "| not the chapter's own | `tau=0.27` |" in text, "seed 3 is the chapter's own"
    assert "| seed | 3 |" in text and "| run | 2026-03-01 09:05 UTC, 41 seconds |" in text
    assert f"`{'0' * 40}`, nothing uncommitted" in text
    assert "A processor, 2 cores, 1 thread, no GPU" in text and "at most 1.5 GB at once" in text
    assert f"torch {torch.__version__.partition('+')[0]}" in text
    assert text.startswith("```{admonition} Made by\n:class: dropdown") and text.endswith("\n```")


def test_every_parameter_of_every_chapter_can_be_told():
    for path in sorted((REPO / "notebooks").glob("*.ipynb")):
        declared = declared_parameters(path.stem)
        assert list(values_used(declared, {})) == list(declared)


def test_a_record_is_plain_json_and_comes_back_the_same():
    record = record_of()
    assert json.loads(json.dumps(record)) == record
    assert set(record["machine"]) == {"processor", "cores", "threads", "gpu"}


def test_signing_keeps_the_notebook_valid_and_touches_captions_alone():
    plain, drawn = nbformat.v4.new_code_cell("1", id="05-01"), nbformat.v4.new_code_cell("2", id="05-02")
    drawn.metadata["mystnb"] = {"figure": {"caption": "What is seen.\n", "name": "fig-a"}}
    notebook = nbformat.v4.new_notebook(cells=[plain, drawn])
    sign(notebook, record_of())
    nbformat.validate(notebook)
    assert drawn.metadata["mystnb"]["figure"] == {"caption": "What is seen. Cell 05-02.\n", "name": "fig-a"}
    assert plain.metadata == {} and [one["id"] for one in notebook.cells[2:]] == ["05-run-time", "05-made-by"]
    stored = notebook.cells[2].outputs[0]
    assert stored["data"]["application/papermill.record/text/plain"] == "'41 seconds'"
    assert stored["metadata"]["scrapbook"]["name"] == "run-time"


def test_what_glue_itself_stores_has_the_same_form():
    from IPython.core.interactiveshell import InteractiveShell
    from IPython.utils.capture import capture_output
    from myst_nb import glue

    InteractiveShell.instance()
    with capture_output() as captured:
        glue("run-time", "41 seconds", display=False)
    InteractiveShell.clear_instance()
    notebook = sign(nbformat.v4.new_notebook(), record_of())
    ours, theirs = notebook.cells[0].outputs[0], captured.outputs[0]
    assert ours["metadata"] == theirs.metadata and ours["data"].items() >= theirs.data.items()


def test_the_commit_and_whether_files_differ_from_it(tmp_path):
    assert commit_of(tmp_path) == {"commit": NO_CHECKOUT, "dirty": None}
    git(tmp_path, "init")
    (tmp_path / "a.txt").write_text("a")
    git(tmp_path, "add", "a.txt")
    git(tmp_path, "commit", "-m", "A file")
    found = commit_of(tmp_path)
    assert re.fullmatch("[0-9a-f]{40}", found["commit"]) and found["dirty"] is False
    (tmp_path / "b.txt").write_text("new, and not ignored")
    assert commit_of(tmp_path) == {"commit": found["commit"], "dirty": True}
    (tmp_path / "sub").mkdir()
    assert commit_of(tmp_path / "sub")["commit"] == NO_CHECKOUT, "a folder inside of another checkout is none"


def test_a_damaged_checkout_is_told_without_its_path(tmp_path):
    (tmp_path / ".git").write_text("gitdir: nowhere")
    found = commit_of(tmp_path)
    assert found == {"commit": "unknown, git could not read the checkout", "dirty": None}
    assert str(tmp_path) not in box(record_of(commit=found))


def test_the_kernel_tells_threads_only_if_pytorch_was_used():
    assert kernel_facts()["threads"] == torch.get_num_threads()
    code = "import json; from zscir.storage.provenance import kernel_facts; print(json.dumps(kernel_facts()))"
    done = subprocess.run([sys.executable, "-c", code], cwd=REPO, capture_output=True, text=True, check=True)
    facts = json.loads(done.stdout)
    assert facts["threads"] is None and facts["gpu"] is None and facts["processor"] and facts["cores"] >= 1


def test_the_peak_of_memory_rises_with_what_is_held():
    code = "from zscir.storage.provenance import kernel_facts as f; a = f(); b = bytearray(300_000_000); "
    code += "c = f(); print(c['peak_memory'] - a['peak_memory'])"
    done = subprocess.run([sys.executable, "-c", code], cwd=REPO, capture_output=True, text=True, check=True)
    assert 250e6 < int(done.stdout) < 400e6


def test_a_system_that_does_not_count_memory_is_said_to_be_one():
    assert "| memory | not told by this system |" in box(record_of(kernel={**KERNEL, "peak_memory": None}))


def write_copy(folder, name, **other):
    machine = {"processor": "A processor", "cores": 2, "threads": 2, "gpu": None}
    record = {
        "chapter": name,
        "profile": "default",
        "parameters": {"tau": 0.3},
        "changed": {},
        "commit": "a" * 40,
        "dirty": False,
        "date": "2026-03-01 09:05 UTC",
        "seconds": 10.0,
        "versions": {"python": "3.11.4", "torch": "2.9.0"},
        "machine": machine,
        "peak_memory": 1_000_000_000,
        **other,
    }
    folder.mkdir(exist_ok=True)
    path = folder / f"{name}.ipynb"
    path.write_text(json.dumps({"cells": [], "metadata": {"zscir": {"record": record}}}))
    return path


def test_one_row_a_chapter_and_the_total(tmp_path):
    write_copy(tmp_path, "01_a")
    write_copy(tmp_path, "02_b", changed={"tau": 0.27}, seconds=32.5, dirty=True)
    lines = chapters_markdown(tmp_path).splitlines()
    assert lines[2].startswith(
        "| {doc}`notebooks/01_a` | none | 2026-03-01 09:05 UTC | `aaaaaaaaaa` | 10.0 s |"
    )
    assert "| `tau=0.27` |" in lines[3] and "`aaaaaaaaaa` \\* | 32.5 s |" in lines[3]
    assert lines[4] == "| added up | | | | 42.5 s |" and "not committed" in lines[-1]


def test_the_summary_names_a_difference_between_chapters(tmp_path):
    write_copy(tmp_path, "01_a")
    write_copy(tmp_path, "02_b", peak_memory=2_000_000_000, date="2026-03-02 10:00 UTC", seconds=110.0)
    now = datetime(2026, 3, 3, tzinfo=UTC)
    text = summary_markdown(tmp_path, tmp_path, now)
    assert "| pages rendered | 2026-03-03 00:00 UTC |" in text and "not a git checkout" in text
    assert "2026-03-01 09:05 UTC to 2026-03-02 10:00 UTC" in text and "added up | 2.0 minutes |" in text
    assert "| on | A processor, 2 cores, 2 threads, no GPU |" in text and "at most 2.0 GB at once" in text
    assert "| computed with | python 3.11.4, torch 2.9.0 |" in text and "jupyter-book" in text
    write_copy(tmp_path, "03_c", versions={"python": "3.12.1"})
    told = "| computed with | python 3.11.4, torch 2.9.0 (01_a, 02_b); python 3.12.1 (03_c) |"
    assert told in summary_markdown(tmp_path, tmp_path, now)


def test_the_needs_are_the_largest_and_the_longest(tmp_path):
    write_copy(tmp_path, "01_a", peak_memory=3_000_000_000)
    write_copy(tmp_path, "02_b", seconds=110.0)
    text = needs_markdown(tmp_path)
    assert "**at most 3.0 GB at once**" in text and "{doc}`notebooks/02_b` with **1.8 minutes**" in text
    assert "all add up to **2.0 minutes**" in text and "(A processor, 2 cores, 2 threads, no GPU)" in text
    write_copy(tmp_path, "01_a", peak_memory=None)
    write_copy(tmp_path, "02_b", peak_memory=None)
    assert "not told by this system" in needs_markdown(tmp_path)


def test_a_copy_without_a_record_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="run `zscir book`"):
        chapter_records(tmp_path)
    write_copy(tmp_path, "01_a").write_text(json.dumps({"cells": [], "metadata": {}}))
    with pytest.raises(ValueError, match="01_a.ipynb has no record"):
        chapter_records(tmp_path)


def test_every_stored_record_is_listed_with_its_machine_and_date():
    lines = results_markdown(RESULTS, README).splitlines()[2:]
    paths = sorted(RESULTS.rglob("*.json"))
    assert len(lines) == len(paths) >= 3
    for line, path in zip(lines, paths, strict=True):
        name, what, machine, precision, date, commits = (
            cell.strip() for cell in line.strip("|").split(" | ")
        )
        assert name == f"`{path.relative_to(RESULTS).as_posix()}`" and len(what) > 20 and machine
        assert re.fullmatch(r"\d{4}-\d{2}-\d{2}", date) and precision in ("fp32", "bf16")
        assert re.fullmatch(r"`[0-9a-f]{10}`(, `[0-9a-f]{10}`)*|not noted", commits)
    (trained,) = (line for line in lines if line.startswith("| `ablations.json`"))
    assert "| fp32 |" in trained and "not noted" not in trained
    assert "NVIDIA H200; AMD EPYC" in trained  # each machine that ran a part of it


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"machine": "M", "what": "w"}, "does not say its date"),
        ({"date": "2026-03-01"}, "does not say its machine"),
        ({"date": "2026-03-01", "machine": "M"}, r'no "what", and .* no row `odd.py`'),
    ],
)
def test_a_record_that_does_not_say_what_it_is_is_refused(tmp_path, record, message):
    (tmp_path / "odd.json").write_text(json.dumps(record))
    with pytest.raises(ValueError, match=message):
        results_markdown(tmp_path, README)
    (tmp_path / "odd.json").write_text(
        json.dumps({"date": "2026-03-01", "machine": "M", "what": "odd things"})
    )
    assert "| `odd.json` | odd things | M | fp32 | 2026-03-01 | not noted |" in results_markdown(
        tmp_path, README
    )


def test_what_a_chapter_put_aside_is_found_by_its_name(tmp_path):
    cells = [
        nbformat.v4.new_markdown_cell("# A chapter", id="01-01"),
        nbformat.v4.new_code_cell(
            "tau: float = 0.3  # threshold", metadata={"tags": ["parameters"]}, id="01-02"
        ),
        nbformat.v4.new_code_cell(
            "import pandas as pd\nfrom myst_nb import glue\n\nglue('tau', 2 * tau, display=False)\n"
            "glue('told', 'it is so', display=False)\nglue('table', pd.DataFrame({'a': [1]}), display=False)",
            id="01-03",
        ),
    ]
    kernel = {"name": "python3", "language": "python", "display_name": "Python 3"}
    (tmp_path / "notebooks").mkdir()
    notebook = nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": kernel})
    nbformat.write(notebook, tmp_path / "notebooks" / "01_a.ipynb")
    found = recorded_values(run_chapter("01_a", {"tau": 0.4}, root=tmp_path))
    assert found == {"tau": 0.8, "told": "it is so"}, "and neither a table nor the running time"
