"""References as the training sees images: all but the regions of one noun masked.

    nouns = {"dev-1-0-img0": "dog", ...}                              # image id -> noun
    masked = masked_references(backbone, benchmark, nouns, tau=0.3)   # features, and how much was kept

Letters in shapes: R images, D joint width, S image side.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from zscir.backbone import Backbone
from zscir.benchmarks import Benchmark
from zscir.regions import encode_regions, noun_cams
from zscir.retrieval.features import content_hash, pixel_batches
from zscir.retrieval.protocols import check_preprocessing
from zscir.storage import artifact

BATCH = 64


class MaskedReferences(NamedTuple):
    """Features [R, D] of masked images, float32, rows of length 1; the share of each that was kept [R]."""

    features: Tensor
    kept: Tensor


def masked_references(
    backbone: Backbone,
    benchmark: Benchmark,
    nouns: Mapping[str, str],
    tau: float,
    preprocessing: str = "clip",
) -> MaskedReferences:
    """Features of images of a benchmark in which only the regions of a noun are left.

    The mask is the default one of `zscir.build_masked_pairs`: the noun's class-activation map at the image's
    size, kept where it is ``tau`` or more, the mean colour elsewhere. Computed once and stored as an
    artifact, named by the backbone, the bytes of the images and all arguments.

    Args:
        backbone: the frozen towers.
        benchmark: whose images they are.
        nouns: image id -> the noun whose regions stay; rows follow its order.
        tau: threshold on the map, from 0 to 1.
        preprocessing: of the images, a name in ``zscir.retrieval.protocols.PREPROCESSINGS``.

    Raises:
        ValueError: an unknown image id or preprocessing, no image, a tau outside [0, 1], an empty noun.
        FileNotFoundError: an image is missing.
    """
    if not nouns:
        raise ValueError("nouns is empty: give at least one image and its noun")
    words, regions = list(nouns.values()), {n: benchmark.regions[n] for n in nouns if n in benchmark.regions}
    pictures = [(benchmark.image_path(name), regions.get(name)) for name in nouns]
    key = {"backbone": backbone.fingerprint, "images": content_hash([path for path, _ in pictures])}
    key |= {"nouns": words, "tau": float(tau), "preprocessing": check_preprocessing(preprocessing)}
    key |= {"regions": list(regions.items())} if regions else {}
    key |= {"upright": True} if benchmark.upright else {}

    def build(folder: Path) -> None:
        features, kept = [], []
        for rows, pixels in pixel_batches(backbone, pictures, preprocessing, benchmark.upright, BATCH):
            pixels = pixels.to(backbone.device)
            maps = torch.cat(noun_cams(backbone, pixels, [[words[row]] for row in rows]))
            seen = encode_regions(backbone, pixels, maps, tau)
            features.append(seen.features.cpu())
            kept.append(seen.keep.float().mean(dim=(1, 2)).cpu())
        np.savez(folder / "masked.npz", features=torch.cat(features).numpy(), kept=torch.cat(kept).numpy())

    stored = np.load(artifact("masked-references", key, build) / "masked.npz")
    return MaskedReferences(*(torch.from_numpy(stored[name]) for name in MaskedReferences._fields))
