"""More benchmarks of the pocket world in their official layouts: GeneCIS, COCO composition, ImageNet-R.

`make_beyond` writes them once, apart from the world of `zscir.pocket.layouts`, and finds them again; the
readers of `zscir.benchmarks` then treat them as they treat the real ones.
"""

import itertools
import shutil
from pathlib import Path

import numpy as np
from PIL import Image

from zscir.storage import artifact
from zscir.storage.checks import chosen

from .layouts import LICENCE, SIZES, save_picture, source_fingerprint, write_json
from .scenes import Object, Scene, render, sample_object
from .vocabulary import COLOURS, PLACES, SCENE_NOUNS

DISTRACTORS = 9
STREAM = 205
#: Style of a scene -> the words that ask for it.
DOMAIN_WORDS = {"black and white": "black and white picture", "sketch": "sketch"}
_REAL = 3  # photos of a noun that are asked with
_EACH = 4  # pictures of a noun in each style, photos among them
_LEAST_AREA = 0.02


def make_beyond(size: str = "small", seed: int = 0, root: Path | None = None) -> Path:
    """Folder with ``genecis``, ``composition`` and ``domains`` of a world size, drawn if it does not exist.

    Raises:
        ValueError: another size.
    """
    chosen("size", size, SIZES)
    key = {"size": size, "seed": seed, "numbers": SIZES[size], "source": source_fingerprint()}

    def build(folder: Path) -> None:
        writers = {"genecis": _write_genecis, "composition": _write_composition, "domains": _write_domains}
        for number, (name, write) in enumerate(writers.items()):
            write(folder / name, SIZES[size][name], np.random.default_rng([STREAM, seed, number]))
        shutil.copyfile(LICENCE, folder / LICENCE.name)

    return artifact("pocket-beyond", key, build, root)


def _scene(rng: np.random.Generator, place: str, *objects: Object, style: str = "photo") -> Scene:
    relation = "beside" if len(objects) > 1 else None
    return Scene(place, objects, style, relation=relation, seed=int(rng.integers(2**31)))


def _some(rng: np.random.Generator, names: object, count: int) -> list[str]:
    """Different names, drawn by chance."""
    return [str(name) for name in rng.choice(list(names), count, replace=False)]


def _box(labels: np.ndarray, label: int) -> tuple[int, int, int, int] | None:
    """Left, top, right, bottom of a label; None where hardly anything of it is seen."""
    rows, columns = np.nonzero(labels == label)
    if len(rows) < _LEAST_AREA * labels.size:
        return None
    return int(columns.min()), int(rows.min()), int(columns.max()) + 1, int(rows.max()) + 1


def _write_genecis(root: Path, count: int, rng: np.random.Generator) -> None:
    numbers = itertools.count(1)

    def draw(scene: Scene, boxed: bool) -> dict:
        """Draw a COCO image, or one of Visual Genome with the box of its first thing; its template entry."""
        (picture, labels), number = render(scene), next(numbers)
        if not boxed:
            save_picture(picture, root / "val2017" / f"{number:012d}.jpg")
            return {"val_image_id": number}
        save_picture(picture, root / "VG_100K_all" / f"{number}.jpg")
        left, top, right, bottom = _box(labels, 1) or (0, 0, *picture.size)
        return {"image_id": number, "instance_bbox": [left, top, right - left, bottom - top]}

    for maker in (_focus_attribute, _change_attribute, _focus_object, _change_object):
        task, entries = maker.__name__.removeprefix("_"), []
        for _ in range(count):
            condition, reference, target, others = maker(rng)
            pictures = [draw(scene, task.endswith("attribute")) for scene in (reference, target, *others)]
            entry = {"reference": pictures[0], "target": pictures[1], "condition": condition}
            entries.append(entry | {"gallery": pictures[2:]})
        write_json(root / "genecis" / f"{task}.json", entries)


def _focus_attribute(rng: np.random.Generator) -> tuple[str, Scene, Scene, list[Scene]]:
    """The same colour on another thing; distractors are the same thing, or others, in other colours."""
    noun, *nouns = _some(rng, SCENE_NOUNS, 6)
    colour, *colours = _some(rng, COLOURS, 6)
    place, elsewhere = _some(rng, PLACES, 2)
    wrong = [(noun if k % 2 else nouns[1 + k % 5 % 4], colours[k % 5]) for k in range(DISTRACTORS)]
    others = [_scene(rng, elsewhere, Object(n, c)) for n, c in wrong]
    target = _scene(rng, elsewhere, Object(nouns[0], colour))
    return "color", _scene(rng, place, Object(noun, colour)), target, others


def _change_attribute(rng: np.random.Generator) -> tuple[str, Scene, Scene, list[Scene]]:
    """The same thing in another colour; distractors have the thing or the colour, never both."""
    noun, *nouns = _some(rng, SCENE_NOUNS, 5)
    before, after, *colours = _some(rng, COLOURS, 6)
    place, elsewhere = _some(rng, PLACES, 2)
    wrong = [(noun, colours[k % 4]) if k % 2 else (nouns[k // 2 % 4], after) for k in range(DISTRACTORS)]
    others = [_scene(rng, elsewhere, Object(n, c)) for n, c in wrong]
    reference = _scene(rng, place, Object(noun, before))
    return after, reference, _scene(rng, elsewhere, Object(noun, after)), others


def _focus_object(rng: np.random.Generator) -> tuple[str, Scene, Scene, list[Scene]]:
    """Another picture with the named one of two things; distractors have the other, or neither."""
    named, other, *nouns = _some(rng, SCENE_NOUNS, 6)
    place, *places = _some(rng, PLACES, 4)
    wrong = [other if k % 2 else nouns[k // 2 % 4] for k in range(DISTRACTORS)]
    others = [_scene(rng, places[k % 3], Object(n)) for k, n in enumerate(wrong)]
    reference = _scene(rng, place, Object(named), Object(other))
    return named, reference, _scene(rng, places[0], Object(named)), others


def _change_object(rng: np.random.Generator) -> tuple[str, Scene, Scene, list[Scene]]:
    """The same place with the named thing; distractors have the place or the thing, never both."""
    before, after, *nouns = _some(rng, SCENE_NOUNS, 6)
    place, *places = _some(rng, PLACES, 5)
    wrong = [(place, nouns[k // 2 % 4]) if k % 2 else (places[k // 2 % 4], after) for k in range(DISTRACTORS)]
    others = [_scene(rng, where, Object(n)) for where, n in wrong]
    return after, _scene(rng, place, Object(before)), _scene(rng, place, Object(after)), others


def _write_composition(root: Path, count: int, rng: np.random.Generator) -> None:
    lines = ["id,query_regions,query_class,classes"]
    while len(lines) <= count:
        nouns = _some(rng, SCENE_NOUNS, int(rng.integers(2, 4)))
        things = [Object(noun, sample_object(rng, noun).colour) for noun in nouns]
        picture, labels = render(_scene(rng, _some(rng, PLACES, 1)[0], *things))
        box = _box(labels, 1)
        if box is None:
            continue  # hidden behind the others: drawn again, the list is full all the same
        name = f"{len(lines):012d}.jpg"
        masked = np.where((labels == 1)[..., None], np.asarray(picture), np.uint8(255))
        save_picture(picture, root / "val2017" / name)
        save_picture(Image.fromarray(masked), root / "val2017_masked" / name)
        lines.append(f"{name},{';'.join(map(str, box))},{nouns[0]},{';'.join(nouns[1:])}")
    (root / "coco_eval.csv").write_text("\n".join(lines) + "\n", "utf-8")


def _write_domains(root: Path, count: int, rng: np.random.Generator) -> None:
    real, targets = [], []
    for label, noun in enumerate(_some(rng, SCENE_NOUNS, count)):

        def draw(kind: str, number: int, style: str, noun: str = noun) -> str:
            thing = Object(noun, sample_object(rng, noun).colour if style == "photo" else None)
            name = f"imgnet/{kind}/{noun.replace(' ', '_')}/{number}.jpg"
            save_picture(render(_scene(rng, _some(rng, PLACES, 1)[0], thing, style=style))[0], root / name)
            return name

        real += [f"{draw('real', number, 'photo')} {label}" for number in range(_REAL)]
        for place, style in enumerate([*DOMAIN_WORDS, "photo"]):
            kind = style.replace(" ", "_") if style != "photo" else "other"
            targets += [f"{draw(kind, n, style)} {label + 1000 * place}" for n in range(_EACH)]
    for name, lines in (("imgnet_real_query.txt", real), ("imgnet_targets.txt", targets)):
        (root / "imgnet" / name).write_text("\n".join(lines) + "\n", "utf-8")
    (root / "imgnet" / "domains.txt").write_text("\n".join(DOMAIN_WORDS.values()) + "\n", "utf-8")
