"""Where things live: the checkout, and the folder of generated artifacts.

The only module that knows a folder by name; everything else asks here.
"""

import os
import re
from pathlib import Path

_PARENT = Path(__file__).resolve().parents[2]

#: The checkout this package runs from, or None when it was installed without one.
REPO: Path | None = _PARENT if (_PARENT / "pyproject.toml").is_file() else None


def artifacts_root() -> Path:
    """Folder of everything computed and stored: data, features, masks, networks, results.

    The environment variable ``ZSCIR_ARTIFACTS`` wins; then ``_build/artifacts`` of the
    checkout; then ``~/.cache/zscir``. The folder need not exist yet.

    Raises:
        ValueError: the variable names a URL.
    """
    named = os.environ.get("ZSCIR_ARTIFACTS")
    if named:
        return local_path(named, "ZSCIR_ARTIFACTS").resolve()
    if REPO is not None:
        return REPO / "_build" / "artifacts"
    return Path.home() / ".cache" / "zscir"


def is_url(text: object) -> bool:
    """Whether a text is a URL, such as ``s3://bucket/folder``."""
    return re.match(r"[a-z][a-z0-9+.-]*://", str(text)) is not None


def local_path(path: str | Path, name: str) -> Path:
    """A path of this machine, with ``~`` resolved.

    Raises:
        ValueError: it is a URL; ``name`` says what the path is for.
    """
    if is_url(path):
        raise ValueError(
            f"{name} is {str(path)!r}, a URL; legal: a path of this machine (only image-caption pairs are "
            "read from URLs, and only masked pairs written to them)"
        )
    return Path(path).expanduser()


def results_folder() -> Path:
    """Folder of the records.

    Raises:
        FileNotFoundError: the library was installed without its checkout, where they lie.
    """
    if REPO is None:
        raise FileNotFoundError("the records are part of the repository: clone it")
    return REPO / "benchmarks" / "results"


def printable(name: str | Path) -> str:
    """A file's name in one line, without what would steer a terminal.

    >>> printable("a\\nb\\x1b[31m.png")
    'a\\\\nb\\\\x1b[31m.png'
    """
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in str(name))


def artifacts_hint() -> str:
    """Where results are stored and how to change it, for messages of what could not be stored."""
    return f"(results are stored in {artifacts_root()}; ZSCIR_ARTIFACTS names another folder)"
