"""One prompt with many pseudo-words: what the rows share runs once, and the result is the same."""

import pytest
import torch

from zscir.backbone.same_prompt import encode_same_prompt
from zscir.backbone.text_blocks import has_usual_blocks, run_blocks
from zscir.inversion.network import PROMPT
from zscir.inversion.processes import Processes, SharedTower

TOWERS = {
    "clip": {},
    "quickgelu": {"quick_gelu": True},
    "custom": {"custom_text": True},
    "biased projection": {"custom_text": True, "text": {"proj_bias": True}},
    "no projection": {"embed_dim": 48, "text": {"proj_type": "none"}},
    "layer scale": {"text": {"ls_init_value": 0.3}},
}


@pytest.mark.parametrize("prompt", [PROMPT, "*", "* , and then a longer sentence", "a picture of two *"])
@pytest.mark.parametrize("tower", TOWERS)
def test_features_and_gradient_are_those_of_the_whole_tower(make_tiny_backbone, tower, prompt):
    backbone = make_tiny_backbone(**TOWERS[tower])
    assert has_usual_blocks(backbone.text_tower)
    ids = backbone.tokenize([prompt])
    words = torch.randn(5, backbone.token_width, generator=torch.Generator().manual_seed(3))
    found = []
    for encode in (
        lambda w: encode_same_prompt(backbone, ids[0], w),
        lambda w: backbone.compose_tokens(ids.expand(5, -1), w),
    ):
        given = words.clone().requires_grad_()
        features = encode(given)
        (features * torch.arange(features.numel()).reshape(features.shape)).sum().backward()
        found.append((features.detach(), given.grad / given.grad.abs().max()))
    (ours, our_gradient), (theirs, their_gradient) = found
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=0)
    torch.testing.assert_close(our_gradient, their_gradient, atol=1e-4, rtol=0)


def test_bf16_is_close(make_tiny_backbone):
    backbone = make_tiny_backbone(precision="bf16")
    ids, words = backbone.tokenize([PROMPT]), torch.randn(5, backbone.token_width)
    whole = backbone.compose_tokens(ids.expand(5, -1), words)
    assert torch.allclose(encode_same_prompt(backbone, ids[0], words), whole, atol=0.02)


def test_other_towers_run_as_a_whole(make_tiny_backbone, monkeypatch):
    backbone = make_tiny_backbone(custom_text=True, text={"no_causal_mask": True})
    assert not has_usual_blocks(backbone.text_tower)
    ids, words = backbone.tokenize([PROMPT]).expand(3, -1), torch.randn(3, backbone.token_width)
    composed = SharedTower(backbone, Processes()).compose_tokens(ids, words)
    torch.testing.assert_close(composed, backbone.compose_tokens(ids, words), atol=1e-5, rtol=0)


def test_the_shared_tower_takes_the_short_way_for_a_repeated_prompt_only(tiny_backbone, monkeypatch):
    tower, calls = SharedTower(tiny_backbone, Processes()), []
    monkeypatch.setattr(
        "zscir.inversion.processes.encode_same_prompt", lambda *a: calls.append(1) or encode_same_prompt(*a)
    )
    ids, words = tiny_backbone.tokenize([PROMPT]), torch.randn(3, tiny_backbone.token_width)
    short, whole = (
        tower.compose_tokens(ids.expand(3, -1), words),
        tower.compose_tokens(ids.repeat(3, 1), words),
    )
    assert calls == [1]
    torch.testing.assert_close(short, whole, atol=1e-5, rtol=0)
    with pytest.raises(ValueError, match=r"exactly one '\*'"):
        tower.compose_tokens(tiny_backbone.tokenize(["a dog"]).expand(3, -1), words)


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
