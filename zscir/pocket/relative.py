"""Relative captions: what a person says to get from one picture to another.

In CIRR's manner (*is on the beach instead*, *replace the dog with two cats*) and in
FashionIQ's (*is blue with longer sleeves*). A query has one kind: what changed. Kinds that
ask more of a model (`HARD_KINDS`) are kinds of their own.
"""

from __future__ import annotations

import numpy as np

from . import captions
from .captions import garment_facts, noun_word, object_phrase, pick, with_article
from .scenes import Object, Scene
from .vocabulary import BACKGROUND, COUNTS, PATTERNS, THINGS, WHERE

#: Negation, counting and comparison.
HARD_KINDS = ("negation", "count", "comparison")
KINDS = ("place", "object", "addition", "colour", "pattern", "style", "light", "several", *HARD_KINDS)
_SIZE_ORDER = {"small": 0, None: 1, "large": 2}


def changes(reference: Scene, target: Scene) -> list[str]:
    """The kinds of change between two scenes of one set, in the order people name them."""
    found = []
    before, after = reference.objects, target.objects
    if before[0].noun != after[0].noun:
        found.append("object")
    else:
        one, two = before[0], after[0]
        names = ("colour", "pattern", "size", "count")
        kinds = ("colour", "pattern", "comparison", "count")
        found += [k for n, k in zip(names, kinds, strict=True) if getattr(one, n) != getattr(two, n)]
    nouns = {o.noun for o in before[1:]}, {o.noun for o in after[1:]}
    found += ["addition"] if nouns[1] - nouns[0] else []
    found += ["negation"] if nouns[0] - nouns[1] else []
    found += ["place"] if reference.place != target.place else []
    found += ["light"] if reference.light != target.light else []
    found += ["style"] if reference.style != target.style else []
    return found


def relative_caption(reference: Scene, target: Scene, rng: np.random.Generator) -> tuple[str, str]:
    """The relative caption and its kind (one of `KINDS`).

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
        text = f"{clauses[0]} {pick(rng, WHERE[target.place])}"
    else:
        text = pick(rng, (", ", " and ")).join(clauses)
    return text, kind


def _description(target: Scene, rng: np.random.Generator) -> str:
    """Says outright what the target shows, as many of CIRR's annotators do."""
    text = captions._together(target, rng, 0.9)
    text = f"{text} {pick(rng, WHERE[target.place])}"
    if target.light == "night":
        text += " " + pick(rng, captions.AT_NIGHT)
    if target.style != "photo":
        text = pick(rng, captions.STYLE_OF[target.style]).format(text)
    return pick(rng, ("shows {}", "show {}", "{}", "the target photo is of {}", "change it to {}")).format(
        text
    )


def _place(reference: Scene, target: Scene, rng: np.random.Generator) -> str:
    where, ground = pick(rng, WHERE[target.place]), pick(rng, BACKGROUND[target.place])
    noun = noun_word(target.objects[0], rng)
    turns = (
        *(f"is {where} instead", f"is {where}", f"the {noun} is now {where}", f"same {noun} but {where}"),
        *(f"put the {noun} {where}", f"change the background to {ground}", f"show it {where}"),
        *(f"with {ground} in the background", f"move it, {where}"),
    )
    return pick(rng, turns)


def _object(reference: Scene, target: Scene, rng: np.random.Generator) -> str:
    old, new = noun_word(reference.objects[0], rng), object_phrase(target.objects[0], rng, 0.9)
    gone = old if reference.objects[0].count > 1 else with_article(old)
    turns = (
        *(f"replace the {old} with {new}", f"change the {old} to {new}", f"{new} instead of {gone}"),
        *(f"shows {new} instead of {gone}", f"{new} in place of the {old}", f"is {new}", f"make it {new}"),
    )
    return pick(rng, turns)


def _new_thing(reference: Scene, target: Scene) -> Object:
    old = {o.noun for o in reference.objects[1:]}
    return next(o for o in target.objects[1:] if o.noun not in old)


def _addition(reference: Scene, target: Scene, rng: np.random.Generator) -> str:
    new = object_phrase(_new_thing(reference, target), rng, 0.9)
    be = "are" if _new_thing(reference, target).count > 1 else "is"
    turns = (
        f"add {new}",
        f"with {new}",
        f"has {new} next to it",
        f"there {be} also {new}",
        f"now with {new}",
    )
    return pick(rng, turns)


def _negation(reference: Scene, target: Scene, rng: np.random.Generator) -> str:
    kept = {o.noun for o in target.objects}
    gone = noun_word(next(o for o in reference.objects[1:] if o.noun not in kept), rng)
    turns = (
        f"no {gone}",
        f"without the {gone}",
        f"has no {gone}",
        f"remove the {gone}",
        f"there is no {gone}",
    )
    return pick(rng, turns)


def _count(reference: Scene, target: Scene, rng: np.random.Generator) -> str:
    thing = target.objects[0]
    word, number = noun_word(thing, rng), COUNTS[thing.count]
    if thing.count == 1:
        return pick(rng, (f"only one {word}", f"a single {word}", f"one {word} instead of {COUNTS[2]}"))
    before = COUNTS[reference.objects[0].count]
    turns = [
        f"{number} {word}",
        f"show {number} {word}",
        f"{number} {word} instead of {before}",
        f"has {number} {word}",
    ]
    if thing.count == 2:
        turns.append(f"has a second {noun_word(thing, rng, plural=False)}")
    return pick(rng, turns)


def _colour(reference: Scene, target: Scene, rng: np.random.Generator) -> str:
    thing = target.objects[0]
    word, be = noun_word(thing, rng), "are" if thing.count > 1 else "is"
    one = with_article(f"{thing.colour} {word}") if thing.count == 1 else f"{thing.colour} {word}"
    turns = (
        f"the {word} {be} {thing.colour}",
        f"make the {word} {thing.colour}",
        one,
        f"is {thing.colour} instead",
    )
    return pick(rng, turns)


def _pattern(reference: Scene, target: Scene, rng: np.random.Generator) -> str:
    thing = target.objects[0]
    word, be, look = (
        noun_word(thing, rng),
        "are" if thing.count > 1 else "is",
        pick(rng, PATTERNS[thing.pattern]),
    )
    one = with_article(f"{look} {word}") if thing.count == 1 else f"{look} {word}"
    return pick(rng, (f"the {word} {be} {look}", f"make the {word} {look}", one))


def _comparison(reference: Scene, target: Scene, rng: np.random.Generator) -> str:
    old, new = reference.objects[0], target.objects[0]
    grows = _SIZE_ORDER[new.size] > _SIZE_ORDER[old.size]
    word, be = noun_word(new, rng), "are" if new.count > 1 else "is"
    how = pick(rng, ("bigger", "larger") if grows else ("smaller",))
    return pick(
        rng, (f"the {word} {be} {how}", f"make the {word} {how}", f"has a {how} {word}", f"{how} {word}")
    )


def _light(reference: Scene, target: Scene, rng: np.random.Generator) -> str:
    if target.light == "day":
        return pick(rng, ("by day", "in daylight"))
    return pick(rng, ("show it at night", "at night", "it is night", "same place but at night", "it is dark"))


def _style(reference: Scene, target: Scene, rng: np.random.Generator) -> str:
    word = THINGS[target.objects[0].noun].name
    if target.style == "sketch":
        turns = (
            "as a drawing",
            f"same {word} but as a drawing",
            "is a sketch",
            "a pencil drawing",
            "make it a drawing",
        )
    elif target.style == "photo":
        turns = ("as a photo", "make it a photo", "is a photo in color")
    else:
        turns = ("in black and white", f"same {word} but in black and white", "is a black and white photo")
    return pick(rng, turns)


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
