"""The pocket backbone's training: it resumes to the bit, its losses and its tower do what they say."""

import dataclasses
import json

import numpy as np
import open_clip
import pytest
import torch

from pretraining import losses, pretrain
from pretraining.backgrounds import background
from pretraining.locality import image_tokens, start_local
from pretraining.pool import TRAIN_STREAM, world_sample
from zscir.backbone.weights import POCKET_WEIGHTS
from zscir.pocket.drawing import background_svg
from zscir.pocket.scenes import BACKGROUNDS, training_scene
from zscir.pocket.vocabulary import PLACES

PRETRAIN = pretrain.PretrainConfig()
SMALL = pretrain.PretrainConfig(
    images=96,
    batch=16,
    pool=32,
    warmup=2,
    image_size=20,
    patch=10,
    layers=2,
    width=48,
    text_layers=1,
    thing_patches=2,
    cam_layers="visual.ln_post",
)


@pytest.fixture
def one_worker(monkeypatch):
    monkeypatch.setattr("os.cpu_count", lambda: 1)


@pytest.mark.parametrize("place", PLACES)
def test_backgrounds_are_stored_as_they_are_drawn(place):
    for variant in (0, BACKGROUNDS - 1):
        assert background_svg(place, variant) == background(place, variant)
    with pytest.raises(IndexError):
        background_svg(place, BACKGROUNDS)


def test_pretraining_resumes_to_the_same_weights(tmp_path, monkeypatch, one_worker):
    monkeypatch.setenv("ZSCIR_ARTIFACTS", str(tmp_path))
    whole = pretrain.train(SMALL, tmp_path / "whole.pt")
    torch.manual_seed(123)
    halted = pretrain.Run(SMALL)
    for _ in range(2):
        halted.step()
    halted.save(tmp_path / "half.pt")
    torch.manual_seed(5)
    resumed = pretrain.train(SMALL, tmp_path / "half.pt")
    assert resumed.done == whole.done == SMALL.steps
    for name, tensor in whole.model.state_dict().items():
        assert torch.equal(tensor, resumed.model.state_dict()[name]), name
    with pytest.raises(ValueError, match="another configuration"):
        pretrain.Run(dataclasses.replace(SMALL, seed=1)).resume(tmp_path / "half.pt")


def test_pretrained_export_is_a_backbone(tmp_path, monkeypatch, one_worker):
    from zscir.backbone import load_backbone

    monkeypatch.setenv("ZSCIR_ARTIFACTS", str(tmp_path))
    run = pretrain.Run(SMALL)
    pretrain.export(run, tmp_path / "weights")
    backbone = load_backbone(str(tmp_path / "weights"))
    assert backbone.dim == 48 and backbone.image_size == 20
    assert json.loads((tmp_path / "weights" / "training.json").read_text())["steps_done"] == 0


def test_the_command_brings_the_options_of_the_configuration(capsys):
    with pytest.raises(SystemExit) as caught:
        pretrain.main(["--help"])
    said = capsys.readouterr().out
    assert caught.value.code == 0 and "--out" in said
    assert all(f"--{item.name.replace('_', '-')}" in said for item in dataclasses.fields(PRETRAIN))


@pytest.mark.parametrize("kept", [None, torch.tensor([[3, 0, 2], [1, 2, 3]])])
def test_image_tokens_are_those_of_the_tower(kept):
    visual = open_clip.CLIP(**SMALL.model_cfg()).eval().visual
    start_local(visual)
    pixels = torch.randn(2, 3, 20, 20)
    pooled, patches, far = image_tokens(visual, pixels, kept)
    assert patches.shape == (2, 4 if kept is None else 3, 48) and 0 < far < 1
    assert torch.allclose(patches.mean(dim=1), pooled, atol=1e-6)
    if kept is None:
        assert torch.allclose(pooled, visual(pixels), atol=1e-5)
        return
    outside = pixels.clone()
    outside[0, :, :10, 10:] += 5  # patch 1 of the first picture, which is not kept
    assert torch.equal(image_tokens(visual, outside, kept)[0], pooled)


def test_attention_starts_local():
    fresh, local = (open_clip.CLIP(**PRETRAIN.model_cfg()).visual for _ in range(2))
    start_local(local)
    pixels = torch.randn(2, 3, 100, 100)
    far = [float(image_tokens(visual, pixels)[2].detach()) for visual in (fresh, local)]
    assert far[1] < 0.2 < 0.7 < far[0]


def test_patch_losses_are_small_where_patches_are_right():
    scene = training_scene(0, 0, TRAIN_STREAM)
    named = losses.named_in([scene])
    columns = named[0].nonzero().flatten()
    assert {losses.NAMED[c] for c in columns} == {scene.place, *(o.noun for o in scene.objects)}
    right = torch.zeros(1, 8, len(losses.NAMED))
    right[0, torch.arange(8), columns.repeat(8)[:8]] = 1  # each patch says one of the names
    wrong = right.roll(1, dims=2)
    good, bad = (losses.patch_losses(c, named, 50.0, 1, 0.1) for c in (right, wrong))
    assert all(float(one) < 1e-3 for one in good) and all(float(one) > 10 for one in bad)


def test_a_silent_thing_costs_only_the_loss_that_looks_for_it():
    named = torch.zeros(1, len(losses.NAMED), dtype=torch.bool)
    named[0, [0, 1, -1]] = True
    cosines = torch.zeros(1, 6, len(losses.NAMED))
    cosines[..., 0], cosines[0, 3:, 0], cosines[0, 3:, -1] = 1, 0, 1  # thing 1 is said nowhere
    inside, found = losses.patch_losses(cosines, named, 50.0, 2, 0.5)
    assert inside < 1e-3 and found > 3


def test_short_texts_name_everything_once():
    texts = losses.short_texts(np.random.default_rng(0))
    assert len(texts) == len(set(texts)) == len(losses.NAMED)


def test_judge_scores_a_backbone(make_tiny_backbone):
    from pretraining import judge

    backbone = make_tiny_backbone(text={"context_length": 40})
    scores = judge.judge(backbone, count=40, objects=6)
    found, maps = scores["retrieval"], scores["localisation"]
    assert 0 <= found["image_to_text_recall@1"] <= found["image_to_text_recall@5"] <= 100
    assert maps["table"] and maps["chosen"] in maps["table"]


def test_the_world_is_still_the_one_that_the_weights_were_trained_on():
    about = json.loads((POCKET_WEIGHTS / "training.json").read_text("utf-8"))
    assert world_sample(about["config"]["seed"]) == about["world"]
