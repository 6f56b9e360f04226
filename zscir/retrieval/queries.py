"""Compose queries, encode them and the gallery with a frozen backbone, and score the result.

    scores = evaluate(backbone, benchmark, "inversion", inversion=inversion)
    scores.metrics["recall@1"], scores.interval("recall@1")

Features of your own need no backbone: `score_features(benchmark, query_features, gallery_features)`.
"""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from zscir.backbone import Backbone
from zscir.backbone.weights import weights_hash
from zscir.benchmarks import Benchmark, Query
from zscir.inversion import Inversion
from zscir.retrieval.features import batches, file_features, gallery_features, reference_features
from zscir.retrieval.galleries import image_files, left_out_line
from zscir.retrieval.protocols import check_preprocessing, clean_caption, compose_prompt, method_name, slerp
from zscir.retrieval.ranking import Retrieved, require_targets, retrieve, score_features
from zscir.retrieval.scores import Scores


@dataclass(frozen=True)
class Composition:
    """How image and words become one query; checked when it is made.

    Attributes:
        method: one of METHODS; "sum" is another name of "image+text".
        inversion: the trained network, for "inversion": anything with a ``phi``, as `zscir.fit` returns it.
        prompt: for "inversion": a style or template of `compose_prompt`; None for the benchmark's own.
        cleaning: of the relative captions, a name in CLEANINGS.
        preprocessing: of the images, a name in PREPROCESSINGS.
        weight: for "slerp": the share of the text, from 0 (the image alone) to 1 (the text alone).

    Raises:
        ValueError: an unknown name, a missing inversion, or a weight outside 0 to 1.
    """

    method: str
    inversion: Inversion | None = None
    prompt: str | None = None
    cleaning: str = "none"
    preprocessing: str = "clip"
    weight: float = 0.5

    def __post_init__(self):
        object.__setattr__(self, "method", method_name(self.method))
        if self.method == "inversion" and self.inversion is None:
            raise ValueError("method='inversion' needs inversion=, as fit or load_inversion return it")
        compose_prompt("", self.prompt or "pic2word")
        clean_caption("", self.cleaning)
        check_preprocessing(self.preprocessing)
        slerp(torch.ones(1, 1), torch.ones(1, 1), self.weight)

    def protocol(self, backbone: Backbone, benchmark: Benchmark) -> dict[str, object]:
        """What was chosen, in words, for the protocol."""
        words = {
            "method": self.method,
            "backbone": f"{backbone.name} ({backbone.fingerprint})",
            **({"weights": backbone.assumed} if backbone.assumed else {}),
            "precision": backbone.precision,
            "preprocessing": f"{self.preprocessing}, {backbone.image_size} px",
            "cleaning": self.cleaning,
        }
        if self.method == "slerp":
            words["weight"] = self.weight
        if self.method == "inversion":
            words["prompt"] = compose_prompt("{caption}", self.prompt or benchmark.prompt)
            words["inversion"] = network_words(self.inversion)
        return words


def query_features(backbone: Backbone, benchmark: Benchmark, *how: object, **options: object) -> Tensor:
    """Features of the queries [Q, D], float32 on the CPU, rows of length 1 in query order.

    A query with several wordings (FashionIQ, both orders) is the mean of their normalised features,
    normalised again.

    Args:
        backbone: the frozen CLIP.
        benchmark: from `load_benchmark`.
        how, options: the settings of `Composition`, its method first.

    Raises:
        ValueError: what `Composition` refuses, or an image that cannot be read.
    """
    chosen = Composition(*how, **options)
    if chosen.method == "text":
        return _text_features(backbone, benchmark, chosen)
    unit = chosen.method != "inversion" or chosen.inversion.phi.unit_input  # networks of others
    reference = reference_features(backbone, benchmark, chosen.preprocessing, unit)  # [Q, D]
    if chosen.method == "image":
        return reference
    if chosen.method == "inversion":
        return inversion_features(backbone, benchmark, reference, chosen)
    text = _text_features(backbone, benchmark, chosen)
    if chosen.method == "slerp":
        return slerp(reference, text, chosen.weight)
    return F.normalize(reference + text, dim=-1)


def evaluate(backbone: Backbone, benchmark: Benchmark, *how: object, **options: object) -> Scores:
    """Encode, rank and score one method on one benchmark; the protocol says all that was chosen.

    Arguments and errors are those of `query_features`; a split without targets is refused before
    anything is encoded.
    """
    chosen = Composition(*how, **options)
    require_targets(benchmark)
    queries = query_features(backbone, benchmark, *how, **options)
    gallery = gallery_features(backbone, benchmark, chosen.preprocessing)
    place = None if backbone.device.type == "cpu" else str(backbone.device)
    scores = score_features(benchmark, queries, gallery, device=place)
    return replace(scores, protocol={**scores.protocol, **chosen.protocol(backbone, benchmark)})


def retrieve_files(
    backbone: Backbone,
    image: str | Path,
    text: str,
    gallery: str | Path | Sequence[str | Path],
    method: str = "inversion",
    inversion: Inversion | None = None,
    prompt: str | None = None,
    k: int = 10,
    **options: object,
) -> Retrieved:
    """The k files of a folder that an image and a wish find; the image itself is left out.

    Args:
        backbone: the frozen CLIP.
        image: file of the reference image.
        text: the relative caption, such as "is on the beach".
        gallery: a folder, searched with its subfolders (`zscir.retrieval.galleries`), or a list of files.
        method, inversion, prompt, options: as in `Composition`.
        k: how many; fewer come back from a smaller gallery.

    Returns:
        Paths, as strings, best first, and their cosines.

    Raises:
        FileNotFoundError: the image or the folder is missing, or holds no images.
        ValueError: what `Composition` refuses, or a reference that is not a whole image. Files of the gallery
            that are none are left out, counted in a line.
    """

    image, files = Path(image), {str(path): path for path in image_files(gallery)}
    own = os.path.realpath(image)
    names = [name for name, path in files.items() if os.path.realpath(path) != own]
    if not names:
        raise FileNotFoundError(f"gallery: nothing is left of {len(files)} files without the image itself")
    query = Query("0", str(image), (text,))
    paths = {**files, str(image): image}
    wish = Benchmark("files", "", [query], names, paths, False, (), {}, upright=True)
    features = query_features(backbone, wish, method, inversion, prompt, **options)
    preprocessing = options.get("preprocessing", "clip")
    places = [files[name] for name in names]
    encoded = file_features(backbone, places, preprocessing, upright=True, blank=True)
    whole = encoded.isfinite().all(dim=1)  # [N]
    usable = dict(zip(names, whole.tolist(), strict=True))
    if broken := [f"{name} (damaged within)" for name in names if not usable[name]]:
        print(left_out_line([], broken))
    if len(broken) == len(names):
        raise FileNotFoundError(f"gallery: none of its {len(names)} images can be decoded")
    wish = replace(wish, gallery=[name for name in names if usable[name]])
    return retrieve(wish, features, encoded[whole], 0, k)


def network_words(inversion: Inversion) -> str:
    """An inversion network in words: its settings where it has some, and a hash of its weights."""
    config = getattr(inversion, "config", None)
    shown = ("preset", "tau", "lam", "steps", "seed", "layout", "file")
    known = [f"{name} {getattr(config, name)}" for name in shown if getattr(config, name, None) is not None]
    return f"{', '.join(known) or 'imported'} ({weights_hash(inversion.phi)[:16]})"


def _mean_of_wordings(
    benchmark: Benchmark, cleaning: str, encode: Callable[[Sequence[str], Tensor], Tensor]
) -> Tensor:
    """Features [Q, D]: the direction of the mean over a query's wordings, cleaned.

    ``encode`` takes wordings and the query number of each [W], and gives their features [W, D], unit rows.
    """
    owned = [(number, text) for number, query in enumerate(benchmark.queries) for text in query.text]
    texts = [clean_caption(text, cleaning) for _, text in owned]
    owners = torch.tensor([number for number, _ in owned])
    encoded = [encode(own, owners[start : start + len(own)]).float().cpu() for start, own in batches(texts)]
    features = torch.cat(encoded)
    summed = torch.zeros(len(benchmark.queries), features.shape[1]).index_add_(0, owners, features)
    return F.normalize(summed, dim=-1)


def _text_features(backbone: Backbone, benchmark: Benchmark, how: Composition) -> Tensor:
    return _mean_of_wordings(benchmark, how.cleaning, lambda texts, _: backbone.encode_texts(texts))


@torch.no_grad()
def pseudo_words(inversion: Inversion, features: Tensor) -> Tensor:
    """Pseudo-words [B, W] of image features [B, D], as the network ``inversion.phi`` makes them."""
    phi = inversion.phi.eval()
    place = next(phi.parameters()).device
    return torch.cat([phi(batch.to(place)) for _, batch in batches(features)])


@torch.no_grad()
def inversion_features(
    backbone: Backbone, benchmark: Benchmark, reference: Tensor, how: Composition
) -> Tensor:
    """What `query_features` gives for "inversion", from other reference features [Q, D] than the benchmark's.

    Such as those of masked references; rows must have the length that ``how.inversion.phi`` expects.
    """
    words = pseudo_words(how.inversion, reference)  # [Q, token width]

    def encode(texts: Sequence[str], owners: Tensor) -> Tensor:
        prompts = [compose_prompt(text, how.prompt or benchmark.prompt) for text in texts]
        return backbone.encode_composed(prompts, words[owners.to(words.device)].to(backbone.device))

    return _mean_of_wordings(benchmark, how.cleaning, encode)
