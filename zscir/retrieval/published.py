"""Results that others have published, each with its source: read from ``published.json``, typed nowhere else.

    published("cirr", ["Pic2Word", "this paper"])

They are quoted as printed. Where two sources print different digits for one method, a note says so.
"""

import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import pandas as pd

from zscir.retrieval.scores import Table
from zscir.storage.checks import chosen

_FILE = Path(__file__).with_name("published.json")


@cache
def _content() -> dict:
    return json.loads(_FILE.read_text(encoding="utf-8"))


def _entry(part: str, name: str) -> dict:
    entries = _content()[part]
    return entries[chosen("name", name, entries)]


def published_sources() -> dict[str, str]:
    """Letters that stand for a source -> what it is."""
    return dict(_content()["sources"])


def published_fact(name: str) -> dict[str, str]:
    """One quoted number that stands in no table: its value as printed, its source and where that is.

    Raises:
        ValueError: no such fact.

    >>> published_fact("lincir-training")["source"]
    'README of navervision/lincir'
    """
    return dict(_entry("facts", name))


def published_rows(name: str) -> list[dict]:
    """Rows of a table as the file has them: method, backbone, training, values, sources, note.

    Raises:
        ValueError: no such table.
    """
    return [dict(row) for row in _entry("tables", name)["rows"]]


def published(name: str, methods: Sequence[str] | None = None) -> Table:
    """Published results of one benchmark, one row a method, as text; sources and notes stand below.

    Args:
        name: "cirr", "circo", "fashioniq" or "genecis".
        methods: rows, by the beginning of the method's name; by default all.

    Raises:
        ValueError: no such table, or a method that it does not have.

    >>> published("cirr", ["Pic2Word"])[["R@1", "R@5"]].iloc[0].tolist()
    ['23.90', '51.70']
    """
    rows = published_rows(name)
    if methods is not None:
        for method in methods:
            if not any(row["method"].startswith(method) for row in rows):
                raise ValueError(f"{name} has no method {method!r}; it has {[r['method'] for r in rows]}")
        rows = [row for row in rows if row["method"].startswith(tuple(methods))]
    table = Table([row["values"] for row in rows], columns=_entry("tables", name)["metrics"])
    table.insert(0, "backbone", [row["backbone"] for row in rows])
    table["source"] = [", ".join(row["sources"]) for row in rows]
    table.index = pd.Index([row["method"] for row in rows], name="method")
    used = dict.fromkeys(letter for row in rows for letter in row["sources"])
    notes = [f"{row['method']}: {row['note']}" for row in rows if row["note"]]
    sources = "; ".join(f"{letter}: {published_sources()[letter]}" for letter in used)
    table.note = " ".join(["Quoted, not computed here.", f"Sources: {sources}.", *notes])
    return table
