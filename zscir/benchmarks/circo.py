"""CIRCO (Baldrati et al., ICCV 2023): several right answers a query, over COCO's unlabelled images.

Files, as the miccunifi/CIRCO repository publishes them: ``annotations/{val,test}.json``,
``COCO2017_unlabeled/annotations/image_info_unlabeled2017.json`` and the images in
``COCO2017_unlabeled/unlabeled2017``. Image ids are the integers of the files, as strings. mAP@k
counts all right answers, Recall@k only ``target_img_id``. The reference stays in the ranking unless
``reference="removed"``, and a query is its relative caption unless ``captions`` adds the shared concept; some
papers do the one or the other: never mix them in a table.
"""

from pathlib import Path

from zscir.benchmarks.base import Contents, Query, Reader
from zscir.benchmarks.files import CAPTION, INTEGER, INTEGERS, NAME, Problems, read_entries

CUTS = (5, 10, 25, 50)
GALLERY_SIZE = 123_403
QUERIES = {"val": 220, "test": 800}
#: How a query is worded: without the shared concept (SEARLE, LinCIR), as MagicLens or as MegaPairs word it.
WORDINGS = {
    "relative": "{caption}",
    "shared": "find {concept} but {caption}",
    "shared-megapairs": "find a picture that also {concept}, but {caption}",
}
_FIELDS = {"id": INTEGER, "reference_img_id": INTEGER, "relative_caption": CAPTION, "shared_concept": CAPTION}
_ANSWERS = {"target_img_id": INTEGER, "gt_img_ids": INTEGERS}


def _targets(entry: dict, problems: Problems) -> tuple[str, ...]:
    """The right answers, ``target_img_id`` first."""
    target, answers = entry["target_img_id"], entry["gt_img_ids"]
    if target not in answers or len(set(answers)) != len(answers):
        problems.add("queries whose 'gt_img_ids' lack the target or repeat an image", f"id {entry['id']}")
    if entry["reference_img_id"] in answers:
        problems.add("queries whose reference is one of their right answers", f"id {entry['id']}")
    return tuple(str(name) for name in [target, *(other for other in answers if other != target)])


def _read(root: Path, split: str, options: dict[str, str], problems: Problems) -> Contents:
    fields = _FIELDS | (_ANSWERS if split == "val" else {})
    entries = read_entries(root / "annotations" / f"{split}.json", fields, problems)
    coco = root / "COCO2017_unlabeled"
    info = coco / "annotations" / "image_info_unlabeled2017.json"
    images = read_entries(info, {"id": INTEGER, "file_name": NAME}, problems, key="images")
    wording, queries = WORDINGS[options["captions"]], []
    for entry in entries:
        query = Query(
            id=str(entry["id"]),
            reference=str(entry["reference_img_id"]),
            text=(wording.format(concept=entry["shared_concept"], caption=entry["relative_caption"]),),
            targets=_targets(entry, problems) if split == "val" else (),
        )
        queries.append(query)
    gallery = [str(image["id"]) for image in images]
    files = [coco / "unlabeled2017" / image["file_name"] for image in images]
    said = "relative caption alone" if wording == "{caption}" else f"with the shared concept: {wording}"
    protocol = {"gallery": f"all images of {info.name}", "captions": said}
    return Contents(queries, gallery, dict(zip(gallery, files, strict=True)), protocol)


READER = Reader(
    splits=("val", "test"),
    options={"reference": ("kept", "removed"), "captions": tuple(WORDINGS)},
    metrics=(*(f"map@{k}" for k in CUTS), *(f"recall@{k}" for k in CUTS)),
    read=_read,
    published=lambda split, options: (QUERIES[split], GALLERY_SIZE),
)
