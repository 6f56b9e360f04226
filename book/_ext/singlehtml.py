"""Sphinx extension: the book as one page takes the HTML handlers that other extensions registered for many.

sphinx-exercise has handlers of its own for the builder ``singlehtml``; Sphinx then no longer falls back
to those for ``html``, and the build fails at nodes of other extensions, such as the tabs of
sphinx-design.
"""


def complete(app):
    """Fill the gaps of singlehtml's handlers with those of html."""
    handlers = app.registry.translation_handlers
    if "singlehtml" in handlers:
        handlers["singlehtml"] = {**handlers.get("html", {}), **handlers["singlehtml"]}


def setup(app):
    """Connect when all extensions are loaded."""
    app.connect("builder-inited", complete)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
