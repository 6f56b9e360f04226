"""Image features by content: what was encoded once is not encoded again, wherever the files lie.

gallery_features(backbone, benchmark)            # [N, D], in gallery order
file_features(backbone, ["a.jpg", "b.jpg"])      # the same for any list of files
"""

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from zscir.backbone import Backbone
from zscir.benchmarks import Benchmark
from zscir.benchmarks.images import Region, open_image
from zscir.retrieval.protocols import PREPROCESSINGS, check_preprocessing
from zscir.storage import artifact, fingerprint
from zscir.storage.contents import content_hashes
from zscir.storage.pictures import take_remarks

BATCH = 128


def gallery_features(backbone: Backbone, benchmark: Benchmark, preprocessing: str = "clip") -> Tensor:
    """Features of the gallery [N, D], float32 on the CPU, rows of length 1 in gallery order.

    Computed once and stored as an artifact, named by the backbone's fingerprint, the preprocessing and the
    bytes of the image files: a changed image is encoded anew, a moved or renamed one is not.

    Raises:
        FileNotFoundError: an image is missing (the benchmark was loaded with require_images=False).
        ValueError: a file that is not a whole image; it is named.
    """
    return _benchmark_features(backbone, benchmark, benchmark.gallery, preprocessing)


def reference_features(
    backbone: Backbone, benchmark: Benchmark, preprocessing: str = "clip", unit: bool = True
) -> Tensor:
    """Features of each query's reference [Q, D], encoded apart where some are not in the gallery.

    Rows have length 1, or with ``unit=False`` the length that the tower gives them.
    """
    names = list(dict.fromkeys(query.reference for query in benchmark.queries))
    if unit and all(name in benchmark.row for name in names):
        names = benchmark.gallery
    row = {name: number for number, name in enumerate(names)}
    features = _benchmark_features(backbone, benchmark, names, preprocessing, unit)
    return features[[row[query.reference] for query in benchmark.queries]]


def file_features(
    backbone: Backbone,
    paths: Sequence[Path],
    preprocessing: str = "clip",
    regions: Sequence[Region | None] | None = None,
    unit: bool = True,
    upright: bool = False,
    blank: bool = False,
) -> Tensor:
    """Features [len(paths), D] of image files, float32 on the CPU: stored by content, or encoded and stored.

    With ``upright`` the images are turned as their EXIF orientation says; with ``blank`` the row of one that
    cannot be decoded is NaN.

    Raises:
        FileNotFoundError, ValueError: a missing file, one that is no whole image, an unknown preprocessing.
    """
    paths = [Path(path) for path in paths]
    key = {"backbone": backbone.fingerprint, "images": content_hash(paths)}
    if check_preprocessing(preprocessing) != "clip":
        key["preprocessing"] = preprocessing
    if regions and any(regions):
        key["regions"] = fingerprint(list(regions))
    key |= {} if unit else {"unit": False}
    key |= {"upright": True} if upright else {}

    def build(folder: Path) -> None:
        pictures = list(zip(paths, regions or [None] * len(paths), strict=True))
        read = pixel_batches(backbone, pictures, preprocessing, upright, blank=blank)
        encoded = [backbone.encode_images(pixels, unit=unit).cpu() for _, pixels in read]
        if content_hash(paths) != key["images"]:
            raise ValueError(
                f"{paths[0].parent}: images have changed while they were encoded: encode them again"
            )
        np.save(folder / "features.npy", torch.cat([torch.zeros(0, backbone.dim), *encoded]).numpy())

    features = torch.from_numpy(np.load(artifact("gallery-features", key, build) / "features.npy"))
    if not blank:
        for number in (~features.isfinite().all(dim=1)).nonzero().flatten().tolist():
            open_image(paths[number])  # says what is wrong with it
    return features


def pixel_batches(
    backbone: Backbone,
    pictures: Sequence[tuple[Path, Region | None]],
    preprocessing: str,
    upright: bool,
    size: int = BATCH,
    blank: bool = False,
) -> Iterator[tuple[Sequence[int], Tensor]]:
    """Numbers and pixels [B, 3, S, S] of image files, batch by batch, read in parallel.

    Remarks of the decoder are counted and printed at the end. With ``blank`` the pixels of an image that
    cannot be decoded are NaN.
    """
    prepare = PREPROCESSINGS[check_preprocessing(preprocessing)]

    def pixels_of(number: int) -> Tensor:
        try:
            return backbone.preprocess(prepare(open_image(*pictures[number], upright)))
        except ValueError:
            if not blank:
                raise
            return torch.full((3, backbone.image_size, backbone.image_size), torch.nan)

    with ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1)) as pool:
        for _, numbers in batches(range(len(pictures)), size):
            yield numbers, torch.stack(list(pool.map(pixels_of, numbers)))
    if remarks := take_remarks():
        print(remarks)


def batches(items: Sequence, size: int = BATCH) -> Iterator[tuple[int, Sequence]]:
    """(place of the first, items) for every batch."""
    for start in range(0, len(items), size):
        yield start, items[start : start + size]


def content_hash(paths: Sequence[Path]) -> str:
    """One hash over the bytes of files, in order. Raises FileNotFoundError for a missing one."""
    for path in paths:
        if not path.is_file():
            raise FileNotFoundError(f"image missing: {path}")
    return fingerprint(list(content_hashes(paths)))


def _benchmark_features(
    backbone: Backbone, benchmark: Benchmark, names: Sequence[str], preprocessing: str, unit: bool = True
) -> Tensor:
    paths = [benchmark.image_path(name) for name in names]
    regions = [benchmark.regions.get(name) for name in names]
    return file_features(backbone, paths, preprocessing, regions, unit, benchmark.upright)
