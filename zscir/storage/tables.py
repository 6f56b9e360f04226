"""What a sweep keeps on disk: a file a point, the table, and where it all comes from.

    points/0f3c….json   {"point": …, "result": …, "seconds": …}, written when the point is finished
    table.csv           one row a point; there only when all points of the last call are finished
    provenance.json     the task, and for each run of it versions, commit, machines and date

All of it is written by the process that runs the sweep, each file whole or not at all.
"""

import datetime
import functools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from zscir.storage.artifacts import fingerprint
from zscir.storage.outcomes import Outcome, Point, Task
from zscir.storage.provenance import git_commit, versions
from zscir.storage.whole import written_whole

POINTS, TABLE, PROVENANCE = "points", "table.csv", "provenance.json"
_VERSIONS = ("zscir", "python", "torch", "open_clip_torch", "numpy", "safetensors")


class Store:
    """The folder of one sweep.

    Args:
        folder: where; made if it is not there.
        task: whose results are kept.

    Raises:
        ValueError: the folder holds the points of another task, or its provenance is damaged.
    """

    def __init__(self, folder: str | Path, task: Task):
        self.folder = Path(folder)
        self.record: dict[str, Any] = {"task": named(task), "runs": []}
        self._run: dict[str, Any] | None = None
        place = self.folder / PROVENANCE
        if place.is_file():
            self.record["runs"] = self._earlier_runs(place)
        elif any((self.folder / POINTS).glob("*.json")):
            raise ValueError(f"{self.folder} holds points but no {PROVENANCE}: name another folder")

    def _earlier_runs(self, place: Path) -> list[dict]:
        try:
            earlier = json.loads(place.read_text(encoding="utf-8"))
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

    def read(self, points: Sequence[Point]) -> dict[int, Outcome]:
        """Number of a point -> its outcome, for those of the points that are stored.

        Raises:
            ValueError: files are damaged; the message names all of them.
        """
        found, damaged = {}, []
        for number, point in enumerate(points):
            place = self._place(point)
            if place.is_file():
                try:
                    found[number] = _read(place)
                except (ValueError, KeyError, TypeError) as error:
                    damaged.append(f"{place} ({error})")
        if damaged:
            raise ValueError(f"damaged or cut off, remove to compute again: {'; '.join(damaged)}")
        return found

    def add(self, point: Point, done: Outcome) -> None:
        """Keep a finished point, at once and whole. From the first on there is no table, until `finish`."""
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
                scratch.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")

    def finish(self, table: pd.DataFrame) -> None:
        """Write the table."""
        with written_whole(self.folder / TABLE) as scratch:
            table.to_csv(scratch, index=False)

    def _place(self, point: Point) -> Path:
        return self.folder / POINTS / f"{fingerprint(point)}.json"


def _read(place: Path) -> Outcome:
    """A stored point; ValueError, KeyError or TypeError when it is not whole."""
    stored = json.loads(place.read_text(encoding="utf-8"))
    if fingerprint(stored["point"]) != place.stem:
        raise ValueError("it holds another point than its name says")
    result, seconds = stored["result"], stored["seconds"]
    if not isinstance(result, dict) or not isinstance(seconds, (int, float)):
        raise ValueError("its result is no object, or its seconds no number")
    return Outcome(result, seconds=seconds)


def named(task: Task) -> dict[str, Any]:
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
