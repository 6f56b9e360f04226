"""Object composition on COCO (Saito et al., CVPR 2023): a region of an image, and the other things in it.

Files, as Pic2Word's ``data/coco/prepare_data.py`` writes them: ``coco_eval.csv`` (or
``coco/coco_eval.csv``) with the columns ``id``, ``query_regions`` (x1;y1;x2;y2), ``query_class`` and
``classes`` (separated by ``;``), ``val2017/{id}`` and ``val2017_masked/{id}``, in which all but the query's
object is white.

The query is the region, cut out of the masked image, with the words *dog and bench and kite*: the class of
the region, then the other classes. The target is the whole image; the gallery is all images of the list.
The prompt is Pic2Word's ``a photo of * and {caption}``. A region is no image of the gallery, so no
reference is removed.
"""

from pathlib import Path

from zscir.benchmarks.base import Contents, Query, Reader
from zscir.benchmarks.files import Problems, read_table, says_something
from zscir.benchmarks.images import Region

COLUMNS = ("id", "query_regions", "query_class", "classes")
PUBLISHED = 4766


def _box(text: str) -> tuple[int, int, int, int] | None:
    """Left, top, width, height of ``x1;y1;x2;y2``, or None when it says no such thing."""
    try:
        x1, y1, x2, y2 = (int(float(number)) for number in text.split(";"))
    except (ValueError, OverflowError):  # inf
        return None
    return (x1, y1, x2 - x1, y2 - y1) if x2 > x1 and y2 > y1 else None


def _read(root: Path, split: str, options: dict[str, str], problems: Problems) -> Contents:
    folder = root / "coco" if (root / "coco" / "coco_eval.csv").is_file() else root
    queries, paths, regions = [], {}, {}
    path = folder / "coco_eval.csv"
    for line, row in read_table(path, COLUMNS, problems):
        box = _box(row["query_regions"])
        if not (row["id"] and box and says_something(row["query_class"])):
            kind = f"lines of {path.name} without id, class or region of four numbers"
            problems.add(kind, f"line {line} has {[row[name] for name in COLUMNS[:3]]}")
            continue
        name, part = row["id"], f"region of {row['id']}"
        paths |= {name: folder / "val2017" / name, part: folder / "val2017_masked" / name}
        regions[part] = Region(box)
        words = [row["query_class"], *filter(None, row["classes"].split(";"))]
        queries.append(Query(name, part, (" and ".join(words),), targets=(name,), group=row["query_class"]))
    protocol = {"gallery": "all images of coco_eval.csv", "captions": "class of the region and of the others"}
    return Contents(queries, [query.targets[0] for query in queries], paths, protocol, regions)


READER = Reader(
    splits=("val",),
    options={},
    metrics=tuple(f"recall@{k}" for k in (1, 5, 10, 50, 100)),
    read=_read,
    published=lambda split, options: (PUBLISHED, PUBLISHED),
    prompt="a photo of * and {caption}",
)
