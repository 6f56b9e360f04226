"""Long work cut in shards: each is stored when it is done, so a killed run goes on where it was.

A `Layer` is an artifact (see ``zscir.storage.artifacts``) that grows part by part. A part is one file,
written under another name and then renamed, so it is there whole or not at all. When the last one is there,
all parts are put together into the artifact's folder and removed.
"""

from __future__ import annotations

import json
import os
import shutil
import uuid
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from zscir.storage.artifacts import artifact, fingerprint, is_whole
from zscir.storage.paths import artifacts_root

#: Columns of a part: arrays (joined along their first axis) or lists (kept as JSON).
Columns = dict[str, np.ndarray | list]


@dataclass(frozen=True)
class Layer:
    """An artifact made of parts.

    ``kind`` and ``key`` are those of the artifact; ``size`` is how much of the work one part holds, so that
    parts of another cut are never mixed in.
    """

    kind: str
    key: dict
    size: int

    @property
    def folder(self) -> Path:
        """Where the whole lies, or will lie: an array ``x`` in ``x.npy``, a list ``y`` in ``y.json``."""
        return Path(artifacts_root()) / self.kind / fingerprint(self.key)

    @property
    def parts(self) -> Path:
        """Where the parts lie until the whole is there."""
        return self.folder.with_name(f".parts-{self.size}-{self.folder.name}")

    @property
    def is_whole(self) -> bool:
        """Whether all is done."""
        return is_whole(self.folder)

    def has(self, index: int) -> bool:
        """Whether part ``index`` is done (or all is)."""
        return self.is_whole or self._part(index).is_file()

    def write(self, index: int, columns: Columns) -> None:
        """Store part ``index``, whole or not at all."""
        self.parts.mkdir(parents=True, exist_ok=True)
        scratch = self.parts / f".{index:06}-{uuid.uuid4().hex[:8]}"
        try:
            with scratch.open("wb") as stream:
                np.savez(stream, **{_entry(name, value): _packed(value) for name, value in columns.items()})
            os.replace(scratch, self._part(index))
        finally:
            scratch.unlink(missing_ok=True)

    def read(self, index: int) -> Columns:
        """The columns of part ``index``."""
        with np.load(self._part(index)) as part:
            return {entry.removesuffix(".json"): _unpacked(entry, part[entry]) for entry in part.files}

    def finish(self, count: int) -> Path:
        """Put ``count`` parts together, remove them, and return the folder of the whole."""
        folder = artifact(self.kind, self.key, lambda tmp: self._join(tmp, count))
        shutil.rmtree(self.parts, ignore_errors=True)
        return folder

    def _part(self, index: int) -> Path:
        return self.parts / f"{index:06}.npz"

    def _join(self, folder: Path, count: int) -> None:
        """One column after the other, part by part: memory holds one part (and the lists)."""
        first = self.read(0)
        for name, value in first.items():
            if isinstance(value, list):
                whole = [item for index in range(count) for item in self.read(index)[name]]
                (folder / f"{name}.json").write_text(json.dumps(whole, ensure_ascii=False), "utf-8")
                continue
            length = sum(len(self.read(index)[name]) for index in range(count))
            store = new_array(folder / f"{name}.npy", (length, *value.shape[1:]), value.dtype)
            place = 0
            for index in range(count):
                part = self.read(index)[name]
                store[place : place + len(part)] = part
                place += len(part)
            store.flush()


def new_array(path: Path, shape: tuple[int, ...], dtype=np.float32) -> np.ndarray:
    """A new .npy file, open for writing row by row."""
    return np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=shape)


def _entry(name: str, value: np.ndarray | list) -> str:
    return f"{name}.json" if isinstance(value, list) else name


def _packed(value: np.ndarray | list) -> np.ndarray:
    if not isinstance(value, list):
        return value
    return np.frombuffer(json.dumps(value, ensure_ascii=False).encode(), dtype=np.uint8)


def _unpacked(entry: str, array: np.ndarray) -> np.ndarray | list:
    return json.loads(array.tobytes().decode()) if entry.endswith(".json") else array
