"""Sphinx extension: a chapter that was run with other parameters than its own says so below its title.

Tables, figures and single numbers of a page are those of its run. Conclusions are written by people, who
looked at the book's own.
"""

import nbformat
from docutils import nodes

TEXT = (
    "The numbers, tables and figures of this page are those of this run. The sentences around them were "
    "written for the book's own run, with the chapter's own parameters: where the two disagree, believe the "
    "numbers."
)


def say(app, doctree):
    """Insert the box where the record of the chapter names a changed parameter."""
    path = app.env.doc2path(app.env.docname)
    if not path.endswith(".ipynb"):
        return
    record = nbformat.read(path, as_version=4).metadata.get("zscir", {}).get("record", {})
    if changed := record.get("changed"):
        values = nodes.literal("", ", ".join(f"{name}={value!r}" for name, value in changed.items()))
        words = nodes.paragraph("", "", nodes.Text("Run with "), values, nodes.Text(f". {TEXT}"))
        title = nodes.title("", "Not the book's own run")
        section = next(doctree.findall(nodes.section))
        section.insert(1, nodes.admonition("", title, words, classes=["attention", "other-run"]))


def setup(app):
    """Connect."""
    app.connect("doctree-read", say)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
