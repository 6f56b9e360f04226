"""Build the book: all chapters in order, then the pages.

    zscir book                   # _build/html/index.html
    zscir book --profile quick   # the same in small, kept apart: _build/quick/_build/html/index.html
    zscir book --jobs 1          # one chapter at a time, for a machine with little memory

Jupyter Book only renders; `zscir.book.chapters` executes, two chapters at a time where there are two cores:
what both need is computed by the first and awaited by the other. A failed chapter or a warning stops the
build, and then there are no pages: what is there to read always comes from one whole build.
"""

import importlib.metadata
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import chdir
from pathlib import Path
from queue import SimpleQueue
from tempfile import TemporaryDirectory
from threading import Thread
from typing import Any

from zscir.book.chapters import (
    PROFILES,
    BookError,
    chapters,
    checkout,
    chosen_parameters,
    declared_parameters,
    edition_folder,
    environment,
    print_remarks,
    run_chapter,
    run_checks,
    source_of,
    told_by,
)
from zscir.storage.checks import check, whole_from
from zscir.storage.locks import lock
from zscir.storage.provenance import cores

__all__ = ["PROFILES", "BookError", "build", "chapters", "declared_parameters", "run_chapter"]


def build(
    profile: str = "default",
    parameters: dict[str, Any] | None = None,
    only: str | None = None,
    *,
    root: Path | None = None,
    force: bool = False,
    jobs: int | None = None,
) -> Path:
    """Execute all chapters, then render the pages; every warning of the pages is an error.

    What chapters say on stderr is one, too, in the book with its own parameters; with others it is counted.

    Args:
        profile: as in `run_chapter`.
        parameters: passed to each chapter that declares them.
        only: execute this chapter alone and take the other executed copies as they are.
        root: the checkout; by default the one this library runs from.
        force: execute also unchanged chapters.
        jobs: chapters at a time, which share the cores; by default two, or one where there is one core.

    Returns:
        Path of the book's ``index.html``.

    Raises:
        ValueError: unknown profile or chapter, a parameter that no chapter declares, or an illegal value;
            nothing was run.
        BookError: a chapter or the rendering failed. There are then no pages, not even older ones.
    """
    root = checkout(root)
    jobs = min(2, cores()) if jobs is None else jobs
    check("jobs", jobs, whole_from(1))
    names = [source_of(root, only).stem] if only else chapters(root)
    shares = _shares(root, chapters(root), parameters or {})
    for source in (source_of(root, name) for name in names):
        chosen = chosen_parameters(source, profile, shares[source.stem])
        if shares[source.stem]:
            run_checks(source, chosen)
    edition = edition_folder(root, profile, parameters)
    pages = edition / "_build" / "html"

    def run(name: str) -> None:
        target = edition / "book" / "notebooks" / f"{name}.ipynb"
        _run_aloud(name, shares[name], profile, target, root, force, strict=not parameters)

    with lock(edition / "_build" / "book" / "pages"):  # of two builds at once the second finds all unchanged
        try:
            _side_by_side(run, names, min(jobs, len(names)), root)
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


def _side_by_side(run: Callable[[str], None], names: Sequence[str], jobs: int, root: Path) -> None:
    """Run all chapters, begun in reading order; after a failure none is begun.

    The threads only wait for kernels. They are daemons: who interrupts a build waits for no chapter.
    """
    waiting, ended = iter(names), SimpleQueue()

    def work() -> None:
        try:
            for name in waiting:
                run(name)
            ended.put(None)
        except BaseException as error:
            list(waiting)  # nobody begins another
            ended.put(error)

    with environment(), chdir(root):  # what each chapter sets for itself is set for all
        for _ in range(jobs):
            Thread(target=work, daemon=True).start()
        for _ in range(jobs):
            if (error := ended.get()) is not None:
                raise error


def _run_aloud(
    name: str, parameters: dict, profile: str, target: Path, root: Path, force: bool, strict: bool
) -> None:
    """Run one chapter and say so."""
    start, before = time.perf_counter(), target.stat().st_mtime_ns if target.is_file() else None
    print(f"chapter {name} ...", flush=True)
    try:
        run_chapter(name, parameters, profile, target, root=root, force=force, strict=strict)
    except BaseException:
        print(f"chapter {name}: FAILED", flush=True)
        raise
    took = f"{time.perf_counter() - start:.1f} s"
    print(f"chapter {name}:", "unchanged" if target.stat().st_mtime_ns == before else took, flush=True)
    print_remarks(target)


def _drop_orphans(root: Path, edition: Path) -> None:
    """Remove executed copies without a source; refuse to go on while a chapter has no copy."""
    names, folder = chapters(root), edition / "book" / "notebooks"
    for copy in folder.glob("*.ipynb"):
        if copy.stem not in names:
            copy.unlink()
    if missing := [name for name in names if not told_by(folder / f"{name}.ipynb")]:
        listed = f"{', '.join(missing)} (none or damaged)"
        raise BookError(f"chapters without an executed copy: {listed}; build without `only`")


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
    """Render one edition with Jupyter Book, from scratch, warnings as errors; whole or not at all.

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
    command += ["--config", str(root / "_config.yml")]
    command += ["--all", "-W", "-n", "--keep-going", "--builder", builder]
    place = edition / "_build" / builder
    for left in place.parent.glob(f".{builder}-*"):  # by a build that was killed
        shutil.rmtree(left)
    place.parent.mkdir(parents=True, exist_ok=True)
    with environment(), TemporaryDirectory(dir=place.parent, prefix=f".{builder}-") as scratch:
        command += ["--path-output", scratch]
        status = subprocess.run(command, cwd=root, stdin=subprocess.DEVNULL, check=False).returncode
        if status != 0:
            raise BookError(f"jupyter-book ended with exit status {status}; its messages are above")
        shutil.rmtree(place, ignore_errors=True)
        Path(scratch, "_build", builder).rename(place)
    return place / "index.html"
