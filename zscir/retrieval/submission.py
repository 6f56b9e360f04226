"""Files for the test servers of CIRR and CIRCO: write them, and check anyone's before it is sent.

    write_submission("server", benchmark, query_features, gallery_features)
    check_submission("server/cirr_test1_recall.json")           # raises, naming all that the server would
    refuse zscir submission check FILE [--root CIRR]                   # the same in a shell

CIRR's server takes two files (Liu et al., ICCV 2021; *Test-split_server.md* of its repository): ``version``
"rc2", ``metric`` "recall" with 50 or "recall_subset" with 3 names a query, keyed by the pair id, at most 5
MB. CIRCO's takes one (Baldrati et al., ICCV 2023): 50 image ids for each of the query ids 0, 1, 2, ...
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np

from zscir.benchmarks import Benchmark
from zscir.benchmarks.circo import QUERIES
from zscir.benchmarks.cirr import PUBLISHED
from zscir.benchmarks.files import Problems
from zscir.retrieval.metrics import similarity_chunks, top_k
from zscir.retrieval.ranking import excluded_rows, feature_rows, gallery_rows
from zscir.storage.whole import written_whole

SUBMITTED = 50
SUBMITTED_SUBSET = 3
SERVER_LIMIT_BYTES = 5_000_000
VERSION = "rc2"
_LENGTHS = {"recall": SUBMITTED, "recall_subset": SUBMITTED_SUBSET}


def write_submission(
    path: str | Path, benchmark: Benchmark, query_features: object, gallery_features: object
) -> list[Path]:
    """Write what the benchmark's server accepts into the folder `path`.

    CIRR: ``cirr_{split}_recall.json`` (50 names a query) and ``cirr_{split}_recall_subset.json`` (3
    names), the reference in neither. CIRCO: ``circo_{split}.json`` (50 integer ids a query). A gallery
    smaller than 50 gives shorter lists.

    Returns:
        The files written.

    Raises:
        ValueError: a benchmark without a server, dropped queries (the servers want every one), other queries
            than the server's (CIRR-extended), or a file larger than the server takes.
    """
    if benchmark.name not in ("cirr", "circo"):
        raise ValueError(f"{benchmark.name} has no test server; submissions exist for 'cirr' and 'circo'")
    if benchmark.protocol.get("dropped", "none") != "none":
        raise ValueError(f"the server wants every query, but {benchmark.protocol['dropped']}")
    if str(benchmark.protocol.get("captions")).startswith("extended"):
        raise ValueError("the server knows the pairs of captions='original' only, not CIRR-extended")
    if benchmark.name == "cirr" and not benchmark.exclude_reference:
        raise ValueError(
            "CIRR submissions leave the reference out; load the benchmark with reference='removed'"
        )
    features = feature_rows(benchmark, query_features, gallery_features)
    contents = (
        _cirr_lists(benchmark, *features) if benchmark.name == "cirr" else _circo_lists(benchmark, *features)
    )
    texts = {name: json.dumps(content, separators=(",", ":")) for name, content in contents.items()}
    for name, text in texts.items():
        if len(text) > SERVER_LIMIT_BYTES:
            raise ValueError(
                f"{name} would have {len(text):,} bytes; the server takes {SERVER_LIMIT_BYTES:,}"
            )
    places = {name: Path(path) / f"{name}.json" for name in texts}
    for name, text in texts.items():
        with written_whole(places[name]) as scratch:
            scratch.write_text(text, encoding="utf-8")
    return list(places.values())


def check_submission(path: str | Path, benchmark: Benchmark | None = None) -> str:
    """Look at a submission file as the server will; one error names all that it would refuse.

    Args:
        path: a file for CIRR's or CIRCO's server; which, its content says.
        benchmark: the split it is for, as `load_benchmark` returns it. With it every query, every name and
            every set is held against the annotations; without it only what the file itself can show: shape,
            counts as published, lengths, repeats, spelling.

    Returns:
        One line that says what the file is.

    Raises:
        FileNotFoundError: no such file.
        ValueError: the server would refuse the file, or count something other than what was meant.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no such file: {path}")
    problems = Problems(f"{path}")
    content = _content(path, problems)
    kind = _kind(path, content)
    said = (_check_cirr if kind == "cirr" else _check_circo)(content, benchmark, problems)
    problems.raise_if_any()
    return f"{path.name}: {said}"


def submission_kind(path: str | Path) -> str:
    """Whose server a file is for, by its content: "cirr" or "circo".

    Raises:
        FileNotFoundError: no such file.
        ValueError: it is no JSON object, or neither of the two.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no such file: {path}")
    return _kind(path, _content(path, Problems(str(path))))


def _kind(path: Path, content: dict) -> str:
    if "version" in content or "metric" in content:
        return "cirr"
    if any(name.isdigit() for name in content):
        return "circo"
    raise ValueError(
        f"{path} is no submission: it has neither CIRR's 'version' and 'metric' nor query ids as keys"
    )


def _content(path: Path, problems: Problems) -> dict:
    """The JSON object of a file; keys used twice, and a size beyond the limit, are recorded."""
    size = path.stat().st_size
    if size > SERVER_LIMIT_BYTES:
        problems.add(
            f"bytes, more than the {SERVER_LIMIT_BYTES:,} the server takes; files", f"{size:,} bytes"
        )

    def once(pairs: list[tuple[str, object]]) -> dict:
        for name, times in Counter(name for name, _ in pairs).items():
            if times > 1:
                problems.add("keys used twice (a parser keeps the last)", name)
        return dict(pairs)

    try:
        content = json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=once)
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not whole JSON: {error}") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path} holds a JSON {type(content).__name__}; the servers take an object")
    return content


def _check_cirr(content: dict, benchmark: Benchmark | None, problems: Problems) -> str:
    lists = {key: value for key, value in content.items() if key not in ("version", "metric")}
    if content.get("version") != VERSION:
        problems.add(f"wrong 'version' (must be {VERSION!r})", repr(content.get("version")))
    metric = content.get("metric")
    if metric not in _LENGTHS:
        problems.add("wrong 'metric' (must be 'recall' or 'recall_subset')", repr(metric))
    _check_queries(lists, benchmark, "cirr", PUBLISHED["test1"][0], problems)
    queries = {query.id: query for query in benchmark.queries} if benchmark else {}
    members = benchmark.row if benchmark else {}
    length = _LENGTHS.get(metric)
    if benchmark and length == SUBMITTED:
        length = min(length, len(benchmark.gallery) - 1)
    for key, names in lists.items():
        if _check_list(key, names, length, str, problems):
            _check_names(key, names, members, queries.get(key), metric, problems)
    return f"CIRR, metric {metric}, {len(lists):,} queries with {length} names each"


def _check_names(
    key: str, names: list[str], members: dict, query: object, metric: str, problems: Problems
) -> None:
    """Record names with a suffix or a path, unknown ones, the reference, and those outside the set."""
    for name in names:
        if name.endswith((".png", ".jpg", ".jpeg")) or "/" in name:
            problems.add(
                "names with a suffix or a folder (the server knows bare names)", f"{name} (key {key})"
            )
        elif members and name not in members:
            problems.add("names that are not in the gallery of the split", f"{name} (key {key})")
        elif query is not None and name == query.reference:
            problems.add("lists with the query's own reference", f"{name} (key {key})")
        elif query is not None and metric == "recall_subset" and name not in query.subset:
            problems.add("names outside the query's set", f"{name} (key {key})")


def _check_circo(content: dict, benchmark: Benchmark | None, problems: Problems) -> str:
    _check_queries(content, benchmark, "circo", QUERIES["test"], problems)
    length = min(SUBMITTED, len(benchmark.gallery)) if benchmark else SUBMITTED
    for key, names in content.items():
        if _check_list(key, names, length, int, problems) and benchmark:
            for name in names:
                if str(name) not in benchmark.row:
                    problems.add("image ids that are not in the gallery", f"{name} (key {key})")
    return f"CIRCO, {len(content):,} queries with {length} image ids each"


def _check_queries(
    lists: dict, benchmark: Benchmark | None, name: str, published: int, problems: Problems
) -> None:
    """Record keys that are no ids, unknown queries and missing ones."""
    if benchmark is not None and benchmark.name != name:
        raise ValueError(f"this is a file for {name}, but the benchmark given is {benchmark.name}")
    for key in lists:
        if not key.isdigit():
            problems.add("keys that are not a query's id", key)
    if benchmark is not None:
        wanted = {query.id for query in benchmark.queries}
    elif name == "circo":
        wanted = {str(number) for number in range(published)}
    else:
        wanted = set()
        if len(lists) != published:
            problems.add(f"wrong numbers of queries (test1 has {published:,})", f"{len(lists):,} here")
    for key in [key for key in wanted if key not in lists]:
        problems.add("queries left out", key)
    for key in [key for key in lists if wanted and key.isdigit() and key not in wanted]:
        problems.add("queries that the split does not have", key)


def _check_list(key: str, names: object, length: int | None, kind: type, problems: Problems) -> bool:
    """Whether a query's list is one of the right kind; its wrong length and repeats are recorded."""
    words = "strings" if kind is str else "integers"
    if not isinstance(names, list) or not all(type(name) is kind for name in names):
        problems.add(f"entries that are not a list of {words}", f"key {key}")
        return False
    if length is not None and len(names) != length:
        problems.add(f"lists that do not hold {length}", f"key {key} holds {len(names)}")
    if len(set(names)) < len(names):
        repeated = next(name for name, times in Counter(names).items() if times > 1)
        problems.add("lists with an image twice", f"{repeated} (key {key})")
    return True


def _cirr_lists(benchmark: Benchmark, queries: np.ndarray, gallery: np.ndarray) -> dict[str, dict]:
    recall: dict[str, object] = {"version": VERSION, "metric": "recall"}
    subset: dict[str, object] = {"version": VERSION, "metric": "recall_subset"}
    members = gallery_rows(benchmark, [query.subset for query in benchmark.queries])
    for rows, scores in similarity_chunks(queries, gallery, excluded_rows(benchmark)):
        for number, row in enumerate(scores, start=rows.start):
            query = benchmark.queries[number]
            recall[query.id] = [benchmark.gallery[i] for i in top_k(row, SUBMITTED)]
            within = np.sort(members[number])
            best = within[top_k(row[within], SUBMITTED_SUBSET)]
            subset[query.id] = [benchmark.gallery[i] for i in best]
    return {f"cirr_{benchmark.split}_recall": recall, f"cirr_{benchmark.split}_recall_subset": subset}


def _circo_lists(benchmark: Benchmark, queries: np.ndarray, gallery: np.ndarray) -> dict[str, dict]:
    if sorted(int(query.id) for query in benchmark.queries) != list(range(len(benchmark.queries))):
        raise ValueError("the CIRCO server wants query ids 0, 1, 2, ... without gaps")
    lists = {}
    for rows, scores in similarity_chunks(queries, gallery, excluded_rows(benchmark)):
        for number, row in enumerate(scores, start=rows.start):
            best = top_k(row, SUBMITTED)
            lists[benchmark.queries[number].id] = [int(benchmark.gallery[i]) for i in best]
    return {f"circo_{benchmark.split}": lists}
