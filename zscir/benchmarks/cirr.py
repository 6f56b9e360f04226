"""CIRR (Liu et al., ICCV 2021): real-life photos in sets of six that look alike.

Files, as the Cuberick-Orion/CIRR repository publishes them: ``captions/cap.rc2.{split}.json`` and
``image_splits/split.rc2.{split}.json``, under the root or under ``<root>/cirr``; the images at
the paths that the split file gives, under the root, under ``img_raw`` or beside the annotations.
The gallery is all images of the split; the reference is removed from every ranking; Recall_subset
ranks the five other members of the reference's set.
"""

from __future__ import annotations

from pathlib import Path

from zscir.benchmarks.base import Benchmark, Query, Reader
from zscir.benchmarks.files import INTEGER, NAME, Field, Problems, checked_entries, read_json

SET_SIZE = 6
METRICS = (
    *(f"recall@{k}" for k in (1, 5, 10, 50)),
    *(f"recall_subset@{k}" for k in (1, 2, 3)),
)
PUBLISHED = {"val": (4181, 2297), "test1": (4148, 2315)}


def _is_set(value: object) -> bool:
    members = value.get("members") if isinstance(value, dict) else None
    if not isinstance(members, list) or not all(map(NAME.accepts, members)):
        return False
    return "id" in value and len(members) == len(set(members)) == SET_SIZE


_FIELDS = {
    "pairid": INTEGER,
    "reference": NAME,
    "caption": NAME,
    "img_set": Field(_is_set, f"a set with an id and {SET_SIZE} different members"),
}


def _annotations(root: Path) -> Path:
    """Folder that holds captions/ and image_splits/: ``<root>/cirr`` or the root itself."""
    return root / "cirr" if (root / "cirr" / "captions").is_dir() else root


def _image_base(root: Path, relative: list[str]) -> Path:
    """Folder that the split file's image paths start from: the first whose subfolder exists."""
    annotations = _annotations(root)
    places = [root, root / "img_raw", annotations, annotations / "img_raw"]
    top = {part for path in relative for part in Path(path).parts[:1]}
    return next((place for place in places if any((place / name).is_dir() for name in top)), root)


def _query(entry: dict, split: str, problems: Problems) -> Query:
    members = entry["img_set"]["members"]
    target = entry["target_hard"] if split == "val" else None
    for role, name in (("reference", entry["reference"]), ("target", target)):
        if name is not None and name not in members:
            problems.add(f"queries whose {role} is not in their set", f"pairid {entry['pairid']} ({name})")
    return Query(
        id=str(entry["pairid"]),
        reference=entry["reference"],
        text=(entry["caption"],),
        targets=() if target is None else (target,),
        subset=tuple(name for name in members if name != entry["reference"]),
        group=str(entry.get("kind", entry["img_set"]["id"])),
    )


def _read(root: Path, split: str, options: dict[str, str], problems: Problems) -> Benchmark:
    folder = _annotations(root)
    captions = folder / "captions" / f"cap.rc2.{split}.json"
    fields = _FIELDS | ({"target_hard": NAME} if split == "val" else {})
    entries = checked_entries(read_json(captions, problems, list), fields, captions.name, problems)
    splits = folder / "image_splits" / f"split.rc2.{split}.json"
    images = read_json(splits, problems, dict)
    for name, path in images.items():
        if not NAME.accepts(path):
            problems.add(f"images of {splits.name} without a path", name)
    images = {name: path for name, path in images.items() if NAME.accepts(path)}
    base = _image_base(root, list(images.values()))
    return Benchmark(
        name="cirr",
        split=split,
        queries=[_query(entry, split, problems) for entry in entries],
        gallery=list(images),
        paths={name: base / path for name, path in images.items()},
        exclude_reference=options["reference"] == "removed",
        metrics=METRICS,
        protocol={"gallery": "all images of the split", "subset": "the five other members of the set"},
    )


READER = Reader(
    splits=("val", "test1"),
    options={"reference": ("removed", "kept")},
    read=_read,
    published=lambda split, options: PUBLISHED[split],
)
