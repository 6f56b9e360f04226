"""GeneCIS (Vaze et al., CVPR 2023): similarity under a condition, each query among candidates of its own.

Files, as the facebookresearch/genecis repository publishes them: ``genecis/{task}.json`` (or the same under
the root), a list of templates with ``reference``, ``target``, ``gallery`` (the distractors) and
``condition``. The object tasks name images of COCO's val2017 by ``val_image_id``
(``val2017/000000000139.jpg``); the attribute tasks name boxes in Visual Genome by ``image_id`` and
``instance_bbox`` (``VG_100K_all/2370799.jpg``, also ``VG_100K`` and ``VG_100K_2``), which are widened by
0.7 of their sides and padded to a square.

A query ranks its candidates only, which are its `Query.subset`, and Recall@k counts within them. In the files
the target stands apart from the distractors, so code that puts it first lets a model with equal scores look
perfect. Here candidates and gallery are shuffled (a fixed seed), and equal scores are decided by that order.
"""

import random
from pathlib import Path

from zscir.benchmarks.base import Contents, Query, Reader
from zscir.benchmarks.files import CAPTION, INTEGER, Problems, non_empty_files, read_entries
from zscir.benchmarks.images import Region
from zscir.storage.checks import Rule
from zscir.storage.checks import number as number_rule

TASKS = ("focus_attribute", "change_attribute", "focus_object", "change_object")
#: task -> published number of templates
PUBLISHED = {"focus_attribute": 2000, "change_attribute": 2112, "focus_object": 1960, "change_object": 1960}
DILATION = 0.7
_SEED = 2023
_NUMBER = number_rule("finite numbers", lambda value: True)


def _is_box(value: object) -> bool:
    numbers = isinstance(value, list) and all(map(_NUMBER.test, value))
    return numbers and len(value) == 4 and min(value[2:]) > 0


def _rules(boxes: bool) -> dict[str, Rule]:
    words = "an 'image_id' with an 'instance_bbox' of four numbers" if boxes else "a 'val_image_id'"
    key = "image_id" if boxes else "val_image_id"

    def test(value: object) -> bool:
        named = isinstance(value, dict) and INTEGER.test(value.get(key))
        return named and (not boxes or _is_box(value.get("instance_bbox")))

    image = Rule(words, test)
    images = Rule(f"a list of {words}", lambda v: isinstance(v, list) and bool(v) and all(map(test, v)))
    return {"reference": image, "target": image, "gallery": images, "condition": CAPTION}


def _image_id(entry: dict) -> str:
    """Name of an image of an entry: of a box its file and its corners."""
    if "val_image_id" in entry:
        return f"{entry['val_image_id']:012d}"
    return f"{entry['image_id']}:" + ",".join(f"{number:g}" for number in entry["instance_bbox"])


def _folders(root: Path, names: tuple[str, ...]) -> dict[str, Path]:
    """File name -> the folder that holds it, over the folders in which such images are kept."""
    bases = (root, root / "coco", root / "visual_genome", root / "genecis")
    return {file: base / name for base in bases for name in names for file in non_empty_files(base / name)}


def _read(root: Path, split: str, options: dict[str, str], problems: Problems) -> Contents:
    task = options["task"]
    boxes = task.endswith("attribute")
    places = [root / "genecis" / f"{task}.json", root / f"{task}.json"]
    file = next((path for path in places if path.is_file()), places[0])
    entries = read_entries(file, _rules(boxes), problems)
    rng = random.Random(_SEED)
    names = ("VG_100K_all", "VG_100K", "VG_100K_2") if boxes else ("val2017",)
    folders, paths, regions, queries = _folders(root, names), {}, {}, []
    for number, entry in enumerate(entries):
        listed = (entry["reference"], entry["target"], *entry["gallery"])
        reference, target, *others = ids = [_image_id(image) for image in listed]
        for name, image in zip(ids, listed, strict=True):
            file_name = f"{image['image_id'] if boxes else name}.jpg"
            paths[name] = folders.get(file_name, root / names[0]) / file_name
            if boxes:
                regions[name] = Region(tuple(image["instance_bbox"]), DILATION, square=True)
        candidates = list(dict.fromkeys([target, *others]))
        rng.shuffle(candidates)
        answer = {"targets": (target,), "subset": tuple(candidates), "group": task}
        queries.append(Query(f"{task}-{number}", reference, (entry["condition"],), **answer))
    gallery = list(dict.fromkeys(name for query in queries for name in query.subset))
    rng.shuffle(gallery)
    protocol = {"gallery": "the query's own candidates, shuffled", "captions": "condition alone"}
    return Contents(queries, gallery, paths, protocol, regions)


READER = Reader(
    splits=("val",),
    options={"task": TASKS},
    metrics=("recall@1", "recall@2", "recall@3"),
    read=_read,
    published=lambda split, options: (PUBLISHED[options["task"]], None),
    ranked="subset",
    prompt="searle",
)
