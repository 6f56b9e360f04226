"""How long a fresh clone takes to become the book: install, each chapter, the pages; and how much memory.

    python benchmarks/book.py --out benchmarks/results/book.json
    python benchmarks/book.py --profile quick

The last commit is cloned into an empty folder, and built there as a reader would, with ``make``. By default
PyTorch is held to AVX2, which nearly every processor has (``--own-instructions`` lets it use all it finds).
Packages come from where pip finds them; nothing else should run on the machine.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from records import AVX2, today, write

from zscir.book.record import chapter_records
from zscir.storage.paths import REPO
from zscir.storage.provenance import commit_of

#: What would lead the clone back to the checkout that it comes from.
_STRANGE = ("PYTHONPATH", "ZSCIR_ARTIFACTS", "VIRTUAL_ENV", "MAKEFLAGS", "MAKELEVEL")


def timed(clone: Path, env: dict[str, str], *words: str) -> float:
    """Seconds that a command takes in the clone."""
    start = time.perf_counter()
    subprocess.run(words, cwd=clone, env=env, check=True, stdout=sys.stderr)
    return round(time.perf_counter() - start, 1)


def summary(chapters: list[dict], **steps: float) -> dict:
    """The record of a build, from those of its chapters (`zscir.book.record.chapter_record`).

    ``steps`` are seconds: "install", "build", "pages", "rerun". Chapters run two at a time, so a build takes
    less than their sum.
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
        steps = {
            "install": timed(clone, env, "make", ".venv/.installed", f"PYTHON={sys.executable}"),
            "build": timed(clone, env, *book),
            "pages": timed(clone, env, *book),  # again: no chapter has changed
            "rerun": timed(clone, env, *rerun, "-p", "tau", "0.27", "-o", f"{folder}/05.ipynb"),
        }
        edition = clone if profile == "default" else clone / "_build" / profile
        return summary(chapter_records(edition / "book" / "notebooks"), **steps)


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
