"""Compute once, store whole: folders of results, named by everything they depend on.

    folder = artifact("features", {"backbone": backbone.fingerprint}, lambda tmp: save(tmp / "f.npy"))

A chapter asks for what it needs; what exists is returned, what does not is built in a
temporary folder and moved into place only when complete. Of several processes that ask for
the same thing, one builds it and the others wait.
"""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.metadata
import json
import os
import re
import shutil
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from zscir.storage.locks import lock
from zscir.storage.paths import artifacts_root

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
        key, versions). A folder without ``key.json`` is incomplete and is built anew.

    Raises:
        ValueError: ``kind`` is not a plain folder name.
        Exception: whatever ``build`` raises; its half-written folder is removed first.
    """
    if not re.fullmatch(r"[\w.-]*\w[\w.-]*", kind):
        raise ValueError(f"kind must be one folder name (letters, digits, '.', '_', '-'), got {kind!r}")
    folder = Path(root if root is not None else artifacts_root()) / kind / fingerprint(key)
    if is_whole(folder):
        return folder
    with lock(folder):
        if not is_whole(folder):  # another process may have built it while this one waited
            _build(folder, _record(kind, key), build)
    return folder


def is_whole(folder: Path) -> bool:
    """Whether an artifact folder is complete: its ``key.json`` is written last."""
    return (folder / KEY_FILE).is_file()


def _build(folder: Path, record: dict, build: Callable[[Path], None]) -> None:
    """Build in a folder beside the place, then move it there."""
    scratch = folder.parent / f".{folder.name}-{uuid.uuid4().hex[:8]}"
    scratch.mkdir(parents=True)
    try:
        build(scratch)
        (scratch / KEY_FILE).write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
        _move_into_place(scratch, folder)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)  # gone already when it was moved


def _move_into_place(scratch: Path, folder: Path) -> None:
    """Rename ``scratch`` to ``folder``; when another process was faster, its copy stays."""
    for _ in range(2):
        try:
            os.rename(scratch, folder)
            return
        except OSError:
            if is_whole(folder):
                return
            if not folder.exists():
                raise
            shutil.rmtree(folder)  # left without key.json: never whole, so it cannot be in use
    raise OSError(f"{folder} is incomplete and could not be replaced; remove it and try again")


def _record(kind: str, key: dict) -> dict:
    versions = {name: _version(name) for name in ("zscir", "torch", "open_clip_torch")}
    return {"kind": kind, "key": _plain(key), "versions": versions}


def _version(distribution: str) -> str:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


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
