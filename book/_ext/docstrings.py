"""Sphinx extension: docstrings are written to be read in an editor; this makes them reStructuredText.

An indented block after a blank line is code, without a ``::`` before it. A ``*`` that stands alone, our sign
for the pseudo-word, is just that.
"""

import re

KEPT_OR_STAR = re.compile(r"(^\s*\* |`+[^`]*`+)|(?<![\w*\\])\*(?![\w*])")  # kept: bullets and literals


def to_rest(app, what, name, obj, options, lines):
    """Mark code blocks and escape lone stars in place; doctests and marked blocks stay as they are."""
    done, above, code = [], "", False
    for number, line in enumerate(lines):
        after_blank = number > 0 and not lines[number - 1].strip()
        indented = line.startswith("    ")
        if line.strip() and not indented:
            code = line.startswith(">>>") or (code and not after_blank)
        elif indented and after_blank and above and not above.startswith(" ") and not code:
            code = True
            done += [] if above.endswith("::") or line.lstrip().startswith(">>>") else ["::", ""]
        done.append(line if code else KEPT_OR_STAR.sub(lambda found: found[1] or r"\*", line))
        above = line if line.strip() else above
    lines[:] = done


def setup(app):
    """Connect before napoleon, which rewrites the sections."""
    app.connect("autodoc-process-docstring", to_rest, priority=400)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
