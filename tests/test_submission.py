"""Files for the test servers: what is written, and what the checker refuses."""

import json

import numpy as np
import pytest
from benchmark_roots import write_circo, write_cirr, write_fashioniq
from slow_versions import slow_ranking
from test_retrieval import small_benchmark

from zscir.benchmarks import load_benchmark
from zscir.retrieval import check_submission, submission, write_submission


def test_cirr_submission(tmp_path):
    benchmark = load_benchmark("cirr", write_cirr(tmp_path, "test1"), "test1")
    rng = np.random.default_rng(0)
    queries, gallery = rng.normal(size=(4, 8)), rng.normal(size=(12, 8))
    recall, subset = write_submission(tmp_path / "out", benchmark, queries, gallery)
    assert (recall.name, subset.name) == ("cirr_test1_recall.json", "cirr_test1_recall_subset.json")
    recall, subset = json.loads(recall.read_text()), json.loads(subset.read_text())
    assert (recall.pop("version"), recall.pop("metric")) == ("rc2", "recall")
    assert (subset.pop("version"), subset.pop("metric")) == ("rc2", "recall_subset")
    assert list(recall) == list(subset) == ["100", "101", "102", "103"]
    for number, query in enumerate(benchmark.queries):
        wanted = slow_ranking(benchmark, queries, gallery, number)
        assert recall[query.id] == wanted  # eleven: fewer than fifty are in the gallery
        assert subset[query.id] == [name for name in wanted if name in query.subset][:3]
        assert query.reference not in recall[query.id] + subset[query.id]
    assert len(list((tmp_path / "out").iterdir())) == 2


def test_cirr_submission_holds_fifty_names_and_obeys_the_size(tmp_path, monkeypatch):
    benchmark = small_benchmark(np.random.default_rng(0), images=80, subset=True)
    features = np.random.default_rng(1).normal(size=(110, 8))
    recall, _ = write_submission(tmp_path / "out", benchmark, features[:30], features[30:])
    content = json.loads(recall.read_text())
    assert {len(set(content[query.id])) for query in benchmark.queries} == {50}
    monkeypatch.setattr(submission, "SERVER_LIMIT_BYTES", 1000)
    with pytest.raises(ValueError, match="the server takes 1,000"):
        write_submission(tmp_path / "none", benchmark, features[:30], features[30:])
    assert not (tmp_path / "none").exists()


def test_tied_submissions_follow_gallery_order(tmp_path):
    benchmark = small_benchmark(np.random.default_rng(0), subset=True)
    rng = np.random.default_rng(1)
    queries, gallery = np.eye(3)[rng.integers(3, size=30)], np.eye(3)[rng.integers(3, size=23)]
    recall, subset = write_submission(tmp_path / "out", benchmark, queries, gallery)
    recall, subset = json.loads(recall.read_text()), json.loads(subset.read_text())
    for number, query in enumerate(benchmark.queries):
        wanted = slow_ranking(benchmark, queries, gallery, number)
        assert recall[query.id] == wanted
        assert subset[query.id] == [name for name in wanted if name in query.subset][:3]


def test_circo_submission(tmp_path):
    benchmark = load_benchmark("circo", write_circo(tmp_path, "test"), "test")
    rng = np.random.default_rng(0)
    queries, gallery = rng.normal(size=(2, 8)), rng.normal(size=(8, 8))
    (path,) = write_submission(tmp_path / "out", benchmark, queries, gallery)
    content = json.loads(path.read_text())
    wanted = {str(n): [int(name) for name in slow_ranking(benchmark, queries, gallery, n)] for n in (0, 1)}
    assert content == wanted  # the reference stays


def test_submissions_that_no_server_takes(tmp_path):
    dress = load_benchmark("fashioniq", write_fashioniq(tmp_path))
    with pytest.raises(ValueError, match="no test server"):
        write_submission(tmp_path / "out", dress, np.ones((3, 2)), np.ones((5, 2)))
    root = write_cirr(tmp_path, "test1")
    kept = load_benchmark("cirr", root, "test1", reference="kept")
    with pytest.raises(ValueError, match="reference='removed'"):
        write_submission(tmp_path / "out", kept, np.ones((4, 2)), np.ones((12, 2)))
    (root / "test1" / "test1-1-0-img0.png").unlink()
    dropped = load_benchmark("cirr", root, "test1", allow_missing=True)
    with pytest.raises(ValueError, match="wants every query, but 2 of 4"):
        write_submission(tmp_path / "out", dropped, np.ones((2, 2)), np.ones((11, 2)))
    assert not (tmp_path / "out").exists()


def test_what_we_write_passes_the_check(tmp_path):
    rng = np.random.default_rng(0)
    cirr = load_benchmark("cirr", write_cirr(tmp_path / "cirr", "test1"), "test1")
    recall, subset = write_submission(tmp_path, cirr, rng.normal(size=(4, 8)), rng.normal(size=(12, 8)))
    assert "metric recall, 4 queries with 11 names" in check_submission(recall, cirr)
    assert "metric recall_subset, 4 queries with 3 names" in check_submission(subset, cirr)
    circo = load_benchmark("circo", write_circo(tmp_path / "circo", "test"), "test")
    (path,) = write_submission(tmp_path, circo, rng.normal(size=(2, 8)), rng.normal(size=(8, 8)))
    assert "CIRCO, 2 queries" in check_submission(path, circo)
    with pytest.raises(ValueError, match="file for circo, but the benchmark given is cirr"):
        check_submission(path, cirr)


def full_size(metric, length):
    """A file of the size that the server expects: 4,148 queries."""
    names = [f"test1-{number}-0-img0" for number in range(length)]
    return {"version": "rc2", "metric": metric} | {str(pair): names for pair in range(4148)}


@pytest.mark.parametrize(("metric", "length"), [("recall", 50), ("recall_subset", 3)])
def test_a_whole_file_of_somebody_else_passes_without_the_annotations(tmp_path, metric, length):
    path = tmp_path / "theirs.json"
    path.write_text(json.dumps(full_size(metric, length)))
    assert f"metric {metric}, 4,148 queries with {length} names" in check_submission(path)
    path.write_text(json.dumps({str(number): list(range(50)) for number in range(800)}))
    assert "CIRCO, 800 queries" in check_submission(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c.pop("version"), "wrong 'version' .must be 'rc2'.: None"),
        (lambda c: c.update(version="rc1"), "wrong 'version'"),
        (lambda c: c.update(metric="recall@5"), "wrong 'metric'"),
        (lambda c: c.pop("17"), "wrong numbers of queries .test1 has 4,148.: 4,147 here"),
        (lambda c: c.update({"17": c["17"][:49]}), "lists that do not hold 50: key 17 holds 49"),
        (lambda c: c.update({"17": [*c["17"], "test1-9999-0-img0"]}), "key 17 holds 51"),
        (lambda c: c.update({"17": ["a"] * 50}), "lists with an image twice: a .key 17."),
        (lambda c: c["17"].__setitem__(0, "test1-3-0-img0.png"), "names with a suffix or a folder"),
        (lambda c: c.update({"17": "test1-3-0-img0"}), "entries that are not a list of strings: key 17"),
        (lambda c: c.update({"17": list(range(50))}), "entries that are not a list of strings: key 17"),
        (lambda c: c.update({"pair 17": c.pop("17")}), "keys that are not a query's id: pair 17"),
        (lambda c: c.update({str(n): ["test1-" + "x" * 40] * 50 for n in range(4148)}), "5,000,000"),
    ],
)
def test_what_the_cirr_server_would_refuse(tmp_path, change, message):
    content = json.loads(json.dumps(full_size("recall", 50)))
    change(content)
    (tmp_path / "theirs.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match=message):
        check_submission(tmp_path / "theirs.json")


def test_with_the_annotations_every_name_is_held_against_them(tmp_path):
    benchmark = load_benchmark("cirr", write_cirr(tmp_path, "test1"), "test1")
    first, second = benchmark.queries[0], benchmark.queries[1]
    good = {query.id: list(query.subset[:3]) for query in benchmark.queries}
    wrong = {
        first.id: [first.reference, *good[first.id][1:]],
        second.id: ["test1-1-0-img0", "nobody", *good[second.id][2:]],
        "999": good[first.id],
    }
    content = {"version": "rc2", "metric": "recall_subset", **good, **wrong}
    del content[benchmark.queries[2].id]
    path = tmp_path / "theirs.json"
    path.write_text(json.dumps(content))
    with pytest.raises(ValueError) as caught:
        check_submission(path, benchmark)
    for message in (
        f"lists with the query's own reference: {first.reference} (key {first.id})",
        f"names outside the query's set: test1-1-0-img0 (key {second.id})",
        f"names that are not in the gallery of the split: nobody (key {second.id})",
        "queries left out: 102",
        "queries that the split does not have: 999",
    ):
        assert f"1 {message}" in str(caught.value)


def test_files_that_are_no_submission(tmp_path):
    path = tmp_path / "theirs.json"
    with pytest.raises(FileNotFoundError, match="theirs.json"):
        check_submission(path)
    for text, message in [
        ("[1, 2]", "holds a JSON list"),
        ('{"0": [1', "not whole JSON"),
        ('{"a": 1}', "is no submission"),
        ('{"0": [1], "0": [2]}', "keys used twice .a parser keeps the last.: 0"),
        ('{"0": ["1"]}', "entries that are not a list of integers: key 0"),
    ]:
        path.write_text(text)
        with pytest.raises(ValueError, match=message):
            check_submission(path)


def test_cirr_extended_has_no_server(tmp_path):
    benchmark = load_benchmark("cirr", write_cirr(tmp_path, "test1"), "test1")
    benchmark.protocol["captions"] = "extended: auxiliary annotations, 0 marked ones skipped"
    with pytest.raises(ValueError, match="CIRR-extended"):
        write_submission(tmp_path / "out", benchmark, np.ones((4, 2)), np.ones((12, 2)))
