"""One process at a time: what several processes want is made by the first, and found by the others.

    with alone(folder):
        ...

Whoever comes to the same folder meanwhile waits, and then finds what was made.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

try:
    import fcntl
except ImportError:  # a system without such locks: two processes may then do the same work
    fcntl = None

#: What a file system answers that has no locks, and one that takes the threads of two processes for a circle.
_WITHOUT = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EDEADLK)


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """Wait until no other process is in a block of this path, here or on a machine with the same disk.

    The lock is a file in ``.locks``, beside the folder that holds ``path``. It is there only as long as the
    block runs; of a process that is killed the file stays, but the system takes the lock back. Threads of one
    process do not exclude each other. Where the file system has no locks nobody waits; storing whole
    (`zscir.storage.artifact`) is safe all the same, if wasteful.
    """
    path = Path(path)
    place = path.parent.with_name(".locks") / f"{path.parent.name}-{path.name}"
    place.parent.mkdir(parents=True, exist_ok=True)
    handle = _locked(place)
    try:
        yield
    finally:
        if handle is not None:
            place.unlink(missing_ok=True)  # before the lock is given back: see `_locked`
            os.close(handle)


def _locked(place: Path) -> int | None:
    """Handle of the locked file; who waited for a file that was removed meanwhile takes the new one."""
    while fcntl is not None:
        handle = os.open(place, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.lockf(handle, fcntl.LOCK_EX)  # not flock: a forked child would keep it beyond our death
            if place.exists() and os.path.samestat(os.fstat(handle), os.stat(place)):
                return handle
        except FileNotFoundError:
            pass  # removed between the two looks
        except OSError as error:
            os.close(handle)
            if error.errno in _WITHOUT:
                return None
            raise
        os.close(handle)
    return None
