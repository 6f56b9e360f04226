"""The lesson as slides: one page of HTML beside the book, made from the built pages.

What is asked and told stands on the page *Teach* alone; figures and formulas are those of the chapters. Arrow
keys turn over, N shows what the teacher says. Pictures and MathJax are loaded from the book's own folder.
"""

import html
import re
from pathlib import Path
from urllib.parse import urljoin

from bs4 import BeautifulSoup

LESSON = "a-lesson-of-90-minutes"
#: From where the slides lie to the first page of the book.
UP = "../../"

HEAD = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>A lesson of 90 minutes</title>
<style>
:root { color-scheme: light dark; scroll-snap-type: y mandatory; font: 1.6rem/1.4 system-ui, sans-serif; }
body { margin: 0; background: Canvas; color: CanvasText; }
main > section { min-height: 100vh; box-sizing: border-box; padding: 4vh 6vw; scroll-snap-align: start;
  display: flex; flex-direction: column; justify-content: center; gap: 2vh; }
h1, h2 { margin: 0; line-height: 1.15; }
figure { margin: 0; text-align: center; }
figure img { width: 100%; max-height: 68vh; object-fit: contain; }
@media (prefers-color-scheme: dark) { figure img { background: #fff; } }
figcaption, .foot { font-size: 0.7em; }
summary { cursor: pointer; }
.math { overflow-x: auto; text-align: center; }
.notes { display: none; border-top: 1px solid; font-size: 0.7em; }
.with-notes .notes { display: block; }
@media print { @page { size: A4 landscape; } main > section { break-after: page; } }
</style>
<script>window.MathJax = {tex: {macros: {RR: "\\\\mathbb{R}", vect: ["\\\\mathbf{#1}", 1]}}};</script>
<script defer src="../mathjax/tex-svg.js"></script>
<script>
addEventListener("keydown", event => {
  const slides = [...document.querySelectorAll("main > section")];
  const now = slides.findIndex(slide => slide.getBoundingClientRect().bottom > innerHeight / 2);
  const step = {ArrowRight: 1, ArrowDown: 1, PageDown: 1, ArrowLeft: -1, ArrowUp: -1, PageUp: -1}[event.key];
  if (step) { slides[now + step]?.scrollIntoView(); event.preventDefault(); }
  if (event.key === "n") document.body.classList.toggle("with-notes");
});
</script></head><body><main>
"""


def slides(folder):
    """The page of slides, as HTML.

    Args:
        folder: where the built pages lie, ``teach.html`` among them.
    """
    folder = Path(folder)
    pages = {"teach.html": _read(folder / "teach.html")}
    lesson = pages["teach.html"].find(id=LESSON)
    rows = lesson.find("tbody").find_all("tr")
    parts = lesson.find_all("section", recursive=False)
    if len(rows) != len(parts):
        raise ValueError(f"the plan of the lesson has {len(rows)} rows, but {len(parts)} sections tell of it")
    first = f"<h1>{_inner(lesson.h2)}</h1><p>Arrow keys turn over. N shows the teacher's notes.</p>"
    made = [f"<section>{first}</section>"]
    for row, part in zip(rows, parts, strict=True):
        made += _part(row, part, folder, pages)
    return HEAD + "\n".join(made) + "\n</main></body></html>\n"


def _read(path):
    return BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser")


def _inner(element, page="teach.html"):
    """What stands inside an element, without links to itself; other links lead into the book."""
    copy = BeautifulSoup(str(element), "html.parser").find(element.name)
    for link in copy.find_all("a"):
        if "headerlink" in link.get("class", []):
            link.decompose()
        else:
            link["href"] = _address(page, link["href"])
    return copy.decode_contents().strip()


def _address(page, url):
    """An address that a page of the book uses, as seen from the slides."""
    return url if re.match(r"\w+:", url) else UP + urljoin(page, url)


def _tags(elements):
    return "".join(f"<{one.name}>{_inner(one)}</{one.name}>" for one in elements)


def _part(row, part, folder, pages):
    """Slides of one part: its title with the teacher's notes, its figures and formulas, its questions."""
    notes, shown, asked = [_tags(part.find_all(["p", "ul"], recursive=False))], [], []
    for link in row.find_all("a") + part.select(":scope > p a, :scope > ul a"):
        page, _, name = urljoin("teach.html", link["href"]).partition("#")
        if re.match("fig-|equation-", name):
            shown.append(_shown(folder, pages, page, name))
    for box in part.find_all(class_="admonition", recursive=False):
        title, *told = box.find_all(["p", "ul", "div"], recursive=False)
        question = _inner(title).removeprefix("Ask: ")
        if question == _inner(title):  # for the teacher alone
            notes.append(_tags([title, *told]))
        else:
            answer = f"<details><summary>Answer</summary>{_tags(told)}</details>"
            asked.append(f"<section><h2>{question[0].upper()}{question[1:]}</h2>{answer}</section>")
    first = f'<section><h1>{_inner(part.h3)}</h1><aside class="notes">{"".join(notes)}</aside></section>'
    return [first, *dict.fromkeys(shown), *asked]


def _shown(folder, pages, page, name):
    """One figure or formula of a page, as a slide; of a figure that answers, its still and the way to it."""
    if page not in pages:
        pages[page] = _read(folder / page)
    found = pages[page].find(id=name)
    if found.name != "figure":
        formula = re.search(r"\\\[.*\\\]", found.get_text(), re.DOTALL)[0]
        return f'<section><div class="math">{html.escape(formula, quote=False)}</div></section>'
    image = next(one for one in found.find_all("img") if "only-dark" not in one.get("class", []))
    caption = found.find(class_="caption-text") or found.find("figcaption")
    live = f'<p class="foot"><a href="{_address(page, "#" + name)}">It answers on its page.</a></p>'
    picture = f'<img alt="{html.escape(image["alt"])}" src="{_address(page, image["src"])}">'
    body = f"<figure>{picture}<figcaption>{_inner(caption, page)}</figcaption></figure>"
    return f"<section>{body}{live if found.find(class_='zscir-live') else ''}</section>"
