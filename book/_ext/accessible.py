"""Sphinx extension: mends what Sphinx and its extensions write and axe-core calls a barrier.

Tables of chapters, shown where they were made or on other pages, get a box that scrolls and that the
theme lets the keyboard reach. Bibliographies lose a role that their entries do not fit. The index of
sources becomes a proper list, without modules that have no page. What an extension adds while Sphinx builds
is listed twice: a script stands once, since a browser calls the second an error. Thebe, which Jupyter Book
adds to every page though it is off here, is left out. A glued number stays on one line with its unit.
"""

import re

TABLE = '<div class="output text_html">'
BOX = '<div class="output text_html pst-scrollable-table-container">'
GLUED = re.compile(r'(<span class="pasted-text">[^<]*</span>)\s(?=%|points?\b)')
CITATIONS = '<div role="list" class="citation-list">'


def mend(app, pagename, templatename, context, doctree):
    """Mend the body of one page."""
    body = context.get("body", "")
    body = body.replace(TABLE, BOX).replace(CITATIONS, '<div class="citation-list">')
    body = GLUED.sub("\\1\N{NO-BREAK SPACE}", body)
    if pagename == "_modules/index":
        body = nested(body)
    if body:
        context["body"] = body
    scripts = [
        (file.filename or "", file.attributes.get("body") or "", file) for file in context["script_files"]
    ]
    once = {(name, code): file for name, code, file in scripts if "thebe" not in (name + code).lower()}
    context["script_files"] = list(once.values())
    styles = context.get("css_files", ())
    context["css_files"] = [file for file in styles if "thebe" not in str(getattr(file, "filename", file))]


def nested(body):
    """Lists between two items, put into the item before; ``body`` as it is if they do not pair up."""
    inner = body.count("</li>\n<ul>")
    if inner != body.count("<ul>") - 1 or body.count("</ul>") != inner + 1:
        return body
    *closed, rest = body.replace("</li>\n<ul>", "\n<ul>").split("</ul>")
    return "</ul></li>".join(closed) + "</ul>" + rest


def forget(app):
    """Before the pages of sources are made, drop the modules that will have none."""
    known = getattr(app.env, "_viewcode_modules", {})
    for name in [name for name, entry in known.items() if not entry]:
        del known[name]
    return []


def setup(app):
    """Connect; `forget` before viewcode."""
    app.connect("html-page-context", mend)
    app.connect("html-collect-pages", forget, priority=400)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
