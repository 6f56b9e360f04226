"""Webdataset tars of images and captions, as img2dataset writes them; `datasets` streams, kept as such.

A stream can be read once, and masked pairs are made again for every new tau, so what was fetched stays. Each
tar is written whole or not at all; a killed run skips what it has.
"""

import io
import json
import os
import posixpath
import shutil
import sys
import tarfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice, takewhile
from pathlib import Path

from zscir.pairs.texts import decoded
from zscir.storage import artifact, fingerprint
from zscir.storage.artifacts import read_sealed, seal_of, write_sealed
from zscir.storage.contents import FilePart, content_hashes, files_below, stamp_of
from zscir.storage.paths import artifacts_root, is_url
from zscir.storage.pictures import PHOTOS, picture_suffixes
from zscir.storage.whole import written_whole

IMAGE_COLUMNS = ("image", "jpg", "png", "webp")
CAPTION_COLUMNS = ("caption", "text", "txt")
#: Samples a tar.
TAR_SIZE = 1024
#: Checksums of the tars that a stream was written to so far.
_SEALS = "seals.json"


@dataclass(frozen=True, slots=True)
class TarMember(FilePart):
    """One file of a tar, read by its place."""

    name: str = ""


def tar_pairs(tar: Path) -> tuple[list[tuple[TarMember, str]], list[str], Counter[str]]:
    """Captioned images of a webdataset tar, the samples that lack one of both, and a count of all endings.

    A sample is an image and a .txt or .json of the same name up to the last dot, so that ``22.05.png`` and
    ``22.06.png`` are two. Joined tars are read to the end of the last.

    Raises:
        ValueError: no whole tar file, or a caption that cannot be read; tar and member are named.
    """
    samples: dict[tuple[int, str], dict[str, TarMember]] = {}
    incomplete, endings, stamp = [], Counter(), stamp_of(tar.stat())
    for archive, entry in _entries(tar):
        stem, _, suffix = entry.name.rpartition(".")
        base, suffix = entry.name.rpartition("/")[2], f".{suffix.lower()}"
        if base.startswith("._") or entry.isdir():  # a note of macOS
            continue
        endings[f".{base.partition('.')[2]}".lower()] += 1
        if not entry.isfile():
            incomplete += [f"{tar.name}/{entry.name}: a link, which is not followed"] * (suffix in PHOTOS)
            continue
        parts = samples.setdefault((archive, posixpath.normpath(f"/{stem}").lstrip("/")), {})
        twice = f"{tar.name}/{stem}: twice in the tar, the later is taken"
        if suffix in parts and incomplete[-1:] != [twice]:
            incomplete.append(twice)
        parts[suffix] = TarMember(tar, stamp, entry.offset_data, entry.size, entry.name)
    found = []
    for (_, name), parts in samples.items():
        images = [parts[suffix] for suffix in picture_suffixes() if suffix in parts]
        caption = _tar_caption(parts)
        if images and caption is not None:
            found.append((images[0], caption))
            incomplete += [f"{tar.name}/{image.name}: a second image of its sample" for image in images[1:]]
        elif caption is not None or not parts.keys().isdisjoint(PHOTOS):
            incomplete.append(f"{tar.name}/{name}: no {'caption' if images else 'image'}")
    return found, incomplete, endings


def _entries(tar: Path) -> Iterator[tuple[int, tarfile.TarInfo]]:
    """Entries of a tar file, or of several that were joined, each with the place where its tar begins.

    Raises:
        ValueError: a damaged tar, or one that does not end with two blocks of zeros, as a whole one does.
    """
    with tar.open("rb") as stream:
        place, size = 0, os.fstat(stream.fileno()).st_size
        while place < size or not size:
            stream.seek(place)
            try:
                with tarfile.open(fileobj=stream, mode="r:") as archive:
                    for entry in archive:
                        if entry.size < 0:  # it would be read again and again
                            raise tarfile.TarError(f"entry {entry.name!r} has a size of {entry.size}")
                        yield place, entry
                    place = archive.offset
            except (tarfile.TarError, ValueError, OSError, OverflowError, MemoryError) as error:
                raise ValueError(f"{tar} is no whole tar file, or a compressed one: {error}") from error
            stream.seek(place)
            zeros = 0
            while (block := stream.read(tarfile.BLOCKSIZE)) == bytes(tarfile.BLOCKSIZE):
                zeros += 1
            if zeros < 2:
                fault = "damaged" if len(block) == tarfile.BLOCKSIZE else "cut off"
                raise ValueError(f"{tar} is no whole tar file: it is {fault} at byte {place:,}")
            place = stream.tell() - len(block.strip(b"\0") and block)


def _tar_caption(parts: dict[str, TarMember]) -> str | None:
    """The caption of a sample, None where it has none."""
    member = parts.get(".txt") or parts.get(".json")
    if member is None:
        return None
    name = f"{member.path}, member {member.name}"
    text = decoded(member.read(), name)
    if ".txt" in parts:
        return text.strip()
    try:
        content = json.loads(text, object_pairs_hook=_keys_once)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{name} is no JSON: {error}") from error
    return content.get("caption") if isinstance(content, dict) else None


def _keys_once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """An object of JSON; ValueError when it has a key twice, of which a parser keeps the last."""
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError(f"one of its keys is there twice: {[key for key, _ in pairs]}")
    return found


def pair_columns(name: str, columns: Sequence[str]) -> tuple[str, str]:
    """Which columns of a dataset hold image and caption; ValueError, naming all, when one is missing."""
    legal = (IMAGE_COLUMNS, CAPTION_COLUMNS)
    image, caption = (next((c for c in names if c in columns), None) for names in legal)
    if image is None or caption is None:
        raise ValueError(
            f"pairs {name!r}: columns are {', '.join(columns)}; needed: an image "
            f"({', '.join(IMAGE_COLUMNS)}) and a caption ({', '.join(CAPTION_COLUMNS)})"
        )
    return image, caption


@contextmanager
def reading(name: str) -> Iterator[None]:
    """Inside the block errors of `datasets` name the source, and its bars show where somebody sees them move.

    Raises:
        ValueError: whatever it raised of a file that it cannot read; of its causes the first is told.
    """
    import datasets

    if not sys.stderr.isatty():
        datasets.disable_progress_bars()
    datasets.logging.set_verbosity(datasets.logging.CRITICAL)  # what it logs of a file, it raises too
    try:
        yield
    except OSError:
        raise
    except Exception as error:
        if name in str(error):
            raise
        cause = error.__cause__ or error
        raise ValueError(f"pairs {name!r} cannot be read: {type(cause).__name__}: {cause}") from error


def cell_bytes(cell: dict | None) -> bytes | None:
    """The encoded image of a cell of a dataset, which holds it or names its file; None: there is none."""
    path = (cell or {}).get("path")
    if cell is None or cell["bytes"] is not None:
        return (cell or {}).get("bytes") or None
    return Path(path).read_bytes() if path and os.path.isfile(path) else None


def spooled(name: str, limit: int | None) -> Path:
    """Folder of tars with the first ``limit`` samples of the train split of a `datasets` id or local path.

    A sample without image or caption is written without it, so that the reader of the tars counts it. What
    was fetched for an id stays; a local path is read again when the bytes of its files have changed.

    Raises:
        ValueError: no image or no caption column.
    """
    key = {"source": name, "limit": limit, "tar": TAR_SIZE}
    if Path(name).exists():
        files = [Path(name)] if Path(name).is_file() else list(files_below(Path(name)))
        key["files"] = list(content_hashes(files))
    parts = Path(artifacts_root()) / "streams" / f".parts-{fingerprint(key)}"

    def build(folder: Path) -> None:
        parts.mkdir(parents=True, exist_ok=True)
        seals = _whole_tars(parts)
        done = len(seals) * TAR_SIZE
        wanted = None if limit is None else max(0, limit - done)
        stream = islice(_stream(name, done), wanted)
        while samples := list(islice(stream, TAR_SIZE)):
            tar = parts / f"{len(seals):05}.tar"
            _write_tar(tar, len(seals) * TAR_SIZE, samples)
            seals[tar.name] = seal_of(tar)
            with written_whole(parts / _SEALS) as scratch:
                write_sealed(scratch, seals)
        for tar in seals:
            os.link(parts / tar, folder / tar)

    folder = artifact("streams", key, build)
    shutil.rmtree(parts, ignore_errors=True)
    return folder


def _whole_tars(parts: Path) -> dict[str, str]:
    """Seals of the tars that a killed run left, by name, up to the first that is not as it was written."""
    try:
        seals = read_sealed(parts / _SEALS)
    except (FileNotFoundError, ValueError, TypeError):
        return {}
    return dict(takewhile(lambda one: seal_of(parts / one[0]) == one[1], seals.items()))


def _stream(name: str, skip: int) -> Iterator[tuple[bytes | None, str | None]]:
    """Encoded image and caption of each sample, after the first ``skip``."""
    from datasets import Image, load_dataset

    with reading(name):
        files = {"path": "parquet" if name.endswith(".parquet") else "webdataset", "data_files": name}
        stream = load_dataset(**files if is_url(name) else {"path": name}, split="train", streaming=True)
        columns = stream.column_names or list(next(iter(stream), {}))
        image, caption = pair_columns(name, columns)
        stream = stream.select_columns([image, caption]).cast_column(image, Image(decode=False))
        for number, row in enumerate(stream.skip(skip), start=skip):
            if not isinstance(row[caption], str | None):
                raise ValueError(f"pairs {name!r}: caption of row {number} is {row[caption]!r}, not a string")
            yield cell_bytes(row[image]), row[caption]


def _write_tar(path: Path, first: int, samples: list[tuple[bytes | None, str | None]]) -> None:
    with written_whole(path) as scratch, tarfile.open(scratch, "w") as tar:
        for number, (image, caption) in enumerate(samples, start=first):
            text = caption.encode() if caption is not None else None
            kind = {b"RIFF": "webp", b"\x89PNG": "png"}.get((image or b"")[:4], "jpg")
            for suffix, data in ((kind, image), ("txt", text)):
                if data is not None:
                    entry = tarfile.TarInfo(f"{number:09}.{suffix}")
                    entry.size = len(data)
                    tar.addfile(entry, io.BytesIO(data))
