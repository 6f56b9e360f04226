"""Claims are written down before their runs, judged by queries and seeds at once, and tested as planned."""

import importlib
import json
import re
import subprocess
from collections.abc import Callable
from itertools import product

import numpy as np
import pandas as pd
import pytest
import torch

from zscir import build_masked_pairs, load_benchmark, load_pairs, make_pocket
from zscir.analysis.ablation_tables import recorded, shared_seeds, spreads, study_rows
from zscir.analysis.claims import (
    ARMS,
    CHOSEN,
    CLAIMS,
    CONTROL_CLAIMS,
    LINKS,
    MAP_ARMS,
    MEASURES,
    WORDED_CLAIMS,
    packed,
    unpacked,
    verdicts,
)
from zscir.pairs.masked_pairs import MaskedPairs
from zscir.pocket import control
from zscir.pocket.control import Arrangement
from zscir.pocket.scenes import Scene, held_out
from zscir.retrieval import evaluate, gallery_features, score_features
from zscir.retrieval.statistics import crossed_gain, holm, paired_gain
from zscir.storage import paths
from zscir.storage.paths import REPO


def test_the_plan_and_the_code_name_the_same_claims():
    plan = (REPO / "benchmarks" / "PLAN.md").read_text("utf-8")
    rows = re.findall(r"^\| (?:\d|[A-Z]) \| ([^|]+) \|$", plan, re.MULTILINE)
    assert rows == [words for words, _, _ in (*CLAIMS, *CONTROL_CLAIMS)]
    named = {arm.partition(" + ")[0] for _, *arms in (*CLAIMS, *CONTROL_CLAIMS) for arm in arms}
    assert named <= {*ARMS, CHOSEN, "slerp"}
    assert len(MEASURES) == 4 and all(name in plan for name in ("Recall@1", "Recall_subset@1", "Holm"))


def test_the_interval_holds_the_true_gain_as_often_as_it_says():
    rng, held = np.random.default_rng(0), 0
    for _ in range(400):
        seeds, queries = rng.normal(0, 0.05, (5, 1)), rng.normal(0, 0.4, (1, 80))
        gain = crossed_gain(0.1 + seeds + queries + rng.normal(0, 0.3, (5, 80)))
        held += gain.low <= 10 <= gain.high
    assert 0.92 <= held / 400 <= 0.99


def test_equal_arms_have_no_gain_and_no_verdict():
    gain = crossed_gain(np.zeros((3, 10)))
    assert gain == (0, 0, 0, 1)


def test_holm_is_that_of_the_textbook():
    assert holm([0.01, 0.02, 0.03, 0.04]) == [0.04, 0.06, 0.06, 0.06]
    assert holm([0.5, 0.6]) == [1.0, 1.0]


def table(**arms: float) -> pd.DataFrame:
    """A record of three seeds in which each arm hits a share of 300 queries; "slerp" is not trained."""
    rng, rows = np.random.default_rng(1), []
    ease = rng.random(300)
    for arm, share in arms.items():
        for seed in (-1,) if arm == "slerp" else range(3):
            hits = ease + 0.05 * rng.normal(size=300) < share
            columns = {f"hits {name}": packed(hits) for name in MEASURES}
            rows.append({"arm": arm.replace("_", " "), "seed": seed, **columns})
    return pd.DataFrame(rows)


def test_verdicts_say_what_held_and_what_is_undecided():
    claims = [
        ("a", "true masks", "random masks"),
        ("b", "random masks", "true masks"),
        ("c", "true masks", "slerp"),
    ]
    found = verdicts(table(true_masks=0.6, random_masks=0.3, slerp=0.6), claims, MEASURES[:1])
    assert found["verdict"].tolist() == ["held", "the opposite held", "undecided"]
    assert found["gain"].iloc[0] == pytest.approx(30, abs=3) and found["seeds"].tolist() == [3, 3, 3]
    assert (found["p"] >= 0).all() and found["low"].iloc[0] > 0


def test_a_claim_without_its_trainings_is_named():
    with pytest.raises(ValueError, match="the record has no arm 'Pic2Word'; it has: true masks"):
        verdicts(table(true_masks=0.5), [("a", "true masks", "Pic2Word")], MEASURES[:1])


def test_packed_hits_are_the_same_hits():
    hits = np.random.default_rng(2).random(1001) < 0.3
    assert (unpacked(packed(hits)) == hits).all()


@pytest.mark.parametrize("name", ["cirr", "fashioniq"])
def test_a_test_split_is_scored_by_what_its_server_knows(name, tiny_backbone):
    split, options = ("test1", {}) if name == "cirr" else ("test", {"category": "dress"})
    benchmark, world = load_benchmark(name, "pocket-tiny", split=split, **options), make_pocket("tiny")
    with pytest.raises(ValueError, match="without public targets"):
        evaluate(tiny_backbone, benchmark, "image")
    scored = benchmark.with_targets(world.answers(name))
    gallery = gallery_features(tiny_backbone, scored)
    right = gallery[[scored.row[query.targets[0]] for query in scored.queries]]
    assert score_features(scored, right, gallery).values["recall@1"].all()
    (captions,) = world.root(name).rglob(f"cap.*{'' if name == 'cirr' else 'dress.'}{split}.json")
    assert all(
        not key.startswith("target") for entry in json.loads(captions.read_text("utf-8")) for key in entry
    )
    with pytest.raises(ValueError, match="answers has None for query"):
        benchmark.with_targets({})
    with pytest.raises(ValueError, match="answers has .'nowhere'. for query"):
        benchmark.with_targets({query.id: ["nowhere"] for query in benchmark.queries})


def test_random_masks_of_true_areas_have_these_areas_in_other_places(tiny_backbone):
    pairs = load_pairs("pocket-tiny", 60)

    def build(source: str) -> MaskedPairs:
        return build_masked_pairs(tiny_backbone, pairs, mask_source=source, max_skipped=1, progress=False)

    true, shuffled = build("true"), build("random-true")
    assert true.rows.equal(shuffled.rows)
    assert sorted(true.kept_area.tolist()) == sorted(shuffled.kept_area.tolist())
    assert not torch.equal(true.kept_area, shuffled.kept_area)
    assert not torch.allclose(true.masked_features, shuffled.masked_features)


def test_pairs_after_a_number_are_the_same_pairs():
    pairs = load_pairs("pocket-tiny", 10)
    rest = pairs.after(7)
    assert rest.captions == pairs.captions[7:] and len(rest) == 3
    assert np.array_equal(np.asarray(rest.images[2]), np.asarray(pairs.images[9]))
    assert rest.fingerprint != pairs.fingerprint and rest.scenes == pairs.scenes[7:]
    assert np.array_equal(np.asarray(rest.label_maps(0)), np.asarray(pairs.label_maps(7)))
    with pytest.raises(ValueError, match=rf"start is {len(pairs)}; legal: from 0 to {len(pairs) - 1}"):
        pairs.after(len(pairs))


def test_the_control_world_says_one_of_two_things_and_has_look_alikes(tmp_path, monkeypatch):
    for name, value in {"PAIRS": 12, "SETS": 3}.items():
        monkeypatch.setattr(control, name, value)
    world = control.make_control(root=tmp_path)
    for text, drawn in zip(world.pairs["caption"], world.pairs["scene"], strict=True):
        scene = Scene.from_json(drawn)
        said, other = (thing.noun for thing in scene.objects)
        assert scene.place in control.PLACES and not held_out(said, scene.place)
        assert f" {other}" not in f" {text} " or other in said
    benchmark = load_benchmark("cirr", world.root("cirr"))
    assert len(benchmark.queries) == 6 and len(benchmark.gallery) == 18
    scenes = world.scenes("cirr")
    for query in benchmark.queries:
        before, after = (
            {thing.noun for thing in scenes[name].objects} for name in (query.reference, query.targets[0])
        )
        assert before & after == {world.kept[query.id]}
        assert held_out(world.kept[query.id], scenes[query.targets[0]].place)
        assert scenes[query.reference].place != scenes[query.targets[0]].place


@pytest.mark.parametrize(
    "name", ["pocket-control-1things-0said-2places", "pocket-control-3things-100said-4places"]
)
def test_an_arrangement_says_and_shows_what_its_name_tells(name, tmp_path, monkeypatch):
    for constant, value in {"PAIRS": 8, "SETS": 3}.items():
        monkeypatch.setattr(control, constant, value)
    own = control.Arrangement.of(name)
    world = control.make_control(root=tmp_path, arrangement=own)
    for text, drawn in zip(world.pairs["caption"], world.pairs["scene"], strict=True):
        scene = Scene.from_json(drawn)
        assert len(scene.objects) == own.things and scene.place in control.PLACES[: own.places]
        assert sum(thing.colour in text.split() for thing in scene.objects) == (own.things if own.said else 0)
    benchmark, scenes = load_benchmark("cirr", world.root("cirr")), world.scenes("cirr")
    assert len(benchmark.queries) == 3 * (2 if own.things > 1 else 1)
    for query in benchmark.queries:
        (kept,) = (t for t in scenes[query.reference].objects if t.noun == world.kept[query.id])
        alike = [name for name in query.subset if kept in scenes[name].objects]
        assert query.targets[0] in alike, "the kept thing is the same, its colour too"


@pytest.mark.parametrize(
    "name", ["pocket-control-0things-0said-4places", "pocket-control-2", "pocket-controls"]
)
def test_a_name_without_an_arrangement_is_refused(name):
    with pytest.raises(ValueError, match="legal: "):
        load_pairs(name)


#: What the prose of the chapter says of each claim, measure by measure, in the words of `verdicts`.
SAID = {
    "test": {
        1: ("undecided", "the opposite held", "the opposite held", "undecided"),
        2: ("undecided",) * 4,
        3: ("undecided", "undecided", "held", "undecided"),
        4: ("held",) * 4,
        5: ("undecided",) * 4,
        6: ("undecided", "the opposite held", "undecided", "undecided"),
        7: ("undecided",) * 4,
    },
    "control": {
        1: ("held", "undecided", "undecided", "undecided"),
        2: ("held",) * 4,
        3: ("held", "undecided", "undecided", "undecided"),
        4: ("undecided",) * 4,
    },
}


@pytest.mark.parametrize("stage", ["test", "control"])
def test_the_prose_says_what_the_record_says(stage):
    """Where this fails, the record has changed: rewrite what chapter 7 and the opening page conclude."""
    record, how = recorded("claims")
    claims, measures = (CLAIMS, MEASURES) if stage == "test" else (CONTROL_CLAIMS, LINKS)
    found = verdicts(record[record["stage"] == stage], claims, measures)
    of_claim = found.groupby("claim", sort=False)["verdict"].agg(tuple)
    assert dict(enumerate(of_claim, start=1)) == SAID[stage]
    assert (found["seeds"] >= 5).all() and how["machine"]["instruction_set"] == "AVX2"
    share = record[record["stage"] == "control"].groupby("arm")[list(LINKS)].mean()
    assert (share["masked references"] - share["recall@1"] > 50).all(), "whole references lose most"
    assert how["chosen on val"]["masked pairs"]["lam"] == 0.1, "the smallest on offer"


def test_the_prose_says_how_the_captions_differ():
    """Where this fails, rewrite *Is the pocket world like the world?* in chapter 7."""
    said = json.loads((REPO / "benchmarks" / "results" / "captions.json").read_text("utf-8"))["captions"]
    pairs, cc3m = said["pocket pairs"], said["CC3M, as published"]
    assert all(abs(pairs[name] - cc3m[name]) < 0.5 for name in ("words", "words, standard deviation"))
    ours, theirs = said["pocket FashionIQ"], said["real FashionIQ"]
    assert (
        abs(ours["words"] - theirs["words"]) < 1.5
        and min(own["adjectives a noun"] for own in (ours, theirs)) > 1.5
    )
    ours, theirs = said["pocket CIRR"], said["real CIRR"]
    assert theirs["words"] - ours["words"] > 3 and theirs["nouns"] > ours["nouns"]
    assert ours["share with a negation"] > 2 * theirs["share with a negation"]


def test_no_row_of_test_is_best_in_all_measures():
    record, _ = recorded("claims")
    test = record[record["stage"] == "test"]
    means = test.groupby("arm")[[*MEASURES, *(f"late {one}" for one in MEASURES)]].mean()
    means.loc["late"] = [*means.loc["Pic2Word"].iloc[4:], *[0.0] * 4]
    assert means[list(MEASURES)].idxmax().tolist() == [CHOSEN, CHOSEN, "late", "late"]


#: What the prose of chapter 7 says of the studies on val: a sign a measure, 0 where the interval holds zero.
SAID_OF_STUDIES = {
    ("claim", "masked pairs"): {
        "Pic2Word": "++++",
        "true masks": "--+0",
        "random masks": "00-0",
        "unmasked image": "----",
    },
    ("claim", "random masks"): {"true masks": "--+0"},
    ("tau", "masked pairs"): dict.fromkeys((0.05, 0.1, 0.2, 0.4, 0.5, 0.7), "0000") | {0.9: "--+0"},
    ("lam", "Pic2Word"): {0.1: "00-0", 0.25: "-0-0", 0.5: "----", 0.75: "----", 1.0: "----"},
    ("lam, with adjectives", "Pic2Word"): {0.1: "++--", 0.25: "++--", 0.5: "+0--", 0.75: "0---"},
    ("keep", "masked pairs"): {"rest": "----"},
    ("fill", "masked pairs"): {"black": "--00", "blur": "----", "noise": "--0+", "drop": "0++-"},
    ("noun", "masked pairs"): dict.fromkeys(("first", "head", "most visible"), "0000")
    | {"random, with its adjectives": "++--"},
    ("cam", "masked pairs"): {"Grad-CAM": "0000", "LayerCAM": "0000"},
    ("network", "masked pairs"): {"two-layer": "0000", "pic2word": "++00"},
    ("loss", "masked pairs"): {"cosine": "--+0", "mse": "--+0"},
    ("wrong captions", "masked pairs"): dict.fromkeys((0.1, 0.25, 0.5), "----"),
    ("captions", "masked pairs"): {"retrieved": "00-0"},
    ("pairs", "pairs, Pic2Word"): {500: "---0", 8000: "----"},
    ("steps", "steps, Pic2Word"): {60: "0--0", 1000: "----"},
    ("steps, with adjectives", "steps, Pic2Word"): {60: "00-0", 1000: "++--"},
}


def test_the_prose_says_what_the_studies_say():
    """Where this fails, the record has changed: rewrite what chapter 7 concludes."""
    record, _ = recorded()
    spread, study = spreads(record), {}

    def rows(name: str, label: object) -> pd.DataFrame:
        own = study.setdefault(name, shared_seeds(study_rows(record, name)))
        return own[own["label"] == label]

    def signs(ours: pd.DataFrame, theirs: pd.DataFrame, measures: tuple = MEASURES) -> str:
        gains = [paired_gain(ours, theirs, one, spread=spread[one]) for one in measures]
        return "".join("-+"[gain.value > 0] if gain.excludes_zero else "0" for gain in gains)

    for (name, against), said in SAID_OF_STUDIES.items():
        of_length = against in study or against.endswith(", Pic2Word")
        for label, sign in said.items():
            theirs = rows(against, label) if of_length else rows("claim", against)
            assert signs(rows(name, label), theirs) == sign, (name, label)
    ours, theirs = rows("claim", "masked pairs"), rows("claim", "Pic2Word")
    conflicts = ("recall@1 little conflict", "recall@1 much conflict")
    assert signs(ours, theirs, conflicts) == "0-"
    none, same = (one.set_index("seed")[list(MEASURES)] for one in (rows("lam", 0.0), theirs))
    assert len(none) >= 2 and none.equals(same.loc[none.index]), "λ = 0 is Pic2Word"


def test_the_plan_is_older_than_the_record():
    """The commit that the trainings ran from holds the plan."""
    record = json.loads((REPO / "benchmarks" / "results" / "claims.json").read_text("utf-8"))
    commit = record["runs"][0]["git_commit"]
    git = ["git", "-C", str(REPO), "cat-file", "-e"]
    if subprocess.run([*git, commit], capture_output=True).returncode:
        pytest.skip(f"this checkout does not hold the commit {commit[:8]}")
    assert not subprocess.run([*git, f"{commit}:benchmarks/PLAN.md"], capture_output=True).returncode


@pytest.fixture
def script(monkeypatch):
    """``benchmarks/claims.py``, which judges the map."""
    monkeypatch.syspath_prepend(str(REPO / "benchmarks"))
    return importlib.import_module("claims")


def map_record(script, share: Callable[[Arrangement, str, str], float], seeds: int = 3) -> pd.DataFrame:
    """A record of the map in which a training hits a ``share`` (arrangement, arm, link) of its queries."""
    rng, rows = np.random.default_rng(3), []
    for arrangement in (*script.CORNERS, *script.ALIKE, script.PREDICTED):
        ease = {
            one: rng.random(900 if one == LINKS[0] else 300 * min(arrangement.things, 2)) for one in LINKS
        }
        for seed, arm in product(range(seeds), MAP_ARMS):
            row = {"pairs": arrangement.name, "arm": arm, "seed": seed, "seconds": 1.0}
            for one, own in ease.items():
                hits = own + 0.05 * rng.normal(size=len(own)) < share(arrangement, arm, one)
                row |= {one: 100 * hits.mean(), f"hits {one}": packed(hits)}
            rows.append(row)
    return pd.DataFrame(rows)


def as_predicted(own: Arrangement, arm: str, link: str) -> float:
    """Shares of a world in which the plan's hypothesis is true."""
    silent, alike = own.said == 0, own.places == 4
    true = 0.1 * silent + 0.1 * alike + 0.05
    held_out = 0.5 + {"true masks": true, "random masks": 0.0}.get(arm, 0.02)
    masked = 0.1 if own.things == 1 and arm == "masked pairs" else 0.0
    return {LINKS[0]: held_out, LINKS[1]: 0.8 + masked, LINKS[2]: 0.9 / own.things - 0.2 + masked}.get(
        link, 0.4
    )


def test_the_map_is_judged_as_planned(script):
    plan = (REPO / "benchmarks" / "PLAN.md").read_text("utf-8")
    in_words = [*script.PREDICTIONS, *(words for words, *_ in script.WORDING_PREDICTIONS)]
    assert re.findall(r"^\| \d \| ([^|]+) \| [^|]+ \|$", plan, re.M) == in_words
    found = script.judged(map_record(script, as_predicted))
    assert [row["verdict"] for row in found["predictions"]] == ["held"] * 4
    assert [len(row["comparisons"]) for row in found["predictions"]] == [2, 1, 14, 1]
    places = found["predictions"][3]
    assert places["difference"] == pytest.approx(10, abs=3) and places["low"] > 0
    point = found["predicted point"]
    assert point["predicted"] == pytest.approx(10, abs=4) and point["low"] < point["high"]
    assert point["held"] == (
        point["low"] <= point["predicted"] <= point["high"] and point["high"] - point["low"] < 6
    )
    turned = script.judged(map_record(script, lambda own, arm, link: 1 - as_predicted(own, arm, link)))
    assert {row["verdict"] for row in turned["predictions"]} == {"the opposite held"}


def test_a_prediction_of_several_comparisons_needs_all_of_them(script):
    def share(own: Arrangement, arm: str, link: str) -> float:
        return 0.3 + 0.3 * (own.things == 1) if arm == "unmasked image" else as_predicted(own, arm, link)

    found = script.judged(map_record(script, share))["predictions"][2]
    assert found["verdict"] == "undecided" and found["weakest"].startswith("unmasked image, ")


def test_the_interval_of_a_difference_of_gains_holds_it_as_often_as_it_says(script):
    rng, held = np.random.default_rng(0), 0
    for _ in range(400):
        more, less = (
            mean
            + rng.normal(0, 0.03, (5, 1))
            + rng.normal(0, spread, (1, queries))
            + rng.normal(0, 0.3, (5, queries))
            for mean, spread, queries in ((0.3, 0.2, 60), (0.1, 0.5, 120))
        )
        gain = script.difference(more, less)
        held += gain.low <= 20 <= gain.high
    assert 0.92 <= held / 400 <= 0.99
    assert script.difference(more, less).difference == pytest.approx(100 * (more.mean() - less.mean()))


def test_the_verdicts_of_the_map_are_those_of_its_record(script):
    """The record holds every training, and was made by a commit that holds the plan of the map."""
    table, how = recorded("map")
    arrangements = [own.name for own in (*script.CORNERS, *script.ALIKE, script.PREDICTED)]
    wanted = {*product(arrangements, MAP_ARMS, script.SEEDS)}
    assert {*zip(table["pairs"], table["arm"], table["seed"], strict=True)} == wanted
    assert len(table) == len(wanted)
    found = json.loads(json.dumps(script.judged(table)))
    assert {name: how[name] for name in found} == found
    shown = ["git", "-C", str(REPO), "show", f"{how['runs'][0]['git_commit']}:benchmarks/PLAN.md"]
    plan = subprocess.run(shown, capture_output=True, text=True)
    assert plan.returncode or "## The map" in plan.stdout


def test_the_prose_says_what_the_map_says(script):
    """Where this fails, the record has changed: rewrite *Between the two worlds* in chapter 7."""
    table, how = recorded("map")
    assert [one["verdict"] for one in how["predictions"]] == ["undecided"] * 4
    assert not how["predicted point"]["held"]
    assert abs(how["predictions"][0]["difference"]) < 2 and how["predictions"][3]["difference"] < 0
    short = [name for name, own in how["predictions"][2]["comparisons"].items() if own["low"] <= 0]
    assert short == ["LinCIR's loss, all said"], "one of fourteen falls short"
    assert len(how["predictions"][2]["comparisons"]) == 14
    assert all(own["difference"] > 0 for own in how["predictions"][2]["comparisons"].values())
    silent_1, silent_3, said_1, said_3 = script.CORNERS
    place = {own: crossed_gain(script.true_over_random(table, own)) for own in script.CORNERS}
    assert min(place[silent_1].low, place[said_1].low) > max(place[silent_3].high, place[said_3].high)

    def gain(arrangement: Arrangement, arm: str):
        return crossed_gain(script.gains(table, arrangement, LINKS[2], arm, "Pic2Word"))

    assert gain(silent_1, "masked pairs").low > 0 and gain(said_1, "masked pairs").high < 0
    most = max(
        (*script.CORNERS, *script.ALIKE, script.PREDICTED), key=lambda own: gain(own, "masked pairs")[0]
    )
    assert most == silent_1
    hidden = gain(said_1, "adjectives hidden too")
    assert hidden.low < 0 < hidden.high, "the loss is gone"


def test_the_prose_says_what_the_pseudo_words_tell(script):
    """Where this fails, rewrite *What a caption says of the hidden thing* in chapter 7."""
    how = json.loads((REPO / "benchmarks" / "results" / "map.json").read_text("utf-8"))
    rows = pd.DataFrame(how["read from pseudo-words"]).set_index(["pairs", "arm", "seed"])["colour"]
    assert len(rows) == len(script.READ) * len(script.READ_ARMS) * len(script.SEEDS)
    silent, said = (rows[own.name] for own in script.READ)
    assert silent["Pic2Word"].equals(said["Pic2Word"]), "it trains on images alone"
    assert (silent["masked pairs"] > silent["Pic2Word"]).all()
    assert (said["masked pairs"] < said["Pic2Word"]).all()
    assert (said["adjectives hidden too"] > said["masked pairs"]).all()


def wording_record(script, gain: Callable[[str, str], float]) -> pd.DataFrame:
    """A record of plain captions in which an arm hits .5 and a ``gain`` (backbone, arm) of the queries."""
    rng, rows = np.random.default_rng(4), []
    ease = rng.random(600)
    for (wording, seed), arm in product(
        product(script.WORDINGS, script.PRETRAINED), (*ARMS, CHOSEN, "slerp")
    ):
        for own in range(3) if arm != "slerp" else [-1]:
            hits = ease + 0.05 * rng.normal(size=600) < 0.5 + gain(f"{wording}-{seed}", arm)
            rows.append(
                {"backbone": f"{wording}-{seed}", "arm": arm, "seed": own, "hits recall@1": packed(hits)}
            )
    return pd.DataFrame(rows)


def test_plain_captions_are_judged_in_both_pretrainings(script):
    def gain(backbone: str, arm: str) -> float:
        chosen = {"plain-0": 0.2, "plain-1": -0.2}.get(backbone, 0.0)
        return {"slerp": -0.2 * backbone.startswith("plain"), CHOSEN: chosen}.get(arm, 0.1)

    untrained, masked = script.judged_wording(wording_record(script, gain))
    assert untrained["verdict"] == "held" and untrained["difference"] == pytest.approx(20, abs=3)
    assert [*untrained["comparisons"]] == ["pre-training 1", "pre-training 2"]
    assert masked["verdict"] == "undecided" and masked["p"] == 1 and masked["weakest"] == "pre-training 2"


def test_the_verdicts_of_plain_captions_are_those_of_their_record(script):
    """The record holds every training with every backbone, and was made by a commit that holds its plan."""
    table, how = recorded("wording")
    names = [f"{wording}-{seed}" for seed, wording in product(script.PRETRAINED, script.WORDINGS)]
    wanted = {*product(names, ("Pic2Word", CHOSEN), script.SEEDS)}
    wanted |= {*product(names, ("slerp", "image", "text"), [-1])}
    assert {*zip(table["backbone"], table["arm"], table["seed"], strict=True)} == wanted
    assert len(table) == len(wanted)
    assert json.loads(json.dumps(script.judged_wording(table))) == how["predictions"]
    assert {name: one["relative"] for name, one in how["backbones"].items()} == {
        name: 100 * name.startswith("relative") for name in names
    }
    shown = ["git", "-C", str(REPO), "show", f"{how['runs'][0]['git_commit']}:benchmarks/PLAN.md"]
    plan = subprocess.run(shown, capture_output=True, text=True)
    assert plan.returncode or "## Plain captions" in plan.stdout


def test_the_prose_says_what_plain_captions_change():
    """Where this fails, rewrite *Has the text tower rehearsed the test?* in chapter 7, and the first page."""
    table, how = recorded("wording")
    marks = {"held": "+", "the opposite held": "-", "undecided": "0"}
    said = {}
    for backbone, own in table.groupby("backbone"):
        found = verdicts(own, WORDED_CLAIMS, MEASURES)
        signs = ["".join(map(marks.get, rows["verdict"])) for _, rows in found.groupby("claim", sort=False)]
        said[backbone] = signs[:2]
        means = own.groupby("arm")["recall@1"].mean()
        assert (means["slerp"] > means[["image", "text"]]).all()
    assert said["plain-0"] == ["+000", "+++-"] and said["plain-1"] == ["00--", "+++-"]
    assert [said[name][0][0] + said[name][1][0] for name in ("relative-0", "relative-1")] == ["00", "00"]
    assert [one["verdict"] for one in how["predictions"]] == ["undecided"] * 2
    assert all(own["difference"] > 0 for own in how["predictions"][0]["comparisons"].values())
    test = (
        table[table["arm"].isin(["Pic2Word", CHOSEN, "slerp"])]
        .groupby(["arm", "backbone"])["recall@1"]
        .mean()
    )
    falls = {
        arm: test[arm][["relative-0", "relative-1"]].mean() - test[arm][["plain-0", "plain-1"]].mean()
        for arm in ("slerp", "Pic2Word", CHOSEN)
    }
    assert min(falls.values()) > 0 and max(falls, key=falls.get) == "slerp"
    points = [how["backbones"][name]["maps that point at the thing"] for name in ("plain-0", "plain-1")]
    assert points[1] > points[0], "the better maps are those of the one where masked pairs gain nothing"
    garments = table[table["arm"] != "image"].groupby("backbone")["fashioniq recall@10"].mean()
    assert garments[["plain-0", "plain-1"]].max() < 0.6 * garments[["relative-0", "relative-1"]].min()
    known = [
        one["image_to_text_recall@1"] for name, one in how["backbones"].items() if name.startswith("plain")
    ]
    assert abs(known[0] - known[1]) < 1


@pytest.mark.parametrize("name", ["ablations", "claims"])
def test_records_need_the_checkout(name, monkeypatch):
    monkeypatch.setattr(paths, "REPO", None)
    with pytest.raises(FileNotFoundError, match="part of the repository: clone it"):
        recorded(name)
