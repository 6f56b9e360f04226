"""Sphinx extension: ``{build-record}`` with the name of a table: what made this build."""

import csv
from collections import Counter
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


def faults_markdown(matrix: Path) -> str:
    """What each fault leads to in each stage, as the tests read it; how often which, and the table."""
    with matrix.open(encoding="utf-8", newline="") as stream:
        head, *rows = csv.reader(stream)
    outcomes = Counter(outcome for _, *row in rows for outcome in row)
    counts = ", ".join(f"{count} *{outcome}*" for outcome, count in outcomes.most_common())
    return f"Of {outcomes.total()} pairs of a stage and a fault: {counts}.\n\n{record.table([head, *rows])}"


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
            "faults": lambda: faults_markdown(root / "tests" / "faults" / "matrix.csv"),
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
