"""One process at a time: what several processes want is built by the first, and found by the others.

    with lock(folder):
        ...

Whoever comes to the same folder meanwhile waits, and then finds what was built.
"""

import errno
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

#: What a file system answers that has no locks, and one that takes the threads of two processes for a circle.
_WITHOUT_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EDEADLK)


@contextmanager
def lock(path: Path, wait: bool = True) -> Iterator[bool | None]:
    """Wait until nobody else is in a block of this path, here or on a machine with the same disk.

    Without ``wait`` the block runs at once. It gets True when nobody else is in one, False when somebody is.

    The lock is a file in ``.locks``, beside the folder that holds ``path``. It is there only as long as the
    block runs; of a process that is killed the file stays, but the system takes the lock back. Where the file
    system has no locks nobody waits, and the block gets None; storing whole (`zscir.storage.artifact`) is
    safe all the same.
    """
    path = Path(path)
    place = path.parent.with_name(".locks") / f"{path.parent.name}-{path.name}"
    place.parent.mkdir(parents=True, exist_ok=True)
    file_lock = FileLock(place, fallback_to_soft=False)  # a soft lock would outlive a killed process
    alone: bool | None = True
    try:
        file_lock.acquire(blocking=wait)
    except Timeout:
        alone = False
    except OSError as error:
        if error.errno not in _WITHOUT_LOCKS:
            raise
        alone = None
    try:
        yield alone
    finally:
        if file_lock.is_locked:
            with suppress(OSError):  # Windows removes no open file
                place.unlink()  # while it is locked: who waits for a removed file takes the new one
        file_lock.release()
