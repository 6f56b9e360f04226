"""What it costs to compare stored results with their checksums: its share of a chapter's time.

    python benchmarks/checksums.py --chapters 03 05 07 --out benchmarks/results/checksums.json

Each chapter is run twice: at first whatever is missing is computed and stored; then, with all of it stored,
it is timed. That is the worst case: everything is compared, and nothing is computed that could be spared. In
every process of the chapter the time is taken that goes into `zscir.storage.artifacts.damage`.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from records import AVX2, today, write

from zscir.book.chapters import told_by
from zscir.storage.paths import REPO
from zscir.storage.provenance import machine, versions

#: Of each Python of the chapter, before anything else: what it takes is written down at its end.
TIMED = """
import atexit, json, os, time
from zscir.storage import artifacts

inner, taken = artifacts.damage, []

def damage(folder):
    start = time.thread_time()
    try:
        return inner(folder)
    finally:
        taken.append(time.thread_time() - start)

def tell():
    with open(os.path.join(os.environ["ZSCIR_TIMED"], f"{os.getpid()}.json"), "w") as stream:
        json.dump({"checks": len(taken), "seconds": sum(taken), "process": time.process_time()}, stream)

artifacts.damage = damage
atexit.register(tell)
"""


def run(chapter: str, profile: str, folder: Path) -> dict:
    """Run a chapter; processor seconds of its processes, and of the checks in them."""
    told = folder / "told"
    told.mkdir(exist_ok=True)
    for old in told.iterdir():
        old.unlink()
    (folder / "sitecustomize.py").write_text(TIMED, "utf-8")
    paths = os.pathsep.join([str(folder), str(REPO), *filter(None, [os.environ.get("PYTHONPATH")])])
    env = os.environ | AVX2 | {"ZSCIR_TIMED": str(told), "PYTHONPATH": paths}
    copy = folder / f"{chapter}.ipynb"
    command = [
        sys.executable,
        "-m",
        "zscir",
        "run",
        chapter,
        "--profile",
        profile,
        "--force",
        "-o",
        str(copy),
    ]
    subprocess.run(command, cwd=REPO, env=env, check=True)
    found = [json.loads(path.read_text("utf-8")) for path in told.iterdir()]
    sums = {name: sum(one[name] for one in found) for name in ("checks", "seconds", "process")}
    return sums | {"share": sums["seconds"] / sums["process"], "chapter": told_by(copy)["record"]["chapter"]}


def main() -> None:
    """Measure, print and store."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--chapters", nargs="+", default=["05_cirr"])
    parser.add_argument("--profile", default="default", help="default, or quick")
    parser.add_argument("--warm", action="store_true", help="all is stored already: run each chapter once")
    parser.add_argument("--out", type=Path, help="JSON file to write")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="zscir-checksums-") as folder:
        for chapter in [] if args.warm else args.chapters:
            run(chapter, args.profile, Path(folder))
        found = [run(chapter, args.profile, Path(folder)) for chapter in args.chapters]
    most = max(found, key=lambda one: one["share"])
    said = f"{100 * most['share']:.2g} % of the processor time of {most['chapter']}, {most['checks']} checks"
    record = {
        "what": f"comparing stored results with their checksums, everything being stored: at most {said}",
        "date": today(),
        "machine": machine() | {"instruction_set": "AVX2"},
        "versions": versions(["torch"]),
        "profile": args.profile,
        "chapters": found,
    }
    write(record, args.out)


if __name__ == "__main__":
    main()
