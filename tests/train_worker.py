"""Trainings in a process of their own: ``python tests/train_worker.py '<json list of settings>' [kill-at]``.

With ``kill-at`` the process kills itself (SIGKILL: nothing is flushed, closed or cleaned) right after that
step of the optimizer. Prints a line of JSON for each training that came to its end.
"""

import json
import os
import signal
import sys

import torch
from tiny_backbones import build_tiny_backbone

from zscir.inversion import training


def main(settings: str, kill_at: str = "") -> None:
    """Train on the CPU with one thread and the tiny backbone."""
    torch.set_num_threads(1)
    step = training._step

    def deadly(run, state, *others):
        losses = step(run, state, *others)
        if state.step == int(kill_at or -1):
            os.kill(os.getpid(), signal.SIGKILL)
        return losses

    training._step = deadly
    for one in json.loads(settings):
        run = training.fit(training.TrainConfig(**one), backbone=build_tiny_backbone(), progress=False)
        if int(os.environ.get("RANK", "0")) == 0:
            _report(run)


def _report(run) -> None:
    said = {"loss": run.history.loss.tolist(), "path": str(run.path), "report": run.record["report"]}
    print(json.dumps(said), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
