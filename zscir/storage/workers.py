"""The workers of a sweep: Dask's, on this machine or on a cluster.

    dask scheduler                                          # says its address
    dask worker tcp://10.0.0.1:8786 --nthreads 1            # on each machine

Without the address of a scheduler they are processes of this machine, which live as long as the sweep.
"""

import logging
import pickle
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from itertools import islice

import dask
from distributed import CancelledError, Client, Future, KilledWorker, LocalCluster, as_completed
from distributed.protocol.pickle import dumps

from zscir.storage.artifacts import fingerprint
from zscir.storage.outcomes import Outcome, Point, SweepError, Task, error_text, outcome
from zscir.storage.provenance import THREADS, thread_share, variables

#: Seconds to wait for a scheduler's answer.
PATIENCE = 10

#: Of the processes here: they may have children, have no environment but ours, and one death is enough.
_SETTINGS = {
    "distributed.worker.daemon": False,
    "distributed.nanny.pre-spawn-environ": {},
    "distributed.scheduler.allowed-failures": 0,
}


def outcomes(
    task: bytes, points: dict[int, Point], workers: int, scheduler: str | None, say: Callable[[str], None]
) -> Iterator[tuple[int, Outcome]]:
    """(number, outcome) of all points, in the order in which they end.

    Args:
        task: as `packed` gives it.
        points: number -> point.
        workers: processes of this machine, which share its cores; without a ``scheduler``. One that dies
            (killed, out of memory) costs its point and is replaced.
        scheduler: address of a Dask scheduler. It gives the point of a worker that died to another one; a
            point that kills several fails.
        say: takes a remark for the user.

    Raises:
        SweepError: the scheduler does not answer or is gone, or processes do not start.
    """
    if not points:
        return
    name = sha256(task).hexdigest()
    numbers = {f"zscir-sweep-{fingerprint(name, point)}": number for number, point in points.items()}
    with _at(scheduler, say) if scheduler is not None else _here(workers, len(points)) as client:
        futures = (client.submit(outcome, task, points[number], key=key) for key, number in numbers.items())
        # Here one point a worker at a time: Dask blames the death of a worker on all that wait at it.
        running = as_completed(islice(futures, workers if scheduler is None else None), loop=client.loop)
        try:
            for future in running:
                yield numbers[future.key], _received(future)
                running.update(islice(futures, 1))
        finally:
            client.cancel(list(running.futures))


def packed(task: Task) -> bytes:
    """The task as other processes can read it.

    Raises:
        TypeError: they cannot, because it is a lambda or was made inside a function, or holds such a thing.
    """
    try:
        pickle.dumps(task)  # stricter than Dask, which sends a lambda as code: there is no name to record
        return dumps(task)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise TypeError(
            "task must be a function at the top of a module, or functools.partial of one with arguments that "
            f"can be pickled: {error}"
        ) from error


@contextmanager
def _at(address: str, say: Callable[[str], None]) -> Iterator[Client]:
    """A client of the scheduler at an address, within seconds."""
    try:
        client = Client(address, timeout=PATIENCE, set_as_default=False)
    except (OSError, ValueError, TypeError) as error:
        raise SweepError(
            f"scheduler is {address!r}, where none answers within {PATIENCE} s ({error}); `dask scheduler` "
            "starts one and says its address, such as tcp://10.0.0.1:8786"
        ) from error
    with client:
        if not client.scheduler_info()["workers"]:
            say(f"{address} has no workers yet: start some with `dask worker {address}`")
        yield client


@contextmanager
def _here(workers: int, points: int) -> Iterator[Client]:
    """A client of so many processes of this machine, or fewer for few points, which end with the block."""
    share = {name: str(thread_share(workers)) for name in THREADS}
    options = {"threads_per_worker": 1, "memory_limit": 0, "silence_logs": logging.CRITICAL}
    options["dashboard_address"] = "127.0.0.1:0"  # any free port
    with variables(share), dask.config.set(_SETTINGS):
        try:
            cluster = LocalCluster(n_workers=min(workers, points), **options)
        except RuntimeError as error:
            raise SweepError(
                f"the worker processes did not start ({error}); what they said is above. A script must call "
                "run_points below `if __name__ == '__main__':`"
            ) from error
        with cluster, Client(cluster, set_as_default=False) as client:
            yield client


def _received(future: Future) -> Outcome:
    """The outcome that a worker sent, or that there is none."""
    try:
        return future.result()
    except CancelledError as error:
        raise SweepError(
            f"the scheduler is gone ({error}); what was finished is stored, the same call goes on from there"
        ) from error
    except KilledWorker as error:
        return Outcome(error=f"its process died, killed or out of memory ({error.last_worker.address})")
    except Exception as error:  # of Dask, not of the task: a worker without this library
        return Outcome(error=error_text(error))
