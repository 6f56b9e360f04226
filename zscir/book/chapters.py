"""Run one chapter: a parameterized notebook in, an executed copy out.

    zscir run 05_cirr -p tau 0.27   # one chapter with another threshold

A chapter is a notebook of ``notebooks/``, stored without outputs, with one cell of parameters. Papermill
executes it; only a chapter that ran to its end without an error is stored, with a box at its end that says
what made it (`zscir.book.record`). What was said on stderr, by other libraries of a reader's own files most
often, is counted there; in the book's own build it is an error. A chapter is not run again whose notebook,
parameters, library, versions and files that its parameters name are the same as last time.

The copies with the notebooks' own parameters are kept in ``book/notebooks/``. Every other *edition* (the
quick profile, another tau) has a folder of its own below ``_build/`` and never touches the real one.
"""

import builtins
import json
import math
import os
import re
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import chdir, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock
from typing import Any

import nbformat
import papermill
from jupyter_client.kernelspec import NoSuchKernel
from nbclient.exceptions import DeadKernelError
from papermill.exceptions import PapermillExecutionError

from zscir.book.record import PROBE, chapter_record, cleaned, sign
from zscir.book.remarks import remarks_line, take_remarks
from zscir.storage import fingerprint
from zscir.storage.artifacts import json_seal, set_aside
from zscir.storage.contents import content_hash, files_below, stamp_of
from zscir.storage.paths import REPO, artifacts_hint, artifacts_root
from zscir.storage.provenance import DISTRIBUTIONS, commit_of, variables, versions
from zscir.storage.whole import check_writable, written_whole

#: Held while the process stands in the root of a checkout.
_IN_ROOT = Lock()
#: Tag of the cells, below the parameters, that build from them what checks them; quick, without output.
CHECKS = "checks"
#: Parameters of each profile: ``"*"`` for every chapter that declares them, a chapter's name for it alone.
PROFILES: dict[str, dict[str, dict[str, Any]]] = {
    "default": {},
    "quick": {
        "*": {"world": "tiny", "steps": 30, "batch": 64},
    },
}

_PACKAGE = Path(__file__).resolve().parents[1]
_ENGINE = {"kernel_name": "python3", "language": "python", "progress_bar": False, "start_timeout": 300}
_ENGINE["extra_arguments"] = ["--log-level=CRITICAL"]  # of the kernel: no remarks about its connection
_ALLOCATOR = (
    "glibc.malloc.hugetlb=1:glibc.malloc.mmap_threshold=33554432:glibc.malloc.trim_threshold=4294967296"
)
_TYPES = {
    "float": (float, int),
    "int": (int,),
    "bool": (bool,),
    "str": (str,),
    "list": (list, tuple),
    "dict": (dict,),
}


class BookError(RuntimeError):
    """The book could not be built; the message says which chapter or page and why."""


def chapters(root: Path | None = None) -> list[str]:
    """Names of all chapters in reading order, such as ``"05_cirr"``.

    Raises:
        FileNotFoundError: there is no checkout, or it has no ``notebooks/*.ipynb``.
    """
    folder = checkout(root) / "notebooks"
    names = sorted(path.stem for path in folder.glob("*.ipynb"))
    if not names:
        raise FileNotFoundError(f"no chapters in {folder}")
    return names


def declared_parameters(name: str, root: Path | None = None) -> dict[str, dict[str, str]]:
    """Parameters of a chapter as its parameters cell declares them.

    Returns:
        For each name a dict with ``inferred_type_name``, ``default`` and ``help``, all as written.

    Raises:
        ValueError: no chapter has this name.
    """
    return papermill.inspect_notebook(str(source_of(checkout(root), name)))


def run_chapter(
    name: str,
    parameters: dict[str, Any] | None = None,
    profile: str = "default",
    out: str | Path | None = None,
    *,
    root: Path | None = None,
    force: bool = False,
    strict: bool = False,
) -> Path:
    """Execute one chapter and store the executed copy, whole or not at all.

    Args:
        name: the chapter, such as ``"05_cirr"``; an unambiguous beginning (``"05"``) will do.
        parameters: values for the chapter's parameters cell; they win over the profile's.
        profile: ``"default"`` (what the notebook says) or ``"quick"`` (a small world, few steps).
        out: where to store the copy; by default the ``book/notebooks/`` of the edition.
        root: the checkout; by default the one this library runs from.
        force: run although nothing has changed.
        strict: whether a word on stderr is an error; else it is counted in the record (``remarks``).

    Returns:
        Path of the executed notebook.

    Raises:
        ValueError: unknown chapter, profile or parameter, or an illegal value; nothing was run.
        OSError: the copy cannot be stored there (nothing was run), or a cell could not store its results.
        BookError: a cell failed or, if ``strict``, wrote to stderr. There is then no copy, not even an older
            one.
    """
    root = checkout(root)
    source = source_of(root, name)
    chosen = chosen_parameters(source, profile, parameters or {})
    if parameters:
        run_checks(source, chosen)
    default = edition_folder(root, profile, parameters) / "book" / "notebooks" / source.name
    target = Path(out) if out is not None else default
    if target.resolve().parent == source.resolve().parent:
        raise ValueError(f"out must not lie in the folder of the sources, got {target}")
    stamp = _stamp(root, source, chosen)
    if not force and (told := told_by(target)).get("stamp") == stamp:
        if not (strict and told["record"].get("remarks")):
            return target
    check_writable(target.parent)
    if not told_by(target):
        set_aside(target, "damaged, or changed after it was stored")
    target.unlink(missing_ok=True)
    begun, clock = (commit_of(root), datetime.now(UTC)), time.perf_counter()
    notebook, kernel, remarks = _execute(root, source, chosen, strict)
    facts = (*begun, time.perf_counter() - clock, kernel, remarks)
    record = chapter_record(source.stem, declared_parameters(source.stem, root), chosen, profile, *facts)
    cleaned(notebook).metadata["zscir"] = {"stamp": stamp, "profile": profile, "parameters": chosen}
    return _store(sign(notebook, record), target)


def checkout(root: Path | None) -> Path:
    """Folder that holds ``notebooks/`` and ``book/``: ``root``, or the checkout this library runs from.

    Raises:
        FileNotFoundError: the library was installed without its checkout.
    """
    found = root if root is not None else REPO
    if found is None:
        raise FileNotFoundError(
            "the chapters are not part of the installed package: clone the repository, `make book`"
        )
    return Path(found).resolve()


def source_of(root: Path, name: str) -> Path:
    """Path of a chapter's source notebook; ValueError if the name fits none or several."""
    names, wanted = chapters(root), name.removesuffix(".ipynb")
    begun = [other for other in names if wanted and other.startswith(wanted)]
    matches = [wanted] if wanted in names else begun
    if len(matches) != 1:
        raise ValueError(f"no chapter {name!r}; the chapters are: {', '.join(names)}")
    return root / "notebooks" / f"{matches[0]}.ipynb"


def edition_folder(root: Path, profile: str, parameters: dict[str, Any] | None) -> Path:
    """Folder with ``book/`` and ``_build/html/`` of one edition; that of the plain book is the checkout."""
    if profile == "default" and not parameters:
        return root
    parts = [profile] if profile != "default" else []
    parts += [f"{key}-{value}" for key, value in sorted((parameters or {}).items())]
    label = re.sub(r"[^\w.+-]+", "_", "-".join(parts))
    return root / "_build" / (label if len(label) <= 60 else f"{label[:40]}-{fingerprint(parameters)}")


def chosen_parameters(source: Path, profile: str, parameters: dict[str, Any]) -> dict[str, Any]:
    """Parameters to inject: the profile's and the caller's.

    Raises:
        ValueError: an unknown profile, or a parameter that the chapter at ``source`` does not declare so.
    """
    if profile not in PROFILES:
        raise ValueError(f"no profile {profile!r}; the profiles are: {', '.join(PROFILES)}")
    declared = papermill.inspect_notebook(str(source))
    shared = {key: value for key, value in PROFILES[profile].get("*", {}).items() if key in declared}
    chosen = {**shared, **PROFILES[profile].get(source.stem, {}), **parameters}
    for key, value in chosen.items():
        if key not in declared:
            legal = [f"{one} (default {spec['default']})" for one, spec in declared.items()] or ["none"]
            raise ValueError(f"chapter {source.stem} has no parameter {key!r}; it has: {', '.join(legal)}")
        kind = declared[key]["inferred_type_name"]
        if value is None and "None" in declared[key]["help"]:  # the chapter's own word on it
            continue
        if isinstance(value, float) and not math.isfinite(value):
            raise ValueError(f"parameter {key} of chapter {source.stem} must be a finite number, got {value}")
        legal_types = _TYPES.get(kind, (object,))
        if not isinstance(value, legal_types) or (isinstance(value, bool) and kind in ("int", "float")):
            raise ValueError(f"parameter {key} of chapter {source.stem} must be {kind}, got {value!r}")
    return chosen


def run_checks(source: Path, chosen: dict[str, Any]) -> None:
    """Run, in this process but where the kernel will run, the cells in which a chapter checks its parameters.

    Raises:
        ValueError, OSError: what they say of a value.
    """
    cells = [*tagged(source, "parameters"), "globals().update(chosen)", *tagged(source, CHECKS)]
    with _IN_ROOT, chdir(source.parents[1]):  # two threads at once would not find their way back
        exec(compile("\n".join(cells), f"<{source.stem}>", "exec"), {"chosen": chosen})


def tagged(source: Path, tag: str) -> list[str]:
    """The source of the code cells of a notebook that have a tag."""
    cells = nbformat.read(source, as_version=4).cells
    return [cell.source for cell in cells if tag in cell.metadata.get("tags", [])]


def state_of(root: Path, source: Path) -> str:
    """Name of the state that a chapter is in: notebook, library, and the records that it may read."""
    files = [source, *_PACKAGE.rglob("*"), *(root / "benchmarks" / "results").rglob("*")]
    digests = {
        os.path.relpath(path, _PACKAGE if path.is_relative_to(_PACKAGE) else root): content_hash(path)
        for path in sorted(files)
        if path.is_file() and "__pycache__" not in path.parts
    }
    return fingerprint(digests)


def data_state(root: Path, values: Iterable[Any]) -> list[tuple[str, int]]:
    """Names and stamps (size, times, inode) of the files that parameters name, themselves or by a folder."""
    named = [root / Path(value).expanduser() for value in values if isinstance(value, str) and value]
    files = (file for place in named for file in ([place] if place.is_file() else files_below(place)))
    return [(str(file), stamp_of(file.stat())) for file in files if file.is_file()]


def _stamp(root: Path, source: Path, chosen: dict[str, Any]) -> str:
    """Name of everything an executed copy depends on: state, parameters, the files these name, versions."""
    data = data_state(root, chosen.values())
    return fingerprint(
        state_of(root, source), chosen, *filter(None, [data]), versions(DISTRIBUTIONS), sys.version
    )


def told_by(target: Path) -> dict[str, Any]:
    """What an executed copy says of itself; nothing if there is none, or it is not as we wrote it."""
    try:
        content = json.loads(target.read_text(encoding="utf-8")) if target.is_file() else {}
        seal = content["metadata"]["zscir"].pop("crc32")
        return content["metadata"]["zscir"] if seal == json_seal(content) else {}
    except (ValueError, KeyError, TypeError):
        return {}


def print_remarks(target: Path) -> None:
    """Say what came on stderr while an executed copy was made."""
    if (record := told_by(target).get("record", {})).get("remarks"):
        print(f"chapter {record['chapter']}: {remarks_line(record)}", flush=True)


@contextmanager
def environment() -> Iterator[None]:
    """Inside the block new processes find this Python's kernel and this library, and figures are inline.

    Matplotlib keeps its list of fonts beside the results: not every home can be written. Threads that wait
    for others sleep: spinning, as they do by default, two chapters keep each other from computing. The
    allocator of GNU systems keeps what was freed, in large pages: large tensors come and go in every step.
    """
    paths = [str(_PACKAGE.parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    wanted = {
        "JUPYTER_PREFER_ENV_PATH": "1",
        "PYDEVD_DISABLE_FILE_VALIDATION": "1",
        "MPLBACKEND": "module://matplotlib_inline.backend_inline",
        "OMP_WAIT_POLICY": os.environ.get("OMP_WAIT_POLICY", "PASSIVE"),
        "GLIBC_TUNABLES": os.environ.get("GLIBC_TUNABLES", _ALLOCATOR),
        "MPLCONFIGDIR": os.environ.get("MPLCONFIGDIR") or str(artifacts_root() / "matplotlib"),
        "IPYTHONDIR": os.environ.get("IPYTHONDIR") or str(artifacts_root() / "ipython"),
        "PYTHONPATH": os.pathsep.join(paths),
    }
    with variables(wanted):
        yield


def _execute(
    root: Path, source: Path, chosen: dict[str, Any], strict: bool
) -> tuple[nbformat.NotebookNode, dict, dict[str, int]]:
    """The executed notebook, what its kernel tells of itself, and how often which line came on stderr.

    Raises:
        BookError, OSError: as `run_chapter`, with the cell that failed.
    """
    notebook = nbformat.read(source, as_version=4)
    notebook.cells.append(nbformat.v4.new_code_cell(PROBE))
    artifacts_root().mkdir(parents=True, exist_ok=True)
    try:
        with environment():
            done = papermill.execute_notebook(notebook, None, chosen, cwd=root, **_ENGINE)
    except PapermillExecutionError as error:
        kind = getattr(builtins, error.ename, BookError)
        if issubclass(kind, OSError) and not issubclass(kind, FileNotFoundError):  # the machine, not the code
            place = f"chapter {source.stem} stopped in cell {error.cell_index}"
            raise OSError(f"{place}: {error.evalue} {artifacts_hint()}") from error
        trace = re.sub(r"\x1b\[[0-9;]*m", "", "\n".join(error.traceback))
        raise BookError(_report(source, error.cell_index, error.source, trace)) from error
    except (DeadKernelError, NoSuchKernel) as error:
        raise BookError(f"chapter {source.stem}: the kernel died or did not start ({error})") from error
    for index, cell in enumerate(done.cells):
        for output in cell.get("outputs", []):
            if strict and output.get("name") == "stderr":
                message = f"wrote to stderr: {output.text.strip()}"
                raise BookError(_report(source, index, cell.source, message))
    remarks = take_remarks(done)
    return done, json.loads(done.cells.pop().outputs[0].text), remarks


def _store(notebook: nbformat.NotebookNode, target: Path) -> Path:
    """Write the notebook, whole, with a checksum of all of it; its path."""
    notebook.metadata["zscir"]["crc32"] = json_seal(json.loads(nbformat.writes(notebook)))
    with written_whole(target) as scratch:
        nbformat.write(notebook, scratch)
    return target


def _report(source: Path, index: int, code: str, message: str) -> str:
    quoted = "\n".join(f"    {line}" for line in code.strip().splitlines())
    return f"chapter {source.stem} failed in cell {index}:\n{quoted}\n{message}"
