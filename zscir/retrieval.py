"""Compose queries, encode them and the gallery with a frozen backbone, and score the result.

    scores = evaluate(backbone, benchmark, "inversion", inversion=inversion)
    scores.metrics["recall@1"], scores.interval("recall@1")

Features of your own need no backbone: `score_features(benchmark, query_features, gallery_features)`.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from zscir.artifacts import artifact, fingerprint
from zscir.ranking import Retrieved, require_targets, retrieve, score_features, write_submission
from zscir.scores import Difference, Scores, average, compare, difference

if TYPE_CHECKING:
    from zscir.backbone import Backbone
    from zscir.benchmarks import Benchmark, Query
    from zscir.training import Inversion

__all__ = [
    "METHODS",
    "PROMPTS",
    "Difference",
    "Retrieved",
    "Scores",
    "average",
    "compare",
    "compose_prompt",
    "difference",
    "encode_files",
    "evaluate",
    "gallery_features",
    "query_features",
    "retrieve",
    "score_features",
    "write_submission",
]

#: image: the reference alone; text: the relative caption alone; image+text: the sum of both features;
#: inversion: the prompt with the pseudo-word of the reference
METHODS = ("image", "text", "image+text", "inversion")
#: Pic2Word's prompt (Saito et al., CVPR 2023), the paper's too, and SEARLE's (Baldrati et al., ICCV 2023)
PROMPTS = {"pic2word": "a photo of * , {caption}", "searle": "a photo of * that {caption}"}
BATCH = 128


def compose_prompt(caption: str, style: str = "pic2word") -> str:
    """The prompt of a relative caption, with ``*`` where the pseudo-word goes.

    Args:
        caption: the relative caption; a ``*`` of its own becomes a space.
        style: "pic2word", "searle", or a template with one ``*`` and one ``{caption}``.

    Raises:
        ValueError: the style is neither a known name nor such a template.

    >>> compose_prompt("is red")
    'a photo of * , is red'
    >>> compose_prompt("has 5* written on it", "the * which {caption}")
    'the * which has 5  written on it'
    """
    template = PROMPTS.get(style, style)
    if template.count("*") != 1 or template.count("{caption}") != 1:
        known = ", ".join(map(repr, PROMPTS))
        raise ValueError(
            f"prompt style {style!r} is not one of {known} nor a template with one '*' and one '{{caption}}'"
        )
    return template.replace("{caption}", caption.replace("*", " "))


def gallery_features(backbone: Backbone, benchmark: Benchmark) -> Tensor:
    """Features of the gallery [N, D], float32 on the CPU, rows of length 1 in gallery order.

    Computed once and stored as an artifact, named by the backbone's fingerprint and the bytes of the
    image files: a changed image is encoded anew, a moved or renamed one is not.

    Raises:
        FileNotFoundError: an image is missing (the benchmark was loaded with require_images=False).
        ValueError: a file that is not a whole image; it is named.
    """
    paths = [benchmark.image_path(image_id) for image_id in benchmark.gallery]
    key = {"backbone": backbone.fingerprint, "images": _content_hash(paths)}

    def build(folder: Path) -> None:
        np.save(folder / "features.npy", encode_files(backbone, paths).numpy())

    return torch.from_numpy(np.load(artifact("gallery-features", key, build) / "features.npy"))


def query_features(
    backbone: Backbone,
    benchmark: Benchmark,
    method: str,
    inversion: Inversion | None = None,
    prompt: str = "pic2word",
) -> Tensor:
    """Features of the queries [Q, D], float32 on the CPU, rows of length 1 in query order.

    A query with several wordings (FashionIQ, both orders) is the mean of their normalised features,
    normalised again.

    Args:
        backbone: the frozen CLIP.
        benchmark: from `load_benchmark`.
        method: one of METHODS.
        inversion: the trained network, for "inversion".
        prompt: for "inversion": a style or template of `compose_prompt`.

    Raises:
        ValueError: an unknown method, a missing inversion, or a prompt without ``*``.
    """
    _check_method(method, inversion, prompt)
    if method == "text":
        return _text_features(backbone, benchmark.queries)
    gallery = gallery_features(backbone, benchmark)
    reference = gallery[[benchmark.row[query.reference] for query in benchmark.queries]]  # [Q, D]
    if method == "image":
        return reference
    if method == "image+text":
        return F.normalize(reference + _text_features(backbone, benchmark.queries), dim=-1)
    if not inversion.phi.unit_input:  # published networks
        reference = _raw_references(backbone, benchmark)
    return _inversion_features(backbone, benchmark.queries, reference, inversion, prompt)


def evaluate(
    backbone: Backbone,
    benchmark: Benchmark,
    method: str,
    inversion: Inversion | None = None,
    prompt: str = "pic2word",
) -> Scores:
    """Encode, rank and score one method on one benchmark; the protocol says all that was chosen.

    Arguments and errors are those of `query_features`; a split without targets is refused before
    anything is encoded.
    """
    _check_method(method, inversion, prompt)
    require_targets(benchmark)
    queries = query_features(backbone, benchmark, method, inversion, prompt)
    gallery = gallery_features(backbone, benchmark)
    scores = score_features(benchmark, queries, gallery)
    chosen = {
        "method": method,
        "backbone": f"{backbone.name} ({backbone.fingerprint})",
        "preprocessing": f"the backbone's own, {backbone.image_size} px",
    }
    if method == "inversion":
        chosen |= {"prompt": compose_prompt("{caption}", prompt), "inversion": fingerprint(inversion.config)}
    return replace(scores, protocol={**scores.protocol, **chosen})


def encode_files(backbone: Backbone, paths: Sequence[Path], *, unit: bool = True) -> Tensor:
    """Image features [len(paths), D] of image files, float32 on the CPU, a batch at a time.

    Rows have length 1, or with ``unit=False`` the length that the tower gives them.
    """
    features = [torch.empty(0, backbone.dim)]
    with ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1)) as pool:
        for batch in _batches(paths):
            pixels = torch.stack(list(pool.map(lambda path: backbone.preprocess(_open_image(path)), batch)))
            features.append(backbone.encode_images(pixels, unit=unit).float().cpu())
    return torch.cat(features)


def _check_method(method: str, inversion: Inversion | None, prompt: str) -> None:
    if method not in METHODS:
        raise ValueError(f"method={method!r} is not one of {', '.join(map(repr, METHODS))}")
    if method == "inversion" and inversion is None:
        raise ValueError("method='inversion' needs inversion=, as fit or load_inversion return it")
    compose_prompt("", prompt)


def _batches(items: Sequence) -> Iterator[Sequence]:
    for start in range(0, len(items), BATCH):
        yield items[start : start + BATCH]


def _wordings(queries: Sequence[Query]) -> tuple[list[str], Tensor]:
    """All wordings of all queries, and the query number of each [W]."""
    texts = [text for query in queries for text in query.text]
    owners = [number for number, query in enumerate(queries) for _ in query.text]
    return texts, torch.tensor(owners, dtype=torch.long)


def _mean_of_wordings(features: Tensor, owners: Tensor, count: int) -> Tensor:
    """Sum [Q, D] of unit rows [W, D] by owner, normalised again: the mean's direction."""
    summed = torch.zeros(count, features.shape[1]).index_add_(0, owners, features)
    return F.normalize(summed, dim=-1)


def _text_features(backbone: Backbone, queries: Sequence[Query]) -> Tensor:
    texts, owners = _wordings(queries)
    features = torch.cat([backbone.encode_texts(batch).float().cpu() for batch in _batches(texts)])
    return _mean_of_wordings(features, owners, len(queries))


def _raw_references(backbone: Backbone, benchmark: Benchmark) -> Tensor:
    """Features [Q, D] of the reference images as the tower gives them, not of length 1."""
    names = sorted({query.reference for query in benchmark.queries})
    paths = [benchmark.image_path(name) for name in names]
    features = encode_files(backbone, paths, unit=False)
    place = {name: row for row, name in enumerate(names)}
    return features[[place[query.reference] for query in benchmark.queries]]


@torch.no_grad()
def _inversion_features(
    backbone: Backbone, queries: Sequence[Query], reference: Tensor, inversion: Inversion, prompt: str
) -> Tensor:
    texts, owners = _wordings(queries)
    phi = inversion.phi.eval()
    place = next(phi.parameters()).device
    words = torch.cat([phi(batch.to(place)) for batch in _batches(reference)])  # [Q, token width]
    prompts = [compose_prompt(text, prompt) for text in texts]
    features = [
        backbone.encode_composed(batch, words[rows.to(place)].to(backbone.device)).float().cpu()
        for batch, rows in zip(_batches(prompts), _batches(owners), strict=True)
    ]
    return _mean_of_wordings(torch.cat(features), owners, len(queries))


def _open_image(path: Path) -> Image.Image:
    """The whole image in memory. Raises an error that names the file when it cannot be decoded."""
    if not path.is_file():
        raise FileNotFoundError(f"image missing: {path}")
    try:
        with Image.open(path) as image:
            if "transparency" in image.info:
                image = image.convert("RGBA")  # a palette's transparency, which PIL would warn of
            return image.convert("RGB")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError(f"{path} cannot be decoded as an image: {error}") from error


def _content_hash(paths: Sequence[Path]) -> str:
    """One hash over the bytes of files, in order."""
    hashes = []
    for path in paths:
        if not path.is_file():
            raise FileNotFoundError(f"image missing: {path}")
        stat = path.stat()
        hashes.append(_file_hash(path, stat.st_size, stat.st_mtime_ns))
    return fingerprint(hashes)


@lru_cache(maxsize=2**18)
def _file_hash(path: Path, size: int, modified_ns: int) -> str:
    """SHA-256 of a file's bytes; read once in a process as long as size and time stay."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
