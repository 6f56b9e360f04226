"""Chromium without a window, driven by Playwright: it prints the book, and opens the pages that are checked.

    with chromium() as browser:
        page = browser.new_page()

Playwright comes with ``pip install -e '.[check]'``. Any Chromium or Chrome will do: the environment variable
``CHROMIUM`` names one, else one is looked for on the search path. No name of another host is resolved.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from zscir.book.chapters import BookError

if TYPE_CHECKING:
    from playwright.sync_api import Browser

#: Commands that start a Chromium, in the order in which they are looked for.
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "msedge")


def find_chromium() -> str:
    """Path of the Chromium to use: the environment variable ``CHROMIUM``, else the first of `NAMES`.

    Raises:
        FileNotFoundError: there is none, or ``CHROMIUM`` names something that cannot be run.
    """
    if named := os.environ.get("CHROMIUM"):
        if found := shutil.which(os.path.expanduser(named)):
            return found
        raise FileNotFoundError(f"CHROMIUM is {named!r}, which is no program: name a Chromium or Chrome")
    if found := next(filter(None, map(shutil.which, NAMES)), None):
        return found
    raise FileNotFoundError(
        f"no Chromium found (looked for {', '.join(NAMES)}): install one, or name one, such as "
        "CHROMIUM=/opt/chrome/chrome"
    )


@contextmanager
def chromium() -> Iterator["Browser"]:
    """A running browser with an empty profile; it ends with the block.

    Raises:
        FileNotFoundError: there is no Chromium, or no Playwright.
        BookError: the browser failed, or was not done in time.
    """
    program = find_chromium()
    try:
        from playwright.sync_api import Error, sync_playwright
    except ModuleNotFoundError as error:
        raise FileNotFoundError("Playwright is missing: pip install -e '.[check]'") from error
    root = hasattr(os, "geteuid") and os.geteuid() == 0  # root can have no sandbox
    flags = ["--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"]
    try:
        with sync_playwright() as playwright:
            yield playwright.chromium.launch(executable_path=program, chromium_sandbox=not root, args=flags)
    except Error as error:
        raise BookError(f"{program} failed: {error}") from error
