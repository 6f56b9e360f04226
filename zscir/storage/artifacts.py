"""Compute once, store whole: folders of results, named by everything they depend on.

    folder = artifact("features", {"backbone": backbone.fingerprint}, lambda tmp: save(tmp / "f.npy"))

A chapter asks for what it needs; what exists is returned, what does not is built in a
temporary folder and moved into place only when complete. Of several processes that ask for
the same thing, one builds it and the others wait.

``key.json`` in the folder names every file with its size and CRC-32, and has one itself. Sizes are compared
at every use, the CRC-32 at the first use in a process and when the file's times have changed. zlib computes
it at 1.7 GB/s a core (SHA-256: 0.8 to 1.5, BLAKE2b: 0.4). What is damaged is named on stdout, set aside and
built anew; so is what was stored before there were checksums, since nothing tells whether it is damaged.
"""

import dataclasses
import hashlib
import json
import os
import re
import shutil
import zipfile
import zlib
from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from zscir.storage.contents import files_below, stamp_of
from zscir.storage.locks import lock
from zscir.storage.paths import artifacts_root
from zscir.storage.provenance import versions
from zscir.storage.whole import whole_folder

KEY_FILE = "key.json"


def fingerprint(*parts: Any) -> str:
    """Name of a value: the same parts always give the same 16 hexadecimal characters.

    The parts are written as JSON with sorted keys and hashed (SHA-256). Understood are None,
    booleans, numbers (also NumPy scalars), strings, lists, tuples, dicts with string keys, paths
    (as strings) and dataclasses (as dicts). ``1`` and ``1.0`` are different values.

    Returns:
        16 hexadecimal characters.

    Raises:
        TypeError: a part has another type (a set, an array, a tensor), which has no one spelling.
        ValueError: a number is infinite or not a number.

    >>> fingerprint({"a": 1, "b": [2, 3]}) == fingerprint({"b": (2, 3), "a": 1})
    True
    >>> len(fingerprint("tau", 0.3))
    16
    """
    text = json.dumps(_plain(list(parts)), sort_keys=True, allow_nan=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def artifact(kind: str, key: dict, build: Callable[[Path], None], root: Path | None = None) -> Path:
    """Folder with the result that ``key`` describes, built now if it does not exist yet.

    Args:
        kind: what it is, one folder name such as ``"features"``.
        key: everything the result depends on; any value that `fingerprint` understands.
        build: writes the result into the empty folder it is given.
        root: folder that holds all kinds; by default `zscir.storage.paths.artifacts_root`.

    Returns:
        ``<root>/<kind>/<fingerprint(key)>``. It holds what ``build`` wrote and ``key.json`` (kind,
        key, versions, files). One that `damage` finds fault with is set aside as ``<fingerprint>.damaged``.

    Raises:
        ValueError: ``kind`` is not a plain folder name.
        Exception: whatever ``build`` raises; its half-written folder is removed first.
    """
    if not re.fullmatch(r"[\w.-]*\w[\w.-]*", kind):
        raise ValueError(f"kind must be one folder name (letters, digits, '.', '_', '-'), got {kind!r}")
    folder = Path(root if root is not None else artifacts_root()) / kind / fingerprint(key)
    if is_whole(folder):
        return folder
    with lock(folder) as alone:
        if not is_whole(folder):  # another process may have built it while this one waited
            set_aside(folder, damage(folder))
            for left in folder.parent.glob(f".{folder.name}-*.tmp") if alone else ():
                shutil.rmtree(left, ignore_errors=True)  # of a process that was killed
            with whole_folder(folder, keep=is_whole) as scratch:
                build(scratch)
                known = versions(["zscir", "torch", "open_clip_torch"])
                files = {path.relative_to(scratch).as_posix(): seal_of(path) for path in files_below(scratch)}
                record = {"kind": kind, "key": _plain(key), "versions": known, "files": files}
                write_sealed(scratch / KEY_FILE, record)
    return folder


def is_whole(folder: Path) -> bool:
    """Whether an artifact folder is complete, its ``key.json`` being written last, and not damaged."""
    return not damage(folder)


def damage(folder: Path) -> str:
    """What is wrong with the files of an artifact folder, in words; empty when they are as written."""
    try:
        files = read_sealed(folder / KEY_FILE)["files"]
    except (FileNotFoundError, NotADirectoryError):
        return f"{KEY_FILE} is missing"
    except (ValueError, KeyError, TypeError):
        return f"{KEY_FILE} is damaged, or older than checksums"
    found = {name: seal_of(os.path.join(folder, name)) for name in files}
    wrong = [name for name in files if found[name] != files[name]]
    if not wrong:
        return ""
    more = f" (and {len(wrong) - 1} more files)" if len(wrong) > 1 else ""
    return f"{wrong[0]} is {found[wrong[0]]}, was written as {files[wrong[0]]}{more}"


def archive_damage(path: Path) -> str:
    """What is wrong with a zip archive, as NumPy and torch write them, in words; empty when nothing is.

    Its entries have a CRC-32 each, which neither of the two compares; torch can be told to leave them out.
    Of an entry that is marked as a folder torch reads nothing, and says nothing.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            wrong = archive.testzip() if any(entry.CRC for entry in entries) else None
            wrong = wrong or next((entry.filename for entry in entries if entry.external_attr & 0x10), None)
    except Exception as error:  # whatever a cut or a flipped bit leads to: it may ask for a password
        return f"damaged or cut off ({error})"
    return f"{wrong} has other bytes than were written" if wrong else ""


def json_seal(content: object) -> str:
    """CRC-32 of a value as JSON: of what is written as text, whatever its spaces."""
    return f"{zlib.crc32(json.dumps(content, sort_keys=True).encode()):08x}"


def write_sealed(path: Path, content: dict[str, Any]) -> None:
    """Write a JSON object with a `json_seal` of it, for `read_sealed`."""
    sealed = content | {"crc32": json_seal(content)}
    path.write_text(json.dumps(sealed, indent=1) + "\n", encoding="utf-8")


def read_sealed(path: Path) -> dict[str, Any]:
    """What `write_sealed` wrote; a file from before there were seals is taken as it is.

    Raises:
        ValueError, TypeError: it is cut off, or not what was written.
    """
    content = dict(json.loads(path.read_text(encoding="utf-8")))
    if content.pop("crc32", None) not in (None, json_seal(content)):
        raise ValueError("its checksum is not that of its content")
    return content


def set_aside(path: Path, trouble: str) -> None:
    """Rename a damaged file or folder to ``<name>.damaged`` and say so in a line on stdout.

    Nothing happens when it is not there. An older one of the new name is removed.
    """
    if path.exists():
        aside = path.with_name(f"{path.name}.damaged")
        shutil.rmtree(aside, ignore_errors=True)
        with suppress(FileNotFoundError):  # another process was faster, where there are no locks
            os.replace(path, aside)
        name = f"{path.parent.name}/{path.name}"  # without the machine's folders: chapters are published
        print(f"{name}: {trouble}; set aside as {aside.name}, computed anew", flush=True)


def seal_of(path: str | Path) -> str:
    """Size and checksum of a file, in words."""
    try:
        stat = os.stat(path)
        return f"{stat.st_size} bytes with CRC-32 {_crc32(path, stamp_of(stat)):08x}"
    except FileNotFoundError:
        return "missing"


@lru_cache(maxsize=2**18)
def _crc32(path: str | Path, stamp: int) -> int:
    """CRC-32 of a file that has this stamp."""
    value = 0
    with open(path, "rb") as stream:
        while data := stream.read(2**20):
            value = zlib.crc32(data, value)
    return value


def _plain(value: Any) -> Any:
    """The same value in JSON's own types."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, np.generic):
        return _plain(value.item())
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        if wrong := [name for name in value if not isinstance(name, str)]:
            raise TypeError(f"keys must be strings, got {wrong[0]!r} ({type(wrong[0]).__name__})")
        return {name: _plain(item) for name, item in value.items()}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: _plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    raise TypeError(
        f"cannot name a {type(value).__name__}; use None, bool, number, str, Path, list, tuple, "
        "dict with string keys, or a dataclass of these"
    )
