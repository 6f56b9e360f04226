"""Weight files as people have them: what loads, what is assumed, and what is refused by name."""

import argparse
import json
import pickle

import numpy as np
import open_clip
import pytest
import torch
from safetensors.torch import save_file

from zscir.backbone import load_backbone
from zscir.backbone.weights import assume, build_model, save_backbone

SIZES = {"input_resolution": 32, "context_length": 24, "vocab_size": 49408}


@pytest.fixture
def tiny(monkeypatch, make_tiny_config):
    """A model with QuickGELU and its half-precision state; "tiny" is an architecture for `load_backbone`."""
    config = make_tiny_config()["model_cfg"]
    monkeypatch.setattr(open_clip, "list_models", lambda: ["tiny"])
    monkeypatch.setattr(open_clip, "get_model_config", lambda name: json.loads(json.dumps(config)))
    model = build_model(config | {"quick_gelu": True}, seed=3).eval()
    state = {key: value.half().contiguous() for key, value in model.state_dict().items()}
    model.load_state_dict(state)
    return model, state


def load(path, **options):
    return load_backbone("tiny", str(path), device="cpu", **options)


@torch.no_grad()
def largest_difference(backbone, model):
    pixels = torch.linspace(-2, 2, 3 * 32 * 32).reshape(1, 3, 32, 32)
    expected = torch.nn.functional.normalize(model.visual(pixels), dim=-1)
    return float((backbone.encode_images(pixels) - expected).abs().max())


def openai_form(state):
    return state | {key: torch.tensor(value) for key, value in SIZES.items()}


@pytest.mark.parametrize(
    "wrap",
    [
        openai_form,
        lambda state: state | SIZES,
        lambda state: {"epoch": 3, "state_dict": {f"module.{k}": v for k, v in openai_form(state).items()}},
        lambda state: {"model": openai_form(state), "optimizer": {"lr": 0.1}},
        lambda state: {f"module._orig_mod.{k}": v for k, v in openai_form(state).items()},
        lambda state: {f"model.{k}": v for k, v in state.items()} | SIZES,
        lambda state: {f"clip_model.{k}": v for k, v in openai_form(state).items()},
        lambda state: {"epoch": 1, "model_ema": openai_form(state)},
        lambda state: {"checkpoint": {"net": {f"module.{k}": v for k, v in openai_form(state).items()}}},
        lambda state: {"args": argparse.Namespace(lr=0.1), "state_dict": openai_form(state)},
        lambda state: {f"model.{k}": v for k, v in openai_form(state).items()} | {"loss.t": torch.ones(1)},
        lambda state: openai_form(state) | {"logit_scale": state["logit_scale"].reshape(1)},
    ],
    ids="tensors numbers checkpoint model compiled lightning wrapper average nested args loss row".split(),
)
def test_openais_form_gets_quickgelu(tiny, tmp_path, wrap):
    model, state = tiny
    torch.save(wrap(state), tmp_path / "w.pt")
    backbone = load(tmp_path / "w.pt")
    assert largest_difference(backbone, model) < 1e-5
    assert backbone.assumed == "QuickGELU, as OpenAI's files; preprocessing as OpenAI's"
    assert backbone.assumed in repr(backbone)


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_a_file_that_tells_nothing_takes_the_activation_that_is_asked_for(tiny, tmp_path, suffix):
    model, state = tiny
    path = tmp_path / f"w{suffix}"
    save_file(state, path) if suffix == ".safetensors" else torch.save({"state_dict": state}, path)
    assert load(path).assumed.startswith("GELU, as the architecture;")
    assert largest_difference(load(path), model) > 1e-5
    asked = load(path, quick_gelu=True)
    assert largest_difference(asked, model) < 1e-5 and asked.assumed.startswith("QuickGELU, as asked;")
    with pytest.raises(ValueError, match="quick_gelu must be None where no weights file is named"):
        load_backbone("pocket", quick_gelu=True)


def test_of_several_sets_of_weights_the_one_that_is_taken_is_said(tiny, tmp_path):
    model, state = tiny
    other = {key: value + 1 for key, value in state.items()}
    scale = {"scale": torch.ones(1)}
    torch.save({"scaler": scale, "ema": other, "state_dict": openai_form(state)}, tmp_path / "w.pt")
    backbone = load(tmp_path / "w.pt")
    assert largest_difference(backbone, model) < 1e-5
    assert backbone.assumed.endswith("preprocessing as OpenAI's; weights of 'state_dict', not 'ema'")


@pytest.mark.parametrize("name", ["w", "w.pt", "w.SAFETENSORS", "w.ckpt"])
def test_a_file_is_known_by_its_bytes(tiny, tmp_path, name):
    model, state = tiny
    save_file(openai_form(state), tmp_path / name)
    assert largest_difference(load(tmp_path / name), model) < 1e-5
    torch.save(openai_form(state), tmp_path / "w.safetensors")
    assert largest_difference(load(tmp_path / "w.safetensors"), model) < 1e-5


def test_resized_position_embeddings_are_said(tiny, tmp_path):
    _, state = tiny
    width = state["visual.positional_embedding"].shape[1]
    torch.save(state | {"visual.positional_embedding": torch.ones(10, width).half()}, tmp_path / "w.pt")
    assert "; visual.positional_embedding resized from 10 to 17" in load(tmp_path / "w.pt").assumed
    torch.save(state | {"positional_embedding": torch.ones(77, 48)}, tmp_path / "w.pt")
    backbone = load(tmp_path / "w.pt")
    assert backbone.assumed.endswith("; positional_embedding resized from 77 to 24")


def test_openais_form_has_openais_preprocessing_whatever_the_tags_say(tiny, tmp_path, monkeypatch):
    tag = {"mean": (0.5,) * 3, "std": (0.5,) * 3, "resize_mode": "squash", "quick_gelu": False}
    monkeypatch.setattr(open_clip, "list_pretrained_tags_by_model", lambda name: ["a"])
    monkeypatch.setattr(open_clip, "get_pretrained_cfg", lambda name, tag_: tag if tag_ == "a" else {})
    torch.save(openai_form(tiny[1]), tmp_path / "w.pt")
    backbone = load(tmp_path / "w.pt")
    assert backbone.mean == open_clip.OPENAI_DATASET_MEAN
    assert backbone.assumed == "QuickGELU, as OpenAI's files; preprocessing as OpenAI's"
    torch.save(tiny[1], tmp_path / "w.pt")
    assert load(tmp_path / "w.pt").mean == (0.5,) * 3


@pytest.mark.parametrize("given", ["yes", 2, 0.5])
def test_the_activation_is_asked_for_as_a_truth_value(given):
    with pytest.raises(ValueError, match=f"quick_gelu is {given!r}; legal: None, True, False"):
        load_backbone("pocket", quick_gelu=given)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("open_clip_config.json", "<html>", "open_clip_config.json is no JSON"),
        ("open_clip_config.json", "", "open_clip_config.json is no JSON"),
        ("open_clip_config.json", "[]", "open_clip_config.json has no 'model_cfg'"),
        ("open_clip_config.json", '{"model_cfg": {"a": 1}}', "own: model_cfg describes no CLIP: it lacks"),
        ("pocket.safetensors", "<html>", "pocket.safetensors is a web page"),
    ],
)
def test_a_broken_folder_names_its_file(tmp_path, make_tiny_config, name, content, said):
    config = make_tiny_config()
    folder = save_backbone(build_model(config["model_cfg"]), config, tmp_path / "own")
    record = json.loads((folder / "open_clip_config.json").read_text("utf-8"))
    del record["weights_sha256"]
    (folder / "open_clip_config.json").write_text("\ufeff" + json.dumps(record), "utf-8")
    assert load_backbone(str(folder), device="cpu").assumed == ""
    (folder / name).write_text(content, "utf-8")
    with pytest.raises(ValueError, match=said):
        load_backbone(str(folder), device="cpu")


@pytest.mark.parametrize("name", ["RN50", "RN101", "RN50x64", "ViT-L-14-336", "ViT-H-14-378"])
def test_the_activation_of_every_published_tag_is_assumed(name):
    config = {"model_cfg": open_clip.get_model_config(name), "preprocess_cfg": {}}
    said = assume(config, name, openai=False)
    assert config["model_cfg"]["quick_gelu"]
    assert said == "QuickGELU, as every published tag; preprocessing as every published tag"


@pytest.mark.parametrize("name", ["PE-Core-L-14-336", "MobileCLIP-S1", "ViT-H-14-378"])
def test_the_preprocessing_of_every_published_tag_is_assumed(name):
    config = {"model_cfg": open_clip.get_model_config(name), "preprocess_cfg": {}}
    assume(config, name, openai=False)
    tag = open_clip.get_pretrained_cfg(name, open_clip.list_pretrained_tags_by_model(name)[0])
    found = config["preprocess_cfg"]
    assert (found["mean"], found["resize_mode"]) == (tag["mean"], tag["resize_mode"])


def test_tags_that_differ_leave_openais_preprocessing():
    config = {"model_cfg": open_clip.get_model_config("ViT-L-14"), "preprocess_cfg": {}}
    said = assume(config, "ViT-L-14", openai=False)
    assert said == "GELU, as the architecture; preprocessing as OpenAI's"
    assert config["preprocess_cfg"] == {}


def bad_file(kind, state, path):
    """Write a file of weights that cannot be used."""
    torch.save(state, path)
    whole = path.read_bytes()
    broken = {**state, "visual.proj": torch.full_like(state["visual.proj"], float("inf"))}
    tensors = {"other": {"visual.conv1.weight": torch.zeros(3)}, "inf": broken, "list": [1, 2]}
    projection = state["visual.proj"]
    tensors |= {
        "whole": {**state, "visual.proj": torch.ones_like(projection, dtype=torch.int8)},
        "sparse": {**state, "visual.proj": projection.float().to_sparse()},
        "complex": {**state, "visual.proj": projection.to(torch.complex64)},
        "numpy": {"loss": np.float64(3), "state_dict": state},
        "optimizer": {"optimizer": {"lr": 1}, "epoch": 2},
    }
    if kind in tensors:
        torch.save(tensors[kind], path)
    else:
        path.write_bytes(
            {
                "cut": whole[: len(whole) // 2],
                "empty": b"",
                "pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n",
                "page": b"\n<!DOCTYPE html><html>404</html>",
                "code": pickle.dumps({"a": print}, protocol=2),
                "text": b"not found",
            }[kind]
        )


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("cut", "is cut short, or no weights file"),
        ("empty", "is empty, not weights"),
        ("pointer", "is a Git-LFS pointer"),
        ("page", "is a web page, not weights"),
        ("code", "is cut short, or no weights file"),
        ("text", "is cut short, or no weights file"),
        ("list", "holds no weights by name"),
        ("other", "holds weights of another architecture"),
        ("inf", "has weights that are not finite: visual.proj"),
        ("whole", "holds integers where weights belong: visual.proj"),
        ("sparse", "holds no weights by name: no plain tensors are ['visual.proj']"),
        ("complex", "holds no weights by name: no plain tensors are ['visual.proj']"),
        ("numpy", "is cut short, or no weights file (UnpicklingError): it holds code (numpy"),
        ("optimizer", "holds no weights by name; its entries are ['optimizer', 'epoch']"),
    ],
)
@pytest.mark.parametrize("suffix", [".pt", ".bin"])
def test_a_file_that_is_no_weights_is_named(tiny, tmp_path, kind, said, suffix):
    path = tmp_path / f"w{suffix}"
    bad_file(kind, tiny[1], path)
    with pytest.raises(ValueError) as caught:
        load(path)
    assert str(caught.value).startswith(f"{path} {said}") and "weights_only" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"<html>", b"version https://git-lfs", b"\x09\0\0\0\0\0\0\0{}"])
def test_a_safetensors_file_that_is_none_is_named(tiny, tmp_path, content):
    (tmp_path / "w.safetensors").write_bytes(content)
    with pytest.raises(ValueError, match="w.safetensors is"):
        load(tmp_path / "w.safetensors")
