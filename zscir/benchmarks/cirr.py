"""CIRR (Liu et al., ICCV 2021): real-life photos in sets of six that look alike.

Files, as the Cuberick-Orion/CIRR repository publishes them: ``captions/cap.rc2.{split}.json`` and
``image_splits/split.rc2.{split}.json``, under the root or under ``<root>/cirr``; the images at
the paths that the split file gives, under the root, under ``img_raw`` or beside the annotations.
The gallery is all images of the split; the reference is removed from every ranking; Recall_subset
ranks the five other members of the reference's set.

``captions="extended"`` asks with the four auxiliary annotations of ``captions_ext/cap.ext.rc2.{split}.json``
instead: each is a query of its own (id ``pairid-number``), with the pair's reference, target and set. An
annotation that is empty or carries one of the marks ``[cr0]``, ``[cr1]``, ``[c]`` says that there was nothing
to write; these are skipped, and ``protocol["captions"]`` counts them.
"""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from zscir.benchmarks.base import Contents, Query, Reader
from zscir.benchmarks.files import CAPTION, INTEGER, NAME, NAMES, Problems, read_entries, read_json
from zscir.storage.checks import Rule, is_text

SET_SIZE = 6
AUXILIARY = ("0", "1", "2", "3")
MARKS = ("[cr0]", "[cr1]", "[c]")
PUBLISHED = {"val": (4181, 2297), "test1": (4148, 2315)}


def _is_set(value: object) -> bool:
    members = value.get("members") if isinstance(value, dict) else None
    return NAMES.test(members) and "id" in value and len(members) == len(set(members)) == SET_SIZE


_FIELDS = {
    "pairid": INTEGER,
    "reference": NAME,
    "caption": CAPTION,
    "img_set": Rule(f"a set with an id and {SET_SIZE} different members", _is_set),
}
_EXTENDED = {
    "pairid": INTEGER,
    "caption_extend": Rule(
        "a text for each of " + ", ".join(map(repr, AUXILIARY)),
        lambda value: isinstance(value, dict) and all(is_text(value.get(key)) for key in AUXILIARY),
    ),
}


def _image_base(root: Path, annotations: Path, relative: Iterable[str]) -> Path:
    """Folder that the split file's image paths start from: the first whose subfolder exists."""
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


def _extended(folder: Path, split: str, pairs: list[Query], problems: Problems) -> tuple[list[Query], str]:
    """One query for each auxiliary annotation of the pairs, and the protocol's words for them."""
    path = folder / "captions_ext" / f"cap.ext.rc2.{split}.json"
    entries = read_entries(path, _EXTENDED, problems)
    by_id = {query.id: query for query in pairs}
    queries, skipped = [], 0
    for entry in entries:
        pair = by_id.get(str(entry["pairid"]))
        if pair is None:
            problems.add(f"pairs of {path.name} that are not among the captions", entry["pairid"])
            continue
        for number in AUXILIARY:
            text = entry["caption_extend"][number].strip()
            if not text or text.startswith(MARKS):
                skipped += 1
                continue
            queries.append(replace(pair, id=f"{pair.id}-{number}", text=(text,)))
    return queries, f"extended: auxiliary annotations, {skipped:,} marked ones skipped"


def _read(root: Path, split: str, options: dict[str, str], problems: Problems) -> Contents:
    folder = root / "cirr" if (root / "cirr" / "captions").is_dir() else root
    fields = _FIELDS | ({"target_hard": NAME} if split == "val" else {})
    entries = read_entries(folder / "captions" / f"cap.rc2.{split}.json", fields, problems)
    queries = [_query(entry, split, problems) for entry in entries]
    wordings = "original"
    if options["captions"] == "extended":
        queries, wordings = _extended(folder, split, queries, problems)
    splits = folder / "image_splits" / f"split.rc2.{split}.json"
    listed = read_json(splits, problems, dict)
    images = {name: path for name, path in listed.items() if NAME.test(path)}
    for name in [name for name in listed if name not in images]:
        problems.add(f"images of {splits.name} without a path", f"{name} has {listed[name]!r}")
    base = _image_base(root, folder, images.values())
    protocol = {"gallery": "all images of the split", "subset": "the five other members of the set"}
    paths = {name: base / path for name, path in images.items()}
    return Contents(queries, list(images), paths, protocol | {"captions": wordings})


READER = Reader(
    splits=("val", "test1"),
    options={"reference": ("removed", "kept"), "captions": ("original", "extended")},
    metrics=(*(f"recall@{k}" for k in (1, 5, 10, 50)), *(f"recall_subset@{k}" for k in (1, 2, 3))),
    read=_read,
    published=lambda split, options: PUBLISHED[split] if options["captions"] == "original" else None,
)
