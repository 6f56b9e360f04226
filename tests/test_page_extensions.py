"""What the pages get beside their text: links to a repository that exists, and figures for a dark page."""

import io
import json
import subprocess
import sys
from collections import namedtuple

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from sphinx.ext.napoleon import Config, GoogleDocstring

from zscir.figures.style import PageFigure, new_figure
from zscir.storage.paths import REPO

sys.path.insert(0, str(REPO / "book" / "_ext"))
import accessible  # noqa: E402  (an extension of the pages)
import dark_figures  # noqa: E402
import docstrings  # noqa: E402
import website  # noqa: E402


@pytest.mark.parametrize(
    ("what", "text", "shown"),
    [
        (
            "property",
            "Share of a guess: of as many.\n\nMore.",
            ["Share of a guess: of as many.", "", "More."],
        ),
        (
            "function",
            "Do.\n\nReturns:\n    Exit status: 0 or\n    1.",
            [":returns: Exit status: 0 or", "          1."],
        ),
        ("attribute", "No colon.", ["No colon."]),
    ],
)
def test_what_stands_before_a_colon_is_no_type(what, text, shown):
    lines = GoogleDocstring(text, Config(napoleon_use_rtype=True), None, what).lines()
    docstrings.whole_sentences(None, what, "", None, None, lines)
    assert "\n".join(lines).strip().endswith("\n".join(shown)), lines


def test_a_paragraph_that_calls_something_is_code_and_prose_is_none():
    said = ["What it is.", "", "with own(path) as it:", "    it.read(1)  # once", "", "More (of it).", ""]
    docstrings.to_rest(None, "module", "", None, None, lines := list(said))
    assert lines == [*said[:2], "::", "", *(f"    {line}" for line in said[2:4]), *said[4:]]


@pytest.mark.parametrize(
    ("signature", "shown"),
    [
        ("(a: ~x.Y = <factory>, b: int = 1)", "(a: ~x.Y = ..., b: int = 1)"),
        ("(keep=<function <lambda>>)", "(keep=...)"),
        ("()", "()"),
        (None, None),
    ],
)
def test_a_default_that_is_no_python_is_left_out_of_a_signature(signature, shown):
    assert docstrings.readable(None, "class", "", None, None, signature, "int") == (shown, "int")


def test_fields_of_a_named_tuple_are_left_out_unless_something_is_said_of_them():
    named = namedtuple("Named", "a b")
    named.b.__doc__ = "What b is."
    found = [docstrings.is_unsaid_field(None, "class", "", one, False, None) for one in (named.a, named.b)]
    assert found == [True, None]


@pytest.mark.parametrize(
    ("told", "address"),
    [
        ("https://github.com/someone/thing", "https://github.com/someone/thing"),
        ("https://user:token@github.com/someone/thing.git", "https://github.com/someone/thing"),
        ("git@github.com:someone/thing.git", "https://github.com/someone/thing"),
        ("ssh://git@gitlab.com/group/thing.git/", "https://gitlab.com/group/thing"),
        ("/srv/git/thing", ""),
        ("https://example.org/someone/thing", ""),
    ],
)
def test_links_lead_to_where_git_says_the_repository_is(told, address, tmp_path, monkeypatch):
    monkeypatch.delenv("ZSCIR_REPOSITORY", raising=False)
    for words in (["init", "--quiet"], ["remote", "add", "origin", told]):
        subprocess.run(["git", "-C", str(tmp_path), *words], check=True)
    assert website.repository(tmp_path) == address


def test_a_setting_names_another_repository_or_none(tmp_path, monkeypatch):
    monkeypatch.setenv("ZSCIR_REPOSITORY", "https://github.com/Someone/Thing")
    assert website.repository(tmp_path) == "https://github.com/Someone/Thing"
    assert website.published(website.repository(tmp_path)) == "https://someone.github.io/Thing/"
    monkeypatch.setenv("ZSCIR_REPOSITORY", "")
    assert website.repository(tmp_path) == website.published("") == ""
    monkeypatch.setenv("ZSCIR_REPOSITORY", "nowhere")
    with pytest.raises(ValueError, match="ZSCIR_REPOSITORY is 'nowhere'"):
        website.repository(tmp_path)
    monkeypatch.delenv("ZSCIR_REPOSITORY")
    assert website.repository(tmp_path) == "", "no checkout, no address"


def test_the_dark_twin_has_no_ground_light_lines_and_the_same_pictures():
    pixels = np.full((4, 6, 3), 255, np.uint8)
    pixels[0, 0], pixels[0, 1], pixels[0, 2] = (0, 0, 0), (1, 115, 178), (228, 228, 228)
    pixels[2:, 3:] = (10, 200, 30)
    notes, out = PngInfo(), io.BytesIO()
    notes.add_text("pictures", json.dumps([[3, 2, 6, 4]]))
    Image.fromarray(pixels).save(out, "PNG", pnginfo=notes)
    light, twin = (
        np.asarray(Image.open(io.BytesIO(dark_figures.groundless_png(out.getvalue(), dark))), dtype=int)
        for dark in (False, True)
    )
    shown = light[..., :3] * light[..., 3:] / 255 + 255 - light[..., 3:]
    assert np.abs(shown - pixels).max() <= 1, "on white it looks as it did"
    assert twin[1, 1, 3] == 0 and tuple(twin[0, 0]) == (255, 255, 255, 255)
    assert (twin[2:, 3:] == (10, 200, 30, 255)).all()
    line, grid = twin[0, 1], twin[0, 2]
    assert line[:3].sum() > 1.2 * pixels[0, 1].astype(int).sum() and line[2] == line[:3].max(), (
        "a lighter blue"
    )
    assert grid[3] < 60 and (grid[:3] * grid[3] / 255).max() < 60, "pale on white is pale on black"


def test_a_figure_notes_where_its_pictures_are():
    figure, axes = new_figure(1, 2, height=2)
    axes[0, 0].imshow(np.zeros((8, 8, 3)))
    axes[0, 1].plot([0, 1])
    assert isinstance(figure, PageFigure)
    drawn = Image.open(io.BytesIO(figure._repr_png_()))
    ((left, top, right, bottom),) = json.loads(drawn.info["pictures"])
    black = (np.asarray(drawn.convert("L")) == 0)[:, : drawn.width // 2]
    rows, columns = np.flatnonzero(black.sum(axis=1) > 50), np.flatnonzero(black.sum(axis=0) > 50)
    assert abs(left - columns[0]) <= 4 and abs(right - columns[-1]) <= 4
    assert abs(top - rows[0]) <= 4 and abs(bottom - rows[-1]) <= 4


def test_colours_of_a_drawing_are_exchanged_and_its_pictures_kept():
    text = '<path fill="#ffffff"/><text fill="#222222"/><image href="data:image/png;base64,AAbb/+x="/>'
    dark = dark_figures.dark_svg(text)
    assert "#ffffff" not in dark and "#222222" not in dark and "AAbb/+x=" in dark
    assert int(dark.split('fill="#')[1][:2], 16) < 40 < 200 < int(dark.split('fill="#')[2][:2], 16)


def test_a_glued_number_stays_with_its_unit():
    glued = '<span class="pasted-text">48.1</span>'
    body = f"<p>{glued} % of [{glued}, {glued}] and {glued} points, {glued} pointed, {glued} queries</p>"
    context = {"body": body, "script_files": []}
    accessible.mend(None, "page", "page.html", context, None)
    mended = context["body"].replace("\N{NO-BREAK SPACE}", "~")
    assert mended == body.replace(" %", "~%").replace(" points", "~points")
