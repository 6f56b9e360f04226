"""Sphinx extension: ``{build-record}`` with the name of a table: what made this build.

The tables are read from the records of the chapters (`zscir.book.record.chapter_records`) and from the
recorded results of ``benchmarks/``.
"""

import csv
import json
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.errors import ExtensionError
from sphinx.util.docutils import SphinxDirective

from zscir.book.record import (
    chapter_records,
    commit_line,
    duration,
    gigabytes,
    machine_line,
    table,
    utc,
    values_line,
)
from zscir.storage.provenance import DISTRIBUTIONS, commit_of, versions


def checkout_of(source: Path) -> Path:
    """The checkout that a book's source belongs to: the nearest folder above with the configuration."""
    for folder in source.parents:
        if (folder / "_config.yml").is_file():
            return folder
    raise ExtensionError(f"no _config.yml above {source}")


def _seconds(records: Sequence[Mapping[str, Any]]) -> float:
    return sum(record["seconds"] for record in records)


def _peak(records: Sequence[Mapping[str, Any]]) -> str:
    peaks = [record["peak_memory"] for record in records if record["peak_memory"] is not None]
    return gigabytes(max(peaks, default=None))


def _each(records: Sequence[Mapping[str, Any]], said: Callable[[Mapping[str, Any]], str]) -> str:
    """What the records say of something; when they differ, each answer with the chapters that gave it."""
    answers: dict[str, list[str]] = {}
    for record in records:
        answers.setdefault(said(record), []).append(record["chapter"])
    if len(answers) == 1:
        return next(iter(answers))
    return "; ".join(f"{answer} ({', '.join(chapters)})" for answer, chapters in answers.items())


def summary_markdown(notebooks: Path, root: Path, now: datetime | None = None) -> str:
    """The build in one table: when, from which commit, with which versions, on which machine, how large.

    Args:
        notebooks: folder of the executed copies.
        root: the checkout.
        now: the moment of rendering; by default the present.
    """
    records = chapter_records(notebooks)
    dates = [record["date"] for record in records]
    rows = {
        "pages rendered": utc(now or datetime.now(UTC)),
        "from commit": commit_line(commit_of(root)),
        "profile": _each(records, lambda record: record["profile"]),
        "chapters ran": f"{min(dates)} to {max(dates)}",
        "their times, added up": duration(_seconds(records)),
        "on": _each(records, lambda record: machine_line(record["machine"])),
        "memory of a chapter": _peak(records),
        "computed with": _each(records, lambda record: _versions(record["versions"])),
        "rendered with": _versions(versions(("jupyter-book", "sphinx", "myst-nb"))),
    }
    return table(rows.items())


def _versions(named: Mapping[str, str]) -> str:
    """Python and this library first, then the others as `DISTRIBUTIONS` has them, then the rest."""
    order = ["python", "zscir", *DISTRIBUTIONS]
    names = sorted(named, key=lambda name: order.index(name) if name in order else len(order))
    return ", ".join(f"{name} {named[name]}" for name in names)


def needs_markdown(notebooks: Path) -> str:
    """One sentence on memory and time of the chapters, where and as they were run."""
    records = chapter_records(notebooks)
    longest = max(records, key=lambda record: record["seconds"])
    return (
        f"Where this book was built ({_each(records, lambda record: machine_line(record['machine']))}), the "
        f"kernel of a chapter held **{_peak(records)}**. The longest to run was "
        f"{{doc}}`notebooks/{longest['chapter']}` with **{duration(longest['seconds'])}**; all add up "
        f"to **{duration(_seconds(records))}**, with what was already stored."
    )


def chapters_markdown(notebooks: Path) -> str:
    """One row a chapter: parameters that are not its own, when and from which commit it ran, how long."""
    records = chapter_records(notebooks)
    rows = [("chapter", "other parameters", "ran", "commit", "time")]
    for record in records:
        mark = " \\*" if record["dirty"] else ""
        commit = record["commit"] if record["dirty"] is None else f"`{record['commit'][:10]}`{mark}"
        changed = values_line(record["changed"]) or "none"
        page = f"{{doc}}`notebooks/{record['chapter']}`"
        rows.append((page, changed, record["date"], commit, f"{record['seconds']:.1f} s"))
    text = table(rows, last="--:") + f"\n| added up | | | | {_seconds(records):.1f} s |"
    if any(record["dirty"] for record in records):
        text += "\n\n\\* with changes that were not committed when the chapter ran."
    return text


def fresh_clone_markdown(record: Path) -> str:
    """How long a fresh clone took to become the book, as ``benchmarks/book.py`` recorded it.

    Args:
        record: the file; if there is none yet, the text says so.
    """
    if not record.is_file():
        return f"`benchmarks/{record.stem}.py` times a fresh clone; its record is not there yet."
    measured = json.loads(record.read_text(encoding="utf-8"))
    seconds = measured["seconds"]
    rows = [("step", "time"), ("install", duration(seconds["install"]))]
    rows += [(f"{{doc}}`notebooks/{name}`", duration(took)) for name, took in seconds["chapters"].items()]
    steps = {"pages": "pages", "build": "all chapters, two at a time, and the pages", "all": "all"}
    steps |= {"rerun": "then {doc}`notebooks/05_cirr` again, with another τ"}
    rows += [(said, duration(seconds[name])) for name, said in steps.items() if name in seconds]
    held = ", ".join(
        f"{what} held {gigabytes(measured[key])}"
        for what in ("a chapter", "the build")
        if (key := f"peak memory of {what} in bytes") in measured
    )
    said = (
        f"On {measured['date']}, profile {measured['profile']}: {machine_line(measured['machine'])}; {held}."
    )
    return f"{said}\n\n{table(rows, last='--:')}"


def results_markdown(results: Path, readme: Path) -> str:
    """The recorded results, which no build computes anew: file, what, machine, date.

    Args:
        results: folder of the records, ``benchmarks/results``.
        readme: the page whose table says what the script of the same name measures.

    Raises:
        ValueError: a record has no date or machine, or nothing says what it is.
    """
    said = dict(re.findall(r"^\| `(\w+)\.py` \| (.+?) \|$", readme.read_text(encoding="utf-8"), re.MULTILINE))
    rows = [("record", "what", "machine", "precision", "date", "commits")]
    for path in sorted(results.rglob("*.json")):
        record = json.loads(path.read_text(encoding="utf-8"))
        what = record.get("what") or said.get(path.stem)
        if missing := [key for key in ("date", "machine") if not record.get(key)]:
            raise ValueError(f"{path} does not say its {' and '.join(missing)}")
        if what is None:
            raise ValueError(f'{path} has no "what", and {readme} has no row `{path.stem}.py` for it')
        name, machine = path.relative_to(results).as_posix(), _recorded_machines(record)
        rows.append((f"`{name}`", what, machine, _precision(path, record), record["date"], _commits(record)))
    return table(rows)


def _precision(path, record):
    """Arithmetic of a record: of its trainings where a table lists them, else fp32 unless it says so."""
    told = record.get("precision", "fp32")
    if path.with_suffix(".csv").is_file():
        with path.with_suffix(".csv").open(encoding="utf-8", newline="") as file:
            told = ", ".join(sorted({row["precision"] for row in csv.DictReader(file)} - {""}))
    return told


def _commits(record):
    """The commits that a record was made from, shortened."""
    made = [run["git_commit"] for run in record.get("runs", ())] or [record.get("commit", "")]
    return ", ".join(f"`{commit[:10]}`" for commit in dict.fromkeys(made) if commit) or "not noted"


def _recorded_machines(record: Mapping[str, Any]) -> str:
    """The machines of a record, each once: those of its runs, where it lists them."""
    runs = [machine for run in record.get("runs", ()) for machine in run.get("machines", ())]
    return "; ".join(dict.fromkeys(map(_recorded_machine, runs or [record["machine"]])))


def _recorded_machine(machine: Mapping[str, Any] | str) -> str:
    """A machine as the scripts of ``benchmarks/`` note it."""
    if isinstance(machine, str):
        return machine
    threads = machine.get("threads")
    parts = [machine.get("processor"), f"{threads} thread{'' if threads == 1 else 's'}" if threads else None]
    parts += [
        value for key in ("instruction_set", "gpu", "cuda") if isinstance(value := machine.get(key), str)
    ]
    return ", ".join(part for part in parts if part)


def faults_markdown(matrix: Path) -> str:
    """What each fault leads to in each stage, as the tests read it; how often which, and the table."""
    with matrix.open(encoding="utf-8", newline="") as stream:
        head, *rows = csv.reader(stream)
    outcomes = Counter(outcome for _, *row in rows for outcome in row)
    counts = ", ".join(f"{count} *{outcome}*" for outcome, count in outcomes.most_common())
    return f"Of {outcomes.total()} pairs of a stage and a fault: {counts}.\n\n{table([head, *rows])}"


#: Pairs of CC3M that a copy of 2021 holds (https://huggingface.co/datasets/pixparse/cc3m-wds).
CC3M = 2_905_954


def hours_markdown(results: Path) -> str:
    """What masked pairs of CC3M would take, from the records that are there."""
    dry, gpu, said = results / "dry_run.json", results / "gpu.json", []
    if dry.is_file():
        run = json.loads(dry.read_text("utf-8"))
        held, broken = gigabytes(run["undisturbed"]["peak bytes"]), sum(run["broken"].values())
        said.append(
            f"{run['samples']:,} samples in tars, {broken:,} of them broken in {len(run['broken'])} ways, "
            f"became masked pairs with the pocket backbone; the process held {held}, and gave the same bytes "
            f"when it was killed twice. {_hours(run, run['images per second'])}"
        )
    if gpu.is_file():
        run = json.loads(gpu.read_text("utf-8"))
        model, pairs = run["settings"]["backbone"], run["training"]["pairs per second"]
        said.append(
            f"{_hours(run, run['masking']['images per second'])} That is {model} with random weights, from "
            "pixels in memory to the features of masked images; reading them comes on top. Training from "
            f"stored features: {pairs:,.0f} pairs a second, {CC3M / pairs / 60:.0f} minutes for every pair "
            f"once, with {run['training']['peak memory, GB']:.1f} GB of the card."
        )
    return "\n\n".join(said) or "No run is recorded yet; `benchmarks/dry_run.py` records one without a GPU."


def _hours(run: dict, rate: float) -> str:
    """The machine of a record, its images a second, and how long CC3M would take at this rate."""
    where = f"{run['date']}, {machine_line(run['machine'])}"
    return f"Recorded: {rate:,.0f} images a second ({where}); {CC3M:,} take {CC3M / rate / 3600:,.1f} hours."


class BuildRecord(SphinxDirective):
    """One of the tables, or the sentence on needs."""

    required_arguments = 1

    def run(self):
        """The nodes of the table."""
        source, wanted = Path(self.env.srcdir), self.arguments[0]
        root, notebooks = checkout_of(source), source / "notebooks"
        benchmarks = root / "benchmarks"
        tables = {
            "summary": lambda: summary_markdown(notebooks, root),
            "chapters": lambda: chapters_markdown(notebooks),
            "needs": lambda: needs_markdown(notebooks),
            "fresh-clone": lambda: fresh_clone_markdown(benchmarks / "results" / "book.json"),
            "faults": lambda: faults_markdown(root / "tests" / "faults" / "matrix.csv"),
            "hours": lambda: hours_markdown(benchmarks / "results"),
            "results": lambda: results_markdown(benchmarks / "results", benchmarks / "README.md"),
        }
        if wanted not in tables:
            raise self.error(f"build-record has no table {wanted!r}; it has: {', '.join(tables)}")
        holder = nodes.container(classes=["build-record", wanted])
        text = tables[wanted]()
        self.state.nested_parse(StringList(text.splitlines(), source="build record"), 0, holder)
        return [holder]


def setup(app):
    """Name the directive."""
    app.add_directive("build-record", BuildRecord)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
