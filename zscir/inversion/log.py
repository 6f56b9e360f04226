"""What a training says while it runs: a CSV file, and a bar or plain lines."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pandas as pd
import torch
from tqdm import tqdm

from zscir.storage.provenance import peak_memory

#: Means over the steps since the row before; a loss without share is NaN.
LOSS_COLUMNS = ("loss", "original", "query_target", "self_masking")
#: Columns that are the same in every run of the same training on the CPU ...
EXACT_COLUMNS = ("step", *LOSS_COLUMNS, "lr")
#: ... and those that are not: pairs per second since the row before, and the most memory so far, in MiB (of
#: the GPU where phi is on one, else resident; NaN where the system does not tell).
COLUMNS = (*EXACT_COLUMNS, "pairs_per_second", "memory_mib")


class TrainingLog:
    """Rows of `COLUMNS`, also written to ``<folder>/log.csv`` one by one, to be followed with ``tail -f``.

    Args:
        folder: where to write; None for the processes that only train.
        rows: what a resumed training had logged before.
    """

    def __init__(self, folder: Path | None, rows: list[list]):
        self.rows, self._clock, self._path = rows, time.perf_counter(), None
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
            self._path = folder / "log.csv"
            as_frame(rows).to_csv(self._path, index=False)

    def add(self, step: int, losses: list[float], lr: float, pairs: int, device: torch.device) -> None:
        """One row: the step reached, mean losses, rate, and how many pairs were seen since the last row."""
        now = time.perf_counter()
        most = torch.cuda.max_memory_allocated(device) if device.type == "cuda" else peak_memory()
        memory = float("nan") if most is None else most / 2**20
        self.rows.append([step, *losses, lr, pairs / max(now - self._clock, 1e-9), memory])
        self._clock = now
        if self._path is not None:
            as_frame(self.rows[-1:]).to_csv(self._path, index=False, header=False, mode="a")


def as_frame(rows: list[list]) -> pd.DataFrame:
    """Rows of a log under their `COLUMNS`."""
    return pd.DataFrame(rows, columns=COLUMNS).astype({"step": int})


@contextmanager
def shown_progress(wanted: bool, steps: int, first: int) -> Iterator[Callable[[int, float], None]]:
    """A function (step, loss) that shows how far a training is: in a notebook, a terminal, or plain lines."""
    if not wanted:
        yield lambda step, loss: None
    elif _in_notebook():  # the bar goes when the training is over: pages of a book stay clean
        from IPython.display import HTML, display

        def shown(step: int, said: str = "") -> HTML:
            return HTML(f"<progress value='{step}' max='{steps}'></progress> {step}/{steps} {said}")

        handle = display(shown(first), display_id=True)
        try:
            yield lambda step, loss: handle.update(shown(step, f"loss {loss:.3f}"))
        finally:
            handle.update(HTML(""))
    elif sys.stdout.isatty():
        with tqdm(total=steps, initial=first, desc="training phi", file=sys.stdout) as bar:

            def moved(step: int, loss: float) -> None:
                bar.set_postfix(loss=f"{loss:.3f}", refresh=False)
                bar.update(step - bar.n)

            yield moved
    else:
        every = max(1, steps // 10)  # about ten lines in all, for logs of a batch system

        def moved(step: int, loss: float) -> None:
            if step % every == 0 or step == steps:
                print(f"step {step}/{steps}: loss {loss:.4f}", flush=True)

        yield moved


def _in_notebook() -> bool:
    if "IPython" not in sys.modules:
        return False
    from IPython import get_ipython

    return type(get_ipython()).__name__ == "ZMQInteractiveShell"
