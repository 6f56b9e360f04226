"""Published results: complete, consistent with themselves, and shown as they are printed."""

import pandas as pd
import pytest

from zscir.retrieval.published import published, published_rows, published_sources
from zscir.storage.paths import REPO


def frame(name):
    """A table as numbers, NaN where a source gives none."""
    return pd.DataFrame(published(name).drop(columns=["backbone", "source"])).apply(pd.to_numeric)


@pytest.mark.parametrize("name", ["cirr", "circo", "fashioniq", "genecis"])
def test_every_row_has_a_value_for_each_metric_and_a_known_source(name):
    width = len(frame(name).columns)
    for row in published_rows(name):
        assert len(row["values"]) == width and any(row["values"]), row["method"]
        assert row["sources"] and set(row["sources"]) <= set(published_sources())
    assert frame(name).stack().dropna().between(0, 100).all()
    assert frame(name).index.is_unique or name in ("cirr", "circo", "fashioniq")  # the same method, ViT-G


@pytest.mark.parametrize("name", ["cirr", "circo"])
def test_recall_rises_with_k(name):
    table = frame(name)
    for kind in ("R@", "R_s@", "mAP@"):
        columns = [column for column in table if column.startswith(kind)]
        for method, row in table[columns].iterrows():
            known = row.dropna()
            assert known.is_monotonic_increasing, method


def test_means_are_those_of_the_categories():
    table = frame("fashioniq")
    for k in (10, 50):
        parts = table[[f"{one} R@{k}" for one in ("shirt", "dress", "toptee")]]
        away = (parts.mean(axis=1) - table[f"mean R@{k}"]).abs()[parts.notna().all(axis=1)]
        far = set(away[away > 0.11].index)
        assert far <= {"WISER"}, far  # as printed, with a note
    genecis = frame("genecis")
    away = (genecis.iloc[:, :4].mean(axis=1) - genecis["mean"]).abs()
    assert away.dropna().max() < 0.11


def test_chosen_rows_with_sources_and_notes_below():
    table = published("fashioniq", ["this paper", "Pic2Word"])
    assert list(table.index) == ["Pic2Word", "this paper, as M prints it", "this paper, in its own words"]
    assert table.loc["this paper, in its own words", "mean R@10"] == "23.3"
    assert "MLLM-I2W" in table.note and "The two do not agree" in table.note and "WISER," not in table.note
    with pytest.raises(ValueError, match="no method 'Word2Pic'"):
        published("cirr", ["Word2Pic"])
    with pytest.raises(ValueError, match="legal: cirr, circo, fashioniq, genecis"):
        published("coco")


def test_the_page_shows_numbered_notes(monkeypatch):
    monkeypatch.syspath_prepend(str(REPO / "book" / "_ext"))
    from published import published_markdown  # the extension of the pages

    text = published_markdown("circo")
    assert "| Pic2Word (1) | ViT-L/14 | 8.72 | 9.51 | 10.64 | 11.29 | F, A, D, E, O |" in text
    assert "\n1. Pic2Word: mAP@25 is 10.46 in F and O." in text


def test_what_a_row_needs_to_be_compared_stands_below_it():
    def notes(name, method):
        return [row["note"] for row in published_rows(name) if row["method"] == method]

    for name in ("cirr", "circo", "fashioniq"):
        assert all("uses training samples" in note for note in notes(name, "OSCAR"))
    assert all("shared concept" in note for note in notes("circo", "MagicLens-L"))
    row = next(row for row in published_rows("fashioniq") if row["method"] == "CIReVL")
    assert row["backbone"] == "OpenCLIP ViT-L/14"
