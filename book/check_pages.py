"""Check the built pages: whole, offline, and usable by everyone.

    python book/check_pages.py                   # of _build/html, with and without a browser
    python book/check_pages.py FOLDER --static   # without one

Without a browser: no page loads anything from another host, every picture says in words what it shows,
every link inside the book has its target. With Chromium: axe-core (``pip install -e '.[check]'``) looks
at every page, light and dark, wide and as on a phone. What it calls serious or critical is an error; so
is a page wider than its window, a formula that was not drawn, and whatever a script asked another host
for.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import re
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from html.parser import HTMLParser
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote, urldefrag, urlsplit

from zscir.book.browser import rendered_html
from zscir.storage.paths import REPO

#: Mode of the theme, and width of the window in pixels.
VIEWS = (("light", 1400), ("dark", 1400), ("light", 400), ("dark", 400))
SERIOUS = ("serious", "critical")
PATIENCE = 900  # seconds for all pages in one view

_LOADING = {"script": "src", "img": "src", "iframe": "src", "source": "src", "video": "src", "embed": "src"}
_LOADED_LINKS = {"stylesheet", "icon", "preload", "modulepreload", "manifest"}
_FOREIGN = re.compile(r"^\s*(\w+:)?//", re.ASCII)
_FOREIGN_IN_CSS = re.compile(r"(?:@import|url\()\s*['\"]?((?:https?:)?//[^'\")\s]+)")


class Page(HTMLParser):
    """What one page loads, shows and links to, and the names that a link can lead to.

    Attributes:
        loaded: addresses that a browser fetches for it. links: of its ``<a>``. names: its anchors.
        pictures: source and text (or None) of each picture.
    """

    def __init__(self, html: str):
        super().__init__()
        self.loaded: list[str] = []
        self.links: list[str] = []
        self.pictures: list[tuple[str, str | None]] = []
        self.names: set[str] = set()
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note one tag."""
        given = {name: value or "" for name, value in attrs}
        self.names |= {given[name] for name in ("id", "name") if name in given}
        if tag == "a" and "href" in given:
            self.links.append(given["href"])
        if tag == "link" and _LOADED_LINKS & set(given.get("rel", "").split()):
            self.loaded.append(given.get("href", ""))
        if given.get(_LOADING.get(tag, "")):
            self.loaded.append(given[_LOADING[tag]])
        if tag == "img" and given.get("role") != "presentation":
            self.pictures.append((given.get("src", ""), given.get("alt")))


def pages_of(folder: Path) -> list[str]:
    """The pages below a folder, as relative addresses; files of the theme are none."""
    names = (path.relative_to(folder).as_posix() for path in sorted(folder.rglob("*.html")))
    return [name for name in names if not name.startswith("_static/")]


def static_findings(folder: Path) -> list[str]:
    """What is wrong with the pages as files, a line each."""
    pages = {name: Page((folder / name).read_text(encoding="utf-8")) for name in pages_of(folder)}
    found = []
    for name, page in pages.items():
        found += [f"{name}: loads {url}" for url in page.loaded if _FOREIGN.match(url)]
        for source, text in page.pictures:
            if not text or text == source:
                found.append(f"{name}: the picture {source} has no text (alt)")
        found += [
            f"{name}: the link {url} leads nowhere"
            for url in page.links
            if not _leads(folder, name, url, pages)
        ]
    for path in sorted(folder.rglob("*.css")):
        urls = _FOREIGN_IN_CSS.findall(path.read_text(encoding="utf-8"))
        found += [f"{path.relative_to(folder)}: loads {url}" for url in urls]
    return found


def _leads(folder: Path, name: str, url: str, pages: dict[str, Page]) -> bool:
    """Whether a link of page ``name`` has a target, or leaves the book."""
    if urlsplit(url).scheme or _FOREIGN.match(url):
        return True
    place, anchor = urldefrag(url)
    path = unquote(place.partition("?")[0])
    target = (folder / name).parent.joinpath(path).resolve() if path else folder.resolve() / name
    if not target.is_relative_to(folder.resolve()) or not target.is_file():
        return False
    page = pages.get(target.relative_to(folder.resolve()).as_posix())
    return not anchor or page is None or unquote(anchor) in page.names


# What follows needs a browser. A page of our own, _check/frame.html, shows all pages of the book in a frame,
# one after the other; the server adds to each the mode to be shown in, axe-core, and _check/report.js.

_SCRIPTS = Path(__file__).with_name("_check")
_MODE = """<script>localStorage.setItem("mode", "MODE"); localStorage.setItem("theme", "MODE");</script>"""
_REPORT = """<script src="/axe.min.js"></script><script src="/report.js"></script>"""


class _Handler(SimpleHTTPRequestHandler):
    """Files of a folder; pages that are asked for with a mode also get the scripts of the check."""

    extra: dict[str, str] = {}
    finished: threading.Event

    def do_GET(self) -> None:
        """Answer with a made page, a page with scripts, or a file."""
        place = urlsplit(self.path)
        if place.path in ("/wait", "/finished"):
            self.finished.set() if place.path == "/finished" else self.finished.wait(PATIENCE)
            self._send("", "text/plain")
            return
        mode = parse_qs(place.query).get("mode", [""])[0]
        if place.path in self.extra:
            self._send(
                self.extra[place.path], "text/javascript" if place.path.endswith(".js") else "text/html"
            )
        elif mode and Path(self.translate_path(place.path)).is_file():
            html = Path(self.translate_path(place.path)).read_text(encoding="utf-8")
            html = html.replace("<head>", f"<head>{_MODE.replace('MODE', mode)}", 1)
            self._send(html.replace("</body>", f"{_REPORT}</body>", 1), "text/html")
        else:
            super().do_GET()

    def _send(self, text: str, kind: str) -> None:
        body = text.encode("utf-8")
        self.send_response(200)
        self.send_header("Content-Type", f"{kind}; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args) -> None:
        """Keep quiet."""


@contextmanager
def _served(folder: Path, extra: dict[str, str]) -> Iterator[str]:
    """The folder on a free port of this machine; the address."""
    handler = partial(
        type("Handler", (_Handler,), {"extra": extra, "finished": threading.Event()}), directory=str(folder)
    )
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()


def axe_script() -> str:
    """The text of axe-core.

    Raises:
        FileNotFoundError: the package that brings it is not installed.
    """
    try:
        found = importlib.metadata.distribution("axe-playwright-python")
    except importlib.metadata.PackageNotFoundError as error:
        raise FileNotFoundError("axe-core is missing: pip install -e '.[check]'") from error
    return Path(found.locate_file("axe_playwright_python/axe.min.js")).read_text(encoding="utf-8")


def reports(folder: Path, mode: str, width: int, names: Sequence[str] | None = None) -> dict[str, dict]:
    """What the browser says about each page, shown in one mode at one width.

    Raises:
        FileNotFoundError: no Chromium, or no axe-core.
        RuntimeError: Chromium failed, or a page gave no report.
    """
    names = pages_of(folder) if names is None else list(names)
    frame = (_SCRIPTS / "frame.html").read_text(encoding="utf-8")
    extra = {"/axe.min.js": axe_script(), "/report.js": (_SCRIPTS / "report.js").read_text(encoding="utf-8")}
    extra["/frame.html"] = (
        frame.replace("PAGES", json.dumps(names)).replace("MODE", mode).replace("WIDTH", str(width))
    )
    with _served(folder, extra) as address:
        html = rendered_html(f"{address}/frame.html", timeout=PATIENCE + 60)
    said = json.loads(re.search(r'id="report">(.*?)</script>', html, re.DOTALL)[1])
    if silent := [name for name in names if name not in said]:
        raise RuntimeError(
            f"no report of {silent[0]} ({mode}, {width} px) and {len(silent) - 1} pages after it"
        )
    return said


def looked_at(folder: Path) -> list[str]:
    """The pages that a browser looks at: all, but of the listings of source code, which are alike, one."""
    names = pages_of(folder)
    listings = [name for name in names if name.startswith("_modules/")]
    return [name for name in names if name not in listings[1:]]


def browser_findings(folder: Path, names: Sequence[str] | None = None) -> list[str]:
    """What is wrong with the pages as a browser shows them, a line each; by default those `looked_at`."""
    names, found = looked_at(folder) if names is None else names, []
    for mode, width in VIEWS:
        for name, said in reports(folder, mode, width, names).items():
            bad = [one for one in said["violations"] if one["impact"] in SERIOUS]
            lines = [f"{one['rule']} ({one['impact']}): {place}" for one in bad for place in one["places"]]
            lines += [f"asks another host for {url}" for url in said["foreign"]]
            lines += [f"{said['formulas']} formulas are not drawn"] if said["formulas"] else []
            lines += [f"is shown in mode {said['theme']}"] if said["theme"] != mode else []
            if said["width"] > said["window"] or said["wide"]:
                lines.append(f"is {said['width']} px wide: {'; '.join(said['wide'][:3])}")
            found += [f"{name} ({mode}, {width} px): {line}" for line in lines]
    return found


def main(argv: Sequence[str] | None = None) -> int:
    """Print the findings; exit status 0 if there are none, 2 if there is nothing to check (with)."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", nargs="?", type=Path, default=(REPO or Path()) / "_build" / "html")
    parser.add_argument("--static", action="store_true", help="only what needs no browser")
    args = parser.parse_args(argv)
    try:
        if not (args.folder / "index.html").is_file():
            raise FileNotFoundError(f"there are no pages in {args.folder}: run `make book` first")
        found = static_findings(args.folder)
        found += [] if args.static else browser_findings(args.folder)
    except (FileNotFoundError, RuntimeError) as error:  # a browser that fails is no finding
        print(f"check_pages: {error}", file=sys.stderr)
        return 2
    print("\n".join([*found, f"{len(pages_of(args.folder))} pages, {len(found)} findings"]))
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
