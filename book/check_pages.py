"""Check the built pages: whole, offline, and usable by everyone.

    python book/check_pages.py                   # of _build/html, with and without a browser
    python book/check_pages.py FOLDER --static   # without one

Without a browser: no page loads anything from another host, every picture says in words what it shows,
every link inside the book has its target, no sentence was left over by a template. With Chromium and
Playwright (``pip install -e .[check]``) axe-core looks at every page, light and dark, wide and as on a phone.
What it calls serious or critical is an error; so is a page wider than its window, a formula that was not
drawn, what a script asked another host for, and whatever the browser's console calls an error.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Sequence
from functools import partial
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote, urldefrag, urlsplit

from zscir.book.browser import chromium
from zscir.storage.paths import REPO

if TYPE_CHECKING:
    from playwright.sync_api import Route

#: Mode of the theme, and width of the window in pixels.
VIEWS = (("light", 1400), ("dark", 1400), ("light", 400), ("dark", 400))
SERIOUS = ("serious", "critical")

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


#: What a sentence says when it was made to fit any result: both sides of it, an empty list, no number.
LEFTOVERS = re.compile(
    r"\bor none\b|\(most often: |\bor not at all\b|"
    r"\bwhatever (?:it|this|that|they|the \w+) (?:shows?|says?|finds?|turns? out)\b|"
    r"\bwhich (?:of them|of the two|method|one) is better depends\b|"
    r"(?-i:(?<![\w.])nan\b)|\{glue|[:;,(] ?[.;](?= |$)|, ,",
    re.I,
)


class Prose(HTMLParser):
    """The sentences of a page, a text a block; code and formulas are left out.

    Attributes:
        blocks: texts of paragraphs, items, definitions, captions.
    """

    def __init__(self, html: str):
        super().__init__()
        self.blocks: list[str] = []
        self._open = self._skip = 0
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Begin a block, or what is not read."""
        math = "math" in (dict(attrs).get("class") or "").split()
        if self._skip or tag in ("pre", "code", "script", "style", "nav") or math:
            self._skip += tag not in ("br", "img", "input", "hr", "link", "meta", "wbr")
            self.blocks += [] if not self._open or self._skip != 1 else [self.blocks.pop() + "·"]
        elif tag in ("p", "li", "dd", "figcaption"):
            self._open += 1
            self.blocks.append("")

    def handle_endtag(self, tag: str) -> None:
        """End a block, or what is not read."""
        if self._skip:
            self._skip -= 1
        elif tag in ("p", "li", "dd", "figcaption"):
            self._open = max(0, self._open - 1)

    def handle_data(self, data: str) -> None:
        """Note text of the block that is open."""
        if self._open and not self._skip:
            self.blocks[-1] += data


def leftovers(html: str) -> list[str]:
    """Sentences of a page that a template left: those that `LEFTOVERS` finds, with what stands around it.

    >>> leftovers("<p>So <code>f()</code> gains a point, or none.</p>")
    ['· gains a point, or none.']
    """
    texts = (" ".join(block.split()) for block in Prose(html).blocks)
    found = ((text, LEFTOVERS.search(text)) for text in texts)
    return [text[max(0, hit.start() - 60) : hit.end() + 30] for text, hit in found if hit]


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
    for name in pages:
        if not name.startswith(("_modules/", "api.", "genindex", "search")):
            html = (folder / name).read_text(encoding="utf-8")
            found += [f"{name}: a sentence of a template: {text}" for text in leftovers(html)]
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


# What follows needs a browser. The pages are at an address that nobody has, and come from their folder.

ORIGIN = "http://book.invalid/"
_MODE = """mode => { localStorage.setItem("mode", mode); localStorage.setItem("theme", mode); }"""
_REPORT = Path(__file__).with_name("_check") / "report.js"


def reports(
    folder: Path, mode: str, width: int, names: Sequence[str] | None = None, axe: bool = True
) -> dict[str, dict]:
    """What the browser says about each page, shown in one mode at one width; ``axe``: and what axe-core does.

    Raises:
        FileNotFoundError: no Chromium, no Playwright or no axe-core.
        BookError: Chromium failed.
    """
    try:
        from axe_playwright_python.sync_playwright import Axe
    except ModuleNotFoundError as error:
        raise FileNotFoundError("axe-core is missing: pip install -e '.[check]'") from error
    said: dict[str, dict] = {}
    with chromium() as browser:
        page = browser.new_page(viewport={"width": width, "height": 1000})
        page.add_init_script(f"({_MODE})({json.dumps(mode)})")
        foreign: list[str] = []
        errors: list[str] = []
        page.on("console", lambda said: errors.append(said.text) if said.type == "error" else None)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.route("**/*", partial(_answer, folder, foreign))
        for name in pages_of(folder) if names is None else names:
            foreign.clear()
            errors.clear()
            page.goto(ORIGIN + quote(name))
            page.evaluate("window.MathJax?.startup?.promise")
            page.wait_for_timeout(400)  # the theme looks 300 ms later which boxes scroll
            own = list(errors)  # axe-core loads style sheets once more, from elsewhere
            found = Axe().run(page).response["violations"] if axe else []
            asked = {"violations": found, "foreign": sorted(set(foreign)), "errors": own}
            said[name] = asked | page.evaluate(_REPORT.read_text(encoding="utf-8"))
    return said


def _answer(folder: Path, foreign: list[str], route: Route) -> None:
    """Answer a request from the folder; one to another host is noted, and fails."""
    url = route.request.url
    path = folder / unquote(urlsplit(url).path).lstrip("/")
    if url.startswith(ORIGIN) and path.is_file():
        route.fulfill(path=path)
    else:
        foreign += [] if url.startswith(ORIGIN) else [url]
        route.abort()


def looked_at(folder: Path) -> list[str]:
    """The pages that axe-core looks at: all, but of the listings of source code, which are alike, one."""
    names = pages_of(folder)
    listings = [name for name in names if name.startswith("_modules/") and name != "_modules/index.html"]
    return [name for name in names if name not in listings[1:]]


def browser_findings(folder: Path, names: Sequence[str] | None = None) -> list[str]:
    """What is wrong with the pages as a browser shows them, a line each.

    By default those `looked_at` in all `VIEWS`, and the others, without axe-core, as on a phone.
    """
    others = [] if names else sorted({*pages_of(folder)} - {*looked_at(folder)})
    names, found = looked_at(folder) if names is None else names, []
    for (mode, width), own, axe in (*((view, names, True) for view in VIEWS), (VIEWS[2], others, False)):
        for name, said in reports(folder, mode, width, own, axe).items():
            bad = [(rule, node) for rule in said["violations"] for node in rule["nodes"]]
            lines = [
                f"{rule['id']} ({rule['impact']}): {node['target']}  {node['html'][:160]}"
                for rule, node in bad
                if rule["impact"] in SERIOUS
            ]
            lines += [f"asks another host for {url}" for url in said["foreign"]]
            lines += [f"console: {error}" for error in said["errors"]]
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
