"""How far the numbers of a retrained network move with the processor, beside how far they move with the seed.

    python benchmarks/processors.py --seeds 3 --out benchmarks/results/processors.json

The chapter *CIRR* is run with several seeds, once held to AVX2 and once with all that this processor has,
each with results of its own: features, masks, networks and scores are computed twice. On a processor with
AVX2 alone there is nothing to compare, and the script says so.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from records import AVX2, today, write

from zscir.book.record import recorded_values
from zscir.storage.paths import REPO
from zscir.storage.provenance import machine, versions

#: Numbers that the chapter glues.
GLUED = ("masked pairs", "Pic2Word")


def runs(seeds: int, profile: str, held: dict[str, str]) -> dict[str, list[float]]:
    """Recall@1 of each network, a value for each seed."""
    found: dict[str, list[float]] = {name: [] for name in GLUED}
    with tempfile.TemporaryDirectory(prefix="zscir-processors-") as folder:
        env = os.environ | held | {"ZSCIR_ARTIFACTS": folder}
        for seed in range(seeds):
            copy = Path(folder, f"{seed}.ipynb")
            command = [sys.executable, "-m", "zscir", "run", "05_cirr", "--profile", profile, "-o", str(copy)]
            subprocess.run([*command, "-p", "seed", str(seed)], cwd=REPO, env=env, check=True)
            values = recorded_values(copy)
            for name in GLUED:
                found[name].append(float(values[name]))
    return found


def compared(avx2: list[float], own: list[float]) -> dict[str, float | list[float]]:
    """Largest difference between the processors and standard deviation between the seeds, in points."""
    return {
        "AVX2": avx2,
        "own": own,
        "processors": round(float(np.abs(np.subtract(avx2, own)).max()), 3),
        "seeds": round(float(np.std(avx2, ddof=1)), 3),
    }


def main() -> None:
    """Measure, print and store."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3, help="at least 2")
    parser.add_argument("--profile", default="default", help="default, or quick")
    parser.add_argument("--out", type=Path, help="JSON file to write")
    args = parser.parse_args()
    if (own := torch.backends.cpu.get_cpu_capability()) == "AVX2":
        parser.exit(2, "this processor has AVX2 and nothing newer: there is nothing to compare\n")
    avx2, all_it_has = (runs(args.seeds, args.profile, held) for held in (AVX2, {}))
    moved = {name: compared(avx2[name], all_it_has[name]) for name in GLUED}
    said = [f"{name} {one['processors']:g} and {one['seeds']:g}" for name, one in moved.items()]
    record = {
        "what": f"a retrained network's Recall@1: largest difference between AVX2 and {own}, and standard "
        f"deviation between {args.seeds} seeds, in points: {', '.join(said)}",
        "date": today(),
        "machine": machine() | {"instruction_set": f"AVX2 and {own}"},
        "versions": versions(["torch", "open_clip_torch"]),
        "profile": args.profile,
        "Recall@1": moved,
    }
    write(record, args.out)


if __name__ == "__main__":
    main()
