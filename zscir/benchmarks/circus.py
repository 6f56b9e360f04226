"""CIRCUS (arXiv 2605.14787): the queries of a benchmark that need both their image and their text.

    cirr = load_benchmark("cirr", "/data/cirr")
    kept = circus_subset(cirr, "CIRCUS/croissant/exports/cirr_validated.csv")
    kept.protocol["queries"]        # "cirr_validated.csv: 303 of its 303 rows"

Its authors asked CIRR, FashionIQ and CIRCO by image and text, by text only and by image only, with eleven
models: ``*_shortcut_free.csv`` of their repository holds the queries that none of these finds by one modality
among the first 10, ``*_validated.csv`` those of them that people found well-formed. The files are read from
the user's copy. How much a method composes on them, or anywhere, says `zscir.retrieval.composition_gap`.
"""

import re
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path, PurePosixPath

from zscir.benchmarks.base import Benchmark, Query, size_note
from zscir.benchmarks.files import Problems, read_table


def circus_subset(benchmark: Benchmark, path: str | Path) -> Benchmark:
    """The queries of a benchmark that a CIRCUS file lists, over the whole gallery.

    A row with a target is joined on the pair of its images, one without (``shortcut_free``) on the reference
    and the words of its text. FashionIQ's rows name no category: a file is shared by the three, and each
    loaded category keeps its own. ``protocol["queries"]`` counts the rows that were found.

    Args:
        benchmark: "cirr", "fashioniq" or "circo", with targets.
        path: ``{name}_validated.csv`` or ``{name}_shortcut_free.csv``.

    Raises:
        FileNotFoundError: no such file.
        ValueError: no such table, one of another benchmark, or none of whose rows is found; it is named.
    """
    path = Path(path)
    problems = Problems(f"{benchmark.name} {benchmark.split}, subset {path}")
    rows = list(read_table(path, ("query_text", "query_image_ref"), problems))
    asked: dict[str, list[int]] = {}
    for number, query in enumerate(benchmark.queries):
        asked.setdefault(query.reference, []).append(number)
    found = []
    for line, row in rows:
        if (name := row.get("dataset", benchmark.name)) != benchmark.name:
            problems.add(f"rows of another benchmark than {benchmark.name}", f"line {line} has {name!r}")
        numbers = asked.get(_image_id(benchmark, row["query_image_ref"]), [])
        if "target_image_ref" in row:
            target = _image_id(benchmark, row["target_image_ref"])
            found.append([n for n in numbers if target in benchmark.queries[n].targets])
        else:
            found.append([n for n in numbers if _same_words(benchmark.queries[n], row["query_text"])])
    if rows and not any(found):
        line, row = rows[0]
        problems.add("files of which no row is found", f"line {line} has {row['query_image_ref']!r}")
    problems.raise_if_any()
    words = f"{path.name}: {sum(map(bool, found)):,} of its {len(rows):,} rows"
    return subset(benchmark, [number for numbers in found for number in numbers], words)


def subset(benchmark: Benchmark, numbers: Iterable[int], words: str) -> Benchmark:
    """The benchmark with some of its queries, in its own order, and the same gallery.

    Args:
        benchmark: from `load_benchmark`.
        numbers: of the queries, from 0.
        words: what they are, for ``protocol["queries"]``.
    """
    kept = replace(benchmark, queries=[benchmark.queries[number] for number in sorted(set(numbers))])
    kept.protocol = benchmark.protocol | {"queries": words, "size": size_note(kept, None)}
    return kept


def _image_id(benchmark: Benchmark, reference: str) -> str:
    """Image id of a path such as ``mbeir_images/cirr_images/dev/dev-4-1-img0.jpg``; CIRCO's are numbers."""
    name = PurePosixPath(reference).stem
    return name.lstrip("0") if benchmark.name == "circo" else name


def _same_words(query: Query, text: str) -> bool:
    """Whether a text has the words of a query, in any order: FashionIQ's two captions come in either."""
    wanted = sorted(re.findall(r"\w+", text.lower()))
    return any(sorted(re.findall(r"\w+", own.lower())) == wanted for own in query.text)
