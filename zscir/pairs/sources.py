"""Image-caption pairs from wherever they lie; ``zscir.pairs`` re-exports both names.

    load_pairs("pocket-small")                  the embedded world; "pocket-control" has look-alikes
    load_pairs("pocket-small-0relative")        the same world, no caption worded like a relative one
    load_pairs("data/mine")                     a folder with one TSV or CSV table: columns file, caption
                                                (or filepath, title, as Pic2Word has them)
    load_pairs("data/mine/captions.tsv")        the table itself
    load_pairs("data/cc3m")                     a folder of webdataset tars (0001.jpg + 0001.txt or .json)
    load_pairs("data/cc3m/cc3m-train-00*.tar")  some of them
    load_pairs("data/saved")                    what `datasets` wrote with save_to_disk, or .parquet files
    load_pairs("owner/name")                    a `datasets` id, its train split
    load_pairs("stream:owner/name", limit=N)    the same, but no more of it is fetched than N pairs need
    load_pairs("s3://bucket/cc3m")              any of these files at a URL that fsspec knows: copied first
    load_pairs("stream:s3://bucket/cc3m/*.tar", limit=N)    tars or .parquet there, no more than N pairs need

What lies at a path is seen from the files themselves.
"""

import hashlib
import json
import os
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import chain, groupby, islice
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from zscir.nouns import find_nouns
from zscir.pairs.texts import table_rows
from zscir.pairs.webdataset import TarMember, cell_bytes, pair_columns, reading, spooled, tar_pairs
from zscir.storage import fingerprint
from zscir.storage.checks import check, is_text, optional, whole, whole_from
from zscir.storage.contents import FilePart, content_hash, content_hashes, stamp_of
from zscir.storage.paths import artifacts_root, is_url
from zscir.storage.pictures import open_picture, picture_suffixes
from zscir.storage.urls import fetched

#: Before a `datasets` id: read it as a stream, no further than ``limit``.
STREAM = "stream:"
_LIMIT = optional(whole_from(1))


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

    def after(self, start: int) -> "Pairs":
        """The pairs from number ``start`` on, such as those that a training with this ``limit`` never saw.

        Raises ValueError where there are none.
        """
        check("start", start, whole(f"from 0 to {len(self) - 1}", lambda first: 0 <= first < len(self)))
        rest = {"captions": self.captions[start:], "fingerprint": fingerprint([self.fingerprint, start])}
        images = Images(self.images.names[start:], lambda index: self.images.read(index + start))
        if self.has_true_masks:
            rest |= {
                "scenes": self.scenes[start:],
                "label_maps": lambda index: self.label_maps(index + start),
            }
        return replace(self, images=images, **rest)

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
        ValueError: ``limit`` below 1, no pair, a missing column or caption, a row or a text that cannot be
            read rightly (its file and line or member are named), or a broken tar file.
        FileNotFoundError: the source, or images named in its table, do not exist (all counted, five shown).
    """
    check("limit", limit, _LIMIT)
    return _reader(str(source))(limit)


def pair_source(pairs: str, world: str) -> str:
    """``pairs`` as `load_pairs` takes it; if empty, those of the pocket world of a size. Nothing is loaded.

    >>> pair_source("", "tiny"), pair_source("pocket-tiny-0relative", "small")
    ('pocket-tiny', 'pocket-tiny-0relative')

    Raises:
        ValueError: there is no such size, or pocket world.
        FileNotFoundError: ``pairs`` names nothing that exists.
    """
    from zscir.pocket import pocket_name

    pocket = pocket_name(world)
    _reader(str(pairs or pocket))
    return pairs or pocket


def _reader(text: str) -> Callable[[int | None], Pairs]:
    """What reads a source, at most so many pairs of it; that it can exist is checked here."""
    path = Path(text).expanduser()
    suffix = path.suffix.lower()
    if text.startswith("pocket-"):
        return _pocket(text)
    if is_url(text):
        return lambda limit: replace(load_pairs(fetched(text), limit), name=text)
    if text.startswith(STREAM) and text != STREAM:
        return lambda limit: _from_tars(spooled(text.removeprefix(STREAM), limit), limit)
    if suffix in (".tar", ".parquet", ".tsv", ".csv") and not path.is_dir() and not _files(path, suffix):
        raise FileNotFoundError(f"pairs {path}: no such {suffix[1:]} file")
    if suffix == ".tar" or (path.is_dir() and _files(path, ".tar")):
        return partial(_from_tars, path)
    if suffix == ".parquet" or (path.is_dir() and _files(path, ".parquet")):
        return partial(_read_dataset, _parquet, path, text)
    if (path / "dataset_info.json").is_file() or (path / "dataset_dict.json").is_file():
        return partial(_read_dataset, _saved_dataset, path, text)
    if text.count("/") == 1 and not text.startswith(("/", "~", ".")) and not path.parent.is_dir():
        return partial(_read_dataset, _train_split, text, text)
    if text and (path.is_dir() or suffix in (".tsv", ".csv")):
        return partial(_from_table, path)
    raise FileNotFoundError(
        f"pairs {text!r} do not exist; legal: pocket-<size>, a folder with one .tsv or .csv table "
        "(columns file, caption), .tar or .parquet files, a folder saved by datasets, a datasets id "
        "owner/name, or stream:owner/name"
    )


def _pocket(source: str) -> Callable[[int | None], Pairs]:
    from zscir.pocket import SIZES, make_control, make_pocket
    from zscir.pocket.control import Arrangement

    if source.startswith("pocket-control"):
        return partial(_from_pocket, partial(make_control, arrangement=Arrangement.of(source)), source)
    found = re.fullmatch(rf"pocket-({'|'.join(SIZES)})(?:-(100|\d\d?)relative)?", source)
    if found is None:
        legal = f"pocket-{'|'.join(SIZES)}, the same with -0relative to -100relative, or pocket-control"
        raise ValueError(f"pairs is {source!r}; legal: {legal}")
    return partial(_from_pocket, partial(make_pocket, found[1], relative=int(found[2] or 100)), source)


def _from_pocket(draw: Callable[[], Any], source: str, limit: int | None) -> Pairs:
    from zscir.pocket.vocabulary import BACKGROUND, THINGS, WHERE

    pairs = _from_dataset(draw().pairs, source, limit)
    synonyms: dict[str, set[str]] = {}
    for noun, thing in THINGS.items():
        for word in (*thing.names, thing.plural):
            synonyms.setdefault(word, set()).add(noun)
    places = [(place, phrase) for table in (BACKGROUND, WHERE) for place in table for phrase in table[place]]
    for (place, _), nouns in zip(places, find_nouns([phrase for _, phrase in places]), strict=True):
        for noun in nouns:
            synonyms.setdefault(noun.lemma, set()).add(place)
    return replace(pairs, synonyms=synonyms)


def _made(name: str, captions: list[str], images: Images, contents: Iterable[str], **drawn) -> Pairs:
    """Pairs, named by captions, image names and the hashes of all other contents."""
    if not captions:
        left_out = "; ".join(drawn.get("incomplete", ())[:3])
        raise ValueError(f"pairs {name!r} hold no image with a caption{left_out and f': {left_out}, ...'}")
    for row, caption in enumerate(captions):
        if not is_text(caption):
            place = f"caption of row {row} (image {images.names[row]})"
            raise ValueError(f"pairs {name!r}: {place} is {caption!r:.80}, not a string")
    digest = hashlib.sha256()
    for caption, image_name in zip(captions, images.names, strict=True):
        digest.update(json.dumps([caption, image_name]).encode())
    for content in contents:
        digest.update(content.encode())
    return Pairs(name, captions, images, digest.hexdigest()[:16], **drawn)


def _files(path: Path, suffix: str) -> list[Path]:
    """Files of a folder that end so, or those that a path or pattern with this ending names, sorted."""
    if path.is_dir():
        found = (file for file in path.iterdir() if file.suffix.lower() == suffix and not file.is_dir())
        return sorted(file for file in found if not file.name.startswith("._"))
    return [path] if path.is_file() else sorted(path.parent.glob(path.name))


def _from_table(path: Path, limit: int | None) -> Pairs:
    tables = [*_files(path, ".tsv"), *_files(path, ".csv")] if path.is_dir() else [path]
    if len(tables) != 1:
        there = ", ".join(sorted(entry.name for entry in path.iterdir())[:5]) or "nothing"
        raise FileNotFoundError(
            f"pairs {path}: needed is one .tsv or .csv table, found {len(tables)}; or .tar or .parquet "
            f"files; there are: {there}"
        )
    rows = list(islice(table_rows(tables[0]), limit))
    files = [tables[0].parent / (name or "") for name, _ in rows]
    if missing := [file for file in files if not os.path.isfile(file)]:
        shown = ", ".join(map(str, missing[:5]))
        raise FileNotFoundError(f"{tables[0]}: {len(missing)} of {len(files)} images do not exist: {shown}")
    parts = [FilePart(file, stamp_of(file.stat())) for file in files]
    images = Images([name for name, _ in rows], lambda index: parts[index].read())
    return _made(str(path), [caption for _, caption in rows], images, content_hashes(files))


def _from_tars(path: Path, limit: int | None) -> Pairs:
    pairs: list[tuple[TarMember, str]] = []
    incomplete: list[str] = []
    endings: Counter[str] = Counter()
    for tar in _files(path, ".tar"):
        if limit is not None and len(pairs) >= limit:
            break
        found, lacking, seen = tar_pairs(tar)
        pairs += found
        incomplete += lacking
        endings += seen
    if not pairs:
        shown = ", ".join(f"{ending} ({count:,})" for ending, count in endings.most_common(8))
        raise ValueError(
            f"pairs {str(path)!r} hold no image with a caption: members end in {shown or 'nothing'}; legal: "
            f"an image ({', '.join(picture_suffixes())}) and a .txt or .json of the same name"
        )
    members, captions = map(list, zip(*pairs[:limit], strict=True))
    names = [f"{member.path.name}/{member.name}" for member in members]
    images = Images(names, lambda index: members[index].read())
    places = {tar: [(m.offset, m.size) for m in own] for tar, own in groupby(members, lambda m: m.path)}
    hashes = (content_hash(tar, parts) for tar, parts in places.items())
    return _made(str(path), captions, images, hashes, incomplete=incomplete)


def _read_dataset(load: Callable, place: str | Path, name: str, limit: int | None) -> Pairs:
    with reading(name):
        return _from_dataset(load(place), name, limit)


def _train_split(name: str):
    from datasets import load_dataset

    return load_dataset(name, split="train")


def _parquet(path: Path):
    import pyarrow.parquet
    from datasets import load_dataset

    files = _files(path, ".parquet")
    rows = {}
    for file in files:
        try:
            rows[file] = pyarrow.parquet.read_metadata(file).num_rows
        except ValueError as error:
            raise ValueError(f"{file} is no whole parquet file: {error}") from error
    if not any(rows.values()):
        raise ValueError(f"pairs {path}: no row in {len(files)} parquet files")
    # `datasets` names its copy of a file by the time of change: each content gets a folder of its own
    cache = artifacts_root() / "parquet" / fingerprint(list(content_hashes(files)))
    names = [str(file) for file in files if rows[file]]  # `datasets` stops at an empty one
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

    dataset = dataset.with_format(None)
    image_column, caption_column = pair_columns(name, dataset.column_names)
    encoded = dataset.select_columns([image_column, caption_column])
    encoded = encoded.cast_column(image_column, ImageFeature(decode=False))
    hashes: dict[int, str] = {}
    incomplete = []
    for row, cell in enumerate(encoded):
        if len(hashes) == limit:
            break
        data = cell_bytes(cell[image_column])
        if data is not None and cell[caption_column] is not None:
            hashes[row] = hashlib.sha256(data).hexdigest()
        else:
            incomplete.append(f"row {row}: no {'image' if data is None else 'caption'}")
    rows, contents = list(hashes), list(hashes.values())

    def read(index: int) -> bytes:
        data = cell_bytes(encoded[rows[index]][image_column])
        if data is None or hashlib.sha256(data).hexdigest() != contents[index]:
            raise ValueError(f"pairs {name!r}: image of row {rows[index]} has changed: load them again")
        return data

    dataset, more = dataset.select(rows), {"incomplete": incomplete}
    captions, digests = list(dataset[caption_column]), contents
    if {"scene", "labels"} <= set(dataset.column_names):
        more |= {"scenes": list(dataset["scene"]), "label_maps": lambda index: dataset[index]["labels"]}
        labels = dataset.select_columns(["labels"]).cast_column("labels", ImageFeature(decode=False))
        maps = (hashlib.sha256(cell_bytes(row["labels"]) or b"").hexdigest() for row in labels)
        digests = chain(contents, more["scenes"], maps)
    return _made(name, captions, Images(rows, read), digests, **more)
