"""The check of the built pages finds what is wrong, and finds nothing in what we build."""

import re
import shutil
import sys

import pytest
from live_pages import needs_browser
from test_book import write_book, write_notebook

from zscir.book import build
from zscir.storage.paths import REPO

sys.path.insert(0, str(REPO / "book"))
import check_pages  # noqa: E402  (a script beside the library)

HEAD = (
    '<!DOCTYPE html><html lang="en"><head><title>A page</title>{}</head><body><main>{}</main></body></html>'
)
CHAPTER = """(ch-a)=
# Chapter

Here $x_1$, there {eq}`eq-a`, and [further down](#ch-b).

(ch-b)=
## Below

```{exercise}
:label: ex-a
What does {eq}`eq-a` say?
```

```{solution} ex-a
:class: dropdown
Much.
```"""
FIGURE = "from zscir.figures.style import note_figure\nnote_figure('nothing')"
DRAWN = {"figure": {"caption": "Nothing.\n", "name": "fig-a"}, "image": {"alt": "The word nothing."}}
TABLE = "import pandas as pd\npd.DataFrame({f'column {k}': [1.5, 2.5] for k in range(20)})"


LONG = """
## The library

```{eval-rst}
.. py:module:: package.of.an.author.whose.modules.have.long.names
.. py:function:: of_a_name_as_long_as_a_line(of_an_argument_as_long: int)

   What it does.

   :raises package.of.an.author.whose.modules.have.long.names.FormatOfTheFileError: always.
   :rtype: collections.abc.Sequence[collections.abc.Sequence[collections.abc.Mapping]]
```
"""


@pytest.fixture
def pages(tmp_path):
    """Write pages: name -> (head, main); the folder."""

    def write(**texts):
        for name, (head, main) in texts.items():
            (tmp_path / f"{name}.html").write_text(HEAD.format(head, main))
        return tmp_path

    return write


def test_of_the_listings_of_source_code_one_is_looked_at_by_axe_core(tmp_path):
    names = ["_modules/a/b.html", "_modules/a/c.html", "_modules/index.html", "api.html"]
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert check_pages.looked_at(tmp_path) == [names[0], *names[2:]]


def test_what_is_whole_is_not_found(pages):
    folder = pages(
        index=(
            "<script src='a.js'></script>",
            "<a href='b.html#here'>b</a> <a href='#'>top</a> <a href='?x'>x</a>",
        ),
        b=("", "<h1 id='here'>B</h1><a href='index.html'>i</a><a href='https://example.org'>out</a>"),
    )
    assert check_pages.static_findings(folder) == []
    assert check_pages.pages_of(folder) == ["b.html", "index.html"]


@pytest.mark.parametrize(
    ("head", "main", "said"),
    [
        ("<script src='https://cdn.example.org/x.js'></script>", "", "loads https://cdn.example.org/x.js"),
        ("<link rel='stylesheet' href='//example.org/x.css'>", "", "loads //example.org/x.css"),
        ("", "<img alt='x' src='http://example.org/x.png'>", "loads http://example.org/x.png"),
        ("", "<img src='x.png'>", "the picture x.png has no text (alt)"),
        ("", "<img alt='x.png' src='x.png'>", "the picture x.png has no text (alt)"),
        ("", "<a href='gone.html'>x</a>", "the link gone.html leads nowhere"),
        ("", "<a href='#gone'>x</a>", "the link #gone leads nowhere"),
        ("", "<a href='../outside.html'>x</a>", "the link ../outside.html leads nowhere"),
    ],
)
def test_what_is_broken_is_found(pages, head, main, said):
    assert check_pages.static_findings(pages(index=(head, main))) == [f"index.html: {said}"]


def test_what_a_style_sheet_loads_is_found(pages):
    folder = pages(index=("", ""))
    (folder / "a.css").write_text(
        "@import url('https://fonts.example.org/f.css'); p { background: url(x.png) }"
    )
    assert check_pages.static_findings(folder) == ["a.css: loads https://fonts.example.org/f.css"]


@pytest.mark.parametrize(
    "text",
    [
        "a smaller gain than on <a href='#'>CIRR</a>, or none, would be no surprise",
        "<b>0 of 206</b> masks miss (most often: <b>none</b>)",
        "Whatever it shows, the lesson is the same",
        "4 different winners: which method is better depends on what is asked",
        "The mean is <span>nan</span> points",
        "Useless are: <span></span>.",
        "{glue:text}`a` points",
    ],
)
def test_a_sentence_that_a_template_left_is_found(pages, text):
    folder = pages(index=("", f"<ul><li><p>All is well.</p></li><li><p>{text}</p></li></ul>"))
    (found,) = check_pages.static_findings(folder)
    assert found.startswith("index.html: a sentence of a template: ")


def test_what_a_person_writes_is_no_leftover(pages):
    said = "None is new, Nan Ding and others; <code>f()</code>, <code>nan</code>. <pre>or none</pre> So: no."
    assert check_pages.static_findings(pages(index=("", f"<p>{said}</p><p>dropped: none; x</p>"))) == []


def test_the_script_says_what_it_found(pages, capsys):
    folder = pages(index=("", "<a href='gone.html'>x</a>"))
    assert check_pages.main([str(folder), "--static"]) == 1
    assert capsys.readouterr().out == "index.html: the link gone.html leads nowhere\n1 pages, 1 findings\n"
    assert check_pages.main([str(folder / "none")]) == 2
    assert "run `make book` first" in capsys.readouterr().err


def test_without_chromium_the_script_says_so(pages, monkeypatch, capsys):
    monkeypatch.setenv("CHROMIUM", "/no/such/browser")
    assert check_pages.main([str(pages(index=("", "")))]) == 2
    said = capsys.readouterr().err
    assert "CHROMIUM is '/no/such/browser'" in said or "pip install -e '.[check]'" in said


def test_the_quick_book_is_whole():
    folder = REPO / "_build" / "quick" / "_build" / "html"
    if not (folder / "index.html").is_file():
        pytest.skip("the quick book was not built: make book PROFILE=quick")
    assert check_pages.static_findings(folder) == []


@needs_browser
def test_the_browser_finds_barriers_widths_and_hosts(pages):
    folder = pages(
        good=("", "<h1>Good</h1><p>text</p>"),
        bad=(
            "<script>document.documentElement.dataset.theme = localStorage.getItem('theme')</script>",
            "<article><h1>Bad</h1><button></button><p style='width: 900px'>wide</p>"
            "<p style='color: #ccc; background: #fff'>pale</p><img alt='x' src='http://example.org/x.png'></article>"
            "<script>const twice = 1</script><script>const twice = 2</script>",
        ),
    )
    said = check_pages.reports(folder, "dark", 400)
    rules = {rule["id"]: rule["impact"] for rule in said["bad.html"]["violations"]}
    assert rules["button-name"] == "critical" and rules["color-contrast"] == "serious"
    assert said["bad.html"]["theme"] == "dark" and said["bad.html"]["foreign"] == ["http://example.org/x.png"]
    assert said["bad.html"]["width"] > said["bad.html"]["window"] == 400
    assert any("'twice' has already been declared" in one for one in said["bad.html"]["errors"])
    assert any("900px" in one for one in said["bad.html"]["wide"])
    assert not {"button-name", "color-contrast"} & {rule["id"] for rule in said["good.html"]["violations"]}
    assert said["good.html"]["width"] == 400
    assert said["good.html"]["foreign"] == said["good.html"]["errors"] == []


@needs_browser
def test_on_a_phone_every_page_is_looked_at_and_a_title_too_long_for_it_is_named(tmp_path):
    title = f"<article><h1>{'a.long.name' * 9}</h1><pre style='overflow: auto'>{'code ' * 99}</pre></article>"
    (tmp_path / "_modules").mkdir()
    for name, main in {"a": "<p>text</p>", "b": title}.items():
        (tmp_path / "_modules" / f"{name}.html").write_text(HEAD.format("", main))
    found = [line for line in check_pages.browser_findings(tmp_path) if " px wide: " in line]
    assert len(found) == 1 and found[0].startswith("_modules/b.html (light, 400 px)"), found
    assert "px wide: <h1>a.long.name" in found[0] and "<pre" not in found[0]


@pytest.fixture(scope="module")
def ours(tmp_path_factory):
    """Pages of a small book of ours, with formulas, an exercise, a wide table and a bibliography."""
    tmp_path = tmp_path_factory.mktemp("ours")
    write_notebook(tmp_path, "01_a", "print(tau)", TABLE, FIGURE, title=CHAPTER, mystnb=DRAWN)
    write_book(tmp_path, "01_a")
    shutil.copy(REPO / "book" / "bibliography.md", tmp_path / "book")
    (tmp_path / "book" / "references.bib").write_text(
        "@book{a, title={A}, author={B, C}, year={2000}, publisher={D}}"
    )
    with (tmp_path / "book" / "index.md").open("a") as file:
        file.write("\n{cite:p}`a`\n" + LONG)
    with (tmp_path / "book" / "_toc.yml").open("a") as file:
        file.write("  - file: bibliography\n")
    return build(root=tmp_path).parent


@pytest.mark.slow
def test_our_pages_have_no_findings(ours):
    assert check_pages.static_findings(ours) == []


@pytest.mark.slow
def test_our_pages_say_what_they_are_and_lead_to_no_repository_that_is_none(ours):
    index, lost, chapter = (
        (ours / name).read_text("utf-8") for name in ("index.html", "404.html", "notebooks/01_a.html")
    )
    assert '<meta property="og:title" content="A book">' in index and 'rel="icon"' in index
    assert '<meta name="description" content="Here' in chapter, "the first sentence of the page"
    assert "No such page" in lost and '<base href="/">' in lost and 'href="index.html"' in lost
    for page in (index, lost, chapter):
        assert "thebe" not in page.lower().partition("</head>")[0] and "example.org" not in page
        assert "mybinder" not in page and "logo.svg" in page


@pytest.mark.slow
def test_figures_have_a_dark_twin_and_name_the_cell_that_drew_them(ours):
    chapter = (ours / "notebooks" / "01_a.html").read_text("utf-8")
    light, dark = re.findall(r'<img src="\.\./_images/([^"]+)"[^>]* alt="The word nothing\."', chapter)
    assert dark == light.replace("light-", "dark-") != light and (ours / "_images" / dark).is_file()
    assert 'id="cell-c-4"' in chapter and 'Nothing. <a href="#cell-c-4">Cell c-4</a>.' in chapter


@needs_browser
@pytest.mark.slow
def test_a_browser_finds_nothing_in_our_pages(ours):
    assert check_pages.browser_findings(ours) == []
