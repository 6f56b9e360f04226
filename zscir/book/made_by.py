"""What made an executed chapter: parameters, versions, commit, machine and time, told in a box at its end.

    record = chapter_record("05_cirr", declared, chosen, "default", commit_of(root), started, 41.5, facts)
    sign(notebook, record)

The runner calls this after a chapter has run. What differs between two equal runs stands in three places: the
box, the running time that the chapter's first cell shows, and the record in the notebook's metadata. None of
them has a path or the name of a person or a host, unless a parameter brought it.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import nbformat

from zscir.storage.provenance import versions

#: Code of the last cell that the runner adds, reads and removes again.
PROBE = (
    "import json\n\nfrom zscir.storage.provenance import kernel_facts\n\nprint(json.dumps(kernel_facts()))"
)

#: How `myst_nb.glue` marks what it stores in an output.
GLUE_PREFIX = "application/papermill.record/"


def values_used(declared: Mapping[str, Mapping[str, str]], chosen: Mapping[str, Any]) -> dict[str, Any]:
    """Value of every parameter of a chapter, in the order in which it declares them.

    Args:
        declared: as `zscir.book.declared_parameters` gives them.
        chosen: values that were given; the others are the chapter's own.

    >>> values_used({"tau": {"default": "0.3"}, "seed": {"default": "0"}}, {"seed": 7})
    {'tau': 0.3, 'seed': 7}
    """
    own = {name: ast.literal_eval(one["default"]) for name, one in declared.items()}
    return {**own, **chosen}


def chapter_record(
    name: str,
    declared: Mapping[str, Mapping[str, str]],
    chosen: Mapping[str, Any],
    profile: str,
    commit: Mapping[str, Any],
    started: datetime,
    seconds: float,
    kernel: Mapping[str, Any],
) -> dict[str, Any]:
    """All there is to say about one run of one chapter, in JSON's own types.

    Args:
        name: the chapter, such as ``"05_cirr"``.
        declared: its parameters, as `zscir.book.declared_parameters` gives them.
        chosen: values that were given; what is like the chapter's own is not listed as changed.
        profile: such as ``"default"``.
        commit: as `commit_of` gives it, taken before the run.
        started: when the run began, with a time zone.
        seconds: how long it took, the start of the kernel included.
        kernel: as `kernel_facts` gives them, asked in the kernel that ran.
    """
    used, own = values_used(declared, chosen), values_used(declared, {})
    return {
        "chapter": name,
        "profile": profile,
        "parameters": used,
        "changed": {key: value for key, value in used.items() if value != own[key]},
        **commit,
        "date": utc(started),
        "seconds": round(seconds, 2),
        "versions": versions(),
        "machine": {key: value for key, value in kernel.items() if key != "peak_memory"},
        "peak_memory": kernel["peak_memory"],
    }


def utc(moment: datetime) -> str:
    """A moment to the minute.

    >>> utc(datetime(2026, 3, 1, 9, 5, 59, tzinfo=UTC))
    '2026-03-01 09:05 UTC'
    """
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")


def duration(seconds: float) -> str:
    """A duration in words, as exact as it is of use.

    >>> [duration(one) for one in (0.4, 1.2, 44.6, 89.9, 100, 1000)]
    ['less than a second', '1.2 seconds', '45 seconds', '90 seconds', '1.7 minutes', '17 minutes']
    """
    if seconds < 1:
        return "less than a second"
    if seconds < 10:
        return f"{seconds:.1f} seconds"
    if seconds < 90:
        return f"{seconds:.0f} seconds"
    minutes = seconds / 60
    return f"{minutes:.1f} minutes" if minutes < 10 else f"{minutes:.0f} minutes"


def machine_line(machine: Mapping[str, Any]) -> str:
    """A machine in one line.

    >>> machine_line({"processor": "Xeon", "cores": 2, "threads": 1, "gpu": None})
    'Xeon, 2 cores, 1 thread, no GPU'
    """
    parts = [machine["processor"], _count(machine["cores"], "core")]
    if machine["threads"] is not None:
        parts.append(_count(machine["threads"], "thread"))
    return ", ".join([*parts, machine["gpu"] or "no GPU"])


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def commit_line(record: Mapping[str, Any]) -> str:
    """The commit of a record in Markdown, with a word on changes that were not committed."""
    if record["dirty"] is None:
        return record["commit"]
    return f"`{record['commit']}`, {'with uncommitted changes' if record['dirty'] else 'nothing uncommitted'}"


def values_line(values: Mapping[str, Any]) -> str:
    """Parameters in one line of Markdown.

    >>> values_line({"tau": 0.3, "world": "small"})
    "`tau=0.3`, `world='small'`"
    """
    return ", ".join(f"`{key}={value!r}`".replace("|", r"\|") for key, value in values.items())


def box(record: Mapping[str, Any]) -> str:
    """The folded box at the end of a chapter, in MyST Markdown."""
    seeds = {key: value for key, value in record["parameters"].items() if key in ("seed", "seeds")}
    rows = {
        "chapter": f"`{record['chapter']}`, profile {record['profile']}",
        "parameters": values_line(record["parameters"]),
        "not the chapter's own": values_line(record["changed"]) or "none",
        "seed": ", ".join(str(value) for value in seeds.values()) or "none",
        "run": f"{record['date']}, {duration(record['seconds'])}",
        "commit": commit_line(record),
        "versions": ", ".join(f"{name} {version}" for name, version in record["versions"].items()),
        "machine": machine_line(record["machine"]),
        "memory": gigabytes(record["peak_memory"]),
    }
    (first, value), *others = rows.items()
    lines = [f"| {first} | {value} |", "| --- | --- |", *(f"| {key} | {said} |" for key, said in others)]
    return "\n".join(["```{admonition} Made by", ":class: dropdown made-by", "", *lines, "```"])


def gigabytes(count: int | None) -> str:
    """Bytes at the peak in words.

    >>> gigabytes(1_530_000_000)
    'at most 1.5 GB at once'
    """
    return "not told by this system" if count is None else f"at most {count / 1e9:.1f} GB at once"


def cleaned(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """The executed notebook without timestamps, paths and widget state: equal runs give equal copies."""
    for key in ("papermill", "widgets"):
        notebook.metadata.pop(key, None)
    for cell in notebook.cells:
        cell.metadata.pop("papermill", None)
        cell.metadata.pop("execution", None)
        if "injected-parameters" in cell.metadata.get("tags", []):
            cell["id"] = "injected-parameters"
        if not cell.metadata.get("tags"):
            cell.metadata.pop("tags", None)
    return notebook


def sign(notebook: nbformat.NotebookNode, record: Mapping[str, Any]) -> nbformat.NotebookNode:
    """Name the cells below their figures, and add running time, box and record: the notebook, changed."""
    for cell in notebook.cells:
        figure = cell.metadata.get("mystnb", {}).get("figure", {})
        if figure.get("caption"):
            figure["caption"] = f"{figure['caption'].rstrip()} Cell {cell['id']}.\n"
    number = record["chapter"].partition("_")[0]
    told = nbformat.v4.new_markdown_cell(box(record), id=f"{number}-made-by")
    notebook.cells += [_glued(f"{number}-run-time", "run-time", duration(record["seconds"])), told]
    notebook.metadata.setdefault("zscir", {})["record"] = json.loads(json.dumps(record))
    return notebook


def _glued(cell_id: str, key: str, text: str) -> nbformat.NotebookNode:
    """A cell that is not shown and holds one text, as ``glue(key, text, display=False)`` leaves it.

    The text is there as HTML, too: no plain value, so who collects the results of a chapter passes over it.
    """
    output = nbformat.v4.new_output(
        "display_data",
        data={f"{GLUE_PREFIX}text/plain": repr(text), f"{GLUE_PREFIX}text/html": text},
        metadata={"scrapbook": {"name": key, "mime_prefix": GLUE_PREFIX}},
    )
    cell = nbformat.v4.new_code_cell("# how long this chapter ran", id=cell_id, outputs=[output])
    cell.metadata["tags"] = ["remove-cell"]
    return cell
