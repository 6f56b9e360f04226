"""Networks of others: files in exactly their layouts are read, give what theirs give, and are scored."""

import hashlib
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import nn

from zscir.benchmarks import load_benchmark
from zscir.inversion import load_inversion
from zscir.inversion.external import Published
from zscir.retrieval import evaluate
from zscir.retrieval.queries import query_features


def searle(dim_in=32, width=48, hidden=40, seed=0):
    """SEARLE's and LinCIR's module, by its description: Linear GELU Dropout, twice, and a Linear."""
    torch.manual_seed(seed)
    return nn.Sequential(
        *(nn.Linear(dim_in, hidden), nn.GELU(), nn.Dropout(0.5)),
        *(nn.Linear(hidden, hidden), nn.GELU(), nn.Dropout(0.5)),
        nn.Linear(hidden, width),
    ).eval()


def searle_state(net):
    return {f"layers.{name}": tensor for name, tensor in net.state_dict().items()}


class Im2Text(nn.Module):
    """Pic2Word's: blocks of Linear, Dropout, ReLU, and ``fc_out``, which is registered first."""

    def __init__(self, dim_in=32, width=48, hidden=24, blocks=2):
        super().__init__()
        torch.manual_seed(1)
        self.fc_out = nn.Linear(hidden, width)
        dims = [dim_in] + [hidden] * blocks
        parts = [
            nn.Sequential(nn.Linear(a, b), nn.Dropout(0.1), nn.ReLU())
            for a, b in zip(dims, dims[1:], strict=False)
        ]
        self.layers = nn.Sequential(*parts)

    def forward(self, x):
        return self.fc_out(self.layers(x))


def save(path: Path, content) -> Path:
    torch.save(content, path)
    return path


@pytest.mark.parametrize("prefix", ["", "module."])
def test_pic2word(tmp_path, tiny_backbone, prefix):
    net = Im2Text().eval()
    state = {f"{prefix}{name}": tensor for name, tensor in net.state_dict().items()}
    content = {"epoch": 30, "name": "lr=1e-4", "state_dict": {f"{prefix}visual.proj": torch.ones(2)}}
    content |= {"state_dict_img2text": state, "optimizer": torch.optim.AdamW(net.parameters()).state_dict()}
    path = save(tmp_path / "epoch_30.pt", content)
    found = load_inversion(path, tiny_backbone)
    x = torch.randn(5, 32)
    assert torch.allclose(found.phi(x), net(x), atol=1e-6) and not found.phi.training
    assert found.phi.settings["activation"] == "relu" and found.phi.settings["hidden"] == 24
    assert found.config.layout == "Pic2Word" and len(found.history) == 0 and not found.phi.unit_input
    assert found.config.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize("blocks", [1, 3, 11])
def test_pic2word_of_other_depth(tmp_path, blocks):
    net = Im2Text(blocks=blocks).eval()
    path = save(tmp_path / "a.pt", {"state_dict_img2text": net.state_dict()})
    x = torch.randn(5, 32)
    assert torch.allclose(load_inversion(path).phi(x), net(x), atol=1e-6)


def test_searle_and_lincir(tmp_path, tiny_backbone):
    net = searle()
    path = save(tmp_path / "SEARLE_ViT-L14.pt", {"epoch": 50, "Phi": searle_state(net)})
    found = load_inversion(path, tiny_backbone)
    x = torch.randn(5, 32)
    assert torch.allclose(found.phi(x), net(x), atol=1e-6)
    assert found.config == Published("SEARLE or LinCIR", path.name, found.config.sha256)


def test_half_precision_is_read_as_float32(tmp_path):
    path = save(tmp_path / "lincir_large.pt", {"epoch": 1, "Phi": searle_state(searle().half())})
    assert load_inversion(path).phi(torch.ones(1, 32)).dtype == torch.float32


def test_what_is_not_one_of_them(tmp_path, tiny_backbone):
    net = searle_state(searle())
    for name, content, message in (
        (
            "keys",
            {"epoch": 1, "model": net},
            "has no known layout: its keys are 'epoch', 'model'; legal: Pic2W",
        ),
        ("type", torch.ones(3), "has no known layout: its keys are 'Tensor'"),
        ("extra", {"Phi": {**net, "gate.weight": torch.ones(2, 2)}}, "unknown layer 'gate'"),
        (
            "less",
            {"Phi": {n: t for n, t in net.items() if n != "layers.3.bias"}},
            "'layers.3.bias' is missing",
        ),
        (
            "gap",
            {
                "Phi": {n: t for n, t in net.items() if ".3." not in n and ".0." not in n}
                | {"layers.0.weight": torch.ones(7, 32), "layers.0.bias": torch.ones(7)}
            },
            "do not follow each other",
        ),
        ("object", {"Phi": net, "where": Path("/tmp")}, "cannot be read as a file of weights"),
    ):
        with pytest.raises(ValueError, match=message):
            load_inversion(save(tmp_path / f"{name}.pt", content))
    whole = save(tmp_path / "whole.pt", {"Phi": net}).read_bytes()
    (tmp_path / "cut.pt").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match="cut.pt cannot be read as a file of weights"):
        load_inversion(tmp_path / "cut.pt")
    with pytest.raises(FileNotFoundError, match="none.pt does not exist"):
        load_inversion(tmp_path / "none.pt")
    wide = save(tmp_path / "wide.pt", {"Phi": searle_state(searle(dim_in=16))})
    with pytest.raises(ValueError, match="maps width 16 to 48; backbone 'tiny' needs 32 to 48"):
        load_inversion(wide, tiny_backbone)


def test_it_is_scored_on_features_as_the_tower_gives_them(tmp_path, tiny_backbone, monkeypatch):
    monkeypatch.setenv("ZSCIR_ARTIFACTS", str(tmp_path / "artifacts"))
    net = searle()
    found = load_inversion(save(tmp_path / "phi.pt", {"Phi": searle_state(net)}), tiny_backbone)
    cirr = load_benchmark("cirr", "pocket-tiny")
    features = query_features(tiny_backbone, cirr, "inversion", found, "searle")
    query = cirr.queries[3]
    with Image.open(cirr.image_path(query.reference)) as image:
        raw = tiny_backbone.model.visual(tiny_backbone.preprocess(image)[None])
    assert raw.norm() != pytest.approx(1, abs=0.05)
    expected = tiny_backbone.encode_composed([f"a photo of * that {query.text[0]}"], net(raw))
    assert torch.allclose(features[3], expected[0], atol=1e-5)
    scores = evaluate(tiny_backbone, cirr, "inversion", found, "searle")
    assert scores.protocol["inversion"].startswith("layout SEARLE or LinCIR, file phi.pt (")


class _Bomb:
    def __reduce__(self):
        return Path.touch, (Path("bomb-went-off"),)


def test_nothing_is_executed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match="holds more than tensors"):
        load_inversion(save(tmp_path / "bomb.pt", {"Phi": _Bomb()}))
    assert not (tmp_path / "bomb-went-off").exists()
