"""Tables that say below what their numbers hold for.

>>> table = Table({"recall@1": [26.1]}, index=["A"])
>>> table.note = protocol_line({"reference": "removed", "split": "val"})
>>> table
   recall@1
A      26.1
Protocol: reference: removed; split: val
"""

from __future__ import annotations

import html
from collections.abc import Mapping

import pandas as pd


class Table(pd.DataFrame):
    """A DataFrame with a note that is shown below it: the protocol that its numbers hold for."""

    _metadata = ["note"]

    @property
    def _constructor(self) -> type:
        return Table

    def __repr__(self) -> str:
        """The table, then the note."""
        note = getattr(self, "note", "")
        return super().__repr__() + (f"\n{note}" if note else "")

    def _repr_html_(self) -> str | None:
        shown, note = super()._repr_html_(), getattr(self, "note", "")
        return (
            f'{shown}<p class="protocol"><small>{html.escape(note)}</small></p>' if shown and note else shown
        )


def protocol_line(protocol: Mapping[str, object]) -> str:
    """A protocol in one line, "" for an empty one."""
    said = "; ".join(f"{key}: {value}" for key, value in protocol.items())
    return f"Protocol: {said}" if said else ""
