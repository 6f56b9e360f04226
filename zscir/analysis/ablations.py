"""One choice at a time: which trainings the chapter *Ablations* compares, and how one is run.

    run_point({**BASE, "tau": 0.5, "seed": 1})       # trains, scores: a row of the table
    points(["tau", "fill"], seeds=5)                 # the settings of all rows of two studies

A *point* is a flat dict of settings, so a table of points is tidy and any of its columns can be swept. A
*study* names a few of them that differ in one thing (``studies.json`` beside this module lists them all);
``zscir.analysis.ablation_tables`` reads them back.
"""

import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from zscir.analysis.conflicts import query_conflict
from zscir.backbone import Backbone, load_backbone
from zscir.benchmarks import benchmark_root, load_benchmark
from zscir.benchmarks.fashioniq import PUBLISHED
from zscir.inversion import Inversion, TrainConfig, fit
from zscir.inversion.config import PRESETS
from zscir.pairs import load_pairs, pair_source
from zscir.pairs.recaptions import retrieved_captions, wrong_captions
from zscir.retrieval import average, evaluate, gallery_features, query_features
from zscir.storage.checks import SHARE, check, chosen

_TABLES = json.loads(Path(__file__).with_name("studies.json").read_text("utf-8"))
#: The settings of a point, and the values that all studies start from: those of the chapters, with half
#: the steps.
BASE: dict[str, Any] = _TABLES["base"]
#: Study -> label -> the settings that differ from `BASE`; a label that is a number is a place on an axis.
STUDIES: dict[str, dict[Any, dict[str, Any]]] = {
    name: dict(rows) for name, rows in _TABLES["studies"].items()
}
#: Where the captions come from: with the images, or from ``zscir.pairs.recaptions.retrieved_captions``.
CAPTIONS = ("given", "retrieved")
#: Settings of a point that are no fields of `TrainConfig` of the same name and meaning.
_OWN = ("captions", "wrong", "world", "root", "pairs")
#: What `run_point` measures, in percent.
METRICS = ("recall@1", "recall@5", "recall@10", "recall_subset@1", "fashioniq recall@10")
METRICS += ("recall@1 little conflict", "recall@1 much conflict", "kept area")
#: Share of the queries that counts as much (or little) conflict of text and image.
CONFLICT_SHARE = 0.2

_backbone = lru_cache(maxsize=2)(load_backbone)
_benchmark = lru_cache(maxsize=8)(load_benchmark)


def points(
    studies: Sequence[str] | None = None, seeds: int | Sequence[int] = 5, **fixed: Any
) -> list[dict[str, Any]]:
    """The settings of all rows of some studies, each once, seed by seed.

    Args:
        studies: names in `STUDIES`; all when None.
        seeds: how many, from 0 on, or which ones.
        **fixed: settings in place of those of `BASE`, such as ``steps=100``.

    Raises:
        ValueError: an unknown study or setting.
    """
    chosen = list(STUDIES) if studies is None else list(studies)
    if unknown := [name for name in chosen if name not in STUDIES]:
        raise ValueError(f"studies has {unknown[0]!r}; legal: {', '.join(STUDIES)}")
    check_names(fixed)
    base = {**BASE, **fixed}
    numbers = range(seeds) if isinstance(seeds, int) else seeds
    settings = [{**base, **changes} for name in chosen for changes in STUDIES[name].values()]
    found = ({**point, "seed": int(seed)} for seed in numbers for point in settings)
    return list({tuple(point.items()): point for point in found}.values())


def check_names(settings: Mapping[str, Any]) -> None:
    """Raise ValueError for a name that is no setting of a point."""
    if unknown := [name for name in settings if name not in (*BASE, "seed")]:
        raise ValueError(f"a point has no setting {unknown[0]!r}; legal: {', '.join([*BASE, 'seed'])}")


def train_config(point: Mapping[str, Any]) -> TrainConfig:
    """The training of a point (`BASE` fills what it does not say).

    >>> train_config({"tau": 0.5, "seed": 1}).tau
    0.5
    >>> train_config({"captions": "guessed"})
    Traceback (most recent call last):
    ...
    ValueError: captions is 'guessed'; legal: given, retrieved

    Raises:
        ValueError: an unknown setting or an illegal value.
    """
    check_names(point)
    point = {**BASE, **point}
    chosen("captions", point["captions"], CAPTIONS)
    check("wrong", point["wrong"], SHARE)
    others = (*_OWN, *PRESETS.get(str(point["preset"]), ()))
    known = {name: value for name, value in point.items() if name not in others}
    return TrainConfig(**known, pairs=pair_source(point["pairs"], point["world"]))


def run_point(point: Mapping[str, Any]) -> dict[str, float]:
    """Train and score one point; what is stored already (maps, networks) is reused.

    Args:
        point: settings; what is missing is `BASE`'s, the seed 0.

    Returns:
        `METRICS` in percent. "little conflict" are the queries whose text contradicts the reference least
        (see `zscir.analysis.conflicts`), a fifth of them, "much conflict" those where it does most. Kept area
        is that of the masked images, NaN for a training without any; FashionIQ is that of the pocket world,
        NaN when ``root`` names a real CIRR.

    Raises:
        ValueError: an unknown setting or an illegal value, before anything is loaded.
        FileNotFoundError: ``root`` names no folder.
    """
    config, point = train_config(point), {**BASE, **point}
    root = benchmark_root(point["root"], point["world"])
    weights = {"precision": config.precision, "quick_gelu": config.quick_gelu}
    backbone = _backbone(config.backbone, config.pretrained, **weights)
    pairs = load_pairs(config.pairs, config.limit)
    if point["captions"] == "retrieved":
        pairs = retrieved_captions(backbone, pairs)
    pairs = wrong_captions(pairs, point["wrong"], seed=config.seed)
    network = fit(config, backbone=backbone, pairs=pairs, progress=False)
    return _scored(backbone, network, root)


def _scored(backbone: Backbone, network: Inversion, root: str) -> dict[str, float]:
    """Metrics of one network on the CIRR of a root, and on the FashionIQ of a pocket world."""
    cirr = _benchmark("cirr", root)
    scores = evaluate(backbone, cirr, "inversion", network, "pic2word")
    found = {name: scores.metrics[name] for name in METRICS[:4]}
    categories = PUBLISHED if root.startswith("pocket-") else ()
    fashion = [_benchmark("fashioniq", root, category=category) for category in categories]
    parts = [evaluate(backbone, category, "inversion", network) for category in fashion]
    found["fashioniq recall@10"] = average(parts).metrics["recall@10"] if parts else float("nan")
    order = np.argsort(_conflict(backbone, root), kind="stable")
    count, hits = max(1, round(CONFLICT_SHARE * len(order))), scores.values["recall@1"]
    found["recall@1 little conflict"] = 100 * float(hits[order[:count]].mean())
    found["recall@1 much conflict"] = 100 * float(hits[order[-count:]].mean())
    found["kept area"] = 100 * network.record["report"].get("mean_kept_area", float("nan"))
    return found


@lru_cache(maxsize=2)
def _conflict(backbone: Backbone, root: str) -> np.ndarray:
    """Conflict of every CIRR query [Q]; NumPy."""
    cirr = _benchmark("cirr", root)
    return query_conflict(cirr, query_features(backbone, cirr, "text"), gallery_features(backbone, cirr))
