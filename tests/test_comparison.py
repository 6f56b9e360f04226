"""Tables, pools and notes: what stands beside what, and what is said below."""

import numpy as np
import pytest
from benchmark_roots import write_circo
from test_retrieval import random_scores

from zscir.benchmarks import load_benchmark
from zscir.retrieval import compare, difference, score_features


def circo_scores(root, rows, **protocol):
    features = np.random.default_rng(0).normal(size=(8, 5))
    return score_features(load_benchmark("circo", root, **protocol), features[rows], features)


def test_what_was_not_scored_alike_has_a_column(tmp_path):
    root = write_circo(tmp_path)
    kept, other = circo_scores(root, [3, 0]), circo_scores(root, [1, 7])
    table = compare({"A": kept, "B": other})
    assert list(table.index) == ["A", "B"]
    assert list(table.columns) == list(kept.metrics)
    assert "reference: kept" in table.note and "benchmark: circo" in table.note
    removed = circo_scores(root, [3, 0], reference="removed")
    table = compare({"A": kept, "C": removed})
    assert list(table.columns) == [*kept.metrics, "reference"]
    assert list(table["reference"]) == ["kept", "removed"]
    assert "reference:" not in table.note
    with pytest.raises(ValueError, match="'D' is scored on"):
        compare({"A": kept, "D": random_scores()})
    with pytest.raises(ValueError, match="empty"):
        compare({})
    assert compare([other]).iloc[0]["map@5"].startswith(f"{other.metrics['map@5']:.2f} ± ")


def test_the_paper_table_has_half_intervals_and_stars():
    worse, same, better = (random_scores(seed, noise=noise) for seed, noise in ((1, 3), (1, 3), (2, 0.5)))
    table = compare({"worse": worse, "same": same, "better": better}, metrics=["recall@1"])
    low, high = better.interval("recall@1")
    assert difference(better, worse, "recall@1").low > 0
    assert table.loc["better", "recall@1"] == f"{better.metrics['recall@1']:.2f} ± {(high - low) / 2:.2f} *"
    assert not table.loc["same", "recall@1"].endswith("*")
    assert not table.loc["worse", "recall@1"].endswith("*")
    turned = compare({"worse": worse, "better": better}, against="better", metrics=["recall@1"])
    assert turned.loc["worse", "recall@1"].endswith("*")
    with pytest.raises(ValueError, match="against is 'best'; legal: worse"):
        compare({"worse": worse}, against="best")


def test_other_queries_give_no_star():
    table = compare([random_scores(1, group="a", noise=3), random_scores(2, group="bb", noise=0.1)])
    assert list(table.index) == ["features", "features #2"]
    assert not any(cell.endswith("*") for cell in table.to_numpy().ravel())


def test_the_protocol_is_shown_below_the_table(tmp_path):
    table = compare([circo_scores(write_circo(tmp_path), [3, 0])])
    scores = circo_scores(tmp_path, [3, 0])
    every = [repr(table), table._repr_html_(), table[["map@5"]]._repr_html_()]
    every += [repr(scores.summary().round(1)), scores.per_group()._repr_html_()]
    for shown in every:
        assert "reference: kept" in shown and "2 queries, 8 gallery images" in shown


def test_the_mean_that_papers_print(tmp_path):
    scores = random_scores()
    assert scores.averages == {}  # its metrics lack Recall_subset
    fashion = random_scores()
    fashion.protocol["benchmark"] = "fashioniq"
    mean = (fashion.metrics["recall@10"] + fashion.metrics["recall@50"]) / 2
    assert fashion.averages == {"(recall@10 + recall@50) / 2": pytest.approx(mean)}
