"""What came on stderr while a chapter ran: other libraries' words on a reader's files, most often.

    remarks = take_remarks(notebook)      # {"UserWarning: Corrupt EXIF data.": 3}

In the book's own build such a word is an error (`zscir.book.chapters.run_chapter`, ``strict``).
"""

import re
from collections import Counter
from collections.abc import Mapping
from typing import Any

import nbformat


def take_remarks(notebook: nbformat.NotebookNode) -> dict[str, int]:
    """Remove stderr from an executed notebook; each of its lines, with how often it came.

    Lines that are indented belong to the one before and are left out, as are the folders of libraries.
    """
    found: Counter[str] = Counter()
    for cell in notebook.cells:
        for output in [one for one in cell.get("outputs", []) if one.get("name") == "stderr"]:
            lines = re.sub(r"\S*[/\\](?=[\w.-]+:\d+: )", "", output.text).splitlines()
            found.update(line for line in lines if line and not line[0].isspace())
            cell.outputs.remove(output)
    return dict(found)


def remarks_line(record: Mapping[str, Any], most: int = 5) -> str:
    """What was said on stderr while a chapter ran: how many remarks, and the commonest.

    >>> remarks_line({"remarks": {"UserWarning: Corrupt EXIF data.": 3}})
    '3 remarks on stderr: UserWarning: Corrupt EXIF data. (3 times)'
    """
    found = record.get("remarks", {})
    if not found:
        return "none"
    order = sorted(found, key=found.get, reverse=True)
    named = [f"{line} ({found[line]} times)" if found[line] > 1 else line for line in order[:most]]
    named += [f"and {len(order) - most} others"] if len(order) > most else []
    count = sum(found.values())
    return f"{count} remark{'s' if count > 1 else ''} on stderr: {'; '.join(named)}"


def code_span(text: str) -> str:
    """A text in a cell of a Markdown table, as it is: no word of it becomes markup.

    >>> code_span("`<b>`|")
    '`` `<b>`\\\\| ``'
    """
    runs = re.findall("`+", text)
    fence, space = "`" * (1 + max(map(len, runs), default=0)), " " if runs else ""
    return f"{fence}{space}{text}{space}{fence}".replace("|", r"\|")
