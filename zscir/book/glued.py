"""What a chapter has put aside with ``glue``: the numbers and texts of an executed notebook, by name."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

import nbformat


def recorded_values(notebook: str | Path) -> dict[str, Any]:
    """Numbers, texts and booleans that an executed chapter glued, such as its scores.

    Figures and tables are left out. So the results of several runs come together:

        {path.stem: recorded_values(path)["masked pairs"] for path in Path("groups").glob("*.ipynb")}
    """
    found: dict[str, Any] = {}
    for cell in nbformat.read(notebook, as_version=4).cells:
        for output in cell.get("outputs", []):
            scrap = output.get("metadata", {}).get("scrapbook")
            if scrap:
                prefix = scrap.get("mime_prefix", "")
                shown = {kind.removeprefix(prefix): text for kind, text in output.data.items()}
                if set(shown) == {"text/plain"}:  # a table also has HTML, a figure a picture
                    found |= _scalar(scrap["name"], shown["text/plain"])
    return found


def _scalar(name: str, text: str) -> dict[str, Any]:
    """Name and value of a scalar as Python shows it, also NumPy's; empty for anything else."""
    shown = re.fullmatch(r"(?:np|numpy)\.(?:\w+\((.*)\)|(True|False)_)", text)
    text = (shown[1] or shown[2]) if shown else text
    if text in ("nan", "inf", "-inf"):
        return {name: float(text)}
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return {}
    return {name: value} if isinstance(value, (bool, int, float, str)) else {}
