"""Webdataset tars of images and captions, as img2dataset writes them; `datasets` streams, kept as such.

A stream can be read once, and masked pairs are made again for every new tau, so what was fetched stays. Each
tar is written whole or not at all; a killed run skips what it has.
"""

from __future__ import annotations

import io
import json
import os
import shutil
import tarfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from zscir.storage import artifact, fingerprint
from zscir.storage.contents import FilePart, content_hashes, files_below, stamp_of
from zscir.storage.paths import artifacts_root
from zscir.storage.whole import written_whole

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp")
IMAGE_COLUMNS = ("image", "jpg", "png", "webp")
CAPTION_COLUMNS = ("caption", "text", "txt")
#: Samples a tar.
TAR_SIZE = 1024


@dataclass(frozen=True, slots=True)
class TarMember(FilePart):
    """One file of a tar, read by its place."""

    name: str = ""


def tar_pairs(tar: Path) -> tuple[list[tuple[TarMember, str]], list[str]]:
    """Captioned images of one webdataset tar, and the samples that lack one of both (failed downloads).

    Members of one name up to the first dot are a sample.
    """
    samples: dict[str, dict[str, TarMember]] = {}
    stamp = stamp_of(tar.stat())
    try:
        with tarfile.open(tar, "r:") as archive:
            for entry in archive:
                if entry.isfile():
                    folder, _, file = entry.name.rpartition("/")
                    stem, _, suffix = file.partition(".")
                    member = TarMember(tar, stamp, entry.offset_data, entry.size, entry.name)
                    samples.setdefault(f"{folder}/{stem}", {})[f".{suffix.lower()}"] = member
    except tarfile.TarError as error:
        raise ValueError(f"{tar} is no whole tar file: {error}") from error
    if any(
        part.offset + part.size > tar.stat().st_size for parts in samples.values() for part in parts.values()
    ):
        raise ValueError(f"{tar} is no whole tar file: its last member is cut off")
    found, incomplete = [], []
    for name, parts in samples.items():
        image = next((parts[suffix] for suffix in IMAGE_SUFFIXES if suffix in parts), None)
        caption = _tar_caption(parts)
        if image is not None and caption is not None:
            found.append((image, caption))
        else:
            lacks = "image" if image is None else "caption"
            incomplete.append(f"{tar.name}/{name.lstrip('/')}: no {lacks}")
    return found, incomplete


def _tar_caption(parts: dict[str, TarMember]) -> str | None:
    if ".txt" in parts:
        return parts[".txt"].read().decode("utf-8").strip()
    return json.loads(parts[".json"].read()).get("caption") if ".json" in parts else None


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


def cell_bytes(cell: dict) -> bytes:
    """The encoded image of a cell of a dataset, which holds it or names its file."""
    return cell["bytes"] if cell["bytes"] is not None else Path(cell["path"]).read_bytes()


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
        done = len(list(parts.glob("*.tar")))
        for index, samples in enumerate(_batches(_stream(name, done * TAR_SIZE), limit, done), start=done):
            _write_tar(parts / f"{index:05}.tar", index * TAR_SIZE, samples)
        for tar in parts.glob("*.tar"):
            os.link(tar, folder / tar.name)

    folder = artifact("streams", key, build)
    shutil.rmtree(parts, ignore_errors=True)
    return folder


def _stream(name: str, skip: int) -> Iterator[tuple[bytes | None, str | None]]:
    """Encoded image and caption of each sample, after the first ``skip``."""
    from datasets import Image, load_dataset

    stream = load_dataset(name, split="train", streaming=True)
    columns = stream.column_names or list(next(iter(stream)))
    image, caption = pair_columns(name, columns)
    stream = stream.select_columns([image, caption]).cast_column(image, Image(decode=False))
    for row in stream.skip(skip):
        yield None if row[image] is None else cell_bytes(row[image]), row[caption]


def _batches(samples: Iterable, limit: int | None, done: int) -> Iterator[list]:
    samples = islice(samples, None if limit is None else max(0, limit - done * TAR_SIZE))
    while batch := list(islice(samples, TAR_SIZE)):
        yield batch


def _write_tar(path: Path, first: int, samples: list[tuple[bytes | None, str | None]]) -> None:
    with written_whole(path) as scratch, tarfile.open(scratch, "w") as tar:
        for number, (image, caption) in enumerate(samples, start=first):
            text = caption.encode() if caption is not None else None
            for suffix, data in ((_suffix(image), image), ("txt", text)):
                if data is not None:
                    entry = tarfile.TarInfo(f"{number:09}.{suffix}")
                    entry.size = len(data)
                    tar.addfile(entry, io.BytesIO(data))


def _suffix(image: bytes | None) -> str:
    """The file suffix that an encoded image would have."""
    if image is not None and image[:4] == b"RIFF":
        return "webp"
    return "png" if image is not None and image[:4] == b"\x89PNG" else "jpg"
