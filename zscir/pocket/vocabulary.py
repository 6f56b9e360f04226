"""The words of the pocket world: its nouns, places, colours, patterns, sizes and styles.

Every noun (``nouns.csv``) names one OpenMoji drawing, by code point, and the words people use for it.
What people say of places, looks and changes stands in ``phrases.json``, with gaps to be filled.
"""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_HERE = Path(__file__).parent


@dataclass(frozen=True)
class Thing:
    """A noun of the pocket world and the OpenMoji drawing that shows it.

    `names` holds the usual word first, then synonyms; `plural` is the plural of the
    usual word (synonyms add an *s*).
    """

    code: str
    names: tuple[str, ...]
    plural: str
    kind: str

    @property
    def name(self) -> str:
        """The usual word."""
        return self.names[0]


def _things() -> dict[str, Thing]:
    things = {}
    for row in csv.DictReader((_HERE / "nouns.csv").read_text("utf-8").splitlines()):
        names = (row["name"], *filter(None, [row["synonym"]]))
        things[row["name"]] = Thing(row["code"], names, row["plural"], row["kind"])
    return things


#: All nouns by their usual word, garments included.
THINGS: dict[str, Thing] = _things()
#: The nouns that scenes show (garments appear only in the fashion pictures).
SCENE_NOUNS: tuple[str, ...] = tuple(n for n, t in THINGS.items() if t.kind != "garment")
#: The garment of each FashionIQ category.
GARMENTS: dict[str, str] = {"dress": "dress", "shirt": "shirt", "toptee": "top"}
#: Things that others can stand on.
SUPPORTS: frozenset[str] = frozenset(
    """chair couch bed car bus piano suitcase drum house elephant cow
    horse camel book turtle tractor train laptop gift cake""".split()
)
#: Turns of phrase by occasion; their gaps are filled by `str.format`. The plainest comes first.
PHRASES: dict[str, Any] = json.loads((_HERE / "phrases.json").read_text("utf-8"))
#: Place -> phrases that answer "where?".
WHERE: dict[str, list[str]] = PHRASES["where"]
#: Place -> how it is named as a background.
BACKGROUND: dict[str, list[str]] = PHRASES["background"]
PLACES: tuple[str, ...] = tuple(WHERE)
#: Pattern -> the adjectives people use.
PATTERNS: dict[str, list[str]] = PHRASES["pattern"]
#: Places that have a night of their own (the others show no daylight or are indoors).
OUTDOORS: frozenset[str] = frozenset("beach forest city desert snow meadow sea mountains street farm".split())
#: Colour name -> hue in degrees, saturation, lightness (both 0 to 1).
COLOURS: dict[str, tuple[float, float, float]] = {
    "red": (2, 0.80, 0.50),
    "orange": (28, 0.95, 0.54),
    "yellow": (51, 0.95, 0.56),
    "green": (120, 0.55, 0.42),
    "blue": (216, 0.78, 0.50),
    "purple": (278, 0.55, 0.48),
    "pink": (334, 0.85, 0.76),
    "brown": (25, 0.52, 0.33),
    "black": (0, 0.0, 0.13),
    "white": (0, 0.0, 0.96),
    "gray": (0, 0.0, 0.58),
}
STYLES: tuple[str, ...] = ("photo", "black and white", "sketch")
COUNTS: dict[int, str] = {1: "one", 2: "two", 3: "three", 4: "four"}
