"""FashionIQ (Wu et al., CVPR 2021), one category at a time: dress, shirt or toptee.

Files, as the XiaoxiaoGuo/fashion-iq repository publishes them: ``captions/cap.{category}.val.json`` (or in
``json/``, as Pic2Word keeps them), ``image_splits/split.{category}.val.json`` and ``images/{id}.png`` or
``.jpg``. The split ``test`` has no targets. A published result is
the unweighted mean of the three categories: `zscir.retrieval.average`. The reference stays in the
ranking.

Two things differ between papers and are options here. ``gallery``: "original" is the split file
(Pic2Word, SEARLE, LinCIR); "union" keeps only the candidates and targets of the queries, which is
easier. ``captions``: "both-orders-averaged" encodes *c1 and c2* and *c2 and c1*, stripped of
punctuation, and averages the features (SEARLE, LinCIR); "second-first" encodes *c2 and c1* (Pic2Word).
"""

from pathlib import Path

from zscir.benchmarks.base import Contents, Query, Reader
from zscir.benchmarks.files import NAME, Problems, non_empty_files, read_entries, read_json, says_something
from zscir.storage.checks import Rule, is_text

#: category -> queries, images of the original gallery, images of the union gallery
PUBLISHED = {"dress": (2017, 3817, 2628), "shirt": (2038, 6346, 3089), "toptee": (1961, 5373, 2902)}
_CAPTIONS = Rule(
    "a list of two strings, of which one at least has a letter or a digit",
    lambda value: (
        isinstance(value, list)
        and len(value) == 2
        and all(map(is_text, value))
        and any(map(says_something, value))
    ),
)
_FIELDS = {"candidate": NAME, "captions": _CAPTIONS}


def join_captions(captions: list[str], joining: str) -> tuple[str, ...]:
    """The wordings to encode for a query's two captions.

    >>> join_captions(["is red.", "has sleeves"], "both-orders-averaged")
    ('is red and has sleeves', 'has sleeves and is red')
    >>> join_captions(["is red.", "has sleeves"], "second-first")
    ('has sleeves and is red.',)
    """
    first, second = captions
    if joining == "second-first":
        return (f"{second} and {first}",)
    first, second = (caption.strip(".?, ") for caption in (first, second))
    return (f"{first} and {second}", f"{second} and {first}")


def _read(root: Path, split: str, options: dict[str, str], problems: Problems) -> Contents:
    category = options["category"]
    places = [root / folder / f"cap.{category}.{split}.json" for folder in ("captions", "json")]
    captions = next((path for path in places if path.is_file()), places[0])
    fields = _FIELDS | ({"target": NAME} if split == "val" else {})
    entries = read_entries(captions, fields, problems)
    splits = root / "image_splits" / f"split.{category}.{split}.json"
    listed = read_json(splits, problems, list)
    wrong = [repr(image_id) for image_id in listed if not NAME.test(image_id)]
    problems.add(f"images of {splits.name} that are not a non-empty string", *wrong)
    gallery = list(filter(NAME.test, listed))
    if options["gallery"] == "union":
        wanted = {entry[key] for entry in entries for key in ("candidate", "target") if key in entry}
        outside = sorted(wanted.difference(gallery))
        gallery = [image_id for image_id in gallery if image_id in wanted] + outside
    queries = [
        Query(
            id=f"{category}-{number}",
            reference=entry["candidate"],
            text=join_captions(entry["captions"], options["captions"]),
            targets=(entry["target"],) if split == "val" else (),
            group=category,
        )
        for number, entry in enumerate(entries)
    ]
    folder = root / "images"
    present = non_empty_files(folder)
    jpgs = {name for name in gallery if f"{name}.jpg" in present and f"{name}.png" not in present}
    paths = {name: folder / f"{name}{'.jpg' if name in jpgs else '.png'}" for name in gallery}
    half = sum(not all(map(says_something, entry["captions"])) for entry in entries)
    words = f"{half:,} queries have one empty caption, joined like others"
    return Contents(queries, gallery, paths, {"empty captions": words} if half else {})


def _published(split: str, options: dict[str, str]) -> tuple[int, int] | None:
    if split != "val":
        return None
    queries, original, union = PUBLISHED[options["category"]]
    return queries, original if options["gallery"] == "original" else union


READER = Reader(
    splits=("val", "test"),
    options={
        "category": ("dress", "shirt", "toptee"),
        "gallery": ("original", "union"),
        "captions": ("both-orders-averaged", "second-first"),
        "reference": ("kept", "removed"),
    },
    metrics=tuple(f"recall@{k}" for k in (1, 5, 10, 50)),
    read=_read,
    published=_published,
)
