"""Masked pairs made by the workers of a Dask cluster: each is given shards, and stores them as all do.

zscir pairs /data/cc3m --scheduler tcp://10.0.0.1:8786 --backbone ViT-L-14 --pretrained openai --out masked

The workers write to the artifacts of the one who asks, so that folder and the pairs must lie on a disk that
all machines share. What is stored is not made again, by whomever.
"""

import os
import sys
from collections.abc import Sequence
from functools import lru_cache, partial
from glob import glob
from tempfile import NamedTemporaryFile
from typing import Any

from zscir.backbone import Backbone, load_backbone
from zscir.pairs.build import fill_layers
from zscir.pairs.features import shard_count
from zscir.pairs.masking import Masking
from zscir.pairs.sources import Pairs, load_pairs
from zscir.storage.outcomes import Point, SweepError
from zscir.storage.paths import artifacts_root
from zscir.storage.provenance import variables

#: Shards a task.
TASK = 8


def fill_on_workers(
    scheduler: str,
    network: Backbone,
    found: Pairs,
    masking: Masking,
    *,
    pairs: Sequence[Any],
    backbone: Sequence[Any],
    **work: Any,
) -> None:
    """Let the workers of a Dask cluster make what `zscir.pairs.build_masked_pairs` then finds.

    Args:
        scheduler: address of its scheduler. The workers must have this library; each computes where
            `zscir.backbone.load_backbone` does by default, so start one for each GPU that it alone sees.
        network, found, masking, work: as `zscir.pairs.build_masked_pairs` takes them.
        pairs, backbone: what a worker loads them by: arguments of `zscir.pairs.load_pairs`, and name, weights
            and activation of `zscir.backbone.load_backbone`.

    Raises:
        SweepError: no scheduler answers, workers see other files, or shards failed, each with its message.
            The same call goes on from what is stored.
    """
    from zscir.storage.workers import outcomes, packed  # Dask takes half a second to import

    count = -(-shard_count(found) // TASK)
    sources = (*map(_from_anywhere, pairs), *map(_from_anywhere, backbone))
    same, failed = (found.fingerprint, network.fingerprint), []
    artifacts_root().mkdir(parents=True, exist_ok=True)
    with NamedTemporaryFile(dir=artifacts_root(), prefix=".shared-") as sign:
        task = partial(make_shards, sign=sign.name, sources=sources, same=same, masking=masking, work=work)
        say = partial(print, file=sys.stderr, flush=True)
        points = {number: {"share": number, "of": count} for number in range(count)}
        for done, (number, outcome) in enumerate(outcomes(packed(task), points, 1, scheduler, say), start=1):
            failed += [f"  share {number}: {outcome.error}"] * bool(outcome.error)
            say(f"[{done}/{count}] share {number}: {outcome.error or f'{outcome.seconds:.1f} s'}")
            if outcome.hopeless:
                break
    if failed:
        raise SweepError(
            f"{len(failed)} of {count} shares of the masked pairs failed; what was finished is stored, the "
            "same call goes on from there:\n" + "\n".join(failed)
        )


def make_shards(
    point: Point, *, sign: str, sources: tuple, same: tuple[str, str], masking: Masking, work: dict
) -> dict:
    """The task: make the shards of one share that are missing. ``sign`` is a file in the artifacts' folder.

    Raises:
        SweepError: this machine sees another folder, other pairs or another backbone; so no share can help.
    """
    if not os.path.exists(sign):
        raise SweepError(f"a worker does not see {sign}: let ZSCIR_ARTIFACTS name a folder that all share")
    with variables({"ZSCIR_ARTIFACTS": os.path.dirname(sign)}):
        pairs, backbone = _loaded(*sources)
        if (pairs.fingerprint, backbone.fingerprint) != same:
            raise SweepError(f"a worker finds other pairs {pairs.name!r} or another {backbone.name!r}")
        share = (point["share"], point["of"])
        fill_layers(backbone, pairs, [masking], share=share, progress=False, **work)
    return {}


def _from_anywhere(value: Any) -> Any:
    """A path, or a pattern of paths, that means the same in another folder; anything else as it is."""
    if not isinstance(value, str) or value.startswith("pocket"):
        return value
    path = os.path.expanduser(value)
    return os.path.abspath(path) if os.path.exists(path) or glob(path) else value


@lru_cache(1)
def _loaded(
    source: str, limit: int | None, name: str, pretrained: str | None, quick_gelu: bool | None
) -> tuple[Pairs, Backbone]:
    """Pairs and backbone, once a process."""
    return load_pairs(source, limit), load_backbone(name, pretrained, quick_gelu=quick_gelu)
