"""Tiny benchmark roots in the official layouts, for tests; and the way to the real annotations."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

_REPO = Path(__file__).resolve().parents[1]


def shared_data(folder: str) -> Path:
    """The real annotations, or skip: they are not part of the repository."""
    places = [os.environ.get("ZSCIR_SHARED_DATA"), _REPO.parent / "shared" / "data"]
    for place in places:
        if place and (Path(place) / folder).is_dir():
            return Path(place) / folder
    pytest.skip(f"no real annotations: set ZSCIR_SHARED_DATA to a folder that holds {folder}/")


def write_json(path: Path, content) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def write_image(path: Path, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, size=(40, 48, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


def cirr_entries(split: str = "val", sets: int = 2) -> list[dict]:
    """Two queries a set of six images, as in cap.rc2.{split}.json."""
    prefix = "dev" if split == "val" else split
    entries = []
    for number in range(sets):
        members = [f"{prefix}-{number}-{k}-img0" for k in range(6)]
        for reference, target in ((0, 1), (2, 5)):
            entry = {
                "pairid": 100 + len(entries),
                "reference": members[reference],
                "caption": f"change number {len(entries)}",
                "img_set": {"id": 7 + number, "members": members, "reference_rank": 0},
            }
            if split == "val":
                entry |= {"target_hard": members[target], "target_soft": {members[target]: 1.0}}
            entries.append(entry)
    return entries


def write_cirr(
    root: Path, split: str = "val", annotations: str = "cirr", images: str = "", entries: list | None = None
) -> Path:
    """A CIRR root: annotations in one subfolder, images under another."""
    entries = cirr_entries(split) if entries is None else entries
    folder = "dev" if split == "val" else split
    names = list(dict.fromkeys(name for entry in entries for name in entry["img_set"]["members"]))
    paths = {name: f"./{folder}/{name}.png" for name in names}
    write_json(root / annotations / "captions" / f"cap.rc2.{split}.json", entries)
    write_json(root / annotations / "image_splits" / f"split.rc2.{split}.json", paths)
    for seed, path in enumerate(paths.values()):
        write_image(root / images / path, seed)
    return root


def write_fashioniq(root: Path, category: str = "dress", suffixes: tuple = (".png", ".jpg")) -> Path:
    """Five images, of which one is neither candidate nor target; three queries."""
    names = [f"{category}B{number}" for number in range(5)]
    pairs = [(0, 1), (1, 2), (4, 0)]
    entries = [
        {"candidate": names[c], "target": names[t], "captions": [f"is shade {c}. ", f"has {t} sleeves"]}
        for c, t in pairs
    ]
    write_json(root / "captions" / f"cap.{category}.val.json", entries)
    write_json(root / "image_splits" / f"split.{category}.val.json", names)
    for number, name in enumerate(names):
        write_image(root / "images" / (name + suffixes[number % len(suffixes)]), number)
    return root


def write_circo(root: Path, split: str = "val") -> Path:
    """Eight images; two queries with three and one right answers."""
    ids = [243611, 9761, 535009, 97553, 5, 489535, 57541, 375057]
    entries = [
        {"id": 0, "reference_img_id": 5, "relative_caption": "is on a chair", "shared_concept": "a bear"},
        {"id": 1, "reference_img_id": 97553, "relative_caption": "has a clock", "shared_concept": "a man"},
    ]
    if split == "val":
        answers = [([243611, 9761, 57541], 9761, ["addition", "negation"]), ([375057], 375057, ["addition"])]
        for entry, (found, target, aspects) in zip(entries, answers, strict=True):
            entry |= {"gt_img_ids": found, "target_img_id": target, "semantic_aspects": aspects}
    write_json(root / "annotations" / f"{split}.json", entries)
    coco = root / "COCO2017_unlabeled"
    images = [{"id": number, "file_name": f"{number:012d}.jpg"} for number in ids]
    write_json(coco / "annotations" / "image_info_unlabeled2017.json", {"images": images})
    for seed, image in enumerate(images):
        write_image(coco / "unlabeled2017" / image["file_name"], seed)
    return root


def write_genecis(root, task="change_object", count=6):
    """Templates of four candidates each, in the files' own form."""
    attribute = task.endswith("attribute")

    def one(number):
        if not attribute:
            return {"val_image_id": 100 + number}
        return {"image_id": 100 + number, "instance_bbox": [4, 5, 20 + number, 10]}

    entries = [
        {
            "reference": one(number),
            "target": one(number + 1),
            "gallery": [one(number + 2 + k) for k in range(3)],
            "condition": f"color {number}",
        }
        for number in range(count)
    ]
    write_json(root / "genecis" / f"{task}.json", entries)
    for number in range(count + 5):
        name = f"VG_100K/{100 + number}.jpg" if attribute else f"val2017/{100 + number:012d}.jpg"
        write_image(root / name, number)
    return root


def write_composition(root):
    lines = ["id,query_regions,query_class,classes"]
    lines += ["000000000139.jpg,1.5;2.0;21.0;32.9,dog,bench;kite", "000000000285.jpg,0.0;0.0;30.0;30.0,cat,"]
    (root / "coco").mkdir(parents=True)
    (root / "coco" / "coco_eval.csv").write_text("\n".join(lines) + "\n")
    for seed, name in enumerate(("000000000139.jpg", "000000000285.jpg")):
        write_image(root / "coco" / "val2017" / name, seed)
        write_image(root / "coco" / "val2017_masked" / name, 10 + seed)
    return root


def write_domains(root):
    real = {"imgnet/real/n1/a.JPEG": 2, "imgnet/real/n2/b.JPEG": 5}
    targets = {f"imgnet/imagenet-r/n1/cartoon_{k}.jpg": 2 for k in range(3)}
    targets |= {"imgnet/imagenet-r/n2/toy_0.jpg": 2005, "imgnet/real/n2/b.JPEG": 6005}
    for name, content in (("imgnet_real_query.txt", real), ("imgnet_targets.txt", targets)):
        (root / "imgnet").mkdir(exist_ok=True, parents=True)
        (root / "imgnet" / name).write_text("".join(f"{path} {label} \n" for path, label in content.items()))
    for seed, name in enumerate({**real, **targets}):
        write_image(root / name.replace(".JPEG", ".jpg"), seed)
        (root / name.replace(".JPEG", ".jpg")).rename(root / name)
    return root
