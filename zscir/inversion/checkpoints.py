"""The state of a training on disk: whole or not at all, checked when read, nothing unpickled.

A checkpoint is a folder ``step-00000500`` with ``state.safetensors`` (weights of phi, their running mean,
moments of the optimizer) and ``state.json`` (step, settings, fingerprints of backbone and pairs, history,
versions, git commit, and the SHA-256 of the tensors). Batches, dropout, noise and augmentation of a step are
drawn from (seed, step) alone, so the step is all the state that sampler, scheduler and generators have.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from zscir.storage.provenance import git_commit, versions
from zscir.storage.whole import flush_to_disk, whole_folder

TENSORS, RECORD = "state.safetensors", "state.json"


def save_checkpoint(folder: Path, step: int, tensors: dict[str, Tensor], record: dict, keep: int) -> Path:
    """Write ``<folder>/step-<step>``, then remove all but the last ``keep``; the path.

    It is written beside its place, flushed to disk and moved there in one rename, so a process killed at any
    moment leaves the earlier checkpoints whole.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for left in folder.glob(".step-*"):  # by a process that was killed while writing
        shutil.rmtree(left, ignore_errors=True)
    target = folder / f"step-{step:08d}"
    with whole_folder(target) as scratch:
        save_file({name: one.detach().cpu().contiguous() for name, one in tensors.items()}, scratch / TENSORS)
        digest = _sha256(scratch / TENSORS)
        text = json.dumps({"step": step, **record, "sha256": digest}, indent=1) + "\n"
        (scratch / RECORD).write_text(text, encoding="utf-8")
        for path in (scratch / TENSORS, scratch / RECORD, scratch):
            flush_to_disk(path)
    flush_to_disk(folder)
    for old in checkpoints(folder)[:-keep]:
        shutil.rmtree(old)
    return target


def checkpoints(folder: Path) -> list[Path]:
    """The checkpoints of a folder, earliest first."""
    found = [path for path in Path(folder).glob("step-*") if re.fullmatch(r"step-\d{8,}", path.name)]
    return sorted(found, key=lambda path: int(path.name.removeprefix("step-")))


def is_checkpoint(path: Path) -> bool:
    """Whether a folder looks like a checkpoint, whole or damaged."""
    return (path / RECORD).is_file() or (path / TENSORS).is_file()


def load_checkpoint(path: str | Path) -> tuple[dict[str, Tensor], dict]:
    """Tensors and record of a checkpoint.

    Raises:
        FileNotFoundError: the folder or one of its files is missing.
        ValueError: a file is damaged or cut off; the message names it.
    """
    path = Path(path)
    if missing := [name for name in (TENSORS, RECORD) if not (path / name).is_file()]:
        raise FileNotFoundError(f"{path} holds no checkpoint: missing {', '.join(missing)}")
    record = read_json(path / RECORD)
    if _sha256(path / TENSORS) != record.get("sha256"):
        raise ValueError(
            f"{path / TENSORS} is damaged or cut off: its SHA-256 is not the one in {RECORD}; remove {path} "
            "to go on from the checkpoint before it"
        )
    return read_tensors(path / TENSORS), record


def require_same(path: Path, record: dict, expected: dict) -> None:
    """Raise ValueError unless a checkpoint belongs to the training that wants to go on with it.

    Args:
        path: for the message.
        record: of the checkpoint.
        expected: ``backbone``, ``pairs`` and ``config`` as in the record.
    """
    for part in ("backbone", "pairs"):
        ours, theirs = expected[part], record[part]
        if ours["fingerprint"] != theirs["fingerprint"]:
            raise ValueError(
                f"{path} was trained with {part} {theirs['name']!r} ({theirs['fingerprint']}), not with "
                f"{ours['name']!r} ({ours['fingerprint']})"
            )
    ours, theirs = expected["config"], record["config"]
    names = [name for name in {**ours, **theirs} if ours.get(name) != theirs.get(name)]
    if names:
        said = ", ".join(f"{name} {theirs.get(name)!r}, not {ours.get(name)!r}" for name in sorted(names))
        raise ValueError(f"{path} was trained with {said}")


def read_json(path: Path) -> dict:
    """A JSON object. Raises ValueError naming the file when it is damaged."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is damaged or cut off: {error}") from error
    if not isinstance(found, dict):
        raise ValueError(f"{path} is damaged: it holds no JSON object")
    return found


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Tensors of a safetensors file. Raises ValueError naming the file when it is damaged."""
    try:
        return load_file(path)
    except SafetensorError as error:
        raise ValueError(f"{path} is damaged or cut off: {error}") from error


def provenance() -> dict:
    """Versions of what computes, and the commit of the checkout ("-dirty" when files differ from it)."""
    names = ("torch", "open_clip_torch", "numpy", "safetensors")
    return {"versions": versions(names), "git_commit": git_commit()}


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
