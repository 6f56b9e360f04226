"""Backbone: equal to open_clip, composed prompts row by row, frozen weights, files that round-trip."""

import json
import os
import subprocess
import sys

import numpy as np
import open_clip
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from zscir.analysis.ablations import BASE
from zscir.backbone import find_backbone, load_backbone
from zscir.backbone.clip import make_backbone
from zscir.backbone.weights import build_model, check_layer, default_cam_layer, save_backbone
from zscir.book import declared_parameters
from zscir.inversion import TrainConfig
from zscir.storage.paths import REPO

TEXTS = ["a dog on a sofa", "two small red cups, one of them broken, beside an old lamp", "owl", ""]
TOWERS = {
    "clip": {},
    "quickgelu": {"quick_gelu": True},
    "custom": {"custom_text": True},
    "not causal": {"custom_text": True, "text": {"no_causal_mask": True}},
    "biased projection": {"custom_text": True, "text": {"proj_bias": True}},
    "no projection": {"embed_dim": 48, "text": {"proj_type": "none"}},
}


@pytest.fixture(scope="module", params=TOWERS)
def any_backbone(request, make_tiny_backbone):
    return make_tiny_backbone(**TOWERS[request.param])


def official(backbone, texts):
    """open_clip's own full-length text features."""
    with torch.no_grad():
        return F.normalize(backbone.model.encode_text(backbone.tokenizer(texts)), dim=-1)


def test_texts_equal_open_clip_at_full_length(any_backbone):
    torch.testing.assert_close(
        any_backbone.encode_texts(TEXTS), official(any_backbone, TEXTS), atol=1e-5, rtol=0
    )


def test_tokens_equal_open_clip_and_stop_at_the_longest(tiny_backbone):
    ids = tiny_backbone.tokenize(TEXTS)
    full = tiny_backbone.tokenizer(TEXTS)
    assert ids.shape[1] == max(int(row.argmax()) for row in full) + 1 < full.shape[1]
    assert torch.equal(ids, full[:, : ids.shape[1]]) and not full[:, ids.shape[1] :].any()


def test_many_texts_are_encoded_in_chunks(tiny_backbone):
    texts = [f"number {i}" for i in range(300)]
    features = tiny_backbone.encode_texts(texts)
    torch.testing.assert_close(features[290:], tiny_backbone.encode_texts(texts[290:]), atol=1e-5, rtol=0)
    assert tiny_backbone.encode_texts([]).shape == (0, tiny_backbone.dim)


def test_composed_with_the_replaced_word_equals_the_plain_caption(any_backbone):
    words = ["dog", "lamp", "owl", "cat"]
    templates = ["a * on a sofa", "two red cups beside an old *", "*", "* , and then a much longer sentence"]
    ids = any_backbone.tokenize(words)[:, 1]
    pseudo = any_backbone.text_tower.token_embedding.weight[ids]
    plain = any_backbone.encode_texts([t.replace("*", w) for t, w in zip(templates, words, strict=True)])
    composed = any_backbone.encode_composed(templates, pseudo)
    torch.testing.assert_close(composed, plain, atol=1e-5, rtol=0)
    swapped = any_backbone.encode_composed(templates, pseudo.flip(0))
    assert ((swapped - plain).norm(dim=1) > 1e-2).all()


def test_rows_with_different_positions_do_not_touch_each_other(tiny_backbone):
    templates = ["* a", "one two three four five *", "a photo of * , in the rain"]
    pseudo = torch.randn(3, tiny_backbone.token_width)
    together = tiny_backbone.encode_composed(templates, pseudo)
    alone = [tiny_backbone.encode_composed([t], p[None]) for t, p in zip(templates, pseudo, strict=True)]
    torch.testing.assert_close(together, torch.cat(alone), atol=1e-5, rtol=0)


def test_gradient_reaches_pseudo_words_and_no_weight(any_backbone):
    pseudo = torch.randn(2, any_backbone.token_width, requires_grad=True)
    target = torch.randn(2, any_backbone.dim)
    (any_backbone.encode_composed(["a * at night", "the *"], pseudo) * target).sum().backward()
    assert (pseudo.grad.norm(dim=1) > 0).all()
    assert not any(p.requires_grad or p.grad is not None for p in any_backbone.model.parameters())
    assert not any_backbone.model.training


def test_gradient_equals_finite_difference(make_tiny_backbone):
    backbone = make_tiny_backbone(text={"layers": 1})
    pseudo = torch.randn(1, backbone.token_width, requires_grad=True)
    target, step = torch.randn(1, backbone.dim), torch.randn(1, backbone.token_width) * 1e-2

    def value(words):
        return (backbone.encode_composed(["a * b"], words) * target).sum()

    value(pseudo).backward()
    with torch.no_grad():
        difference = (value(pseudo + step) - value(pseudo - step)) / 2
    torch.testing.assert_close((pseudo.grad * step).sum(), difference, rtol=2e-2, atol=1e-4)


def test_compose_tokens_cuts_padding_that_no_row_needs(tiny_backbone):
    templates = ["a *", "a photo of * here"]
    pseudo = torch.randn(2, tiny_backbone.token_width)
    padded = F.pad(tiny_backbone.tokenize(templates), (0, 9))
    expected = tiny_backbone.encode_composed(templates, pseudo)
    torch.testing.assert_close(tiny_backbone.compose_tokens(padded, pseudo), expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize("text", ["*, red", "(*)", "*'s tail", "a*b", "*."])
def test_asterisk_is_found_beside_punctuation(tiny_backbone, text):
    assert (tiny_backbone.tokenize([text]) == tiny_backbone.placeholder_id).sum() == 1


@pytest.mark.parametrize("text", ["a dog", "* and *", "**"])
def test_exactly_one_asterisk_is_required_and_the_text_named(tiny_backbone, text):
    pseudo = torch.zeros(2, tiny_backbone.token_width)
    with pytest.raises(ValueError, match=r"exactly one '\*'.*" + text.replace("*", r"\*")):
        tiny_backbone.encode_composed(["a *", text], pseudo)
    with pytest.raises(ValueError, match=r"exactly one '\*', row 1"):
        tiny_backbone.compose_tokens(tiny_backbone.tokenize(["a *", text]), pseudo)


def test_wrong_pseudo_word_shape_is_named(tiny_backbone):
    with pytest.raises(ValueError, match=r"pseudo_words must have shape \[1, 48\], got \[1, 47\]"):
        tiny_backbone.encode_composed(["a *"], torch.zeros(1, 47))


def test_long_texts_are_cut_with_one_warning(tiny_backbone):
    texts = ["word " * 40, "short", "other " * 50]
    with pytest.warns(UserWarning, match="2 texts cut to 24 tokens") as caught:
        ids = tiny_backbone.tokenize(texts)
    assert len(caught) == 1 and torch.equal(ids, tiny_backbone.tokenizer(texts))
    assert (ids[:, -1] == tiny_backbone.tokenizer.eot_token_id).tolist() == [True, False, True]


def test_asterisk_lost_by_the_cut_is_an_error(tiny_backbone):
    with pytest.raises(ValueError, match=r"'\*' lies beyond the 24 tokens"):
        tiny_backbone.tokenize(["word " * 30 + "*"])
    with pytest.raises(ValueError, match="list of strings"):
        tiny_backbone.tokenize("one string")


def test_images_equal_open_clip(tiny_backbone):
    image = Image.fromarray(np.random.default_rng(0).integers(0, 255, (48, 70, 3), dtype=np.uint8))
    transform = open_clip.image_transform(32, is_train=False, mean=(0.5, 0.4, 0.3), std=(0.2, 0.3, 0.25))
    pixels = tiny_backbone.preprocess(image)
    assert pixels.dtype == torch.float32 and torch.equal(pixels, transform(image))
    expected = F.normalize(tiny_backbone.model.encode_image(pixels[None]), dim=-1)
    torch.testing.assert_close(tiny_backbone.encode_images(pixels[None]), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "1"])
def test_every_image_mode_becomes_rgb(tiny_backbone, mode):
    assert tiny_backbone.preprocess(Image.new("RGB", (40, 50), "red").convert(mode)).shape == (3, 32, 32)


def test_wrong_pixel_shape_is_named(tiny_backbone):
    with pytest.raises(ValueError, match=r"pixels must have shape \[B, 3, 32, 32\], got \[3, 32, 32\]"):
        tiny_backbone.encode_images(torch.zeros(3, 32, 32))


def test_tower_that_also_returns_tokens(make_tiny_backbone):
    plain = make_tiny_backbone()
    tokens = make_tiny_backbone(vision={"output_tokens": True})
    pixels = torch.randn(2, 3, 32, 32)
    torch.testing.assert_close(plain.encode_images(pixels), tokens.encode_images(pixels))


def test_bf16_is_close_and_returns_float32(tiny_backbone, make_tiny_backbone):
    fast = make_tiny_backbone(precision="bf16")
    pixels = torch.randn(4, 3, 32, 32)
    pseudo = torch.randn(4, fast.token_width, requires_grad=True)
    for slow, quick in [
        (tiny_backbone.encode_images(pixels), fast.encode_images(pixels)),
        (tiny_backbone.encode_composed(["a *"] * 4, pseudo), fast.encode_composed(["a *"] * 4, pseudo)),
    ]:
        assert quick.dtype == torch.float32 and (slow * quick).sum(dim=1).min() > 0.99
    quick.sum().backward()
    assert pseudo.grad.dtype == torch.float32 and fast.fingerprint != tiny_backbone.fingerprint


def test_saved_folder_round_trips(tmp_path, make_tiny_config):
    config = make_tiny_config(custom_text=True) | {
        "cam_layers": ["visual.transformer.resblocks.1.ln_1"],
        "note": 1,
    }
    model = build_model(config["model_cfg"], seed=3)
    folder = save_backbone(model, config, tmp_path / "weights")
    assert sorted(p.name for p in folder.iterdir()) == ["open_clip_config.json", "pocket.safetensors"]
    assert json.loads((folder / "open_clip_config.json").read_text())["note"] == 1
    loaded = load_backbone(str(folder), device="cpu")
    again = load_backbone(str(folder), device="cpu")
    assert loaded.cam_layers == tuple(config["cam_layers"]) and loaded.fingerprint == again.fingerprint
    assert {p.dtype for p in loaded.model.parameters()} == {torch.float32}
    for key, value in loaded.model.state_dict().items():
        assert torch.equal(value, model.state_dict()[key].half().float())
    direct = make_backbone("direct", model.half(), config, device="cpu")
    assert direct.fingerprint == loaded.fingerprint


def test_fingerprint_depends_on_all_that_changes_features(make_tiny_backbone, make_tiny_config):
    config = make_tiny_config()

    def name(**change):
        return make_backbone("x", build_model(config["model_cfg"]), config | change, device="cpu").fingerprint

    others = [
        name(preprocess_cfg={}),
        name(cam_layers=["visual.transformer.resblocks.0.ln_1"]),
        make_tiny_backbone(seed=1).fingerprint,
        make_tiny_backbone(quick_gelu=True).fingerprint,
        make_tiny_backbone().fingerprint,
    ]
    assert name() == name() and len({name(), *others}) == 6


def test_replaced_or_cut_weights_are_refused(tmp_path, make_tiny_config):
    config = make_tiny_config()
    folder = save_backbone(build_model(config["model_cfg"]), config, tmp_path / "w")
    weights = folder / "pocket.safetensors"
    weights.write_bytes(weights.read_bytes()[:-10])
    with pytest.raises(ValueError, match="not the file that"):
        load_backbone(str(folder))
    weights.unlink()
    with pytest.raises(FileNotFoundError, match="pocket.safetensors"):
        load_backbone(str(folder))


def test_saving_refuses_before_it_writes(tmp_path, make_tiny_config):
    config = make_tiny_config()
    model = build_model(config["model_cfg"])
    with pytest.raises(ValueError, match="preprocess_cfg"):
        save_backbone(model, {"model_cfg": config["model_cfg"]}, tmp_path / "w")
    with pytest.raises(ValueError, match="layer must be"):
        save_backbone(model, config | {"cam_layers": ["visual.nothing"]}, tmp_path / "w")
    with torch.no_grad():
        model.visual.proj[0, 0] = 1e6
    with pytest.raises(ValueError, match="visual.proj"):
        save_backbone(model, config, tmp_path / "w")
    assert not (tmp_path / "w").exists()


def test_pocket_without_weights_says_how_to_make_them(tmp_path, monkeypatch):
    monkeypatch.setattr("zscir.backbone.weights.POCKET_WEIGHTS", tmp_path)
    monkeypatch.setattr("zscir.backbone.clip.POCKET_WEIGHTS", tmp_path)
    with pytest.raises(FileNotFoundError, match="python -m pretraining.pretrain --out .* in the repository"):
        load_backbone("pocket")


def test_a_tag_is_known_without_its_weights(monkeypatch):
    def refuse(tag):
        raise AssertionError("downloaded")

    monkeypatch.setattr(open_clip, "download_pretrained", refuse)
    config, tag = find_backbone("ViT-B-32", "openai")
    assert config["model_cfg"]["quick_gelu"] and tag["url"]
    with pytest.raises(AssertionError, match="downloaded"):
        load_backbone("ViT-B-32", "openai")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "ViT-B-33"}, "ViT-B-32"),
        (
            {"name": "ViT-B-32"},
            "pretrained is None; legal for ViT-B-32: .*laion2b_s34b_b79k.*, a weights file, random",
        ),
        ({"name": "ViT-B-32", "pretrained": "nonsense"}, "nonsense"),
        ({"name": "pocket", "pretrained": "openai"}, "pretrained must be None"),
        ({"name": "pocket", "precision": "fp8"}, "precision"),
        ({"name": "coca_ViT-B-32", "pretrained": "random"}, "text tower"),
        ({"name": "ViT-B-16-SigLIP", "pretrained": "random"}, "text tower"),
    ],
)
def test_bad_names_are_explained(arguments, message):
    with pytest.raises(ValueError, match=message):
        load_backbone(**arguments)


def test_architecture_with_random_weights_and_with_a_file(tmp_path):
    first = load_backbone("ViT-S-32-alt", "random", device="cpu")
    assert (first.image_size, first.dim, first.context_length) == (224, 256, 77)
    assert first.cam_layers == ("visual.transformer.resblocks.11.ln_1",)
    torch.save(first.model.state_dict(), tmp_path / "w.pt")
    from_file = load_backbone("ViT-S-32-alt", str(tmp_path / "w.pt"), device="cpu")
    assert first.fingerprint == from_file.fingerprint
    assert first.model.visual.transformer.resblocks[0].mlp.gelu.__class__.__name__ == "GELU"


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::torch.jit.TracerWarning")
def test_torchscript_archive_gets_quickgelu(tmp_path, monkeypatch, make_tiny_config):
    config = make_tiny_config()["model_cfg"]
    monkeypatch.setattr(open_clip, "list_models", lambda: ["tiny"])
    monkeypatch.setattr(open_clip, "get_model_config", lambda name: json.loads(json.dumps(config)))
    model = build_model(config | {"quick_gelu": True}, seed=5).eval()
    mask = model._buffers.pop("attn_mask")
    model.attn_mask = mask  # a constant of the archive, as in OpenAI's, not part of its state
    inputs = (torch.randn(1, 3, 32, 32), open_clip.SimpleTokenizer(context_length=24)(["a dog"]))
    torch.jit.trace(model, inputs, check_trace=False).save(tmp_path / "openai.pt")
    backbone = load_backbone("tiny", str(tmp_path / "openai.pt"), device="cpu")
    assert backbone.model.visual.transformer.resblocks[0].mlp.gelu.__class__.__name__ == "QuickGELU"
    expected = F.normalize(model(*inputs)[0], dim=-1)
    torch.testing.assert_close(backbone.encode_images(inputs[0]), expected, atol=1e-5, rtol=0)


def test_openai_tag_gets_quickgelu(tmp_path, monkeypatch, make_tiny_config):
    config = make_tiny_config()["model_cfg"]
    torch.save(build_model(config).state_dict(), tmp_path / "w.pt")
    monkeypatch.setattr(open_clip, "get_model_config", lambda name: json.loads(json.dumps(config)))
    monkeypatch.setattr(open_clip, "download_pretrained", lambda tag: str(tmp_path / "w.pt"))
    backbone = load_backbone("ViT-L-14", "openai", device="cpu")
    assert backbone.model.transformer.resblocks[0].mlp.gelu.__class__.__name__ == "QuickGELU"
    assert backbone.mean == open_clip.OPENAI_DATASET_MEAN


def test_default_cam_layer_of_other_towers():
    resnet = build_model({**open_clip.get_model_config("RN50")} | {"embed_dim": 32}).visual
    assert default_cam_layer(torch.nn.ModuleDict({"visual": resnet})) == "visual.layer4"
    for layer in ("layer4", "visual.layer9", ""):
        with pytest.raises(ValueError, match="layer must be a module"):
            check_layer(torch.nn.ModuleDict({"visual": resnet}), layer)


def test_bf16_is_refused_where_it_would_be_emulated():
    """On the reference machine, which any processor can play; the answer says what it costs."""
    held = {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2", "MKL_ENABLE_INSTRUCTIONS": "AVX2"}
    code = "import zscir; zscir.load_backbone('pocket', device='cpu', precision='bf16')"
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, **held}, capture_output=True, text=True
    )
    last = done.stderr.strip().splitlines()[-1]
    assert done.returncode == 1 and "precision is 'bf16'" in last and "ten times slower" in last


def test_bf16_is_taken_where_the_processor_has_it(monkeypatch):
    monkeypatch.setattr("zscir.backbone.clip.has_bf16", lambda device: True)
    assert load_backbone("pocket", device="cpu", precision="bf16").precision == "bf16"


def test_fp32_is_the_default_everywhere():
    for path in (REPO / "notebooks").glob("*.ipynb"):
        declared = declared_parameters(path.stem).get("precision", {"default": '"fp32"'})
        assert declared["default"] == '"fp32"', path.stem
    assert BASE["precision"] == TrainConfig().precision == load_backbone("pocket").precision == "fp32"
