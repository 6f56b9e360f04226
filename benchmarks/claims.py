"""The record of the claims: what PLAN.md, beside this script, says, in its order.

python benchmarks/claims.py                # val, then test and control; what is done is not done again

Finished trainings are kept in ``--folder`` as they come, so it may be stopped and called again. The record is
``claims.csv`` (a row a training; test and control with the hits of every query) and ``claims.json`` (what was
chosen on val, machine, versions, date) in ``--out``.
"""

import argparse
import json
from pathlib import Path

import pandas as pd
from records import write

from zscir.analysis.ablations import BASE
from zscir.analysis.claims import (
    ARMS,
    CHOSEN,
    MAP_ARMS,
    MEASURES,
    SETTINGS,
    WEIGHTS,
    baseline_hits,
    packed,
    percentages,
    run_point,
)
from zscir.pocket.control import Arrangement
from zscir.storage import run_points
from zscir.storage.paths import REPO

SEEDS, VAL_SEEDS = range(5), range(2)
LAMS, SPANS, TAUS = (0.1, 0.25, 0.5), ("noun", "chunk"), (0.2, 0.4)

#: The corners of the map, its other ends, and the point that is run after the others were read.
CORNERS = (Arrangement(1, 0), Arrangement(3, 0), Arrangement(1, 100), Arrangement(3, 100))
ALIKE = (Arrangement(2, 0, 4), Arrangement(2, 0, 12))
PREDICTED = Arrangement(2, 50, 12)
MAP = {"limit": 2000, "steps": 150}


def point(stage: str, arm: str, seed: int, late: float = 0.0, **changes: object) -> dict:
    """The settings of one training."""
    return {"stage": stage, "arm": arm, "late": late, **BASE, **SETTINGS, **changes, "seed": seed}


def on_val(folder: Path, workers: int | None) -> tuple[pd.DataFrame, dict]:
    """Trainings of val, and what they choose."""
    first = [("Pic2Word", ARMS["Pic2Word"])]
    first += [(f"λ {lam}, {span}", {"lam": lam, "span": span}) for lam in LAMS for span in SPANS]
    table = _run("val", first, VAL_SEEDS, folder / "val", workers)
    best = _best(table[table["arm"] != "Pic2Word"])
    second = [
        (f"{best['arm']}, τ {tau}", {"lam": best["lam"], "span": best["span"], "tau": tau}) for tau in TAUS
    ]
    table = pd.concat([table, _run("val", second, VAL_SEEDS, folder / "val tau", workers)], ignore_index=True)
    best = _best(table[table["arm"] != "Pic2Word"])
    late = table[table["arm"] == "Pic2Word"][[f"mean, late {weight}" for weight in WEIGHTS]].mean()
    slerp = {weight: _mean(baseline_hits("val", weight)) for weight in WEIGHTS}
    return table, {
        "masked pairs": {name: best[name] for name in ("lam", "span", "tau")},
        "late": WEIGHTS[int(late.to_numpy().argmax())],
        "slerp": max(slerp, key=slerp.get),
        "slerp on val": slerp,
    }


def on_map(folder: Path, workers: int | None, out: Path) -> None:
    """The trainings of the map and its record; the predicted point comes last."""
    tables = []
    for arrangement in (*CORNERS, *ALIKE, PREDICTED):
        points = [
            point("map", arm, seed, **{**MAP, "pairs": arrangement.name, **changes})
            for seed in SEEDS
            for arm, changes in MAP_ARMS.items()
        ]
        tables.append(run_points(run_point, points, folder / arrangement.name, workers=workers))
    _store(pd.concat(tables, ignore_index=True), "map", folder / PREDICTED.name, out)


def _store(table: pd.DataFrame, name: str, last: Path, out: Path, **found: object) -> None:
    """Write a record: its rows, and how they were made, as the folder of the last points says."""
    out.mkdir(parents=True, exist_ok=True)
    table.round(4).to_csv(out / f"{name}.csv", index=False)
    runs = json.loads((last / "provenance.json").read_text("utf-8"))["runs"]
    record = {"date": runs[-1]["date"], "machine": runs[-1]["machines"][0], "versions": runs[-1]["versions"]}
    record |= {**found, "trainings": int((table["seed"] >= 0).sum())}
    write(record | {"seconds": round(float(table["seconds"].sum())), "runs": runs}, out / f"{name}.json")


def _run(
    stage: str, arms: list, seeds: range, folder: Path, workers: int | None, late: float = 0.0
) -> pd.DataFrame:
    points = [point(stage, arm, seed, late, **changes) for seed in seeds for arm, changes in arms]
    return run_points(run_point, points, folder, workers=workers)


def _best(table: pd.DataFrame) -> dict:
    """Settings of the arm with the best mean of the four measures, over seeds."""
    means = table.assign(mean=table[list(MEASURES)].mean(axis=1)).groupby("arm")["mean"].mean()
    return table[table["arm"] == means.idxmax()].iloc[0].to_dict()


def _mean(hits: dict) -> float:
    return sum(percentages(hits).values()) / len(hits)


def main() -> None:
    """Run what is missing, write the record."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--workers", type=int, help="processes, by default one a core")
    parser.add_argument("--folder", type=Path, default=Path("_build/sweeps/claims"), help="of the points")
    parser.add_argument("--map", action="store_true", help="only the map of arrangements, map.csv")
    parser.add_argument("--out", type=Path, default=REPO / "benchmarks" / "results", help="of the record")
    args = parser.parse_args()
    if args.map:
        return on_map(args.folder / "map", args.workers, args.out)
    control = _run("control", list(ARMS.items()), SEEDS, args.folder / "control", args.workers)
    val, choice = on_val(args.folder, args.workers)
    arms = [*ARMS.items(), (CHOSEN, choice["masked pairs"])]
    test = _run("test", arms, SEEDS, args.folder / "test", args.workers, choice["late"])
    weights = {"slerp": choice["slerp"], "image": 0.0, "text": 1.0}
    rows = []
    for arm, weight in weights.items():
        hits = baseline_hits("test", weight)
        own = {f"hits {name}": packed(one) for name, one in hits.items()}
        rows.append({"stage": "test", "arm": arm, "seed": -1, **percentages(hits), **own})
    table = pd.concat([val, test, pd.DataFrame(rows), control], ignore_index=True)
    _store(table, "claims", args.folder / "test", args.out, **{"chosen on val": choice})


if __name__ == "__main__":
    main()
