"""The book is printed whole, or it is said what is missing."""

import importlib.util
import shutil
import stat
import subprocess

import pytest
from test_book import write_book, write_notebook

from zscir import cli
from zscir.book import BookError, browser, build
from zscir.book.pdf import build_pdf, printable

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


def has_chromium() -> bool:
    try:
        return bool(browser.find_chromium())
    except FileNotFoundError:
        return False


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


def test_the_print_is_whole_or_not_at_all(tmp_path, monkeypatch):
    page, target = tmp_path / "a.html", tmp_path / "a.pdf"
    page.write_text("<p>text</p>")
    command = 'for one; do case $one in --print-to-pdf=*) {} > "${{one#*=}}";; esac; done; echo "$@" > {}'
    script = command.format("printf %%PDF-1.4", tmp_path / "asked")
    monkeypatch.setenv("CHROMIUM", str(fake_chromium(tmp_path, script)))
    assert browser.print_pdf(page, target).read_bytes() == b"%PDF-1.4"
    asked = (tmp_path / "asked").read_text()
    assert page.as_uri() in asked and "--headless" in asked and "MAP * ~NOTFOUND" in asked
    target.unlink()
    fake_chromium(tmp_path, command.format("echo oops", tmp_path / "asked"))
    with pytest.raises(BookError, match="printed no PDF"):
        browser.print_pdf(page, target)
    fake_chromium(tmp_path, "echo broken >&2; exit 3")
    with pytest.raises(BookError, match=r"exit status 3.*\n.*broken"):
        browser.print_pdf(page, target)
    fake_chromium(tmp_path, "exec sleep 20")
    with pytest.raises(BookError, match="not done after 0.2 seconds"):
        browser.print_pdf(page, target, timeout=0.2)
    with pytest.raises(FileNotFoundError, match="there is no page"):
        browser.print_pdf(tmp_path / "b.html", target)
    assert {path.name for path in tmp_path.iterdir()} == {"a.html", "asked", "chromium"}


def test_what_is_printed_has_title_contents_and_text_and_nothing_to_press():
    sheets = printable(PAGE.format(formula=DRAWN))
    assert '<p class="book-title">A <em>book</em></p><p>Us</p>' in sheets
    assert '<li><a href="#document-notebooks/01_a">1. First</a></li>' in sheets
    assert '<link href="a.css">' in sheets and DRAWN in sheets and '<a href="#ex-a">' in sheets
    assert '<details open class="admonition hide' in sheets
    assert not [word for word in ("menu", "<script", "toggle-hidden", "footer") if word in sheets]


def test_a_formula_that_was_not_drawn_and_a_page_without_text_are_errors():
    with pytest.raises(BookError, match="1 of 1 formulas were not drawn"):
        printable(PAGE.format(formula=r"\(x\)"))
    with pytest.raises(BookError, match="no article"):
        printable("<html><head></head><body></body></html>")


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


@pytest.mark.slow
@pytest.mark.skipif(not has_chromium(), reason="there is no Chromium")
def test_a_small_book_is_printed_with_formulas_solutions_and_tabs(tmp_path):
    text = "# Chapter\n\n```{exercise}\n:label: ex-a\nWhy?\n```\n\n"
    text += "```{solution} ex-a\n:class: dropdown\nThus $x_1$.\n```"
    text += "\n\n````{tab-set}\n```{tab-item} One\nfirst tab\n```\n```{tab-item} Two\nsecond tab\n```\n````"
    write_notebook(tmp_path, "01_a", "print('printed', tau)", title=text)
    write_book(tmp_path, "01_a")
    build(root=tmp_path)
    target = build_pdf(root=tmp_path)
    assert target == tmp_path / "_build" / "zscir.pdf" and target.read_bytes().startswith(b"%PDF-")
    sheets = (tmp_path / "_build" / "singlehtml" / "print.html").read_text()
    assert sheets.count("<mjx-container") == 2 and "<script" not in sheets
    if shutil.which("pdftotext"):
        said = subprocess.run(["pdftotext", target, "-"], capture_output=True, text=True, check=True).stdout
        for words in ("A book", "Contents", "printed 0.3", "Thus", "first tab", "second tab"):
            assert words in said
        assert r"\(" not in said and "Show code" not in said
    (tmp_path / "book" / "index.md").write_text("# A book\n\nSee {eq}`eq-missing`.\n")
    with pytest.raises(BookError, match="jupyter-book"):
        build_pdf(root=tmp_path)
    assert not target.exists()
