"""The workers of a Dask cluster, wherever they are, for the points of a sweep.

    dask scheduler                                          # says its address
    dask worker tcp://10.0.0.1:8786 --nthreads 1            # on each machine

Dask is the extra ``cluster``; without it everything but this works.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from hashlib import sha256

from zscir.storage.artifacts import fingerprint
from zscir.storage.outcomes import Outcome, Point, SweepError, Task, outcome, packed, told

#: Seconds to wait for a scheduler's answer.
PATIENCE = 10


def on_cluster(task: Task, points: Sequence[Point], address: str, say: Callable[[str], None]) -> Iterator:
    """(number, outcome) of all points, by the workers of a Dask cluster.

    Dask itself gives the point of a worker that died to another; a point that kills several fails.

    Raises:
        SweepError: Dask is not installed, or no scheduler answers.
    """
    if not points:
        return
    name = sha256(packed(task)).hexdigest()
    as_completed = _dask().as_completed
    with closing(_client(address)) as client:
        if not client.scheduler_info()["workers"]:
            say(f"{address} has no workers yet: start some with `dask worker {address}`")
        futures = {}
        for number, point in enumerate(points):
            key = f"zscir-sweep-{fingerprint(name, point)}"
            futures[client.submit(outcome, task, point, key=key)] = number
        try:
            for future in as_completed(list(futures), loop=client.loop):
                yield futures[future], _received(future)
        finally:
            client.cancel([one for one in futures if not one.done()])


def _dask():
    """The module ``dask.distributed``."""
    try:
        from dask import distributed
    except ImportError as error:
        raise SweepError(f"scheduler needs Dask: pip install 'zscir[cluster]' ({error})") from error
    return distributed


def _client(address: str):
    """A client of the scheduler at an address, within seconds."""
    try:
        return _dask().Client(address, timeout=PATIENCE, set_as_default=False)
    except (OSError, ValueError, TypeError) as error:
        raise SweepError(
            f"scheduler is {address!r}, where none answers within {PATIENCE} s ({error}); `dask scheduler` "
            "starts one and says its address, such as tcp://10.0.0.1:8786"
        ) from error


def _received(future) -> Outcome:
    """The outcome that a worker sent, or that there is none."""
    try:
        return future.result()
    except _dask().CancelledError as error:
        raise SweepError(
            f"the scheduler is gone ({error}); what was finished is stored, the same call goes on from there"
        ) from error
    except Exception as error:  # of Dask, not of the task: a worker without this library, or killed workers
        return Outcome(error=told(error))
