"""Chromium without a window: it prints the book, and it opens the pages that are checked.

    rendered_html("file:///…/index.html")      # the page as its scripts leave it
    print_pdf(Path("index.html"), Path("book.pdf"))

Any Chromium or Chrome will do. The environment variable ``CHROMIUM`` names one; else one is looked for on
the search path. Nothing outside this machine is reached: no name of another host is resolved.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from zscir.book.chapters import BookError

#: Commands that start a Chromium, in the order in which they are looked for.
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "msedge")

_FLAGS = ("--headless", "--disable-gpu", "--no-first-run", "--hide-scrollbars", "--disable-sync")
_FLAGS += ("--disable-background-networking", "--disable-component-update", "--disable-extensions")
_FLAGS += ("--disable-dev-shm-usage", "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1")


def find_chromium() -> str:
    """Path of the Chromium to use: the environment variable ``CHROMIUM``, else the first of `NAMES`.

    Raises:
        FileNotFoundError: there is none, or ``CHROMIUM`` names something that cannot be run.
    """
    named = os.environ.get("CHROMIUM")
    if named:
        if found := shutil.which(os.path.expanduser(named)):
            return found
        raise FileNotFoundError(f"CHROMIUM is {named!r}, which is no program: name a Chromium or Chrome")
    for name in NAMES:
        if found := shutil.which(name):
            return found
    raise FileNotFoundError(
        f"no Chromium found (looked for {', '.join(NAMES)}): install one, or name one, such as "
        "CHROMIUM=/opt/chrome/chrome"
    )


def rendered_html(url: str, patience: float = 0, timeout: float = 600) -> str:
    """The page at ``url`` as HTML, with what its scripts have made of it.

    Args:
        url: ``file://`` or ``http://127.0.0.1``.
        patience: seconds, by the page's own clock, that its scripts have; 0: until it is loaded.
        timeout: seconds after which Chromium is stopped.

    Raises:
        FileNotFoundError: there is no Chromium.
        BookError: Chromium failed or did not end in time.
    """
    clock = [f"--virtual-time-budget={round(1000 * patience)}"] if patience else []
    return _run(["--window-size=1500,1200", *clock, "--dump-dom", url], timeout)


def print_pdf(page: Path, target: Path, timeout: float = 600) -> Path:
    """Print an HTML file as it is, with the headings as the PDF's outline; whole or not at all.

    Raises:
        FileNotFoundError: there is no such page, or no Chromium.
        BookError: Chromium failed, did not end in time, or printed nothing.
    """
    if not page.is_file():
        raise FileNotFoundError(f"there is no page {page}")
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".pdf-") as folder:
        scratch = Path(folder, "print.pdf")
        options = [f"--print-to-pdf={scratch}", "--no-pdf-header-footer", "--generate-pdf-document-outline"]
        said = _run([*options, page.resolve().as_uri()], timeout)
        if not (scratch.is_file() and scratch.read_bytes().startswith(b"%PDF-")):
            raise BookError(f"Chromium printed no PDF of {page}; it said: {said.strip() or 'nothing'}")
        os.replace(scratch, target)
    return target


def _run(options: list[str], timeout: float) -> str:
    """Start Chromium with a fresh profile and wait for it; what it wrote to stdout."""
    sandbox = ["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []  # root can have none
    with tempfile.TemporaryDirectory(prefix="zscir-chromium-", ignore_cleanup_errors=True) as profile:
        command = [find_chromium(), *_FLAGS, *sandbox, f"--user-data-dir={profile}", *options]
        try:
            done = subprocess.run(
                command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout
            )
        except subprocess.TimeoutExpired as error:
            raise BookError(f"Chromium was not done after {timeout:g} seconds: {options[-1]}") from error
    if done.returncode != 0:
        last = "\n".join(done.stderr.splitlines()[-5:])
        raise BookError(f"Chromium ended with exit status {done.returncode}: {options[-1]}\n{last}")
    return done.stdout
