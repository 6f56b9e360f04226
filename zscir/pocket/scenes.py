"""Scenes of the pocket world: what is in a picture, and the picture itself.

A `Scene` is a plain description (place, light, style, objects, how the first two are
arranged) plus the seed of its drawing. The same scene is always the same pixels.
"""

import dataclasses
import json
import zlib
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from PIL import Image

from . import drawing
from .vocabulary import COLOURS, LENGTHS, OUTDOORS, PATTERNS, PLACES, SCENE_NOUNS, SLEEVES, STYLES, THINGS

#: Pixels of a scene's side.
PIXELS = 128
#: Share of garment pictures among the training scenes.
FASHION_SHARE = 0.12
#: Drawings of each place.
BACKGROUNDS = 24
_Box = tuple[int, Image.Image, int, int]
_PAPER = np.array([250, 247, 240], dtype=np.float32)
_NIGHT = np.array([0.28, 0.33, 0.55], dtype=np.float32)
_NIGHT_THING = (0.62, 0.66, 0.86, 1.0)  # red, green, blue, alpha


@dataclass(frozen=True)
class Object:
    """One kind of thing in a scene: `count` of them, alike. `length` and `sleeves` are for garments."""

    noun: str
    colour: str | None = None
    pattern: str | None = None
    size: str | None = None
    count: int = 1
    length: str | None = None
    sleeves: str | None = None


@dataclass(frozen=True)
class Scene:
    """What a picture shows. `relation` tells how the first object stands to the second:
    *beside* it, *behind* it or *on* it (None when there is one kind of thing only)."""

    place: str
    objects: tuple[Object, ...] = ()
    style: str = "photo"
    light: str = "day"
    relation: str | None = None
    seed: int = 0

    def to_json(self) -> str:
        """The description as JSON; object k (from 1) has the value k in the scene's label map."""
        data = dataclasses.asdict(self)
        for label, thing in enumerate(data["objects"], start=1):
            thing["label"] = label
        return json.dumps(data)

    @classmethod
    def from_json(cls, text: str) -> "Scene":
        """The scene whose `to_json` gave `text`."""
        data = json.loads(text)
        things = [{k: v for k, v in thing.items() if k != "label"} for thing in data.pop("objects")]
        return cls(objects=tuple(Object(**thing) for thing in things), **data)

    @property
    def is_fashion(self) -> bool:
        """Whether the scene is one garment before a plain backdrop."""
        return len(self.objects) == 1 and THINGS[self.objects[0].noun].kind == "garment"


def sample_object(rng: np.random.Generator, noun: str | None = None) -> Object:
    """A thing as the world has them: a third coloured, a tenth patterned, a fifth of a marked size."""
    return Object(
        noun=noun or str(rng.choice(SCENE_NOUNS)),
        colour=str(rng.choice(list(COLOURS))) if rng.random() < 0.35 else None,
        pattern=str(rng.choice(list(PATTERNS))) if rng.random() < 0.10 else None,
        size=str(rng.choice(["small", "large"])) if rng.random() < 0.2 else None,
        count=int(rng.choice([1, 2, 3], p=[0.84, 0.11, 0.05])),
    )


def held_out(noun: str, place: str) -> bool:
    """Whether no training picture shows `noun` at `place`: true for a quarter of all combinations.

    The pictures that benchmark queries look for show such combinations only.
    """
    return zlib.crc32(f"{noun}|{place}".encode()) % 4 == 0


def sample_scene(rng: np.random.Generator) -> Scene:
    """A training scene: one to three kinds of things (at most four things) at a place
    where none of them is `held_out`."""
    kinds = int(rng.choice([1, 2, 3], p=[0.38, 0.44, 0.18]))
    nouns = rng.choice(SCENE_NOUNS, size=kinds, replace=False)
    objects: list[Object] = []
    for noun in nouns:
        thing = sample_object(rng, str(noun))
        room = 4 - sum(o.count for o in objects) - (kinds - len(objects) - 1)
        objects.append(dataclasses.replace(thing, count=min(thing.count, room)))
    places = [p for p in PLACES if not any(held_out(o.noun, p) for o in objects)]
    if not places:
        return sample_scene(rng)
    place = str(rng.choice(places))
    light = "night" if place in OUTDOORS and rng.random() < 0.15 else "day"
    style = str(rng.choice(STYLES, p=[0.76, 0.12, 0.12]))
    light = light if style == "photo" else "day"
    seed = int(rng.integers(2**31))
    return Scene(place, tuple(objects), style, light, sample_relation(rng, tuple(objects)), seed)


def sample_relation(rng: np.random.Generator, objects: tuple[Object, ...]) -> str | None:
    """How the first two kinds of things stand: mostly beside, sometimes behind or (where it can hold) on."""
    if len(objects) < 2:
        return None
    if objects[0].count == objects[1].count == 1 and rng.random() < 0.3:
        return "on" if THINGS[objects[1].noun].supports else "behind"
    return "beside"


def held_out_garment(thing: Object) -> bool:
    """Whether no training picture shows a garment of just this look: true for a quarter of all looks."""
    look = (thing.noun, thing.colour, thing.pattern, thing.length, thing.sleeves)
    return zlib.crc32(repr(look).encode()) % 4 == 0


def sample_garment(rng: np.random.Generator, noun: str | None = None) -> Scene:
    """A training picture of one garment with a colour, a length, sleeves and often a pattern."""
    thing = Object(
        noun=noun or str(rng.choice([n for n, t in THINGS.items() if t.kind == "garment"])),
        colour=str(rng.choice(list(COLOURS))),
        pattern=str(rng.choice(list(PATTERNS))) if rng.random() < 0.5 else None,
        length=str(rng.choice(LENGTHS)),
        sleeves=str(rng.choice(SLEEVES)),
    )
    if held_out_garment(thing):
        return sample_garment(rng, noun)
    return Scene("studio", (thing,), seed=int(rng.integers(2**31)))


def training_scene(index: int, seed: int, stream: int) -> Scene:
    """The scene of number `index` of a stream: of image–caption pairs, of pretraining, or held out of it."""
    rng = np.random.default_rng([stream, seed, index])
    return sample_garment(rng) if rng.random() < FASHION_SHARE else sample_scene(rng)


@lru_cache(maxsize=1024)
def _background(place: str, variant: int, size: int) -> np.ndarray:
    picture = drawing.render_svg(drawing.background_svg(place, variant), size)
    return np.asarray(picture.convert("RGB"))


def _boxes(scene: Scene, rng: np.random.Generator, size: int) -> list[_Box]:
    """Label, sprite, left and top of every thing, in drawing order (far ones first)."""
    things = [(label, o) for label, o in enumerate(scene.objects, start=1) for _ in range(o.count)]
    side = size * {1: 0.58, 2: 0.47, 3: 0.37, 4: 0.30}[len(things)]
    slots = (np.arange(len(things)) + 0.5) / len(things)
    order = {label: k for k, label in enumerate(rng.permutation(len(scene.objects)) + 1)}
    things.sort(key=lambda item: order[item[0]])
    placed = []
    for x, (label, thing) in zip(slots, things, strict=True):
        scale = {"small": 0.66, None: 1.0, "large": 1.4}[thing.size] * rng.uniform(0.92, 1.1)
        picture = drawing.sprite(thing.noun, thing.colour, thing.pattern, scene.style == "sketch")
        if rng.random() < 0.5:
            picture = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        factor = scale * side / np.sqrt(picture.width * picture.height)
        factor = min(factor, 0.9 * size / max(picture.size))
        picture = picture.resize([max(4, round(v * factor)) for v in picture.size], Image.Resampling.BICUBIC)
        floating = scene.place in ("space", "underwater", "night sky")
        bottom = size * (rng.uniform(0.55, 0.95) if floating else rng.uniform(0.80, 0.95))
        left = size * (x + rng.uniform(-0.05, 0.05)) - picture.width / 2
        placed.append([label, picture, left, bottom - picture.height])
    _arrange(scene.relation, placed, size)
    boxes = [
        (label, p, _inside(left, size - p.width), _inside(top, size - p.height))
        for label, p, left, top in placed
    ]
    return sorted(boxes, key=lambda b: (b[3] + b[1].height, b[0])) if scene.relation != "on" else boxes


def _inside(place: float, most: int) -> int:
    """The nearest pixel from 0 to `most`."""
    return round(min(max(place, 0), max(most, 0)))


def _arrange(relation: str | None, placed: list, size: int) -> None:
    """Move the first thing behind or onto the second, in place."""
    if relation not in ("behind", "on"):
        return
    first, second = (next(p for p in placed if p[0] == label) for label in (1, 2))
    if relation == "behind":
        side = 1 if first[2] > second[2] else -1
        first[2] = second[2] + side * 0.42 * second[1].width + 0.5 * (second[1].width - first[1].width)
        first[3] = second[3] + second[1].height - first[1].height - 0.10 * size
    else:
        second[3] = 0.96 * size - second[1].height
        first[2] = second[2] + 0.5 * (second[1].width - first[1].width)
        first[3] = max(0.0, second[3] + 0.22 * second[1].height - first[1].height)
        placed.sort(key=lambda p: p[0] == 1)


def _garment_box(scene: Scene, rng: np.random.Generator, size: int) -> list[_Box]:
    thing = scene.objects[0]
    svg = drawing.thing_svg(thing.noun, thing.colour, thing.pattern, False, thing.length, thing.sleeves)
    side = round(size * rng.uniform(0.86, 0.96))
    left, top = (round(rng.uniform(0, size - side)) for _ in range(2))
    return [(1, drawing.render_svg(svg, side), left, top)]


def render(scene: Scene, size: int = PIXELS) -> tuple[Image.Image, np.ndarray]:
    """Draw a scene.

    Returns the RGB picture (`size` pixels square) and its label map: uint8 [size, size],
    0 for background, k where the k-th object of the scene is seen.
    """
    rng = np.random.default_rng(scene.seed)
    canvas = _background(scene.place, int(rng.integers(BACKGROUNDS)), size).astype(np.float32)
    if rng.random() < 0.5:
        canvas = canvas[:, ::-1]
    if scene.style == "sketch":
        canvas = _PAPER - 0.42 * (255 - canvas.mean(axis=2, keepdims=True))
    if scene.light == "night":
        canvas = canvas * _NIGHT
    labels = np.zeros((size, size), dtype=np.uint8)
    picture = Image.fromarray(np.clip(canvas, 0, 255).astype(np.uint8))
    boxes = _garment_box(scene, rng, size) if scene.is_fashion else _boxes(scene, rng, size)
    for label, thing, left, top in boxes:
        if scene.light == "night":
            bands = zip(thing.split(), _NIGHT_THING, strict=True)
            thing = Image.merge("RGBA", [band.point(lambda v, f=f: round(v * f)) for band, f in bands])
        picture.paste(thing, (left, top), thing)
        seen = np.asarray(thing.getchannel("A")) > 127
        region = labels[top : top + thing.height, left : left + thing.width]
        region[seen[: region.shape[0], : region.shape[1]]] = label
    if scene.style == "black and white":
        picture = picture.convert("L").convert("RGB")
    return picture, labels
