"""The book as one PDF, and the browser that prints it."""

import os
import re
import shutil
import stat

import pytest

from zscir.book import build
from zscir.browser import NAMES, find_chromium, print_pdf, rendered_html
from zscir.chapters import BookError
from zscir.paths import REPO
from zscir.pdf import build_pdf, printable

CHROMIUM = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")

PAGE = """<html><head><title>t</title><script src="x.js"></script></head><body>
<p class="component-author"> By Somebody </p><article><h1>A book<a class="headerlink" href="#a">#</a></h1>
<span id="document-one"></span><section><h2>One<a class="headerlink" href="#one">#</a></h2>
<div class="math">x<mjx-container></mjx-container></div>
<details class="hide"><summary>code</summary></details>
<div class="solution toggle-hidden"><p>so</p></div><a href="index.html#document-one">there</a>
<script>1</script>
</section></article></body></html>"""


def fake_chromium(folder, script):
    """A program that is asked like Chromium and does what ``script`` says."""
    path = folder / "chromium"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(path.stat().st_mode | stat.S_IEXEC)
    return str(path)


def test_what_is_printed_has_a_front_and_nothing_folded():
    text = printable(PAGE)
    assert "<script" not in text and 'href="#document-one">there' in text
    assert "<details open" in text and "toggle-hidden" not in text
    assert "Somebody" in text and '<li><a href="#document-one">One</a></li>' in text


@pytest.mark.parametrize(
    ("page", "message"),
    [
        (PAGE.replace("<mjx-container></mjx-container>", ""), "1 of 1 formulas were not drawn"),
        (PAGE.replace("article", "div"), "no head or no article"),
    ],
)
def test_a_page_that_is_not_whole_is_refused(page, message):
    with pytest.raises(BookError, match=message):
        printable(page)


def test_chromium_is_found_or_asked_for(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CHROMIUM", raising=False)
    with pytest.raises(FileNotFoundError, match="no Chromium found .* CHROMIUM="):
        find_chromium()
    found = fake_chromium(tmp_path, "exit 0")
    assert find_chromium() == found
    monkeypatch.setenv("CHROMIUM", "nonesuch")
    with pytest.raises(FileNotFoundError, match="CHROMIUM is 'nonesuch', which is no program"):
        find_chromium()


def test_a_browser_that_fails_leaves_no_file(monkeypatch, tmp_path):
    page = tmp_path / "page.html"
    page.write_text("<p>here</p>")
    monkeypatch.setenv("CHROMIUM", fake_chromium(tmp_path, "echo broken >&2; exit 3"))
    with pytest.raises(BookError, match="exit status 3"):
        print_pdf(page, tmp_path / "book.pdf")
    monkeypatch.setenv("CHROMIUM", fake_chromium(tmp_path, "echo nothing printed"))
    with pytest.raises(BookError, match="printed no PDF .* nothing printed"):
        print_pdf(page, tmp_path / "book.pdf")
    monkeypatch.setenv("CHROMIUM", fake_chromium(tmp_path, "sleep 30"))
    with pytest.raises(BookError, match="not done after 0.2 seconds"):
        rendered_html(page.as_uri(), timeout=0.2)
    assert not list(tmp_path.glob("*.pdf"))
    with pytest.raises(FileNotFoundError, match="there is no page"):
        print_pdf(tmp_path / "other.html", tmp_path / "book.pdf")


def test_the_book_comes_first(monkeypatch, tmp_path):
    (tmp_path / "notebooks").mkdir()
    monkeypatch.setenv("CHROMIUM", fake_chromium(tmp_path, "exit 0"))
    older = tmp_path / "_build" / "zscir.pdf"
    older.parent.mkdir()
    older.write_bytes(b"%PDF-old")
    with pytest.raises(FileNotFoundError, match="build it first, with `make book`"):
        build_pdf(root=tmp_path)
    assert not older.exists(), "an older one is not what was asked for"


@needs_chromium
@pytest.mark.slow
def test_a_small_book_is_printed(tmp_path, monkeypatch):
    import nbformat

    for name in ("_config.yml", "book/_ext", "book/_assets"):
        source, target = REPO / name, tmp_path / name
        target.parent.mkdir(exist_ok=True)
        shutil.copytree(source, target) if source.is_dir() else shutil.copyfile(source, target)
    (tmp_path / "book" / "references.bib").write_text("")
    (tmp_path / "book" / "_toc.yml").write_text(
        "format: jb-book\nroot: index\nchapters:\n- file: notebooks/01_a\n"
    )
    (tmp_path / "book" / "index.md").write_text("# A small book\n\nWith $x^2$.\n")
    cells = [
        nbformat.v4.new_markdown_cell("# A chapter"),
        nbformat.v4.new_code_cell("x: int = 1  # a number"),
    ]
    cells[1].metadata["tags"] = ["parameters"]
    kernel = {"name": "python3", "language": "python", "display_name": "Python 3 (ipykernel)"}
    (tmp_path / "notebooks").mkdir()
    notebook = nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": kernel})
    nbformat.write(notebook, tmp_path / "notebooks" / "01_a.ipynb")
    build(root=tmp_path)
    printed = build_pdf(root=tmp_path)
    assert printed == tmp_path / "_build" / "zscir.pdf"
    pages = re.findall(rb"/Type\s*/Page\b", printed.read_bytes())
    assert len(pages) >= 3, "a title, the contents, and a sheet for the chapter"
