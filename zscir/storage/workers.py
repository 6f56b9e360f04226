"""Processes of this machine that work on the points of a sweep."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import sys
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from multiprocessing import connection

from zscir.storage.outcomes import THREADS, Outcome, Point, SweepError, Task, outcome, packed
from zscir.storage.provenance import variables

#: Seconds to wait for a process to end.
PATIENCE = 10
_READY = "ready"


def in_processes(task: Task, points: Sequence[Point], workers: int, threads: int) -> Iterator:
    """(number, outcome) of all points, by so many processes of this machine with so many threads each.

    A process that dies (killed, out of memory) costs its point and is replaced.

    Raises:
        SweepError: a process did not come to its first point.
    """
    payload, waiting = packed(task), deque(enumerate(points))
    crew = [_Worker(payload, threads) for _ in range(min(workers, len(points)))]
    try:
        while crew:
            for pipe in connection.wait([worker.pipe for worker in crew]):
                worker = next(one for one in crew if one.pipe is pipe)
                found = worker.take()
                if worker.alive and waiting:
                    worker.give(*waiting.popleft())
                else:
                    crew.remove(worker)
                    worker.stop()
                    if waiting:
                        crew.append(_Worker(payload, threads))
                if found:
                    yield found
    finally:
        for worker in crew:
            worker.stop(at_once=True)


class _Worker:
    """A process that works on one point after the other."""

    def __init__(self, payload: bytes, threads: int):
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(theirs, payload, threads))
        with variables(dict.fromkeys(THREADS, str(threads))):
            self.process.start()
        theirs.close()  # so that its death is the end of the pipe
        self.number: int | None = None
        self.alive = True

    def give(self, number: int, point: Point) -> None:
        """Let it work on a point."""
        self.number = number
        with suppress(BrokenPipeError):  # it is dead: `take` will say so
            self.pipe.send(point)

    def take(self) -> tuple[int, Outcome] | None:
        """What it sends: the outcome of its point, or None when it is only ready for the first."""
        try:
            found = self.pipe.recv()
        except (EOFError, ConnectionResetError):
            self.alive = False
            self.process.join()
            found = Outcome(error=f"its process died, with exit status {self.process.exitcode}")
        if self.number is None:
            if not self.alive:
                raise SweepError(_NO_START.format(self.process.exitcode))
            return None
        return self.number, found

    def stop(self, at_once: bool = False) -> None:
        """Let it end, now or after what it does."""
        self.pipe.close()
        if at_once:
            self.process.terminate()
        self.process.join(timeout=PATIENCE)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()


_NO_START = (
    "a worker process ended with status {} before its first point; what it said is above. A script must call "
    "run_points below `if __name__ == '__main__':`, and the task must be in a module that can be imported"
)


def _serve(pipe: connection.Connection, payload: bytes, threads: int) -> None:
    """The life of a worker process: read a point, send its outcome, until the pipe ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the first process, which then ends this one
    threading.Thread(target=_die_with_parent, daemon=True).start()
    task = pickle.loads(payload)
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(threads)
    pipe.send(_READY)
    with suppress(EOFError, BrokenPipeError):  # the first process has heard enough
        while True:
            pipe.send(outcome(task, pipe.recv()))


def _die_with_parent() -> None:
    """Without the first process nobody takes the results, and the next one would do the work again."""
    multiprocessing.parent_process().join()
    os._exit(1)
