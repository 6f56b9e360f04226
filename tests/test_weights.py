"""Weight files as people have them: what loads, what is assumed, and what is refused by name."""

import json
import pickle

import open_clip
import pytest
import torch
from safetensors.torch import save_file

from zscir.backbone import load_backbone
from zscir.backbone.weights import assume, build_model

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
    ],
    ids=["tensors", "numbers", "checkpoint", "model", "compiled", "lightning"],
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
