"""How long a fresh clone takes to become the book: install, each chapter, the pages; and how much memory.

    python benchmarks/book.py --out benchmarks/results/book.json
    python benchmarks/book.py --profile quick

The last commit is cloned into an empty folder, and built there as a reader would, with ``make``. By default
PyTorch is held to AVX2, which nearly every processor has (``--own-instructions`` lets it use all it finds).
Packages come from where pip finds them; nothing else should run on the machine.
"""

import argparse
import contextlib
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
from records import AVX2, today, write

from zscir.book.record import chapter_records
from zscir.storage.paths import REPO
from zscir.storage.provenance import commit_of

#: What would lead the clone back to the checkout that it comes from.
_STRANGE = ("PYTHONPATH", "ZSCIR_ARTIFACTS", "VIRTUAL_ENV", "MAKEFLAGS", "MAKELEVEL")


def timed(clone: Path, env: dict[str, str], *words: str) -> tuple[float, int]:
    """Seconds that a command takes in the clone, and the most bytes that all its processes held at once."""
    start, most = time.perf_counter(), 0
    with subprocess.Popen(words, cwd=clone, env=env, stdout=sys.stderr) as running:
        while running.poll() is None:
            most = max(most, held_by(psutil.Process(running.pid)))
            time.sleep(0.5)
    if running.returncode:
        raise subprocess.CalledProcessError(running.returncode, words)
    return round(time.perf_counter() - start, 1), most


def held_by(process: psutil.Process) -> int:
    """Bytes of memory of a process and all its children; shared bytes count once (Linux)."""
    held = 0
    with contextlib.suppress(psutil.NoSuchProcess):  # it has just ended
        for one in [process, *process.children(recursive=True)]:
            with contextlib.suppress(psutil.NoSuchProcess):
                known = one.memory_full_info() if psutil.LINUX else one.memory_info()
                held += getattr(known, "pss", known.rss)
    return held


def summary(chapters: list[dict], held: int, **steps: float) -> dict:
    """The record of a build, from those of its chapters (`zscir.book.record.chapter_record`).

    ``held`` are the most bytes that all processes of the build held at once; ``steps`` are seconds:
    "install", "build", "pages", "rerun". Chapters run two at a time, so a build takes less than their sum.
    """
    seconds = {record["chapter"]: record["seconds"] for record in chapters}
    peaks = [record["peak_memory"] for record in chapters if record["peak_memory"] is not None]
    return {
        "date": today(),
        "machine": chapters[-1]["machine"],
        "profile": chapters[-1]["profile"],
        "commit": chapters[-1]["commit"],
        "versions": chapters[-1]["versions"],
        "seconds": {
            "install": steps["install"],
            "chapters": seconds,
            **{name: taken for name, taken in steps.items() if name != "install"},
            "all": round(steps["install"] + steps["build"], 1),
        },
        "peak memory of a chapter in bytes": max(peaks, default=None),
        "peak memory of the build in bytes": held,
    }


def measure(profile: str, env: dict[str, str]) -> dict:
    """Clone, install and build in an empty folder; the record."""
    with tempfile.TemporaryDirectory(prefix="zscir-clone-") as folder:
        clone = Path(folder, "zscir")
        subprocess.run(["git", "clone", "--quiet", str(REPO), str(clone)], check=True)
        book, rerun = (
            ("make", "book", f"PROFILE={profile}"),
            (".venv/bin/zscir", "run", "05", "--profile", profile),
        )
        (install, _), (build, held), (pages, _), (again, _) = (
            timed(clone, env, "make", ".venv/.installed", f"PYTHON={sys.executable}"),
            timed(clone, env, *book),
            timed(clone, env, *book),  # again: no chapter has changed
            timed(clone, env, *rerun, "-p", "tau", "0.27", "-o", f"{folder}/05.ipynb"),
        )
        steps = {"install": install, "build": build, "pages": pages, "rerun": again}
        edition = clone if profile == "default" else clone / "_build" / profile
        return summary(chapter_records(edition / "book" / "notebooks"), held, **steps)


def main() -> None:
    """Measure, print and store."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--profile", default="default", help="default, or quick")
    parser.add_argument("--own-instructions", action="store_true", help="do not hold PyTorch to AVX2")
    parser.add_argument("--out", type=Path, help="JSON file to write")
    args = parser.parse_args()
    if commit_of(REPO)["dirty"]:
        print("Only what is committed is cloned; there are uncommitted changes.", file=sys.stderr)
    env = {name: value for name, value in os.environ.items() if name not in _STRANGE}
    record = measure(args.profile, env | ({} if args.own_instructions else AVX2))
    write(record, args.out)


if __name__ == "__main__":
    main()
