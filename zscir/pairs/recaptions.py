"""The same images with other captions: machine-made ones, and ones that are wrong at a known rate.

    pairs = load_pairs("pocket-small", 8000)
    made = retrieved_captions(backbone, pairs)       # CLIP captions each image, from the others'
    worse = wrong_captions(pairs, rate=0.25)         # every fourth caption belongs to another image
    fit(config, backbone=backbone, pairs=worse)

The paper trains on the captions that came with the images and leaves open what others would do. Captions of
any captioning model come in without this module: a table with the columns file and caption is a source of
pairs like any other (``zscir.pairs.sources``).
"""

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from zscir.backbone import Backbone
from zscir.pairs.features import image_features, readable_rows
from zscir.pairs.sources import Pairs
from zscir.storage import artifact
from zscir.storage.checks import SHARE, check

#: Images compared with all captions at once.
CHUNK = 1024


def wrong_captions(pairs: Pairs, rate: float, seed: int = 0) -> Pairs:
    """Pairs of which a share has the caption of another one.

    The pairs to change are drawn by ``seed``; their captions move one place along a random circle, so none
    keeps its own (a caption that occurs twice may meet itself). Images and order stay.

    Args:
        pairs: N of them.
        rate: share from 0 to 1; ``round(rate * N)`` captions move, of a single one that is none.
        seed: of the draw.

    Raises:
        ValueError: ``rate`` is no number from 0 to 1.

    >>> plain = Pairs("four", ["a dog", "a cat", "an owl", "a car"], [], "abc")
    >>> wrong_captions(plain, 0.5).captions
    ['an owl', 'a cat', 'a dog', 'a car']
    >>> wrong_captions(plain, 0.0) is plain
    True
    """
    check("rate", rate, SHARE)
    moved = np.random.default_rng(seed).permutation(len(pairs))[: round(rate * len(pairs))]
    if len(moved) < 2:
        return pairs
    captions = list(pairs.captions)
    for row, source in zip(moved, np.roll(moved, 1), strict=True):
        captions[row] = pairs.captions[source]
    return _with_captions(pairs, captions, f"{pairs.name}, {rate:.0%} wrong captions")


def retrieved_captions(backbone: Backbone, pairs: Pairs, *, progress: bool = False) -> Pairs:
    """Pairs whose captions a machine chose: to each image CLIP's best among the captions of the *others*.

    The plainest captioner there is, and one that every CLIP brings along. It is right as far as the backbone
    is, and as far as some other caption happens to fit. An image that cannot be read keeps its own caption
    (it is left out, and counted, when masked pairs are made).

    Args:
        backbone: compares images and captions.
        pairs: at least two.
        progress: show a bar on stdout, where that is a terminal.

    Raises:
        ValueError: fewer than two pairs.
    """
    if len(pairs) < 2:
        raise ValueError(f"pairs {pairs.name!r} hold {len(pairs)} pair; legal: at least two, to choose from")

    def build(folder: Path) -> None:
        images = image_features(backbone, pairs, progress=progress).to(backbone.device)
        texts = backbone.encode_texts(pairs.captions)
        (folder / "rows.json").write_text(json.dumps(best_others(images, texts)), encoding="utf-8")

    key = {"backbone": backbone.fingerprint, "pairs": pairs.fingerprint}
    rows = artifact("retrieved-captions", key, build) / "rows.json"
    captions = [pairs.captions[source] for source in json.loads(rows.read_text(encoding="utf-8"))]
    return _with_captions(pairs, captions, f"{pairs.name}, captions by {backbone.name}")


def _with_captions(pairs: Pairs, captions: list[str], name: str) -> Pairs:
    """The same images with these captions [N]; the fingerprint follows them."""
    digest = hashlib.sha256(json.dumps([pairs.fingerprint, captions]).encode()).hexdigest()[:16]
    return replace(pairs, name=name, captions=captions, fingerprint=digest)


def best_others(images: Tensor, texts: Tensor) -> list[int]:
    """For each image [N, D] the row of the most similar text [N, D] that is not its own.

    Rows of images that hold NaN (unreadable) keep their own text.

    >>> best_others(torch.eye(3), torch.tensor([[1.0, 0, 0], [0.9, 0.1, 0], [0, 0.2, 1]]))
    [1, 2, 0]
    """
    chosen = torch.arange(len(images))
    good = readable_rows(images)
    for rows in good.split(CHUNK):
        similar = images[rows] @ texts.T
        similar[torch.arange(len(rows)), rows] = -torch.inf
        chosen[rows] = similar.argmax(dim=1).cpu()
    return chosen.tolist()
