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

from __future__ import annotations

import random
from pathlib import Path

from zscir.benchmarks.base import Benchmark, Query, Reader
from zscir.benchmarks.files import INTEGER, NAME, Field, Problems, checked_entries, non_empty_files, read_json
from zscir.benchmarks.images import Region

TASKS = ("focus_attribute", "change_attribute", "focus_object", "change_object")
METRICS = ("recall@1", "recall@2", "recall@3")
#: task -> published number of templates
PUBLISHED = {"focus_attribute": 2000, "change_attribute": 2112, "focus_object": 1960, "change_object": 1960}
DILATION = 0.7
_SEED = 2023


def _is_box(value: object) -> bool:
    if not isinstance(value, dict) or not INTEGER.accepts(value.get("image_id")):
        return False
    box = value.get("instance_bbox")
    numbers = isinstance(box, list) and len(box) == 4 and all(isinstance(n, (int, float)) for n in box)
    return numbers and box[2] > 0 and box[3] > 0


def _is_picture(value: object) -> bool:
    return isinstance(value, dict) and INTEGER.accepts(value.get("val_image_id"))


def _rules(attribute: bool) -> dict[str, Field]:
    test = _is_box if attribute else _is_picture
    words = "an 'image_id' with an 'instance_bbox' of four numbers" if attribute else "a 'val_image_id'"
    one = Field(test, words)
    many = Field(lambda v: isinstance(v, list) and bool(v) and all(map(test, v)), f"a list of {words}")
    return {"reference": one, "target": one, "gallery": many, "condition": NAME}


def _image_id(entry: dict, attribute: bool) -> str:
    if not attribute:
        return f"{entry['val_image_id']:012d}"
    return f"{entry['image_id']}:" + ",".join(f"{number:g}" for number in entry["instance_bbox"])


def _folders(root: Path, attribute: bool) -> dict[str, Path]:
    """File name -> the folder that holds it, over the folders in which such images are kept."""
    names = ("VG_100K_all", "VG_100K", "VG_100K_2") if attribute else ("val2017",)
    bases = (root, root / "coco", root / "visual_genome", root / "genecis")
    return {file: base / name for base in bases for name in names for file in non_empty_files(base / name)}


def _read(root: Path, split: str, options: dict[str, str], problems: Problems) -> Benchmark:
    task = options["task"]
    attribute = task.endswith("attribute")
    places = [root / "genecis" / f"{task}.json", root / f"{task}.json"]
    file = next((path for path in places if path.is_file()), places[0])
    entries = checked_entries(read_json(file, problems, list), _rules(attribute), file.name, problems)
    rng = random.Random(_SEED)
    folders, default = _folders(root, attribute), root / ("VG_100K_all" if attribute else "val2017")
    paths, regions, queries, seen = {}, {}, [], []
    for number, entry in enumerate(entries):
        for one in (entry["reference"], entry["target"], *entry["gallery"]):
            name = _image_id(one, attribute)
            stem = str(one["image_id"]) if attribute else name
            paths[name] = folders.get(f"{stem}.jpg", default) / f"{stem}.jpg"
            if attribute:
                regions[name] = Region(tuple(one["instance_bbox"]), DILATION, square=True)
        query = _query(f"{task}-{number}", entry, attribute, rng)
        queries.append(query)
        seen += query.subset
    gallery = list(dict.fromkeys(seen))
    rng.shuffle(gallery)
    return Benchmark(
        name="genecis",
        split=split,
        queries=queries,
        gallery=gallery,
        paths=paths,
        exclude_reference=False,
        metrics=METRICS,
        protocol={"gallery": "the query's own candidates, shuffled", "captions": "condition alone"},
        regions=regions,
        ranked="subset",
        prompt="searle",
    )


def _query(name: str, entry: dict, attribute: bool, rng: random.Random) -> Query:
    target = _image_id(entry["target"], attribute)
    candidates = list(dict.fromkeys([target, *(_image_id(one, attribute) for one in entry["gallery"])]))
    rng.shuffle(candidates)
    return Query(
        id=name,
        reference=_image_id(entry["reference"], attribute),
        text=(entry["condition"],),
        targets=(target,),
        subset=tuple(candidates),
        group=name.rpartition("-")[0],
    )


READER = Reader(
    splits=("val",),
    options={"task": TASKS},
    read=_read,
    published=lambda split, options: (PUBLISHED[options["task"]], None),
)
