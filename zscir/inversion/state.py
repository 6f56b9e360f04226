"""What changes while phi is trained, how it is kept in checkpoints, and how it is taken up again."""

from __future__ import annotations

import copy
import math
import shutil
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from zscir.backbone import Backbone
from zscir.backbone.weights import weights_hash
from zscir.inversion.checkpoints import (
    checkpoints,
    load_checkpoint,
    provenance,
    require_same,
    save_checkpoint,
)
from zscir.inversion.config import TrainConfig, key_fields
from zscir.inversion.network import InversionNetwork
from zscir.inversion.processes import Processes
from zscir.pairs import Pairs
from zscir.storage.paths import artifacts_root


@dataclass
class Run:
    """What a training needs and does not change; ``name`` is its fingerprint."""

    config: TrainConfig
    backbone: Backbone
    pairs: Pairs
    processes: Processes
    name: str
    progress: bool

    @property
    def folder(self) -> Path:
        """Where checkpoints and log of this training lie."""
        return artifacts_root() / "inversion-checkpoints" / self.name

    @cached_property
    def identity(self) -> dict:
        """Names and fingerprints of backbone and pairs."""
        backbone = {"name": self.backbone.name, "fingerprint": self.backbone.fingerprint}
        backbone["weights"] = weights_hash(self.backbone.model)
        return {
            "backbone": backbone,
            "pairs": {"name": self.pairs.name, "fingerprint": self.pairs.fingerprint},
        }


@dataclass
class State:
    """All that changes while training; what a checkpoint holds."""

    phi: InversionNetwork
    mean: InversionNetwork
    optimizer: torch.optim.Optimizer
    step: int = 0
    rows: list[list] = field(default_factory=list)  # of the log
    recent: list[Tensor] = field(default_factory=list)  # losses since the last row
    report: dict = field(default_factory=dict)

    def tensors(self) -> dict[str, Tensor]:
        """Weights, their mean and the optimizer's moments by name."""
        named = {f"phi.{name}": one for name, one in self.phi.state_dict().items()}
        named |= {f"mean.{name}": one for name, one in self.mean.state_dict().items()}
        for number, moments in self.optimizer.state_dict()["state"].items():
            named |= {f"optimizer.{number}.{name}": one for name, one in moments.items()}
        return named

    def restore(self, tensors: dict[str, Tensor], record: dict) -> None:
        """Take over what a checkpoint holds."""
        moments: dict[int, dict] = {}
        for name, one in tensors.items():
            if name.startswith("optimizer."):
                _, number, kind = name.split(".")
                moments.setdefault(int(number), {})[kind] = one
        for part, net in (("phi.", self.phi), ("mean.", self.mean)):
            net.load_state_dict({n.removeprefix(part): t for n, t in tensors.items() if n.startswith(part)})
        groups = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({"state": moments, "param_groups": groups})
        self.step, self.rows = record["step"], record["history"]
        device = next(self.phi.parameters()).device
        self.recent = [torch.tensor(losses, device=device) for losses in record["recent"]]


def fresh_state(run: Run) -> State:
    """phi with weights drawn from torch's generator, and nothing learnt."""
    config, backbone = run.config, run.backbone
    settings = {name: getattr(config, name) for name in ("hidden", "depth", "dropout", "activation")}
    phi = InversionNetwork(backbone.dim, backbone.token_width, **settings).to(backbone.device)
    optimizer = torch.optim.AdamW(
        phi.parameters(), lr=config.lr, betas=(0.9, 0.98), weight_decay=config.weight_decay
    )
    return State(phi, copy.deepcopy(phi).eval().requires_grad_(False), optimizer)


def resume_state(run: Run, state: State, resume: bool | str | Path) -> None:
    """Put the state where a checkpoint left it, if one is wanted and there."""
    if resume is False:
        if run.processes.first:
            shutil.rmtree(run.folder, ignore_errors=True)
        return
    found = checkpoints(run.folder)[-1:] if resume is True else [Path(resume)]
    for path in run.processes.agree(found):
        tensors, record = load_checkpoint(path)
        ours = {**run.identity, "config": key_fields(run.config)}
        require_same(path, {**record, "config": key_fields(TrainConfig(**record["config"]))}, ours)
        state.restore(tensors, record)
        if run.progress:
            print(f"resumed at step {state.step} of {run.config.steps} ({path.name})", flush=True)


def save_state(run: Run, state: State) -> None:
    """A checkpoint of this moment, by the first process."""
    if run.processes.first:
        record = {
            **run.identity,
            "config": asdict(run.config),
            "phi": state.phi.settings,
            "history": state.rows,
        }
        record |= {"recent": [losses.tolist() for losses in state.recent], "report": state.report}
        record |= provenance()
        save_checkpoint(run.folder, state.step, state.tensors(), record, run.config.keep_checkpoints)


def learning_rate(config: TrainConfig, step: int) -> float:
    """Rate of a step counted from 0: linear rise over ``warmup``, then a cosine towards 0."""
    if step < config.warmup:
        return config.lr * (step + 1) / config.warmup
    done = (step - config.warmup) / max(1, config.steps - config.warmup)
    return config.lr * 0.5 * (1 + math.cos(math.pi * done))


@torch.no_grad()
def update_mean(state: State, ema: float) -> None:
    """Move the running mean; its decay grows with the steps, so that the start is soon forgotten."""
    decay = min(ema, (1 + state.step) / (10 + state.step))
    for mean, now in zip(state.mean.parameters(), state.phi.parameters(), strict=True):
        mean.lerp_(now, 1 - decay)
