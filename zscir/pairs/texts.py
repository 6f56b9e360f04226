"""Captions from files of others: tables row by row, nothing lost or shifted without a word.

A comma-separated table follows RFC 4180. In a tab-separated one a cell is unquoted only where it is quoted
from end to end within its line (as pandas writes it); any other quote is part of the caption (CC3M's table
quotes nothing).
"""

import csv
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TextIO

#: Columns of a table: ours, and those of the table that Pic2Word's training reads.
TABLE_COLUMNS = (("file", "filepath"), ("caption", "title"))
_MARKS = {b"\xef\xbb\xbf": "utf-8-sig", b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}
_ADVICE = "is not UTF-8 (perhaps cp1252 or latin-1; iconv -f cp1252 -t utf-8 converts it)"


def decoded(data: bytes, name: str) -> str:
    """Text in UTF-8, or with a byte order mark also in UTF-16. Raises ValueError, naming it, for others."""
    try:
        return data.decode(_encoding(data))
    except UnicodeDecodeError as error:
        raise ValueError(f"{name} {_ADVICE}: {error}") from error


def table_rows(table: Path) -> Iterator[tuple[str | None, str | None]]:
    """Image file and caption of each row; None for a cell that is missing at a row's end.

    Raises:
        ValueError: a missing column, a row with more cells than columns, a quote that is not closed or takes
            in other rows, or text that is not UTF-8; the file and its line are named.
    """
    with table.open("rb") as stream:
        encoding = _encoding(stream.read(4))
    with table.open(newline="", encoding=encoding, errors="surrogateescape") as stream:
        header = next(_whole_lines(stream, table), "")
        tabs = table.suffix.lower() == ".tsv" or ("\t" in header and "," not in header)
        stream.seek(0)
        rows = _tab_rows(stream, table) if tabs else _comma_rows(stream, table)
        _, names = next(rows, (0, []))
        found = [next((c for c in legal if names.count(c) == 1), None) for legal in TABLE_COLUMNS]
        if None in found:
            needed = "needed, each once: file, caption (or filepath, title)"
            raise ValueError(f"{table}: columns are {names}; {needed}")
        file, caption = (names.index(column) for column in found)
        for line, row in rows:
            _check_row(table, line, row, names)
            row += [None] * (len(names) - len(row))
            yield row[file], row[caption]


def _encoding(start: bytes) -> str:
    return next((name for mark, name in _MARKS.items() if start.startswith(mark)), "utf-8")


def _whole_lines(stream: TextIO, table: Path) -> Iterator[str]:
    """The lines of a table; ValueError, naming file and line, for bytes that could not be decoded."""
    try:
        for number, line in enumerate(stream, start=1):
            try:
                line.encode()
            except UnicodeEncodeError as error:
                raise ValueError(f"{table} {_ADVICE}: line {number}, {line.strip()!r:.80}") from error
            yield line
    except UnicodeDecodeError as error:  # of UTF-16
        raise ValueError(f"{table} {_ADVICE}: {error}") from error


def _tab_rows(stream: TextIO, table: Path) -> Iterator[tuple[int, list[str]]]:
    for number, line in enumerate(_whole_lines(stream, table), start=1):
        plain = line.rstrip("\r\n")
        if not plain:
            continue
        try:
            (row,) = csv.reader([plain], delimiter="\t", strict=True)
        except csv.Error:
            row = plain.split("\t")
        yield number, row


def _comma_rows(stream: TextIO, table: Path) -> Iterator[tuple[int, list[str]]]:
    rows, begun = csv.reader(_whole_lines(stream, table), strict=True), 1
    try:
        for row in rows:
            if row:
                yield begun, row
            begun = rows.line_num + 1
    except csv.Error as error:
        raise ValueError(f"{table}: the row of line {begun} has a stray or open quote: {error}") from error


def _check_row(table: Path, line: int, row: Sequence[str], names: list[str]) -> None:
    """ValueError, naming file and line, for cells beyond the columns, or a cell that holds other rows."""
    if len(row) > len(names):
        raise ValueError(
            f"{table}: the row of line {line} has {len(row)} cells for {len(names)} columns; legal: quotes "
            f"around a cell that holds the separator: {row}"
        )
    for cell in row:
        held = re.split(r"[,\r\n]", cell) if re.search(r",.*[\r\n]|[\r\n].*,", cell, re.DOTALL) else []
        if files := [part for part in held if os.path.isfile(table.parent / (part.strip('" ') or "."))]:
            raise ValueError(f"{table}: the row of line {line} has an open quote: it takes in {files[0]!r}")
