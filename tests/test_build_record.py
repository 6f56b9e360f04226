"""Tables about a build: read from its executed chapters, complete, and refused when something is not told."""

import json
import re
from datetime import UTC, datetime

import nbformat
import pytest

from zscir.book import run_chapter
from zscir.book.build_record import (
    chapter_records,
    chapters_markdown,
    needs_markdown,
    results_markdown,
    summary_markdown,
)
from zscir.book.glued import recorded_values
from zscir.storage.paths import REPO

RESULTS, README = REPO / "benchmarks" / "results", REPO / "benchmarks" / "README.md"


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
    assert lines[4] == "| all | | | | 42.5 s |" and "not committed" in lines[-1]


def test_the_summary_names_a_difference_between_chapters(tmp_path):
    write_copy(tmp_path, "01_a")
    write_copy(tmp_path, "02_b", peak_memory=2_000_000_000, date="2026-03-02 10:00 UTC", seconds=110.0)
    now = datetime(2026, 3, 3, tzinfo=UTC)
    text = summary_markdown(tmp_path, tmp_path, now)
    assert "| pages rendered | 2026-03-03 00:00 UTC |" in text and "not a git checkout" in text
    assert "2026-03-01 09:05 UTC to 2026-03-02 10:00 UTC" in text and "| in all | 2.0 minutes |" in text
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
    assert "all together took **2.0 minutes**" in text and "(A processor, 2 cores, 2 threads, no GPU)" in text
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
        name, what, machine, date = (cell.strip() for cell in line.strip("|").split(" | "))
        assert name == f"`{path.relative_to(RESULTS).as_posix()}`" and len(what) > 20 and machine
        assert re.fullmatch(r"\d{4}-\d{2}-\d{2}", date)


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
    assert "| `odd.json` | odd things | M | 2026-03-01 |" in results_markdown(tmp_path, README)


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
