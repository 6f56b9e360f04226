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
    """Seconds that ``make`` takes in the clone."""
    start = time.perf_counter()
    subprocess.run(["make", *words], cwd=clone, env=env, check=True, stdout=sys.stderr)
    return time.perf_counter() - start


def summary(chapters: list[dict], install: float, build: float, pages: float) -> dict:
    """The record of a build, from those of its chapters (`zscir.book.record.chapter_record`).

    Chapters run two at a time, so the build takes less than their sum.
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
            "install": round(install, 1),
            "chapters": seconds,
            "pages": round(pages, 1),
            "build": round(build, 1),
            "all": round(install + build, 1),
        },
        "peak memory of a chapter in bytes": max(peaks, default=None),
    }


def measure(profile: str, env: dict[str, str]) -> dict:
    """Clone, install and build in an empty folder; the record."""
    with tempfile.TemporaryDirectory(prefix="zscir-clone-") as folder:
        clone = Path(folder, "zscir")
        subprocess.run(["git", "clone", "--quiet", str(REPO), str(clone)], check=True)
        install = timed(clone, env, ".venv/.installed", f"PYTHON={sys.executable}")
        build = timed(clone, env, "book", f"PROFILE={profile}")
        pages = timed(clone, env, "book", f"PROFILE={profile}")  # again: no chapter has changed
        edition = clone if profile == "default" else clone / "_build" / profile
        return summary(chapter_records(edition / "book" / "notebooks"), install, build, pages)


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
