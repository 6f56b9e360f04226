"""What people write under the pictures of the pocket world.

Captions are drawn from many turns of phrase: full or partial, with synonyms, counts,
places, styles, and the elliptic, contrasting and negating turns that relative captions
use too (*is on the beach*, *a cat instead of a dog*, *no tree*), each true of its picture.
"""

from __future__ import annotations

import re

import numpy as np

from .scenes import Object, Scene
from .vocabulary import BACKGROUND, COUNTS, PATTERNS, SCENE_NOUNS, SIZES, THINGS, WHERE

PHOTO_OF = ("a photo of {}", "a picture of {}", "an image of {}", "a photo showing {}")
STYLE_OF = {
    "black and white": (
        "a black and white photo of {}",
        "a black and white picture of {}",
        "{} in black and white",
    ),
    "sketch": (
        "a drawing of {}",
        "a sketch of {}",
        "a pencil drawing of {}",
        "{}, as a drawing",
        "a line drawing of {}",
    ),
}
BEGINNINGS = (
    *(
        "there is {}",
        "there is also {}",
        "shows {}",
        "show {}",
        "this is {}",
        "now with {}",
        "is {}",
        "has {}",
    ),
    *(
        "add {}",
        "make it {}",
        "the same photo with {}",
        "only {}",
        "the photo is of {}",
        "a photo of {} instead",
    ),
)
AT_NIGHT = ("at night", "by night", "in the dark", "at night time")
_VOWEL = re.compile(r"^(?:[aeio]|u(?!ni))", re.I)


def pick(rng: np.random.Generator, options) -> str:
    """One of `options`, evenly."""
    return str(options[int(rng.integers(len(options)))])


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


def object_phrase(
    thing: Object, rng: np.random.Generator, detail: float = 1.0, definite: bool = False
) -> str:
    """*two small striped red dogs*; each attribute is said with probability `detail`."""
    words = []
    if thing.size and rng.random() < detail:
        words.append(pick(rng, SIZES[thing.size]))
    if thing.pattern and rng.random() < detail:
        words.append(pick(rng, PATTERNS[thing.pattern]))
    if thing.colour and rng.random() < detail:
        words.append(thing.colour)
    words.append(noun_word(thing, rng))
    text = " ".join(words)
    if definite:
        return "the " + text
    if thing.count == 1:
        return (
            pick(rng, ("a single {}", "one {}")).format(text) if rng.random() < 0.05 else with_article(text)
        )
    if thing.count == 2 and rng.random() < 0.08:
        one = text.removesuffix(words[-1]) + noun_word(thing, rng, plural=False)
        return f"{with_article(one)} and a second one" if rng.random() < 0.5 else f"a second {one}"
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
        tail = " " + pick(rng, SLEEVES_WITH[thing.sleeves])
    return with_article(" ".join([*words, noun_word(thing, rng)])) + tail


SLEEVES_WITH = {
    "none": ("without sleeves", "with no sleeves", "that is sleeveless"),
    "short": ("with short sleeves", "that has short sleeves", "with shorter sleeves"),
    "long": ("with long sleeves", "that has long sleeves", "with longer sleeves"),
}
SLEEVES_HAS = {
    "none": ("has no sleeves", "is sleeveless"),
    "short": ("has short sleeves", "is short sleeved", "has shorter sleeves"),
    "long": ("has long sleeves", "is long sleeved", "has longer sleeves"),
}
LENGTH_IS = {
    "short": ("is short", "is shorter"),
    "medium": ("has a medium length", "is knee length"),
    "long": ("is long", "is longer"),
}
SHADE_IS = {
    **dict.fromkeys(("black", "brown", "purple", "blue"), ("is dark", "is darker", "is dark in color")),
    **dict.fromkeys(("white", "yellow", "pink"), ("is light", "is lighter", "is light in color")),
}
PATTERN_IS = {
    "stripes": ("is striped", "has stripes"),
    "dots": ("has dots", "is dotted", "is spotted"),
    "checks": ("is checked", "has checks", "is checkered"),
    None: ("is plain", "has no pattern", "is solid colored"),
}


def garment_facts(thing: Object, rng: np.random.Generator) -> list[str]:
    """Short true statements about a garment, in the manner of FashionIQ's captions."""
    facts = [
        pick(
            rng,
            (
                f"is {thing.colour}",
                f"is {thing.colour} in color",
                f"is a {thing.colour} {noun_word(thing, rng)}",
            ),
        ),
        pick(rng, SLEEVES_HAS[thing.sleeves]),
        pick(rng, PATTERN_IS[thing.pattern]),
        pick(rng, LENGTH_IS[thing.length]),
    ]
    if thing.colour in SHADE_IS and rng.random() < 0.4:
        facts[int(rng.integers(2)) * 3] = pick(rng, SHADE_IS[thing.colour])
    return [fact.replace("is a orange", "is an orange") for fact in facts]


def _together(scene: Scene, rng: np.random.Generator, detail: float) -> str:
    """All things of the scene in one phrase, with how the first two stand."""
    said = [object_phrase(o, rng, detail) for o in scene.objects]
    if len(said) == 1:
        return said[0]
    one, two = said[0], said[1]
    if scene.relation == "behind":
        text = pick(rng, (f"{one} behind {two}", f"{two} in front of {one}"))
    elif scene.relation == "on":
        text = pick(rng, (f"{one} on {two}", f"{one} on top of {two}"))
    else:
        text = pick(
            rng, (f"{one} and {two}", f"{two} and {one}", f"{one} with {two}", f"{two} next to {one}")
        )
    if len(said) == 3:
        text = pick(rng, (f"{text} and {said[2]}", f"{said[2]} and {text}", f"{text}, with {said[2]}"))
    return text


def _absent(scene: Scene, rng: np.random.Generator) -> str:
    """The usual word of something the scene does not show."""
    shown = {o.noun for o in scene.objects}
    while (noun := pick(rng, SCENE_NOUNS)) in shown:
        pass
    return noun


def _contrast(scene: Scene, rng: np.random.Generator, text: str) -> str:
    """`text` with a mention of something that is not in the picture."""
    other = _absent(scene, rng)
    article = with_article(other)
    turns = (
        *(f"{text} instead of {article}", f"{text}, not {article}", f"{text} and no {other}"),
        *(f"not {article} but {text}", f"{text} without {article}", f"the {other} is replaced with {text}"),
        *(
            f"{text} in place of the {other}",
            f"replace the {other} with {text}",
            f"change the {other} to {text}",
        ),
    )
    return pick(rng, turns)


def _located(scene: Scene, rng: np.random.Generator, text: str) -> str:
    """`text` with the place, as a phrase or as a clause of its own."""
    where, ground = pick(rng, WHERE[scene.place]), pick(rng, BACKGROUND[scene.place])
    be = "are" if scene.objects[0].count > 1 or len(scene.objects) > 1 else "is"
    turns = (
        *(
            f"{text} {where}",
            f"{text} {where}",
            f"{text} {where}",
            f"{text}, {where}",
            f"{text} , {be} {where}",
        ),
        *(
            f"{text} {be} {where}",
            f"{text} with {ground} in the background",
            f"{text}, the background is {ground}",
        ),
        *(
            f"{where}, {text}",
            f"{text} in front of {ground}",
            f"{text} , {be} {where} instead",
            f"{ground} with {text}",
        ),
    )
    return pick(rng, turns)


def caption(scene: Scene, rng: np.random.Generator, full: bool = False) -> str:
    """One caption, true of `scene`. A `full` one names everything that a scene describes;
    others leave things out, as people do."""
    if scene.is_fashion:
        return _garment_caption(scene.objects[0], rng, full)
    plain = not full and rng.random() < 0.22
    if plain:  # just one of the things
        thing = scene.objects[int(rng.integers(len(scene.objects)))]
        text = object_phrase(thing, rng, 0.4)
        return text if rng.random() < 0.5 else pick(rng, PHOTO_OF).format(text)
    text = _together(scene, rng, 1.0 if full else 0.75)
    if not full and rng.random() < 0.09:
        text = _contrast(scene, rng, text)
    if full or rng.random() < 0.7:
        text = _located(scene, rng, text)
    if scene.light == "night" and (full or rng.random() < 0.7):
        text = pick(rng, ("{}, {}", "{} {}", "{} , it is {}")).format(text, pick(rng, AT_NIGHT))
    return _framed(scene, rng, text, full)


def _framed(scene: Scene, rng: np.random.Generator, text: str, full: bool) -> str:
    """The style, or one of the ways to begin a caption of a photo."""
    if scene.style != "photo":
        return pick(rng, STYLE_OF[scene.style]).format(text) if full or rng.random() < 0.8 else text
    turn = rng.random()
    if turn < 0.5:
        return text
    if turn < 0.9:
        return pick(rng, PHOTO_OF).format(text)
    return pick(rng, BEGINNINGS).format(text)


def _garment_caption(thing: Object, rng: np.random.Generator, full: bool) -> str:
    if full or rng.random() < 0.5:
        text = garment_phrase(thing, rng, 1.0 if full else 0.7)
        return text if rng.random() < 0.5 else pick(rng, PHOTO_OF).format(text)
    facts = garment_facts(thing, rng)
    rng.shuffle(facts)
    said = facts[: int(rng.integers(1, 4))]
    text = with_article(noun_word(thing, rng)) + pick(rng, (" , ", " that ")) + " and ".join(said)
    return text if rng.random() < 0.4 else pick(rng, PHOTO_OF).format(text)
