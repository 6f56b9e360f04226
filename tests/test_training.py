"""Training phi: settings, determinism, artifacts, and that it learns."""

import json
import math

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from zscir.inversion import TrainConfig, fit, load_inversion, training
from zscir.inversion import data as train_data
from zscir.inversion.data import batches
from zscir.inversion.log import EXACT_COLUMNS
from zscir.inversion.processes import Processes
from zscir.inversion.training import learning_rate


@pytest.fixture(autouse=True)
def artifacts(tmp_path, monkeypatch):
    root = tmp_path / "artifacts"
    monkeypatch.setenv("ZSCIR_ARTIFACTS", str(root))
    return root


@pytest.fixture
def pairs(colour_pairs):
    return colour_pairs


def small(pairs, **settings):
    defaults = {"pairs": pairs, "steps": 12, "batch": 8, "warmup": 3, "hidden": 24}
    return TrainConfig(**defaults | settings)


def weights(inversion):
    return torch.cat([p.flatten() for p in inversion.phi.parameters()])


def exact(inversion):
    """The columns of the history that are the same in every run."""
    return inversion.history[list(EXACT_COLUMNS)]


def count(artifacts, kind):
    return len(list((artifacts / kind).iterdir())) if (artifacts / kind).is_dir() else 0


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
    assert exact(first).equals(exact(second))
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
        train_data, "build_masked_pairs", lambda *a, **k: pytest.fail("masked pairs were built")
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


def test_language_only_reads_no_image_and_learns(make_tiny_backbone, pairs, artifacts, monkeypatch):
    monkeypatch.setattr(train_data, "image_features", lambda *a, **k: pytest.fail("images were encoded"))
    monkeypatch.setattr(train_data, "build_masked_pairs", lambda *a, **k: pytest.fail("images were masked"))
    settings = {"steps": 200, "batch": 24, "lr": 3e-3, "dropout": 0.0, "hidden": 96, "weight_decay": 0.0}
    run = fit(small(pairs, preset="lincir", **settings), backbone=make_tiny_backbone())
    history = run.history
    assert history.self_masking.iloc[-1] < 0.6 * history.self_masking.iloc[0]
    assert history.original.isna().all() and history.query_target.isna().all()
    assert history.loss.equals(history.self_masking)
    assert run.record["report"] == {
        **{"pairs": 36, "masked": 35, "without_noun": 1, "beyond_context": 0, "left_over_per_epoch": 11}
    }


@pytest.mark.parametrize("loss", ["cosine", "mse"])
def test_distances_in_place_of_the_contrastive_loss(tiny_backbone, pairs, loss):
    history = fit(small(pairs, loss=loss), backbone=tiny_backbone).history
    assert history.loss.max() < (2.0 if loss == "cosine" else 4 / 32)
    assert np.allclose(history.loss, (history.original + history.query_target) / 2, atol=1e-6)


def test_rest_masks_what_the_paper_keeps(tiny_backbone, pairs):
    paper, rest = (fit(small(pairs, preset=p), backbone=tiny_backbone) for p in ("paper", "rest"))
    areas = [run.record["report"]["mean_kept_area"] for run in (paper, rest)]
    assert sum(areas) == pytest.approx(1, abs=0.02) and areas[0] != pytest.approx(areas[1], abs=0.02)


def test_epochs_are_steps_and_the_tail_is_counted(tiny_backbone, pairs):
    run = fit(small(pairs, steps=None, epochs=3), backbone=tiny_backbone)
    assert run.history.step.iloc[-1] == 12 and run.record["report"]["left_over_per_epoch"] == 4
    assert run.config.epochs == 3
    assert torch.equal(weights(run), weights(fit(small(pairs), backbone=tiny_backbone)))


@pytest.mark.parametrize("settings", [{"preset": "pic2word"}, {"lam": 1.0}, {"mask_source": "none"}, {}])
def test_online_trains_from_augmented_images(tiny_backbone, pairs, artifacts, settings):
    stored, online = (
        fit(small(pairs, online=on, **settings), backbone=tiny_backbone) for on in (False, True)
    )
    first, second = stored.history.loss.iloc[0], online.history.loss.iloc[0]
    assert first != second and first == pytest.approx(second, rel=0.25)
    assert len(online.record["report"]) >= 2


def test_online_without_a_crop_is_training_from_stored_features(tiny_backbone, pairs, monkeypatch):
    monkeypatch.setattr(train_data.OnlineImages, "_pixels", _whole_pixels)
    stored, online = (fit(small(pairs, online=on), backbone=tiny_backbone) for on in (False, True))
    assert np.allclose(stored.history.loss, online.history.loss, rtol=0.02)  # stored maps are float16


def _whole_pixels(self, row, step):
    return self.backbone.preprocess(self.pairs.images[row])


def test_augmentation_depends_on_seed_step_and_row_alone(tiny_backbone, pairs):
    config, source = small(pairs, preset="pic2word", online=True), training.load_pairs(pairs)
    images = train_data.OnlineImages(config, tiny_backbone, source, None, Processes())
    again, other = images._pixels(3, 5), images._pixels(3, 6)
    torch.manual_seed(99)
    assert torch.equal(images._pixels(3, 5), again) and not torch.equal(again, other)


def test_bf16_differs_a_little_from_fp32(tiny_backbone, pairs):
    fp32, bf16 = (fit(small(pairs, precision=p), backbone=tiny_backbone).history for p in ("fp32", "bf16"))
    assert np.allclose(fp32.loss, bf16.loss, rtol=0.05) and not fp32.loss.equals(bf16.loss)


def test_mean_of_weights(tiny_backbone, pairs):
    last, mean = (fit(small(pairs, ema=ema), backbone=tiny_backbone) for ema in (0.0, 0.999))
    assert exact(last).equals(exact(mean))  # the mean is only watched
    assert not torch.equal(weights(last), weights(mean))


def test_not_a_number_stops_with_the_step(tiny_backbone, pairs, artifacts, monkeypatch):
    whole, calls = training._losses, []

    def spoiled(*args):
        losses = whole(*args)

        def spoil(*batch):
            calls.append(1)
            return losses(*batch) * (math.nan if len(calls) == 4 else 1)

        return spoil

    monkeypatch.setattr(training, "_losses", spoiled)
    with pytest.raises(FloatingPointError, match="the loss is nan .* at step 4 of 12") as caught:
        fit(small(pairs, checkpoint_every=2), backbone=tiny_backbone)
    said = str(caught.value)
    assert "last good checkpoint: " in said and "step-00000002" in said
    assert count(artifacts, "inversion") == 0
    (place,) = artifacts.glob("inversion-checkpoints/*/not-finite-step-00000004.json")
    rows = json.loads(place.read_text("utf-8"))["rows"]
    assert len(rows) == 8 and ", ".join(map(str, rows)) in said
    monkeypatch.setattr(training, "_losses", whole)
    again = fit(small(pairs, checkpoint_every=2), backbone=tiny_backbone)
    assert again.history.step.tolist() == [10, 12]


def test_too_few_pairs_and_missing_true_masks_fail_early(tiny_backbone, pairs, artifacts):
    with pytest.raises(ValueError, match="batch is 256, but pairs .* hold 36"):
        fit(small(pairs, batch=256), backbone=tiny_backbone)
    with pytest.raises(ValueError, match="mask_source is 'true'"):
        fit(small(pairs, mask_source="true"), backbone=tiny_backbone)
    assert count(artifacts, "image-features") == 0


def test_batches_are_shuffled_epochs_and_can_start_anywhere():
    stream = batches(10, 3, seed=5)
    drawn = [next(stream) for _ in range(7)]
    first_epoch = torch.cat(drawn[:3]).tolist()
    assert len(set(first_epoch)) == 9 and first_epoch != torch.cat(drawn[3:6]).tolist()
    later = batches(10, 3, seed=5, first=4)
    assert all(torch.equal(next(later), batch) for batch in drawn[4:])


def test_learning_rate_rises_then_falls():
    config = TrainConfig(steps=100, warmup=10, lr=1.0)
    rates = [learning_rate(config, step) for step in range(100)]
    assert rates[0] == pytest.approx(0.1) and rates[9] == rates[10] == 1.0
    assert rates[55] == pytest.approx(0.5) and 0 < rates[99] < 0.001


# ------------------------------------------------------------------------------------------------ loading


def test_load_inversion_checks_the_folder(tiny_backbone, make_tiny_backbone, pairs, tmp_path):
    run = fit(small(pairs), backbone=tiny_backbone)
    loaded = load_inversion(run.path)
    assert torch.equal(weights(loaded), weights(run)) and loaded.config == run.config
    with pytest.raises(FileNotFoundError, match="nothing holds no whole inversion: missing phi.safetensors"):
        load_inversion(tmp_path / "nothing")
    with pytest.raises(ValueError, match=r"was fitted to backbone 'tiny' \(\w+\), not to 'tiny'"):
        load_inversion(run.path, make_tiny_backbone(seed=1))
    with pytest.raises(ValueError, match="maps width 32 to 48; backbone 'tiny' needs 32 to 32"):
        load_inversion(run.path, make_tiny_backbone(text={"width": 32}))
    tensors = load_file(run.path / "phi.safetensors")
    name = next(iter(tensors))
    save_file({**tensors, name: tensors[name][..., :1].clone()}, run.path / "phi.safetensors")
    with pytest.raises(ValueError, match="config.json says"):
        load_inversion(run.path)
    (run.path / "phi.safetensors").write_bytes((run.path / "phi.safetensors").read_bytes()[:-5])
    with pytest.raises(ValueError, match="phi.safetensors is damaged or cut off"):
        load_inversion(run.path)
    (run.path / "key.json").unlink()
    with pytest.raises(FileNotFoundError, match="missing key.json"):
        load_inversion(run.path)


def test_stored_settings_are_plain(tiny_backbone, pairs):
    run = fit(small(pairs, preset="unmasked-image"), backbone=tiny_backbone)
    written = json.loads((run.path / "config.json").read_text("utf-8"))
    assert TrainConfig(**written["config"]) == run.config
    assert written["phi"]["dim_in"] == 32 and written["phi"]["dim_out"] == 48
