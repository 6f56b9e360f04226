"""The record of the claims: what PLAN.md, beside this script, says, in its order.

python benchmarks/claims.py                # val, then test and control; what is done is not done again
python benchmarks/claims.py --map          # the map of arrangements
python benchmarks/claims.py --wording _build/pretrained    # plain captions, with backbones pre-trained there

Finished trainings are kept in ``--folder`` as they come, so it may be stopped and called again. The record is
``claims.csv`` (a row a training; test and control with the hits of every query) and ``claims.json`` (what was
chosen on val, machine, versions, date) in ``--out``; of the map ``map.csv``, and ``map.json`` with what
`judged` says; of plain captions ``wording.csv``, and ``wording.json`` with what `on_wording` says.
"""

import argparse
import json
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
from records import write

from zscir.analysis.ablations import BASE
from zscir.analysis.claims import (
    ARMS,
    CHOSEN,
    LINKS,
    MAP_ARMS,
    MEASURES,
    SETTINGS,
    WEIGHTS,
    baseline_hits,
    packed,
    paired_hits,
    percentages,
    point_config,
    run_point,
)
from zscir.analysis.probes import balanced, classifier, right, scene_probes
from zscir.analysis.readings import pseudo_word_features
from zscir.backbone import load_backbone
from zscir.inversion import fit
from zscir.pairs import image_features, load_pairs
from zscir.pocket.control import HELD_OUT, PAIRS, Arrangement
from zscir.pocket.scenes import Scene
from zscir.retrieval.queries import pseudo_words
from zscir.retrieval.statistics import Difference, crossed_gain, holm
from zscir.storage import run_points
from zscir.storage.paths import REPO

SEEDS, VAL_SEEDS = range(5), range(2)
LAMS, SPANS, TAUS = (0.1, 0.25, 0.5), ("noun", "chunk"), (0.2, 0.4)

#: The corners of the map, its other ends, and the point that is run after the others were read.
CORNERS = (Arrangement(1, 0), Arrangement(3, 0), Arrangement(1, 100), Arrangement(3, 100))
ALIKE = (Arrangement(2, 0, 4), Arrangement(2, 0, 12))
PREDICTED = Arrangement(2, 50, 12)
MAP = {"limit": 2000, "steps": 150}
#: Ends of the map at which pseudo-words are read, by which probes, and after which trainings.
READ, PROBES = (CORNERS[0], CORNERS[2]), ("thing", "place", "colour")
READ_ARMS = ("Pic2Word", "masked pairs", "adjectives hidden too")
#: What the plan predicts of the map, in its words.
PREDICTIONS = (
    "true masks gain more on random masks where captions say nothing than where they say all, with one thing "
    "and with three",
    "masked pairs gain more on Pic2Word with one thing than with three, where captions say nothing",
    "whole references lose less against masked ones with one thing than with three, whatever is trained",
    "true masks gain more on random masks at four places than at twelve",
)
#: Wording of captions -> the pairs that are worded so, and the seeds of the pre-training: a backbone each.
WORDINGS = {"plain": "pocket-small-0relative", "relative": "pocket-small"}
PRETRAINED = (0, 1)
#: What the plan predicts of plain captions: words, and the gain (of one arm on another) that should grow.
WORDING_PREDICTIONS = (
    ("what needs no training loses: Pic2Word gains more on slerp with plain captions", "Pic2Word", "slerp"),
    ("masked pairs, as chosen on val, gain more on Pic2Word with plain captions", CHOSEN, "Pic2Word"),
)
#: Points; the predicted point is tested by an interval that is shorter.
TELLING = 6.0


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
    return table, {
        "masked pairs": {name: best[name] for name in ("lam", "span", "tau")},
        "late": WEIGHTS[int(late.to_numpy().argmax())],
        **_slerp_on_val(),
    }


def _slerp_on_val(**backbone: str) -> dict:
    found = {weight: _mean(baseline_hits("val", weight, **backbone)) for weight in WEIGHTS}
    return {"slerp": max(found, key=found.get), "slerp on val": found}


def on_map(folder: Path, workers: int | None, out: Path) -> None:
    """The trainings of the map and its record; the predicted point comes last."""
    tables: list[pd.DataFrame] = []
    for arrangement in (*CORNERS, *ALIKE, PREDICTED):
        if arrangement == PREDICTED:
            print(f"predicted for {arrangement.name}: {predicted(pd.concat(tables)):+.2f} points")
        points = [_on_map(arrangement, arm, seed) for seed in SEEDS for arm in MAP_ARMS]
        tables.append(run_points(run_point, points, folder / arrangement.name, workers=workers))
    table = pd.concat(tables, ignore_index=True)
    what = "trainings of the control world in seven arrangements; four predictions and a predicted number"
    found = {"what": what, **judged(table), "read from pseudo-words": read_words()}
    _store(table, "map", folder / PREDICTED.name, out, **found)


def _on_map(arrangement: Arrangement, arm: str, seed: int) -> dict:
    return point("map", arm, seed, **{**MAP, "pairs": arrangement.name, **MAP_ARMS[arm]})


def read_words() -> list[dict]:
    """What zero-shot probes read from pseudo-words of whole pictures that no training saw; a row a network.

    The plan does not name it: it looks for the reason of what the map shows. Balanced accuracies in percent.
    """
    backbone, rows = load_backbone(), []
    for arrangement in READ:
        pairs = load_pairs(arrangement.name, PAIRS).after(PAIRS - HELD_OUT)
        seen = image_features(backbone, pairs, progress=False)
        probes = [one for one in scene_probes([*map(Scene.from_json, pairs.scenes)]) if one.name in PROBES]
        legal = [classifier(backbone, probe) for probe in probes]
        for seed, arm in product(SEEDS, READ_ARMS):
            config = point_config(_on_map(arrangement, arm, seed))
            network = fit(config, backbone=backbone, progress=False)  # stored when the map was trained
            told = pseudo_word_features(backbone, pseudo_words(network, seen))
            found = (
                balanced(right(told, values, one), one) for one, values in zip(probes, legal, strict=True)
            )
            row = {"pairs": arrangement.name, "arm": arm, "seed": seed}
            rows.append(row | {one.name: round(own.value, 2) for one, own in zip(probes, found, strict=True)})
    return rows


def on_wording(folder: Path, workers: int | None, out: Path, backbones: Path) -> None:
    """The trainings with each wording of captions, in each seed of the pre-training, and their record.

    Args:
        folder: of the points; `backbones` has a folder for each of `WORDINGS` and `PRETRAINED`, such as
            ``plain-0``, from ``pretraining.pretrain``, with ``scores.json`` from ``pretraining.judge``.
    """
    choice = json.loads((REPO / "benchmarks" / "results" / "claims.json").read_text("utf-8"))["chosen on val"]
    tables, chosen = [], {}
    for seed, (wording, pairs) in product(PRETRAINED, WORDINGS.items()):
        name = f"{wording}-{seed}"
        backbone = str(backbones / name)
        own = {"backbone": backbone, "pairs": pairs}
        arms = {"Pic2Word": ARMS["Pic2Word"], CHOSEN: choice["masked pairs"]}
        arms = [(arm, {**own, **changes}) for arm, changes in arms.items()]
        chosen[name] = _slerp_on_val(backbone=backbone)
        trained = _run("test", arms, SEEDS, folder / name, workers, choice["late"])
        untrained = _untrained(chosen[name]["slerp"], backbone=backbone)
        tables.append(
            pd.concat([trained, untrained], ignore_index=True).assign(backbone=name, wording=wording)
        )
    table = pd.concat(tables, ignore_index=True)
    found = {"what": "Pic2Word and masked pairs with plain captions and as they are, two backbones each"}
    found |= {"backbones": {name: _pretrained(backbones / name) for name in chosen}}
    found |= {"chosen on val": chosen, "predictions": judged_wording(table)}
    _store(table, "wording", folder / name, out, **found)


def _pretrained(folder: Path) -> dict:
    """How a backbone was pre-trained, and how good it is."""
    trained, scores = (
        json.loads((folder / name).read_text("utf-8")) for name in ("training.json", "scores.json")
    )
    known = {name: trained["config"][name] for name in ("relative", "seed", "images")} | {
        "torch": trained["torch"]
    }
    pointing = {"maps that point at the thing": scores["localisation"]["chosen"]["pointing"]}
    return known | scores["retrieval"] | pointing


def judged_wording(table: pd.DataFrame) -> list[dict]:
    """What became of the predictions of plain captions, in the plan's order; the rule is that of `judged`."""
    found = []
    for words, ours, theirs in WORDING_PREDICTIONS:
        own = {}
        for seed in PRETRAINED:
            more, less = (
                np.subtract(
                    *paired_hits(table[table["backbone"] == f"{name}-{seed}"], ours, theirs, MEASURES[0])
                )
                for name in WORDINGS
            )
            own[f"pre-training {seed + 1}"] = crossed_gain(more - less)
        found.append((words, own))
    return _borne_out(found)


def judged(table: pd.DataFrame) -> dict[str, object]:
    """What became of the predictions of the map: "predictions", in the plan's order, and "predicted point".

    Where a prediction makes several comparisons, each must bear it out: its p is the largest of theirs, and 1
    where their signs differ; its interval is that of the comparison that bears it out least.
    """
    compared = zip(PREDICTIONS, comparisons(table), strict=True)
    rows = _borne_out(
        [(words, {name: difference(*own) for name, own in found.items()}) for words, found in compared]
    )
    number, own = round(predicted(table), 4), _points(crossed_gain(true_over_random(table, PREDICTED)))
    held = own["low"] <= number <= own["high"] and own["high"] - own["low"] < TELLING
    return {"predictions": rows, "predicted point": {"predicted": number, **own, "held": held}}


def _borne_out(predictions: list[tuple[str, dict[str, Difference]]]) -> list[dict]:
    """Of each prediction and its comparisons: p after Holm, the weakest comparison, verdict."""
    rows = []
    for words, found in predictions:
        weakest = min(found, key=lambda name: found[name].low)
        one_sign = len({own.difference > 0 for own in found.values()}) == 1
        p = max(own.p for own in found.values()) if one_sign else 1.0
        own = {name: _points(one) for name, one in found.items()}
        rows.append({"prediction": words, "p": p, "weakest": weakest, **own[weakest], "comparisons": own})
    for row, p in zip(rows, holm([row["p"] for row in rows]), strict=True):
        won = "held" if row["difference"] > 0 else "the opposite held"
        row |= {"p": p, "verdict": won if p < 0.05 else "undecided"}
    return rows


def _points(found: Difference) -> dict[str, float]:
    return {name: round(getattr(found, name), 4) for name in ("difference", "low", "high")}


def comparisons(table: pd.DataFrame) -> list[dict[str, tuple[np.ndarray, np.ndarray]]]:
    """Of each prediction: comparison -> the gains that should be larger, and those that should be smaller."""
    none, whole = {1: CORNERS[0], 3: CORNERS[1]}, {1: CORNERS[2], 3: CORNERS[3]}
    said = {"nothing said": none, "all said": whole}
    by_words = {
        f"{things} thing{'s' * (things > 1)}": (
            true_over_random(table, none[things]),
            true_over_random(table, whole[things]),
        )
        for things in none
    }
    on_pic2word = [gains(table, none[things], LINKS[2], "masked pairs", "Pic2Word") for things in none]
    lost = {
        f"{arm}, {words}": (lost_with_whole(table, ends[3], arm), lost_with_whole(table, ends[1], arm))
        for arm, (words, ends) in product(MAP_ARMS, said.items())
    }
    places = [true_over_random(table, arrangement) for arrangement in ALIKE]
    return [by_words, {"1 thing and 3": tuple(on_pic2word)}, lost, {"4 places and 12": tuple(places)}]


def predicted(table: pd.DataFrame) -> float:
    """The gain of true over random masks at `PREDICTED`, in points, from the other arrangements."""
    four, twelve = (true_over_random(table, own).mean() for own in ALIKE)
    corners = [true_over_random(table, own).mean() for own in CORNERS]
    return 100 * float(np.mean(corners) + twelve - four)


def difference(more: np.ndarray, less: np.ndarray) -> Difference:
    """How much more one gain [S, Q] is than another [S, R] of other queries, with interval and p.

    Both are crossed samples with the same seeds. Each query is weighed so that the mean over all, as
    `crossed_gain` takes it, is the difference, and its own gain is held against the mean of its own sample.
    """
    whole = more.shape[1] + less.shape[1]
    parts = [sign * whole / own.shape[1] * (own - own.mean()) for sign, own in ((1, more), (-1, less))]
    return crossed_gain(more.mean() - less.mean() + np.hstack(parts))


def gains(table: pd.DataFrame, arrangement: Arrangement, measure: str, ours: str, theirs: str) -> np.ndarray:
    """What one training hit more than another at an arrangement, [S, Q]."""
    own = table[table["pairs"] == arrangement.name]
    return np.subtract(*paired_hits(own, ours, theirs, measure))


def true_over_random(table: pd.DataFrame, arrangement: Arrangement) -> np.ndarray:
    """What true masks gain on random ones with held-out pairs, [S, Q]."""
    return gains(table, arrangement, LINKS[0], "true masks", "random masks")


def lost_with_whole(table: pd.DataFrame, arrangement: Arrangement, arm: str) -> np.ndarray:
    """What a training loses where references are whole, [S, Q]."""
    own = table[table["pairs"] == arrangement.name]
    masked, whole = (paired_hits(own, arm, arm, measure)[0] for measure in LINKS[1:3])
    return masked - whole


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


def _untrained(slerp: float, **backbone: str) -> pd.DataFrame:
    """What needs no training, on test: slerp of a weight, the image alone, the text alone."""
    rows = []
    for arm, weight in {"slerp": slerp, "image": 0.0, "text": 1.0}.items():
        hits = baseline_hits("test", weight, **backbone)
        own = {f"hits {name}": packed(one) for name, one in hits.items()}
        rows.append({"stage": "test", "arm": arm, "seed": -1, **percentages(hits), **own})
    return pd.DataFrame(rows)


def _mean(hits: dict) -> float:
    return sum(percentages(hits).values()) / len(hits)


def main() -> None:
    """Run what is missing, write the record."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--workers", type=int, help="processes, by default one a core")
    parser.add_argument("--folder", type=Path, default=Path("_build/sweeps/claims"), help="of the points")
    parser.add_argument("--map", action="store_true", help="only the map of arrangements, map.csv")
    parser.add_argument("--wording", type=Path, help="only plain captions: the folder of its backbones")
    parser.add_argument("--out", type=Path, default=REPO / "benchmarks" / "results", help="of the record")
    args = parser.parse_args()
    if args.wording:
        return on_wording(args.folder / "wording", args.workers, args.out, args.wording)
    if args.map:
        return on_map(args.folder / "map", args.workers, args.out)
    control = _run("control", list(ARMS.items()), SEEDS, args.folder / "control", args.workers)
    val, choice = on_val(args.folder, args.workers)
    arms = [*ARMS.items(), (CHOSEN, choice["masked pairs"])]
    test = _run("test", arms, SEEDS, args.folder / "test", args.workers, choice["late"])
    table = pd.concat([val, test, _untrained(choice["slerp"]), control], ignore_index=True)
    _store(table, "claims", args.folder / "test", args.out, **{"chosen on val": choice})


if __name__ == "__main__":
    main()
