"""Claims, chosen on val and judged on test: the trainings they rest on, what each measures, and the verdicts.

``benchmarks/PLAN.md`` names the claims, measures and the rule, and is older than every number; the script
``benchmarks/claims.py`` makes the record with `run_point`, and `verdicts` reads it.

Every training is followed link by link, each link a measure:

* ``held-out pairs``: masked captions and truly masked images of pairs never trained on find their own image;
* ``masked references`` (control world only): queries whose reference shows only what they keep;
* ``recall@1`` and the others: the benchmarks, whose references are whole.
"""

import base64
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from zscir.analysis.ablations import BASE, train_config
from zscir.backbone import Backbone, load_backbone
from zscir.benchmarks import Benchmark, load_benchmark
from zscir.benchmarks.fashioniq import PUBLISHED as CATEGORIES
from zscir.inversion import Inversion, TrainConfig, fit
from zscir.pairs import build_masked_pairs, load_pairs
from zscir.pocket import make_control, make_pocket
from zscir.pocket.control import HELD_OUT, PAIRS, Arrangement, Control
from zscir.pocket.scenes import render
from zscir.regions import encode_regions
from zscir.retrieval import gallery_features, query_features, score_features
from zscir.retrieval.protocols import PROMPTS, slerp
from zscir.retrieval.queries import Composition, inversion_features
from zscir.retrieval.statistics import crossed_gain, holm

#: The four measures of the benchmarks, in percent; no claim shows fewer.
MEASURES = ("recall@1", "recall@5", "recall_subset@1", "fashioniq recall@10")
#: The links of the positive control.
LINKS = ("held-out pairs", "masked references", "recall@1", "recall_subset@1")
#: Arm -> the settings in which it differs from the paper's reading.
ARMS: dict[str, dict[str, Any]] = {
    "Pic2Word": {"preset": "pic2word"},
    "masked pairs": {},
    "true masks": {"mask_source": "true"},
    "random masks": {"mask_source": "random-true"},
    "unmasked image": {"preset": "unmasked-image"},
}
#: The arms of the map of arrangements.
MAP_ARMS = {**ARMS, "adjectives hidden too": {"span": "chunk"}, "LinCIR's loss": {"preset": "lincir"}}
#: What was chosen on val.
CHOSEN = "masked pairs, chosen"
#: What is claimed for test, as in the plan: words, the arm that should win, the other.
CLAIMS = (
    ("masked pairs, as the paper reads, beat Pic2Word", "masked pairs", "Pic2Word"),
    ("masked pairs, as chosen on val, beat Pic2Word", CHOSEN, "Pic2Word"),
    ("true masks beat random masks of the same areas", "true masks", "random masks"),
    ("masked pairs beat the unmasked image", "masked pairs", "unmasked image"),
    ("masked pairs, as chosen on val, beat slerp without training", CHOSEN, "slerp"),
    ("Pic2Word combined late with the text beats Pic2Word", "Pic2Word + text", "Pic2Word"),
    ("Pic2Word combined late with the text beats slerp without training", "Pic2Word + text", "slerp"),
)
#: Those that are judged with each backbone of the record of plain captions.
WORDED_CLAIMS = (CLAIMS[1], *CLAIMS[4:])
#: What is claimed for the control world.
CONTROL_CLAIMS = (
    ("true masks beat random masks of the same areas", "true masks", "random masks"),
    ("true masks beat the unmasked image", "true masks", "unmasked image"),
    ("true masks beat Pic2Word", "true masks", "Pic2Word"),
    ("CAM masks beat random masks of the same areas", "masked pairs", "random masks"),
)
#: Settings of every training of the claims, beside those of `zscir.analysis.ablations.BASE`.
SETTINGS = {"limit": PAIRS - HELD_OUT, "steps": 250}
#: Shares of the text that slerp is tried with, on val.
WEIGHTS = tuple(round(0.1 * number, 1) for number in range(1, 10))

_backbone = lru_cache(maxsize=1)(load_backbone)


def run_point(point: Mapping[str, Any]) -> dict[str, float | str]:
    """Train one arm and measure it: percentages, and on test and control which queries hit (`unpacked`).

    Args:
        point: settings as of `zscir.analysis.ablations.run_point`, and ``arm`` (its name), ``stage`` ("val",
            "test", "control", or "map": the control world as ``pairs`` arranges it), ``late`` (share of the
            text in the late combination, on test).
    """
    config, stage, late = point_config(point), point["stage"], point["late"]
    backbone = _backbone(config.backbone, config.pretrained, precision=config.precision)
    network = fit(config, backbone=backbone, progress=False)
    if stage == "val":
        return _on_val(backbone, network)
    hits = {"held-out pairs": _held_out_hits(backbone, network, config.pairs, config.noun_strategy)}
    if stage in ("control", "map"):
        hits |= _control_hits(backbone, network, make_control(arrangement=Arrangement.of(config.pairs)))
    else:
        asked = _features(backbone, "test", "inversion", network, "pic2word")
        hits |= benchmark_hits(backbone, "test", asked)
        combined = benchmark_hits(backbone, "test", _late(backbone, "test", asked, late))
        hits |= {f"late {name}": one for name, one in combined.items()}
    return {**percentages(hits), **{f"hits {name}": packed(one) for name, one in hits.items()}}


def point_config(point: Mapping[str, Any]) -> TrainConfig:
    """The training of a point of `run_point`."""
    settings = {name: value for name, value in point.items() if name not in ("arm", "stage", "late")}
    if point["stage"] in ("control", "map"):
        settings |= {"pairs": point["pairs"] or "pocket-control"}
        settings |= {} if point["preset"] == "lincir" else {"noun_strategy": "first"}
    return train_config(settings)


def percentages(hits: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Measure -> percentage of hits."""
    return {name: 100 * float(one.mean()) for name, one in hits.items()}


def benchmark_hits(backbone: Backbone, split: str, asked: Sequence[Tensor]) -> dict[str, np.ndarray]:
    """Measure -> which queries of the small world hit, bool [Q].

    Args:
        backbone: encodes the galleries.
        split: "val", or "test": the splits without public targets, scored as their server would.
        asked: query features of CIRR, then of each category of FashionIQ.
    """
    scored = [
        score_features(benchmark, features, gallery_features(backbone, benchmark))
        for benchmark, features in zip(_benchmarks(split), asked, strict=True)
    ]
    found = {name: scored[0].values[name] > 0 for name in MEASURES[:3]}
    return found | {MEASURES[3]: np.concatenate([part.values["recall@10"] for part in scored[1:]]) > 0}


def baseline_hits(split: str, weight: float, backbone: str = BASE["backbone"]) -> dict[str, np.ndarray]:
    """`benchmark_hits` of slerp without any training; weight 0 is the image alone, 1 the text alone."""
    own = _backbone(backbone)
    return benchmark_hits(own, split, _late(own, split, _features(own, split, "image"), weight))


@lru_cache(maxsize=2)
def _benchmarks(split: str) -> list[Benchmark]:
    """CIRR and the categories of FashionIQ, with answers."""
    world = make_pocket(BASE["world"])
    cirr = load_benchmark("cirr", f"pocket-{world.size}", split="val" if split == "val" else "test1")
    fashion = [
        load_benchmark("fashioniq", f"pocket-{world.size}", split=split, category=category)
        for category in CATEGORIES
    ]
    if split == "val":
        return [cirr, *fashion]
    answers = world.answers("fashioniq")
    return [cirr.with_targets(world.answers("cirr")), *(one.with_targets(answers) for one in fashion)]


def _features(backbone: Backbone, split: str, *how: object) -> list[Tensor]:
    """`query_features` of each benchmark of a split."""
    return [query_features(backbone, benchmark, *how) for benchmark in _benchmarks(split)]


#: The same, encoded once a process.
_texts = lru_cache(maxsize=2)(_features)


def _late(backbone: Backbone, split: str, asked: Sequence[Tensor], weight: float) -> list[Tensor]:
    """The late combination: what is asked, and the text's own feature, between them."""
    texts = _texts(backbone, split, "text")
    return [slerp(own, text, weight) for own, text in zip(asked, texts, strict=True)]


def _on_val(backbone: Backbone, network: Inversion) -> dict[str, float]:
    """The four measures, and their mean with each prompt and with each weight of the late combination."""
    asked = {name: _features(backbone, "val", "inversion", network, name) for name in PROMPTS}
    variants = {f"mean, {name}": own for name, own in asked.items()}
    variants |= {f"mean, late {w}": _late(backbone, "val", asked["pic2word"], w) for w in WEIGHTS}
    found = percentages(benchmark_hits(backbone, "val", asked["pic2word"]))
    for name, own in variants.items():
        found[name] = float(np.mean(list(percentages(benchmark_hits(backbone, "val", own)).values())))
    return found


def _held_out_hits(backbone: Backbone, network: Inversion, pairs: str, strategy: str) -> np.ndarray:
    """Which of `HELD_OUT` pairs never trained on are found among each other, masked by their true masks."""
    rest = load_pairs(pairs, PAIRS).after(PAIRS - HELD_OUT)
    how = {"mask_source": "true", "noun_strategy": strategy, "max_skipped": 1, "progress": False}
    made = build_masked_pairs(backbone, rest, **how)
    with torch.no_grad():
        words = network.phi.eval()(made.masked_features.to(backbone.device))
        asked = backbone.encode_composed(made.masked_captions, words).float().cpu()
    return ((asked @ made.image_features.T).argmax(dim=1) == torch.arange(len(asked))).numpy()


def _control_hits(backbone: Backbone, network: Inversion, world: Control) -> dict[str, np.ndarray]:
    """The other links of a control world: masked references, then whole ones."""
    benchmark = load_benchmark("cirr", world.root("cirr"))
    gallery, how = gallery_features(backbone, benchmark), Composition("inversion", network)
    seen = inversion_features(backbone, benchmark, _kept_things(backbone, world), how)
    masked = score_features(benchmark, seen, gallery)
    whole = score_features(benchmark, query_features(backbone, benchmark, "inversion", network), gallery)
    return {LINKS[1]: masked.values["recall@1"] > 0} | {n: whole.values[n] > 0 for n in LINKS[2:]}


@lru_cache(maxsize=1)
def _kept_things(backbone: Backbone, world: Control) -> Tensor:
    """Features [Q, D] of the references of a control world in which only what the query keeps is left."""
    benchmark, scenes = load_benchmark("cirr", world.root("cirr")), world.scenes("cirr")
    pixels, maps = [], []
    for query in benchmark.queries:
        scene = scenes[query.reference]
        label = 1 + [thing.noun for thing in scene.objects].index(world.kept[query.id])
        pixels.append(backbone.preprocess(benchmark.open_image(query.reference)))
        maps.append(backbone.preprocess_mask(render(scene)[1] == label).float())
    return encode_regions(backbone, torch.stack(pixels), torch.stack(maps), 0.5).features.cpu()


def packed(hits: np.ndarray) -> str:
    """Hits as a text, for a cell of a table.

    >>> unpacked(packed(np.array([True, False, True]))).tolist()
    [True, False, True]
    """
    return f"{len(hits)}:{base64.b64encode(np.packbits(hits).tobytes()).decode()}"


def unpacked(text: str) -> np.ndarray:
    """The hits of `packed`, bool [Q]."""
    count, _, coded = text.partition(":")
    return np.unpackbits(np.frombuffer(base64.b64decode(coded), np.uint8), count=int(count)).astype(bool)


def verdicts(
    record: pd.DataFrame, claims: Sequence[tuple[str, str, str]], measures: Sequence[str]
) -> pd.DataFrame:
    """What became of claims: a row a claim and measure, Holm-corrected over all of them.

    Args:
        record: a row a training: ``arm``, ``seed``, and ``hits`` of the measures.
        claims: the claim in words, the arm that should win, and the other. An arm followed by " + text"
            is its late combination with the text.
        measures: of `MEASURES` or `LINKS`.

    Returns:
        Columns claim, measure, ours, theirs (percent), gain, low, high (points), p (Holm's), seeds, verdict:
        "held", "the opposite held" or "undecided".

    Raises:
        ValueError: an arm has no training, or two arms share fewer than two seeds.
    """
    rows = []
    for claim, ours, theirs in claims:
        for measure in measures:
            a, b = paired_hits(record, ours, theirs, measure)
            rows.append((claim, measure, 100 * a.mean(), 100 * b.mean(), *crossed_gain(a - b), len(a)))
    found = pd.DataFrame(rows, columns="claim measure ours theirs gain low high p seeds".split())
    found["p"] = holm(found["p"])
    won = np.where(found["gain"] > 0, "held", "the opposite held")
    return found.assign(verdict=np.where(found["p"] < 0.05, won, "undecided"))


def paired_hits(record: pd.DataFrame, ours: str, theirs: str, measure: str) -> list[np.ndarray]:
    """Hits of two arms [S, Q], 0 or 1, in the seeds that both have; arguments and errors as `verdicts`."""
    both = [_hits(record, arm, measure) for arm in (ours, theirs)]
    seeds = sorted(both[0].keys() & both[1].keys())
    if len(seeds) < 2:
        raise ValueError(f"{ours!r} and {theirs!r} share the seeds {seeds}; needed: two")
    return [np.stack([own[seed] for seed in seeds]).astype(float) for own in both]


def _hits(record: pd.DataFrame, arm: str, measure: str) -> dict[int, np.ndarray]:
    """Seed -> hits of an arm; one that was not trained has the same for every seed."""
    name, _, late = arm.partition(" + ")
    rows = record[record["arm"] == name]
    if not len(rows):
        raise ValueError(f"the record has no arm {name!r}; it has: {', '.join(record['arm'].unique())}")
    column = f"hits late {measure}" if late else f"hits {measure}"
    found = {int(seed): unpacked(text) for seed, text in zip(rows["seed"], rows[column], strict=True)}
    return dict.fromkeys(record["seed"], found[-1]) if -1 in found else found
