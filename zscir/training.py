"""Fit the textual inversion network phi on masked pairs.

    config = TrainConfig(pairs="pocket-small", tau=0.3)
    inversion = fit(config)                       # trains once; the second call loads what the first stored
    inversion = load_inversion("path/of/the/artifact")

The settings and presets: ``zscir.train_config``.
"""

from __future__ import annotations

import copy
import json
import math
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import pandas as pd
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from tqdm import tqdm

from zscir.artifacts import artifact, is_whole
from zscir.backbone import Backbone, load_backbone
from zscir.inversion import PROMPT, InversionNetwork, original_loss, query_target_loss
from zscir.pairs import Pairs, build_masked_pairs, image_features, load_pairs, readable_rows
from zscir.train_config import MASKING_FIELDS, PRESETS, TrainConfig, key_fields

__all__ = ["PRESETS", "Inversion", "TrainConfig", "fit", "load_inversion"]

LOG_EVERY = 10


@dataclass
class Inversion:
    """A fitted phi (eval mode, on the CPU until moved) and how it came to be.

    ``history`` has one row for every ten steps: ``step``, the means over those steps of ``loss``,
    ``original`` and ``query_target`` (NaN for a loss without share), and ``lr``. ``record`` says which
    backbone and pairs (names and fingerprints) it was fitted on, with the report of the masked pairs.
    ``path`` is its folder.
    """

    phi: InversionNetwork
    config: TrainConfig
    history: pd.DataFrame
    record: dict = field(repr=False)
    path: Path


def fit(config: TrainConfig, *, backbone: Backbone | None = None, progress: bool = True) -> Inversion:
    """phi fitted as ``config`` says, or loaded when an artifact with the same key exists.

    The key holds the settings that matter and the fingerprints of backbone and pairs, so the same data under
    another name is found again. On the CPU one seed gives one phi, bit for bit.

    Args:
        config: the settings.
        backbone: used in place of loading ``config.backbone``.
        progress: show progress bars on stdout, where that is a terminal.

    Raises:
        ValueError: fewer pairs than ``config.batch`` (or fewer with a noun, where only those count), no pair
            with a noun, or true masks asked of pairs that have none.
        FloatingPointError: the loss is not finite; the message names the step.
    """
    pairs = load_pairs(config.pairs, config.limit)
    if len(pairs) < config.batch:
        raise ValueError(
            f"batch is {config.batch}, but pairs {pairs.name!r} hold {len(pairs)}; legal: 2 to that"
        )
    backbone = backbone or load_backbone(config.backbone, config.pretrained)
    key = {"backbone": backbone.fingerprint, "pairs": pairs.fingerprint, "config": key_fields(config)}
    folder = artifact("inversion", key, lambda tmp: _train_into(tmp, config, backbone, pairs, progress))
    return replace(load_inversion(folder, backbone), config=config)


@dataclass
class _Data:
    """What batches are cut from, on the CPU; P pairs, M of them masked."""

    features: Tensor  # [P, D] whole images
    masked: Tensor | None  # [M, D] masked images, None when lam is 0
    captions: Tensor | None  # [M, L] token ids of masked captions
    masked_row: Tensor | None  # [P] row in `masked`, -1 for a pair without one
    report: dict


def _data(config: TrainConfig, backbone: Backbone, pairs: Pairs, progress: bool) -> _Data:
    if config.lam == 0:
        features = image_features(backbone, pairs, progress=progress)
        good = readable_rows(features)
        features = features if len(good) == len(features) else features[good]  # else it stays on disk
        return _Data(features, None, None, None, {"pairs": len(pairs)})
    settings = {name: getattr(config, name) for name in MASKING_FIELDS}
    made = build_masked_pairs(backbone, pairs, **settings, seed=config.seed, progress=progress)
    needed = config.batch if config.lam == 1 else 1
    if len(made.rows) < needed:
        raise ValueError(f"pairs {pairs.name!r}: {needed} masked pairs needed, found {made.report}")
    captions = backbone.tokenize(made.masked_captions)
    if config.lam == 1:  # pairs without a noun would take part in nothing
        every = torch.arange(len(made.rows))
        return _Data(made.image_features, made.masked_features, captions, every, made.report)
    masked_row = torch.full((len(pairs),), -1)
    masked_row[made.rows] = torch.arange(len(made.rows))
    features = image_features(backbone, pairs, progress=progress)
    good = readable_rows(features)
    if len(good) < len(features):
        features, masked_row = features[good], masked_row[good]
    return _Data(features, made.masked_features, captions, masked_row, made.report)


@dataclass
class _State:
    """All that changes while training; what a checkpoint would hold."""

    phi: InversionNetwork
    mean: InversionNetwork
    optimizer: torch.optim.Optimizer
    step: int = 0


def _train_into(folder: Path, config: TrainConfig, backbone: Backbone, pairs: Pairs, progress: bool):
    """Train and write phi.safetensors, config.json and history.csv."""
    data = _data(config, backbone, pairs, progress)
    if len(data.features) < config.batch:  # unreadable images are left out
        left = len(data.features)
        raise ValueError(f"batch is {config.batch}, but of pairs {pairs.name!r} only {left} can be read")
    cuda = [backbone.device] if backbone.device.type == "cuda" else []
    with torch.random.fork_rng(devices=cuda):
        torch.manual_seed(config.seed)
        state = _fresh_state(config, backbone)
        history = _train(state, config, backbone, data, progress)
    record = {
        "backbone": {"name": backbone.name, "fingerprint": backbone.fingerprint},
        "pairs": {"name": pairs.name, "fingerprint": pairs.fingerprint},
        "report": data.report,
    }
    written = {"config": asdict(config), "phi": state.mean.settings, "record": record}
    weights = {name: tensor.cpu().contiguous() for name, tensor in state.mean.state_dict().items()}
    save_file(weights, folder / "phi.safetensors")
    (folder / "config.json").write_text(json.dumps(written, indent=1) + "\n", encoding="utf-8")
    history.to_csv(folder / "history.csv", index=False)


def _fresh_state(config: TrainConfig, backbone: Backbone) -> _State:
    phi = InversionNetwork(
        backbone.dim, backbone.token_width, config.hidden, depth=config.depth, dropout=config.dropout
    ).to(backbone.device)
    optimizer = torch.optim.AdamW(
        phi.parameters(), lr=config.lr, betas=(0.9, 0.98), weight_decay=config.weight_decay
    )
    return _State(phi, copy.deepcopy(phi).eval().requires_grad_(False), optimizer)


def _train(
    state: _State, config: TrainConfig, backbone: Backbone, data: _Data, progress: bool
) -> pd.DataFrame:
    prompt = backbone.tokenize([PROMPT])
    shown = progress and sys.stdout.isatty()
    batches = _batches(len(data.features), config.batch, config.seed, state.step)
    rows, recent = [], []
    state.phi.train()
    for _ in tqdm(range(state.step, config.steps), "training phi", file=sys.stdout, disable=not shown):
        lr = _learning_rate(config, state.step)
        for group in state.optimizer.param_groups:
            group["lr"] = lr
        losses = _step(state, config, backbone, data, prompt, next(batches))
        recent.append(losses)
        if state.step % LOG_EVERY == 0 or state.step == config.steps:
            means = torch.stack(recent).nanmean(dim=0).tolist()
            rows.append((state.step, *means, lr))
            recent = []
    return pd.DataFrame(rows, columns=["step", "loss", "original", "query_target", "lr"])


def _step(
    state: _State, config: TrainConfig, backbone: Backbone, data: _Data, prompt: Tensor, batch: Tensor
) -> Tensor:
    """One step of the optimiser; the detached losses [3]: total, original, query-target (NaN: no share)."""
    with torch.autocast(backbone.device.type, torch.bfloat16, enabled=config.precision == "bf16"):
        losses = _losses(state.phi, config, backbone, data, prompt, batch)
    if not bool(losses[0].isfinite()):
        raise FloatingPointError(
            f"the loss is {losses[0].item()} at step {state.step + 1} of {config.steps}; "
            f"lower lr ({config.lr}) or clip_norm ({config.clip_norm}), or use precision='fp32'"
        )
    state.optimizer.zero_grad(set_to_none=True)
    losses[0].backward()
    nn.utils.clip_grad_norm_(state.phi.parameters(), config.clip_norm)
    state.optimizer.step()
    state.step += 1
    _update_mean(state, config.ema)
    return torch.stack([loss.detach() for loss in losses])


def _losses(
    phi: nn.Module, config: TrainConfig, backbone: Backbone, data: _Data, prompt: Tensor, batch: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Total, original and query-target loss of a batch of pairs.

    Pairs without a masked counterpart take part in the original loss only.
    """
    images = data.features[batch].to(backbone.device)
    nan = torch.tensor(math.nan, device=backbone.device)
    total, original, query_target = torch.zeros((), device=backbone.device), nan, nan
    if config.lam < 1:
        original = original_loss(backbone, phi, images, prompt)
        total = total + (1 - config.lam) * original
    if config.lam > 0:
        rows = data.masked_row[batch]
        has = rows >= 0
        if has.any():
            masked = data.masked[rows[has]].to(backbone.device)
            query_target = query_target_loss(backbone, phi, masked, data.captions[rows[has]], images[has])
            total = total + config.lam * query_target
    return total, original, query_target


def _batches(count: int, batch: int, seed: int, first: int = 0) -> Iterator[Tensor]:
    """Rows [batch] of step ``first`` onwards, without end; every epoch is shuffled by (seed, epoch) alone."""
    per_epoch = count // batch
    step = first
    while True:
        epoch, place = divmod(step, per_epoch)
        if place == 0 or step == first:
            generator = torch.Generator().manual_seed(seed * 1_000_003 + epoch)
            order = torch.randperm(count, generator=generator)
        yield order[place * batch : (place + 1) * batch]
        step += 1


def _learning_rate(config: TrainConfig, step: int) -> float:
    """Rate of a step counted from 0: linear rise over ``warmup``, then a cosine towards 0."""
    if step < config.warmup:
        return config.lr * (step + 1) / config.warmup
    done = (step - config.warmup) / max(1, config.steps - config.warmup)
    return config.lr * 0.5 * (1 + math.cos(math.pi * done))


@torch.no_grad()
def _update_mean(state: _State, ema: float):
    """Move the running mean; its decay grows with the steps, so that the start is soon forgotten."""
    decay = min(ema, (1 + state.step) / (10 + state.step))
    for mean, now in zip(state.mean.parameters(), state.phi.parameters(), strict=True):
        mean.lerp_(now, 1 - decay)


def load_inversion(path: str | Path, backbone: Backbone | None = None) -> Inversion:
    """A fitted phi from its artifact folder.

    Args:
        path: the folder that ``fit`` stored.
        backbone: when given, phi is moved to its device, and its widths must fit.

    Raises:
        FileNotFoundError: the folder, or one of its files, is missing.
        ValueError: the weights do not have the sizes that config.json says, or do not fit the backbone.
    """
    path = Path(path)
    missing = [f for f in ("phi.safetensors", "config.json", "history.csv") if not (path / f).is_file()]
    if missing or not is_whole(path):
        raise FileNotFoundError(
            f"{path} holds no whole inversion: missing {', '.join(missing or ['key.json'])}"
        )
    written = json.loads((path / "config.json").read_text(encoding="utf-8"))
    with torch.device("meta"):  # only the sizes: nothing is drawn
        phi = InversionNetwork(**written["phi"])
    weights = load_file(path / "phi.safetensors")
    expected = {name: tuple(tensor.shape) for name, tensor in phi.state_dict().items()}
    found = {name: tuple(tensor.shape) for name, tensor in weights.items()}
    if found != expected:
        raise ValueError(f"{path / 'phi.safetensors'} has sizes {found}; config.json says {expected}")
    if backbone is not None:
        _check_widths(path, written["phi"], backbone)
    phi.load_state_dict(weights, assign=True)
    phi = phi.to(backbone.device if backbone is not None else "cpu")
    history = pd.read_csv(path / "history.csv")
    config = TrainConfig(**written["config"])
    return Inversion(phi.eval().requires_grad_(False), config, history, written["record"], path)


def _check_widths(path: Path, settings: dict, backbone: Backbone):
    widths = (settings["dim_in"], settings["dim_out"])
    if widths != (backbone.dim, backbone.token_width):
        raise ValueError(
            f"{path} maps width {widths[0]} to {widths[1]}; backbone {backbone.name!r} needs "
            f"{backbone.dim} to {backbone.token_width}"
        )
