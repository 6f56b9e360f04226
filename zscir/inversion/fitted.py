"""A fitted phi and where it came from: from an artifact of ``fit``, a checkpoint, or a published file."""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

import pandas as pd
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from zscir.backbone import Backbone
from zscir.backbone.weights import weights_hash
from zscir.inversion.checkpoints import SUFFIX, load_checkpoint
from zscir.inversion.config import TrainConfig
from zscir.inversion.external import Published, read_published
from zscir.inversion.log import as_frame
from zscir.inversion.network import InversionNetwork
from zscir.storage.artifacts import KEY_FILE, damage

WEIGHTS, SETTINGS, HISTORY = "phi.safetensors", "config.json", "history.csv"


@dataclass
class Inversion:
    """A fitted phi (eval mode, on the CPU until moved) and how it came to be.

    ``history`` has one row for every ten steps: ``step``, the means over those steps of ``loss`` and its
    terms ``original``, ``query_target`` and ``self_masking`` (NaN for a term without share), ``lr``,
    ``pairs_per_second`` and ``memory_mib``; none for a published network, whose ``config`` is a `Published`.
    ``record`` says which backbone and pairs (names and fingerprints) it was fitted on, with the report of the
    masked pairs, versions and git commit. ``path`` is its folder or file.
    """

    phi: InversionNetwork
    config: TrainConfig | Published
    history: pd.DataFrame
    record: dict = field(repr=False)
    path: Path


def load_inversion(path: str | Path, backbone: Backbone | None = None) -> Inversion:
    """A fitted phi from disk.

    Args:
        path: the folder that ``fit`` stored; or one of its checkpoints (the running mean of the weights so
            far); or the ``.pt`` file of a published network, see ``zscir.inversion.external``.
        backbone: when given, phi is moved to its device, and its widths must fit. A network that was fitted
            here must also have been fitted to these very weights.

    Raises:
        FileNotFoundError: the folder, or one of its files, is missing.
        ValueError: a file is damaged, cut off, or has an unknown layout; the weights do not have the sizes
            that config.json says; or they do not fit the backbone.
    """
    path = Path(path).expanduser()
    if path.suffix == SUFFIX:
        found = _from_checkpoint(path)
    elif path.is_file() or path.suffix in (".pt", ".pth", ".bin"):
        phi, origin = read_published(path)
        found = Inversion(phi, origin, as_frame([]), {"published": asdict(origin)}, path)
    else:
        found = _from_artifact(path)
    if backbone is not None:
        _check_backbone(path, found, backbone)
        found.phi.to(backbone.device)
    found.phi.eval().requires_grad_(False)
    return found


def _from_artifact(path: Path) -> Inversion:
    missing = [name for name in (WEIGHTS, SETTINGS, HISTORY, KEY_FILE) if not (path / name).is_file()]
    if missing:
        raise FileNotFoundError(f"{path} holds no whole inversion: missing {', '.join(missing)}")
    written = _read(path / SETTINGS, lambda file: json.loads(file.read_text(encoding="utf-8")))
    phi = _network(path / WEIGHTS, written["phi"], _read(path / WEIGHTS, load_file), SETTINGS)
    history = pd.read_csv(path / HISTORY)
    if trouble := damage(path):
        raise ValueError(f"{path} is damaged: {trouble}; the same training computes it anew")
    return Inversion(phi, TrainConfig(**written["config"]), history, written["record"], path)


def _from_checkpoint(path: Path) -> Inversion:
    parts, record = load_checkpoint(path)
    phi = _network(path, record["phi"], parts["mean"], "its record")
    kept = {name: record[name] for name in ("step", "backbone", "pairs", "report", "versions", "git_commit")}
    return Inversion(phi, TrainConfig(**record["config"]), as_frame(record["history"]), kept, path)


def _read(path: Path, reader: Callable[[Path], dict]) -> dict:
    """What a reader finds in a file. Raises ValueError naming the file when it is damaged."""
    try:
        found = reader(path)
    except (ValueError, SafetensorError) as error:
        raise ValueError(f"{path} is damaged or cut off: {error}") from error
    if not isinstance(found, dict):
        raise ValueError(f"{path} is damaged: it holds no JSON object")
    return found


def _network(path: Path, settings: dict, weights: dict[str, Tensor], where: str) -> InversionNetwork:
    """phi of these settings and weights; ``path`` and ``where`` the settings stand are named in errors."""
    with torch.device("meta"):  # only the sizes: nothing is drawn
        phi = InversionNetwork(**settings)
    expected = {name: tuple(tensor.shape) for name, tensor in phi.state_dict().items()}
    found = {name: tuple(tensor.shape) for name, tensor in weights.items()}
    if found != expected:
        raise ValueError(f"{path} has sizes {found}; {where} says {expected}")
    phi.load_state_dict(weights, assign=True)
    return phi


def _check_backbone(path: Path, found: Inversion, backbone: Backbone):
    settings = found.phi.settings
    widths = (settings["dim_in"], settings["dim_out"])
    if widths != (backbone.dim, backbone.token_width):
        raise ValueError(
            f"{path} maps width {widths[0]} to {widths[1]}; backbone {backbone.name!r} needs "
            f"{backbone.dim} to {backbone.token_width}"
        )
    fitted = found.record.get("backbone")
    if fitted is None or fitted["fingerprint"] == backbone.fingerprint:
        return
    if fitted["weights"] != weights_hash(backbone.model):  # other precision or CAM layers do not matter
        raise ValueError(
            f"{path} was fitted to backbone {fitted['name']!r} ({fitted['fingerprint']}), not to "
            f"{backbone.name!r} ({backbone.fingerprint})"
        )
