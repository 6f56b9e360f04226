"""Regions: the fast maps equal pytorch-grad-cam's; masks, fills and the judge of maps do what they say."""

import sys

import numpy as np
import pytest
import torch
from pytorch_grad_cam.utils.image import scale_cam_image

from zscir.analysis.mask_quality import localisation
from zscir.backbone import load_backbone
from zscir.regions import keep_mask, mask_image, noun_cams
from zscir.regions.cams import METHODS, class_token_tail, upsample_cams
from zscir.regions.maps import cams_by_method
from zscir.regions.masks import is_empty
from zscir.storage.paths import REPO

sys.path.insert(0, str(REPO / "benchmarks"))
from reference_cams import reference_cams  # noqa: E402  (beside the library)

NOUNS = [["dog", "red sofa"], [], ["owl"], ["lamp", "dog", "cup"]]
LN = "visual.transformer.resblocks.{}.ln_1"
TOWERS = {
    "class token": ({}, [LN.format(0), LN.format(1), LN.format(2), "visual.transformer.resblocks.1.mlp"]),
    "average": (
        {"vision": {"pool_type": "avg"}},
        [LN.format(2), "visual.transformer.resblocks.0.ln_2", "visual.ln_pre"],
    ),
    "average, norm after": (
        {"vision": {"pool_type": "avg", "final_ln_after_pool": True}},
        [LN.format(2), "visual.transformer.resblocks.2.mlp", "visual.conv1"],
    ),
    "returns tokens": ({"vision": {"output_tokens": True}}, [LN.format(1)]),
    "quickgelu, custom text": ({"quick_gelu": True, "custom_text": True}, [LN.format(2)]),
    "layer scale": ({"vision": {"ls_init_value": 0.1}}, [LN.format(2)]),
    "resnet": (
        {"vision": {"layers": [1, 1, 1, 1], "width": 16, "head_width": 16, "image_size": 96}},
        ["visual.layer4", "visual.layer3", "visual.layer4.0.conv3", "visual.layer2.0"],
    ),
    "timm, no class token": (
        {
            "vision": {
                "timm_model_name": "test_vit3",
                "timm_pool": "",
                "timm_proj": "linear",
                "image_size": 160,
            }
        },
        ["visual.trunk.blocks.1.norm1", "visual.trunk.blocks.2.norm1"],
    ),
    "timm, class token": (
        {"vision": {"timm_model_name": "test_vit", "timm_pool": "token", "image_size": 160}},
        ["visual.trunk.blocks.1.norm1"],
    ),
}
CASES = [(name, layer) for name, (_, layers) in TOWERS.items() for layer in layers]


def images(backbone, count=4, seed=0):
    """Random normalised pixels [count, 3, S, S]."""
    size = (count, 3, backbone.image_size, backbone.image_size)
    return torch.randn(size, generator=torch.Generator().manual_seed(seed))


def wake(model):
    """Give batch norms some statistics: fresh ones let next to nothing through the tower."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.weight.copy_(torch.rand(module.weight.shape, generator=generator) + 0.5)
                module.bias.copy_(torch.randn(module.bias.shape, generator=generator) / 2)
                module.running_var.fill_(
                    0.2
                )  # less, and the features grow so long that gradients are rounding


@pytest.fixture(scope="module")
def towers(make_tiny_backbone):
    built = {}

    def get(name):
        if name not in built:
            built[name] = make_tiny_backbone(**TOWERS[name][0])
            wake(built[name].model)
        return built[name]

    return get


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("tower", "layer"), CASES)
def test_maps_are_those_of_the_reference(towers, tower, layer, method):
    if (tower, method) == ("timm, no class token", "gradcam++"):
        pytest.skip("its weights have poles, and this tower lies so near to them that rounding decides")
    backbone = towers(tower)
    pixels = images(backbone)
    for grain in ("pixel", "patch"):
        options = {"method": method, "layer": layer, "grain": grain}
        fast = noun_cams(backbone, pixels, NOUNS, **options)
        reference = reference_cams(backbone, pixels, NOUNS, **options)
        assert [len(maps) for maps in fast] == [2, 0, 1, 3]
        assert [maps.shape for maps in fast] == [maps.shape for maps in reference]
        torch.testing.assert_close(torch.cat(fast), torch.cat(reference), atol=1e-4, rtol=0)
        assert (torch.cat(fast).amax(dim=(1, 2)) > 0.99).sum() >= 3  # something was compared


@pytest.mark.thorough
@pytest.mark.slow
@pytest.mark.parametrize("name", ["ViT-B-32", "ViT-L-14", "pocket"])
def test_maps_are_those_of_the_reference_on_towers_of_real_size(name):
    backbone = load_backbone(name, None if name == "pocket" else "random", device="cpu")
    large = name == "ViT-L-14"
    pixels, nouns = (images(backbone, 1), [["dog", "sofa"]]) if large else (images(backbone), NOUNS)
    if name != "pocket":
        assert class_token_tail(backbone.model, backbone.cam_layers)
    for method in METHODS[:1] if large else METHODS[:3]:
        maps = [
            torch.cat(engine(backbone, pixels, nouns, method=method, grain="patch"))
            for engine in (noun_cams, reference_cams)
        ]
        torch.testing.assert_close(*maps, atol=1e-4, rtol=0)
        assert maps[0].amax(dim=(1, 2)).min() > 0.99


@pytest.mark.parametrize("method", METHODS)
def test_several_layers_are_averaged_as_the_reference_does(tiny_backbone, method):
    pixels, layers = images(tiny_backbone), [LN.format(2), LN.format(0), LN.format(1)]
    fast = noun_cams(tiny_backbone, pixels, NOUNS, method=method, layer=layers)
    reference = reference_cams(tiny_backbone, pixels, NOUNS, method=method, layer=layers)
    torch.testing.assert_close(torch.cat(fast), torch.cat(reference), atol=1e-4, rtol=0)
    single = noun_cams(tiny_backbone, pixels, NOUNS, method=method, layer=layers[:1])
    assert (torch.cat(single) - torch.cat(fast)).abs().max() > 0.05


@pytest.mark.parametrize("method", METHODS)
def test_every_method_gives_maps_of_the_image(tiny_backbone, method):
    for maps, nouns in zip(
        noun_cams(tiny_backbone, images(tiny_backbone), NOUNS, method=method), NOUNS, strict=True
    ):
        assert maps.shape == (len(nouns), 32, 32) and maps.dtype == torch.float32
        assert maps.numel() == 0 or (maps.min() >= 0 and maps.max() <= 1)


def test_methods_that_share_a_pass_give_the_same_maps(tiny_backbone):
    pixels = images(tiny_backbone)
    together = cams_by_method(tiny_backbone, pixels, NOUNS, METHODS)
    for method in METHODS:
        apart = noun_cams(tiny_backbone, pixels, NOUNS, method=method)
        assert all(map(torch.equal, together[method], apart))


def test_methods_differ(tiny_backbone):
    maps = [torch.cat(noun_cams(tiny_backbone, images(tiny_backbone), NOUNS, method=m)) for m in METHODS]
    for i, first in enumerate(maps):
        assert all((first - second).abs().max() > 0.05 for second in maps[:i])


def test_resnet_has_maps_of_every_method(towers):
    backbone = towers("resnet")
    assert backbone.cam_layers == ("visual.layer4",)
    for method in METHODS:
        maps = torch.cat(noun_cams(backbone, images(backbone), NOUNS, method=method))
        assert maps.shape == (6, 96, 96) and maps.max() > 0.9


def test_a_map_does_not_depend_on_its_company(tiny_backbone, monkeypatch):
    pixels = images(tiny_backbone)
    together = noun_cams(tiny_backbone, pixels, NOUNS)
    for most in (1, 3):
        monkeypatch.setattr("zscir.regions.maps.MAX_ROWS", most)
        chunked = noun_cams(tiny_backbone, pixels, NOUNS)
        torch.testing.assert_close(torch.cat(chunked), torch.cat(together), atol=1e-4, rtol=0)
    alone = noun_cams(tiny_backbone, pixels[3:], [["dog"]])[0]
    torch.testing.assert_close(alone[0], together[3][1], atol=1e-4, rtol=0)


def test_map_is_gradient_times_activation_by_hand(tiny_backbone):
    pixels, model = images(tiny_backbone, 1), tiny_backbone.model
    text = tiny_backbone.encode_texts(["a photo of a dog"])[0]
    seen = {}
    handle = model.visual.transformer.resblocks[2].ln_1.register_forward_hook(
        lambda module, args, output: seen.update(a=output.detach().requires_grad_(True)) or seen["a"]
    )
    feature = model.visual(pixels)[0]
    handle.remove()
    (gradient,) = torch.autograd.grad(feature @ text / feature.norm(), seen["a"])
    by_hand = (gradient * seen["a"])[0, 1:].sum(dim=1).relu().reshape(4, 4).detach()
    by_hand = (by_hand - by_hand.min()) / (by_hand.max() - by_hand.min())
    (cam,) = noun_cams(tiny_backbone, pixels, [["dog"]], method="hirescam", grain="patch")
    torch.testing.assert_close(cam[0], by_hand, atol=1e-4, rtol=0)


def test_nothing_stays_on_the_backbone(tiny_backbone):
    noun_cams(tiny_backbone, images(tiny_backbone), NOUNS)
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in tiny_backbone.model.modules())
    assert not any(p.requires_grad or p.grad is not None for p in tiny_backbone.model.parameters())


def test_works_inside_no_grad_of_a_caller(tiny_backbone):
    expected = torch.cat(noun_cams(tiny_backbone, images(tiny_backbone), NOUNS))
    with torch.no_grad():
        got = torch.cat(noun_cams(tiny_backbone, images(tiny_backbone), NOUNS))
    torch.testing.assert_close(got, expected, atol=1e-4, rtol=0)


def test_bf16_maps_are_near(tiny_backbone, make_tiny_backbone):
    fast = make_tiny_backbone(precision="bf16")
    first = torch.cat(noun_cams(tiny_backbone, images(fast), NOUNS, method="hirescam"))
    second = torch.cat(noun_cams(fast, images(fast), NOUNS, method="hirescam"))
    assert second.dtype == torch.float32 and (first - second).abs().mean() < 0.03


def test_patch_grain_upsampled_is_the_pixel_grain(towers):
    for tower in ("class token", "resnet"):
        backbone = towers(tower)
        grid = noun_cams(backbone, images(backbone), NOUNS, grain="patch")
        whole = noun_cams(backbone, images(backbone), NOUNS, grain="pixel")
        for small, large in zip(grid, whole, strict=True):
            torch.testing.assert_close(upsample_cams(small, backbone.image_size), large, atol=1e-6, rtol=0)


def test_upsampling_equals_opencv(towers):
    grid = torch.rand(5, 7, 7, generator=torch.Generator().manual_seed(1))
    expected = scale_cam_image(scale_cam_image(grid.numpy(), (224, 224)))
    torch.testing.assert_close(upsample_cams(grid, 224), torch.from_numpy(expected), atol=1e-5, rtol=0)
    assert upsample_cams(grid[None, :, None], 14).shape == (1, 5, 1, 14, 14)


def test_known_texts_are_not_encoded_again(tiny_backbone, monkeypatch):
    pixels, words = images(tiny_backbone), sorted({noun for row in NOUNS for noun in row})
    expected = torch.cat(noun_cams(tiny_backbone, pixels, NOUNS))
    texts = tiny_backbone.encode_texts([f"a photo of a {word}" for word in words])
    monkeypatch.setattr(type(tiny_backbone), "tokenize", lambda *args: pytest.fail("encoded again"))
    known = dict(zip(words, texts, strict=True))
    got = torch.cat(noun_cams(tiny_backbone, pixels, NOUNS, texts=known))
    torch.testing.assert_close(got, expected, atol=1e-4, rtol=0)


def test_no_noun_anywhere(tiny_backbone):
    pixels = images(tiny_backbone, 2)
    assert [m.shape for m in noun_cams(tiny_backbone, pixels, [[], []])] == [(0, 32, 32)] * 2
    assert [m.shape for m in noun_cams(tiny_backbone, pixels, [[], []], grain="patch")] == [(0, 4, 4)] * 2
    assert noun_cams(tiny_backbone, pixels[:0], []) == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "cam"}, "method is 'cam'; legal: gradcam"),
        ({"grain": "cell"}, "grain is 'cell'; legal: pixel"),
        ({"layer": "visual.blocks.3"}, "layer must be.*ln_1"),
        ({"layer": "transformer.resblocks.0.ln_1"}, "image tower"),
        ({"nouns": ["dog", "cat"]}, "nouns must be 2 lists"),
        ({"nouns": [["dog"]]}, "nouns must be 2 lists"),
        ({"nouns": [["dog"], [" "]]}, "empty strings"),
        (
            {"nouns": [["dog"], ["very " * 30 + "dog"]]},
            "noun 'very very .* 35 tokens.* reads 22",
        ),
    ],
)
def test_bad_requests_are_explained(tiny_backbone, options, message):
    options = {"nouns": [["dog"], ["cat"]]} | options
    with pytest.raises(ValueError, match=message):
        noun_cams(tiny_backbone, images(tiny_backbone, 2), **options)


def test_keep_mask_and_its_complement():
    cams = torch.rand(3, 2, 8, 8, generator=torch.Generator().manual_seed(0))
    for tau in (0.2, 0.3, 0.4):
        noun, rest = keep_mask(cams, tau), keep_mask(cams, tau, keep="rest")
        assert torch.equal(noun, cams >= tau) and torch.equal(noun, ~rest)
    assert (keep_mask(cams, 0.4) & ~keep_mask(cams, 0.2)).sum() == 0  # a higher tau keeps less
    assert keep_mask(cams, 0).all() and not is_empty(cams, 0.3).any()


def test_empty_masks_keep_one_cell_and_are_reported():
    cams = torch.tensor([[[0.1, 0.2], [0.25, 0.0]], [[0.0, 1.0], [0.0, 0.4]], [[0.0, 0.0], [0.0, 0.0]]])
    assert is_empty(cams, 0.3).tolist() == [True, False, True]
    mask = keep_mask(cams, 0.3)
    assert mask.sum(dim=(1, 2)).tolist() == [1, 2, 1] and mask[0, 1, 0]
    assert is_empty(cams, 0.0, keep="rest").all()
    assert keep_mask(cams, 0.0, keep="rest")[0].tolist() == [[False, False], [False, True]]


@pytest.mark.parametrize("tau", [-0.1, 1.5, float("nan")])
def test_tau_outside_its_range_is_named(tau):
    for function in (keep_mask, is_empty):
        with pytest.raises(ValueError, match=r"tau must lie in \[0, 1\]"):
            function(torch.zeros(2, 2), tau)
    with pytest.raises(ValueError, match="keep is .*; legal: noun, rest"):
        keep_mask(torch.zeros(2, 2), 0.3, keep="both")


@pytest.mark.parametrize("fill", ["mean", "black", "blur", "noise"])
def test_mask_image_fills_only_outside(fill):
    pixels = torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(5))
    keep = torch.rand(3, 32, 32, generator=torch.Generator().manual_seed(1)) > 0.5
    before = pixels.clone()
    masked = mask_image(pixels, keep, fill)
    inside = keep[:, None].expand_as(pixels)
    assert torch.equal(masked[inside], pixels[inside]) and torch.equal(pixels, before)
    assert (masked[~inside] != pixels[~inside]).float().mean() > 0.99


def test_fills_have_the_colours_they_promise(tiny_backbone):
    none = torch.zeros(1, 32, 32, dtype=torch.bool)
    mean, std = torch.tensor(tiny_backbone.mean), torch.tensor(tiny_backbone.std)
    pixels = images(tiny_backbone, 1)

    def colours(fill):
        filled = mask_image(pixels, none, fill, tiny_backbone.mean, tiny_backbone.std)
        return filled[0] * std[:, None, None] + mean[:, None, None]

    torch.testing.assert_close(colours("mean"), mean[:, None, None].expand(3, 32, 32))
    torch.testing.assert_close(colours("black"), torch.zeros(3, 32, 32), atol=1e-6, rtol=0)
    noise = mask_image(pixels, none, "noise")
    assert abs(noise.mean()) < 0.1 and abs(noise.std() - 1) < 0.1
    blurred = mask_image(pixels, none, "blur")
    assert blurred.std() < 0.5 * pixels.std() and abs(blurred.mean() - pixels.mean()) < 0.05


def test_noise_is_seeded_and_independent_of_the_batch():
    pixels, none = torch.zeros(4, 3, 16, 16), torch.zeros(4, 16, 16, dtype=torch.bool)
    whole = mask_image(pixels, none, "noise", generator=torch.Generator().manual_seed(7))
    generator = torch.Generator().manual_seed(7)
    halves = [mask_image(pixels[:2], none[:2], "noise", generator=generator) for _ in range(2)]
    assert torch.equal(whole, torch.cat(halves)) and not torch.equal(whole[0], whole[1])
    assert torch.equal(mask_image(pixels, none, "noise"), mask_image(pixels, none, "noise"))


def test_mask_image_explains_bad_masks():
    pixels = torch.zeros(2, 3, 8, 8)
    with pytest.raises(ValueError, match="fill must be one of"):
        mask_image(pixels, torch.ones(2, 8, 8, dtype=torch.bool), "white")
    for keep in (torch.ones(2, 8, 8), torch.ones(1, 8, 8, dtype=torch.bool)):
        with pytest.raises(ValueError, match=r"keep must be bool \[2, 8, 8\]"):
            mask_image(pixels, keep)


def test_localisation_against_a_slow_count():
    rng = np.random.default_rng(0)
    for _ in range(20):
        cam = rng.random((6, 6)).astype(np.float32)
        true = rng.random((6, 6)) > 0.6
        scores = []
        for step in range(21):
            kept = [(cam[i, j] >= np.float32(step / 20), true[i, j]) for i in range(6) for j in range(6)]
            scores.append(sum(a and b for a, b in kept) / sum(a or b for a, b in kept))
        got = localisation(torch.from_numpy(cam)[None], torch.from_numpy(true)[None])
        assert got["best_iou"].tolist() == pytest.approx([max(scores)])
        assert got["pointing"].tolist() == [bool(true[np.unravel_index(cam.argmax(), cam.shape)])]


def test_localisation_of_flat_maps_and_bad_masks():
    flat, true = torch.zeros(1, 4, 4), torch.zeros(1, 4, 4, dtype=torch.bool)
    true[0, 0] = True
    found = localisation(flat, true)
    assert found["pointing"].tolist() == [False] and found["best_iou"].tolist() == [0.25]
    with pytest.raises(ValueError, match="empty"):
        localisation(flat, torch.zeros_like(true))
    for wrong in (true.float(), true[:, :2]):
        with pytest.raises(ValueError, match="masks must be bool"):
            localisation(flat, wrong)
