"""What becomes of a point of a sweep: a result, or the reason why there is none."""

from __future__ import annotations

import os
import pickle
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from zscir.storage.provenance import cores, processor

#: Variables that say with how many threads to compute.
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")

Point = dict[str, Any]
Task = Callable[[Point], dict[str, Any]]


class SweepError(RuntimeError):
    """Points of a sweep failed, or nobody could work on them; the message says which and why.

    A task raises it when no other point can succeed either: the sweep then stops at once.
    """


@dataclass
class Outcome:
    """What became of a point: a result, or in ``error`` the reason why there is none.

    ``machine`` is what worked on it; ``hopeless`` says that the other points need not be tried.
    """

    result: dict[str, Any] | None = None
    error: str = ""
    seconds: float = 0.0
    hopeless: bool = False
    machine: dict[str, Any] = field(default_factory=dict)


def outcome(task: Task, point: Point) -> Outcome:
    """Do the task at a point, in this process; whatever it raises is in the outcome."""
    start = time.perf_counter()
    try:
        result = plain_result(task(dict(point)), point)
    except Exception as error:
        return Outcome(error=told(error), hopeless=isinstance(error, SweepError), machine=machine())
    return Outcome(result, seconds=round(time.perf_counter() - start, 3), machine=machine())


def plain_result(result: Any, point: Point) -> dict[str, Any]:
    """A task's result in JSON's own types.

    Raises:
        TypeError: it is no dict of scalars (numbers, text, booleans, None).
        ValueError: one of its names is a parameter of the point, or ``seconds``.
    """
    if not isinstance(result, dict):
        raise TypeError(f"a task must return a dict of scalars, got {type(result).__name__}")
    plain = {}
    for name, value in result.items():
        value = value.item() if isinstance(value, np.generic) else value
        if not isinstance(name, str) or not (value is None or isinstance(value, (bool, int, float, str))):
            raise TypeError(f"a task must return a dict of scalars, but {name!r} is {value!r:.80}")
        if name in point or name == "seconds":
            raise ValueError(f"the result {name!r} has the name of another column; call it otherwise")
        plain[name] = value
    return plain


def machine() -> dict[str, Any]:
    """What this process works on: processor, cores it may use, threads it computes with, and PyTorch."""
    found = {"processor": processor(), "cores": cores()}
    return found | {"threads": _asked_threads() or cores(), "torch": version("torch")}


def thread_share(workers: int) -> int:
    """Threads for each of so many processes: more threads than cores slow each other down."""
    share = max(1, cores() // workers)
    return min(share, _asked_threads() or share)


def _asked_threads() -> int | None:
    """The number of threads that the environment asks for, if it does."""
    asked = os.environ.get(THREADS[0], "")
    return int(asked) if asked.isdigit() and int(asked) else None


def packed(task: Task) -> bytes:
    """The task as other processes can read it.

    Raises:
        TypeError: they cannot, because it is a lambda or was made inside a function, or holds such a thing.
    """
    try:
        return pickle.dumps(task)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise TypeError(
            "task must be a function at the top of a module, or functools.partial of one with arguments that "
            f"can be pickled: {error}"
        ) from error


def told(error: Exception) -> str:
    """An error in words; where it was raised, unless the words are many already."""
    said = f"{type(error).__name__}: {error}"
    frames = traceback.extract_tb(error.__traceback__)
    if "\n" in said or not frames:
        return said
    return f"{said} ({Path(frames[-1].filename).name}, line {frames[-1].lineno})"
