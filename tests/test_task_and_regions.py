"""What people concluded in chapters 1 to 3, which train nothing, is what the book's own run found."""

import nbformat
import pytest

from zscir.book.record import recorded_values
from zscir.storage.paths import REPO

#: Chapter -> pairs of glued numbers of which the prose says that the first is the smaller one.
ORDER = {
    "01_task": [
        ("image alone recall@1", "text alone recall@1"),
        ("text alone recall@1", "image + text recall@1"),
        ("image + text recall_subset@1", "text alone recall_subset@1"),
        ("image + text several", "image + text place"),
        ("image + text place", "image + text addition"),
        ("image + text several", "text alone several"),
        ("image + text negation", "image alone negation"),
    ],
    "02_noun_masking": [
        ("first place", "random place"),
        ("random place", "most-visible place"),
        ("most-visible absent", "random absent"),
    ],
    "03_region_masking": [
        ("floor IoU", "best IoU"),
        ("before last", "floor"),
        ("floor", "usual"),
        ("smallest precision", "largest precision"),
        ("largest recall", "smallest recall"),
        ("things in places", "things in pictures"),
        ("place recall", "recall"),
        ("drop seen", "blur seen"),
        ("mean seen", "drop seen"),
        ("whole image seen", "mean seen"),
        ("black seen", "whole image seen"),
        ("noise seen", "black seen"),
    ],
}


def number(value: object) -> float:
    """Of a glued number, or of a text that begins with one."""
    return float(str(value).split()[0])


@pytest.mark.parametrize("chapter", ORDER)
def test_the_books_own_run_found_what_the_prose_says(chapter):
    """Where this fails, a result has changed: write the sentence anew, then its row of `ORDER`."""
    source = nbformat.read(REPO / "notebooks" / f"{chapter}.ipynb", as_version=4)
    prose = "\n".join(cell.source for cell in source.cells if cell.cell_type == "markdown")
    named = {name for pair in ORDER[chapter] for name in pair}
    assert [name for name in named if f"{{glue:text}}`{name}" not in prose] == [], "numbers of no sentence"
    copy = REPO / "book" / "notebooks" / f"{chapter}.ipynb"
    if not copy.is_file() or nbformat.read(copy, as_version=4).metadata["zscir"]["record"]["changed"]:
        pytest.skip("the book is not built here with its own parameters")
    found = recorded_values(copy)
    if not named <= set(found):
        pytest.skip("the chapter was edited since the book was built here")
    wrong = [pair for pair in ORDER[chapter] if not number(found[pair[0]]) < number(found[pair[1]])]
    assert wrong == []
    if chapter == "01_task":
        assert 30 <= number(found["worded"]) <= 40, "said to be a third, in the plan of the claims"
    if chapter == "02_noun_masking":
        assert 25 <= number(found["random place"]) <= 35, "said to be three in ten, in chapter 3"
    if chapter == "03_region_masking":
        assert number(found["missed"]) == 0 and 2 * number(found["things in places"]) < number(
            found["things in pictures"]
        )
