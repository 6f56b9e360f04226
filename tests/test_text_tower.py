"""The text tower without repeated work: features and gradients are those of open_clip's own blocks."""

import pytest
import torch

from zscir.backbone import load_backbone
from zscir.backbone.text_tower import composed_ends, has_usual_blocks, run_blocks
from zscir.inversion.network import PROMPT

TOWERS = {
    "clip": {},
    "quickgelu": {"quick_gelu": True},
    "custom": {"custom_text": True},
    "biased projection": {"custom_text": True, "text": {"proj_bias": True}},
    "no projection": {"embed_dim": 48, "text": {"proj_type": "none"}},
    "layer scale": {"text": {"ls_init_value": 0.3}},
}

CAPTIONS = {
    "one prompt": [PROMPT] * 70,
    "one row": ["a photo of a * at night"],
    "* first": ["* , and then a longer sentence", "*", "* and a cat"],
    "* last": ["a picture of two *", "*", "a very long way to an old and rusty *"],
    "like beginnings": ["a red * on a sofa", "a red and blue *", "a red * , at night", "a * and a red cup"],
    "many": [f"{'a red ' * (i % 4)} * {'on a sofa ' * (i % 3)} number {i % 5}" for i in range(80)],
}


@pytest.fixture(params=["pocket", *TOWERS])
def backbone(request, make_tiny_backbone):
    if request.param == "pocket":
        return load_backbone("pocket", device="cpu")
    return make_tiny_backbone(**TOWERS[request.param])


def features_and_gradient(backbone, ids, words):
    words = words.clone().requires_grad_()
    features = backbone.compose_tokens(ids, words)
    weights = torch.randn(features.shape, generator=torch.Generator().manual_seed(4))
    (features * weights).sum().backward()
    return features.detach(), words.grad


@pytest.mark.parametrize("captions", CAPTIONS)
def test_composed_texts_are_those_of_the_plain_tower(backbone, captions, monkeypatch):
    assert has_usual_blocks(backbone.text_tower)
    ids = backbone.tokenize(CAPTIONS[captions])
    words = torch.randn(len(ids), backbone.token_width, generator=torch.Generator().manual_seed(3))
    words = words * backbone.text_tower.token_embedding.weight.std()
    ours, our_gradient = features_and_gradient(backbone, ids, words)
    monkeypatch.setattr("zscir.backbone.clip.has_usual_blocks", lambda tower: False)
    theirs, their_gradient = features_and_gradient(backbone, ids, words)
    torch.testing.assert_close(ours, theirs, atol=2e-6, rtol=0)
    torch.testing.assert_close(
        our_gradient, their_gradient, atol=2e-6 * float(their_gradient.abs().max()), rtol=0
    )


def test_rows_that_begin_alike_share_their_beginning(tiny_backbone, monkeypatch):
    embedding, seen = tiny_backbone.text_tower.token_embedding, []
    monkeypatch.setattr(embedding, "forward", lambda ids, run=embedding.forward: seen.append(ids) or run(ids))
    words = torch.randn(4, tiny_backbone.token_width)
    texts = ["a red *", "a red *", "a red * here", "a blue *"]
    tiny_backbone.encode_composed(texts, words)
    prefixes, suffixes = seen
    assert len(prefixes) == 4  # the start token, "a", "red", "blue"
    assert len(suffixes) == 4 * 2 + 1  # "*" and the end token of each row, "here"


def test_a_long_batch_runs_in_parts(tiny_backbone, monkeypatch):
    ids = tiny_backbone.tokenize(CAPTIONS["many"])
    words = torch.randn(len(ids), tiny_backbone.token_width)
    whole = tiny_backbone.compose_tokens(ids, words)
    calls = []
    monkeypatch.setattr("zscir.backbone.clip.TEXT_PART", 8)
    monkeypatch.setattr(
        "zscir.backbone.clip.composed_ends", lambda *a: calls.append(len(a[1])) or composed_ends(*a)
    )
    torch.testing.assert_close(tiny_backbone.compose_tokens(ids, words), whole, atol=2e-6, rtol=0)
    assert calls == [32, 32, 16]


def test_bf16_is_close(make_tiny_backbone):
    backbone, exact = make_tiny_backbone(precision="bf16"), make_tiny_backbone()
    ids = backbone.tokenize(CAPTIONS["many"])
    words = torch.randn(len(ids), backbone.token_width)
    features, gradient = features_and_gradient(backbone, ids, words)
    assert features.dtype == gradient.dtype == torch.float32
    assert torch.allclose(features, exact.compose_tokens(ids, words), atol=0.02)


def test_a_tower_without_causal_mask_runs_as_a_whole(make_tiny_backbone, monkeypatch):
    backbone = make_tiny_backbone(custom_text=True, text={"no_causal_mask": True})
    assert not has_usual_blocks(backbone.text_tower)
    monkeypatch.setattr("zscir.backbone.clip.composed_ends", None)
    words = torch.randn(3, backbone.token_width)
    composed = backbone.encode_composed(["a *", "* here", "the red *"], words)
    assert composed.shape == (3, backbone.dim)


@pytest.mark.parametrize("text", ["a dog", "a * and a *"])
def test_every_row_needs_one_star(tiny_backbone, text):
    ids = tiny_backbone.tokenize(["a *", text])
    with pytest.raises(ValueError, match=r"exactly one '\*', row 1 is"):
        tiny_backbone.compose_tokens(ids, torch.randn(2, tiny_backbone.token_width))


@pytest.mark.parametrize("tower", TOWERS)
def test_blocks_and_their_gradient_are_those_of_open_clip(make_tiny_backbone, tower):
    backbone = make_tiny_backbone(**TOWERS[tower])
    text = backbone.text_tower
    tokens = torch.randn(3, 7, text.positional_embedding.shape[1], generator=torch.Generator().manual_seed(5))
    found = []
    for run in (
        lambda x: run_blocks(text, x),
        lambda x: text.transformer(x, attn_mask=text.attn_mask[:7, :7]),
    ):
        given = tokens.clone().requires_grad_()
        features = run(given)
        features.square().sum().backward()
        found.append((features.detach(), given.grad / given.grad.abs().max()))
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)
