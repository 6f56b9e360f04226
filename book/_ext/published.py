"""Sphinx extension: ``{published} cirr`` shows a table of published results from the library's data file."""

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.util.docutils import SphinxDirective

from zscir.published import published_markdown, published_sources


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


def setup(app):
    """Name the directive."""
    app.add_directive("published", Published)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
