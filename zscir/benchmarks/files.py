"""Read a benchmark's files, and gather all that is wrong with them into one error."""

import csv
import io
import json
import os
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from zscir.storage.checks import Rule, is_text

_EXAMPLES = 3


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

    def add(self, kind: str, *examples: object) -> None:
        """Record problems of one kind, if any; they are counted and the first examples named."""
        if examples:
            self.found.setdefault(kind, []).extend(map(str, examples))

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
        only_missing = all("missing" in kind for kind in self.found)
        raise FileNotFoundError(message) if only_missing else ValueError(message)


def _list_of(rule: Rule, words: str) -> Rule:
    return Rule(words, lambda value: isinstance(value, list) and all(map(rule.test, value)))


def says_something(text: object) -> bool:
    """Whether a text holds a letter, a digit or a pictograph, in any script: more than spaces and marks.

    >>> says_something("是红色的"), says_something(" ... ")
    (True, False)
    """
    signs = map(unicodedata.category, text) if is_text(text) else ()
    return any(sign[0] in "LMN" or sign == "So" for sign in signs)


NAME = Rule("a non-empty string", lambda value: is_text(value) and bool(value.strip()))
INTEGER = Rule("an integer", lambda value: isinstance(value, int) and not isinstance(value, bool))
CAPTION = Rule("a non-empty string with a letter or a digit", says_something)
INTEGERS = _list_of(INTEGER, "a list of integers")
NAMES = _list_of(NAME, "a list of non-empty strings")


def repeated(names: Iterable[object]) -> list:
    """The names that occur more than once."""
    return [name for name, times in Counter(names).items() if times > 1]


def read_text(path: Path, problems: Problems) -> str:
    """A text file without the mark at its beginning (BOM); "" when it has none, which is recorded."""
    if not path.is_file():
        problems.add("annotation files missing", path)
        return ""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        value = error.object[error.start : error.end]
        problems.add("files that are not UTF-8", f"{path}, line {line} has {value!r}")
        return ""
    if "\0" in text:
        problems.add(
            "files that are no text: a NUL is in them",
            f"{path}, line {text[: text.index(chr(0))].count(chr(10)) + 1}",
        )
        return ""
    if not text.strip():
        problems.add("files without entries", path)
    return text


def read_json(path: Path, problems: Problems, kind: type) -> list | dict:
    """The list or dict in a JSON file; empty, with the problem recorded, when there is none.

    A key that an object holds twice is a problem too: a parser keeps the last and says nothing.
    """
    doubled: list[tuple[dict, str, list]] = []

    def keep(pairs: list[tuple[str, object]]) -> dict:
        found = dict(pairs)
        if len(found) < len(pairs):
            twice = repeated(key for key, _ in pairs)
            doubled.extend((found, k, [v for key, v in pairs if key == k]) for k in twice)
        return found

    text = read_text(path, problems)
    if not text.strip():
        return kind()
    try:
        content = json.loads(text, object_pairs_hook=keep)
    except (ValueError, RecursionError) as error:
        problems.add("files that are not whole JSON", f"{path} ({error})")
        return kind()
    places = {id(found): place for place, found in _objects(content)} if doubled else {}
    for found, key, values in doubled:
        shown = " and ".join(str(value)[:60] for value in values)
        where = f"{path.name}{places.get(id(found), '')}"
        problems.add("keys used twice (a parser keeps the last)", f"{key} ({where} has {shown})")
    if not isinstance(content, kind):
        example = f"{path} holds a JSON {type(content).__name__}"
        problems.add(f"files that do not hold a JSON {kind.__name__}", example)
        return kind()
    if not content:
        problems.add("files without entries", path)
    return content


def _objects(content: object) -> Iterator[tuple[str, dict]]:
    """Every object of a JSON content with its place in it, such as ``[3]['img_set']``."""
    waiting = [("", content)]
    while waiting:
        place, found = waiting.pop()
        if isinstance(found, dict):
            yield place, found
        children = found.items() if isinstance(found, dict) else enumerate(found)
        waiting += [(f"{place}[{key!r}]", own) for key, own in children if isinstance(own, (dict, list))]


def read_entries(path: Path, rules: dict[str, Rule], problems: Problems, key: str = "") -> list[dict]:
    """The entries of a JSON list that hold every key as it must be; the others are recorded as problems.

    Args:
        path: the file.
        rules: key of an entry -> what its value must be.
        problems: where to record what is wrong.
        key: of the list, where the file holds an object.
    """
    content = read_json(path, problems, dict if key else list)
    entries = content.get(key) if key else content
    if not isinstance(entries, list):
        if content:
            problems.add(f"files without a list {key!r}", path)
        return []
    good = []
    for number, entry in enumerate(entries):
        held = entry if isinstance(entry, dict) else {}
        wrong = {key: rule for key, rule in rules.items() if key not in held or not rule.test(held[key])}
        for key, rule in wrong.items():
            if key not in held:
                problems.add(f"entries of {path.name} without the key {key!r}", f"entry {number}")
            else:
                example = f"entry {number} has {str(held[key])[:60]!r}"
                problems.add(f"entries of {path.name} whose {key!r} is not {rule.legal}", example)
        if not wrong:
            good.append(held)
    return good


def read_table(
    path: Path, columns: Sequence[str], problems: Problems
) -> Iterator[tuple[int, dict[str, str]]]:
    """Last line and cells of every row of a CSV file; rows that cannot be what was meant are recorded.

    Args:
        path: the file, its first row the names of the columns; cells in quotes may hold line breaks.
        columns: names that it must have.
        problems: where to record what is wrong.
    """
    text = read_text(path, problems)
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    try:
        absent = [name for name in columns if name not in (reader.fieldnames or ())]
        problems.add(f"columns that {path.name} lacks", *absent if text.strip() else ())
        for row in () if absent else reader:
            if None in row or None in row.values():
                kind = f"lines of {path.name} with more or fewer cells than its first"
                problems.add(kind, f"line {reader.line_num} has {str(row.get(None) or row)[:60]}")
            else:
                yield reader.line_num, row
        if not absent and reader.line_num == 1:
            problems.add("files without entries", path)
    except csv.Error as error:
        problems.add("files that are no CSV", f"{path}, line {reader.line_num} ({error})")


def outside_of(folder: Path, paths: Iterable[Path]) -> list[str]:
    """The paths that lead out of a folder, by ``..`` or as absolute ones; links are not looked at."""
    inside = os.path.join(os.path.abspath(folder), "")
    return [str(path) for path in paths if not os.path.abspath(path).startswith(inside)]


def non_empty_files(folder: Path) -> set[str]:
    """Names of the files in `folder` that hold at least one byte; empty when it does not exist."""
    if not folder.is_dir():
        return set()

    def has_bytes(item: os.DirEntry) -> bool:
        try:
            return item.is_file() and item.stat().st_size > 0
        except OSError:  # a link to itself
            return False

    with os.scandir(folder) as listing:
        return {item.name for item in listing if has_bytes(item)}


def missing_files(paths: dict[str, Path]) -> dict[str, Path]:
    """The entries of `paths` (image id -> path) whose file is absent or empty.

    Each folder is listed once, so that a gallery of 123,000 images takes about a second.
    """
    folders = {path.parent for path in paths.values()}
    present = {folder: non_empty_files(folder) for folder in folders}
    return {name: path for name, path in paths.items() if path.name not in present[path.parent]}
