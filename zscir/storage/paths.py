"""Where things live: the checkout, and the folder of generated artifacts.

The only module that knows a folder by name; everything else asks here.
"""

import os
from pathlib import Path

_PARENT = Path(__file__).resolve().parents[2]

#: The checkout this package runs from, or None when it was installed without one.
REPO: Path | None = _PARENT if (_PARENT / "pyproject.toml").is_file() else None


def artifacts_root() -> Path:
    """Folder of everything computed and stored: data, features, masks, networks, results.

    The environment variable ``ZSCIR_ARTIFACTS`` wins; then ``_build/artifacts`` of the
    checkout; then ``~/.cache/zscir``. The folder need not exist yet.
    """
    named = os.environ.get("ZSCIR_ARTIFACTS")
    if named:
        return Path(named).expanduser().resolve()
    if REPO is not None:
        return REPO / "_build" / "artifacts"
    return Path.home() / ".cache" / "zscir"


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
