"""Sphinx extension: ``{build-record}`` with the name of a table: what made this build."""

import json
from pathlib import Path

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.errors import ExtensionError
from sphinx.util.docutils import SphinxDirective

from zscir.book import record


def checkout_of(source: Path) -> Path:
    """The checkout that a book's source belongs to: the nearest folder above with the configuration."""
    for folder in source.parents:
        if (folder / "_config.yml").is_file():
            return folder
    raise ExtensionError(f"no _config.yml above {source}")


#: Pairs of CC3M that a copy of 2021 holds (https://huggingface.co/datasets/pixparse/cc3m-wds).
CC3M = 2_905_954


def hours_markdown(results: Path) -> str:
    """What masked pairs of CC3M would take, from the records that are there."""
    dry, gpu, said = results / "dry_run.json", results / "gpu.json", []
    if dry.is_file():
        run = json.loads(dry.read_text("utf-8"))
        held, broken = record.gigabytes(run["undisturbed"]["peak bytes"]), sum(run["broken"].values())
        said.append(
            f"{run['samples']:,} samples in tars, {broken:,} of them broken in {len(run['broken'])} ways, "
            f"became masked pairs with the pocket backbone; the process held {held}, and gave the same bytes "
            f"when it was killed twice. {_hours(run, run['images per second'])}"
        )
    if gpu.is_file():
        run = json.loads(gpu.read_text("utf-8"))
        said.append(_hours(run, run["masking"]["images per second"]))
    return "\n\n".join(said) or "There is no record yet: `benchmarks/dry_run.py` and `gpu.py` make them."


def _hours(run: dict, rate: float) -> str:
    """The machine of a record, its images a second, and how long CC3M would take at this rate."""
    where = f"{run['date']}, {record.machine_line(run['machine'])}"
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
            "summary": lambda: record.summary_markdown(notebooks, root),
            "chapters": lambda: record.chapters_markdown(notebooks),
            "needs": lambda: record.needs_markdown(notebooks),
            "fresh-clone": lambda: record.fresh_clone_markdown(benchmarks / "results" / "book.json"),
            "hours": lambda: hours_markdown(benchmarks / "results"),
            "results": lambda: record.results_markdown(benchmarks / "results", benchmarks / "README.md"),
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
