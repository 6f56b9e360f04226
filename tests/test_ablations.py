"""Points of the ablations: what they train, how tables of them are read, and what is said of them."""

import dataclasses
import json
import math

import numpy as np
import pandas as pd
import pytest

from zscir.analysis.ablation_tables import effects, read_table, recorded, shared_seeds, spreads, study_rows
from zscir.analysis.ablations import BASE, METRICS, STUDIES, points, run_point, train_config
from zscir.figures.ablations import effects_figure, study_curves, study_dots
from zscir.inversion import TrainConfig
from zscir.pairs import load_pairs
from zscir.pairs.recaptions import best_others, retrieved_captions, wrong_captions
from zscir.retrieval.statistics import Spread, paired_gain, pooled_spread, t_interval

SMALL = {"world": "tiny", "steps": 3, "batch": 16, "limit": 64}


@pytest.fixture
def table():
    """Rows of the claim and of two taus; the metric is known by construction."""
    rows = [
        {**one, "recall@1": 40 + 3 * (one["preset"] == "pic2word") + one["seed"]}
        for one in points(["claim"], 3)
    ]
    rows += [
        {**one, "recall@1": 50 * one["tau"] + one["seed"]} for one in points(["tau"], 2) if one["tau"] != 0.3
    ]
    return pd.DataFrame(rows)


def test_every_point_is_a_legal_training_that_differs_from_the_base_in_its_study():
    every = points(seeds=1)
    assert len({json.dumps(one, sort_keys=True) for one in every}) == len(every)
    fields = {field.name for field in dataclasses.fields(TrainConfig)}
    for point in every:
        config = train_config(point)
        assert config.steps == point["steps"] and config.pairs == f"pocket-{point['world']}"
    for study in STUDIES.values():
        assert all(set(settings) <= set(BASE) for settings in study.values())
    assert {"tau", "lam", "keep", "fill", "span", "network", "mask_source"} <= fields & set(BASE)


def test_points_are_made_once_and_seed_by_seed():
    found = points(["claim", "tau", "lam"], seeds=[4, 7], steps=9)
    assert [one["seed"] for one in found] == [4] * (len(found) // 2) + [7] * (len(found) // 2)
    assert sum(one["tau"] == 0.3 and one["lam"] == 0.5 and one["preset"] == "paper" for one in found) == 2 * 3
    assert all(one["steps"] == 9 for one in found)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: points(["taus"]), "studies has 'taus'; legal: claim, tau"),
        (lambda: points(seeds=1, epochs=3), "no setting 'epochs'; legal: preset, tau"),
        (lambda: train_config({"tau": 1.7}), "tau is 1.7; legal: 0 <= tau <= 1"),
        (lambda: train_config({"captions": "spoken"}), "captions is 'spoken'; legal: given, retrieved"),
        (lambda: train_config({"preset": "papre"}), "preset is 'papre'; legal: paper, pic2word"),
        (lambda: run_point({"fill": "pink"}), "fill is 'pink'; legal: mean, black"),
        (lambda: run_point({**SMALL, "wrong": 2}), "wrong is 2; legal: numbers from 0 to 1"),
        (lambda: study_rows(pd.DataFrame({"seed": [0]}), "tau"), "no column 'tau'; it has: seed"),
        (lambda: study_rows(pd.DataFrame(), "time"), "study is 'time'; legal: claim"),
        (lambda: t_interval([]), "values are"),
        (lambda: t_interval([1.0, math.nan]), "values are"),
    ],
)
def test_mistakes_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_a_point_is_trained_and_scored(monkeypatch, tmp_path):
    monkeypatch.setenv("ZSCIR_ARTIFACTS", str(tmp_path))
    found = run_point({**SMALL, "captions": "retrieved", "wrong": 0.5})
    assert tuple(found) == METRICS and all(isinstance(value, float) for value in found.values())
    assert all(0 <= value <= 100 for value in found.values())
    single = run_point({**SMALL, "preset": "pic2word"})
    assert math.isnan(single["kept area"]) and single["recall@10"] >= single["recall@1"]


def test_a_study_takes_its_rows_from_a_table_of_many(table):
    rows = study_rows(table, "tau")
    assert list(dict.fromkeys(rows["label"])) == list(STUDIES["tau"])
    assert sorted(rows.loc[rows["label"] == 0.3, "seed"]) == [0, 1, 2]  # the base belongs to every study
    slim = table[["tau", "seed", "recall@1"]]  # a sweep of one parameter knows no other
    assert set(study_rows(slim, "tau")["label"]) == set(STUDIES["tau"])


def test_a_table_is_read_back_as_it_was(table, tmp_path):
    for name in METRICS:
        table[name] = table.get(name, pd.Series(1.0, index=table.index))
    table.to_csv(tmp_path / "table.csv", index=False)
    again = read_table(tmp_path / "table.csv")
    assert set(again["cam_method"]) == {""} and len(study_rows(again, "claim")) == 15
    with pytest.raises(FileNotFoundError, match="there is no such file"):
        read_table(tmp_path / "other.csv")
    table.drop(columns="recall@5").to_csv(tmp_path / "table.csv", index=False)
    with pytest.raises(ValueError, match="has no column 'recall@5'"):
        read_table(tmp_path / "table.csv")


def test_the_record_holds_every_study_with_its_provenance():
    record, made = recorded()
    assert {"date", "machine", "versions"} <= set(made)
    for name, study in STUDIES.items():
        found = study_rows(record, name).groupby("label")["seed"].nunique()
        assert set(found.index) == set(study), name
        assert found.min() >= 1
    claim = study_rows(record, "claim").groupby("label")["seed"].nunique()
    assert all(len(shared_seeds(study_rows(record, name))) for name in STUDIES)
    assert claim["Pic2Word"] >= 5 and claim["masked pairs"] >= 5
    assert not record.duplicated([*BASE, "seed"]).any()
    assert record[list(METRICS[:4])].stack().between(0, 100).all()


def test_an_interval_over_seeds_is_students():
    values = [3.0, 4.5, 4.0, 5.5]
    found = t_interval(values)
    reach = 3.182446 * np.std(values, ddof=1) / 2  # t of 3 degrees of freedom, from a printed table
    assert found.low == pytest.approx(np.mean(values) - reach, abs=1e-5)
    assert found.high == pytest.approx(np.mean(values) + reach, abs=1e-5)


def test_gains_are_paired_by_seed(table):
    claim = study_rows(table, "claim")
    ours, theirs = (claim[claim["label"] == name] for name in ("masked pairs", "Pic2Word"))
    gain = paired_gain(ours, theirs.sample(frac=1, random_state=0), "recall@1")
    assert gain[:3] == (-3, -3, -3) and gain.n == 3  # the seeds' own level cancels
    with pytest.raises(ValueError, match="seed 0 twice"):
        paired_gain(pd.concat([ours, ours]), theirs, "recall@1")
    with pytest.raises(ValueError, match="no seed is in both"):
        paired_gain(ours, theirs.assign(seed=theirs["seed"] + 9), "recall@1")


def test_figures_show_every_seed_and_the_means(table):
    rows = study_rows(table, "claim")
    axis = study_dots(rows, ["recall@1"]).axes[0]
    assert [label.get_text() for label in axis.get_yticklabels()] == list(STUDIES["claim"])
    assert sum(len(line.get_xdata()) for line in axis.lines if line.get_alpha() == 0.45) == len(rows)
    curve = study_rows(table, "tau")
    axis = study_curves({"masked pairs": curve}, ["recall@1"], "τ").axes[0]
    line = next(line for line in axis.lines if line.get_label() == "masked pairs")
    assert list(line.get_xdata()) == sorted(STUDIES["tau"])
    assert line.get_ydata()[0] == curve.loc[curve["label"] == 0.05, "recall@1"].mean()


def test_a_label_without_a_metric_has_no_dot_and_four_panels_stand_two_by_two(table):
    table = table.assign(**dict.fromkeys(("recall@5", "recall_subset@1", "recall@10"), table["recall@1"]))
    rows = study_rows(table, "claim")
    rows.loc[rows["label"] == "Pic2Word", "recall@5"] = np.nan
    lines = [len(axis.lines) for axis in study_dots(rows, ["recall@1", "recall@5"]).axes]
    assert lines[0] - lines[1] == 3, "its seeds, its mean and its interval"
    metrics = ["recall@1", "recall@5", "recall_subset@1", "recall@10"]
    figure = study_curves({"a": study_rows(table, "tau")}, metrics, "τ")
    assert figure.axes[0].get_subplotspec().get_gridspec().get_geometry() == (2, 2)


def test_effects_leave_the_base_out_and_name_the_rest(table):
    claim = study_rows(table, "claim")
    base = claim[claim["label"] == "masked pairs"]
    found = effects({"training": claim}, base, "recall@1").set_index("label")
    assert "masked pairs" not in found.index and found.loc["Pic2Word", "gain"] == 3
    figure = effects_figure(found.reset_index().assign(measure="recall@1"), "the base")
    texts = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert texts == ["training", "Pic2Word", "true masks", "random masks", "unmasked image"]


def test_few_seeds_borrow_the_spread_of_all_points():
    rng = np.random.default_rng(0)
    level = np.repeat(rng.normal(50, 5, 400), 2)  # 400 points, two seeds each, of the same spread
    many = pd.DataFrame({"tau": level, "keep": np.nan, "recall@1": level + rng.normal(0, 0.5, 800)})
    spread = pooled_spread(many, ["tau", "keep"], "recall@1")
    assert spread.df == 400 and spread.sd == pytest.approx(0.5, rel=0.1)
    residual = many["recall@1"] - many.groupby("tau")["recall@1"].transform("mean")
    assert spread.sd == pytest.approx(math.sqrt((residual**2).sum() / 400))
    hits = [abs(t_interval(own, spread=spread).value - tau) for tau, own in many.groupby("tau")["recall@1"]]
    reach = t_interval([0.0, 9.0], spread=spread)
    assert np.mean(np.array(hits) < (reach.high - reach.low) / 2) == pytest.approx(0.95, abs=0.04)
    with pytest.raises(ValueError, match="no point of the table has two seeds with 'recall@1'"):
        pooled_spread(many.drop_duplicates("tau"), ["tau"], "recall@1")


def test_a_known_spread_gives_single_seeds_an_interval(table):
    known = Spread(sd=0.5, df=60)
    base = study_rows(table, "claim").query("label == 'masked pairs' and seed == 0")
    other = study_rows(table, "claim").query("label == 'Pic2Word' and seed == 0")
    assert math.isnan(paired_gain(other, base, "recall@1").low)
    gain = paired_gain(other, base, "recall@1", spread=known)
    wide = t_interval([3.0], spread=known)
    assert gain.value == 3 and gain.high - 3 == pytest.approx(math.sqrt(2) * (wide.high - 3))
    assert gain.n == 1 and (gain.low, gain.high) == pytest.approx((1.6, 4.4), abs=0.05)
    rows = pd.concat([base, other])
    bounds = effects({"training": rows}, base, "recall@1", known)[["low", "high"]]
    assert bounds.to_numpy() == pytest.approx(np.array([[gain.low, gain.high]]))
    figure = study_curves({"a": study_rows(table, "tau")}, ["recall@1"], "τ", spreads={"recall@1": known})
    band = figure.axes[0].collections[0].get_paths()[0].vertices[:, 1]
    two = t_interval([19.5, 20.5], spread=known)  # tau 0.4 has as many seeds
    at_two = study_rows(table, "tau").query("label == 0.4")["recall@1"].mean()
    assert np.abs(band - (at_two + two.high - two.value)).min() == pytest.approx(0, abs=1e-9)
    assert np.isfinite(band).all() and band.max() > study_rows(table, "tau")["recall@1"].max() - 1


def test_the_record_says_how_far_seeds_lie_apart():
    found = spreads(recorded()[0])
    assert set(found) == set(METRICS) and all(one.df >= 30 and one.sd > 0 for one in found.values())


def test_wrong_captions_are_another_images_and_as_many_as_asked():
    pairs = load_pairs("pocket-tiny", 100)
    wrong = wrong_captions(pairs, 0.3, seed=1)
    moved = [n for n in range(100) if wrong.captions[n] != pairs.captions[n]]
    assert 25 <= len(moved) <= 30 and sorted(wrong.captions) == sorted(pairs.captions)
    assert wrong.fingerprint != pairs.fingerprint and wrong.has_true_masks
    assert wrong_captions(pairs, 0.3, seed=1).fingerprint == wrong.fingerprint
    assert wrong_captions(pairs, 0.3, seed=2).captions != wrong.captions


def test_retrieved_captions_are_the_best_of_the_others(monkeypatch, tmp_path, tiny_backbone):
    monkeypatch.setenv("ZSCIR_ARTIFACTS", str(tmp_path))
    pairs = load_pairs("pocket-tiny", 12)
    found = retrieved_captions(tiny_backbone, pairs)
    texts = tiny_backbone.encode_texts(pairs.captions)
    for row, image in enumerate(pairs.images):
        own = tiny_backbone.encode_images(tiny_backbone.preprocess(image)[None])
        scores = (own @ texts.T)[0].tolist()
        scores[row] = -2
        assert texts[pairs.captions.index(found.captions[row])] @ own[0] == pytest.approx(
            max(scores), abs=1e-5
        )
    with pytest.raises(ValueError, match="at least two"):
        retrieved_captions(tiny_backbone, load_pairs("pocket-tiny", 1))


def test_an_image_without_a_feature_keeps_its_caption():
    images = np.eye(3, dtype="float32")
    images[1] = np.nan
    import torch

    assert best_others(torch.tensor(images), torch.eye(3)) == [1, 1, 0]
