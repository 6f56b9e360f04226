"""Sphinx extension: docstrings are written to be read in an editor; this makes them reStructuredText.

An indented block after a blank line is code, without a ``::`` before it. So is a paragraph that calls
something: the formatter of the code takes the indent of some. A ``*`` that stands alone, our sign for the
pseudo-word, is just that. So is a colon: napoleon takes what stands before one for a type, but ours stand in
the code. Fields of a named tuple without a docstring are left out.
"""

import ast
import re
from textwrap import indent

KEPT_OR_STAR = re.compile(r"(^\s*\* |`+[^`]*`+)|(?<![\w*\\])\*(?![\w*])")  # kept: bullets and literals


def to_rest(app, what, name, obj, options, lines):
    """Mark code blocks and escape lone stars in place; doctests and marked blocks stay as they are."""
    first, *rest = "\n".join(lines).split("\n\n")
    rest = [indent(one, "    ") if _calls(one) else one for one in rest]
    lines[:] = "\n\n".join([first, *rest]).split("\n")
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


def _calls(paragraph):
    """Whether a paragraph is Python code in which something is called."""
    try:
        return any(isinstance(node, ast.Call) for node in ast.walk(ast.parse(paragraph)))
    except SyntaxError:
        return False


def whole_sentences(app, what, name, obj, options, lines):
    """Put back, in place, the beginning of a sentence that napoleon took for a type."""
    own = what in ("attribute", "data", "property")
    mark, begin = (":type: ", "") if own else (":rtype: ", ":returns: ")
    taken = next((line for line in lines if line.startswith(mark)), None)
    at = next((n for n, line in enumerate(lines) if line.strip() and line.startswith(begin)), None)
    if taken is not None and at is not None and lines[at] is not taken:
        lines[at] = f"{begin}{taken.removeprefix(mark)}: {lines[at].removeprefix(begin)}"
        lines.remove(taken)


def is_unsaid_field(app, what, name, obj, skip, options):
    """Whether to leave out a field of a named tuple: True, or None for what others decide."""
    return True if str(getattr(obj, "__doc__", "")).startswith("Alias for field number") else None


def readable(app, what, name, obj, options, signature, returned):
    """A signature that is Python, whose names are therefore short: a default that is none becomes ``...``."""
    return re.sub(r"<[^<>]*(<[^<>]*>[^<>]*)*>", "...", signature or "") or None, returned


def setup(app):
    """Connect before napoleon, which rewrites the sections, and after it."""
    app.connect("autodoc-process-docstring", to_rest, priority=400)
    app.connect("autodoc-process-docstring", whole_sentences, priority=600)
    app.connect("autodoc-skip-member", is_unsaid_field)
    app.connect("autodoc-process-signature", readable)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
