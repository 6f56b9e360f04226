"""Sphinx extension: published results, from the library's data file and with their source.

``{published} cirr`` is a table; the role ``quoted`` is a single number, linked to where it is printed.
"""

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.util.docutils import SphinxDirective, SphinxRole

from zscir.retrieval.published import published, published_fact, published_rows, published_sources


def published_markdown(name: str) -> str:
    """A table with numbered notes below, in Markdown."""
    rows, table = published_rows(name), published(name).replace("", "–").reset_index()
    noted = [number for number, row in enumerate(rows) if row["note"]]
    marks = {number: f" ({place})" for place, number in enumerate(noted, start=1)}
    table["method"] += [marks.get(number, "") for number in range(len(rows))]
    cells = [table.columns, ["---"] * table.shape[1], *table.to_numpy()]
    notes = [f"{place}. {rows[n]['method']}: {rows[n]['note']}" for place, n in enumerate(noted, start=1)]
    return "\n".join([*(f"| {' | '.join(row)} |" for row in cells), "", *notes])


class Published(SphinxDirective):
    """A table by name, or with ``sources`` the list of sources."""

    required_arguments = 1

    def run(self):
        """The nodes of the table."""
        name = self.arguments[0]
        if name == "sources":
            text = "\n".join(f"* {letter}: {what}" for letter, what in published_sources().items())
        else:
            text = published_markdown(name)
        holder = nodes.container(classes=["published"])
        self.state.nested_parse(StringList(text.splitlines(), source="published.json"), 0, holder)
        return [holder]


class Quoted(SphinxRole):
    """A number of others by its name in the data file."""

    def run(self):
        """The number as printed, a link to its source."""
        fact = published_fact(self.text)
        where = {"refuri": fact["url"], "reftitle": f"Quoted from: {fact['source']}"}
        return [nodes.reference(self.rawtext, fact["value"], classes=["quoted"], **where)], []


def setup(app):
    """Name directive and role."""
    app.add_directive("published", Published)
    app.add_role("quoted", Quoted())
    return {"version": "2", "parallel_read_safe": True, "parallel_write_safe": True}
