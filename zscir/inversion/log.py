"""What a training says while it runs: a CSV file, a bar or plain lines, TensorBoard if wanted."""

from __future__ import annotations

import importlib.util
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pandas as pd
import torch
from tqdm import tqdm

#: Means over the steps since the row before; a loss without share is NaN.
LOSS_COLUMNS = ("loss", "original", "query_target", "self_masking")
#: Columns that are the same in every run of the same training on the CPU ...
EXACT_COLUMNS = ("step", *LOSS_COLUMNS, "lr")
#: ... and those that are not: pairs per second since the row before, and the most memory so far, in MiB (of
#: the GPU where phi is on one, else resident).
COLUMNS = (*EXACT_COLUMNS, "pairs_per_second", "memory_mib")


def check_tensorboard() -> None:
    """Raise ImportError, saying what to install, when TensorBoard's writer cannot be had."""
    if importlib.util.find_spec("tensorboard") is None:
        raise ImportError("tensorboard is True, but the package is not installed: pip install tensorboard")


class TrainingLog:
    """Rows of `COLUMNS`, also written to ``<folder>/log.csv`` one by one, to be followed with ``tail -f``.

    Args:
        folder: where to write; None for the processes that only train.
        rows: what a resumed training had logged before.
        tensorboard: also write event files, to ``<folder>/tensorboard``.
    """

    def __init__(self, folder: Path | None, rows: list[list], tensorboard: bool = False):
        self.rows, self._clock, self._file, self._events = rows, time.perf_counter(), None, None
        if folder is None:
            return
        folder.mkdir(parents=True, exist_ok=True)
        self._file = (folder / "log.csv").open("w", encoding="utf-8")
        self._file.write(self.frame().to_csv(index=False))
        self._file.flush()
        if tensorboard:
            from torch.utils.tensorboard import SummaryWriter

            self._events = SummaryWriter(folder / "tensorboard")

    def add(self, step: int, losses: list[float], lr: float, pairs: int, device: torch.device) -> None:
        """One row: the step reached, mean losses, rate, and how many pairs were seen since the last row."""
        now = time.perf_counter()
        row = [step, *losses, lr, pairs / max(now - self._clock, 1e-9), memory_mib(device)]
        self._clock = now
        self.rows.append(row)
        if self._file is not None:
            self._file.write(pd.DataFrame([row], columns=COLUMNS).to_csv(index=False, header=False))
            self._file.flush()
        if self._events is not None:
            for name, value in zip(COLUMNS[1:], row[1:], strict=True):
                if value == value:
                    self._events.add_scalar(f"train/{name}", value, step)

    def frame(self) -> pd.DataFrame:
        """All rows."""
        return pd.DataFrame(self.rows, columns=COLUMNS).astype({"step": int})

    def close(self) -> None:
        """Close the files."""
        for one in (self._file, self._events):
            if one is not None:
                one.close()


def memory_mib(device: torch.device) -> float:
    """The most memory used so far, in MiB: of the GPU, or resident; NaN where the system does not tell."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    if os.name != "posix":
        return float("nan")
    import resource

    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most / (2**20 if sys.platform == "darwin" else 2**10)


class _Plain:
    """About ten lines in all, for logs of a batch system."""

    def __init__(self, steps: int):
        self.steps, self.every = steps, max(1, steps // 10)

    def moved(self, step: int, loss: float) -> None:
        if step % self.every == 0 or step == self.steps:
            print(f"step {step}/{self.steps}: loss {loss:.4f}", flush=True)


class _Terminal:
    """A bar that stays on one line."""

    def __init__(self, steps: int, first: int):
        self.bar = tqdm(total=steps, initial=first, desc="training phi", file=sys.stdout)

    def moved(self, step: int, loss: float) -> None:
        self.bar.set_postfix(loss=f"{loss:.3f}", refresh=False)
        self.bar.update(step - self.bar.n)

    def close(self) -> None:
        self.bar.close()


class _Notebook:
    """A bar below the cell that goes when the training is over: pages of a book stay clean."""

    def __init__(self, steps: int, first: int):
        from IPython.display import HTML, display

        self.html, self.steps, self.shown = HTML, steps, time.monotonic()
        self.handle = display(self._bar(first, ""), display_id=True)

    def _bar(self, step: int, said: str):
        return self.html(
            f"<progress value='{step}' max='{self.steps}'></progress> {step}/{self.steps} {said}"
        )

    def moved(self, step: int, loss: float) -> None:
        if time.monotonic() - self.shown > 0.5:
            self.shown = time.monotonic()
            self.handle.update(self._bar(step, f"loss {loss:.3f}"))

    def close(self) -> None:
        self.handle.update(self.html(""))


@contextmanager
def shown_progress(wanted: bool, steps: int, first: int) -> Iterator:
    """A function (step, loss) that shows how far a training is: in a notebook, a terminal, or plain lines."""
    if not wanted:
        yield lambda step, loss: None
        return
    if _in_notebook():
        shown = _Notebook(steps, first)
    else:
        shown = _Terminal(steps, first) if sys.stdout.isatty() else _Plain(steps)
    try:
        yield shown.moved
    finally:
        if hasattr(shown, "close"):
            shown.close()


def _in_notebook() -> bool:
    if "IPython" not in sys.modules:
        return False
    from IPython import get_ipython

    return type(get_ipython()).__name__ == "ZMQInteractiveShell"
