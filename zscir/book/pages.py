"""Build the book: all chapters in order, then the pages.

    zscir book                   # _build/html/index.html
    zscir book --profile quick   # the same in small, kept apart: _build/quick/_build/html/index.html

Jupyter Book only renders; `zscir.book.chapters` executes. A failed chapter or a warning stops the build, and
then there are no pages: what is there to read always comes from one whole build.
"""

from __future__ import annotations

import importlib.metadata
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from zscir.book.chapters import (
    PROFILES,
    BookError,
    chapters,
    checkout,
    declared_parameters,
    edition_folder,
    environment,
    print_remarks,
    run_chapter,
    source_of,
)

__all__ = ["PROFILES", "BookError", "build", "chapters", "declared_parameters", "run_chapter"]


def build(
    profile: str = "default",
    parameters: dict[str, Any] | None = None,
    only: str | None = None,
    *,
    root: Path | None = None,
    force: bool = False,
) -> Path:
    """Execute all chapters in order, then render the pages; every warning of the pages is an error.

    What chapters say on stderr is one, too, in the book with its own parameters; with others it is counted.

    Args:
        profile: as in `run_chapter`.
        parameters: passed to each chapter that declares them.
        only: execute this chapter alone and take the other executed copies as they are.
        root: the checkout; by default the one this library runs from.
        force: execute also unchanged chapters.

    Returns:
        Path of the book's ``index.html``.

    Raises:
        ValueError: unknown profile or chapter, or a parameter that no chapter declares.
        BookError: a chapter or the rendering failed. There are then no pages, not even older ones.
    """
    root = checkout(root)
    names = [source_of(root, only).stem] if only else chapters(root)
    shares = _shares(root, chapters(root), parameters or {})
    edition = edition_folder(root, profile, parameters)
    pages = edition / "_build" / "html"
    try:
        for name in names:
            target = edition / "book" / "notebooks" / f"{name}.ipynb"
            _run_aloud(name, shares[name], profile, target, root, force, strict=not parameters)
        _drop_orphans(root, edition)
        _fill_book(root, edition / "book")
        render(root, edition)
    except BaseException:
        shutil.rmtree(pages, ignore_errors=True)
        raise
    return pages / "index.html"


def _shares(root: Path, names: list[str], parameters: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """For each chapter those of the parameters that it declares."""
    declared = {name: declared_parameters(name, root) for name in names}
    known = sorted({key for one in declared.values() for key in one})
    if unknown := [key for key in parameters if key not in known]:
        raise ValueError(f"no chapter has a parameter {unknown[0]!r}; the parameters are: {', '.join(known)}")
    return {
        name: {key: value for key, value in parameters.items() if key in declared[name]} for name in names
    }


def _run_aloud(
    name: str, parameters: dict, profile: str, target: Path, root: Path, force: bool, strict: bool
) -> None:
    """Run one chapter and say so."""
    start, before = time.perf_counter(), target.stat().st_mtime_ns if target.is_file() else None
    print(f"chapter {name} ...", end=" ", flush=True)
    try:
        run_chapter(name, parameters, profile, target, root=root, force=force, strict=strict)
    except BaseException:
        print("FAILED", flush=True)
        raise
    unchanged = target.stat().st_mtime_ns == before
    print("unchanged" if unchanged else f"{time.perf_counter() - start:.1f} s", flush=True)
    print_remarks(target)


def _drop_orphans(root: Path, edition: Path) -> None:
    """Remove executed copies without a source; refuse to go on while a chapter has no copy."""
    names, folder = chapters(root), edition / "book" / "notebooks"
    for copy in folder.glob("*.ipynb"):
        if copy.stem not in names:
            copy.unlink()
    if missing := [name for name in names if not (folder / f"{name}.ipynb").is_file()]:
        raise BookError(f"chapters without an executed copy: {', '.join(missing)}; build without `only`")


def _fill_book(root: Path, book: Path) -> None:
    """Put into ``book`` what the pages need: the prose (when it is a copy) and MathJax from its package."""
    if book != root / "book":
        for old in book.iterdir():
            if old.name != "notebooks":
                shutil.rmtree(old) if old.is_dir() else old.unlink()
        ignored = shutil.ignore_patterns("notebooks", "mathjax", ".ipynb_checkpoints")
        shutil.copytree(root / "book", book, ignore=ignored, dirs_exist_ok=True)
    mathjax = importlib.metadata.distribution("django-static-mathjax").locate_file("mathjax/static/mathjax")
    target = book / "_assets" / "mathjax"
    target.mkdir(parents=True, exist_ok=True)
    for name in ("es5/tex-svg.js", "LICENSE"):
        shutil.copyfile(Path(mathjax, name), target / Path(name).name)


def render(root: Path, edition: Path, builder: str = "html") -> Path:
    """Render one edition with Jupyter Book, from scratch, warnings as errors.

    Args:
        root: the checkout.
        edition: its folder; ``book/`` there is filled and has all executed copies.
        builder: ``html``, or ``singlehtml`` for one long page.

    Returns:
        Path of ``index.html``.

    Raises:
        BookError: there was a warning or an error.
    """
    command = [
        sys.executable,
        "-c",
        "from jupyter_book.cli.main import main; main()",
        "build",
        str(edition / "book"),
    ]
    command += ["--config", str(root / "_config.yml"), "--path-output", str(edition)]
    command += ["--all", "-W", "-n", "--keep-going", "--builder", builder]
    with environment():
        status = subprocess.run(command, cwd=root, stdin=subprocess.DEVNULL, check=False).returncode
    if status != 0:
        raise BookError(f"jupyter-book ended with exit status {status}; its messages are above")
    return edition / "_build" / builder / "index.html"
