"""Figures that answer: a page, or a notebook, in which the reader moves a threshold or asks a query.

    move_tau(clip, drawn, objects, maps, table, tau=0.3)    # chapter 3
    ask(clip, cirr, gallery, captions, still)               # chapters 1 and 5

Each is a still figure, which paper and browsers without JavaScript show, with a button that wakes the live
one. That is plain JavaScript (the ``*.js`` beside this module); its data are this build's own arrays, packed
into the output, so that it needs no server and no network. In the built pages ``book/_ext/live_arrays.py``
moves the arrays into files of their own.
"""

import base64
import gzip
import hashlib
import html
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from string import Template

import matplotlib
import numpy as np
import pandas as pd
import torch
from IPython.display import HTML
from matplotlib.figure import Figure
from PIL import Image, ImageOps
from torch import Tensor, nn

from zscir.analysis.drawn_objects import DrawnObjects
from zscir.backbone import Backbone
from zscir.backbone.text_tower import has_usual_blocks
from zscir.backbone.weights import weights_hash
from zscir.benchmarks import Benchmark
from zscir.figures.masking import mask_grid, masked_picture, to_picture
from zscir.figures.style import MAP_COLOURS
from zscir.inversion import Inversion
from zscir.pairs import Pairs
from zscir.retrieval import compose_prompt
from zscir.retrieval.metrics import NEAR
from zscir.retrieval.queries import pseudo_words

#: The thresholds that a reader can choose.
STEPS = np.arange(101) / 100
#: How many scenes there are to choose from.
SCENES = 12
#: Numbers in a page: the tower, the gallery and its pseudo-words. More leave a figure still.
LARGEST = 5_000_000
#: Pixels of a small picture, and pictures a row of their sheet.
SIDE, COLUMNS = 64, 48
_FOLDER = Path(__file__).parent
_TOWER = ("positional_embedding", "transformer", "ln_final", "text_projection")
_PAGE = Template("""\
<div class="zscir-live" data-live="$kind" data-button="$button">
<style>$style</style>
<div class="live-still">$still</div>
<script type="application/json" class="live-packed">$packed</script>
$arrays
<script>
$code
zscirLive.start();</script></div>""")


@dataclass(frozen=True)
class LiveFigure:
    """A still figure that a button replaces by a live one; notebooks and pages show it as HTML.

    Attributes:
        scripts: names of the JavaScript files; the last one is the function that draws it.
        still: the figure, or table, on paper. alt: what a figure shows, in words. button: what waking it is
            called.
        settings: what else its script needs: words and numbers that JSON holds.
        arrays: numbers, uint8 or float32, of any shape; the settings become one of them.
        made: what they were computed from; shown below, with a hash of each array.
    """

    scripts: Sequence[str]
    still: Figure | HTML
    alt: str
    button: str
    settings: Mapping[str, object]
    arrays: Mapping[str, np.ndarray]
    made: str

    def _repr_html_(self) -> str:
        settings = np.frombuffer(json.dumps(self.settings).encode(), np.uint8)
        packed = {role: _packed(array) for role, array in {**self.arrays, "settings": settings}.items()}
        data = ", ".join(f"{role} {name}" for role, (name, _, _) in packed.items())
        known = {
            "arrays": {role: {"name": name, "type": kind} for role, (name, kind, _) in packed.items()},
            "made": f"From this build: {self.made}. Fingerprints of the data: {data}.",
        }
        texts = [
            f'<script type="text/plain" data-array="{n}">{text}</script>' for n, _, text in packed.values()
        ]
        code = "\n".join((_FOLDER / f"{name}.js").read_text("utf-8") for name in ("common", *self.scripts))
        return _PAGE.substitute(
            kind=self.scripts[-1],
            button=html.escape(self.button),
            style=(_FOLDER / "live.css").read_text("utf-8"),
            still=self.still.data if isinstance(self.still, HTML) else self._image(),
            packed=json.dumps(known).replace("<", "\\u003c"),
            arrays="\n".join(texts),
            code=code,
        )

    def _image(self) -> str:
        """The still figure as an element of a page."""
        picture = base64.b64encode(self.still._repr_png_()).decode()
        return f'<img alt="{html.escape(self.alt)}" src="data:image/png;base64,{picture}">'


def _packed(array: np.ndarray) -> tuple[str, str, str]:
    """Name (a hash of the values), type and text of an array.

    Its bytes are sorted by their place in a number, which gzip then shortens well, and written as base64.
    """
    if array.dtype not in (np.uint8, np.float32):
        raise ValueError(f"array must be uint8 or float32, got {array.dtype}")
    planes = np.frombuffer(array.tobytes(), np.uint8).reshape(-1, array.itemsize).T.tobytes()
    name = hashlib.sha256(planes).hexdigest()[:16]
    return name, str(array.dtype), base64.b64encode(gzip.compress(planes, 6, mtime=0)).decode()


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
    made = f"maps of backbone {backbone.fingerprint}"
    return LiveFigure(("tau",), still, alt, "Move τ", settings, arrays, made)


def ask(
    backbone: Backbone,
    benchmark: Benchmark,
    gallery: Tensor,
    captions: Sequence[str],
    still: Figure,
    first: int = 0,
    seen: Mapping[str, str] | None = None,
    networks: Mapping[str, Inversion] | None = None,
    prompt: str | None = None,
    cleaning: str = "none",
    preprocessing: str = "clip",
    weight: float = 0.5,
) -> LiveFigure | Figure:
    """A reference and a relative caption of the reader's, and what each method finds in the gallery.

    Args:
        backbone: its text tower runs in the page. One that is too large for that, or not of open_clip's usual
            blocks, leaves the figure still.
        benchmark: its gallery is searched, and its queries are suggestions.
        gallery: features [N, D] of the gallery.
        captions: their words, and those of the queries, are what a reader may use.
        still: the figure on paper.
        first: the query that the figure begins with. seen: image id -> what it shows, in words.
        networks: φ by name; each is a method, and slerp is one, too.
        prompt, cleaning, preprocessing, weight: as in `zscir.retrieval.Composition`.
    """
    tower, networks, rows = backbone.text_tower, networks or {}, benchmark.row
    size = sum(map(torch.numel, tower.transformer.parameters())) + (1 + len(networks)) * gallery.numel()
    queries = [query for query in benchmark.queries if len(query.text) == 1 and query.reference in rows]
    if size > LARGEST or not queries or not _is_plain(tower):
        return still
    style = prompt or benchmark.prompt
    texts = [*captions, *(query.text[0] for query in queries), compose_prompt("", style)]
    settings, arrays = _text_tower(backbone, texts)
    settings |= {
        "methods": _methods(networks, style, f"cleaning={cleaning!r}, preprocessing={preprocessing!r}"),
        "prompt": compose_prompt("{caption}", style),
        "cleaning": cleaning,
        "weight": weight,
        "side": SIDE,
        "columns": COLUMNS,
        "near": float(NEAR),
        "removed": benchmark.exclude_reference,
        "ids": benchmark.gallery,
        "images": [(seen or {}).get(name, name) for name in benchmark.gallery],
        "queries": [(rows[q.reference], q.text[0], rows[q.targets[0]] if q.targets else -1) for q in queries],
        "first": next((n for n, query in enumerate(queries) if query is benchmark.queries[first]), 0),
    }
    arrays["gallery"] = gallery.cpu().numpy()
    arrays["sheet"] = picture_sheet([benchmark.open_image(name) for name in benchmark.gallery])
    for name, network in networks.items():
        arrays[name] = _shorter(pseudo_words(network, gallery).cpu().numpy())
    alt, made = "The first answers to one query, a row a method.", made_of(backbone, networks)
    return LiveFigure(("tower", "ask"), still, alt, "Ask it yourself", settings, arrays, made)


def made_of(backbone: Backbone, networks: Mapping[str, Inversion]) -> str:
    """What a figure was computed from: fingerprints of the backbone and of each network."""
    hashes = [f"{name} {weights_hash(network.phi)[:16]}" for name, network in networks.items()]
    return ", ".join([f"backbone {backbone.fingerprint}", *hashes])


def _methods(networks: Sequence[str], style: str, options: str) -> list[dict[str, str]]:
    """Name and kind of each method, and in ``code`` what `query_features` takes for it."""
    kinds = {"image": "image", "text": "text", "image + text": "image+text"}
    kinds |= {"slerp": "slerp", **dict.fromkeys(networks, "inversion")} if networks else {}
    more = {"slerp": ", weight={weight}"}
    more |= {name: f", networks[{name!r}], {style!r}" for name in networks}
    return [
        {"name": name, "kind": kind, "code": f'"{kind}"{more.get(name, "")}, {options}'}
        for name, kind in kinds.items()
    ]


def _is_plain(tower: nn.Module) -> bool:
    """Whether a text tower is as the page computes it: usual blocks with exact GELU, and a projection."""
    usual = has_usual_blocks(tower) and isinstance(tower.text_projection, Tensor)
    return usual and all(
        type(block.mlp.gelu) is nn.GELU and type(block.ls_1) is nn.Identity
        for block in tower.transformer.resblocks
    )


def _text_tower(backbone: Backbone, texts: Sequence[str]) -> tuple[dict[str, object], dict[str, np.ndarray]]:
    """Settings and arrays of the text tower, and of the words of some texts."""
    tower = backbone.text_tower
    kept = {name: one for name, one in tower.named_parameters() if name.startswith(_TOWER)}
    words, vectors = _vocabulary(backbone, texts)
    settings = {
        "width": backbone.token_width,
        "heads": tower.transformer.resblocks[0].attn.num_heads,
        "layers": len(tower.transformer.resblocks),
        "context": backbone.context_length,
        "weights": [(name, one.numel()) for name, one in kept.items()],
        "words": words,
    }
    weights = np.concatenate([one.detach().cpu().flatten().numpy() for one in kept.values()])
    return settings, {"tower": weights, "embeddings": vectors}


def _vocabulary(backbone: Backbone, texts: Sequence[str]) -> tuple[list[tuple[str, list[int]]], np.ndarray]:
    """The words of texts, each with the rows of its pieces, and the embedding of each piece [P, W].

    The pieces that begin and end a text are row 0 and 1.
    """
    tokenizer = backbone.tokenizer
    words = sorted({word for text in set(texts) for word in tokenizer.pat.findall(tokenizer.clean_fn(text))})
    pieces = {word: tokenizer.encode(word) for word in words}
    ids = [tokenizer.sot_token_id, tokenizer.eot_token_id, *sorted(set().union(*pieces.values()))]
    row = {one: number for number, one in enumerate(ids)}
    vectors = backbone.text_tower.token_embedding.weight[ids].detach().cpu().numpy()
    return [(word, [row[one] for one in own]) for word, own in pieces.items()], vectors


def picture_sheet(images: Sequence[Image.Image], side: int = SIDE, quality: int = 50) -> np.ndarray:
    """Pictures of ``side`` pixels side by side, `COLUMNS` a row, as the bytes of a WebP file."""
    columns = min(COLUMNS, len(images))
    sheet = Image.new("RGB", (columns * side, -(-len(images) // columns) * side))
    for number, image in enumerate(images):
        place = (number % columns * side, number // columns * side)
        sheet.paste(ImageOps.fit(image, (side, side)), place)
    sheet.save(out := io.BytesIO(), "WEBP", quality=quality, method=6)
    return np.frombuffer(out.getvalue(), np.uint8)


def _shorter(values: np.ndarray) -> np.ndarray:
    """float32 rounded to 24 bits, a quarter less to store: each is off by a hundred-thousandth at most."""
    return (values.view(np.uint32) + 0x80 & 0xFFFFFF00).view(np.float32)


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
