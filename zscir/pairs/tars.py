"""Webdataset tars of images and captions, as img2dataset writes them: what is in them and where."""

from __future__ import annotations

import json
import tarfile
from dataclasses import dataclass
from pathlib import Path

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")


@dataclass(frozen=True)
class TarMember:
    """One file of a tar, read by its place."""

    tar: Path
    name: str
    offset: int
    size: int

    def read(self) -> bytes:
        """Its bytes."""
        with self.tar.open("rb") as stream:
            stream.seek(self.offset)
            return stream.read(self.size)


def tar_pairs(tar: Path) -> tuple[list[tuple[TarMember, str]], list[str]]:
    """Captioned images of one webdataset tar, and the samples that lack one of both (failed downloads).

    Members of one name up to the first dot are a sample.
    """
    samples: dict[str, dict[str, TarMember]] = {}
    try:
        with tarfile.open(tar, "r:") as archive:
            for entry in archive:
                if entry.isfile():
                    folder, _, file = entry.name.rpartition("/")
                    stem, _, suffix = file.partition(".")
                    member = TarMember(tar, entry.name, entry.offset_data, entry.size)
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
