"""The reproduction report: a row for each claim, verdicts that the records bear out, no number typed."""

import re
import sys

import nbformat
import pytest

from zscir.analysis.claims import CLAIMS, CONTROL_CLAIMS
from zscir.storage.paths import REPO

sys.path.insert(0, str(REPO / "book" / "_ext"))
import report  # noqa: E402  (an extension of the pages)

ROWS = report.report_rows(REPO / "book" / "report.yml")
FLAT = [row for rows in ROWS.values() for row in rows]


def test_there_is_a_row_for_each_claim_and_three_for_each_other_group():
    assert list(ROWS) == list(report.GROUPS)
    assert [len(ROWS[group]) for group in ("questions", "experiments", "checks")] == [3, 3, 3]
    named = {str(one["claim"]) for row in FLAT for one in row.get("ours", ()) if "claim" in one}
    plan = [*map(str, range(1, len(CLAIMS) + 1)), *"ABCD"[: len(CONTROL_CLAIMS)]]
    assert named == set(plan), "every claim of the plan is in the report"
    assert len({row["id"] for row in FLAT}) == len(FLAT)


@pytest.mark.parametrize("row", FLAT, ids=[row["id"] for row in FLAT])
def test_the_verdict_is_that_of_the_record(row):
    """Where this fails, the record has changed: rewrite the verdict of the row, and its words."""
    if "ours" in row:
        found = [report.comparison(one) for one in row["ours"]]
        assert report.verdict_of(found) == row["verdict"]
        assert all(len(one) and (one["seeds"] >= 2).all() for one in found)
    else:
        assert row["verdict"] == "cannot be tested here"
    assert set(row) <= {"id", "claim", "paper", "ours", "verdict", "why", "where"}


def test_verdicts_follow_the_rule_of_the_page():
    def cells(*verdicts):
        return [report.pd.DataFrame({"verdict": verdicts})]

    assert report.verdict_of(cells("held", "held")) == "held"
    assert report.verdict_of(cells("held", "undecided")) == "held in part"
    assert report.verdict_of(cells("held", "the opposite held")) == "held in part"
    assert report.verdict_of(cells("undecided", "the opposite held")) == "did not hold"
    assert report.verdict_of(cells("undecided")) == "undecided"
    assert set(report.VERDICTS) == {row["verdict"] for row in FLAT}


def test_no_number_of_a_result_is_typed_in_the_rows():
    kept = r"τ = 0\.\d|λ = 0(?:\.\d+)?"  # settings
    for row in FLAT:
        said = [row["claim"], row["why"], *(one.get("words", "") for one in row.get("ours", ()))]
        text = re.sub(kept, "", " ".join(said).replace("ViT-L/14", ""))
        assert not re.search(r"\d\.\d|\d %", text), text


def test_the_boxes_show_numbers_of_the_paper_and_of_the_records():
    boxes = {row["id"]: report.row_markdown(row) for row in FLAT}
    assert "*R@1 26.1, R@5 55.2, R@10 67.5, R@50 90.2*" in boxes["photos-cirr"]
    claim = report.comparison({"claim": 1}).iloc[1]
    number = f"{claim['gain']:+.1f} [{claim['low']:+.1f}, {claim['high']:+.1f}]".replace("-", "−")
    assert f"Recall@5 **{number}**" in boxes["beats-pic2word"], "decided, so in bold"
    assert "(5 seeds)" in boxes["beats-pic2word"] and "nan" not in "".join(boxes.values())
    summary = report.summary_markdown(ROWS)
    assert all(f"<report-{row['id']}>` | {row['verdict']} |" in summary for row in FLAT)


def test_every_place_in_the_book_exists():
    cells = [nbformat.read(path, 4).cells for path in (REPO / "notebooks").glob("*.ipynb")]
    text = "\n".join(cell.source for one in cells for cell in one if cell.cell_type == "markdown")
    text += "\n".join(path.read_text("utf-8") for path in (REPO / "book").glob("*.md"))
    labels = set(re.findall(r"^\(([\w:-]+)\)=$", text, re.MULTILINE))
    named = {label for row in FLAT for label in re.findall(r"\{ref\}`([\w:-]+)`", row["where"])}
    assert named and named <= labels
