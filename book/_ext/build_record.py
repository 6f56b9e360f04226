"""Sphinx extension: ``{build-record}`` with summary, chapters, needs or results: what made this build."""

from pathlib import Path

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.errors import ExtensionError
from sphinx.util.docutils import SphinxDirective

from zscir.book.record import chapters_markdown, needs_markdown, results_markdown, summary_markdown


def checkout_of(source: Path) -> Path:
    """The checkout that a book's source belongs to: the nearest folder above with the configuration."""
    for folder in source.parents:
        if (folder / "_config.yml").is_file():
            return folder
    raise ExtensionError(f"no _config.yml above {source}")


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
