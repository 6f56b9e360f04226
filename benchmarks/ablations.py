"""The trainings of the chapter *Ablations*: hours of work, so a record that the book reads.

python benchmarks/ablations.py --studies claim --seeds 5      # the comparison that matters most, first
python benchmarks/ablations.py --seeds 3                      # all studies; what is done is not done again

Finished points are kept in ``--folder`` as they come, so it may be stopped and called again. The record,
``ablations.csv`` and ``ablations.json`` in ``--out``, holds all points of the folder.
"""

import argparse
import json
from pathlib import Path

import pandas as pd

from zscir.analysis.ablations import BASE, METRICS, STUDIES, points, run_point
from zscir.storage import run_points
from zscir.storage.paths import REPO


def write_record(folder: Path, out: Path) -> Path:
    """Table and provenance of all points that a folder holds; the path of the table."""
    stored = [json.loads(place.read_text("utf-8")) for place in sorted((folder / "points").glob("*.json"))]
    rows = [{**one["point"], **one["result"], "seconds": one["seconds"]} for one in stored]
    columns = [*BASE, "seed", *METRICS, "seconds"]
    table = pd.DataFrame(rows, columns=columns).sort_values([*BASE, "seed"], kind="stable")
    runs = json.loads((folder / "provenance.json").read_text("utf-8"))["runs"]
    record = {"date": runs[-1]["date"], "machine": runs[-1]["machines"][0], "versions": runs[-1]["versions"]}
    record |= {"points": len(table), "seconds": round(float(table["seconds"].sum())), "runs": runs}
    out.mkdir(parents=True, exist_ok=True)
    table.round(4).to_csv(out / "ablations.csv", index=False)
    (out / "ablations.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    return out / "ablations.csv"


def main() -> None:
    """Run what is missing, write the record."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--studies", nargs="+", choices=list(STUDIES), help="by default all")
    parser.add_argument("--seeds", type=int, default=5, help="how many")
    parser.add_argument("--steps", type=int, default=BASE["steps"], help="of the base training")
    parser.add_argument("--limit", type=int, default=BASE["limit"], help="pairs of the base training")
    parser.add_argument("--world", default=BASE["world"], help="tiny, small or large")
    parser.add_argument("--workers", type=int, help="processes, by default one a core")
    parser.add_argument("--scheduler", help="address of a Dask scheduler, in place of processes here")
    parser.add_argument("--folder", type=Path, default=Path("_build/sweeps/ablations"), help="of the points")
    parser.add_argument("--out", type=Path, default=REPO / "benchmarks" / "results", help="of the record")
    args = parser.parse_args()
    fixed = {"steps": args.steps, "limit": args.limit, "world": args.world}
    wanted = points(args.studies, args.seeds, **fixed)
    run_points(run_point, wanted, args.folder, workers=args.workers, scheduler=args.scheduler)
    print(f"the record: {write_record(args.folder, args.out)}")


if __name__ == "__main__":
    main()
