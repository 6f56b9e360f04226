"""The words of the pocket world: its nouns, places, colours, patterns, sizes and styles.

Every noun (``nouns.csv``) names one OpenMoji drawing, by code point, and the words people use for it.
What people say of places, looks and changes stands in ``phrases.json``, with gaps to be filled; colours,
patterns and garments as they are drawn in ``looks.json``.
"""

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
    usual word (synonyms add an *s*). Other things can stand on one that `supports` them.
    """

    code: str
    names: tuple[str, ...]
    plural: str
    kind: str
    supports: bool

    @property
    def name(self) -> str:
        """The usual word."""
        return self.names[0]


#: All nouns by their usual word, garments included.
THINGS: dict[str, Thing] = {
    name: Thing(code, (name, synonym) if synonym else (name,), plural, kind, supports == "yes")
    for kind, code, name, plural, synonym, supports in list(
        csv.reader((_HERE / "nouns.csv").read_text("utf-8").splitlines())
    )[1:]
}
#: The nouns that scenes show (garments appear only in the fashion pictures).
SCENE_NOUNS: tuple[str, ...] = tuple(n for n, t in THINGS.items() if t.kind != "garment")
#: The garment of each FashionIQ category.
GARMENTS: dict[str, str] = {"dress": "dress", "shirt": "shirt", "toptee": "top"}
#: Turns of phrase by occasion; their gaps are filled by `str.format`. The plainest comes first.
PHRASES: dict[str, Any] = json.loads((_HERE / "phrases.json").read_text("utf-8"))
#: How things look: colours, tiles of patterns, garments.
LOOKS: dict[str, Any] = json.loads((_HERE / "looks.json").read_text("utf-8"))
#: Colour name -> hue in degrees, saturation, lightness (both 0 to 1).
COLOURS: dict[str, list[float]] = LOOKS["colours"]
#: Hems, from short to long.
LENGTHS: tuple[str, ...] = ("short", "medium", "long")
#: Sleeves, from none to long.
SLEEVES: tuple[str, ...] = ("none", "short", "long")
#: Place -> phrases that answer "where?".
WHERE: dict[str, list[str]] = PHRASES["where"]
#: Place -> how it is named as a background.
BACKGROUND: dict[str, list[str]] = PHRASES["background"]
PLACES: tuple[str, ...] = tuple(WHERE)
#: Pattern -> the adjectives people use.
PATTERNS: dict[str, list[str]] = PHRASES["pattern"]
#: Places that have a night of their own (the others show no daylight or are indoors).
OUTDOORS: frozenset[str] = frozenset("beach forest city desert snow meadow sea mountains street farm".split())
STYLES: tuple[str, ...] = ("photo", "black and white", "sketch")
COUNTS: dict[int, str] = {1: "one", 2: "two", 3: "three", 4: "four"}
