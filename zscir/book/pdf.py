"""The whole book as one PDF.

    zscir pdf                    # _build/zscir.pdf
    zscir pdf --profile quick    # of the quick book: _build/quick/_build/zscir.pdf

It is made from the chapters as they were last executed, so the book comes first. Jupyter Book makes one
long page of them, Chromium runs its scripts and draws the formulas, and prints what ``book/_check/print.js``
leaves of it: no menus, solutions open, code that the pages fold left out, each chapter on a new sheet
(``book/_assets/print.css``).
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import zscir
from zscir.book.browser import chromium, find_chromium
from zscir.book.chapters import BookError, checkout, edition_folder
from zscir.book.pages import render
from zscir.storage.paths import REPO
from zscir.storage.whole import written_whole

if TYPE_CHECKING:
    from playwright.sync_api import Page

#: Seconds that the formulas of a whole book have.
PATIENCE = 60


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
        FileNotFoundError: that edition was not built, or there is no Chromium or no Playwright.
        BookError: the page, a formula or the print failed. There is then no PDF, not even an older one.
    """
    root = checkout(root)
    folder = edition_folder(root, profile, parameters) / "_build"
    target = folder / "zscir.pdf"
    find_chromium()
    if not (folder / "html" / "index.html").is_file():
        raise FileNotFoundError(f"there is no book in {folder / 'html'}: build it first, with `make book`")
    target.unlink(missing_ok=True)
    return print_pdf(render(root, folder.parent, "singlehtml"), target)


def print_pdf(html: Path, target: Path) -> Path:
    """Print the book as one page, with the headings as the PDF's outline; whole or not at all.

    Raises:
        FileNotFoundError: there is no Chromium or no Playwright.
        BookError: the page has no text, a formula was not drawn, or Chromium failed.
    """
    with written_whole(target) as scratch, chromium() as browser:
        page = browser.new_page()
        page.goto(html.resolve().as_uri())
        prepare(page)
        page.pdf(path=scratch, outline=True, tagged=True, prefer_css_page_size=True)
    return target


def prepare(page: "Page", patience: float = PATIENCE) -> None:
    """Wait for the formulas, then leave of the page what is to be printed: a title, the contents, the text.

    Raises:
        BookError: the page has no text, or a formula that was not drawn after ``patience`` seconds.
    """
    from playwright.sync_api import TimeoutError

    undrawn = "article .math:not(:has(mjx-container))"
    try:
        page.wait_for_function("css => !document.querySelector(css)", arg=undrawn, timeout=1000 * patience)
    except TimeoutError as error:
        count, formulas = page.locator(undrawn).count(), page.locator("article .math").count()
        raise BookError(f"{count} of {formulas} formulas were not drawn in {patience} seconds") from error
    script = ((REPO or Path()) / "book" / "_check" / "print.js").read_text(encoding="utf-8")
    if not page.evaluate(script, zscir.__version__):
        raise BookError("the page of the whole book has no article: the theme has changed")
