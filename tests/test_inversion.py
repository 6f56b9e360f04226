"""The inversion network and its losses, against slow formulas."""

import math

import pytest
import torch
import torch.nn.functional as F

from zscir.inversion import PROMPT, InversionNetwork, contrastive, original_loss, query_target_loss

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
    assert contrastive(a, b, scale).item() == pytest.approx(total / 5, abs=1e-5)
    assert contrastive(a, b, scale).item() == pytest.approx(contrastive(b, a, scale).item(), abs=1e-6)


def test_contrastive_stays_in_float32_under_autocast():
    a, b = unit_rows(6, 9, 2), unit_rows(6, 9, 3)
    with torch.autocast("cpu", torch.bfloat16):
        assert contrastive(a, b, 100.0).item() == contrastive(a, b, 100.0).float().item()
        inside = contrastive(a, b, 100.0)
    assert torch.equal(inside, contrastive(a, b, 100.0))


@pytest.mark.parametrize(("a", "b"), [((2, 3), (3, 3)), ((0, 3), (0, 3)), ((3,), (3,))])
def test_contrastive_refuses_other_shapes(a, b):
    with pytest.raises(ValueError, match="B >= 1"):
        contrastive(torch.zeros(a), torch.zeros(b), 1.0)


def test_losses_are_those_of_composed_texts(tiny_backbone, phi):
    images, masked = unit_rows(4, 32, 4), unit_rows(4, 32, 5)
    scale = tiny_backbone.logit_scale
    query = tiny_backbone.encode_composed(CAPTIONS, phi(masked))
    loss = query_target_loss(tiny_backbone, phi, masked, tiny_backbone.tokenize(CAPTIONS), images)
    assert loss.item() == pytest.approx(contrastive(query, images, scale).item(), abs=1e-6)
    query = tiny_backbone.encode_composed([PROMPT] * 4, phi(images))
    loss = original_loss(tiny_backbone, phi, images, tiny_backbone.tokenize([PROMPT]))
    assert loss.item() == pytest.approx(contrastive(query, images, scale).item(), abs=1e-6)


def test_gradient_reaches_phi_and_not_the_backbone(tiny_backbone, phi):
    images, masked = unit_rows(4, 32, 4), unit_rows(4, 32, 5)
    loss = query_target_loss(tiny_backbone, phi, masked, tiny_backbone.tokenize(CAPTIONS), images)
    loss = loss + original_loss(tiny_backbone, phi, images, tiny_backbone.tokenize([PROMPT]))
    loss.backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in phi.parameters())
    assert all(p.grad is None for p in tiny_backbone.model.parameters())


def test_losses_depend_on_what_they_should(tiny_backbone, phi):
    images, masked = unit_rows(4, 32, 4), unit_rows(4, 32, 5)
    ids = tiny_backbone.tokenize(CAPTIONS)
    loss = query_target_loss(tiny_backbone, phi, masked, ids, images)
    assert loss != query_target_loss(tiny_backbone, phi, images, ids, images)
    assert loss != query_target_loss(tiny_backbone, phi, masked, ids.flip(0), images)
