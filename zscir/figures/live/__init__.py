"""Figures that answer: a page, or a notebook, in which the reader moves a threshold or asks a query.

    move_tau(clip, drawn, objects, maps, table, tau=0.3)    # chapter 3

Each is a still figure, which paper and browsers without JavaScript show, with a button that wakes the live
one. That is plain JavaScript (the ``*.js`` beside this module); its data are this build's own arrays, packed
into the output, so that it needs no server and no network. In the built pages ``book/_ext/live.py`` moves
the arrays into files of their own.
"""

import base64
import gzip
import hashlib
import html
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from torch import Tensor

from zscir.analysis.drawn_objects import DrawnObjects
from zscir.backbone import Backbone
from zscir.figures.masking import mask_grid, masked_picture, to_picture
from zscir.figures.style import MAP_COLOURS
from zscir.pairs import Pairs

#: The thresholds that a reader can choose.
STEPS = np.arange(101) / 100
#: How many scenes there are to choose from.
SCENES = 12
_FOLDER = Path(__file__).parent


@dataclass(frozen=True)
class LiveFigure:
    """A still figure that a button replaces by a live one; notebooks and pages show it as HTML.

    Attributes:
        scripts: names of the JavaScript files; the last one is the function that draws it.
        still: the figure on paper. alt: what it shows, in words. button: what waking it is called.
        settings: what its script needs, as JSON.
        arrays: numbers, uint8 or float32, of any shape.
        made: what they were computed from, shown below.
    """

    scripts: Sequence[str]
    still: Figure
    alt: str
    button: str
    settings: Mapping[str, object]
    arrays: Mapping[str, np.ndarray]
    made: str

    def _repr_html_(self) -> str:
        packed = {role: _packed(array) for role, array in self.arrays.items()}
        named = {role: {"name": name, "type": kind} for role, (name, kind, _) in packed.items()}
        data = ", ".join(f"{role} {one['name']}" for role, one in named.items())
        settings = {
            **self.settings,
            "arrays": named,
            "made": f"{self.made} Fingerprints of its data: {data}.",
        }
        code = "\n".join((_FOLDER / f"{name}.js").read_text("utf-8") for name in ("common", *self.scripts))
        picture = base64.b64encode(self.still._repr_png_()).decode()
        words = {name: html.escape(getattr(self, name), quote=True) for name in ("alt", "button")}
        parts = [
            f'<div class="zscir-live" data-live="{self.scripts[-1]}" data-button="{words["button"]}">',
            f"<style>{(_FOLDER / 'live.css').read_text('utf-8')}</style>",
            f'<div class="live-still"><img alt="{words["alt"]}" src="data:image/png;base64,{picture}"></div>',
            f'<script type="application/json" class="live-settings">{_inside(json.dumps(settings))}</script>',
            *(
                f'<script type="text/plain" data-array="{n}">{text}</script>'
                for n, _, text in packed.values()
            ),
            f"<script>{_inside(code)}\nzscirLive.start();</script></div>",
        ]
        return "\n".join(parts)


def _inside(script: str) -> str:
    """A script that cannot end the element it stands in."""
    return script.replace("</", "<\\/")


def _packed(array: np.ndarray) -> tuple[str, str, str]:
    """Name (a hash of the values), type and text of an array.

    Its bytes are sorted by their place in a number, which gzip then shortens well, and written as base64.
    """
    if array.dtype not in (np.uint8, np.float32):
        raise ValueError(f"array must be uint8 or float32, got {array.dtype}")
    planes = np.frombuffer(array.tobytes(), np.uint8).reshape(-1, array.itemsize).T.tobytes()
    name = hashlib.sha256(planes).hexdigest()[:16]
    return name, str(array.dtype), base64.b64encode(gzip.compress(planes, 9, mtime=0)).decode()


def move_tau(
    backbone: Backbone,
    pairs: Pairs,
    objects: DrawnObjects,
    maps: Tensor,
    table: pd.DataFrame,
    tau: float,
    fill: str = "mean",
) -> LiveFigure:
    """A dozen drawn scenes: picture, map and masked picture at a τ that the reader moves, and the IoU.

    Args:
        backbone: whose maps these are.
        pairs, objects: drawn pairs, and their objects (`zscir.analysis.drawn_objects`).
        maps: [R, S, S] in [0, 1], one an object.
        table: what `mask_quality` says of them, for the band around the curve.
        tau, fill: where the figure begins.
    """
    maps, counts, band = maps.cpu(), pd.Series(objects.rows).value_counts(), table[table["size"] == "all"]
    shown = sorted(counts.index, key=lambda row: (-counts[row], row))[:SCENES]
    of = {row: [place for place, own in enumerate(objects.rows) if own == row] for row in shown}
    chosen = [place for places in of.values() for place in places]
    pixels = [objects.pixels[places[0]] for places in of.values()]
    levels, peaks = _levels(maps), maps.flatten(1).argmax(dim=1)
    nothing = torch.zeros_like(objects.masks[0])
    settings = {
        "side": maps.shape[-1],
        "tau": tau,
        "fill": fill if fill in ("mean", "black", "blur") else "mean",
        "mean": [round(255 * value) for value in backbone.mean],
        "colours": np.rint(255 * matplotlib.colormaps[MAP_COLOURS](STEPS)[:, :3]).astype(int).tolist(),
        "objects": len(objects.rows),
        "overlaps": _mean_overlap(levels, objects.masks.numpy(), peaks.numpy()),
        "band": [band[name].tolist() for name in ("tau", "IoU low", "IoU high")],
        "captions": [pairs.captions[row] for row in shown],
        "nouns": [[(chosen.index(one), objects.lemmas[one]) for one in places] for places in of.values()],
        "peaks": peaks[chosen].tolist(),
        "lows": (-maps[chosen]).flatten(1).argmax(dim=1).tolist(),
    }
    arrays = {
        "pictures": np.stack([np.asarray(to_picture(backbone, one)) for one in pixels]),
        "blurred": np.stack([np.asarray(masked_picture(backbone, one, nothing, "blur")) for one in pixels]),
        "levels": levels[chosen],
        "truths": objects.masks[chosen].numpy().astype(np.uint8),
    }
    first = {objects.lemmas[place]: maps[place] for place in of[shown[0]]}
    still = mask_grid(backbone, pixels[0], first, sorted({0.1, 0.2, 0.4, 0.6, tau}), chosen=tau, fill=fill)
    alt = "For each noun of a drawn picture its map, and the picture masked at several thresholds."
    made = f"From this build: maps of backbone {backbone.fingerprint}."
    return LiveFigure(("tau",), still, alt, "Move τ", settings, arrays, made)


def _levels(maps: Tensor) -> np.ndarray:
    """For each cell the largest k for which the map is at least k / 100, uint8: its masks at all STEPS."""
    return (np.searchsorted(np.float32(STEPS), maps.numpy(), side="right") - 1).astype(np.uint8)


def _mean_overlap(levels: np.ndarray, masks: np.ndarray, peaks: np.ndarray) -> list[float]:
    """Mean IoU over objects with the true masks, at each of STEPS; ``peaks`` are always kept."""
    levels, masks = levels.reshape(len(levels), -1).copy(), masks.reshape(len(masks), -1)
    np.put_along_axis(levels, peaks[:, None], len(STEPS) - 1, axis=1)

    def kept(counted: np.ndarray) -> np.ndarray:
        """How many of the counted cells [R, S * S] are kept at each step, [R, steps]."""
        at = [np.bincount(*own, len(STEPS)) for own in zip(levels, counted, strict=True)]
        return np.cumsum(np.array(at)[:, ::-1], axis=1)[:, ::-1]

    shared, area, true = kept(masks), kept(np.ones_like(masks)), masks.sum(axis=1, keepdims=True)
    return (shared / (area + true - shared)).mean(axis=0).tolist()
