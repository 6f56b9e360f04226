"""What the tests of live figures share: pages opened from a folder, in a browser that has no network."""

from __future__ import annotations

import importlib.metadata
import os
from contextlib import contextmanager
from pathlib import Path

import pytest

from zscir.book.browser import find_chromium

PAGE = (
    '<!DOCTYPE html><html lang="en" data-theme="{}"><head><meta charset="utf-8"><title>A figure</title>'
    '<meta name="viewport" content="width=device-width"></head>'
    "<body><main><h1>A figure</h1>{}</main></body></html>"
)
WAKE = "() => document.querySelector('.live-awake')?.figure"
#: Milliseconds: a busy machine is no failure.
PATIENCE = 180_000


def why_not() -> str:
    """Why no browser can be used here, or nothing."""
    try:
        find_chromium()
        importlib.metadata.version("axe-playwright-python")
    except (FileNotFoundError, importlib.metadata.PackageNotFoundError) as error:
        return str(error)
    return ""


needs_browser = pytest.mark.skipif(bool(why_not()), reason=why_not())
_both = pytest.mark.parametrize("browser", ["chromium", "firefox"], indirect=True, scope="module")


def in_browsers(test):
    """A test of the fixture `browser` in Chromium and in Firefox, where these are."""
    return needs_browser(_both(test))


@contextmanager
def firefox():
    """Playwright's own Firefox, or the one that the variable FIREFOX names; a skip where there is none."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        named = os.environ.get("FIREFOX")
        if not named and not Path(playwright.firefox.executable_path).exists():
            pytest.skip("no Firefox: make firefox installs one, or FIREFOX=... names one")
        own = {"channel": "moz-firefox", "executable_path": named} if named else {}
        yield playwright.firefox.launch(**own)


def write_page(folder, figure, theme="light"):
    """A page with one live figure, as a notebook has it; its address."""
    path = folder / "page.html"
    path.write_text(PAGE.format(theme, figure._repr_html_()), encoding="utf-8")
    return path.as_uri()


@contextmanager
def opened(browser, address, width=1400, javascript=True):
    """The page; an error in its console, or a request that leaves the machine, fails at the end."""
    context = browser.new_context(
        viewport={"width": width, "height": 900}, offline=True, java_script_enabled=javascript
    )
    context.set_default_timeout(PATIENCE)
    page, wrong = context.new_page(), []
    page.on("console", lambda said: wrong.append(said.text) if said.type == "error" else None)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on(
        "request",
        lambda asked: None if asked.url.startswith(("file:", "data:", "blob:")) else wrong.append(asked.url),
    )
    page.goto(address)
    yield page
    context.close()
    assert wrong == []


def woken(page):
    """Press the figure's button and wait."""
    page.click(".live-wake")
    page.wait_for_function(WAKE)
    return page


def shows(page, selector, text):
    """Wait until an element shows a text: what a key does may come after the key. All its text."""
    page.wait_for_function(
        "([where, text]) => document.querySelector(where).innerText.includes(text)", arg=[selector, text]
    )
    return page.inner_text(selector)


def tab(page):
    """Press Tab and wait until the focus has moved; tag and type of what has it."""
    page.evaluate("window.focused = document.activeElement")
    page.keyboard.press("Tab")
    page.wait_for_function("document.activeElement !== window.focused")
    return page.evaluate("`${document.activeElement.tagName} ${document.activeElement.type ?? ''}`")


def barriers(page):
    """What axe-core finds, a line each."""
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(page).response["violations"]
    return [f"{rule['id']}: {node['html'][:120]}" for rule in found for node in rule["nodes"]]
