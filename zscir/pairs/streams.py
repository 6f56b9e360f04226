"""A `datasets` stream, kept as it comes: webdataset tars of encoded images with their captions.

A stream can be read once, and masked pairs are made again for every new tau, so what was fetched stays. Each
tar is written whole or not at all; a killed run skips what it has.
"""

from __future__ import annotations

import io
import os
import shutil
import tarfile
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

from zscir.pairs.sources import pair_columns
from zscir.storage import artifact, fingerprint
from zscir.storage.paths import artifacts_root
from zscir.storage.whole import written_whole

#: Samples a tar.
TAR_SIZE = 1024


def spooled(name: str, limit: int | None) -> Path:
    """Folder of tars with the first ``limit`` samples of the train split of a `datasets` id or local path.

    A sample without image or caption is written without it, so that the reader of the tars counts it.

    Raises:
        ValueError: no image or no caption column.
    """
    key = {"source": name, "limit": limit, "tar": TAR_SIZE}
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
        yield _bytes(row[image]), row[caption]


def _bytes(cell: dict | None) -> bytes | None:
    if cell is None:
        return None
    return cell["bytes"] if cell["bytes"] is not None else Path(cell["path"]).read_bytes()


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
