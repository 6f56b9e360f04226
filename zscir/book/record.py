"""What made a chapter: parameters, versions, commit, machine and time.

    record = chapter_record("05_cirr", declared, chosen, "default", commit_of(root), started, 41.5, facts)
    sign(notebook, record)                                   # after a chapter has run: a box at its end
    chapter_records(Path("book/notebooks"))                  # what the page *About this build* shows
    recorded_values("book/notebooks/05_cirr.ipynb")          # what the chapter gave to ``glue``

What differs between two equal runs stands in three places: the box, the running time that the chapter's first
cell shows, and the record in the notebook's metadata. None of them has a path or the name of a person or a
host, unless a parameter or a remark on stderr brought it.
"""

import ast
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import nbformat

from zscir.book.remarks import code_span, remarks_line
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
    return {name: ast.literal_eval(spec["default"]) for name, spec in declared.items()} | dict(chosen)


def chapter_record(
    name: str,
    declared: Mapping[str, Mapping[str, str]],
    chosen: Mapping[str, Any],
    profile: str,
    commit: Mapping[str, Any],
    started: datetime,
    seconds: float,
    kernel: Mapping[str, Any],
    remarks: Mapping[str, int],
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
        remarks: lines that came on stderr, each with how often.
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
        "remarks": dict(remarks),
    }


def utc(moment: datetime) -> str:
    """A moment to the minute.

    >>> utc(datetime(2026, 3, 1, 9, 5, 59, tzinfo=UTC))
    '2026-03-01 09:05 UTC'
    """
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")


def duration(seconds: float) -> str:
    """A duration in words, as exact as it is of use.

    >>> [duration(seconds) for seconds in (0.4, 1.2, 44.6, 89.9, 100, 1000)]
    ['less than a second', '1.2 seconds', '45 seconds', '90 seconds', '1.7 minutes', '17 minutes']
    """
    if seconds < 1:
        return "less than a second"
    number, unit = (seconds, "seconds") if seconds < 90 else (seconds / 60, "minutes")
    return f"{number:.{1 if number < 10 else 0}f} {unit}"


def machine_line(machine: Mapping[str, Any]) -> str:
    """A machine in one line.

    >>> machine_line({"processor": "Xeon", "instruction_set": "AVX2", "cores": 2, "threads": 1, "gpu": None})
    'Xeon, AVX2, 2 cores, 1 thread, no GPU'
    """
    counts = [(machine[f"{noun}s"], noun) for noun in ("core", "thread")]
    counted = [f"{count} {noun}{'' if count == 1 else 's'}" for count, noun in counts if count is not None]
    held = [machine["instruction_set"]] if machine.get("instruction_set") else []
    return ", ".join([machine["processor"], *held, *counted, machine["gpu"] or "no GPU"])


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
    return ", ".join(code_span(f"{key}={value!r}") for key, value in values.items())


def gigabytes(count: int | None) -> str:
    """Bytes at the peak in words.

    >>> gigabytes(1_530_000_000)
    'at most 1.5 GB at once'
    """
    return "not told by this system" if count is None else f"at most {count / 1e9:.1f} GB at once"


def table(rows: Iterable[Sequence[str]], last: str = "---") -> str:
    """A table in Markdown, the first row as its head; ``last`` is the rule below the last column.

    >>> print(table([("a", "b"), ("1", "2")]))
    | a | b |
    | --- | --- |
    | 1 | 2 |
    """
    head, *others = rows
    rule = ["---"] * (len(head) - 1) + [last]
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, rule, *others))


def box(record: Mapping[str, Any]) -> str:
    """The folded box at the end of a chapter, in MyST Markdown."""
    seeds = [str(record["parameters"][key]) for key in record["parameters"] if key in ("seed", "seeds")]
    rows = {
        "chapter": f"`{record['chapter']}`, profile {record['profile']}",
        "parameters": values_line(record["parameters"]),
        "not the chapter's own": values_line(record["changed"]) or "none",
        "seed": ", ".join(seeds) or "none",
        "run": f"{record['date']}, {duration(record['seconds'])}",
        "commit": commit_line(record),
        "versions": ", ".join(f"{name} {version}" for name, version in record["versions"].items()),
        "machine": machine_line(record["machine"]),
        "memory": gigabytes(record["peak_memory"]),
    }
    if record.get("remarks"):
        rows["remarks"] = code_span(remarks_line(record))
    return f"```{{admonition}} Made by\n:class: dropdown made-by\n\n{table(rows.items())}\n```"


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
    """Name the cells below their figures, and add running time, box and record: the notebook, changed.

    The running time is stored as ``glue("run-time", …, display=False)`` leaves it, in a cell that is not
    shown. It is there as HTML, too, so that `recorded_values` passes over it.
    """
    for cell in notebook.cells:
        figure = cell.metadata.get("mystnb", {}).get("figure", {})
        if figure.get("caption"):
            figure["caption"] = f"{figure['caption'].rstrip()} Cell {cell['id']}.\n"
    number, took = record["chapter"].partition("_")[0], duration(record["seconds"])
    output = nbformat.v4.new_output(
        "display_data",
        data={f"{GLUE_PREFIX}text/plain": repr(took), f"{GLUE_PREFIX}text/html": took},
        metadata={"scrapbook": {"name": "run-time", "mime_prefix": GLUE_PREFIX}},
    )
    time = nbformat.v4.new_code_cell("# how long this chapter ran", id=f"{number}-run-time", outputs=[output])
    time.metadata["tags"] = ["remove-cell"]
    notebook.cells += [time, nbformat.v4.new_markdown_cell(box(record), id=f"{number}-made-by")]
    notebook.metadata.setdefault("zscir", {})["record"] = json.loads(json.dumps(record))
    return notebook


def recorded_values(notebook: str | Path) -> dict[str, Any]:
    """Numbers, texts and booleans that an executed chapter glued, such as its scores.

    Figures and tables are left out. So the results of several runs come together:

        {path.stem: recorded_values(path)["masked pairs"] for path in Path("groups").glob("*.ipynb")}
    """
    found: dict[str, Any] = {}
    for cell in nbformat.read(notebook, as_version=4).cells:
        for output in cell.get("outputs", []):
            scrap = output.get("metadata", {}).get("scrapbook")
            if scrap and len(output.data) == 1:  # a table also has HTML, a figure a picture
                text = output.data.get(f"{scrap.get('mime_prefix', '')}text/plain", "")
                found |= _scalar(scrap["name"], text)
    return found


def _scalar(name: str, text: str) -> dict[str, Any]:
    """Name and value of a scalar as Python shows it, also NumPy's; empty for anything else."""
    shown = re.fullmatch(r"(?:np|numpy)\.(?:\w+\((.*)\)|(True|False)_)", text)
    text = (shown[1] or shown[2]) if shown else text
    if text in ("nan", "inf", "-inf"):
        return {name: float(text)}
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return {}
    return {name: value} if isinstance(value, (bool, int, float, str)) else {}


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
