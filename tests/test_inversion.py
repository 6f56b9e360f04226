"""The inversion network and its losses, against slow formulas."""

import math

import pytest
import torch
import torch.nn.functional as F

from zscir.inversion import InversionNetwork, original_loss, query_target_loss
from zscir.inversion.network import NETWORKS, PROMPT, distance, noisy

CAPTIONS = ["a * on a sofa", "two dogs and a * at night", "*, black and white photo", "the *'s bone"]


@pytest.fixture
def phi(tiny_backbone):
    torch.manual_seed(0)
    return InversionNetwork(tiny_backbone.dim, tiny_backbone.token_width).eval()


def unit_rows(rows, dim, seed):
    return F.normalize(torch.randn(rows, dim, generator=torch.Generator().manual_seed(seed)), dim=-1)


def test_paper_shape_of_the_network():
    phi = InversionNetwork(768, 768)
    widths = [(m.in_features, m.out_features) for m in phi.modules() if isinstance(m, torch.nn.Linear)]
    assert widths == [(768, 3072), (3072, 3072), (3072, 768)]
    assert sum(p.numel() for p in phi.parameters()) == 14_162_688
    other = InversionNetwork(768, 768, depth=2)
    assert [tuple(p.shape) for p in other.parameters()] == [(3072, 768), (3072,), (768, 3072), (768,)]


def test_networks_by_name():
    shapes = {}
    for name, settings in NETWORKS.items():
        phi = InversionNetwork(768, 768, **settings)
        shapes[name] = [m.out_features for m in phi.modules() if isinstance(m, torch.nn.Linear)]
    expected = {"three-layer": [3072, 3072, 768], "two-layer": [3072, 768], "pic2word": [512, 512, 768]}
    assert shapes == expected
    pic2word = InversionNetwork(768, 768, **NETWORKS["pic2word"])
    kinds = [type(module).__name__ for module in pic2word.layers]
    assert kinds == ["Linear", "ReLU", "Dropout", "Linear", "ReLU", "Dropout", "Linear"]
    assert {m.p for m in pic2word.modules() if isinstance(m, torch.nn.Dropout)} == {0.1}
    assert pic2word.unit_input and not InversionNetwork(4, 4, unit_input=False).unit_input


def test_depth_one_and_settings_rebuild_it():
    phi = InversionNetwork(6, 4, hidden=5, depth=1, dropout=0.1, activation="relu")
    assert InversionNetwork(**phi.settings).settings == phi.settings
    assert phi(torch.zeros(3, 6)).shape == (3, 4)


def test_dropout_only_while_training(phi):
    x = torch.randn(2, 32)
    assert torch.equal(phi(x), phi(x))
    phi.train()
    assert not torch.equal(phi(x), phi(x))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"dim_in": 0}, "dim_in is 0"),
        ({"depth": 0}, "depth is 0"),
        ({"hidden": -1}, "hidden is -1"),
        ({"dropout": 1.0}, "dropout is 1.0"),
        ({"activation": "tanh"}, "activation is 'tanh'; legal: gelu, relu, silu"),
    ],
)
def test_illegal_settings(wrong, message):
    with pytest.raises(ValueError, match=message):
        InversionNetwork(**{"dim_in": 4, "dim_out": 4} | wrong)


def test_contrastive_against_a_naive_loop():
    a, b, scale = unit_rows(5, 7, 0), unit_rows(5, 7, 1), 13.0
    total = 0.0
    for i in range(5):
        cosines_a = [math.exp(scale * float(a[i] @ b[j])) for j in range(5)]
        cosines_b = [math.exp(scale * float(b[i] @ a[j])) for j in range(5)]
        total -= (math.log(cosines_a[i] / sum(cosines_a)) + math.log(cosines_b[i] / sum(cosines_b))) / 2
    assert distance(a, b, logit_scale=scale).item() == pytest.approx(total / 5, abs=1e-5)
    assert distance(a, b, logit_scale=scale).item() == pytest.approx(
        distance(b, a, logit_scale=scale).item(), abs=1e-6
    )


def test_distances_against_their_formulas():
    a, b = unit_rows(5, 7, 0), unit_rows(5, 7, 1)
    cosine = sum(1 - float(a[i] @ b[i]) for i in range(5)) / 5
    squares = sum(float((a[i, k] - b[i, k]) ** 2) for i in range(5) for k in range(7)) / 35
    assert distance(a, b, "cosine").item() == pytest.approx(cosine, abs=1e-6)
    assert distance(a, b, "mse").item() == pytest.approx(squares, abs=1e-6)
    assert squares == pytest.approx(2 / 7 * cosine, abs=1e-6)
    with pytest.raises(ValueError, match="kind is 'l1'; legal: contrastive, cosine, mse"):
        distance(a, b, "l1")
    with pytest.raises(ValueError, match="B >= 1"):
        distance(a, b[:2], "cosine")


def test_noise_keeps_the_length_and_spreads_by_its_scale():
    features = unit_rows(2000, 64, 0)
    torch.manual_seed(0)
    spread = {scale: (features * noisy(features, scale)).sum(dim=1) for scale in (0.0, 1.0, 3.0)}
    assert torch.allclose(spread[0.0], torch.ones(2000), atol=1e-6)
    assert spread[1.0].mean() > spread[3.0].mean() + 0.1
    assert torch.allclose(noisy(features).norm(dim=1), torch.ones(2000), atol=1e-5)
    strength = (1 / spread[1.0] ** 2 - 1).sqrt()  # length of what was added, about uniform from 0 to 1
    assert strength.mean() == pytest.approx(0.5, abs=0.05) and strength.max() < 1.6


def test_the_masked_caption_must_mean_what_the_caption_meant(tiny_backbone, phi):
    whole, ids = unit_rows(4, 32, 4), tiny_backbone.tokenize(CAPTIONS)
    composed = tiny_backbone.encode_composed(CAPTIONS, phi(whole))
    loss = query_target_loss(tiny_backbone, phi, whole, ids, whole, "mse")
    assert loss.item() == pytest.approx(F.mse_loss(composed, whole).item(), abs=1e-7)


def test_contrastive_stays_in_float32_under_autocast():
    a, b = unit_rows(6, 9, 2), unit_rows(6, 9, 3)
    with torch.autocast("cpu", torch.bfloat16):
        assert distance(a, b, logit_scale=100.0).item() == distance(a, b, logit_scale=100.0).float().item()
        inside = distance(a, b, logit_scale=100.0)
    assert torch.equal(inside, distance(a, b, logit_scale=100.0))


@pytest.mark.parametrize(("a", "b"), [((2, 3), (3, 3)), ((0, 3), (0, 3)), ((3,), (3,))])
def test_contrastive_refuses_other_shapes(a, b):
    with pytest.raises(ValueError, match="B >= 1"):
        distance(torch.zeros(a), torch.zeros(b), logit_scale=1.0)


def test_losses_are_those_of_composed_texts(tiny_backbone, phi):
    images, masked = unit_rows(4, 32, 4), unit_rows(4, 32, 5)
    scale = tiny_backbone.logit_scale
    query = tiny_backbone.encode_composed(CAPTIONS, phi(masked))
    loss = query_target_loss(tiny_backbone, phi, masked, tiny_backbone.tokenize(CAPTIONS), images)
    assert loss.item() == pytest.approx(distance(query, images, logit_scale=scale).item(), abs=1e-6)
    query = tiny_backbone.encode_composed([PROMPT] * 4, phi(images))
    loss = original_loss(tiny_backbone, phi, images, tiny_backbone.tokenize([PROMPT]))
    assert loss.item() == pytest.approx(distance(query, images, logit_scale=scale).item(), abs=1e-6)


def test_gradient_reaches_phi_and_not_the_backbone(tiny_backbone, phi):
    images, masked = unit_rows(4, 32, 4), unit_rows(4, 32, 5)
    loss = query_target_loss(tiny_backbone, phi, masked, tiny_backbone.tokenize(CAPTIONS), images)
    loss = loss + original_loss(tiny_backbone, phi, images, tiny_backbone.tokenize([PROMPT]))
    loss.backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in phi.parameters())
    assert all(p.grad is None for p in tiny_backbone.model.parameters())


@pytest.mark.parametrize("kind", ["cosine", "mse"])
def test_losses_by_other_distances(tiny_backbone, phi, kind):
    images, masked = unit_rows(4, 32, 4), unit_rows(4, 32, 5)
    ids, prompt = tiny_backbone.tokenize(CAPTIONS), tiny_backbone.tokenize([PROMPT])
    query = tiny_backbone.encode_composed(CAPTIONS, phi(masked))
    loss = query_target_loss(tiny_backbone, phi, masked, ids, images, kind)
    assert loss.item() == pytest.approx(distance(query, images, kind).item(), abs=1e-6)
    query = tiny_backbone.encode_composed([PROMPT] * 4, phi(images))
    loss = original_loss(tiny_backbone, phi, images, prompt, kind)
    assert loss.item() == pytest.approx(distance(query, images, kind).item(), abs=1e-6)


def test_losses_depend_on_what_they_should(tiny_backbone, phi):
    images, masked = unit_rows(4, 32, 4), unit_rows(4, 32, 5)
    ids = tiny_backbone.tokenize(CAPTIONS)
    loss = query_target_loss(tiny_backbone, phi, masked, ids, images)
    assert loss != query_target_loss(tiny_backbone, phi, images, ids, images)
    assert loss != query_target_loss(tiny_backbone, phi, masked, ids.flip(0), images)
