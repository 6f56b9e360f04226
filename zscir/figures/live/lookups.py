"""Live figures in which a reader looks up what is known already.

which_word(clip, cirr, networks, things, probe, tau=0.3)    # chapter 8
look_around(record, made)                                   # chapter 7

All answers are computed when the chapter runs; the page only shows them.
"""

import json
from collections.abc import Mapping, Sequence

import pandas as pd
import torch
from torch import Tensor

from zscir.analysis.ablation_tables import shared_seeds, spreads, study_rows
from zscir.analysis.ablations import BASE, METRICS, STUDIES
from zscir.analysis.probes import Probe, classifier
from zscir.analysis.readings import closest, pseudo_word_features
from zscir.backbone import Backbone
from zscir.benchmarks import Benchmark
from zscir.figures.ablations import study_dots
from zscir.figures.live import LiveFigure, made_of, picture_sheet
from zscir.figures.masking import masked_picture, to_picture
from zscir.figures.results import readings
from zscir.figures.style import metric_name
from zscir.inversion import Inversion
from zscir.regions import encode_regions, noun_cams
from zscir.retrieval.features import gallery_features, pixel_batches
from zscir.retrieval.queries import pseudo_words
from zscir.retrieval.statistics import Spread, t_interval

#: Nouns that are listed for each picture and network.
NEAREST = 8


def which_word(
    backbone: Backbone,
    benchmark: Benchmark,
    networks: Mapping[str, Inversion],
    things: Mapping[str, Sequence[str]],
    probe: Probe,
    tau: float,
    preprocessing: str = "clip",
    seen: Mapping[str, str] | None = None,
) -> LiveFigure:
    """The nouns nearest to the pseudo-words of pictures, of each whole or masked for one of its things.

    Nearness is the probe's: the cosine of a noun's sentences with that of the pseudo-word, and beside it with
    the picture's own feature.

    Args:
        backbone: the frozen towers.
        benchmark: whose pictures they are.
        networks: φ by name.
        things: the pictures to choose from: image id -> what it may be masked for.
        probe: whose values are the nouns, such as "thing" of `zscir.analysis.probes.scene_probes`.
        tau: threshold on the maps; the rest gets the mean colour.
        preprocessing: of the pictures, a name in ``zscir.retrieval.protocols.PREPROCESSINGS``.
        seen: image id -> what it shows, in words.
    """
    shown = [(benchmark.image_path(name), benchmark.regions.get(name)) for name in things]
    pixels = torch.cat([p for _, p in pixel_batches(backbone, shown, preprocessing, benchmark.upright)])
    maps = torch.cat(noun_cams(backbone, pixels.to(backbone.device), list(things.values())))
    owner = [row for row, own in enumerate(things.values()) for _ in own]
    masked = encode_regions(backbone, pixels[owner].to(backbone.device), maps, tau)
    whole = gallery_features(backbone, benchmark, preprocessing)[[benchmark.row[name] for name in things]]
    images, values = torch.cat([whole, masked.features.cpu()]), classifier(backbone, probe)
    asked = {"image": images}
    asked |= {n: pseudo_word_features(backbone, pseudo_words(one, images)) for n, one in networks.items()}
    nearest = {name: _nearest(features, values) for name, features in asked.items()}
    pictures, masks = [to_picture(backbone, one) for one in pixels], masked.keep.cpu()
    settings = {
        "side": pixels.shape[-1],
        "mean": [round(255 * value) for value in backbone.mean],
        "tau": tau,
        "names": list(probe.values),
        "pictures": [(seen or {}).get(name, name) for name in things],
        "nouns": list(things.values()),
        "nearest": nearest,
    }
    arrays = {
        "sheet": picture_sheet(pictures, pixels.shape[-1], quality=80),
        "masks": masks.numpy().astype("uint8"),
    }
    first = next(iter(things.values()))
    panels = [pictures[0], *(masked_picture(backbone, pixels[0], one) for one in masks[: len(first)])]
    rows = [0, *range(len(pixels), len(pixels) + len(first))]
    words = {
        name: [[probe.values[number] for number, _ in found[row][:3]] for row in rows]
        for name, found in nearest.items()
    }
    still = readings(panels, words)
    alt, made = "A picture, whole and masked for each of its things, and nouns.", made_of(backbone, networks)
    return LiveFigure(("word",), still, alt, "Which word is it?", settings, arrays, made)


def _nearest(features: Tensor, vectors: Tensor) -> list[list[tuple[int, float]]]:
    """For each row the numbers of the nearest vectors, nearest first, and their cosines; rows of length 1."""
    cosines, numbers = features @ vectors.T, closest(features, vectors, k=min(NEAREST, len(vectors)))
    return [
        [(int(n), round(float(row[n]), 4)) for n in own] for own, row in zip(numbers, cosines, strict=True)
    ]


def look_around(record: pd.DataFrame, made: Mapping, study: str = "noun") -> LiveFigure:
    """All studies of a record: one study by one metric, with seeds, intervals and settings of each training.

    Args:
        record, made: from `zscir.analysis.ablation_tables.recorded`.
        study: the one that the figure begins with.
    """
    rows, spread = {name: shared_seeds(study_rows(record, name)) for name in STUDIES}, spreads(record)
    known = [metric for metric in METRICS if metric in spread]
    settings = {
        "study": study,
        "metrics": [(one, metric_name(one).replace("$_{", "_").replace("}$", "")) for one in known],
        "studies": {
            name: [_point(name, label, own, spread) for label, own in found.groupby("label", sort=False)]
            for name, found in rows.items()
        },
    }
    still = study_dots(rows[study], known[:2], spread)
    alt = "A line of dots for each training of one study, with its mean and interval, by two metrics."
    told = f"{len(record)} trainings of the record of {made['date']}, {made['machine']['processor']}"
    return LiveFigure(("record",), still, alt, "Look around the record", settings, {}, told)


def _point(study: str, label: object, rows: pd.DataFrame, spread: Mapping[str, Spread]) -> dict[str, object]:
    """One point of a study: its settings, seeds and seconds; by metric the values and their interval."""
    columns = [name for name in BASE if name in rows]
    found = {
        metric: [rows[metric].tolist(), *t_interval(rows[metric], own)[:3]]
        for metric, own in spread.items()
        if rows[metric].notna().all()
    }
    return {
        "label": label,
        "changed": list(STUDIES[study][label]),
        "settings": json.loads(rows[columns].head(1).to_json(orient="records"))[0],
        "seeds": rows["seed"].tolist(),
        "seconds": round(float(rows["seconds"].mean())) if "seconds" in rows else None,
        "found": found,
    }
