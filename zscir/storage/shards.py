"""Long work cut in shards: each is stored when it is done, so a killed run goes on where it was.

A `Layer` is an artifact (see ``zscir.storage.artifacts``) that grows part by part. A part is one file,
written under another name and then renamed, so it is there whole or not at all. It is a zip archive, with a
CRC-32 of every column, which a run that goes on compares. When the last one is there, all parts are put
together into the artifact's folder and removed.
"""

import json
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from zscir.storage.artifacts import archive_damage, artifact, damage, fingerprint, is_whole, set_aside
from zscir.storage.locks import lock
from zscir.storage.paths import artifacts_root
from zscir.storage.whole import written_whole

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
        """Whether part ``index`` is done (or all is). What is damaged is set aside."""
        if self.is_whole:
            return True
        if self.folder.exists():
            with lock(self.folder):  # another process may be about to replace it
                if not self.is_whole:
                    set_aside(self.folder, damage(self.folder))
        part = self._part(index)
        if part.is_file() and (trouble := archive_damage(part)):
            set_aside(part, trouble)
        return part.is_file() or self.is_whole  # joined meanwhile by another process

    def write(self, index: int, columns: Columns) -> None:
        """Store part ``index``, whole or not at all."""
        with written_whole(self._part(index)) as scratch, scratch.open("wb") as stream:
            np.savez(stream, **dict(_encoded(name, value) for name, value in columns.items()))

    def read(self, index: int) -> Columns:
        """The columns of part ``index``."""
        with np.load(self._part(index)) as part:
            return dict(_decoded(entry, part[entry]) for entry in part.files)

    def finish(self, count: int) -> Path:
        """Put ``count`` parts together, remove them, and return the folder of the whole."""
        folder = artifact(self.kind, self.key, lambda tmp: self._join(tmp, count))
        shutil.rmtree(self.parts, ignore_errors=True)
        return folder

    def _part(self, index: int) -> Path:
        return self.parts / f"{index:06}.npz"

    def _join(self, folder: Path, count: int) -> None:
        """One column after the other, part by part: memory holds one part (and the lists)."""
        for name, first in self.read(0).items():
            columns = (self.read(index)[name] for index in range(count))
            if isinstance(first, list):
                whole = [item for column in columns for item in column]
                (folder / f"{name}.json").write_text(json.dumps(whole, ensure_ascii=False), "utf-8")
                continue
            length = sum(len(self.read(index)[name]) for index in range(count))
            write_rows(folder / f"{name}.npy", length, columns)


def write_rows(path: Path, count: int, parts: Iterable[np.ndarray]) -> None:
    """A .npy file of ``count`` rows, written part by part (at least one).

    On a full disk that is an error; a memory map would end the process (SIGBUS).
    """
    with path.open("wb") as stream:
        for number, part in enumerate(parts):
            if number == 0:
                header = np.lib.format.header_data_from_array_1_0(part[:0])
                np.lib.format.write_array_header_1_0(stream, header | {"shape": (count, *part.shape[1:])})
            stream.write(part.tobytes())


def _encoded(name: str, value: np.ndarray | list) -> tuple[str, np.ndarray]:
    """Name and array of a column in a part: a list becomes the bytes of its JSON."""
    if not isinstance(value, list):
        return name, value
    return f"{name}.json", np.frombuffer(json.dumps(value, ensure_ascii=False).encode(), dtype=np.uint8)


def _decoded(name: str, array: np.ndarray) -> tuple[str, np.ndarray | list]:
    """Name and column of what `_encoded` wrote."""
    if not name.endswith(".json"):
        return name, array
    return name.removesuffix(".json"), json.loads(array.tobytes().decode())
