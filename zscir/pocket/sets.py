"""The queries of the pocket benchmarks, as scenes: CIRR's sets of six, FashionIQ's garments,
CIRCO's queries with several right answers.

All is drawn at random from a seed; nothing here looks at a model. What a query's target
shows (noun at place, look of a garment) is a combination that no training picture shows.
"""

import itertools
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from .captions import noun_word
from .relative import fashion_captions, relative_caption
from .scenes import Object, Scene, held_out, held_out_garment, sample_object, sample_relation
from .vocabulary import COLOURS, LENGTHS, OUTDOORS, PATTERNS, PLACES, SCENE_NOUNS, SLEEVES, WHERE

#: Which of the six members are reference and target of a query (see `six`).
QUERY_PATTERN = ((0, 1), (0, 2), (0, 3), (0, 4), (0, 5), (1, 0), (1, 4))


class SetOfSix(NamedTuple):
    """Six scenes that share things, and the (reference, target, caption, kind) of its queries."""

    members: tuple[Scene, ...]
    queries: tuple[tuple[int, int, str, str], ...]


def _pair_of_nouns(rng: np.random.Generator) -> tuple[str, str, str, str]:
    """Nouns A and B and places P and Q such that all four combinations are held out."""
    while True:
        one = str(rng.choice(SCENE_NOUNS))
        places = [p for p in PLACES if held_out(one, p)]
        if len(places) < 2:
            continue
        first, second = (str(p) for p in rng.choice(places, size=2, replace=False))
        others = [n for n in SCENE_NOUNS if n != one and held_out(n, first) and held_out(n, second)]
        if others:
            return one, str(rng.choice(others)), first, second


def _scene(
    rng: np.random.Generator, place: str, *things: Object, style: str = "photo", light: str = "day"
) -> Scene:
    relation = sample_relation(rng, things)
    return Scene(place, tuple(things), style, light, relation, int(rng.integers(2**31)))


def _changed_thing(rng: np.random.Generator, thing: Object) -> Object:
    """`thing` with another colour, pattern, size or number."""
    what = str(rng.choice(["colour", "colour", "pattern", "size", "size", "count", "count"]))
    if what == "size":
        return replace(thing, size="small" if thing.size == "large" else "large")
    if what == "count":
        return replace(thing, count=2 if thing.count == 1 else 1)
    others = [w for w in (COLOURS if what == "colour" else PATTERNS) if w != getattr(thing, what)]
    return replace(thing, **{what: str(rng.choice(others))})


def six(rng: np.random.Generator) -> SetOfSix:
    """A set like CIRR's: every query has the right thing in the wrong place and the wrong thing
    in the right place among the other members.

    0: A at P. 1: A at Q. 2: B at P. 3: B at Q. 4: A at P with something added (or, when the
    set has a companion C, without it). 5: A at P or Q, otherwise coloured, patterned, sized,
    counted, lit or drawn.
    """
    noun, other, place, elsewhere = _pair_of_nouns(rng)
    main = replace(sample_object(rng, noun), count=1 if rng.random() < 0.85 else 2)
    second = replace(sample_object(rng, other), count=1)
    another = str(rng.choice([n for n in SCENE_NOUNS if n not in (noun, other)]))
    third = replace(sample_object(rng, another), count=1, pattern=None)
    company = (third,) if rng.random() < 0.35 else ()
    fourth = _scene(rng, place, main) if company else _scene(rng, place, main, third)
    where = elsewhere if rng.random() < 0.4 else place
    change = str(rng.choice(["thing", "thing", "thing", "style", "light"]))
    if change == "light" and where not in OUTDOORS:
        change = "style"
    fifth = _scene(rng, where, _changed_thing(rng, main) if change == "thing" else main, *company)
    if change == "style":
        fifth = replace(fifth, style=str(rng.choice(["sketch", "black and white"])))
    if change == "light":
        fifth = replace(fifth, light="night")
    others = [_scene(rng, where, thing, *company) for thing in (main, second) for where in (place, elsewhere)]
    members = (*others, fourth, fifth)
    queries = tuple((r, t, *relative_caption(members[r], members[t], rng)) for r, t in QUERY_PATTERN)
    return SetOfSix(members, queries)


def garment_looks(noun: str) -> list[Object]:
    """Every look of a garment."""
    choices = itertools.product(COLOURS, (None, *PATTERNS), [None], [1], LENGTHS, SLEEVES)
    return [Object(noun, *choice) for choice in choices]


def fashion_queries(count: int, gallery: list[Object], rng: np.random.Generator) -> list[tuple]:
    """(reference look, target look, two captions) whose target is a held-out look and whose
    reference shares one to three of colour, pattern, length and sleeves with it."""
    targets = [look for look in gallery if held_out_garment(look)]
    queries = []
    while len(queries) < count:
        target = targets[int(rng.integers(len(targets)))]
        reference = gallery[int(rng.integers(len(gallery)))]
        names = ("colour", "pattern", "length", "sleeves")
        shared = sum(getattr(reference, n) == getattr(target, n) for n in names)
        if 1 <= shared <= 3:
            queries.append((reference, target, fashion_captions(reference, target, rng)))
    return queries


class ManyAnswers(NamedTuple):
    """A CIRCO-like query: the reference, its right answers, distractors, caption and concept."""

    reference: Scene
    answers: tuple[Scene, ...]
    distractors: tuple[Scene, ...]
    caption: str
    concept: str


def many_answers(rng: np.random.Generator) -> ManyAnswers:
    """A query with two to six right answers: A at P -> any A at Q, however coloured or accompanied."""
    noun, other, place, elsewhere = _pair_of_nouns(rng)
    main = replace(sample_object(rng, noun), count=1)
    plain = Object(noun)

    def shown(thing: Object, at: str) -> Scene:
        company = () if rng.random() < 0.5 else (replace(sample_object(rng), count=1),)
        return _scene(rng, at, thing, *(other for other in company if other.noun != thing.noun))

    looks = [plain, main] + [replace(plain, colour=str(c)) for c in rng.choice(list(COLOURS), 4, False)]
    answers = tuple(shown(look, elsewhere) for look in looks[: int(rng.integers(2, 7))])
    wrong_place = tuple(shown(sample_object(rng, noun), place) for _ in range(2))
    wrong_thing = tuple(shown(sample_object(rng, other), elsewhere) for _ in range(2))
    reference = _scene(rng, place, main)
    where = str(rng.choice(WHERE[elsewhere]))
    caption = str(rng.choice([f"is {where} instead", f"is {where}", f"show it {where}", where]))
    return ManyAnswers(reference, answers, wrong_place + wrong_thing, caption, noun_word(plain, rng))
