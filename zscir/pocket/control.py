"""A world of look-alikes, where the place of a mask must matter if it matters anywhere: the positive control.

Every picture shows two things at one of four places. Its caption says the place and *one* of the things, so a
batch holds many pictures that the rest of a caption fits as well, and only the hidden noun's region tells
which is meant. A query of its benchmark, in CIRR's layout, keeps one of the two things of its reference and
changes all else; `Control.kept` says which.

`Arrangement` moves three things of it: how many things a picture shows, how much of the rest its caption
says, and how alike a batch is.
"""

import json
import os
import re
import shutil
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from zscir.storage import artifact
from zscir.storage.checks import Rule, check

from .captions import PHOTO_OF, noun_word, pick, with_article
from .layouts import LICENCE, Pictures, Pocket, draw_pictures, source_fingerprint, write_json, write_pairs
from .scenes import Object, Scene, held_out
from .vocabulary import COLOURS, SCENE_NOUNS, WHERE
from .vocabulary import PLACES as ALL_PLACES

#: Places, the control's first.
PLACES = tuple(dict.fromkeys(("beach", "forest", "city", "desert", *ALL_PLACES)))
#: Pairs, of which the last `HELD_OUT` are for judging, and sets of six.
PAIRS, HELD_OUT, SETS = 5000, 1000, 300
STREAM, CIRR_STREAM = 211, 212
#: Things of the six members of a set (A and B of the reference, C and D new, a is A in another colour), and
#: whether the place is new; first where a picture shows one thing, then where it shows more.
MEMBERS = (
    (("A", 0), ("A", 1), ("B", 1), ("a", 1), ("B", 0), ("D", 0)),
    (("AB", 0), ("AC", 1), ("BC", 1), ("DC", 1), ("aB", 1), ("AC", 0)),
)
_NAME = re.compile(r"pocket-control(?:-(\d+)things-(\d+)said-(\d+)places)?")


@dataclass(frozen=True)
class Arrangement:
    """How pictures and captions are arranged: the axes between the control world and a world like ours.

    Attributes:
        things: things a picture shows, from 1 to 3.
        said: percentage of the other things, and of the colours, that a caption says.
        places: number of places; the fewer, the more alike a batch is.

    >>> Arrangement.of("pocket-control-1things-50said-12places")
    Arrangement(things=1, said=50, places=12)
    >>> Arrangement.of("pocket-control"), Arrangement(3, 0, 4).name
    (Arrangement(things=2, said=None, places=4), 'pocket-control-3things-0said-4places')

    ``said`` is None in the control world itself, whose things have no colours.
    """

    things: int = 2
    said: int | None = None
    places: int = 4

    def __post_init__(self) -> None:
        check("things", self.things, Rule("a whole number from 1 to 3", lambda value: value in (1, 2, 3)))
        check("said", self.said, Rule("from 0 to 100", lambda value: value is None or 0 <= value <= 100))
        check("places", self.places, Rule(f"from 2 to {len(PLACES)}", lambda n: 2 <= n <= len(PLACES)))

    @classmethod
    def of(cls, name: str) -> "Arrangement":
        """The arrangement that a name tells. Raises ValueError for another name."""
        found = _NAME.fullmatch(name)
        if found is None:
            legal = "pocket-control, or with its axes pocket-control-2things-50said-4places"
            raise ValueError(f"pairs is {name!r}; legal: {legal}")
        return cls(*map(int, found.groups())) if found[1] else cls()

    @property
    def name(self) -> str:
        """What `zscir.load_pairs` calls its pairs."""
        axes = f"-{self.things}things-{self.said}said-{self.places}places"
        return "pocket-control" if self == Arrangement() else f"pocket-control{axes}"

    def thing(self, noun: str, rng: np.random.Generator, other_than: str | None = None) -> Object:
        """A thing, with a colour where the arrangement has them."""
        colours = [colour for colour in COLOURS if colour != other_than]
        return Object(noun) if self.said is None else Object(noun, str(rng.choice(colours)))

    def phrase(self, thing: Object, rng: np.random.Generator) -> str:
        """The thing in words, with its colour as often as the arrangement says."""
        words = noun_word(thing, rng)
        told = thing.colour and 100 * rng.random() < (self.said or 0)
        return with_article(f"{thing.colour} {words}" if told else words)


@dataclass(frozen=True)
class Control(Pocket):
    """The control world on disk."""

    @property
    def kept(self) -> dict[str, str]:
        """Query id -> the noun of the thing that the query keeps of its reference."""
        return json.loads((self.root("cirr") / "kept.json").read_text("utf-8"))


def make_control(seed: int = 0, root: Path | None = None, arrangement: Arrangement | None = None) -> Control:
    """The control world, or one of another arrangement, drawn now if it has not been drawn before; ``root``
    is where artifacts are kept."""
    own = arrangement or Arrangement()

    def build(folder: Path) -> None:
        with ProcessPoolExecutor(os.cpu_count()) as workers:
            write_pairs(folder / "pairs", partial(pair, arrangement=own), PAIRS, seed, workers)
            draw_pictures(folder / "cirr", _write_cirr(folder / "cirr", seed, own), workers)
        shutil.copyfile(LICENCE, folder / LICENCE.name)

    key = {"size": own.name.removeprefix("pocket-"), "seed": seed, "source": source_fingerprint()}
    return Control("control", artifact("pocket", key, build, root))


def pair(index: int, seed: int, arrangement: Arrangement = Arrangement()) -> tuple[Scene, str]:  # noqa: B008
    """Scene and caption of one image–caption pair: things at a place, of which one is always said."""
    rng = np.random.default_rng([STREAM, seed, index])
    place = str(rng.choice(PLACES[: arrangement.places]))
    free = [noun for noun in SCENE_NOUNS if not held_out(noun, place)]
    nouns = rng.choice(free, arrangement.things, replace=False)
    things = tuple(arrangement.thing(str(noun), rng) for noun in nouns)
    told = [thing for thing in things[1:] if arrangement.said and 100 * rng.random() < arrangement.said]
    phrases = [arrangement.phrase(thing, rng) for thing in (things[0], *told)]
    text = f"{' and '.join(phrases)} {pick(rng, WHERE[place])}"
    text = text if rng.random() < 0.5 else pick(rng, PHOTO_OF, text)
    return _scene(place, things, rng), text


def _scene(place: str, things: tuple[Object, ...], rng: np.random.Generator) -> Scene:
    relation = "beside" if len(things) > 1 else None
    return Scene(place, things, relation=relation, seed=int(rng.integers(2**31)))


def _write_cirr(root: Path, seed: int, arrangement: Arrangement) -> Pictures:
    """Sets of six in CIRR's layout, with a query for each thing, A or B, that it keeps of its reference."""
    rng = np.random.default_rng([CIRR_STREAM, seed])
    pictures: Pictures = {}
    entries, kept = [], {}
    several = arrangement.things > 1
    for number in range(SETS):
        places = [str(place) for place in rng.choice(PLACES[: arrangement.places], 2, replace=False)]
        kept_ones = rng.choice([n for n in SCENE_NOUNS if held_out(n, places[1])], 2, replace=False)
        others = rng.choice([n for n in SCENE_NOUNS if n not in kept_ones], 2, replace=False)
        nouns = dict(zip("ABCD", map(str, (*kept_ones, *others)), strict=True))
        things = {letter: arrangement.thing(noun, rng) for letter, noun in nouns.items()}
        things["a"] = arrangement.thing(nouns["A"], rng, other_than=things["A"].colour)
        names = [f"dev-{number}-{k // 2}-img{k % 2}" for k in range(6)]
        for name, (shown, at) in zip(names, MEMBERS[several], strict=True):
            own = [things[letter] for letter in shown]
            if arrangement.things > 2:
                others = [noun for noun in SCENE_NOUNS if noun not in nouns.values()]
                own.append(arrangement.thing(str(rng.choice(others)), rng))
            pictures[name] = (f"./dev/{name}.png", _scene(places[at], tuple(own), rng))
        order = [names[k] for k in rng.permutation(6)]
        for target, stays, goes in ((1, "A", "B"), (2, "B", "A"))[: 1 + several]:
            added = with_article(noun_word(things["C"], rng))
            text = pick(rng, WHERE[places[1]])
            if several:
                text = f"{text} with {added} instead of the {noun_word(things[goes], rng)}"
            kept[str(len(entries))] = things[stays].noun
            entry = {"pairid": len(entries), "reference": names[0], "target_hard": names[target]}
            entry |= {"target_soft": {names[target]: 1.0}, "caption": text, "kind": f"keeps {stays}"}
            entries.append(entry | {"img_set": {"id": number, "members": order}})
    write_json(root / "kept.json", kept)
    write_json(root / "cirr" / "captions" / "cap.rc2.val.json", entries)
    paths = {name: path for name, (path, _) in pictures.items()}
    write_json(root / "cirr" / "image_splits" / "split.rc2.val.json", paths)
    return pictures
