"""CIRCUS's files as subsets of a benchmark, and what a composed query gains on its better part."""

import numpy as np
import pytest
from benchmark_roots import write_circo, write_cirr, write_fashioniq
from test_retrieval import random_scores

from zscir.benchmarks import load_benchmark
from zscir.benchmarks.circus import circus_subset, subset
from zscir.retrieval import composition_gap, difference, score_features, unimodal_queries

COLUMNS = "dataset,query_idx,query_text,full_text,query_image_ref,target_image_ref"
WRITERS = {"cirr": write_cirr, "circo": write_circo, "fashioniq": write_fashioniq}


def load(root, name):
    options = {"category": "dress"} if name == "fashioniq" else {}
    return load_benchmark(name, WRITERS[name](root), require_images=False, **options)


def write(path, *rows, columns=COLUMNS):
    path.write_text("\n".join([columns, *rows]) + "\n", encoding="utf-8")
    return path


def row(name, text, reference, target, number=0):
    return f'{name},{number},{text},"Find an image.\n{text}",folder/{reference}.jpg,folder/{target}.jpg'


def test_rows_are_joined_on_the_pair_of_images_not_on_numbers(tmp_path):
    rows = [
        row("cirr", "Other words.", "dev-1-2-img0", "dev-1-5-img0"),
        row("cirr", "Change number 0.", "dev-0-0-img0", "dev-0-1-img0", 3),
        row("cirr", "Change number 0.", "dev-0-0-img0", "dev-0-3-img0", 1),  # no such pair
    ]
    cirr = load(tmp_path, "cirr")
    kept = circus_subset(cirr, write(tmp_path / "cirr_validated.csv", *rows))
    assert [query.id for query in kept.queries] == ["100", "103"]
    assert kept.gallery == cirr.gallery and len(cirr.queries) == 4 and "queries" not in cirr.protocol
    assert kept.protocol["queries"] == "cirr_validated.csv: 2 of its 3 rows"
    assert kept.protocol["size"] == "2 queries, 12 gallery images"


def test_circo_names_images_by_number_and_fashioniq_keeps_one_category(tmp_path):
    rows = [row("circo", "has a clock", "000000097553", "000000375057")]
    kept = circus_subset(load(tmp_path, "circo"), write(tmp_path / "circo.csv", *rows))
    assert [query.id for query in kept.queries] == ["1"]
    rows = [row("fashioniq", "x", "dressB1", "dressB2"), row("fashioniq", "x", "shirtB1", "shirtB2")]
    kept = circus_subset(load(tmp_path, "fashioniq"), write(tmp_path / "f.csv", *rows))
    assert [query.id for query in kept.queries] == ["dress-1"]
    assert kept.protocol["queries"] == "f.csv: 1 of its 2 rows"


def test_rows_without_a_target_are_joined_on_reference_and_words(tmp_path):
    columns = "query_idx,query_text,query_image_ref,primary_pos_cand_id"
    rows = ["9,Has 2 sleeves and is shade 1.,mbeir/dressB1.jpg,8:1", "8,Is red.,mbeir/dressB1.jpg,8:2"]
    path = write(tmp_path / "fashioniq_shortcut_free.csv", *rows, columns=columns)
    kept = circus_subset(load(tmp_path, "fashioniq"), path)
    assert [query.id for query in kept.queries] == ["dress-1"]
    assert kept.protocol["queries"].endswith("1 of its 2 rows")


@pytest.mark.parametrize(
    ("content", "error", "message"),
    [
        (None, FileNotFoundError, "missing"),
        ("", ValueError, "without entries"),
        (COLUMNS, ValueError, "without entries"),
        ("a,b\n1,2", ValueError, "columns that cirr.csv lacks: query_text; query_image_ref"),
        (f"{COLUMNS}\n{row('circo', 'x', '1', '2')}", ValueError, "another benchmark.*: line 3 has 'circo'"),
        (
            f"{COLUMNS}\n{row('cirr', 'x', 'a', 'b')}",
            ValueError,
            "no row is found: .* has 'folder/a.jpg'",
        ),
        (f"{COLUMNS}\ncirr,0,x", ValueError, "more or fewer cells than its first: line 2"),
        (f'{COLUMNS}\ncirr,0,"x', ValueError, "no CSV: .*cirr.csv, line 1 .unexpected end"),
    ],
)
def test_files_that_are_no_subset(tmp_path, content, error, message):
    path = tmp_path / "cirr.csv"
    if content is not None:
        path.write_text(content)
    with pytest.raises(error, match=message):
        circus_subset(load(tmp_path, "cirr"), path)


def test_the_gap_to_the_better_part():
    composed, text, image = (random_scores(1, noise=noise) for noise in (0.5, 3, 2))
    gap = composition_gap(composed, text, image)
    best = max(scores.metrics["recall@10"] for scores in (text, image))
    assert gap.difference == pytest.approx(composed.metrics["recall@10"] - best)
    assert gap in [difference(composed, part, "recall@10") for part in (text, image)]
    assert composition_gap(text, text, image).difference <= 0
    with pytest.raises(ValueError, match="same queries"):
        composition_gap(composed, text, random_scores(1, 100))
    with pytest.raises(ValueError, match="metric is 'recall@7'; legal: "):
        composition_gap(composed, text, image, "recall@7")


def test_queries_that_one_modality_solves_can_be_left_out(tmp_path):
    circo = load(tmp_path, "circo")
    rng = np.random.default_rng(0)
    gallery = rng.normal(size=(8, 5))
    text, image = (score_features(circo, rng.normal(size=(2, 5)), gallery) for _ in range(2))
    solved = unimodal_queries(text, image, k=2)
    assert solved.tolist() == [min(ranks) < 2 for ranks in zip(text.ranks, image.ranks, strict=True)]
    kept = subset(circo, np.flatnonzero(~solved), "needs both")
    assert len(kept.queries) == 2 - solved.sum() and kept.protocol["queries"] == "needs both"
    with pytest.raises(ValueError, match="same queries"):
        unimodal_queries(text, random_scores())
