"""Sphinx extension: the arrays of live figures become files, so that a page is read without them.

An output of ``zscir.figures.live`` holds its arrays as text. Each is moved into ``_static/live/NAME.js``,
named by its values: what several pages use is stored once, and a browser fetches it when the figure is woken.
It is a script, not data, since a page that was opened from a folder may load nothing else.
"""

import re
from pathlib import Path

ARRAY = re.compile(r'(<script type="text/plain" data-array="(\w+)">)([^<]+)(</script>)')


def move(app, pagename, templatename, context, doctree):
    """Move the arrays of one page."""
    folder = Path(app.outdir, "_static", "live")

    def store(found):
        folder.mkdir(parents=True, exist_ok=True)
        script = f'zscirLive.arrays["{found[2]}"] = "{found[3].strip()}";\n'
        (folder / f"{found[2]}.js").write_text(script, encoding="utf-8")
        return found[1] + found[4]

    if "data-array=" in context.get("body", ""):
        context["body"] = ARRAY.sub(store, context["body"])


def setup(app):
    """Connect."""
    app.connect("html-page-context", move)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
