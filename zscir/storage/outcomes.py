"""What becomes of a point of a sweep: a result, or the reason why there is none."""

import pickle
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from zscir.storage.provenance import machine, thread_share, versions

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


def outcome(task: bytes, point: Point) -> Outcome:
    """Do a pickled task at a point, in this process; whatever it raises is in the outcome."""
    start = time.perf_counter()
    try:
        result = _plain_result(pickle.loads(task)(dict(point)), point)
    except Exception as error:
        return Outcome(error=error_text(error), hopeless=isinstance(error, SweepError))
    seconds = round(time.perf_counter() - start, 3)
    worker = machine() | versions(["torch"])
    worker["threads"] = worker["threads"] or thread_share(1)
    return Outcome(result, seconds=seconds, machine=worker)


def _plain_result(result: Any, point: Point) -> dict[str, Any]:
    """A task's result in JSON's own types; TypeError or ValueError when it fits no row of the table."""
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


def error_text(error: Exception) -> str:
    """An error in words; where it was raised, unless the words are many already."""
    text = f"{type(error).__name__}: {error}"
    frames = traceback.extract_tb(error.__traceback__)
    if "\n" in text or not frames:
        return text
    return f"{text} ({Path(frames[-1].filename).name}, line {frames[-1].lineno})"
