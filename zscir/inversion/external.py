"""Networks that others published, read into our `InversionNetwork`: Pic2Word's, SEARLE's and LinCIR's.

    inversion = load_inversion("epoch_30.pt", backbone)              # reads them through here
    evaluate(backbone, benchmark, "inversion", inversion, prompt="searle")

The layouts are told apart by their keys:

* Pic2Word (Saito et al., CVPR 2023): ``state_dict_img2text`` with ``layers.0.0``, ``layers.1.0`` and
  ``fc_out``, each name after ``module.`` when it was trained in several processes;
* SEARLE (Baldrati et al., ICCV 2023) and LinCIR (Gu et al., CVPR 2024): ``Phi`` with ``layers.0``,
  ``layers.3`` and ``layers.6``.

All of them were trained on CLIP's features as they come, not of length 1: ``unit_input`` is False, and
``zscir.retrieval`` gives them such features.
"""

import re
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from zscir.backbone.weights import zip_entries
from zscir.inversion.network import InversionNetwork
from zscir.storage.artifacts import archive_damage
from zscir.storage.contents import content_hash

#: Layout -> key of the weights in the file, pattern of its linear layers' names, other settings.
LAYOUTS: dict[str, tuple[str, str, dict]] = {
    "Pic2Word": ("state_dict_img2text", r"layers\.\d+\.0|fc_out", {"activation": "relu", "dropout": 0.1}),
    "SEARLE or LinCIR": ("Phi", r"layers\.\d+", {"activation": "gelu", "dropout": 0.5}),
}


@dataclass(frozen=True)
class Published:
    """Where a network came from that was not trained here; stands where ``Inversion.config`` would.

    ``layout`` is a key of `LAYOUTS`, ``file`` the name of the file and ``sha256`` its content's hash.
    """

    layout: str
    file: str
    sha256: str


def read_published(path: Path) -> tuple[InversionNetwork, Published]:
    """The network of a published ``.pt`` file and its origin; only tensors and plain values are unpickled.

    Raises:
        FileNotFoundError: no such file.
        ValueError: it is damaged, holds other objects than tensors, or has none of the known layouts.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist")
    zip_entries(path)  # refuses what would grow
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # damaged bytes can raise anything
        reason = str(error).strip().splitlines()
        raise ValueError(
            f"{path} cannot be read as a file of weights (damaged, or it holds more than tensors): "
            f"{reason[0] if reason else type(error).__name__}"
        ) from error
    with path.open("rb") as stream:
        archive = stream.read(2) == b"PK"  # before PyTorch 1.6 files were none, without checksums
    if archive and (trouble := archive_damage(path)):
        raise ValueError(f"{path} is damaged: {trouble}; fetch it again")
    keys = list(found) if isinstance(found, dict) else [type(found).__name__]
    for layout, (key, pattern, settings) in LAYOUTS.items():
        if key in keys and _are_tensors(found[key]):
            phi = _network(path, found[key], pattern, settings)
            return phi, Published(layout, path.name, content_hash(path))
    known = "; ".join(f"{layout} has {key!r}" for layout, (key, _, _) in LAYOUTS.items())
    shown = ", ".join(map(repr, keys[:5]))
    raise ValueError(f"{path} has no known layout: its keys are {shown}; legal: {known}")


def _are_tensors(state: object) -> bool:
    """Whether it is a dict of names and matrices or vectors."""
    return isinstance(state, dict) and all(
        isinstance(name, str) and isinstance(one, Tensor) and one.ndim in (1, 2)
        for name, one in state.items()
    )


def _network(path: Path, state: dict[str, Tensor], pattern: str, settings: dict) -> InversionNetwork:
    """phi with the linear layers of ``state`` in their order."""
    state = {name.removeprefix("module."): tensor for name, tensor in state.items()}
    names = {name.rpartition(".")[0] for name in state}
    if wrong := sorted(name for name in names if not re.fullmatch(pattern, name)):
        raise ValueError(f"{path}: unknown layer {wrong[0]!r} among the weights")
    order = sorted(names, key=lambda name: [int(one) for one in re.findall(r"\d+", name)] or [len(names)])
    wanted = [f"{name}.{part}" for name in order for part in ("weight", "bias")]
    if missing := [name for name in wanted if name not in state]:
        raise ValueError(f"{path}: {missing[0]!r} is missing among the weights")
    weights = [state[f"{name}.weight"] for name in order]
    outs, ins = [len(one) for one in weights], [one.shape[1] for one in weights]
    if not weights or outs[:-1] != ins[1:] or len(set(outs[:-1])) > 1:
        sizes = ", ".join(f"{name} {list(one.shape)}" for name, one in zip(order, weights, strict=True))
        raise ValueError(f"{path}: these layers do not follow each other: {sizes or 'none'}")
    hidden = outs[0] if len(outs) > 1 else None
    phi = InversionNetwork(ins[0], outs[-1], hidden, depth=len(outs), unit_input=False, **settings)
    linear = [name for name, module in phi.named_modules() if isinstance(module, nn.Linear)]
    ours = [f"{name}.{part}" for name in linear for part in ("weight", "bias")]
    phi.load_state_dict({name: state[theirs] for name, theirs in zip(ours, wanted, strict=True)})
    return phi
