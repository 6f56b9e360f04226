"""Image-caption pairs from wherever they lie; ``zscir.pairs`` re-exports both names.

    load_pairs("pocket-small")                  the embedded world
    load_pairs("data/mine")                     a folder with one TSV or CSV table: columns file, caption
                                                (or filepath, title, as Pic2Word has them)
    load_pairs("data/mine/captions.tsv")        the table itself
    load_pairs("data/cc3m")                     a folder of webdataset tars (0001.jpg + 0001.txt or .json)
    load_pairs("data/cc3m/cc3m-train-00*.tar")  some of them
    load_pairs("data/saved")                    what `datasets` wrote with save_to_disk, or .parquet files
    load_pairs("owner/name")                    a `datasets` id, its train split
    load_pairs("stream:owner/name", limit=N)    the same, but no more of it is fetched than N pairs need

What lies at a path is seen from the files themselves.
"""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, groupby, islice
from pathlib import Path

import numpy as np
from PIL import Image

from zscir.nouns import find_nouns
from zscir.pairs.webdataset import TarMember, cell_bytes, pair_columns, spooled, tar_pairs
from zscir.storage import fingerprint
from zscir.storage.contents import FilePart, content_hash, content_hashes, stamp_of
from zscir.storage.paths import artifacts_root
from zscir.storage.pictures import open_picture

#: Before a `datasets` id: read it as a stream, no further than ``limit``.
STREAM = "stream:"
#: Columns of a table: ours, and those of the table that Pic2Word's training reads.
TABLE_COLUMNS = (("file", "filepath"), ("caption", "title"))


@dataclass(frozen=True)
class Images(Sequence):
    """Images read one at a time: ``images[i]`` decodes number i to an upright RGB ``PIL.Image``.

    ``names`` say in errors where each lies; ``read`` maps an index to its encoded bytes or to an image.
    Reading raises OSError naming the image when it cannot be decoded, and ValueError when its file has
    changed since the pairs were loaded.
    """

    names: Sequence[str]
    read: Callable[[int], bytes | Image.Image]

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Image.Image:
        if not 0 <= index < len(self.names):
            raise IndexError(f"image {index} of {len(self.names)}")
        found = self.read(index)
        try:
            return open_picture(found, name=f"image {index} ({self.names[index]})")
        except ValueError as error:
            raise OSError(str(error)) from error


@dataclass
class Pairs:
    """Captioned images: ``images[i]`` (RGB ``PIL.Image``) belongs to ``captions[i]``.

    ``fingerprint`` names their content: captions, image names and bytes, in order. ``incomplete``
    names samples of the source that lack an image or a caption, and so are no pair. The rest exists for drawn
    pairs only: ``scenes`` (JSON with a place and objects, each a noun and a label), ``label_maps`` (the label
    of the object seen at each pixel, 0 for the place), ``synonyms`` (word -> names in scenes).
    """

    name: str
    captions: list[str]
    images: Sequence[Image.Image]
    fingerprint: str
    scenes: list[str] | None = field(default=None, repr=False)
    label_maps: Callable[[int], Image.Image] | None = field(default=None, repr=False)
    synonyms: Mapping[str, Collection[str]] = field(default_factory=dict, repr=False)
    incomplete: Sequence[str] = field(default=(), repr=False)

    def __len__(self) -> int:
        return len(self.captions)

    @property
    def has_true_masks(self) -> bool:
        """Whether ``true_mask`` can be asked."""
        return self.scenes is not None and self.label_maps is not None

    def true_mask(self, index: int, noun_lemma: str) -> np.ndarray | None:
        """Where the pixels of a noun are in image ``index``: bool [H, W]; None: it is not in the scene.

        All objects of that noun (or a synonym) together; the scene's place means what no object covers.

        Raises:
            ValueError: these pairs have no label maps.
        """
        if not self.has_true_masks:
            raise ValueError(f"pairs {self.name!r} have no label maps; only drawn (pocket) pairs do")
        scene = json.loads(self.scenes[index])
        names = {noun_lemma, *self.synonyms.get(noun_lemma, ())}
        labels = [thing["label"] for thing in scene["objects"] if thing["noun"] in names]
        labels = labels or [0] * (scene.get("place") in names)
        if not labels:
            return None
        return np.isin(np.asarray(self.label_maps(index)), labels)


def load_pairs(source: str | Path, limit: int | None = None) -> Pairs:
    """Pairs of a source (the module docstring lists the forms), the first ``limit`` of them.

    Nothing is decoded yet; missing files, empty sources and missing columns are found here. All bytes of the
    images are read once, since they name what is stored for these pairs (`zscir.storage.contents`: the cost).

    Raises:
        ValueError: ``limit`` below 1, no pair, a missing column or caption, or a broken tar file.
        FileNotFoundError: the source, or images named in its table, do not exist (all counted, five shown).
    """
    if limit is not None and limit < 1:
        raise ValueError(f"limit is {limit!r}; legal: None (all pairs) or a whole number from 1")
    text, path = str(source), Path(source).expanduser()
    if text.startswith("pocket-"):
        return _from_pocket(text, limit)
    if path.suffix == ".tar" or any(path.glob("*.tar") if path.is_dir() else ()):
        return _from_tars(path, limit)
    if text.startswith(STREAM):
        return _from_tars(spooled(text.removeprefix(STREAM), limit), limit)
    if path.suffix == ".parquet" or any(path.glob("*.parquet") if path.is_dir() else ()):
        return _from_dataset(_parquet(path), text, limit)
    if (path / "dataset_info.json").is_file() or (path / "dataset_dict.json").is_file():
        return _from_dataset(_saved_dataset(path), text, limit)
    if path.is_dir() or path.suffix in (".tsv", ".csv"):
        return _from_table(path, limit)
    if text.count("/") == 1 and not text.startswith(("/", "~", ".")) and not path.parent.is_dir():
        from datasets import load_dataset

        return _from_dataset(load_dataset(text, split="train"), text, limit)
    raise FileNotFoundError(
        f"pairs {text!r} do not exist; legal: pocket-<size>, a folder with one .tsv or .csv table "
        "(columns file, caption), .tar or .parquet files, a folder saved by datasets, a datasets id "
        "owner/name, or stream:owner/name"
    )


def _from_pocket(source: str, limit: int | None) -> Pairs:
    from zscir.pocket import make_pocket
    from zscir.pocket.vocabulary import BACKGROUND, THINGS, WHERE

    pairs = _from_dataset(make_pocket(source.removeprefix("pocket-")).pairs, source, limit)
    synonyms: dict[str, set[str]] = {}
    for noun, thing in THINGS.items():
        for word in (*thing.names, thing.plural):
            synonyms.setdefault(word, set()).add(noun)
    places = [(place, phrase) for table in (BACKGROUND, WHERE) for place in table for phrase in table[place]]
    for (place, _), nouns in zip(places, find_nouns([phrase for _, phrase in places]), strict=True):
        for noun in nouns:
            synonyms.setdefault(noun.lemma, set()).add(place)
    pairs.synonyms = synonyms
    return pairs


def _made(name: str, captions: list[str], images: Images, contents: Iterable[str], **drawn) -> Pairs:
    """Pairs, named by captions, image names and the hashes of all other contents."""
    if not captions:
        raise ValueError(f"pairs {name!r} hold no image with a caption")
    if wrong := [row for row, caption in enumerate(captions) if not isinstance(caption, str)]:
        raise ValueError(f"pairs {name!r}: caption of row {wrong[0]} is {captions[wrong[0]]!r}, not a string")
    digest = hashlib.sha256()
    for caption, image_name in zip(captions, images.names, strict=True):
        digest.update(json.dumps([caption, image_name]).encode())
    for content in contents:
        digest.update(content.encode())
    return Pairs(name, captions, images, digest.hexdigest()[:16], **drawn)


def _from_table(path: Path, limit: int | None) -> Pairs:
    tables = sorted([*path.glob("*.tsv"), *path.glob("*.csv")]) if path.is_dir() else [path]
    if len(tables) != 1:
        raise FileNotFoundError(f"pairs {path}: needed is one .tsv or .csv table, found {len(tables)}")
    table = tables[0]
    with table.open(newline="", encoding="utf-8-sig") as stream:
        header = stream.readline()
        tabs = table.suffix == ".tsv" or ("\t" in header and "," not in header)
        stream.seek(0)
        rows = csv.DictReader(stream, delimiter="\t" if tabs else ",")
        found = [next((c for c in legal if c in (rows.fieldnames or ())), None) for legal in TABLE_COLUMNS]
        if None in found:
            raise ValueError(
                f"{table}: columns are {rows.fieldnames}; needed: file, caption (or filepath, title)"
            )
        pairs = [(row[found[0]], row[found[1]]) for row in islice(rows, limit)]
    files = [table.parent / name for name, _ in pairs]
    if missing := [file for file in files if not file.is_file()]:
        shown = ", ".join(map(str, missing[:5]))
        raise FileNotFoundError(f"{table}: {len(missing)} of {len(files)} images do not exist: {shown}")
    parts = [FilePart(file, stamp_of(file.stat())) for file in files]
    images = Images([name for name, _ in pairs], lambda index: parts[index].read())
    return _made(str(path), [caption for _, caption in pairs], images, content_hashes(files))


def _from_tars(path: Path, limit: int | None) -> Pairs:
    tars = sorted(path.glob("*.tar")) if path.is_dir() else sorted(path.parent.glob(path.name))
    if not tars:
        raise FileNotFoundError(f"pairs {path}: no such tar file")
    captions: list[str] = []
    members: list[TarMember] = []
    incomplete: list[str] = []
    for tar in tars:
        if limit is not None and len(captions) == limit:
            break
        found, lacking = tar_pairs(tar)
        incomplete += lacking
        for image, caption in found[: None if limit is None else limit - len(captions)]:
            captions.append(caption)
            members.append(image)
    names = [f"{member.path.name}/{member.name}" for member in members]
    images = Images(names, lambda index: members[index].read())
    places = {tar: [(m.offset, m.size) for m in own] for tar, own in groupby(members, lambda m: m.path)}
    hashes = (content_hash(tar, parts) for tar, parts in places.items())
    return _made(str(path), captions, images, hashes, incomplete=incomplete)


def _parquet(path: Path):
    from datasets import load_dataset

    files = sorted(path.glob("*.parquet")) if path.is_dir() else sorted(path.parent.glob(path.name))
    if not files:
        raise FileNotFoundError(f"pairs {path}: no such parquet file")
    # `datasets` names its copy of a file by the time of change: each content gets a folder of its own
    cache = artifacts_root() / "parquet" / fingerprint(list(content_hashes(files)))
    names = [str(file) for file in files]
    return load_dataset("parquet", data_files=names, split="train", cache_dir=str(cache))


def _saved_dataset(path: Path):
    from datasets import DatasetDict, load_from_disk

    saved = load_from_disk(str(path))
    if not isinstance(saved, DatasetDict):
        return saved
    if "train" not in saved:
        raise ValueError(
            f"pairs {path}: splits are {', '.join(saved)}; needed: train (or save one split alone)"
        )
    return saved["train"]


def _from_dataset(dataset, name: str, limit: int | None) -> Pairs:
    from datasets import Image as ImageFeature

    image_column, caption_column = pair_columns(name, dataset.column_names)
    dataset = dataset.select(range(min(limit or len(dataset), len(dataset))))
    encoded = dataset.select_columns([image_column]).cast_column(image_column, ImageFeature(decode=False))
    images = Images(range(len(dataset)), lambda index: cell_bytes(encoded[index][image_column]))
    contents = (hashlib.sha256(cell_bytes(row[image_column])).hexdigest() for row in encoded)
    drawn = {}
    if {"scene", "labels"} <= set(dataset.column_names):
        drawn = {"scenes": list(dataset["scene"]), "label_maps": lambda index: dataset[index]["labels"]}
        labels = dataset.select_columns(["labels"]).cast_column("labels", ImageFeature(decode=False))
        maps = (hashlib.sha256(cell_bytes(row["labels"])).hexdigest() for row in labels)
        contents = chain(contents, drawn["scenes"], maps)
    return _made(name, list(dataset[caption_column]), images, contents, **drawn)
