"""Files for the test servers of CIRR and CIRCO: write them, and check anyone's before it is sent.

    write_submission("server", benchmark, query_features, gallery_features)
    check_submission("server/cirr_test1_recall.json")  # raises, naming all that the server would refuse

In a shell, ``zscir submission check FILE [--root CIRR]`` does the same.

CIRR's server takes two files (Liu et al., ICCV 2021; *Test-split_server.md* of its repository): ``version``
"rc2", ``metric`` "recall" with 50 or "recall_subset" with 3 names a query, keyed by the pair id, at most 5
MB. CIRCO's takes one (Baldrati et al., ICCV 2023): 50 image ids for each of the query ids 0, 1, 2, ...
"""

import json
from pathlib import Path

import numpy as np

from zscir.benchmarks import Benchmark, Query
from zscir.benchmarks.circo import QUERIES
from zscir.benchmarks.cirr import PUBLISHED
from zscir.benchmarks.files import Problems, read_json, repeated
from zscir.retrieval.metrics import scores_at, top_k
from zscir.retrieval.ranking import excluded_rows, feature_rows, gallery_rows
from zscir.retrieval.search import nearest
from zscir.storage.whole import written_whole

SERVER_LIMIT_BYTES = 5_000_000
VERSION = "rc2"
#: metric of a file -> images a query
LENGTHS = {"recall": 50, "recall_subset": 3}


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
        ValueError: what `require_server` refuses, or a file larger than the server takes.
    """
    require_server(benchmark)
    contents = _contents(benchmark, *feature_rows(benchmark, query_features, gallery_features))
    files = {
        Path(path) / f"{name}.json": json.dumps(content, separators=(",", ":"))
        for name, content in contents.items()
    }
    for file, text in files.items():
        if len(text) > SERVER_LIMIT_BYTES:
            raise ValueError(
                f"{file.stem} would have {len(text):,} bytes; the server takes {SERVER_LIMIT_BYTES:,}"
            )
    for file, text in files.items():
        with written_whole(file) as scratch:
            scratch.write_text(text, encoding="utf-8")
    return list(files)


def require_server(benchmark: Benchmark) -> None:
    """Raise ValueError unless a test server takes answers to these queries, all of them and no others."""
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
    ids = {query.id for query in benchmark.queries}
    if benchmark.name == "circo" and ids != set(map(str, range(len(benchmark.queries)))):
        raise ValueError("the CIRCO server wants query ids 0, 1, 2, ... without gaps")


def _contents(benchmark: Benchmark, queries: np.ndarray, gallery: np.ndarray) -> dict[str, dict]:
    """Name of a file -> what the server reads in it."""
    lists: dict[str, dict] = {metric: {} for metric in LENGTHS}
    members = gallery_rows(benchmark, [query.subset for query in benchmark.queries])
    members = np.sort(members, axis=1)
    inside = scores_at(queries, gallery, members, excluded_rows(benchmark))
    found = nearest(queries, gallery, LENGTHS["recall"], excluded_rows(benchmark))
    for query, (best, _), own, scores in zip(benchmark.queries, found, members, inside, strict=True):
        within = own[top_k(scores, LENGTHS["recall_subset"])]
        for metric, images in zip(LENGTHS, (best, within), strict=True):
            lists[metric][query.id] = [benchmark.gallery[image] for image in images]
    if benchmark.name == "circo":
        return {f"circo_{benchmark.split}": {k: list(map(int, ids)) for k, ids in lists["recall"].items()}}
    head = {"version": VERSION}
    return {f"cirr_{benchmark.split}_{m}": {**head, "metric": m, **lists[m]} for m in LENGTHS}


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
    name, lists, problems = _read(Path(path))
    if benchmark is not None and benchmark.name != name:
        raise ValueError(f"this is a file for {name}, but the benchmark given is {benchmark.name}")
    metric, words = "recall", "CIRCO"
    if name == "cirr":
        version, metric = lists.pop("version", None), str(lists.pop("metric", None))
        words = f"CIRR, metric {metric}"
        if version != VERSION:
            problems.add(f"wrong 'version' (must be {VERSION!r})", repr(version))
        if metric not in LENGTHS:
            problems.add("wrong 'metric' (must be 'recall' or 'recall_subset')", repr(metric))
    length = LENGTHS.get(metric)
    if benchmark and metric == "recall":
        length = min(length, len(benchmark.gallery) - (name == "cirr"))
    _check_queries(lists, benchmark, name, problems)
    queries = {query.id: query for query in benchmark.queries} if benchmark else {}
    for key, images in lists.items():
        if _check_list(key, images, length, str if name == "cirr" else int, problems):
            for image in images:
                if trouble := _trouble(image, benchmark, queries.get(key), metric):
                    problems.add(trouble, f"{image} (key {key})")
    problems.raise_if_any()
    kind = "names" if name == "cirr" else "image ids"
    return f"{Path(path).name}: {words}, {len(lists):,} queries with {length} {kind} each"


def submission_kind(path: str | Path) -> str:
    """Whose server a file is for, by its content: "cirr" or "circo".

    Raises:
        FileNotFoundError: no such file.
        ValueError: it is no JSON object, or neither of the two.
    """
    return _read(Path(path))[0]


def _read(path: Path) -> tuple[str, dict, Problems]:
    """Whose server a file is for, its JSON object, and keys used twice or a size beyond the limit."""
    if not path.is_file():
        raise FileNotFoundError(f"no such file: {path}")
    problems = Problems(str(path))
    content = read_json(path, problems, dict)
    if not content:
        problems.raise_if_any()
    if (size := path.stat().st_size) > SERVER_LIMIT_BYTES:
        problems.add(
            f"bytes, more than the {SERVER_LIMIT_BYTES:,} the server takes; files", f"{size:,} bytes"
        )
    if "version" in content or "metric" in content:
        return "cirr", content, problems
    if any(name.isdigit() for name in content):
        return "circo", content, problems
    raise ValueError(
        f"{path} is no submission: it has neither CIRR's 'version' and 'metric' nor query ids as keys"
    )


def _check_queries(lists: dict, benchmark: Benchmark | None, name: str, problems: Problems) -> None:
    """Record keys that are no ids, unknown queries and missing ones."""
    ids = [key for key in lists if key.isdigit()]
    problems.add("keys that are not a query's id", *(key for key in lists if not key.isdigit()))
    if benchmark is not None:
        wanted = {query.id: None for query in benchmark.queries}
    elif name == "circo":
        wanted = dict.fromkeys(map(str, range(QUERIES["test"])))
    else:
        wanted, published = dict.fromkeys(ids), PUBLISHED["test1"][0]
        if len(lists) != published:
            problems.add(f"wrong numbers of queries (test1 has {published:,})", f"{len(lists):,} here")
    problems.add("queries left out", *(key for key in wanted if key not in lists))
    problems.add("queries that the split does not have", *(key for key in ids if key not in wanted))


def _check_list(key: str, images: object, length: int | None, kind: type, problems: Problems) -> bool:
    """Whether a query's list is one of the right kind; its wrong length and repeats are recorded."""
    words = "strings" if kind is str else "integers"
    if not isinstance(images, list) or not all(type(image) is kind for image in images):
        problems.add(f"entries that are not a list of {words}", f"key {key}")
        return False
    if length is not None and len(images) != length:
        problems.add(f"lists that do not hold {length}", f"key {key} holds {len(images)}")
    problems.add("lists with an image twice", *(f"{image} (key {key})" for image in repeated(images)))
    return True


def _trouble(image: str | int, benchmark: Benchmark | None, query: Query | None, metric: str) -> str:
    """What is wrong with an image of a list, "" when nothing is."""
    if isinstance(image, str) and (image.endswith((".png", ".jpg", ".jpeg")) or "/" in image):
        return "names with a suffix or a folder (the server knows bare names)"
    if benchmark and str(image) not in benchmark.row:
        return "names that are not in the gallery of the split"
    if query and image == query.reference:
        return "lists with the query's own reference"
    if query and metric == "recall_subset" and image not in query.subset:
        return "names outside the query's set"
    return ""
