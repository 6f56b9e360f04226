"""Training phi: settings, determinism, artifacts, and that it learns."""

import dataclasses
import json
import math

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from zscir import training
from zscir.train_config import key_fields
from zscir.training import TrainConfig, fit, load_inversion

COLOURS = [(220, 30, 30), (30, 200, 30), (40, 40, 230), (230, 220, 20), (20, 20, 20), (240, 240, 240)]
WORDS = ["dog", "cat", "owl", "car", "tree", "boat"]


@pytest.fixture(autouse=True)
def artifacts(tmp_path, monkeypatch):
    root = tmp_path / "artifacts"
    monkeypatch.setenv("ZSCIR_ARTIFACTS", str(root))
    return root


@pytest.fixture
def pairs(tmp_path):
    """Path of a folder with 36 two-colour images; the last caption has no noun."""
    folder = tmp_path / "pairs"
    folder.mkdir()
    lines = ["file\tcaption"]
    for row in range(36):
        pixels = np.zeros((32, 32, 3), np.uint8)
        pixels[:, :16], pixels[:, 16:] = COLOURS[row // 6], COLOURS[row % 6]
        Image.fromarray(pixels).save(folder / f"{row}.png")
        text = f"a {WORDS[row // 6]} and a {WORDS[row % 6]}" if row < 35 else "it is here"
        lines.append(f"{row}.png\t{text}")
    (folder / "pairs.tsv").write_text("\n".join(lines) + "\n", "utf-8")
    return str(folder)


def small(pairs, **settings):
    defaults = {"pairs": pairs, "steps": 12, "batch": 8, "warmup": 3, "hidden": 24}
    return TrainConfig(**defaults | settings)


def weights(inversion):
    return torch.cat([p.flatten() for p in inversion.phi.parameters()])


def count(artifacts, kind):
    return len(list((artifacts / kind).iterdir())) if (artifacts / kind).is_dir() else 0


# ----------------------------------------------------------------------------------------------- settings


def test_presets():
    lams = {
        name: (TrainConfig(preset=name).lam, TrainConfig(preset=name).mask_source)
        for name in training.PRESETS
    }
    assert lams == {
        "paper": (0.5, "cam"),
        "pic2word": (0.0, "none"),
        "query-target-only": (1.0, "cam"),
        "unmasked-image": (0.5, "none"),
    }
    assert TrainConfig(lam=0.2, mask_source="random").lam == 0.2
    with pytest.raises(ValueError, match=r"lam is 0.5; legal: 0.0 for preset 'pic2word'"):
        TrainConfig(preset="pic2word", lam=0.5)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("preset", "best"),
        ("lam", 1.5),
        ("lam", "half"),
        ("tau", -0.1),
        ("tau", None),
        ("keep", "all"),
        ("fill", "red"),
        ("mask_source", "box"),
        ("cam_method", "cam"),
        ("noun_strategy", "best"),
        ("span", "word"),
        ("steps", 0),
        ("steps", 1.5),
        ("batch", 1),
        ("lr", 0),
        ("lr", math.inf),
        ("lr", math.nan),
        ("weight_decay", -1),
        ("warmup", 5000),
        ("clip_norm", 0),
        ("ema", 1),
        ("hidden", 0),
        ("depth", 0),
        ("dropout", 1.0),
        ("precision", "fp16"),
        ("seed", -1),
        ("limit", 0),
    ],
)
def test_an_illegal_value_names_field_and_value(name, value):
    with pytest.raises(ValueError, match=rf"^{name} is {value!r}; legal: "):
        TrainConfig(**{name: value})


def test_key_holds_what_matters_and_nothing_else():
    def key(**settings):
        return key_fields(TrainConfig(**settings))

    assert key() != key(tau=0.2) and key() != key(seed=1) and key() != key(lam=1)
    assert key(preset="pic2word") == key(lam=0.0, tau=0.9, span="chunk")
    assert key(preset="unmasked-image", tau=0.1) == key(mask_source="none", keep="rest")
    assert key(mask_source="true", tau=0.1) == key(mask_source="true") != key(mask_source="true", keep="rest")
    assert key(lam=1) == key(preset="query-target-only") and key(lr=1) == key(lr=1.0)
    assert key(pairs="a") == key(pairs="b", backbone="ViT-L-14", pretrained="openai", limit=3)


def test_config_is_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        TrainConfig().tau = 0.2


# ----------------------------------------------------------------------------------------------- training


def test_same_seed_same_phi_bit_for_bit(tiny_backbone, pairs, artifacts, tmp_path, monkeypatch):
    first = fit(small(pairs), backbone=tiny_backbone)
    state = torch.get_rng_state()
    monkeypatch.setenv("ZSCIR_ARTIFACTS", str(tmp_path / "elsewhere"))
    torch.manual_seed(123)  # the caller's generator neither matters nor is moved
    before = torch.get_rng_state()
    second = fit(small(pairs), backbone=tiny_backbone)
    assert first.path != second.path
    assert torch.equal(weights(first), weights(second))
    assert torch.equal(torch.get_rng_state(), before) and not torch.equal(state, before)
    assert first.history.equals(second.history)
    assert not torch.equal(weights(first), weights(fit(small(pairs, seed=1), backbone=tiny_backbone)))


def test_the_artifact_is_loaded_not_recomputed(tiny_backbone, pairs, artifacts, monkeypatch):
    first = fit(small(pairs), backbone=tiny_backbone)
    monkeypatch.setattr(training, "_train", lambda *args: pytest.fail("trained again"))
    again = fit(small(pairs), backbone=tiny_backbone)
    assert again.path == first.path and torch.equal(weights(again), weights(first))
    assert again.config == first.config and again.history.equals(first.history)


def test_a_changed_tau_repeats_masking_and_training_only(tiny_backbone, pairs, artifacts):
    kinds = ("image-features", "nouns", "cams", "masked-features", "inversion")
    fit(small(pairs), backbone=tiny_backbone)
    assert [count(artifacts, kind) for kind in kinds] == [1, 1, 1, 1, 1]
    fit(small(pairs, tau=0.2), backbone=tiny_backbone)
    assert [count(artifacts, kind) for kind in kinds] == [1, 1, 1, 2, 2]


def test_pic2word_uses_no_caption(tiny_backbone, pairs, artifacts, monkeypatch):
    monkeypatch.setattr(
        training, "build_masked_pairs", lambda *a, **k: pytest.fail("masked pairs were built")
    )
    first = fit(small(pairs, preset="pic2word"), backbone=tiny_backbone)
    assert count(artifacts, "nouns") == count(artifacts, "cams") == 0
    assert first.history.query_target.isna().all() and first.history.loss.equals(first.history.original)


def test_history_and_record(tiny_backbone, pairs):
    run = fit(small(pairs, steps=25, lam=0.25), backbone=tiny_backbone)
    history = run.history
    assert history.step.tolist() == [10, 20, 25]
    mixed = 0.25 * history.query_target + 0.75 * history.original
    assert np.allclose(history.loss, mixed, atol=1e-5)
    assert (np.diff(history.lr) < 0).all()
    assert run.record["backbone"]["fingerprint"] == tiny_backbone.fingerprint
    assert run.record["report"]["without_noun"] == 1
    assert not run.phi.training and not any(p.requires_grad for p in run.phi.parameters())


def test_query_target_only_draws_masked_pairs_only(tiny_backbone, pairs):
    run = fit(small(pairs, preset="query-target-only"), backbone=tiny_backbone)
    assert run.history.original.isna().all() and run.history.loss.equals(run.history.query_target)
    with pytest.raises(ValueError, match="36 masked pairs needed, found .*'masked': 35"):
        fit(small(pairs, preset="query-target-only", batch=36), backbone=tiny_backbone)


@pytest.mark.parametrize("preset", ["pic2word", "query-target-only", "paper"])
def test_it_learns(make_tiny_backbone, pairs, preset):
    backbone = make_tiny_backbone()
    with torch.no_grad():
        backbone.model.logit_scale.fill_(math.log(50))
    settings = {"steps": 300, "batch": 24, "lr": 3e-3, "dropout": 0.0, "hidden": 96, "weight_decay": 0.0}
    history = fit(small(pairs, preset=preset, **settings), backbone=backbone).history
    assert history.loss.iloc[0] > 0.8 * math.log(24)
    assert history.loss.iloc[-1] < 0.5 * math.log(24)


def test_bf16_differs_a_little_from_fp32(tiny_backbone, pairs):
    fp32, bf16 = (fit(small(pairs, precision=p), backbone=tiny_backbone).history for p in ("fp32", "bf16"))
    assert np.allclose(fp32.loss, bf16.loss, rtol=0.05) and not fp32.loss.equals(bf16.loss)


def test_mean_of_weights(tiny_backbone, pairs):
    last, mean = (fit(small(pairs, ema=ema), backbone=tiny_backbone) for ema in (0.0, 0.999))
    assert last.history.equals(mean.history)  # the mean is only watched
    assert not torch.equal(weights(last), weights(mean))


def test_not_a_number_stops_with_the_step(tiny_backbone, pairs, artifacts, monkeypatch):
    whole = training._losses
    steps = []

    def spoiled(*args):
        steps.append(1)
        return tuple(loss * math.nan for loss in whole(*args)) if len(steps) == 4 else whole(*args)

    monkeypatch.setattr(training, "_losses", spoiled)
    with pytest.raises(FloatingPointError, match="the loss is nan at step 4 of 12"):
        fit(small(pairs), backbone=tiny_backbone)
    assert count(artifacts, "inversion") == 0


def test_too_few_pairs_and_missing_true_masks_fail_early(tiny_backbone, pairs, artifacts):
    with pytest.raises(ValueError, match="batch is 256, but pairs .* hold 36"):
        fit(small(pairs, batch=256), backbone=tiny_backbone)
    with pytest.raises(ValueError, match="mask_source is 'true'"):
        fit(small(pairs, mask_source="true"), backbone=tiny_backbone)
    assert count(artifacts, "image-features") == 0


def test_batches_are_shuffled_epochs_and_can_start_anywhere():
    batches = training._batches(10, 3, seed=5)
    drawn = [next(batches) for _ in range(7)]
    first_epoch = torch.cat(drawn[:3]).tolist()
    assert len(set(first_epoch)) == 9 and first_epoch != torch.cat(drawn[3:6]).tolist()
    later = training._batches(10, 3, seed=5, first=4)
    assert all(torch.equal(next(later), batch) for batch in drawn[4:])


def test_learning_rate_rises_then_falls():
    config = TrainConfig(steps=100, warmup=10, lr=1.0)
    rates = [training._learning_rate(config, step) for step in range(100)]
    assert rates[0] == pytest.approx(0.1) and rates[9] == rates[10] == 1.0
    assert rates[55] == pytest.approx(0.5) and 0 < rates[99] < 0.001


# ------------------------------------------------------------------------------------------------ loading


def test_load_inversion_checks_the_folder(tiny_backbone, make_tiny_backbone, pairs, tmp_path):
    run = fit(small(pairs), backbone=tiny_backbone)
    loaded = load_inversion(run.path)
    assert torch.equal(weights(loaded), weights(run)) and loaded.config == run.config
    with pytest.raises(FileNotFoundError, match="nothing holds no whole inversion: missing phi.safetensors"):
        load_inversion(tmp_path / "nothing")
    with pytest.raises(ValueError, match="maps width 32 to 48; backbone 'tiny' needs 32 to 32"):
        load_inversion(run.path, make_tiny_backbone(text={"width": 32}))
    tensors = load_file(run.path / "phi.safetensors")
    name = next(iter(tensors))
    save_file({**tensors, name: tensors[name][..., :1].clone()}, run.path / "phi.safetensors")
    with pytest.raises(ValueError, match="config.json says"):
        load_inversion(run.path)
    (run.path / "key.json").unlink()
    with pytest.raises(FileNotFoundError, match="missing key.json"):
        load_inversion(run.path)


def test_stored_settings_are_plain(tiny_backbone, pairs):
    run = fit(small(pairs, preset="unmasked-image"), backbone=tiny_backbone)
    written = json.loads((run.path / "config.json").read_text("utf-8"))
    assert TrainConfig(**written["config"]) == run.config
    assert written["phi"]["dim_in"] == 32 and written["phi"]["dim_out"] == 48
