"""Chapters are run whole or not at all, and the book is built from what has run."""

import getpass
import json
import os
import re
import shutil
import socket
import sys
import tempfile
from pathlib import Path

import nbformat
import pytest

from zscir.book import PROFILES, BookError, build, pages, run_chapter
from zscir.book.chapters import chapters, print_remarks
from zscir.storage.paths import REPO

PARAMETERS = 'tau: float = 0.3  # threshold\nworld: str = "small"  # size of the pocket world'
KERNEL = {"name": "python3", "language": "python", "display_name": "Python 3 (ipykernel)"}


def write_notebook(
    root: Path, name: str, *code: str, title: str = "# A chapter", mystnb: dict | None = None
) -> Path:
    """A tiny chapter: a title, the parameters, then the given cells, the last with ``mystnb`` as metadata."""
    cells = [nbformat.v4.new_markdown_cell(title), nbformat.v4.new_code_cell(PARAMETERS)]
    cells[1].metadata["tags"] = ["parameters"]
    cells += [nbformat.v4.new_code_cell(text) for text in code]
    for number, cell in enumerate(cells):
        cell["id"] = f"c-{number}"
    if mystnb is not None:
        cells[-1].metadata["mystnb"] = mystnb
    path = root / "notebooks" / f"{name}.ipynb"
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": KERNEL}), path)
    return path


def printed(path: Path) -> str:
    """Everything the cells of an executed notebook printed."""
    cells = nbformat.read(path, as_version=4).cells
    return "".join(one.text for cell in cells for one in cell.get("outputs", []) if "text" in one)


def files_below(root: Path) -> set[str]:
    return {path.name for path in (root / "book").rglob("*") if path.is_file()}


def test_a_chapter_is_executed_into_the_book(tmp_path):
    source = write_notebook(tmp_path, "01_a", "print(tau, world)")
    before = source.read_bytes()
    copy = run_chapter("01_a", root=tmp_path)
    assert copy == tmp_path / "book" / "notebooks" / "01_a.ipynb"
    assert printed(copy) == "0.3 small\n"
    assert source.read_bytes() == before
    assert not any("injected-parameters" in c.metadata.get("tags", []) for c in nbformat.read(copy, 4).cells)


def test_outside_the_box_equal_runs_give_equal_copies(tmp_path):
    write_notebook(tmp_path, "01_a", "print(tau)")
    copy = run_chapter("01_a", {"tau": 0.4}, root=tmp_path)
    first = copy.read_text()
    second = run_chapter("01_a", {"tau": 0.4}, root=tmp_path, force=True).read_text()
    assert without_the_box(second) == without_the_box(first) != first
    notebook = json.loads(first)
    assert set(notebook["metadata"]) == {"kernelspec", "language_info", "zscir"}
    assert all(set(cell["metadata"]) <= {"tags"} for cell in notebook["cells"])


def without_the_box(text: str) -> str:
    """An executed copy as text, without its checksum and the places that may tell of time and machine."""
    notebook = json.loads(text)
    notebook["metadata"]["zscir"].pop("crc32")
    record = notebook["metadata"]["zscir"].pop("record")
    kept = [cell for cell in notebook["cells"] if cell["id"] not in ("01-run-time", "01-made-by")]
    assert len(kept) == len(notebook["cells"]) - 2
    left = json.dumps({**notebook, "cells": kept}, indent=1)
    assert record["date"] not in left and record["machine"]["processor"] not in left
    return left


def test_no_copy_names_a_path_a_person_or_a_host(tmp_path):
    write_notebook(tmp_path, "01_a", "print(tau)")
    text = run_chapter("01_a", root=tmp_path).read_text()
    told = {str(tmp_path), str(REPO), str(Path.home()), getpass.getuser(), socket.gethostname()}
    assert [one for one in told if re.search(rf"(?<![\w/]){re.escape(one)}(?!\w)", text)] == []
    assert sys.prefix not in text and tempfile.gettempdir() + "/" not in text


def test_the_box_and_the_captions_say_what_was_run(tmp_path):
    caption = {"figure": {"caption": "A line.\n", "name": "fig-line"}, "image": {"alt": "a line"}}
    source = write_notebook(tmp_path, "01_a", "print(tau)", "print(world)", mystnb=caption)
    notebook = nbformat.read(run_chapter("01_a", {"tau": 0.4}, root=tmp_path), 4)
    nbformat.validate(notebook)
    *_, drawn, hidden, box = notebook.cells
    assert drawn.metadata["mystnb"]["figure"]["caption"] == "A line. Cell c-3.\n"
    assert "Cell" not in source.read_text()
    assert hidden["id"] == "01-run-time" and hidden.metadata["tags"] == ["remove-cell"]
    assert box["id"] == "01-made-by" and "| parameters | `tau=0.4`, `world='small'` |" in box.source
    assert "| not the chapter's own | `tau=0.4` |" in box.source
    record = notebook.metadata["zscir"]["record"]
    assert record["commit"] == "not a git checkout" and record["changed"] == {"tau": 0.4}
    assert not any("kernel_facts" in cell.source for cell in notebook.cells), "the probe cell is removed"


def test_none_is_legal_where_the_chapter_says_what_it_means(tmp_path):
    path = write_notebook(tmp_path, "01_a", "print(limit)")
    declared = path.read_text("utf-8").replace("# threshold", "# threshold\\nlimit: int = 3  # None: all")
    path.write_text(declared, "utf-8")
    assert printed(run_chapter("01_a", {"limit": None}, root=tmp_path)) == "None\n"
    with pytest.raises(ValueError, match="tau of chapter 01_a must be float, got None"):
        run_chapter("01_a", {"tau": None}, root=tmp_path)


def test_parameters_are_injected_and_the_edition_has_its_own_folder(tmp_path):
    write_notebook(tmp_path, "01_a", "print(tau)")
    plain, other = run_chapter("01_a", root=tmp_path), run_chapter("01", {"tau": 0.27}, root=tmp_path)
    assert (printed(plain), printed(other)) == ("0.3\n", "0.27\n")
    assert other == tmp_path / "_build" / "tau-0.27" / "book" / "notebooks" / "01_a.ipynb"
    elsewhere = run_chapter("01_a", {"tau": 0}, out=tmp_path / "mine.ipynb", root=tmp_path)
    assert elsewhere == tmp_path / "mine.ipynb" and printed(elsewhere) == "0\n"


def test_the_quick_profile_passes_what_the_chapter_declares(tmp_path):
    write_notebook(tmp_path, "01_a", "print(tau, world, 'steps' in globals())")
    copy = run_chapter("01_a", profile="quick", root=tmp_path)
    assert copy.is_relative_to(tmp_path / "_build" / "quick")
    assert printed(copy) == f"0.3 {PROFILES['quick']['*']['world']} False\n"


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("x = 1\nraise ValueError('tau is odd')", ["cell 2", "raise ValueError('tau is odd')", "tau is odd"]),
        ("import sys\nprint('careful', file=sys.stderr)", ["cell 2", "stderr", "careful"]),
        ("import os\nos._exit(1)", ["kernel died"]),
    ],
    ids=["error", "stderr", "dead kernel"],
)
def test_a_failed_chapter_leaves_no_copy_not_even_an_older_one(tmp_path, code, words):
    write_notebook(tmp_path, "01_a", "print(tau)")
    assert run_chapter("01_a", root=tmp_path).is_file()
    write_notebook(tmp_path, "01_a", code)
    with pytest.raises(BookError, match="chapter 01_a") as caught:
        run_chapter("01_a", root=tmp_path, strict=True)
    assert all(word in str(caught.value) for word in words), caught.value
    assert files_below(tmp_path) == set()


REMARKS = """import sys, warnings
for _ in range(3):
    print("Corrupt EXIF data", file=sys.stderr)
    print("    warnings.warn(text)", file=sys.stderr)
print("/home/ann/lib/PIL/Image.py:9: UserWarning: a | palette", file=sys.stderr)
print("done")"""


def test_a_readers_run_counts_what_came_on_stderr_and_goes_on(tmp_path, capsys):
    write_notebook(tmp_path, "01_a", REMARKS)
    copy = run_chapter("01_a", {"tau": 0.4}, root=tmp_path)
    notebook = nbformat.read(copy, 4)
    told = {"Corrupt EXIF data": 3, "Image.py:9: UserWarning: a | palette": 1}
    assert notebook.metadata["zscir"]["record"]["remarks"] == told
    assert "4 remarks on stderr: Corrupt EXIF data (3 times); Image.py:9" in notebook.cells[-1].source
    assert printed(copy) == "done\n"
    assert not [o for c in notebook.cells for o in c.get("outputs", []) if o.get("name") == "stderr"]
    print_remarks(copy)
    assert capsys.readouterr().out.startswith(
        "chapter 01_a: 4 remarks on stderr: Corrupt EXIF data (3 times)"
    )


def test_the_books_own_build_takes_no_copy_with_remarks(tmp_path):
    write_notebook(tmp_path, "01_a", REMARKS)
    run_chapter("01_a", root=tmp_path)
    with pytest.raises(BookError, match="Corrupt EXIF data"):
        run_chapter("01_a", root=tmp_path, strict=True)


def test_a_copy_that_cannot_be_stored_is_told_before_the_chapter_runs(tmp_path):
    write_notebook(tmp_path, "01_a", "from pathlib import Path\nPath('ran').touch()")
    tmp_path.joinpath("file").touch()
    with pytest.raises(OSError, match="file"):
        run_chapter("01_a", out=tmp_path / "file" / "copy.ipynb", root=tmp_path)
    assert not list(tmp_path.rglob("ran"))


def test_a_machine_that_fails_in_a_chapter_is_told_in_one_line(tmp_path):
    write_notebook(tmp_path, "01_a", "raise PermissionError(13, 'Permission denied', '/data/x')")
    said = "chapter 01_a stopped in cell 2: .*Permission denied: '/data/x' .results are stored in .*ZSCIR_"
    with pytest.raises(OSError, match=said):
        run_chapter("01_a", root=tmp_path)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"parameters": {"Tau": 0.2}}, r"no parameter 'Tau'; it has: tau \(default 0.3\), world"),
        ({"parameters": {"tau": "high"}}, "tau of chapter 01_a must be float, got 'high'"),
        ({"parameters": {"tau": True}}, "tau of chapter 01_a must be float, got True"),
        ({"parameters": {"tau": float("inf")}}, "tau of chapter 01_a must be a finite number, got inf"),
        ({"parameters": {"world": 3}}, "world of chapter 01_a must be str, got 3"),
        ({"profile": "slow"}, "no profile 'slow'; the profiles are: default, quick"),
        ({"name": "02_b"}, "no chapter '02_b'; the chapters are: 01_a"),
        ({"name": ""}, "no chapter ''"),
        ({"out": "notebooks/mine.ipynb"}, "out must not lie in the folder of the sources"),
    ],
)
def test_mistakes_are_told_before_anything_runs(tmp_path, monkeypatch, given, message):
    monkeypatch.chdir(tmp_path)
    write_notebook(tmp_path, "01_a", "print(tau)")
    (tmp_path / "book" / "notebooks").mkdir(parents=True)
    older = tmp_path / "book" / "notebooks" / "01_a.ipynb"
    older.write_text("older")
    with pytest.raises(ValueError, match=message):
        run_chapter(given.pop("name", "01_a"), root=tmp_path, **given)
    assert older.read_text() == "older"


def test_an_unchanged_chapter_is_not_run_again(tmp_path):
    count = "from pathlib import Path\nwith open('runs', 'a') as f:\n    f.write('x')"
    write_notebook(tmp_path, "01_a", count)
    runs = tmp_path / "runs"
    for _ in range(2):
        run_chapter("01_a", root=tmp_path)
    assert runs.read_text() == "x"
    run_chapter("01_a", root=tmp_path, force=True)
    assert runs.read_text() == "xx"
    write_notebook(tmp_path, "01_a", count + "\nprint('more')")
    run_chapter("01_a", root=tmp_path)
    assert runs.read_text() == "xxx"
    (tmp_path / "benchmarks" / "results").mkdir(parents=True)
    (tmp_path / "benchmarks" / "results" / "speed.json").write_text("{}")  # a record that chapters may read
    run_chapter("01_a", root=tmp_path)
    assert runs.read_text() == "xxxx"


def test_a_library_without_its_checkout_says_so(monkeypatch):
    monkeypatch.setattr("zscir.book.chapters.REPO", None)
    with pytest.raises(FileNotFoundError, match="clone the repository"):
        run_chapter("01_a")


def write_book(root: Path, *names: str) -> None:
    """The real configuration around a book of one page and the named chapters."""
    shutil.copy(REPO / "_config.yml", root)
    shutil.copytree(REPO / "book" / "_ext", root / "book" / "_ext")
    shutil.copytree(REPO / "book" / "_assets", root / "book" / "_assets", dirs_exist_ok=True)
    (root / "book" / "references.bib").write_text("")
    (root / "book" / "index.md").write_text("# A book\n\n$$\na = b\n$$ (eq-a)\n\nSee {eq}`eq-a`.\n")
    listed = "".join(f"  - file: notebooks/{name}\n" for name in names)
    (root / "book" / "_toc.yml").write_text(f"format: jb-book\nroot: index\nchapters:\n{listed}")


def test_a_failed_chapter_stops_the_build_and_leaves_no_pages(tmp_path, capsys):
    write_notebook(tmp_path, "01_a", "print(tau)")
    write_notebook(tmp_path, "02_b", "1 / 0")
    write_notebook(tmp_path, "03_c", "open('third', 'w').close()")
    write_book(tmp_path, "01_a", "02_b", "03_c")
    old = tmp_path / "_build" / "html" / "index.html"
    old.parent.mkdir(parents=True)
    old.write_text("an older book")
    with pytest.raises(BookError, match="ZeroDivisionError"):
        build(root=tmp_path, jobs=1)
    assert not old.exists() and not (tmp_path / "third").exists()
    said = r"chapter 01_a \.\.\.\nchapter 01_a: \d+\.\d s\nchapter 02_b \.\.\.\nchapter 02_b: FAILED\n"
    assert re.fullmatch(said, capsys.readouterr().out)


def test_two_chapters_run_at_a_time_and_leave_each_other_the_cores(tmp_path, monkeypatch):
    """Each waits for a file of the other, so one after the other they would never end."""
    monkeypatch.setattr(pages, "render", lambda root, edition: None)
    meet = (
        "import os, time\nfrom pathlib import Path\nPath('{own}').touch()\n"
        "while not Path('{other}').exists():\n    time.sleep(0.05)\nprint(os.environ['OMP_WAIT_POLICY'])"
    )
    write_notebook(tmp_path, "01_a", meet.format(own="a", other="b"))
    write_notebook(tmp_path, "02_b", meet.format(own="b", other="a"))
    write_book(tmp_path, "01_a", "02_b")
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    before = dict(os.environ), os.getcwd()
    build(root=tmp_path, jobs=2)
    copies = sorted((tmp_path / "book" / "notebooks").glob("*.ipynb"))
    assert [printed(copy) for copy in copies] == ["PASSIVE\n", "PASSIVE\n"]
    assert (dict(os.environ), os.getcwd()) == before


@pytest.mark.parametrize("jobs", [0, True, 1.5, "2"])
def test_illegal_jobs_are_named(jobs, tmp_path):
    write_notebook(tmp_path, "01_a", "print(tau)")
    with pytest.raises(ValueError, match=re.escape(f"jobs is {jobs!r}; legal: whole numbers from 1")):
        build(root=tmp_path, jobs=jobs)


def test_a_parameter_that_no_chapter_has_is_refused(tmp_path):
    write_notebook(tmp_path, "01_a", "print(tau)")
    with pytest.raises(ValueError, match="no chapter has a parameter 'tua'; the parameters are: tau, world"):
        build(parameters={"tua": 0.2}, root=tmp_path)


@pytest.mark.slow
def test_the_pages_are_whole_offline_and_strict(tmp_path, capfd):
    write_notebook(
        tmp_path,
        "01_a",
        "print(tau)",
        title="(ch-a)=\n# Chapter\n\nHere $x_1$, there {eq}`eq-a`. To run: {glue:text}`run-time`.",
    )
    write_book(tmp_path, "01_a")
    index = build("quick", root=tmp_path)
    assert index == tmp_path / "_build" / "quick" / "_build" / "html" / "index.html"
    chapter = (index.parent / "notebooks" / "01_a.html").read_text()
    measured = r"To run: .{0,60}(\d(\.\d)? (seconds|minutes)|less than a second)"
    assert "0.3" in chapter and re.search(measured, chapter)
    assert re.search(r'class="[^"]*\bdropdown\b[^"]*\bmade-by\b', chapter) and "# how long" not in chapter
    assert not (tmp_path / "_build" / "html").exists() and not (tmp_path / "book" / "notebooks").exists()
    for page in index.parent.rglob("*.html"):
        loaded = re.findall(r"<(?:script|link|img|iframe)\b[^>]*(?:src|href)=\"([^\"]+)\"", page.read_text())
        assert [url for url in loaded if re.match(r"(https?:)?//", url)] == [], page
        assert any("mathjax/tex-svg.js" in url for url in loaded) == (page.stem in ("index", "01_a"))
    assert (index.parent / "_static" / "mathjax" / "tex-svg.js").stat().st_size > 1_000_000
    write_notebook(tmp_path, "01_a", "print(tau)", title="# Chapter\n\nSee {eq}`eq-missing`.")
    with pytest.raises(BookError, match="jupyter-book"):
        build("quick", root=tmp_path)
    assert not index.exists()
    assert "eq-missing" in "".join(capfd.readouterr())


@pytest.mark.slow
def test_only_one_chapter_needs_the_copies_of_the_others(tmp_path):
    write_notebook(tmp_path, "01_a", "print(tau)", title="# First")
    write_notebook(tmp_path, "02_b", "print(tau)", title="# Second")
    write_book(tmp_path, "01_a", "02_b")
    with pytest.raises(BookError, match="without an executed copy: 01_a"):
        build(only="02_b", root=tmp_path)
    run_chapter("01_a", root=tmp_path)
    stray = tmp_path / "book" / "notebooks" / "00_gone.ipynb"
    stray.write_text("{}")
    assert build(only="02_b", root=tmp_path).is_file()
    assert not stray.exists() and chapters(tmp_path) == ["01_a", "02_b"]
