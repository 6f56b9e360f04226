"""Files and folders that are there whole or not at all: written beside their place, then renamed.

with written_whole(path) as scratch:
    scratch.write_text(text, encoding="utf-8")
"""

import errno
import os
import shutil
import tempfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from zscir.storage.paths import local_path

#: Bytes below which a disk counts as full: no block is left that a writer could have used.
_FULL = 2**16


@contextmanager
def written_whole(path: str | Path) -> Iterator[Path]:
    """Path of a file to write in the block, beside ``path``; at the block's end it becomes ``path``.

    What it holds is on the disk before it gets its name. When the block raises, it is removed and an older
    ``path`` stays as it was. The folder is created when it is missing.

    Raises:
        OSError: the disk is full; whatever the writer in the block made of it, the error names ``path``.
    """
    scratch = _beside(Path(path))
    try:
        with _full_disk_named(Path(path)):
            yield scratch
            flush_to_disk(scratch)
        os.replace(scratch, path)
    finally:
        scratch.unlink(missing_ok=True)


@contextmanager
def whole_folder(path: str | Path, keep: Callable[[Path], bool] = lambda path: False) -> Iterator[Path]:
    """An empty folder to fill in the block, beside ``path``; at the block's end it becomes ``path``.

    When the block raises, it is removed and an older ``path`` stays as it was.

    Args:
        path: the folder; an older one is replaced.
        keep: whether an older one, perhaps of another process that was faster, is to stay instead.

    Raises:
        OSError: the disk is full, as in `written_whole`, or the older folder could not be removed.
    """
    path = Path(path)
    scratch = _beside(path)
    scratch.mkdir()
    try:
        with _full_disk_named(path):
            yield scratch
        if path.exists() and not keep(path):
            shutil.rmtree(path)
        try:
            os.rename(scratch, path)
        except OSError:  # another process was faster
            if not keep(path):
                raise
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def check_writable(folder: str | Path) -> None:
    """Make the folder and try to write in it, before long work whose result it is to hold.

    Raises:
        OSError: it cannot be made, or written in.
    """
    local_path(folder, "output").mkdir(parents=True, exist_ok=True)
    tempfile.TemporaryFile(dir=folder).close()


def check_new_folder(folder: str | Path) -> Path:
    """A folder that is to be written, with ``~`` resolved, before long work whose result it is to hold.

    Raises:
        FileExistsError: it exists and is not empty.
        OSError: it cannot be made.
    """
    folder = local_path(folder, "output")
    if folder.exists() and any(folder.iterdir()):
        raise FileExistsError(f"{folder} is not empty; name a new folder")
    check_writable(folder.parent)
    return folder


def flush_to_disk(path: Path) -> None:
    """Make the system write a file's, or a folder's, content to disk now."""
    if path.is_dir() and os.name == "nt":
        return  # Windows opens no folder
    handle = os.open(path, os.O_RDWR if path.is_file() else os.O_RDONLY)  # Windows flushes what it may write
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def _full_disk_named(path: Path) -> Iterator[None]:
    """An error in the block that comes of a full disk becomes the system's own, with ``path``.

    torch, safetensors and NumPy write with code of their own, and their errors do not say why it failed.
    """
    try:
        yield
    except ValueError:
        raise
    except Exception as error:
        named = getattr(error, "filename", None) is not None
        full = getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT)
        if named or not full and shutil.disk_usage(path.parent).free >= _FULL:
            raise
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path)) from error


def _beside(path: Path) -> Path:
    """A new name in the folder of a path, which no pattern such as ``*.json`` fits."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.with_name(f".{path.name}-{uuid.uuid4().hex[:8]}.tmp")
