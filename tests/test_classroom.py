"""What a teacher hands out is made by the build, and holds what the page promises."""

import json
import re
import sys
from types import SimpleNamespace

import pytest
from bs4 import BeautifulSoup
from docutils import nodes
from docutils.utils import new_document
from sphinx_exercise.nodes import exercise_enumerable_node

from zscir.benchmarks import load_benchmark
from zscir.pairs import load_pairs
from zscir.storage.paths import REPO

sys.path.insert(0, str(REPO / "book" / "_ext"))
import classroom  # noqa: E402  (extensions beside the library)
import sheets  # noqa: E402
import slides  # noqa: E402

TEACH = (REPO / "book" / "teach.md").read_text("utf-8")
MINUTES = re.compile(r"(\d+)–(\d+)")
LESSON = """<div><section id="a-lesson-of-90-minutes"><h2>A lesson<a class="headerlink" href="#x">#</a></h2>
<table><tbody><tr><td>0–10</td><td><a href="notebooks/01_a.html#fig-a">Fig. 1</a>
<a href="notebooks/01_a.html#equation-eq-a">(1)</a> <a href="glossary.html#term-a">a</a></td></tr>
</tbody></table>
<section><h3>0–10: it</h3><p>Say <a href="glossary.html#term-a">this</a>.</p><ul><li>first</li></ul>
<div class="admonition"><p class="admonition-title">Ask: why &lt; so?</p><p>In short.</p><p>On.</p></div>
<div class="admonition"><p class="admonition-title">The teacher knows</p><p>No.</p></div></section>
{more}</section></div>"""
CHAPTER = """<figure id="fig-a"><div class="zscir-live"><img class="only-dark" alt="d" src="../_images/d.png">
<img alt="a &quot;dog&quot;" src="../_images/a.png"></div><figcaption><p><span class="caption-text">See
<a href="#fig-a">it</a><a class="headerlink" href="#fig-a">#</a></span></p></figcaption></figure>
<div class="math" id="equation-eq-a"><span>(1)</span>\\[a &lt; b\\]</div>"""


@pytest.fixture(scope="module")
def pages():
    """The sheets of the smallest world."""
    return sheets.sheets("tiny", 0.3)


def said(page):
    """All words on a page of sheets, in one line."""
    texts = [*page.texts, *(axes.xaxis.label for axes in page.axes)]
    return " ".join(" ".join(text.get_text() for text in texts).split())


def test_every_exercise_says_how_hard_it_is():
    found = list(classroom.exercises(REPO / "notebooks"))
    assert [label for _, label, level in found if level not in classroom.LEVELS] == []
    assert {level for _, _, level in found} == set(classroom.LEVELS)
    text = "".join(path.read_text("utf-8") for path in (REPO / "notebooks").glob("*.ipynb"))
    assert len(found) == text.count("{exercise}") > 20
    table = classroom.exercises_markdown(REPO / "notebooks")
    assert sorted(re.findall(r"\{ref\}`([^`]+)`", table)) == sorted(label for _, label, _ in found)
    hard = [row.split("|")[4] for row in table.splitlines()]
    assert "{ref}`ex-two-choices`" in "".join(hard) and "{ref}`ex-guess`" not in "".join(hard)


def test_a_marked_exercise_shows_its_level():
    text = nodes.paragraph("", "Why?")
    content = nodes.section("", text)
    exercise = exercise_enumerable_node(
        "", nodes.title("", "Exercise"), content, classes=["exercise", "hard"]
    )
    document = new_document("a chapter")
    document += [exercise, nodes.section("", nodes.paragraph("", "other text"), classes=["easy"])]
    classroom.mark(None, document)
    assert [one.astext() for one in content] == ["Hard", "Why?"] and document.astext().count("Hard") == 1
    assert "Easy" not in document.astext()


def test_the_noise_is_that_of_the_record():
    """Taken by hand from the lines of the file."""
    lines = (REPO / "benchmarks" / "results" / "ablations.csv").read_text("utf-8").splitlines()
    start = re.compile(
        r"paper,([\d.]+),0\.5,noun,mean,,random,noun,cam,three-layer,contrastive,given,0\.0,8000,250,128,.*?,\d,([\d.]+),"
    )
    curve = {}
    for tau, recall in (found.groups() for found in map(start.match, lines) if found):
        curve.setdefault(tau, []).append(float(recall))
    means = [sum(values) / len(values) for values in curve.values()]
    seed, span, count = classroom.noise()
    assert (count, span) == (len(curve), pytest.approx(max(means) - min(means)))
    pairs = [abs(a - b) for values in curve.values() for n, a in enumerate(values) for b in values[:n]]
    assert seed == pytest.approx(sum(pairs) / len(pairs)) and 0 < seed < span
    assert f"**{seed:.1f}**" in classroom.noise_markdown() and f"**{span:.1f}**" in classroom.noise_markdown()


def test_the_plan_fills_its_90_minutes_and_gives_the_losses_25():
    lesson = TEACH[TEACH.index("## A lesson of 90 minutes") : TEACH.index("(teach-lab)=")]
    rows = [tuple(map(int, one)) for one in re.findall(r"^\| (\d+)–(\d+) \|", lesson, re.MULTILINE)]
    told = [tuple(map(int, one)) for one in re.findall(r"^### (\d+)–(\d+):", lesson, re.MULTILINE)]
    assert rows == told and [start for start, _ in rows] == [0, *(end for _, end in rows[:-1])]
    assert rows[-1][1] == 90
    losses = next(row for row in lesson.splitlines() if row.startswith("|") and "two losses" in row)
    start, end = map(int, MINUTES.search(losses).groups())
    assert end - start == 25 and "JupyterLab" not in lesson
    for box in re.findall(r"```\{admonition\} Ask: .*?```", lesson, re.DOTALL):
        assert "**In short.**" in box and "**If asked on.**" in box


def test_the_sheets_have_pictures_captions_queries_and_answers(pages, tmp_path):
    pairs, cirr = load_pairs("pocket-tiny"), load_benchmark("cirr", "pocket-tiny", split="val")
    assert [len(page.axes) for page in pages] == [4, 4, 4, 18, 18, 12]
    words = [said(page) for page in pages]
    cards = re.findall(r"\d+\. (.+?)(?= \d+\. |$)", " ".join(words[:3]))
    assert len(cards) == 12 and len(set(pairs.captions) & {card.split(" Strike")[0] for card in cards}) >= 11
    queries = re.findall(r"\d+\. “(.+?)”", " ".join(words[3:5]))
    assert len(queries) == 6 and set(queries) <= {query.text[0] for query in cirr.queries}
    letters = re.search(r"Queries: (.+?) Pairs", words[5])[1].split(", ")
    for told, (query, candidates) in zip(letters, sheets.chosen_queries(cirr), strict=True):
        assert candidates["ABCDE".index(told[-1])] == query.targets[0] and query.reference not in candidates
    chosen = [query for query, _ in sheets.chosen_queries(cirr)]
    assert len({query.group for query in chosen}) == 6
    assert len({frozenset([query.reference, *query.subset]) for query in chosen}) == 6
    assert words[5].count("*") >= 12 and all(sheets.SOURCE in one for one in words)
    sheets.write_sheets(tmp_path / "a.pdf", pages)
    stored = (tmp_path / "a.pdf").read_bytes()
    assert stored.startswith(b"%PDF") and len(re.findall(rb"/Type /Page\b", stored)) == 6
    assert stored.count(b"/Subtype /Image") >= 50


def test_the_slides_are_made_of_the_pages(tmp_path):
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "notebooks" / "01_a.html").write_text(CHAPTER, "utf-8")
    (tmp_path / "teach.html").write_text(LESSON.format(more=""), "utf-8")
    deck = BeautifulSoup(slides.slides(tmp_path), "html.parser")
    first, part, figure, formula, question = deck.select("main > section")
    assert first.h1.get_text() == "A lesson" and part.h1.get_text() == "0–10: it"
    notes = part.find(class_="notes")
    assert [one.get_text() for one in notes.children] == ["Say this.", "first", "The teacher knows", "No."]
    assert notes.a["href"] == "../../glossary.html#term-a"
    assert (figure.img["src"], figure.img["alt"]) == ("../../_images/a.png", 'a "dog"')
    assert figure.figcaption.get_text(" ", strip=True) == "See it"
    assert figure.select_one(".foot a")["href"] == "../../notebooks/01_a.html#fig-a"
    assert formula.get_text() == r"\[a < b\]" and formula.div["class"] == ["math"]
    assert question.h2.get_text() == "Why < so?" and question.summary.get_text() == "Answer"
    (tmp_path / "teach.html").write_text(LESSON.format(more="<section><h3>no row</h3></section>"), "utf-8")
    with pytest.raises(ValueError, match="1 rows, but 2 sections"):
        slides.slides(tmp_path)


def test_the_quick_book_has_both():
    folder = REPO / "_build" / "quick" / "_build" / "html"
    if not (folder / "teach.html").is_file():
        pytest.skip("the quick book was not built: zscir book --profile quick")
    made = folder / "_static" / "classroom"
    assert len(re.findall(rb"/Type /Page\b", (made / "sheets.pdf").read_bytes())) == 6
    deck = BeautifulSoup((made / "slides.html").read_text("utf-8"), "html.parser")
    assert len(deck.select("main > section")) > 20 and len(deck.select("figure img")) > 6
    urls = [one["src"] for one in deck.select("[src]")] + [one["href"] for one in deck.select("[href]")]
    own = {url.partition("#")[0] for url in urls if not re.match(r"\w+:", url)}
    assert own and [url for url in own if not (made / url).is_file()] == []


def test_both_lie_beside_the_page_that_links_them(tmp_path, monkeypatch, pages):
    record = {"metadata": {"zscir": {"record": {"parameters": {"world": "tiny", "tau": 0.25}}}}}
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "notebooks" / "03_region_masking.ipynb").write_text(json.dumps(record), "utf-8")
    asked = []
    monkeypatch.setattr(classroom, "slides", lambda folder: "a deck")
    monkeypatch.setattr(sheets, "sheets", lambda *given: asked.append(given) or pages[-1:])
    app = SimpleNamespace(
        builder=SimpleNamespace(name="html"),
        env=SimpleNamespace(found_docs={"index"}),
        outdir=tmp_path / "html",
        srcdir=tmp_path,
    )
    classroom.add(app, None)
    assert not (tmp_path / "html").exists()
    app.env.found_docs = {"index", "teach"}
    classroom.add(app, None)
    assert asked == [("tiny", 0.25)]
    linked = re.findall(r'href="(_static/classroom/[\w.]+)"', TEACH)
    assert len(linked) == 2 and all((tmp_path / "html" / one).stat().st_size for one in linked)
