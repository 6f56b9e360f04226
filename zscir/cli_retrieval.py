"""The shell's commands that score, search and submit.

zscir evaluate cirr --root ~/data/cirr --method inversion --tau 0.3
zscir retrieve dog.jpg "is on the beach" --gallery ~/photos
zscir submission check cirr_test1_recall.json --root ~/data/cirr
"""

from __future__ import annotations

import argparse
from typing import Any

Parser = argparse.ArgumentParser

#: Benchmarks that papers report as the mean over an option's values, which are all scored unless one is
#: named.
PARTS = {
    "fashioniq": ("category", ("dress", "shirt", "toptee")),
    "genecis": ("task", ("focus_attribute", "change_attribute", "focus_object", "change_object")),
}


def _composition_options(parser: Parser) -> None:
    """How a query is made, and with what; the same for evaluate and retrieve."""
    parser.add_argument(
        "--method", default="inversion", help="inversion, image, text, image+text (or sum), slerp"
    )
    parser.add_argument("--backbone", default="pocket", help="pocket, a folder, or an open_clip architecture")
    parser.add_argument("--pretrained", help="open_clip tag or file of weights")
    parser.add_argument("--precision", default="fp32", help="fp32, or bf16 where the device computes in it")
    parser.add_argument(
        "--inversion",
        metavar="NAME",
        default="paper",
        help="a trained network or a checkpoint, or a preset (paper, pic2word, ...), then trained, or reused",
    )
    parser.add_argument("--tau", type=float, help="threshold of the network to train or reuse")
    parser.add_argument("--lam", type=float, help="share of the query-target loss in it")
    parser.add_argument(
        "--prompt", help="pic2word, searle or a template with * and {caption}; default: the benchmark's"
    )
    parser.add_argument("--cleaning", default="none", help="of the captions: none, strip or lower")
    parser.add_argument("--preprocessing", default="clip", help="of the images: clip or targetpad")
    parser.add_argument("--weight", type=float, default=0.5, help="share of the text in slerp")


def evaluate_options(parser: Parser, words: list[str]) -> None:
    """Options of ``zscir evaluate``."""
    parser.add_argument("benchmark", help="cirr, fashioniq, circo, genecis, composition or domains")
    parser.add_argument("--root", required=True, help="the benchmark's folder, or pocket-tiny|small|large")
    parser.add_argument("--split", default="val")
    _composition_options(parser)
    parser.add_argument(
        "--allow-missing", action="store_true", help="drop the queries whose images are missing or broken"
    )
    parser.add_argument("--submission", metavar="FOLDER", help="write the test server's files, do not score")
    _protocol_option(parser)
    parser.set_defaults(command=_evaluate)


def _protocol_option(parser: Parser) -> None:
    text = "protocol option of the benchmark, such as -p category dress"
    flags = ("-p", "--protocol")
    parser.add_argument(*flags, nargs=2, action="append", default=[], metavar=("NAME", "VALUE"), help=text)


def _evaluate(args: argparse.Namespace) -> None:
    from zscir import retrieval

    options = dict(args.protocol) | ({"allow_missing": True} if args.allow_missing else {})
    benchmarks = _benchmarks(args, options)
    backbone, how = _composition(args)
    if args.submission:
        queries = retrieval.query_features(backbone, benchmarks[0], **how)
        gallery = retrieval.gallery_features(backbone, benchmarks[0], how["preprocessing"])
        for path in retrieval.write_submission(args.submission, benchmarks[0], queries, gallery):
            print(path)
        return
    scores = [retrieval.evaluate(backbone, one, **how) for one in benchmarks]
    _print_scores(retrieval.average(scores) if len(scores) > 1 else scores[0])


def _benchmarks(args: argparse.Namespace, options: dict[str, Any]) -> list[Any]:
    """The benchmark asked for: one, or one for each part that papers average."""
    from zscir.benchmarks import load_benchmark

    name, values = PARTS.get(args.benchmark, ("", ()))
    every = values and name not in options and not args.submission
    parts = [{name: one} for one in values] if every else [{}]
    return [load_benchmark(args.benchmark, args.root, args.split, **options, **part) for part in parts]


def _composition(args: argparse.Namespace) -> tuple[Any, dict[str, Any]]:
    """The backbone, and the arguments of `zscir.retrieval.evaluate`, checked before anything is loaded."""
    from zscir.backbone import load_backbone
    from zscir.retrieval import compose_prompt
    from zscir.retrieval.protocols import check_preprocessing, clean_caption, method_name

    method = method_name(args.method)
    compose_prompt("", args.prompt or "pic2word")
    clean_caption("", args.cleaning)
    check_preprocessing(args.preprocessing)
    backbone = load_backbone(args.backbone, args.pretrained, precision=args.precision)
    network = _network(args, backbone) if method == "inversion" else None
    how = {"method": method, "inversion": network, "prompt": args.prompt, "cleaning": args.cleaning}
    return backbone, how | {"preprocessing": args.preprocessing, "weight": args.weight}


def _network(args: argparse.Namespace, backbone: Any) -> Any:
    """The inversion network to evaluate: the stored one, or one fitted to the same backbone."""
    from zscir.inversion import TrainConfig, fit, load_inversion
    from zscir.inversion.config import PRESETS

    given = {name: getattr(args, name) for name in ("tau", "lam") if getattr(args, name) is not None}
    if args.inversion in PRESETS:
        settings = {"preset": args.inversion, "backbone": args.backbone, "pretrained": args.pretrained}
        return fit(TrainConfig(**settings, **given), backbone=backbone)
    network = load_inversion(args.inversion, backbone)
    for name, value in given.items():
        own = getattr(network.config, name, None)
        if own != value:
            raise ValueError(f"--{name} {value} does not fit {args.inversion}, which was trained with {own}")
    return network


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


def retrieve_options(parser: Parser, words: list[str]) -> None:
    """Options of ``zscir retrieve``."""
    parser.add_argument("image", help="the reference image")
    parser.add_argument("text", help='what should be different, such as "is on the beach"')
    parser.add_argument("--gallery", required=True, metavar="FOLDER", help="searched with its subfolders")
    parser.add_argument("-k", type=int, default=10, help="how many images to find")
    parser.add_argument("--out", default="retrieved.png", metavar="FILE", help="where the picture goes")
    _composition_options(parser)
    parser.set_defaults(command=_retrieve)


def _retrieve(args: argparse.Namespace) -> None:
    from pathlib import Path

    from zscir.figures.pictures import found_files
    from zscir.retrieval import retrieve_files
    from zscir.retrieval.queries import image_files

    if not Path(args.image).is_file():
        raise FileNotFoundError(f"image missing: {args.image}")
    files = image_files(args.gallery)
    backbone, how = _composition(args)
    found = retrieve_files(backbone, args.image, args.text, files, k=args.k, **how)
    for place, (name, score) in enumerate(zip(found.ids, found.scores, strict=True), start=1):
        print(f"{place:3d}  {score:.4f}  {name}")
    found_files(args.image, args.text, found).savefig(args.out)
    print(f"the picture: {args.out}")


def submission_options(parser: Parser, words: list[str]) -> None:
    """Options of ``zscir submission``."""
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    text = "look at files for a test server as the server will"
    check = commands.add_parser("check", help=text, description=text)
    check.add_argument("files", nargs="+", metavar="FILE", help="of CIRR's or CIRCO's server, by anyone")
    check.add_argument("--root", help="the benchmark's folder: every name is then held against its files")
    check.add_argument("--split", help="by default test1 for CIRR, test for CIRCO")
    check.set_defaults(command=_check)


def _check(args: argparse.Namespace) -> None:
    from zscir.benchmarks import load_benchmark
    from zscir.retrieval import check_submission
    from zscir.retrieval.submission import submission_kind

    for path in args.files:
        benchmark = None
        if args.root:
            name = submission_kind(path)
            split = args.split or {"cirr": "test1", "circo": "test"}[name]
            benchmark = load_benchmark(name, args.root, split, require_images=False)
        print(f"{check_submission(path, benchmark)}: the server can take it")
