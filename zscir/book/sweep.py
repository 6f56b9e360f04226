"""A chapter as the task of a sweep: parameters in, out what the executed copy glued.

    table = sweep_chapter("05_cirr", {"tau": [0.2, 0.4]}, seeds=5, fixed={"lam": 0.8})

A chapter fits if it glues numbers, as those of this book do for their prose.
"""

import re
import threading
from collections.abc import Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import nbformat
import pandas as pd

from zscir.book.chapters import (
    checkout,
    chosen_parameters,
    data_state,
    declared_parameters,
    run_chapter,
    run_checks,
    source_of,
    state_of,
)
from zscir.book.record import recorded_values
from zscir.storage import fingerprint, grid, run_points
from zscir.storage.outcomes import Point, SweepError, Task

#: Chapters run one after the other within a process: each changes the environment while it runs.
_ONE_CHAPTER = threading.Lock()


@dataclass(frozen=True)
class Plan:
    """A sweep of a chapter, checked and ready for `run_points`."""

    task: Task
    points: list[Point]
    folder: Path


def sweep_chapter(
    chapter: str,
    axes: dict[str, Sequence],
    seeds: int | Sequence[int] | None = None,
    *,
    workers: int | None = None,
    scheduler: str | None = None,
    progress: bool = True,
    **options: Any,
) -> pd.DataFrame:
    """Run a chapter at every point of a grid; a table of the scalars that it glues.

    Args:
        chapter, axes, seeds: as in `plan_chapter`; ``options`` are its others.
        workers, scheduler, progress: as in `run_points`.

    Raises:
        ValueError, SweepError: as both.
    """
    plan = plan_chapter(chapter, axes, seeds, anywhere=scheduler is not None, **options)
    return run_points(
        plan.task, plan.points, plan.folder, workers=workers, scheduler=scheduler, progress=progress
    )


def plan_chapter(
    chapter: str,
    axes: dict[str, Sequence],
    seeds: int | Sequence[int] | None = None,
    *,
    fixed: dict[str, Any] | None = None,
    profile: str = "default",
    folder: str | Path | None = None,
    root: Path | None = None,
    anywhere: bool = False,
) -> Plan:
    """Check a sweep of a chapter: names, types and values of all parameters, before anything runs.

    Args:
        chapter: such as ``"05_cirr"``, or an unambiguous beginning.
        axes: parameter -> values.
        seeds: how many seeds, or which, for the chapter's ``seed``.
        fixed: parameters that are the same at all points.
        profile: as in `zscir.book.run_chapter`.
        folder: where all of it is stored; by default ``_build/sweeps/`` and what varies.
        root: the checkout; by default the one this library runs from.
        anywhere: whether other machines do the work; a data folder need then not be here.

    Raises:
        ValueError: an unknown or illegal parameter or value, a chapter that glues nothing.
    """
    here, fixed = checkout(root), dict(fixed or {})
    source = source_of(here, chapter)
    kinds = {name: one["inferred_type_name"] for name, one in declared_parameters(source.stem, here).items()}
    points = grid({name: _typed(values, kinds.get(name)) for name, values in axes.items()}, seeds)
    if both := [name for name in points[0] if name in fixed]:
        raise ValueError(f"{both[0]} is fixed and varied; legal: one of the two")
    _check(source, profile, fixed, points, anywhere)
    place = Path("_build", "sweeps", _label(source.stem, profile, fixed, points))
    place = place if folder is None else Path(folder).absolute()
    task = partial(chapter_point, chapter=source.stem, profile=profile, fixed=fixed, folder=place)
    values = [*fixed.values(), *(value for point in points for value in point.values())]
    if not anywhere and (data := data_state(here, dict.fromkeys(map(str, values)))):
        task = partial(task, data=fingerprint(data))
    elsewhere = anywhere and root is None  # each machine then has its own checkout
    task = partial(task, root=None if elsewhere else here, state=state_of(here, source))
    return Plan(task, points, here / place)


def chapter_point(
    point: Point,
    *,
    chapter: str,
    folder: Path,
    profile: str = "default",
    fixed: dict[str, Any] | None = None,
    root: Path | None = None,
    state: str | None = None,
    data: str | None = None,
) -> dict[str, Any]:
    """Run a chapter at one point; the scalars that it glued, by name.

    The executed copy is kept in ``folder/notebooks``, on the machine that ran it; a relative ``folder`` lies
    below the checkout. A glued value with the name of a parameter of the point is left out.

    Args:
        point: parameters of this run.
        chapter, profile, root: as in `zscir.book.run_chapter`.
        folder: of the sweep.
        fixed: further parameters.
        state: `zscir.book.chapters.state_of` that the chapter must be in here.
        data: name of the users' files that it reads, for the record: other files are another sweep.

    Raises:
        BookError: the chapter failed.
        SweepError: it glued no scalar, or is here in another state.
    """
    here = checkout(root)
    if state is not None and state != state_of(here, source_of(here, chapter)):
        raise SweepError(f"a worker has chapter {chapter} or the library in another state: update it there")
    copy = here / folder / "notebooks" / f"{fingerprint(point)}.ipynb"
    with _ONE_CHAPTER:
        run_chapter(chapter, {**(fixed or {}), **point}, profile, copy, root=here)
    found = {name: value for name, value in recorded_values(copy).items() if name not in point}
    if not found:
        raise SweepError(f"chapter {chapter} glues no number and no text; {_HOW_TO_GLUE}")
    return found


_HOW_TO_GLUE = 'a sweep tabulates what a cell gives to myst_nb\'s `glue("name", value, display=False)`'


def _typed(values: Sequence, kind: str | None) -> Sequence:
    """Whole numbers as floats where the chapter declares a float, so that 0 and 0.0 are one value."""
    if kind != "float" or not isinstance(values, (list, tuple)):
        return values
    return [float(one) if isinstance(one, int) and not isinstance(one, bool) else one for one in values]


def _check(source: Path, profile: str, fixed: dict, points: list[Point], anywhere: bool) -> None:
    """Every value against the chapter's declarations, and by the cells in which the chapter checks them."""
    code = [cell for cell in nbformat.read(source, as_version=4).cells if cell.cell_type == "code"]
    if not any(re.search(r"\bglue\(", cell.source) for cell in code):
        raise ValueError(f"chapter {source.stem} glues nothing; {_HOW_TO_GLUE}")
    for name in points[0]:
        for value in {repr(point[name]): point[name] for point in points}.values():
            given = chosen_parameters(source, profile, {**fixed, name: value})
            with (
                suppress(FileNotFoundError) if anywhere else nullcontext()
            ):  # it need only be where the work is done
                run_checks(source, given)


def _label(chapter: str, profile: str, fixed: dict[str, Any], points: list[Point]) -> str:
    """Name of the folder of a sweep: what is fixed, with its value, and what varies."""
    parts = [chapter] + [profile] * (profile != "default")
    parts += [f"{name}-{value}" for name, value in sorted(fixed.items())] + list(points[0])
    text = re.sub(r"[^\w.+-]+", "_", "-".join(parts))
    return text if len(text) <= 60 else f"{text[:40]}-{fingerprint(parts)}"
