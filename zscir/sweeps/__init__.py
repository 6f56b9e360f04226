"""Parameter sweeps: a task at every point of a grid, each point stored when it is done, one table at the end.

    table = run_points(task, grid({"tau": [0.2, 0.4]}, seeds=5), "sweeps/tau")     # any function of a point
    table = sweep_chapter("05_cirr", {"tau": [0.2, 0.4]}, seeds=5)                 # a chapter is one, too
    table = sweep_chapter("05_cirr", {"tau": [0.2, 0.4]}, scheduler="tcp://10.0.0.1:8786")

The work is done by processes of this machine, or by a Dask cluster. Killed and called again it goes on.
"""

from __future__ import annotations

from zscir.sweeps.chapters import Plan, chapter_point, plan_chapter, sweep_chapter
from zscir.sweeps.outcomes import SweepError
from zscir.sweeps.points import grid, run_points

__all__ = [
    "Plan",
    "SweepError",
    "chapter_point",
    "grid",
    "plan_chapter",
    "run_points",
    "sweep_chapter",
]
