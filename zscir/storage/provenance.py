"""Where a result comes from: versions, commit, processor, memory; asked here, and nowhere else."""

import importlib.metadata
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import zscir
from zscir.storage.paths import REPO

#: Variables that say with how many threads to compute.
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")

#: Distributions whose versions a record names, besides Python and this library.
DISTRIBUTIONS = ("torch", "open_clip_torch", "numpy", "pandas", "spacy", "matplotlib")
DISTRIBUTIONS += ("seaborn", "papermill")

NO_CHECKOUT = "not a git checkout"


def kernel_facts() -> dict[str, Any]:
    """What the calling process computes on, and the most memory it held at once.

    Returns:
        As `machine`, and ``peak_memory`` (bytes, or None where nothing tells it).
    """
    return machine() | {"peak_memory": peak_memory()}


def machine() -> dict[str, Any]:
    """What the calling process computes on.

    Returns:
        ``processor``, ``cores`` (that this process may use), ``threads`` and ``instruction_set`` (of PyTorch,
        such as 8 and "AVX2"; None when it was not imported) and ``gpu`` (its name, or None).
    """
    torch = sys.modules.get("torch")
    gpu = torch is not None and torch.cuda.is_available()
    return {
        "processor": _processor(),
        "cores": cores(),
        "threads": None if torch is None else torch.get_num_threads(),
        "instruction_set": None if torch is None else torch.backends.cpu.get_cpu_capability(),
        "gpu": torch.cuda.get_device_name() if gpu else None,
    }


def _processor() -> str:
    """The processor's name, as the system tells it."""
    listing = Path("/proc/cpuinfo")
    lines = listing.read_text(encoding="utf-8").splitlines() if listing.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def thread_share(processes: int) -> int:
    """Threads for each of so many processes: more threads than cores slow each other down.

    Who asks for fewer, by ``OMP_NUM_THREADS``, gets fewer.
    """
    share = max(1, cores() // processes)
    asked = os.environ.get(THREADS[0], "")
    return min(share, int(asked)) if asked.isdigit() and int(asked) else share


def peak_memory() -> int | None:
    """Bytes of the process at its largest, or None on a system that does not count them (Windows)."""
    status = Path("/proc/self/status")  # Linux, where what `resource` says may be the parent's
    lines = status.read_text(encoding="utf-8").splitlines() if status.is_file() else []
    if peak := [line for line in lines if line.startswith("VmHWM:")]:
        return 1024 * int(peak[0].split()[1])
    try:
        import resource
    except ModuleNotFoundError:
        return None
    unit = 1 if sys.platform == "darwin" else 1024  # macOS counts bytes, others kilobytes
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def commit_of(root: Path) -> dict[str, Any]:
    """The commit of a checkout, and whether files differ from it.

    Args:
        root: the checkout's folder.

    Returns:
        ``commit`` (40 characters, or in words why there is none) and ``dirty`` (also True for a new file that
        git does not ignore; None without a commit).
    """
    if not (root / ".git").exists():
        return {"commit": NO_CHECKOUT, "dirty": None}
    if shutil.which("git") is None:
        return {"commit": "unknown, git is not installed", "dirty": None}
    commit, changes = (_git(root, *words) for words in (("rev-parse", "HEAD"), ("status", "--porcelain")))
    if commit is None or changes is None:
        return {"commit": "unknown, git could not read the checkout", "dirty": None}
    return {"commit": commit, "dirty": bool(changes)}


def _git(root: Path, *words: str) -> str | None:
    done = subprocess.run(["git", "-C", str(root), *words], capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else None


def git_commit() -> str | None:
    """The commit of the checkout this library runs from, with "-dirty" when files differ from it."""
    found = commit_of(REPO) if REPO is not None else {"dirty": None}
    return None if found["dirty"] is None else found["commit"] + "-dirty" * found["dirty"]


def versions(names: Sequence[str] = ("python", "zscir", *DISTRIBUTIONS)) -> dict[str, str]:
    """Versions by name: of "python", of this library and of distributions ("not installed" without one)."""
    return {name: _version(name) for name in names}


def _version(name: str) -> str:
    own = {"python": platform.python_version(), "zscir": zscir.__version__}
    try:
        return own.get(name) or importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


@contextmanager
def variables(wanted: Mapping[str, str]) -> Iterator[None]:
    """Inside the block these environment variables are set; afterwards all are as they were before."""
    before = dict(os.environ)
    os.environ.update(wanted)
    try:
        yield
    finally:
        for name in set(os.environ) - set(before):
            del os.environ[name]
        os.environ.update(before)
