"""Sphinx extension: each cell of a chapter shows its name, by which captions say what drew a figure."""

import re

import nbformat
from docutils import nodes

_NAMED = re.compile(r"\bCell ([\w-]+)\.(?=\s*</span>)")


def label(app, doctree):
    """Set the name of each code cell above it, as something to link to."""
    path = app.env.doc2path(app.env.docname)
    if not path.endswith(".ipynb"):
        return
    cells = nbformat.read(path, as_version=4).cells
    for box in list(doctree.findall(nodes.container)):
        if box.get("nb_element") == "cell_code" and box.children:
            name = cells[box["cell_index"]]["id"]
            line = nodes.paragraph("", f"Cell {name}", classes=["cell-label"], ids=[f"cell-{name}"])
            box.parent.insert(box.parent.index(box), line)


def link(app, pagename, templatename, context, doctree):
    """Make the name of a cell in a caption lead to that cell."""
    body = context.get("body", "")

    def linked(found):
        there = f'id="cell-{found[1]}"' in body
        return f'<a href="#cell-{found[1]}">Cell {found[1]}</a>.' if there else found[0]

    if body:
        context["body"] = _NAMED.sub(linked, body)


def setup(app):
    """Connect."""
    app.connect("doctree-read", label)
    app.connect("html-page-context", link)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
