"""Settings of a training: presets, networks, what is refused, and what names a result."""

import dataclasses
import math

import pytest

from zscir.inversion import TrainConfig
from zscir.inversion.config import PRESETS, key_fields
from zscir.inversion.network import NETWORKS


def test_presets():
    made = {name: TrainConfig(preset=name) for name in PRESETS}
    assert {name: (c.lam, c.mask_source, c.keep, c.language_only, c.loss) for name, c in made.items()} == {
        "paper": (0.5, "cam", "noun", False, "contrastive"),
        "pic2word": (0.0, "none", "noun", False, "contrastive"),
        "query-target-only": (1.0, "cam", "noun", False, "contrastive"),
        "unmasked-image": (0.5, "none", "noun", False, "contrastive"),
        "rest": (0.5, "cam", "rest", False, "contrastive"),
        "lincir": (1.0, "none", "noun", True, "mse"),
    }
    assert TrainConfig(lam=0.2, mask_source="random").lam == 0.2
    assert TrainConfig(preset="unmasked-image", lam=0.8).lam == 0.8  # what a preset leaves free stays free


@pytest.mark.parametrize(
    ("preset", "name", "value", "fixed"),
    [
        ("pic2word", "lam", 0.5, "0.0"),
        ("query-target-only", "lam", 0.8, "1.0"),
        ("rest", "keep", "noun", "'rest'"),
        ("lincir", "mask_source", "cam", "'none'"),
        ("lincir", "loss", "contrastive", "'mse'"),
        ("unmasked-image", "mask_source", "cam", "'none'"),
    ],
)
def test_what_a_preset_fixes_cannot_be_changed(preset, name, value, fixed):
    with pytest.raises(ValueError, match=rf"^{name} is {value!r}; legal: {fixed} for preset '{preset}'"):
        TrainConfig(preset=preset, **{name: value})


def test_networks_by_name_and_single_settings():
    settings = ("hidden", "depth", "dropout", "activation")
    shapes = {name: [getattr(TrainConfig(network=name), one) for one in settings] for name in NETWORKS}
    assert shapes == {
        "three-layer": [None, 3, 0.5, "gelu"],
        "two-layer": [None, 2, 0.5, "gelu"],
        "pic2word": [512, 3, 0.1, "relu"],
    }
    mixed = TrainConfig(network="pic2word", dropout=0.0)
    assert (mixed.hidden, mixed.dropout) == (512, 0.0)


def test_steps_or_epochs():
    assert TrainConfig().steps == 600
    assert TrainConfig(epochs=2).steps is None
    with pytest.raises(ValueError, match="steps is 10; legal: None when epochs is given"):
        TrainConfig(steps=10, epochs=2, warmup=0)


def test_what_cannot_go_together():
    with pytest.raises(ValueError, match="online is True; legal: False for preset 'lincir'"):
        TrainConfig(preset="lincir", online=True)
    with pytest.raises(ValueError, match="noun_strategy is 'most-visible'; legal: random, first, head"):
        TrainConfig(preset="lincir", noun_strategy="most-visible")
    with pytest.raises(ValueError, match="mask_source is 'random'; legal: cam, none with online=True"):
        TrainConfig(mask_source="random", online=True)


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
        ("loss", "l1"),
        ("noise", -1),
        ("epochs", 0),
        ("network", "deep"),
        ("activation", "tanh"),
        ("online", "yes"),
        ("checkpoint_every", -1),
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
    assert key(loss="cosine") != key()
    assert key(preset="lincir") != key(lam=1.0, mask_source="none", loss="mse")
    assert key(preset="lincir", noise=2.0) != key(preset="lincir") and key(noise=2.0) == key()
    assert key(network="two-layer") == key(depth=2) and key(checkpoint_every=1) == key()
    assert key(pairs="a") == key(pairs="b", backbone="ViT-L-14", pretrained="openai", limit=3)


def test_config_is_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        TrainConfig().tau = 0.2
