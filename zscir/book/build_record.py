"""What a whole build was made by, read from its executed chapters; shown on the page *About this build*.

    print(chapters_markdown(Path("book/notebooks")))

Nothing here is measured: `zscir.book.made_by` has put a record into every executed copy: these are
its tables.
"""

from __future__ import annotations

import importlib.metadata
import json
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from zscir.book.made_by import commit_line, duration, gigabytes, machine_line, utc, values_line
from zscir.storage.provenance import DISTRIBUTIONS, commit_of

#: What renders, besides what computes.
_RENDERERS = ("jupyter-book", "sphinx", "myst-nb")


def chapter_records(notebooks: Path) -> list[dict[str, Any]]:
    """Records of the executed copies of a folder, in reading order.

    Raises:
        FileNotFoundError: the folder has no executed copy.
        ValueError: a copy has no record; it was not made by `zscir.book.run_chapter`.
    """
    paths = sorted(notebooks.glob("*.ipynb"))
    if not paths:
        raise FileNotFoundError(f"no executed chapters in {notebooks}: run `zscir book`")
    records = []
    for path in paths:
        metadata = json.loads(path.read_text(encoding="utf-8"))["metadata"]
        if "record" not in metadata.get("zscir", {}):
            raise ValueError(f"{path} has no record of its run: run it with `zscir run {path.stem} --force`")
        records.append(metadata["zscir"]["record"])
    return records


def summary_markdown(notebooks: Path, root: Path, now: datetime | None = None) -> str:
    """The build in one table: when, from which commit, with which versions, on which machine, how large.

    Args:
        notebooks: folder of the executed copies.
        root: the checkout.
        now: the moment of rendering; by default the present.
    """
    records = chapter_records(notebooks)
    peaks = [one["peak_memory"] for one in records if one["peak_memory"] is not None]
    renderers = {name: importlib.metadata.version(name) for name in _RENDERERS}
    rows = {
        "pages rendered": utc(now or datetime.now(UTC)),
        "from commit": commit_line(commit_of(root)),
        "profile": _each(records, lambda one: one["profile"]),
        "chapters ran": f"{min(one['date'] for one in records)} to {max(one['date'] for one in records)}",
        "in all": duration(sum(one["seconds"] for one in records)),
        "on": _each(records, lambda one: machine_line(one["machine"])),
        "memory of a chapter": gigabytes(max(peaks, default=None)),
        "computed with": _each(records, lambda one: _versions(one["versions"])),
        "rendered with": _versions(renderers),
    }
    (first, value), *others = rows.items()
    lines = [f"| {first} | {value} |", "| --- | --- |", *(f"| {key} | {said} |" for key, said in others)]
    return "\n".join(lines)


def needs_markdown(notebooks: Path) -> str:
    """One sentence on memory and time of the chapters, where and as they were run."""
    records = chapter_records(notebooks)
    peaks = [one["peak_memory"] for one in records if one["peak_memory"] is not None]
    longest = max(records, key=lambda one: one["seconds"])
    machine = _each(records, lambda one: machine_line(one["machine"]))
    return (
        f"Where this book was built ({machine}), the kernel of a chapter held "
        f"**{gigabytes(max(peaks, default=None))}**. The longest to run was "
        f"{{doc}}`notebooks/{longest['chapter']}` with **{duration(longest['seconds'])}**; all together took "
        f"**{duration(sum(one['seconds'] for one in records))}**, with what was already stored."
    )


def chapters_markdown(notebooks: Path) -> str:
    """One row a chapter: parameters that are not its own, when and from which commit it ran, how long."""
    records = chapter_records(notebooks)
    lines = ["| chapter | other parameters | ran | commit | time |", "| --- | --- | --- | --- | --: |"]
    for one in records:
        mark = " \\*" if one["dirty"] else ""
        commit = one["commit"] if one["dirty"] is None else f"`{one['commit'][:10]}`{mark}"
        changed = values_line(one["changed"]) or "none"
        page = f"{{doc}}`notebooks/{one['chapter']}`"
        lines.append(f"| {page} | {changed} | {one['date']} | {commit} | {one['seconds']:.1f} s |")
    lines.append(f"| all | | | | {sum(one['seconds'] for one in records):.1f} s |")
    if any(one["dirty"] for one in records):
        lines += ["", "\\* with changes that were not committed when the chapter ran."]
    return "\n".join(lines)


def results_markdown(results: Path, readme: Path) -> str:
    """The recorded results, which no build computes anew: file, what, machine, date.

    Args:
        results: folder of the records, ``benchmarks/results``.
        readme: the page whose table says what the script of the same name measures.

    Raises:
        ValueError: a record has no date or machine, or nothing says what it is.
    """
    said = dict(re.findall(r"^\| `(\w+)\.py` \| (.+?) \|$", readme.read_text(encoding="utf-8"), re.MULTILINE))
    lines = ["| record | what | machine | date |", "| --- | --- | --- | --- |"]
    for path in sorted(results.rglob("*.json")):
        record = json.loads(path.read_text(encoding="utf-8"))
        what = record.get("what") or said.get(path.stem)
        if missing := [key for key in ("date", "machine") if not record.get(key)]:
            raise ValueError(f"{path} does not say its {' and '.join(missing)}")
        if what is None:
            raise ValueError(f'{path} has no "what", and {readme} has no row `{path.stem}.py` for it')
        name = path.relative_to(results).as_posix()
        machine = _recorded_machine(record["machine"])
        lines.append(f"| `{name}` | {what} | {machine} | {record['date']} |")
    return "\n".join(lines)


def _recorded_machine(machine: Mapping[str, Any] | str) -> str:
    """A machine as the scripts of ``benchmarks/`` note it."""
    if isinstance(machine, str):
        return machine
    threads = machine.get("threads")
    parts = [machine.get("processor"), f"{threads} thread{'' if threads == 1 else 's'}" if threads else None]
    parts += [value for key in ("gpu", "cuda") if isinstance(value := machine.get(key), str)]
    return ", ".join(part for part in parts if part)


def _versions(named: Mapping[str, str]) -> str:
    """Python and this library first, then the others as `DISTRIBUTIONS` has them, then the rest."""
    order = ["python", "zscir", *DISTRIBUTIONS]
    ordered = [name for name in order if name in named] + [name for name in named if name not in order]
    return ", ".join(f"{name} {named[name]}" for name in ordered)


def _each(records: Sequence[Mapping[str, Any]], said: Callable[[Mapping[str, Any]], str]) -> str:
    """What the records say of something; when they differ, each answer with the chapters that gave it."""
    answers: dict[str, list[str]] = {}
    for one in records:
        answers.setdefault(said(one), []).append(one["chapter"])
    if len(answers) == 1:
        return next(iter(answers))
    return "; ".join(f"{answer} ({', '.join(chapters)})" for answer, chapters in answers.items())
