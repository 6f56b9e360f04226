"""Commands whose options are the fields of settings, which `zscir.cli` loads when one of them is named.

zscir pairs data/cc3m --tau 0.3 --fill drop --out masked/cc3m
zscir train --tau 0.3 --seed 1
zscir evaluate cirr --root ~/data/cirr --method inversion
zscir retrieve dog.jpg "is on the beach" --gallery ~/photos
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from zscir import retrieval
from zscir.backbone import load_backbone
from zscir.benchmarks import READERS, load_benchmark
from zscir.inversion import TrainConfig, fit, load_inversion
from zscir.inversion.config import PRESETS
from zscir.inversion.processes import Processes
from zscir.pairs import Masking, build_masked_pairs, load_pairs
from zscir.pairs.cluster import fill_on_workers
from zscir.retrieval.galleries import image_files
from zscir.retrieval.protocols import method_name
from zscir.retrieval.submission import require_server
from zscir.storage.checks import check, whole_from
from zscir.storage.paths import is_url, printable
from zscir.storage.urls import check_new_url
from zscir.storage.whole import check_new_folder, check_writable

#: Options that papers report the mean over; all values are scored unless one is named.
_PARTS = {"fashioniq": "category", "genecis": "task"}
_HOW = ("prompt", "cleaning", "preprocessing", "weight")

FIELDS = Parameter(name="*")
Pretrained = Annotated[str | None, Parameter(help="open_clip tag or file of weights")]
QuickGELU = Annotated[bool | None, Parameter(help="activation of a file of weights: QuickGELU, or GELU")]
Protocol = Annotated[list[tuple[str, str]] | None, Parameter(name=("-p", "--protocol"), negative="")]


def pairs(
    source: str,
    /,
    *,
    out: str,
    limit: int | None = None,
    backbone: str = "pocket",
    pretrained: Pretrained = None,
    quick_gelu: QuickGELU = None,
    masking: Annotated[Masking | None, FIELDS] = None,
    n_process: int = 1,
    max_skipped: float = 0.2,
    scheduler: str | None = None,
) -> None:
    """Make masked pairs, and write them as a dataset.

    Args:
        source: image-caption pairs, as load_pairs takes them
        out: a new folder for the dataset, or a URL such as s3://bucket/folder
        limit: only so many pairs
        backbone: pocket, a folder, or an open_clip architecture
        n_process: worker processes of spaCy
        max_skipped: share of the pairs that may be left out
        scheduler: address of a Dask cluster that does the work
    """
    processes = Processes()
    if processes.first:
        (check_new_url if is_url(out) else check_new_folder)(out)
    network = load_backbone(backbone, pretrained, processes.device, quick_gelu=quick_gelu)
    masking, found = masking or Masking(), load_pairs(source, limit)
    work = {"n_process": n_process, "max_skipped": max_skipped}
    if scheduler is not None:
        sources = {"pairs": (source, limit), "backbone": (backbone, pretrained, quick_gelu)}
        fill_on_workers(scheduler, network, found, masking, **sources, **work)
    masked = build_masked_pairs(network, found, masking, **work, progress=processes.first)
    if processes.first:
        print("\n".join(f"{name}: {value}" for name, value in masked.report.items()))
        print(f"the masked pairs: {masked.save(out)}")


def train(
    *, config: Annotated[TrainConfig | None, FIELDS] = None, data: str | None = None, resume: str = "auto"
) -> None:
    """Fit a textual inversion network.

    Args:
        data: the same as --pairs
        resume: go on from the last checkpoint of this training (auto), begin anew (none), or name a
            checkpoint
    """
    config = config or TrainConfig()
    config = config if data is None else replace(config, pairs=data)
    inversion = fit(config, resume={"auto": True, "none": False}.get(resume, resume))
    if Processes().first:
        print(inversion.history.tail(5).to_string(index=False))
        print(f"the network: {inversion.path}")


@dataclass(frozen=True)
class Composition:
    """How a query is made, and with what; the same for ``evaluate`` and ``retrieve``.

    Attributes:
        method: inversion, image, text, image+text (or sum), slerp
        backbone: pocket, a folder, or an open_clip architecture
        precision: fp32, or bf16 where the device computes in it
        inversion: a trained network or a checkpoint, or a preset (paper, pic2word, ...), then trained, or
            reused
        tau: threshold of the network to train or reuse
        lam: share of the query-target loss in it
        prompt: pic2word, searle or a template with * and {caption}; default: the benchmark's
        cleaning: of the captions: none, strip or lower
        preprocessing: of the images: clip or targetpad
        weight: share of the text in slerp
    """

    method: str = "inversion"
    backbone: str = "pocket"
    pretrained: Pretrained = None
    quick_gelu: QuickGELU = None
    precision: str = "fp32"
    inversion: str = "paper"
    tau: float | None = None
    lam: float | None = None
    prompt: str | None = None
    cleaning: str = "none"
    preprocessing: str = "clip"
    weight: float = 0.5

    def load(self) -> tuple[Any, dict[str, Any]]:
        """The backbone, and the arguments of `zscir.retrieval.evaluate`, checked before either is loaded."""
        method = method_name(self.method)
        how = {name: getattr(self, name) for name in _HOW}
        retrieval.Composition("text", **how)
        named = {name: getattr(self, name) for name in ("pretrained", "precision", "quick_gelu")}
        backbone = load_backbone(self.backbone, **named)
        network = self._network(backbone) if method == "inversion" else None
        return backbone, {"method": method, "inversion": network, **how}

    def _network(self, backbone: Any) -> Any:
        """The inversion network to evaluate: the stored one, or one fitted to the same backbone."""
        given = {name: value for name in ("tau", "lam") if (value := getattr(self, name)) is not None}
        if self.inversion in PRESETS:
            given |= {name: getattr(self, name) for name in ("backbone", "pretrained", "quick_gelu")}
            return fit(TrainConfig(preset=self.inversion, **given), backbone=backbone)
        network = load_inversion(self.inversion, backbone)
        for name, value in given.items():
            if value != (own := getattr(network.config, name, None)):
                raise ValueError(f"--{name} {value} does not fit {self.inversion}: it was trained with {own}")
        return network


def evaluate(
    benchmark: str,
    /,
    *,
    root: str,
    split: str = "val",
    composition: Annotated[Composition | None, FIELDS] = None,
    allow_missing: bool = False,
    upright: bool = False,
    submission: str | None = None,
    protocol: Protocol = None,
) -> None:
    """Score a method on a benchmark.

    Args:
        benchmark: cirr, fashioniq, circo, genecis, composition or domains
        root: the benchmark's folder, or pocket-tiny|small|large
        split: which queries
        allow_missing: drop the queries whose images are missing or broken
        upright: turn images as their EXIF orientation says, not as they lie in the files
        submission: folder for the test server's files; nothing is scored then
        protocol: protocol option of the benchmark, such as -p category dress
    """
    if submission:
        check_writable(submission)
    options = dict(protocol or ()) | {"allow_missing": allow_missing, "upright": upright}
    part = _PARTS.get(benchmark)
    every = [] if part is None or part in options or submission else READERS[benchmark].options[part]
    parts = [{part: value} for value in every] or [{}]
    loaded = [load_benchmark(benchmark, root, split, **options, **one) for one in parts]
    if submission:
        require_server(loaded[0])
    backbone, how = (composition or Composition()).load()
    if submission:
        queries = retrieval.query_features(backbone, loaded[0], **how)
        gallery = retrieval.gallery_features(backbone, loaded[0], how["preprocessing"])
        print(*retrieval.write_submission(submission, loaded[0], queries, gallery), sep="\n")
        return
    scores = [retrieval.evaluate(backbone, one, **how) for one in loaded]
    _print_scores(retrieval.average(scores) if len(scores) > 1 else scores[0])


def _print_scores(scores: Any) -> None:
    """Metrics in percent with 95 % intervals, the parts of a mean, then the protocol they hold for."""
    for metric, value in scores.metrics.items():
        low, high = scores.interval(metric)
        print(f"{metric:20s} {value:6.2f}   [{low:.2f}, {high:.2f}]")
    for name, value in scores.averages.items():
        print(f"{name}   {value:.2f}")
    if scores.strata.any():
        print(scores.per_group().round(2).to_string(index=False))
    print("\n".join(f"{name}: {value}" for name, value in scores.protocol.items()))


def retrieve(
    image: str,
    text: str,
    /,
    *,
    gallery: str,
    k: Annotated[int, Parameter(name="-k")] = 10,
    out: str = "retrieved.png",
    composition: Annotated[Composition | None, FIELDS] = None,
) -> None:
    """Find the images of a folder that an image and a wish mean.

    Args:
        image: the reference image
        text: what should be different, such as "is on the beach"
        gallery: folder, searched with its subfolders
        k: how many images to find
        out: file for the picture of what was found
    """
    from zscir.figures.pictures import found_files, picture_file, save_found  # a training needs no figures

    check("k", k, whole_from(1))
    place = picture_file(out)
    if not Path(image).is_file():
        raise FileNotFoundError(f"image missing: {image}")
    files = image_files(gallery)
    if place.exists() and any(place.samefile(path) for path in (image, *files)):
        raise ValueError(f"out is {out!r}, a picture that is searched; legal: a file that may be overwritten")
    backbone, how = (composition or Composition()).load()
    found = retrieval.retrieve_files(backbone, image, text, files, k=k, **how)
    for rank, (name, score) in enumerate(zip(found.ids, found.scores, strict=True), start=1):
        print(f"{rank:3d}  {score:.4f}  {printable(name)}")
    save_found(found_files(image, text, found), place)
    print(f"the picture: {printable(place)}")
