"""Fit the textual inversion network phi on masked pairs.

    config = TrainConfig(pairs="pocket-small", tau=0.3)
    inversion = fit(config)                       # trains once; the second call loads what the first stored
    inversion = load_inversion("path/of/the/artifact")

A training that was stopped, by whatever, goes on from its last checkpoint when it is asked for again. On the
CPU the result is the same, bit for bit. Settings and presets: ``zscir.inversion.config``; several processes:
``zscir.inversion.processes``; what lies on disk: ``zscir.inversion.checkpoints``.
"""

import json
import math
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import asdict, replace
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from zscir.backbone import Backbone, load_backbone
from zscir.inversion.checkpoints import (
    Run,
    State,
    checkpoints,
    fresh_state,
    load_checkpoint,
    provenance,
    resume_state,
    save_state,
)
from zscir.inversion.config import TrainConfig, key_fields
from zscir.inversion.data import TrainData, batches, draw_seed, load_data
from zscir.inversion.fitted import HISTORY, SETTINGS, WEIGHTS, Inversion, load_inversion
from zscir.inversion.log import TrainingLog, as_frame, shown_progress
from zscir.inversion.network import PROMPT, noisy, original_loss, query_target_loss
from zscir.inversion.processes import Processes, SharedTower
from zscir.pairs import Pairs, load_pairs
from zscir.storage import artifact, fingerprint
from zscir.storage.artifacts import is_whole
from zscir.storage.locks import lock
from zscir.storage.paths import artifacts_root

LOG_EVERY = 10


def fit(
    config: TrainConfig,
    *,
    backbone: Backbone | None = None,
    pairs: Pairs | None = None,
    progress: bool = True,
    resume: bool | str | Path = True,
) -> Inversion:
    """phi fitted as ``config`` says, or loaded when an artifact with the same key exists.

    The key holds the settings that matter and the fingerprints of backbone and pairs, so the same data under
    another name is found again. On the CPU one seed gives one phi, bit for bit.

    Args:
        config: the settings.
        backbone: used in place of loading ``config.backbone``.
        pairs: used in place of loading ``config.pairs`` and ``config.limit``, such as pairs with other
            captions (``zscir.pairs.recaptions``).
        progress: show how far it is, on stdout: a bar in terminals and notebooks, else a line now and then.
        resume: True goes on from the last checkpoint of this very training, if there is one; False begins
            anew and removes its checkpoints; a path names the checkpoint.

    Raises:
        ValueError: fewer pairs (or pairs with a noun, where only those count) than ``batch``; true masks
            asked of pairs that have none; a checkpoint that is damaged or of another training.
        FloatingPointError: loss or gradient is not finite; the message names step, rows and last checkpoint.
    """
    processes = Processes()
    if not isinstance(resume, bool):
        load_checkpoint(resume)  # before the pairs are masked
    pairs = pairs or load_pairs(config.pairs, config.limit)
    asked, config = config, _with_steps(config, pairs, processes)
    weights = (config.backbone, config.pretrained, processes.device)
    backbone = backbone or load_backbone(*weights, quick_gelu=config.quick_gelu)
    key = {"backbone": backbone.fingerprint, "pairs": pairs.fingerprint, "config": key_fields(config)}
    run = Run(config, backbone, pairs, processes, fingerprint(key), progress and processes.first)
    folder = artifacts_root() / "inversion" / run.name
    waits = processes.first and not is_whole(folder)
    with lock(run.folder) if waits else nullcontext():  # one training at a time for its checkpoints
        if not processes.agree(is_whole(folder)):
            state = _train(run, resume)
            if processes.first:
                artifact("inversion", key, lambda tmp: _write(tmp, run, state))
            processes.wait()
    return replace(load_inversion(folder, backbone), config=asked)


def _with_steps(config: TrainConfig, pairs: Pairs, processes: Processes) -> TrainConfig:
    """The settings with epochs as steps, once the number of pairs is known."""
    if len(pairs) < config.batch:
        raise ValueError(
            f"batch is {config.batch}, but pairs {pairs.name!r} hold {len(pairs)}; legal: 2 to that"
        )
    if config.batch < processes.count:
        raise ValueError(f"batch is {config.batch}; legal: at least one pair for each of {processes.count}")
    if config.epochs is None:
        return config
    return replace(config, steps=config.epochs * (len(pairs) // config.batch), epochs=None)


def _train(run: Run, resume: bool | str | Path) -> State:
    """The whole training, from the last checkpoint on where there is one."""
    config, processes = run.config, run.processes
    data = load_data(config, run.backbone, run.pairs, processes, run.progress)
    if data.count < config.batch:
        raise ValueError(
            f"batch is {config.batch}, but of pairs {run.pairs.name!r} only {data.count} can be drawn; "
            "legal: 2 to that"
        )
    cuda = [run.backbone.device] if run.backbone.device.type == "cuda" else []
    with torch.random.fork_rng(devices=cuda):
        torch.manual_seed(config.seed)
        state = fresh_state(run)
        state.report = {**data.report, "left_over_per_epoch": data.count % config.batch}
        resume_state(run, state, resume)
        processes.wait()  # before any checkpoint is written that another process could read
        _loop(run, state, data)
    return state


def _loop(run: Run, state: State, data: TrainData) -> None:
    """Step until the last; log and keep checkpoints on the way."""
    config, seen = run.config, 0
    losses_of = _losses(run, data)
    drawn = batches(data.count, config.batch, config.seed, state.step)
    log = TrainingLog(run.folder if run.processes.first else None, state.rows)
    state.phi.train()
    with shown_progress(run.progress, config.steps, state.step) as moved:
        while state.step < config.steps:
            lr = learning_rate(config, state.step)
            state.recent.append(_step(run, state, losses_of, next(drawn), lr))
            seen, last = seen + config.batch, state.step == config.steps
            if state.step % LOG_EVERY == 0 or last:
                means = torch.stack(state.recent).nanmean(dim=0).tolist()
                log.add(state.step, means, lr, seen, run.backbone.device)
                state.recent, seen = [], 0
                moved(state.step, means[0])
            if last or (config.checkpoint_every and state.step % config.checkpoint_every == 0):
                save_state(run, state)


def learning_rate(config: TrainConfig, step: int) -> float:
    """Rate of a step counted from 0: linear rise over ``warmup``, then a cosine towards 0."""
    if step < config.warmup:
        return config.lr * (step + 1) / config.warmup
    done = (step - config.warmup) / max(1, config.steps - config.warmup)
    return config.lr * 0.5 * (1 + math.cos(math.pi * done))


def _step(run: Run, state: State, losses_of: Callable, rows: Tensor, lr: float) -> Tensor:
    """One step of the optimizer; the detached losses [4]: total and its terms (NaN: no share).

    What is drawn in it, such as dropout, depends on seed and step alone: not on the steps before, and not on
    the number of processes.
    """
    config = run.config
    torch.manual_seed(draw_seed(config.seed, state.step))
    for group in state.optimizer.param_groups:
        group["lr"] = lr
    state.optimizer.zero_grad(set_to_none=True)
    with torch.autocast(run.backbone.device.type, torch.bfloat16, enabled=config.precision == "bf16"):
        losses = losses_of(state.phi, rows, state.step)
    losses[0].backward()
    weights = list(state.phi.parameters())
    run.processes.add_gradients(weights)
    norm, losses = nn.utils.clip_grad_norm_(weights, config.clip_norm), losses.detach()
    if not bool((losses[0] + norm).isfinite()):
        raise FloatingPointError(_not_finite(run, state.step + 1, rows, float(losses[0]), float(norm)))
    state.optimizer.step()
    state.step += 1
    _update_mean(state, config.ema)
    return losses


@torch.no_grad()
def _update_mean(state: State, ema: float) -> None:
    """Move the running mean; its decay grows with the steps, so that the start is soon forgotten."""
    decay = min(ema, (1 + state.step) / (10 + state.step))
    for mean, now in zip(state.mean.parameters(), state.phi.parameters(), strict=True):
        mean.lerp_(now, 1 - decay)


def _losses(run: Run, data: TrainData) -> Callable[[nn.Module, Tensor, int], Tensor]:
    """The function that gives the losses [4] of rows: total, original, query-target, self-masking.

    Rows without a masked caption take part in the original loss only.
    """
    config, device = run.config, run.backbone.device
    tower = SharedTower(run.backbone, run.processes)
    prompt = run.backbone.tokenize([PROMPT])
    nan = torch.tensor(math.nan, device=device)

    def losses(phi: nn.Module, rows: Tensor, step: int) -> Tensor:
        places = rows[:0] if data.masked_row is None else data.masked_row[rows]
        has = places >= 0
        targets, inputs = data.features(rows, places[has], step)
        targets, terms = targets.to(device), [nan, nan, nan]
        if config.lam < 1:
            terms[0] = original_loss(tower, phi, targets, prompt, config.loss)
        if config.lam > 0 and has.any():
            inputs, ids, found = inputs.to(device), data.captions[places[has]], targets[has.to(device)]
            inputs = noisy(inputs, config.noise) if config.language_only else inputs
            loss = query_target_loss(tower, phi, inputs, ids, found, config.loss)
            terms[2 if config.language_only else 1] = loss
        shares = (1 - config.lam, config.lam, config.lam)
        total = sum(share * term for share, term in zip(shares, terms, strict=True) if term is not nan)
        return torch.stack([total, *terms])

    return losses


def _not_finite(run: Run, step: int, rows: Tensor, loss: float, norm: float) -> str:
    """What to say when a step gave no number; all rows of its batch are written down."""
    config, ids = run.config, rows.tolist()
    place = run.folder / f"not-finite-step-{step:08d}.json"
    if run.processes.first:
        run.folder.mkdir(parents=True, exist_ok=True)
        place.write_text(json.dumps({"step": step, "loss": repr(loss), "rows": ids}) + "\n", encoding="utf-8")
    kept = checkpoints(run.folder)[-1:]
    return (
        f"the loss is {loss} (length of the gradient {norm}) at step {step} of {config.steps}; rows "
        f"{', '.join(map(str, ids[:8]))}, ... ({len(ids)}, all in {place}); last good checkpoint: "
        f"{kept[0] if kept else 'none yet'}; lower lr ({config.lr}) or clip_norm ({config.clip_norm}), "
        "or use precision='fp32'"
    )


def _write(folder: Path, run: Run, state: State) -> None:
    """phi.safetensors, config.json and history.csv of a training that is done."""
    record = {**run.identity, "report": state.report, **provenance(), "processes": run.processes.count}
    written = {"config": asdict(run.config), "phi": state.mean.settings, "record": record}
    weights = {name: tensor.cpu().contiguous() for name, tensor in state.mean.state_dict().items()}
    save_file(weights, folder / WEIGHTS)
    (folder / SETTINGS).write_text(json.dumps(written, indent=1) + "\n", encoding="utf-8")
    as_frame(state.rows).to_csv(folder / HISTORY, index=False)
