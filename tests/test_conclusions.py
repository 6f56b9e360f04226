"""What people concluded in chapters 4 and 5 is what the records and the book's own run found.

Where a test fails here, a gain has changed its sign, or its interval has come to hold zero: write the
sentence anew, then its row of `SAID`.
"""

import re
import sys
from types import SimpleNamespace

import nbformat
import pytest
from docutils import nodes
from docutils.utils import new_document

from zscir.analysis.ablation_tables import recorded
from zscir.analysis.claims import CLAIMS, MEASURES, verdicts
from zscir.book.record import recorded_values
from zscir.storage.paths import REPO

sys.path.insert(0, str(REPO / "book" / "_ext"))
import other_run  # noqa: E402  (an extension of the pages)

#: Chapter -> gain, as it is glued -> its sign in the prose; 0: the interval holds zero.
SAID = {
    "04_training": {"some": -1, "all": -1, "caption": -1, "picture": -1},
    "05_cirr": {
        **{f"masked {metric}": -1 for metric in ("recall@1", "recall@5", "recall@10", "recall_subset@1")},
        **{"slerp recall@1": 0, "slerp recall_subset@1": -1, "slerp over masked recall@1": 1},
        **{f"crossed {metric}": -1 for metric in MEASURES},
        **{"kind place": 0, "kind addition": 0, "kind object": -1, "kind several": -1},
        **{"kind comparison": 0, "kind negation": 0},
        **{"sum several": -1, "sum place": 1, "sum addition": 1, "sum object": 0},
        **{"m-p image": 1, "m-p text": -1},
    },
}
#: Chapter -> pairs of glued numbers of which the prose says that the first is the smaller one.
ORDER = {
    "04_training": [("m-query-target", "p-query-target"), ("end query-target", "half query-target")],
    "05_cirr": [
        ("sum follows text", "p follows text"),
        ("p follows image", "sum follows image"),
    ],
}
each_chapter = pytest.mark.parametrize("chapter", SAID)


def sign(low: float, high: float) -> int:
    """Of a gain: 0 where its interval holds zero."""
    return (low > 0) - (high < 0)


def sources(path):
    return {cell["id"]: cell.source for cell in nbformat.read(path, as_version=4).cells}


@each_chapter
def test_every_gain_of_the_prose_has_its_sign_written_down(chapter):
    prose = "\n".join(sources(REPO / "notebooks" / f"{chapter}.ipynb").values())
    assert set(re.findall(r"\{glue:text\}`([^`]+) low:", prose)) == set(SAID[chapter])


@each_chapter
def test_the_books_own_run_found_what_the_prose_says(chapter):
    copy = REPO / "book" / "notebooks" / f"{chapter}.ipynb"
    if not copy.is_file() or nbformat.read(copy, as_version=4).metadata["zscir"]["record"]["changed"]:
        pytest.skip("the book is not built here with its own parameters")
    if not sources(REPO / "notebooks" / f"{chapter}.ipynb").items() <= sources(copy).items():
        pytest.skip("the chapter was edited since the book was built here")
    found = recorded_values(copy)
    signs = {name: sign(found[f"{name} low"], found[f"{name} high"]) for name in SAID[chapter]}
    assert signs == SAID[chapter]
    assert [pair for pair in ORDER[chapter] if not found[pair[0]] < found[pair[1]]] == []


def test_over_seeds_and_queries_the_record_says_what_chapter_5_says():
    record, _ = recorded("claims")
    found = verdicts(record[record["stage"] == "test"], CLAIMS, MEASURES).iloc[: len(MEASURES)]
    signs = {f"crossed {row.measure}": sign(row.low, row.high) for row in found.itertuples()}
    assert signs.items() <= SAID["05_cirr"].items()
    undecided = [row.measure for row in found.itertuples() if row.verdict == "undecided"]
    assert undecided == ["recall@1", "fashioniq recall@10"], "what does not outlive the correction"


@pytest.mark.parametrize(("changed", "boxes"), [({"tau": 0.27, "root": ""}, 1), ({}, 0)])
def test_a_page_of_another_run_says_that_the_prose_speaks_of_the_books_own(changed, boxes, tmp_path):
    notebook = nbformat.v4.new_notebook(metadata={"zscir": {"record": {"changed": changed}}})
    nbformat.write(notebook, tmp_path / "05.ipynb")
    page = new_document("page")
    page += nodes.section("", nodes.title("", "Results"), nodes.paragraph("", "Prose."))
    env = SimpleNamespace(docname="05", doc2path=lambda name: str(tmp_path / f"{name}.ipynb"))
    other_run.say(SimpleNamespace(env=env), page)
    found = [box.astext() for box in page.findall(nodes.admonition)]
    assert len(found) == boxes and page[0][0].astext() == "Results"
    assert all("Run with root='', tau=0.27. The numbers" in text for text in found)
