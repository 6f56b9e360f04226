"""A world of look-alikes, where the place of a mask must matter if it matters anywhere: the positive control.

Every picture shows two things at one of four places. Its caption says the place and *one* of the things, so a
batch holds many pictures that the rest of a caption fits as well, and only the hidden noun's region tells
which is meant. A query of its benchmark, in CIRR's layout, keeps one of the two things of its reference and
changes all else; `Control.kept` says which.
"""

import json
import os
import shutil
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from zscir.storage import artifact

from .captions import PHOTO_OF, noun_word, pick, with_article
from .layouts import LICENCE, Pictures, Pocket, draw_pictures, source_fingerprint, write_json, write_pairs
from .scenes import Object, Scene, held_out
from .vocabulary import SCENE_NOUNS, WHERE

PLACES = ("beach", "forest", "city", "desert")
#: Pairs, of which the last `HELD_OUT` are for judging, and sets of six.
PAIRS, HELD_OUT, SETS = 5000, 1000, 300
STREAM, CIRR_STREAM = 211, 212
#: Things of the six members of a set (A and B of the reference, C and D new), and whether the place is new.
MEMBERS = (("AB", 0), ("AC", 1), ("BC", 1), ("DC", 1), ("AB", 1), ("AC", 0))


@dataclass(frozen=True)
class Control(Pocket):
    """The control world on disk."""

    @property
    def kept(self) -> dict[str, str]:
        """Query id -> the noun of the thing that the query keeps of its reference."""
        return json.loads((self.root("cirr") / "kept.json").read_text("utf-8"))


def make_control(seed: int = 0, root: Path | None = None) -> Control:
    """The control world, drawn now if it has not been drawn before; ``root`` is where artifacts are kept."""

    def build(folder: Path) -> None:
        with ProcessPoolExecutor(os.cpu_count()) as workers:
            write_pairs(folder / "pairs", pair, PAIRS, seed, workers)
            draw_pictures(folder / "cirr", _write_cirr(folder / "cirr", seed), workers)
        shutil.copyfile(LICENCE, folder / LICENCE.name)

    key = {"size": "control", "seed": seed, "source": source_fingerprint()}
    return Control("control", artifact("pocket", key, build, root))


def pair(index: int, seed: int) -> tuple[Scene, str]:
    """Scene and caption of one image–caption pair: two things at a place, of which one is said."""
    rng = np.random.default_rng([STREAM, seed, index])
    place = str(rng.choice(PLACES))
    nouns = rng.choice([noun for noun in SCENE_NOUNS if not held_out(noun, place)], 2, replace=False)
    said, other = (Object(str(noun)) for noun in nouns)
    text = f"{with_article(noun_word(said, rng))} {pick(rng, WHERE[place])}"
    text = text if rng.random() < 0.5 else pick(rng, PHOTO_OF, text)
    return Scene(place, (said, other), relation="beside", seed=int(rng.integers(2**31))), text


def _write_cirr(root: Path, seed: int) -> Pictures:
    """Sets of six in CIRR's layout, each with two queries: one keeps A, the other B."""
    rng = np.random.default_rng([CIRR_STREAM, seed])
    pictures: Pictures = {}
    entries, kept = [], {}
    for number in range(SETS):
        places = [str(place) for place in rng.choice(PLACES, 2, replace=False)]
        kept_ones = rng.choice([n for n in SCENE_NOUNS if held_out(n, places[1])], 2, replace=False)
        others = rng.choice([n for n in SCENE_NOUNS if n not in kept_ones], 2, replace=False)
        nouns = map(str, (*kept_ones, *others))
        things = dict(zip("ABCD", map(Object, nouns), strict=True))
        names = [f"dev-{number}-{k // 2}-img{k % 2}" for k in range(6)]
        for name, (shown, at) in zip(names, MEMBERS, strict=True):
            both = tuple(things[letter] for letter in shown)
            scene = Scene(places[at], both, relation="beside", seed=int(rng.integers(2**31)))
            pictures[name] = (f"./dev/{name}.png", scene)
        order = [names[k] for k in rng.permutation(6)]
        for target, stays, goes in ((1, "A", "B"), (2, "B", "A")):
            added = with_article(noun_word(things["C"], rng))
            text = f"{pick(rng, WHERE[places[1]])} with {added} instead of the {noun_word(things[goes], rng)}"
            kept[str(len(entries))] = things[stays].noun
            entry = {"pairid": len(entries), "reference": names[0], "target_hard": names[target]}
            entry |= {"target_soft": {names[target]: 1.0}, "caption": text, "kind": f"keeps {stays}"}
            entries.append(entry | {"img_set": {"id": number, "members": order}})
    write_json(root / "kept.json", kept)
    write_json(root / "cirr" / "captions" / "cap.rc2.val.json", entries)
    paths = {name: path for name, (path, _) in pictures.items()}
    write_json(root / "cirr" / "image_splits" / "split.rc2.val.json", paths)
    return pictures
