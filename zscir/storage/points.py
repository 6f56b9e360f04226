"""A task at many points: the grid, the work, the table. What a sweep keeps on disk:

    points/0f3c….json   {"point": …, "result": …, "seconds": …, "crc32": …}, when the point is finished
    table.csv           one row a point; there only when all points of the last call are finished
    provenance.json     the task, and for each run of it versions, commit, machines and date

All of it is written by the process that runs the sweep, each file whole or not at all, with a CRC-32 of what
it holds. A second process that runs the same sweep waits for the first.
"""

import datetime
import functools
import itertools
import json
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pandas as pd

from zscir.storage.artifacts import fingerprint, read_sealed, write_sealed
from zscir.storage.checks import check, optional, whole_from
from zscir.storage.locks import lock
from zscir.storage.outcomes import Outcome, Point, SweepError, Task
from zscir.storage.provenance import cores, git_commit, versions
from zscir.storage.whole import check_writable, written_whole

POINTS, TABLE, PROVENANCE = "points", "table.csv", "provenance.json"
_VERSIONS = ("zscir", "python", "torch", "open_clip_torch", "numpy", "safetensors")


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
    listed = range(seeds) if whole_from(1).test(seeds) else seeds
    whole = isinstance(listed, (list, tuple, range)) and all(map(whole_from(0).test, listed))
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

    Killed at any moment and called again, it goes on with the points that are missing.

    Args:
        task: takes a point, returns a dict of scalars; a function of a module, or functools.partial of one.
            Its name and arguments (but for paths) are recorded; a change of its code is not noticed.
        points: dicts of parameters, as `grid` makes them.
        folder: where all of it is kept; made if it is not there.
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
    payload, folder = packed(task), Path(folder)
    say = functools.partial(print, file=sys.stderr, flush=True) if progress else lambda text: None
    with lock(folder / POINTS / "all"):
        store = Store(folder, task)
        rows = store.read(points)
        missing = {number: point for number, point in enumerate(points) if number not in rows}
        with closing(outcomes(payload, missing, count, scheduler, say)) as arriving:
            _work_off(points, rows, store, arriving, say)
        table = pd.DataFrame([rows[number] for number in range(len(points))])
        table["seconds"] = table.pop("seconds")  # the last column, whatever the results
        with written_whole(folder / TABLE) as scratch:
            table.to_csv(scratch, index=False)
    return table


def _work_off(points: list[Point], rows: dict, store: "Store", arriving: Iterable, say: Callable) -> None:
    """Keep what arrives, (number, outcome) by (number, outcome). Raises SweepError when something failed."""
    failed: dict[int, str] = {}
    try:
        for number, found in arriving:
            if found.error:
                failed[number] = found.error
            else:
                rows[number] = store.add(points[number], found)
            say(_progress_line(points, number, found, len(rows) + len(failed)))
            if found.hopeless:
                break
    except SweepError as error:
        if failed:
            raise SweepError(f"{error}\n{_failures(points, failed, len(rows), store.folder)}") from None
        raise
    if failed:
        raise SweepError(_failures(points, failed, len(rows), store.folder))


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
    check("workers", workers, optional(whole_from(1)))
    if workers is not None and scheduler is not None:
        raise ValueError(f"workers is {workers!r} beside a scheduler; a cluster has workers of its own")
    return min(workers or cores(), points)  # of all points: who resumes computes with as many threads


def _failures(points: list[Point], failed: Mapping[int, str], done: int, folder: Path) -> str:
    """One message for all points that failed."""
    listed = "\n".join(f"  {label(points[number])}: {failed[number]}" for number in sorted(failed))
    untried = len(points) - done - len(failed)
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


class Store:
    """The folder of one sweep, and the task whose results it keeps.

    Raises:
        ValueError: the folder holds the points of another task, or its provenance is damaged.
        OSError: nothing can be written there.
    """

    def __init__(self, folder: Path, task: Task):
        check_writable(folder)
        self.folder = folder
        self.record: dict[str, Any] = {"task": _named(task), "runs": []}
        self._run: dict[str, Any] | None = None
        place = folder / PROVENANCE
        if place.is_file():
            self.record["runs"] = self._earlier_runs(place)
        elif any((folder / POINTS).glob("*.json")):
            raise ValueError(f"{folder} holds points but no {PROVENANCE}: name another folder")

    def _earlier_runs(self, place: Path) -> list[dict]:
        try:
            earlier = read_sealed(place)
            theirs, runs = earlier["task"], list(earlier["runs"])
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{place} is damaged or cut off: {error!r}; name another folder") from error
        if theirs != self.record["task"]:
            how = _differences(theirs, self.record["task"])
            raise ValueError(
                f"{self.folder} holds points of another task or state: {how}; name another folder, or remove "
                "this one to compute all of it anew"
            )
        return runs

    def read(self, points: Sequence[Point]) -> dict[int, dict]:
        """Number of a point -> its row of the table, for those of the points that are stored.

        Raises:
            ValueError: files are damaged; the message names all of them.
        """
        rows, damaged = {}, []
        for number, point in enumerate(points):
            place = self._place(point)
            try:
                stored = read_sealed(place)
                if fingerprint(stored["point"]) != place.stem:
                    raise ValueError("it holds another point than its name says")
                rows[number] = {**point, **stored["result"], "seconds": stored["seconds"]}
            except FileNotFoundError:
                pass
            except (ValueError, KeyError, TypeError) as error:
                damaged.append(f"{place} ({error})")
        if damaged:
            raise ValueError(f"damaged or cut off, remove to compute again: {'; '.join(damaged)}")
        return rows

    def add(self, point: Point, done: Outcome) -> dict:
        """Keep a finished point, at once and whole; its row. From the first on there is no table."""
        if self._run is None:
            known = {"date": datetime.date.today().isoformat(), "git_commit": git_commit()}
            self._run = {**known, "versions": versions(_VERSIONS), "machines": [], "points": 0}
            self.record["runs"].append(self._run)
            (self.folder / TABLE).unlink(missing_ok=True)
        self._run["points"] += 1
        if done.machine not in self._run["machines"]:
            self._run["machines"].append(done.machine)
        stored = {"point": point, "result": done.result, "seconds": done.seconds}
        for place, content in ((self.folder / PROVENANCE, self.record), (self._place(point), stored)):
            with written_whole(place) as scratch:
                write_sealed(scratch, content)
        return {**point, **done.result, "seconds": done.seconds}

    def _place(self, point: Point) -> Path:
        return self.folder / POINTS / f"{fingerprint(point)}.json"


def _named(task: Task) -> dict[str, Any]:
    """Name of a task, and what functools.partial gives it but for paths: they say where, not what."""
    arguments: dict[str, Any] = {}
    while isinstance(task, functools.partial):
        given = {str(number): value for number, value in enumerate(task.args)} | task.keywords
        arguments, task = given | arguments, task.func
    kept = {name: value for name, value in arguments.items() if not isinstance(value, Path)}
    known = {"name": f"{task.__module__}.{task.__qualname__}", "arguments": kept}
    return json.loads(json.dumps(known, default=repr))


def _differences(theirs: dict, ours: dict) -> str:
    """How two tasks differ, in words."""
    if theirs.get("name") != ours["name"]:
        return f"{theirs.get('name')}, not {ours['name']}"
    old, new = theirs.get("arguments", {}), ours["arguments"]
    names = [name for name in {**old, **new} if old.get(name) != new.get(name)]
    return ", ".join(f"{name} {old.get(name)!r}, not {new.get(name)!r}" for name in names)
