"""Read a benchmark's files, and gather all that is wrong with them into one error."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

_EXAMPLES = 3
_MISSING = "missing"


@dataclass
class Problems:
    """Everything wrong with a data root, named in one error instead of one at a time.

    Attributes:
        title: what was being read, for the first line of the error.
        found: kind of problem -> its examples, all of them.
        advice: what to do, for the end.
        counts: what was found beside what is published, for the beginning.
    """

    title: str
    found: dict[str, list[str]] = field(default_factory=dict)
    advice: list[str] = field(default_factory=list)
    counts: list[str] = field(default_factory=list)

    def add(self, kind: str, example: object) -> None:
        """Record one problem; problems of one kind are counted and their first examples named."""
        self.found.setdefault(kind, []).append(str(example))

    def raise_if_any(self) -> None:
        """Raise one error that lists every kind of problem with its count and first examples.

        Raises:
            FileNotFoundError: when files or images are missing and nothing else is wrong.
            ValueError: when an annotation is malformed or contradicts another.
        """
        if not self.found:
            return
        lines = [f"{self.title}: cannot be used."]
        lines += [f"  {line}" for line in self.counts]
        for kind, examples in self.found.items():
            shown = "; ".join(examples[:_EXAMPLES])
            more = ", ..." if len(examples) > _EXAMPLES else ""
            lines.append(f"  {len(examples):,} {kind}: {shown}{more}")
        message = "\n".join(lines + [f"  {line}" for line in self.advice])
        only_missing = all(_MISSING in kind for kind in self.found)
        raise FileNotFoundError(message) if only_missing else ValueError(message)


@dataclass(frozen=True)
class Field:
    """What an annotation's key must hold: a test of the value and the words for an error."""

    accepts: Callable[[object], bool]
    words: str


def _is_name(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _is_integer(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_list_of(test: Callable[[object], bool], length: int | None = None) -> Callable[[object], bool]:
    def accepts(value: object) -> bool:
        return isinstance(value, list) and (length is None or len(value) == length) and all(map(test, value))

    return accepts


NAME = Field(_is_name, "a non-empty string")
INTEGER = Field(_is_integer, "an integer")
INTEGERS = Field(_is_list_of(_is_integer), "a list of integers")
NAMES = Field(_is_list_of(_is_name), "a list of non-empty strings")
TWO_STRINGS = Field(_is_list_of(lambda value: isinstance(value, str), 2), "a list of two strings")


def read_lines(path: Path, problems: Problems) -> list[str]:
    """The lines of a text file; none, with the problem recorded, when there are none."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    if not lines:
        kind = "without entries" if path.is_file() else "missing"
        problems.add(f"annotation files {kind}", path)
    return lines


def read_json(path: Path, problems: Problems, kind: type) -> list | dict:
    """The list or dict in a JSON file; empty, with the problem recorded, when there is none."""
    if not path.is_file():
        problems.add("annotation files missing", path)
        return kind()
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        problems.add("annotation files that are not whole JSON", f"{path} ({error})")
        return kind()
    if not isinstance(content, kind):
        problems.add(f"annotation files that do not hold a JSON {kind.__name__}", path)
        return kind()
    if not content:
        problems.add("annotation files without entries", path)
    return content


def checked_entries(
    entries: Iterable[object], fields: dict[str, Field], source: str, problems: Problems
) -> list[dict]:
    """The entries that hold every field as it must be; the others are recorded as problems.

    Args:
        entries: what a JSON list held.
        fields: key -> what its value must be.
        source: the file's name, for the error.
        problems: where to record what is wrong.
    """
    good = []
    for number, entry in enumerate(entries):
        wrong = [key for key in fields if not isinstance(entry, dict) or key not in entry]
        for key in wrong:
            problems.add(f"entries of {source} without the key {key!r}", f"entry {number}")
        for key, rule in fields.items():
            if key not in wrong and not rule.accepts(entry[key]):
                example = f"entry {number} has {str(entry[key])[:60]!r}"
                problems.add(f"entries of {source} whose {key!r} is not {rule.words}", example)
                wrong.append(key)
        if not wrong:
            good.append(entry)
    return good


def non_empty_files(folder: Path) -> set[str]:
    """Names of the files in `folder` that hold at least one byte; empty when it does not exist."""
    if not folder.is_dir():
        return set()
    with os.scandir(folder) as listing:
        return {item.name for item in listing if item.is_file() and item.stat().st_size > 0}


def missing_files(paths: dict[str, Path]) -> dict[str, Path]:
    """The entries of `paths` (image id -> path) whose file is absent or empty.

    Each folder is listed once, so that a gallery of 123,000 images takes about a second.
    """
    folders = {path.parent for path in paths.values()}
    present = {folder: non_empty_files(folder) for folder in folders}
    return {name: path for name, path in paths.items() if path.name not in present[path.parent]}
