"""What people write under the pictures of the pocket world.

Captions are drawn from many turns of phrase: full or partial, with synonyms, counts,
places, styles, and the elliptic, contrasting and negating turns that relative captions
use too (*is on the beach*, *a cat instead of a dog*, *no tree*), each true of its picture;
`caption` can be told to do without them.
"""

import re
from collections.abc import Sequence

import numpy as np

from .scenes import Object, Scene
from .vocabulary import BACKGROUND, COUNTS, PATTERNS, PHRASES, SCENE_NOUNS, THINGS, WHERE

PHOTO_OF, STYLE_OF = PHRASES["photo of"], PHRASES["style of"]
_GARMENT = PHRASES["garment"]
#: The turns of relative captions, by which a caption is known to be worded like one.
TURNS = re.compile(PHRASES["turns"], re.I)
_VOWEL = re.compile(r"^(?:[aeio]|u(?!ni))", re.I)


def pick(rng: np.random.Generator, options: Sequence[str], *words: str, **named: str) -> str:
    """One of `options`, evenly, its gaps filled with `words` where there are any."""
    chosen = options[int(rng.integers(len(options)))]
    return chosen.format(*words, **named) if words or named else chosen


def with_article(words: str) -> str:
    """*a* or *an* before `words`.

    >>> with_article("owl"), with_article("red owl")
    ('an owl', 'a red owl')
    """
    return ("an " if _VOWEL.match(words) else "a ") + words


def noun_word(thing: Object, rng: np.random.Generator, plural: bool | None = None) -> str:
    """The noun as people say it: the usual word four times of five, else a synonym."""
    entry = THINGS[thing.noun]
    many = thing.count > 1 if plural is None else plural
    if len(entry.names) > 1 and rng.random() < 0.2:
        word = pick(rng, entry.names[1:])
        return _plural(word) if many else word
    return entry.plural if many else entry.name


def _plural(word: str) -> str:
    if word.endswith("y") and word[-2] not in "aeiou":
        return word[:-1] + "ies"
    return word + ("es" if word.endswith(("s", "x", "ch")) else "s")


def is_or_are(many: bool) -> str:
    """The verb of one thing or of many."""
    return "are" if many else "is"


def object_phrase(thing: Object, rng: np.random.Generator, detail: float = 1.0) -> str:
    """*two small striped red dogs*; each attribute is said with probability `detail`."""
    words = []
    if thing.size and rng.random() < detail:
        words.append(pick(rng, PHRASES["size"][thing.size]))
    if thing.pattern and rng.random() < detail:
        words.append(pick(rng, PATTERNS[thing.pattern]))
    if thing.colour and rng.random() < detail:
        words.append(thing.colour)
    words.append(noun_word(thing, rng))
    text = " ".join(words)
    if thing.count == 1:
        return pick(rng, PHRASES["one of"], text) if rng.random() < 0.05 else with_article(text)
    if thing.count == 2 and rng.random() < 0.08:
        single = text.removesuffix(words[-1]) + noun_word(thing, rng, plural=False)
        return f"{with_article(single)} and a second one" if rng.random() < 0.5 else f"a second {single}"
    if thing.count >= 3 and rng.random() < 0.25:
        return f"a group of {text}"
    return f"{COUNTS[thing.count]} {text}"


def garment_phrase(thing: Object, rng: np.random.Generator, detail: float = 1.0) -> str:
    """*a long red striped dress with long sleeves*; each attribute is said with probability `detail`."""
    words = []
    if thing.length != "medium" and rng.random() < detail:
        words.append(thing.length)
    if thing.colour and rng.random() < detail:
        words.append(thing.colour)
    if thing.pattern and rng.random() < detail:
        words.insert(int(rng.integers(len(words) + 1)), pick(rng, PATTERNS[thing.pattern]))
    tail = ""
    if rng.random() < detail:
        tail = " " + pick(rng, _GARMENT["with sleeves"][thing.sleeves])
    return with_article(" ".join([*words, noun_word(thing, rng)])) + tail


def garment_facts(thing: Object, rng: np.random.Generator) -> list[str]:
    """Short true statements about a garment's colour, sleeves, pattern and length, as FashionIQ has them."""
    noun = noun_word(thing, rng)
    facts = [
        pick(rng, _GARMENT["colour"], colour=thing.colour, a_colour=with_article(thing.colour), noun=noun),
        pick(rng, _GARMENT["sleeves"][thing.sleeves]),
        pick(rng, _GARMENT["pattern"][thing.pattern or "none"]),
        pick(rng, _GARMENT["length"][thing.length]),
    ]
    if thing.colour in _GARMENT["shade"] and rng.random() < 0.4:
        facts[int(rng.integers(2)) * 3] = pick(rng, _GARMENT["shade"][thing.colour])
    return facts


def together(scene: Scene, rng: np.random.Generator, detail: float) -> str:
    """All things of the scene in one phrase, with how the first two stand."""
    said = [object_phrase(thing, rng, detail) for thing in scene.objects]
    if len(said) == 1:
        return said[0]
    text = pick(rng, PHRASES["together"][scene.relation or "beside"], *said[:2])
    return pick(rng, PHRASES["together"]["third"], text, said[2]) if len(said) == 3 else text


def _contrast(scene: Scene, rng: np.random.Generator, text: str) -> str:
    """`text` with a mention of something that is not in the picture."""
    shown = {thing.noun for thing in scene.objects}
    while (other := pick(rng, SCENE_NOUNS)) in shown:
        pass
    return pick(rng, PHRASES["contrast"], text=text, other=other, a_other=with_article(other))


def _located(scene: Scene, rng: np.random.Generator, text: str) -> str:
    """`text` with the place, as a phrase or as a clause of its own."""
    where, ground = pick(rng, WHERE[scene.place]), pick(rng, BACKGROUND[scene.place])
    be = is_or_are(scene.objects[0].count > 1 or len(scene.objects) > 1)
    return pick(rng, PHRASES["located"], text=text, where=where, ground=ground, be=be)


def caption(scene: Scene, rng: np.random.Generator, full: bool = False, relative: int = 100) -> str:
    """One caption, true of `scene`. A `full` one names everything that a scene describes;
    others leave things out, as people do. `relative` percent of the captions may use the turns of
    relative captions (a third of these do); the others are drawn until they have none (`TURNS`)."""
    plain = relative < 100 and 100 * rng.random() >= relative
    while TURNS.search(text := _caption(scene, rng, full)) and plain:
        pass
    return text


def _caption(scene: Scene, rng: np.random.Generator, full: bool) -> str:
    if scene.is_fashion:
        return _garment_caption(scene.objects[0], rng, full)
    if not full and rng.random() < 0.22:  # just one of the things
        thing = scene.objects[int(rng.integers(len(scene.objects)))]
        text = object_phrase(thing, rng, 0.4)
        return text if rng.random() < 0.5 else pick(rng, PHOTO_OF, text)
    text = together(scene, rng, 1.0 if full else 0.75)
    if not full and rng.random() < 0.09:
        text = _contrast(scene, rng, text)
    if full or rng.random() < 0.7:
        text = _located(scene, rng, text)
    if scene.light == "night" and (full or rng.random() < 0.7):
        text = pick(rng, PHRASES["with night"]).format(text, pick(rng, PHRASES["at night"]))
    return _framed(scene, rng, text, full)


def _framed(scene: Scene, rng: np.random.Generator, text: str, full: bool) -> str:
    """The style, or one of the ways to begin a caption of a photo."""
    if scene.style != "photo":
        return pick(rng, STYLE_OF[scene.style], text) if full or rng.random() < 0.8 else text
    turn = rng.random()
    if turn < 0.5:
        return text
    return pick(rng, PHOTO_OF if turn < 0.9 else PHRASES["beginning"], text)


def _garment_caption(thing: Object, rng: np.random.Generator, full: bool) -> str:
    if full or rng.random() < 0.5:
        text = garment_phrase(thing, rng, 1.0 if full else 0.7)
        return text if rng.random() < 0.5 else pick(rng, PHOTO_OF, text)
    facts = garment_facts(thing, rng)
    rng.shuffle(facts)
    said = facts[: int(rng.integers(1, 4))]
    text = with_article(noun_word(thing, rng)) + pick(rng, (" , ", " that ")) + " and ".join(said)
    return text if rng.random() < 0.4 else pick(rng, PHOTO_OF, text)
