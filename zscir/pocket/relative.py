"""Relative captions: what a person says to get from one picture to another.

In CIRR's manner (*is on the beach instead*, *replace the dog with two cats*) and in
FashionIQ's (*is blue with longer sleeves*). A query has one kind: what changed. Kinds that
ask more of a model (`HARD_KINDS`) are kinds of their own.
"""

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
    clauses = [_clause(change, reference, target, rng) for change in found]
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


def _clause(change: str, reference: Scene, target: Scene, rng: np.random.Generator) -> str:
    """What one change between two scenes is called."""
    old, new = reference.objects[0], target.objects[0]
    turns, gaps = _TURNS.get(change), {"be": is_or_are(new.count > 1)}
    if change == "place":
        gaps |= {"where": pick(rng, WHERE[target.place]), "ground": pick(rng, BACKGROUND[target.place])}
    if change == "object":
        noun = noun_word(old, rng)
        gaps |= {"old": noun, "gone": noun if old.count > 1 else with_article(noun)}
        gaps["new"] = object_phrase(new, rng, 0.9)
    elif change == "addition":
        added = _only_in(target, reference)
        gaps = {"new": object_phrase(added, rng, 0.9), "be": is_or_are(added.count > 1)}
    elif change == "negation":
        gaps["gone"] = noun_word(_only_in(reference, target), rng)
    elif change in ("light", "style"):
        turns, gaps = _TURNS[getattr(target, change)], {"noun": THINGS[new.noun].name}
    else:
        gaps["noun"] = noun_word(new, rng)
    if change == "count":
        gaps |= {"number": COUNTS[new.count], "before": COUNTS[old.count]}
        turns = _TURNS["fewer"] if new.count == 1 else turns
        turns = [*turns, f"has a second {noun_word(new, rng, False)}"] if new.count == 2 else turns
    elif change == "comparison":
        grows = _SIZE_ORDER[new.size] > _SIZE_ORDER[old.size]
        gaps["how"] = pick(rng, ("bigger", "larger") if grows else ("smaller",))
    elif change in ("colour", "pattern"):
        word = new.colour if change == "colour" else pick(rng, PATTERNS[new.pattern])
        phrase = f"{word} {gaps['noun']}"
        gaps |= {"word": word, "phrase": phrase if new.count > 1 else with_article(phrase)}
    return pick(rng, turns, **gaps)


def _only_in(scene: Scene, other: Scene) -> Object:
    """The first of the further things of a scene that the other does not show as a further thing."""
    known = {thing.noun for thing in other.objects[1:]}
    return next(thing for thing in scene.objects[1:] if thing.noun not in known)


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
