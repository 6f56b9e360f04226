"""What changes while phi is trained, kept on disk whole or not at all, and taken up again.

A checkpoint is a file ``step-00000500.ckpt``, written and read by torch: weights of phi, their running mean,
state of the optimizer, and a record (step, settings, fingerprints of backbone and pairs, history, versions,
git commit). Only tensors and plain values are unpickled, after every part was compared with its checksum.
Batches, dropout, noise and augmentation of a step are drawn from (seed, step) alone, so the step is all the
state that sampler, scheduler and generators have.
"""

import copy
import json
import shutil
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from zscir.backbone import Backbone
from zscir.backbone.weights import weights_hash, zip_entries
from zscir.inversion.config import TrainConfig, key_fields
from zscir.inversion.network import InversionNetwork
from zscir.inversion.processes import Processes
from zscir.pairs import Pairs
from zscir.storage.artifacts import archive_damage, set_aside
from zscir.storage.paths import artifacts_root
from zscir.storage.provenance import git_commit, versions
from zscir.storage.whole import flush_to_disk, written_whole

SUFFIX = ".ckpt"
#: How many checkpoints of a training stay.
KEPT = 2


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


def fresh_state(run: Run) -> State:
    """phi with weights drawn from torch's generator, and nothing learnt."""
    config, backbone = run.config, run.backbone
    settings = {name: getattr(config, name) for name in ("hidden", "depth", "dropout", "activation")}
    phi = InversionNetwork(backbone.dim, backbone.token_width, **settings).to(backbone.device)
    optimizer = torch.optim.AdamW(
        phi.parameters(), lr=config.lr, betas=(0.9, 0.98), weight_decay=config.weight_decay
    )
    return State(phi, copy.deepcopy(phi).eval().requires_grad_(False), optimizer)


def save_state(run: Run, state: State) -> None:
    """A checkpoint of this moment, by the first process."""
    if run.processes.first:
        record = {**run.identity, "config": asdict(run.config), "phi": state.phi.settings}
        record |= {"history": state.rows, "report": state.report, **provenance()}
        parts = {name: getattr(state, name).state_dict() for name in ("phi", "mean", "optimizer")}
        save_checkpoint(run.folder, state.step, {**parts, "recent": state.recent}, record)


def save_checkpoint(folder: Path, step: int, parts: dict[str, Any], record: dict) -> Path:
    """Write ``<folder>/step-<step>.ckpt``, then remove all but the last `KEPT`; the path.

    It is written beside its place, flushed to disk and moved there in one rename, so a process killed at any
    moment leaves the earlier checkpoints whole.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for left in folder.glob(".step-*"):  # by a process that was killed while writing
        left.unlink()
    target = folder / f"step-{step:08d}{SUFFIX}"
    with written_whole(target) as scratch:
        torch.save({**parts, "record": json.dumps({"step": step, **record})}, scratch)
    flush_to_disk(folder)
    for old in checkpoints(folder)[:-KEPT]:
        old.unlink()
    return target


def checkpoints(folder: Path) -> list[Path]:
    """The checkpoints of a folder, earliest first."""
    return sorted(Path(folder).glob(f"step-*{SUFFIX}"), key=lambda path: int(path.stem.removeprefix("step-")))


def load_checkpoint(path: str | Path) -> tuple[dict[str, Any], dict]:
    """Parts (on the CPU) and record of a checkpoint.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is damaged or cut off, or no checkpoint; the message names it.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing: it holds no checkpoint")
    zip_entries(path)  # refuses what would grow
    if trouble := archive_damage(path):
        raise ValueError(
            f"{path} is damaged or cut off: its checksums are not those of its content ({trouble}); remove "
            f"{path} to go on from the checkpoint before it"
        )
    try:
        parts = torch.load(path, map_location="cpu", weights_only=True)
        return parts, json.loads(parts.pop("record"))
    except Exception as error:  # torch's own advice is to believe the file
        raise ValueError(
            f"{path} is no checkpoint of a training, holds code, or is damaged ({type(error).__name__}); "
            f"remove {path} to go on from the checkpoint before it"
        ) from None


def resume_state(run: Run, state: State, resume: bool | str | Path) -> None:
    """Put the state where a checkpoint left it, if one is wanted and there.

    Of its own checkpoints those that are damaged are set aside; it goes on from the one before.

    Raises:
        ValueError: the checkpoint that was asked for is damaged, or of another training.
    """
    if resume is False:
        if run.processes.first:
            shutil.rmtree(run.folder, ignore_errors=True)
        return
    found = [Path(resume)] if resume is not True else _last_whole(run.folder) if run.processes.first else []
    for path in run.processes.agree(found):
        parts, record = load_checkpoint(path)
        _require_same(path, record, run)
        for name in ("phi", "mean", "optimizer"):
            getattr(state, name).load_state_dict(parts[name])
        state.step, state.rows = record["step"], record["history"]
        state.recent = [losses.to(run.backbone.device) for losses in parts["recent"]]
        if run.progress:
            print(f"resumed at step {state.step} of {run.config.steps} ({path.name})", flush=True)


def _last_whole(folder: Path) -> list[Path]:
    """The last checkpoint that is not damaged, alone, or nothing; later ones are set aside."""
    for path in reversed(checkpoints(folder)):
        try:
            load_checkpoint(path)
            return [path]
        except ValueError:
            set_aside(path, archive_damage(path) or "no checkpoint that can be read")
    return []


def _require_same(path: Path, record: dict, run: Run) -> None:
    """Raise ValueError unless a checkpoint belongs to the training that wants to go on with it."""
    for part, ours in run.identity.items():
        theirs = record[part]
        if ours["fingerprint"] != theirs["fingerprint"]:
            raise ValueError(
                f"{path} was trained with {part} {theirs['name']!r} ({theirs['fingerprint']}), not with "
                f"{ours['name']!r} ({ours['fingerprint']})"
            )
    ours, theirs = key_fields(run.config), key_fields(TrainConfig(**record["config"]))
    if names := [name for name in {**ours, **theirs} if ours.get(name) != theirs.get(name)]:
        said = ", ".join(f"{name} {theirs.get(name)!r}, not {ours.get(name)!r}" for name in sorted(names))
        raise ValueError(f"{path} was trained with {said}")


def provenance() -> dict:
    """Versions of what computes, and the commit of the checkout ("-dirty" when files differ from it)."""
    names = ("torch", "open_clip_torch", "numpy", "safetensors")
    return {"versions": versions(names), "git_commit": git_commit()}
