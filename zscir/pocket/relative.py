"""Relative captions: what a person says to get from one picture to another.

In CIRR's manner (*is on the beach instead*, *replace the dog with two cats*) and in
FashionIQ's (*is blue with longer sleeves*). A query has one kind: what changed. Kinds that
ask more of a model (`HARD_KINDS`) are kinds of their own.
"""

from __future__ import annotations

import numpy as np

from .captions import garment_facts, is_or_are, noun_word, object_phrase, pick, together, with_article
from .scenes import Object, Scene
from .vocabulary import BACKGROUND, COUNTS, PATTERNS, PHRASES, THINGS, WHERE

#: Negation, counting and comparison.
HARD_KINDS = ("negation", "count", "comparison")
_TURNS = PHRASES["change"]
_SIZE_ORDER = {"small": 0, None: 1, "large": 2}
#: Attribute of the first thing -> the kind of a change in it.
_ATTRIBUTES = {"colour": "colour", "pattern": "pattern", "size": "comparison", "count": "count"}


def changes(reference: Scene, target: Scene) -> list[str]:
    """The kinds of change between two scenes of one set, in the order people name them."""
    before, after = reference.objects, target.objects
    if before[0].noun != after[0].noun:
        found = ["object"]
    else:
        differs = (name for name in _ATTRIBUTES if getattr(before[0], name) != getattr(after[0], name))
        found = [_ATTRIBUTES[name] for name in differs]
    old, new = ({thing.noun for thing in things[1:]} for things in (before, after))
    found += ["addition"] if new - old else []
    found += ["negation"] if old - new else []
    return found + [k for k in ("place", "light", "style") if getattr(reference, k) != getattr(target, k)]


def relative_caption(reference: Scene, target: Scene, rng: np.random.Generator) -> tuple[str, str]:
    """The relative caption and its kind: one that `changes` names, or "several".

    Raises ValueError when the two scenes do not differ in anything that can be said.
    """
    found = changes(reference, target)
    if not found:
        raise ValueError(f"nothing to say: {reference} and {target} show the same")
    kind = found[0] if len(found) == 1 else "several"
    if rng.random() < 0.06 and kind not in ("negation", "comparison"):
        return _description(target, rng), kind
    clauses = [_CLAUSES[change](reference, target, rng) for change in found]
    if found == ["object", "place"] and rng.random() < 0.5:
        return f"{clauses[0]} {pick(rng, WHERE[target.place])}", kind
    return pick(rng, (", ", " and ")).join(clauses), kind


def _description(target: Scene, rng: np.random.Generator) -> str:
    """Says outright what the target shows, as many of CIRR's annotators do."""
    text = f"{together(target, rng, 0.9)} {pick(rng, WHERE[target.place])}"
    if target.light == "night":
        text += " " + pick(rng, PHRASES["at night"])
    if target.style != "photo":
        text = pick(rng, PHRASES["style of"][target.style], text)
    return pick(rng, _TURNS["description"], text)


def _place(reference: Scene, target: Scene, rng: np.random.Generator) -> str:
    where, ground = pick(rng, WHERE[target.place]), pick(rng, BACKGROUND[target.place])
    return pick(rng, _TURNS["place"], where=where, ground=ground, noun=noun_word(target.objects[0], rng))


def _object(reference: Scene, target: Scene, rng: np.random.Generator) -> str:
    old, new = noun_word(reference.objects[0], rng), object_phrase(target.objects[0], rng, 0.9)
    gone = old if reference.objects[0].count > 1 else with_article(old)
    return pick(rng, _TURNS["object"], old=old, new=new, gone=gone)


def _only_in(scene: Scene, other: Scene) -> Object:
    """The first of the further things of a scene that the other does not show as a further thing."""
    known = {thing.noun for thing in other.objects[1:]}
    return next(thing for thing in scene.objects[1:] if thing.noun not in known)


def _addition(reference: Scene, target: Scene, rng: np.random.Generator) -> str:
    thing = _only_in(target, reference)
    return pick(rng, _TURNS["addition"], new=object_phrase(thing, rng, 0.9), be=is_or_are(thing.count > 1))


def _negation(reference: Scene, target: Scene, rng: np.random.Generator) -> str:
    return pick(rng, _TURNS["negation"], gone=noun_word(_only_in(reference, target), rng))


def _count(reference: Scene, target: Scene, rng: np.random.Generator) -> str:
    thing = target.objects[0]
    noun = noun_word(thing, rng)
    if thing.count == 1:
        return pick(rng, _TURNS["fewer"], noun=noun)
    number, before, turns = COUNTS[thing.count], COUNTS[reference.objects[0].count], _TURNS["count"]
    if thing.count == 2:
        turns = [*turns, f"has a second {noun_word(thing, rng, plural=False)}"]
    return pick(rng, turns, noun=noun, number=number, before=before)


def _look(kind: str, thing: Object, noun: str, word: str, rng: np.random.Generator) -> str:
    """A thing's new colour or pattern, in one `word`."""
    phrase = f"{word} {noun}" if thing.count > 1 else with_article(f"{word} {noun}")
    return pick(rng, _TURNS[kind], noun=noun, be=is_or_are(thing.count > 1), word=word, phrase=phrase)


def _colour(reference: Scene, target: Scene, rng: np.random.Generator) -> str:
    thing = target.objects[0]
    return _look("colour", thing, noun_word(thing, rng), thing.colour, rng)


def _pattern(reference: Scene, target: Scene, rng: np.random.Generator) -> str:
    thing = target.objects[0]
    return _look("pattern", thing, noun_word(thing, rng), pick(rng, PATTERNS[thing.pattern]), rng)


def _comparison(reference: Scene, target: Scene, rng: np.random.Generator) -> str:
    old, new = reference.objects[0], target.objects[0]
    grows = _SIZE_ORDER[new.size] > _SIZE_ORDER[old.size]
    noun, how = noun_word(new, rng), pick(rng, ("bigger", "larger") if grows else ("smaller",))
    return pick(rng, _TURNS["comparison"], noun=noun, be=is_or_are(new.count > 1), how=how)


def _light(reference: Scene, target: Scene, rng: np.random.Generator) -> str:
    return pick(rng, _TURNS[target.light])


def _style(reference: Scene, target: Scene, rng: np.random.Generator) -> str:
    return pick(rng, _TURNS[target.style], noun=THINGS[target.objects[0].noun].name)


_CLAUSES = {
    **{"place": _place, "object": _object, "addition": _addition, "negation": _negation, "count": _count},
    **{"colour": _colour, "pattern": _pattern, "comparison": _comparison, "light": _light, "style": _style},
}


def fashion_captions(reference: Object, target: Object, rng: np.random.Generator) -> tuple[str, str]:
    """Two captions, as two annotators write them, of how the target garment differs.

    Raises ValueError when the two garments look alike.
    """
    facts = garment_facts(target, rng)
    names = ("colour", "sleeves", "pattern", "length")
    new = [f for f, n in zip(facts, names, strict=True) if getattr(reference, n) != getattr(target, n)]
    if not new:
        raise ValueError(f"nothing to say: {reference} and {target} look alike")
    rng.shuffle(new)
    first = " and ".join(new[: int(rng.integers(1, 3))])
    rest = new[1:] if len(new) > 1 else [garment_facts(target, rng)[0]]
    rng.shuffle(rest)
    return first, " and ".join(rest[: int(rng.integers(1, 3))])
