"""The book is printed whole, or it is said what is missing."""

import importlib.metadata
import importlib.util
import shutil
import stat
import subprocess
import sys

import pytest
from test_book import write_book, write_notebook

from zscir import cli
from zscir.book import BookError, browser, build
from zscir.book.pdf import build_pdf, prepare, print_pdf

PAGE = """<!DOCTYPE html><html lang="en"><head><title>T</title><script>far()</script>
<link href="a.css"></head><body>
<nav>menu</nav><article class="bd-article"><section>
<h1>A <em>book</em><a class="headerlink" href="#">#</a></h1>
<p><span class="math notranslate">{formula}</span></p></section>
<div class="toctree-wrapper"><span id="document-notebooks/01_a"></span><section id="a">
<h2>1. First<a class="headerlink"></a></h2>
<details class="admonition hide above-input"><summary>Show</summary>code</details>
<div class="admonition toggle-hidden dropdown toggle">solution</div>
<a href="index.html#ex-a">to</a></section></div>
</article><footer><p class="component-author">
By Us
</p></footer></body></html>"""
DRAWN = "<mjx-container>x</mjx-container>"


def fake_chromium(folder, body):
    """A Chromium that is a shell script; its path."""
    path = folder / "chromium"
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def why_not() -> str:
    """Why nothing can be printed here, or nothing."""
    try:
        browser.find_chromium()
        importlib.metadata.version("playwright")
    except (FileNotFoundError, importlib.metadata.PackageNotFoundError) as error:
        return str(error)
    return ""


needs_browser = pytest.mark.skipif(bool(why_not()), reason=why_not())


@pytest.mark.posix
def test_chromium_is_the_one_that_is_named(tmp_path, monkeypatch):
    path = fake_chromium(tmp_path, "exit 0")
    monkeypatch.setenv("CHROMIUM", str(path))
    assert browser.find_chromium() == str(path)
    monkeypatch.setenv("CHROMIUM", str(tmp_path / "none"))
    with pytest.raises(FileNotFoundError, match=r"CHROMIUM is '.*none', which is no program"):
        browser.find_chromium()
    monkeypatch.delenv("CHROMIUM")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert browser.find_chromium() == str(path)
    path.unlink()
    with pytest.raises(FileNotFoundError, match="no Chromium found.*CHROMIUM="):
        browser.find_chromium()


@pytest.mark.posix
@needs_browser
def test_the_print_is_whole_or_not_at_all(tmp_path, monkeypatch):
    page, target = tmp_path / "a.html", tmp_path / "a.pdf"
    page.write_text(PAGE.format(formula=DRAWN))
    assert print_pdf(page, target).read_bytes().startswith(b"%PDF-")
    target.unlink()
    page.write_text("<html><head></head><body></body></html>")
    with pytest.raises(BookError, match="no article"):
        print_pdf(page, target)
    with pytest.raises(BookError, match="ERR_FILE_NOT_FOUND"):
        print_pdf(tmp_path / "b.html", target)
    monkeypatch.setenv("CHROMIUM", str(fake_chromium(tmp_path, "echo broken >&2; exit 3")))
    with pytest.raises(BookError, match="broken"):
        print_pdf(page, target)
    assert {path.name for path in tmp_path.iterdir()} == {"a.html", "chromium"}


@needs_browser
def test_what_is_printed_has_title_contents_and_text_and_nothing_to_press():
    with browser.chromium() as program:
        page = program.new_page()
        page.set_content(PAGE.format(formula=DRAWN))
        prepare(page)
        sheets = page.content()
    assert '<p class="book-title">A <em>book</em></p><p>Us</p>' in sheets
    assert '<li><a href="#document-notebooks/01_a">1. First</a></li>' in sheets
    assert '<link href="a.css">' in sheets and DRAWN in sheets and '<a href="#ex-a">' in sheets
    assert '<details class="admonition hide above-input" open="">' in sheets
    assert not [word for word in ("menu", "<script", "toggle-hidden", "footer") if word in sheets]


@needs_browser
def test_a_formula_that_was_not_drawn_is_an_error():
    with pytest.raises(BookError, match="1 of 1 formulas were not drawn"), browser.chromium() as program:
        page = program.new_page()
        page.set_content(PAGE.format(formula="x"))
        prepare(page, patience=0.2)


@pytest.mark.posix
def test_a_missing_playwright_is_told_with_the_command_that_brings_it(tmp_path, monkeypatch):
    monkeypatch.setenv("CHROMIUM", str(fake_chromium(tmp_path, "exit 0")))
    monkeypatch.setitem(sys.modules, "playwright.sync_api", None)
    with pytest.raises(FileNotFoundError, match=r"pip install -e '\.\[check\]'"), browser.chromium():
        pass


@pytest.mark.posix
def test_a_book_that_was_not_built_is_told(tmp_path, monkeypatch, capsys):
    write_notebook(tmp_path, "01_a", "print(tau)")
    monkeypatch.setenv("CHROMIUM", str(fake_chromium(tmp_path, "exit 0")))
    with pytest.raises(
        FileNotFoundError, match=r"no book in .*quick/_build/html: build it first, with `make book`"
    ):
        build_pdf("quick", root=tmp_path)
    monkeypatch.setenv("CHROMIUM", "/no/such/browser")
    assert cli.main(["pdf", "--profile", "quick"]) == 2
    assert "zscir: CHROMIUM is '/no/such/browser'" in capsys.readouterr().err


def test_the_command_passes_its_options(monkeypatch, capsys):
    monkeypatch.setattr("zscir.book.pdf.build_pdf", lambda *given: given)
    assert cli.main(["pdf", "--profile", "quick", "-p", "tau", "0.27"]) == 0
    assert capsys.readouterr().out == "the book: ('quick', {'tau': 0.27})\n"


def test_one_page_keeps_the_handlers_of_other_extensions():
    from zscir.storage.paths import REPO

    spec = importlib.util.spec_from_file_location("singlehtml", REPO / "book" / "_ext" / "singlehtml.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    handlers = {"html": {"tab": 1, "exercise": 2}, "singlehtml": {"exercise": 3}}
    app = type("App", (), {"registry": type("Registry", (), {"translation_handlers": handlers})})
    module.complete(app)
    assert handlers["singlehtml"] == {"tab": 1, "exercise": 3}


@pytest.mark.thorough
@pytest.mark.slow
@needs_browser
def test_a_small_book_is_printed_with_formulas_solutions_and_tabs(tmp_path):
    text = "# Chapter\n\n```{exercise}\n:label: ex-a\nWhy?\n```\n\n"
    text += "```{solution} ex-a\n:class: dropdown\nThus $x_1$.\n```"
    text += "\n\n````{tab-set}\n```{tab-item} One\nfirst tab\n```\n```{tab-item} Two\nsecond tab\n```\n````"
    write_notebook(tmp_path, "01_a", "print('printed', tau)", title=text)
    write_book(tmp_path, "01_a")
    build(root=tmp_path)
    target = build_pdf(root=tmp_path)
    assert target == tmp_path / "_build" / "zscir.pdf" and target.read_bytes().startswith(b"%PDF-")
    if shutil.which("pdftotext"):
        said = subprocess.run(["pdftotext", target, "-"], capture_output=True, text=True, check=True).stdout
        for words in ("A book", "Contents", "printed 0.3", "Thus", "first tab", "second tab"):
            assert words in said
        assert r"\(" not in said and "Show code" not in said
    (tmp_path / "book" / "index.md").write_text("# A book\n\nSee {eq}`eq-missing`.\n")
    with pytest.raises(BookError, match="jupyter-book"):
        build_pdf(root=tmp_path)
    assert not target.exists()
