"""The whole book as one PDF.

    zscir pdf                    # _build/zscir.pdf
    zscir pdf --profile quick    # of the quick book: _build/quick/_build/zscir.pdf

It is made from the chapters as they were last executed, so the book comes first. Jupyter Book makes one
long page of them, Chromium runs its scripts and draws the formulas, and prints what is left without
menus: solutions open, code that the pages fold left out, each chapter on a new sheet
(``book/_assets/print.css``).
"""

from __future__ import annotations

import html
import re
from pathlib import Path
from typing import Any

import zscir
from zscir.book.browser import find_chromium, print_pdf, rendered_html
from zscir.book.chapters import BookError, checkout, edition_folder
from zscir.book.pages import render

#: Seconds of the page's own clock for the formulas of a whole book.
PATIENCE = 30


def build_pdf(
    profile: str = "default", parameters: dict[str, Any] | None = None, *, root: Path | None = None
) -> Path:
    """Print one edition of the book; whole or not at all.

    Args:
        profile: as in `zscir.book.pages`.
        parameters: as in `zscir.book.pages`.
        root: the checkout; by default the one this library runs from.

    Returns:
        Path of ``zscir.pdf``, beside the edition's ``html``.

    Raises:
        FileNotFoundError: that edition was not built, or there is no Chromium.
        BookError: the page, a formula or the print failed. There is then no PDF, not even an older one.
    """
    root = checkout(root)
    folder = edition_folder(root, profile, parameters) / "_build"
    target = folder / "zscir.pdf"
    find_chromium()
    if not (folder / "html" / "index.html").is_file():
        raise FileNotFoundError(f"there is no book in {folder / 'html'}: build it first, with `make book`")
    target.unlink(missing_ok=True)
    page = render(root, folder.parent, "singlehtml")
    sheets = page.with_name("print.html")
    sheets.write_text(printable(rendered_html(page.as_uri(), PATIENCE)), encoding="utf-8")
    return print_pdf(sheets, target)


def printable(page: str) -> str:
    """What is to be printed of a rendered page: a title, the contents, and the text.

    Args:
        page: HTML of the book as one page, after its scripts have run.

    Raises:
        BookError: the page has no text, or a formula that was not drawn.
    """
    head, article = _between(page, "head"), _between(page, "article")
    if head is None or article is None:
        raise BookError("the page of the whole book has no head or no article: the theme has changed")
    formulas, drawn = len(re.findall(r'class="math[ "]', article)), article.count("<mjx-container")
    if drawn < formulas:
        raise BookError(f"{formulas - drawn} of {formulas} formulas were not drawn in {PATIENCE} seconds")
    return (
        f'<!DOCTYPE html><html lang="en" data-theme="light"><head>{_without_scripts(head)}</head>'
        f'<body class="whole-book">{_front(page, article)}<main class="bd-main"><div class="bd-content">'
        f'<article class="bd-article">{_opened(article)}</article></div></main></body></html>'
    )


def _between(page: str, tag: str) -> str | None:
    """What is inside the first element of that name; of an element that does not nest."""
    found = re.search(rf"<{tag}\b[^>]*>(.*?)</{tag}>", page, re.DOTALL)
    return found[1] if found else None


def _without_scripts(text: str) -> str:
    return re.sub(r"<script\b.*?</script>|<link[^>]*as=\"script\"[^>]*>", "", text, flags=re.DOTALL)


def _opened(article: str) -> str:
    """The text with everything folded opened, and links to the one page turned into links within it."""
    text = re.sub(r"<details\b", "<details open", _without_scripts(article))
    text = re.sub(r"(<\w+ class=\"[^\"]*)\btoggle-hidden\b", r"\1", text)
    return text.replace('href="index.html#', 'href="#')


def _front(page: str, article: str) -> str:
    """A sheet with the title, and one with the chapters."""
    title = _between(article, "h1") or ""
    title = re.sub(r"<a class=\"headerlink\".*?</a>", "", title)
    author = re.search(r'class="component-author">\s*By (.*?)\s*</p>', page)
    chapters = re.findall(
        r'<span id="(document-[^"]+)"></span>.*?<h2>(.*?)<a class="headerlink"', article, re.DOTALL
    )
    lines = "".join(f'<li><a href="#{html.escape(anchor)}">{name}</a></li>' for anchor, name in chapters)
    return (
        f'<section class="front"><p class="book-title">{title}</p><p>{author[1] if author else ""}</p>'
        f"<p>zscir {zscir.__version__}</p><p>Code that the pages fold is left out here; the notebooks have"
        f' it.</p></section><nav class="front" aria-label="Contents"><p class="book-title">Contents</p>'
        f"<ul>{lines}</ul></nav>"
    )
