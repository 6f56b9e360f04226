"""A task at many points: the grid, the work, the table."""

import itertools
import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pandas as pd

from zscir.storage.artifacts import fingerprint
from zscir.storage.outcomes import Outcome, Point, SweepError, Task
from zscir.storage.provenance import cores
from zscir.storage.tables import Store


def grid(axes: dict[str, Sequence], seeds: int | Sequence[int] | None = None) -> list[Point]:
    """All combinations of the axes' values; the last axis, or else the seeds, changes fastest.

    >>> grid({"tau": [0.2, 0.4]}, seeds=2)
    [{'tau': 0.2, 'seed': 0}, {'tau': 0.2, 'seed': 1}, {'tau': 0.4, 'seed': 0}, {'tau': 0.4, 'seed': 1}]

    Args:
        axes: parameter -> its values, in the order to run them.
        seeds: how many (0, 1, ...), or which: an axis ``seed``.

    Raises:
        ValueError: nothing varies, an axis is empty, repeats a value or is no list, or seeds are given twice.
    """
    axes = dict(axes)
    if seeds is not None:
        if "seed" in axes:
            raise ValueError("seed is given twice: as an axis and as seeds")
        axes["seed"] = _seeds(seeds)
    if not axes:
        raise ValueError("axes is empty: give a parameter some values, or seeds")
    for name, values in axes.items():
        if isinstance(values, (str, bytes, dict, set)) or not hasattr(values, "__iter__"):
            raise ValueError(f"axis {name!r} is {values!r}; legal: a list of values")
        axes[name] = values = list(values)
        if not values:
            raise ValueError(f"axis {name!r} is empty; legal: at least one value")
        if repeated := [value for number, value in enumerate(values) if value in values[:number]]:
            raise ValueError(f"axis {name!r} has the value {repeated[0]!r} twice; legal: different values")
    return [dict(zip(axes, values, strict=True)) for values in itertools.product(*axes.values())]


def _seeds(seeds: int | Sequence[int]) -> list[int]:
    """The seeds that a number of them, or a list, stands for."""
    listed = list(range(seeds)) if isinstance(seeds, int) and not isinstance(seeds, bool) else seeds
    whole = isinstance(listed, (list, tuple, range)) and all(
        isinstance(seed, int) and not isinstance(seed, bool) and seed >= 0 for seed in listed
    )
    if not whole or not listed:
        raise ValueError(f"seeds is {seeds!r}; legal: how many (from 1), or a list of whole numbers from 0")
    return list(listed)


def run_points(
    task: Task,
    points: Sequence[Point],
    folder: str | Path,
    *,
    workers: int | None = None,
    scheduler: str | None = None,
    progress: bool = True,
) -> pd.DataFrame:
    """What a task gives at each point, as a table; a finished point is stored at once and never run again.

    Killed at any moment and called again, it goes on with the points that are missing. What ``folder`` holds:
    `zscir.storage.tables`.

    Args:
        task: takes a point, returns a dict of scalars; a function of a module, or functools.partial of one.
            Its name and arguments (but for paths) are recorded; a change of its code is not noticed.
        points: dicts of parameters, as `grid` makes them.
        folder: where points and table are kept.
        workers: processes on this machine, by default one a core; they share the cores' threads.
        scheduler: address of a Dask scheduler, whose workers must have this library and the task.
        progress: tell of each finished point, on stderr.

    Returns:
        One row a point, in their order: parameters, results, ``seconds``; it is also ``folder/table.csv``.

    Raises:
        ValueError: illegal points or options, damaged files, or a folder of another task; nothing was run.
        TypeError: other processes cannot read the task.
        SweepError: points failed, each with its message; all the others are stored. Or nobody could work.
    """
    from zscir.storage.workers import outcomes, packed  # Dask takes half a second to import

    points = _checked(points)
    count = _worker_count(workers, scheduler, len(points))
    payload, store = packed(task), Store(folder, task)
    done, failed = store.read(points), {}
    missing = {number: point for number, point in enumerate(points) if number not in done}

    def say(text: str) -> None:
        if progress:
            print(text, file=sys.stderr, flush=True)

    try:
        with closing(outcomes(payload, missing, count, scheduler, say)) as arriving:
            for number, found in arriving:
                (failed if found.error else done)[number] = found
                if not found.error:
                    store.add(points[number], found)
                say(_progress_line(points, number, found, len(done) + len(failed)))
                if found.hopeless:
                    break
    except SweepError as error:
        if failed:
            raise SweepError(f"{error}\n{_failures(points, failed, done, store.folder)}") from None
        raise
    if failed:
        raise SweepError(_failures(points, failed, done, store.folder))
    store.finish(table := _table(points, done))
    return table


def label(point: Point) -> str:
    """A point in words: ``tau 0.2, seed 1``."""
    return ", ".join(f"{name} {value}" for name, value in point.items())


def _checked(points: Sequence[Point]) -> list[Point]:
    """The points as a list, each different and with the same parameters."""
    points = list(points)
    if not points:
        raise ValueError("points is empty: give at least one")
    seen: set[str] = set()
    for point in points:
        if not isinstance(point, dict) or not point:
            raise ValueError(f"a point must be a dict of parameters, got {point!r}")
        if "seconds" in point or list(point) != list(points[0]):
            legal = f"those of the first, {', '.join(points[0])}"
            raise ValueError(f"a point has the parameters {', '.join(map(str, point))}; legal: {legal}")
        if (name := fingerprint(point)) in seen:
            raise ValueError(f"the point {label(point)} occurs twice")
        seen.add(name)
    return points


def _worker_count(workers: int | None, scheduler: str | None, points: int) -> int:
    """How many processes of this machine work on so many points."""
    if workers is not None and (not isinstance(workers, int) or isinstance(workers, bool) or workers < 1):
        raise ValueError(f"workers is {workers!r}; legal: whole numbers from 1, or None for one a core")
    if workers is not None and scheduler is not None:
        raise ValueError(f"workers is {workers!r} beside a scheduler; a cluster has workers of its own")
    return min(workers or cores(), points)  # of all points: who resumes computes with as many threads


def _table(points: list[Point], done: dict[int, Outcome]) -> pd.DataFrame:
    """One row a point."""
    results = list(dict.fromkeys(name for number in range(len(points)) for name in done[number].result))
    rows = [
        {**point, **done[number].result, "seconds": done[number].seconds}
        for number, point in enumerate(points)
    ]
    return pd.DataFrame(rows, columns=[*points[0], *results, "seconds"])


def _failures(points: list[Point], failed: dict[int, Outcome], done: dict[int, Outcome], folder: Path) -> str:
    """One message for all points that failed."""
    listed = "\n".join(f"  {label(points[number])}: {failed[number].error}" for number in sorted(failed))
    untried = len(points) - len(done) - len(failed)
    rest = f", {untried} were not tried" if untried else ""
    return (
        f"{len(failed)} of {len(points)} points failed{rest}; what was finished is stored in {folder}; the "
        f"same call goes on from there:\n{listed}"
    )


def _progress_line(points: list[Point], number: int, found: Outcome, place: int) -> str:
    """What to say when a point has ended: only what sets it apart from the others."""
    varied = [name for name in points[0] if len({repr(point[name]) for point in points}) > 1]
    text = label({name: points[number][name] for name in varied or points[0]})
    return f"[{place}/{len(points)}] {text}: {'FAILED' if found.error else f'{found.seconds:.1f} s'}"
