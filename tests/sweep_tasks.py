"""Tasks for sweeps, which worker processes import: ``python tests/sweep_tasks.py FOLDER`` runs one.

Every call is a line in a file, so that a test sees what ran, where, and how often.
"""

import os
import signal
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np

from zscir.storage import grid, run_points
from zscir.storage.outcomes import SweepError


def noted(point: dict, *, folder: Path, offset: int = 0) -> dict:
    """Square x; the call is written down."""
    with (folder / "calls").open("a") as calls:
        calls.write(f"{point['x']} {os.getpid()}\n")
    return {"square": np.int64(point["x"] ** 2 + offset), "name": f"x{point['x']}"}


def moody(point: dict, *, folder: Path) -> dict:
    """As `noted`, but odd numbers fail, and 4 kills its process."""
    if point["x"] % 2:
        raise ValueError(f"{point['x']} is odd")
    if point["x"] == 4:
        os.kill(os.getpid(), signal.SIGKILL)
    return noted(point, folder=folder)


def threads(point: dict) -> dict:
    """With how many threads a worker computes, and PyTorch in it."""
    found = {"asked": os.environ["OMP_NUM_THREADS"]}
    if point.get("torch"):
        import torch

        found["used"] = torch.get_num_threads()
    return found


def hopeless(point: dict) -> dict:
    """No point can succeed."""
    raise SweepError("nothing to measure")


def odd_result(point: dict) -> object:
    """Results that cannot stand in a table."""
    return [[1], {"rows": [1, 2]}, {"x": 1}, {"seconds": 1.0}][point["x"]]


def slow(point: dict, *, folder: Path) -> dict:
    """Lines when it begins and ends, half a second apart."""
    with (folder / "calls").open("a") as calls:
        calls.write(f"begin {point['x']} {os.getpid()}\n")
        calls.flush()
        time.sleep(0.5)
        calls.write(f"end {point['x']} {os.getpid()}\n")
    return {"square": point["x"] ** 2}


def deadly(point: dict, *, folder: Path) -> dict:
    """As `noted`; the first call at 2 kills the process that runs the sweep, and goes on for long."""
    result, marker = noted(point, folder=folder), folder / "killed"
    if point["x"] == 2 and not marker.exists():
        marker.touch()
        while len(list(folder.glob("sweep/points/*.json"))) < 2:
            time.sleep(0.05)
        os.kill(os.getppid(), signal.SIGKILL)
        time.sleep(60)
    return result


if __name__ == "__main__":
    where = Path(sys.argv[1])
    run_points(partial(deadly, folder=where), grid({"x": [0, 1, 2, 3]}), where / "sweep", workers=1)
