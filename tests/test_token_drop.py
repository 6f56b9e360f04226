"""Tokens left out: nothing dropped is the plain tower, dropped pixels and company have no effect."""

import pytest
import torch

from zscir.regions.token_drop import encode_kept, kept_patches

TOWERS = {
    "class token": {},
    "average": {"vision": {"pool_type": "avg"}},
    "average, norm after": {"vision": {"pool_type": "avg", "final_ln_after_pool": True}},
    "returns tokens": {"vision": {"output_tokens": True}},
    "attentional pooling": {"vision": {"attentional_pool": True, "attn_pooler_heads": 4}},
    "custom blocks": {"vision": {"qk_norm": True, "ls_init_value": 0.1}},
    "no norm before": {"vision": {"no_ln_pre": True, "pos_embed_type": "sin_cos_2d"}},
}


def inputs(count=12, seed=0):
    generator = torch.Generator().manual_seed(seed)
    pixels = torch.randn(count, 3, 32, 32, generator=generator)
    share = torch.linspace(0.05, 1, count)[:, None]
    keep = torch.rand(count, 16, generator=generator) < share
    keep[:, 5] = True
    return pixels, keep.unflatten(1, (4, 4))


@pytest.fixture(scope="module", params=list(TOWERS))
def backbone(request, make_tiny_backbone):
    return make_tiny_backbone(**TOWERS[request.param])


def naive(backbone, pixels, keep):
    """One image at a time, the tower written out with the kept tokens only."""
    visual, rows = backbone.model.visual, []
    with torch.no_grad():
        for image, kept in zip(pixels, keep, strict=True):
            patches = visual.conv1(image[None]).flatten(2).transpose(1, 2)
            tokens = torch.cat([visual.class_embedding[None, None], patches], dim=1)
            tokens = visual.ln_pre(tokens + visual.positional_embedding)
            places = [0, *(1 + i for i in kept.flatten().nonzero().flatten().tolist())]
            tokens = tokens[:, places]
            for block in visual.transformer.resblocks:
                tokens = block(tokens)
            rows.append(visual._pool(tokens)[0] @ visual.proj)
    if visual.attn_pool is not None:
        rows = [row[:, 0] if row.ndim == 3 else row for row in rows]
    return torch.nn.functional.normalize(torch.cat(rows), dim=-1)


def test_nothing_dropped_is_the_plain_tower(backbone):
    pixels, keep = inputs()
    whole = encode_kept(backbone, pixels, torch.ones_like(keep))
    torch.testing.assert_close(whole, backbone.encode_images(pixels), atol=1e-5, rtol=0)


def test_equals_a_tower_of_the_kept_tokens_alone(backbone):
    pixels, keep = inputs()
    got = encode_kept(backbone, pixels, keep)
    torch.testing.assert_close(got, naive(backbone, pixels, keep), atol=1e-5, rtol=0)
    assert (got - backbone.encode_images(pixels)).abs().max() > 0.01


def test_dropped_pixels_have_no_effect(backbone):
    pixels, keep = inputs()
    outside = ~keep.repeat_interleave(8, 1).repeat_interleave(8, 2)
    other = pixels.masked_fill(outside[:, None], 1e6)
    first, second = encode_kept(backbone, pixels, keep), encode_kept(backbone, other, keep)
    assert torch.equal(first, second)
    torch.testing.assert_close(encode_kept(backbone, pixels, ~outside), first, atol=0, rtol=0)


def test_a_row_does_not_depend_on_its_company(backbone):
    pixels, keep = inputs()
    together = encode_kept(backbone, pixels, keep)
    for row in (0, 4, 11):
        alone = encode_kept(backbone, pixels[row : row + 1], keep[row : row + 1])
        torch.testing.assert_close(alone[0], together[row], atol=1e-5, rtol=0)


def test_attention_runs_over_kept_tokens_only(tiny_backbone):
    """The work done: tokens in the blocks fall with the share that is kept."""
    pixels, keep = inputs()
    seen = []
    mlp = tiny_backbone.model.visual.transformer.resblocks[1].mlp
    handle = mlp.register_forward_hook(lambda m, args, out: seen.append(out.shape[:-1].numel()))
    encode_kept(tiny_backbone, pixels, keep)
    handle.remove()
    assert sum(seen) == int(keep.sum()) + len(keep)  # and the class tokens


def test_bf16_and_no_images(make_tiny_backbone, tiny_backbone):
    pixels, keep = inputs()
    fast = make_tiny_backbone(precision="bf16")
    got = encode_kept(fast, pixels, keep)
    assert got.dtype == torch.float32
    assert (got * encode_kept(tiny_backbone, pixels, keep)).sum(dim=1).min() > 0.99
    assert encode_kept(tiny_backbone, pixels[:0], keep[:0]).shape == (0, 32)


def test_a_patch_stays_when_half_of_it_does():
    keep = torch.zeros(3, 32, 32, dtype=torch.bool)
    keep[0, :8, :4] = True  # exactly half of the first patch
    keep[1, 8:16, 16:19] = True  # less than half of one patch: the best there is
    keep[2] = True
    keep[2, :8, :5] = False
    kept = kept_patches(keep, (4, 4)).flatten(1)
    assert kept.sum(dim=1).tolist() == [1, 1, 15]
    assert kept[0, 0] and kept[1, 6] and not kept[2, 0]


def test_errors_name_the_value(tiny_backbone, make_tiny_backbone):
    pixels, keep = inputs()
    with pytest.raises(ValueError, match=r"bool \[12, 32, 32\] or \[12, 4, 4\], got .*\[12, 4, 3\]"):
        encode_kept(tiny_backbone, pixels, keep[..., :3])
    keep[7] = False
    with pytest.raises(ValueError, match="keep of image 7 has no patch left"):
        encode_kept(tiny_backbone, pixels, keep)
    resnet = {"layers": [1, 1, 1, 1], "width": 16, "head_width": 16, "image_size": 96}
    with pytest.raises(ValueError, match="ModifiedResNet; fills that work: mean, black, blur, noise"):
        encode_kept(make_tiny_backbone(vision=resnet), pixels, keep)
