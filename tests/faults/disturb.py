"""Work in a child of this process, which something disturbs: a signal, a full disk, a folder of others.

A child is a fork: it has everything imported, so it starts in milliseconds, and whatever it changes (modules,
environment, capabilities, its life) is gone with it.
"""

import contextlib
import ctypes
import io
import json
import os
import resource
import shutil
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from zscir import cli
from zscir.book import BookError
from zscir.storage.outcomes import SweepError

#: Errors that the shell tells in one line, without a traceback.
TOLD = (ValueError, OSError, BookError, SweepError)
#: Seconds that a child may live.
PATIENCE = 900
#: What happens when a file or a folder is about to change: event -> place of its path among the arguments.
CHANGES = {name: 0 for name in ("os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.link")}


@dataclass
class Ending:
    """How a child ended: the signal that killed it (or 0), what it said on stdout, the error, the result."""

    signal: int
    said: str = ""
    error: str = ""
    clear: bool = False
    value: object = None


def begin(work: Callable[[], object]) -> Callable[[], Ending]:
    """Start some work in a child; the function that waits for its end."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        _be_child(work, writing)
    os.close(writing)

    def end() -> Ending:
        with os.fdopen(reading, "rb") as stream:
            told = stream.read()
        status = os.waitpid(child, 0)[1]
        return Ending(os.WTERMSIG(status), **(json.loads(told) if told else {}))

    return end


def forked(work: Callable[[], object]) -> Ending:
    """The end of some work in a child."""
    return begin(work)()


def _be_child(work: Callable[[], object], writing: int) -> None:
    """Work, tell the parent, and end without anything that Python does at its end."""
    for one, handler in ((signal.SIGINT, signal.default_int_handler), (signal.SIGTERM, signal.SIG_DFL)):
        signal.signal(one, handler)
    signal.alarm(PATIENCE)
    told, said = {}, io.StringIO()
    try:
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(io.StringIO()):
            told["value"] = work()
    except BaseException as error:
        message = cli._message(error) if isinstance(error, Exception) else str(error)
        told |= {"error": f"{type(error).__name__}: {message}", "clear": isinstance(error, TOLD)}
    told["said"] = said.getvalue()
    os.write(writing, json.dumps(told).encode())
    os._exit(0)


def at_change(within: list[str], number: int | None, act: Callable[[], None]) -> Callable[[], int]:
    """Before file or folder ``number`` of those changes whose path holds some words, something happens.

    A change is that it is made, opened for writing, renamed, linked or removed. For a child only: a hook
    stays. Returns the function that tells how many changes there were.
    """
    count = 0

    def hook(event: str, arguments: tuple) -> None:
        nonlocal count
        opened = event == "open" and (arguments[2] or 0) & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
        if (opened or event in CHANGES) and all(word in str(arguments[0]) for word in within):
            count += 1
            if count - 1 == number:
                act()

    sys.addaudithook(hook)
    return lambda: count


def send(kind: signal.Signals) -> None:
    """A signal to this process itself."""
    os.kill(os.getpid(), kind)


def obey_modes() -> None:
    """From now on even root may only do what the modes of files and folders allow."""
    if os.geteuid() == 0:
        header, nothing = struct.pack("Ii", 0x20080522, 0), bytes(24)
        assert ctypes.CDLL(None, use_errno=True).capset(header, nothing) == 0


def turn_back_the_clock() -> None:
    """From now on this process believes that it is a year ago."""
    now, now_ns = time.time, time.time_ns
    time.time = lambda: now() - 365 * 86400
    time.time_ns = lambda: now_ns() - 365 * 86400 * 10**9


class Disk:
    """A folder on a disk that can be filled: a small tmpfs where one can be mounted (root on Linux).

    Elsewhere ``fill`` lets all files of this process end after so many bytes, which fails like a full disk,
    and says that nothing is free.
    """

    SIZE = 24 * 2**20

    def __init__(self, path: Path):
        self.path, self.ballast = path, path / "ballast"
        words = ["mount", "-t", "tmpfs", "-o", f"size={self.SIZE}", "tmpfs", str(path)]
        self.mounted = os.geteuid() == 0 and subprocess.run(words, capture_output=True).returncode == 0

    def fill(self, left: int) -> None:
        """Leave so many bytes; in the child that is to suffer, where nothing is mounted."""
        if self.mounted:
            with self.ballast.open("wb") as file:
                os.posix_fallocate(file.fileno(), 0, max(shutil.disk_usage(self.path).free - left, 1))
        else:
            resource.setrlimit(resource.RLIMIT_FSIZE, (left, resource.RLIM_INFINITY))
            shutil.disk_usage = lambda path: shutil._ntuple_diskusage(1, 1, 0)

    def empty(self) -> None:
        """Remove everything."""
        for one in self.path.iterdir():
            shutil.rmtree(one) if one.is_dir() else one.unlink()

    def leave(self) -> None:
        """Unmount it."""
        if self.mounted:
            subprocess.run(["umount", "-l", str(self.path)], check=True)
