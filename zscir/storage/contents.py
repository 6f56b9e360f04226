"""Users' files by their bytes: a hash that names what is in them, and a later read that finds the same.

    content_hash(Path("photo.jpg"))                  # SHA-256, 64 hexadecimal characters
    list(content_hashes(paths))                      # of many files, read in parallel

Names, sizes and times say nothing of what a file holds, so whatever is stored for a file is named by its
bytes. The cost is one reading of them a process: about 1 GB/s a core from memory, and what the disk gives
where that is less (CC3M's 150 GB: 5 minutes at 0.5 GB/s). A file whose stamp (size, times, inode) is as it
was is not read twice.
"""

import hashlib
import os
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from pathlib import Path

import numpy as np

#: Files a batch of `content_hashes`.
_BATCH = 4096
#: Nanoseconds after which a file that changes again surely gets another time (FAT counts in 2 s).
_SETTLED = 2_000_000_000


@dataclass(frozen=True, slots=True)
class FilePart:
    """Bytes of a file that are read later and must then be those of now: ``stamp`` is its `stamp_of` of now.

    They are those from ``offset`` on, ``size`` of them, or all to the end (-1).
    """

    path: Path
    stamp: int
    offset: int = 0
    size: int = -1

    def read(self) -> bytes:
        """The bytes. Raises ValueError when the file is another one by now, or gone."""
        try:
            with self.path.open("rb") as stream:
                if stamp_of(os.fstat(stream.fileno())) == self.stamp:
                    stream.seek(self.offset)
                    return stream.read(self.size)
        except FileNotFoundError:
            pass
        raise ValueError(f"{self.path} has changed since it was loaded: load it again")


def stamp_of(stat: os.stat_result) -> int:
    """Size, times and inode of a file as one number: it changes when the file is written or replaced."""
    return hash((stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino))


def content_hash(path: Path, parts: Sequence[tuple[int, int]] = ()) -> str:
    """SHA-256 of a file's bytes, or of parts of them (offset and size of each), in hexadecimal.

    Raises:
        OSError: it cannot be read, or is missing.
    """
    stat = os.stat(path)
    settled = time.time_ns() - max(stat.st_mtime_ns, stat.st_ctime_ns) > _SETTLED
    read = _hash if settled else _hash.__wrapped__
    return read(path, stamp_of(stat), np.array(parts, dtype=np.int64).tobytes())


def content_hashes(paths: Iterable[Path]) -> Iterator[str]:
    """`content_hash` of many files, in order, several read at once."""
    paths = iter(paths)
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        while batch := list(islice(paths, _BATCH)):
            yield from pool.map(content_hash, batch)


def files_below(folder: Path) -> Iterator[Path]:
    """Everything in a folder and its subfolders that is no folder, also through links; each folder once."""
    seen = set()
    for here, folders, names in os.walk(folder, followlinks=True):
        stat = os.stat(here)
        if (stat.st_dev, stat.st_ino) in seen:  # links may lead in a circle
            folders.clear()
            continue
        seen.add((stat.st_dev, stat.st_ino))
        folders.sort()
        yield from (Path(here, name) for name in sorted(names))


@lru_cache(maxsize=2**18)
def _hash(path: Path, stamp: int, parts: bytes) -> str:
    """`content_hash` of a file that has this stamp; ``parts`` are int64 [n, 2]."""
    with path.open("rb") as file:
        if not parts:
            return hashlib.file_digest(file, "sha256").hexdigest()
        digest = hashlib.sha256()
        for offset, size in np.frombuffer(parts, dtype=np.int64).reshape(-1, 2).tolist():
            file.seek(offset)
            digest.update(size.to_bytes(8, "little") + file.read(size))
        return digest.hexdigest()
