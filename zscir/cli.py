"""The commands of the shell; each is a thin door to one room of the library.

    zscir book --profile quick
    zscir pdf --profile quick
    zscir run 07_ablations -p tau 0.27 -o my_run.ipynb
    zscir sweep 05_cirr -p tau 0.2 0.3 0.4 --seeds 5
    zscir pocket make --size small
    zscir pairs data/cc3m --tau 0.3 --fill drop --out masked/cc3m
    zscir train --tau 0.3 --seed 1
    torchrun --nproc_per_node 8 -m zscir train --backbone ViT-L-14 --pretrained openai --pairs /data/cc3m
    zscir evaluate cirr --root ~/data/cirr --method inversion
    zscir retrieve dog.jpg "is on the beach" --gallery ~/photos
    zscir submission check cirr_test1_recall.json

A mistake of the caller (a value, a name, a file) is told in one line on stderr, with exit status 2; a chapter
or a page that fails, points of a sweep, or a training whose loss is no number, with exit status 1.
"""

from __future__ import annotations

import argparse
import ast
import dataclasses
import shutil
import sys
import types
import typing
from collections.abc import Sequence
from typing import Any

Parser = argparse.ArgumentParser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: the words after ``zscir``; by default those of the process.

    Returns:
        Exit status: 0, or 1 for a failed chapter, page, sweep or training, or 2 for a mistake of the caller.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    args = _parser(words).parse_args(words)
    try:
        args.command(args)
    except (ValueError, FileNotFoundError, FileExistsError) as error:
        print(f"zscir: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except FloatingPointError as error:
        print(f"zscir: {error}", file=sys.stderr)
        return 1
    except RuntimeError as error:
        if type(error).__name__ not in ("BookError", "SweepError"):  # by name: importing them is slow
            raise
        print(f"zscir: {error}", file=sys.stderr)
        return 1
    return 0


def _parser(words: list[str]) -> Parser:
    """The parser; only the options of the command that was named are made, so help stays quick."""
    parser = Parser(prog="zscir", description=(__doc__ or "").partition("\n")[0])
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for name, (add_options, summary) in _COMMANDS.items():
        sub = commands.add_parser(name, help=summary, description=summary)
        if words[:1] == [name]:
            add_options(sub, words[1:])
    return parser


def parse_value(text: str) -> Any:
    """A parameter's value as written on the command line: a Python literal if it is one, else the text.

    >>> [parse_value(text) for text in ("0.27", "1e-2", "True", "[1, 2]", "tiny", "'7'")]
    [0.27, 0.01, True, [1, 2], 'tiny', '7']
    """
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def _pairs(given: list[list[str]] | None, read: typing.Callable[[str], Any] = parse_value) -> dict[str, Any]:
    return {name: read(text) for name, text in given or []}


def _add_pairs(parser: Parser, help_text: str, *flags: str) -> None:
    parser.add_argument(*flags, nargs=2, action="append", metavar=("NAME", "VALUE"), help=help_text)


def _book_options(parser: Parser, words: list[str]) -> None:
    parser.add_argument("--profile", default="default", help="default, or quick (a small world, few steps)")
    parser.add_argument(
        "--only", metavar="CHAPTER", help="run this chapter alone; take the others as they are"
    )
    parser.add_argument("--force", action="store_true", help="run also what has not changed")
    _add_pairs(parser, "passed to every chapter that declares it", "-p", "--parameter")
    parser.set_defaults(command=_book)


def _book(args: argparse.Namespace) -> None:
    from zscir.book import build

    print(f"the book: {build(args.profile, _pairs(args.parameter), args.only, force=args.force)}")


def _pdf_options(parser: Parser, words: list[str]) -> None:
    parser.add_argument("--profile", default="default", help="of the book: default, or quick")
    _add_pairs(parser, "as the book was built with", "-p", "--parameter")
    parser.set_defaults(command=_pdf)


def _pdf(args: argparse.Namespace) -> None:
    from zscir.book.pdf import build_pdf

    print(f"the book: {build_pdf(args.profile, _pairs(args.parameter))}")


def _run_options(parser: Parser, words: list[str]) -> None:
    parser.add_argument("chapter", help="such as 05_cirr, or 05")
    parser.add_argument("-o", "--out", metavar="FILE", help="where to store the executed notebook")
    parser.add_argument("--profile", default="default", help="default, or quick (a small world, few steps)")
    parser.add_argument("--force", action="store_true", help="run although nothing has changed")
    _add_pairs(parser, "a parameter of the chapter, such as -p tau 0.27", "-p", "--parameter")
    parser.set_defaults(command=_run)


def _run(args: argparse.Namespace) -> None:
    from zscir.book import run_chapter

    print(run_chapter(args.chapter, _pairs(args.parameter), args.profile, args.out, force=args.force))


def _sweep_options(parser: Parser, words: list[str]) -> None:
    parser.add_argument("chapter", help="such as 05_cirr, or 05")
    parser.add_argument(
        *("-p", "--parameter"),
        nargs="+",
        action="append",
        metavar=("NAME", "VALUE"),
        help="a parameter and values to try, such as -p tau 0.2 0.4; one value: the same for all",
    )
    parser.add_argument("--seeds", type=int, metavar="N", help="each with the seeds 0 to N - 1")
    parser.add_argument("--workers", type=int, metavar="N", help="processes here (default: one a core)")
    parser.add_argument("--scheduler", metavar="ADDRESS", help="of a Dask cluster that does the work")
    parser.add_argument("--profile", default="default", help="default, or quick (a small world, few steps)")
    parser.add_argument("-o", "--out", metavar="FOLDER", help="where to keep points and table")
    parser.set_defaults(command=_sweep)


def _sweep(args: argparse.Namespace) -> None:
    from zscir.book import plan_chapter
    from zscir.storage import run_points

    given: dict[str, list] = {}
    for name, *texts in args.parameter or []:
        if not texts or name in given:
            raise ValueError(f"-p {name} {'is given twice' if texts else 'has no value'}")
        given[name] = [parse_value(text) for text in texts]
    fixed = {name: values[0] for name, values in given.items() if len(values) == 1}
    axes = {name: values for name, values in given.items() if len(values) > 1}
    options = {"fixed": fixed, "profile": args.profile, "folder": args.out}
    plan = plan_chapter(args.chapter, axes, args.seeds, anywhere=args.scheduler is not None, **options)
    work = {"workers": args.workers, "scheduler": args.scheduler}
    table = run_points(plan.task, plan.points, plan.folder, **work)
    print(table.to_string(index=False, line_width=shutil.get_terminal_size().columns))
    print(f"the table: {plan.folder / 'table.csv'}")


def _pocket_options(parser: Parser, words: list[str]) -> None:
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    make = commands.add_parser("make", help="draw the pocket world and write it in the official layouts")
    make.add_argument("--size", default="small", help="tiny, small or large")
    make.set_defaults(command=_pocket_make)


def _pocket_make(args: argparse.Namespace) -> None:
    from zscir.pocket import make_pocket

    print(make_pocket(args.size).path)


def add_dataclass_options(parser: Parser, config: type) -> None:
    """One option for each field of a dataclass; options that are not given leave no trace in the result.

    A field ``weight_decay: float = 0.1`` becomes ``--weight-decay 0.1``; a boolean ``--x`` and ``--no-x``.
    """
    hints = typing.get_type_hints(config)
    for field in dataclasses.fields(config):
        flag, kind = f"--{field.name.replace('_', '-')}", hints[field.name]
        if isinstance(kind, types.UnionType) or typing.get_origin(kind) is typing.Union:
            kind = next(one for one in typing.get_args(kind) if one is not type(None))
        shown = {"default": argparse.SUPPRESS, "help": f"default: {field.default}"}
        if kind is bool:
            parser.add_argument(flag, action=argparse.BooleanOptionalAction, **shown)
        elif typing.get_origin(kind) is typing.Literal:
            parser.add_argument(flag, choices=typing.get_args(kind), **shown)
        else:
            parser.add_argument(flag, type=kind if kind in (int, float) else str, **shown)


def _given(args: argparse.Namespace, config: type) -> dict[str, Any]:
    names = {field.name for field in dataclasses.fields(config)}
    return {name: value for name, value in vars(args).items() if name in names}


def _pairs_options(parser: Parser, words: list[str]) -> None:
    from zscir.pairs import Masking

    parser.add_argument("source", help="image-caption pairs, as load_pairs takes them")
    parser.add_argument("--out", required=True, metavar="FOLDER", help="a new folder for the dataset")
    parser.add_argument("--limit", type=int, help="only so many pairs")
    parser.add_argument("--backbone", default="pocket", help="pocket, a folder, or an open_clip architecture")
    parser.add_argument("--pretrained", help="open_clip tag or file of weights")
    add_dataclass_options(parser, Masking)
    parser.add_argument("--n-process", type=int, default=1, help="worker processes of spaCy")
    parser.add_argument("--max-skipped", type=float, default=0.2, help="share that may be left out")
    parser.set_defaults(command=_masked_pairs)


def _masked_pairs(args: argparse.Namespace) -> None:
    from zscir.backbone import load_backbone
    from zscir.pairs import Masking, build_masked_pairs, load_pairs

    masking = Masking(**_given(args, Masking))
    backbone, pairs = load_backbone(args.backbone, args.pretrained), load_pairs(args.source, args.limit)
    work = {"n_process": args.n_process, "max_skipped": args.max_skipped}
    masked = build_masked_pairs(backbone, pairs, masking, **work)
    print("\n".join(f"{name}: {value}" for name, value in masked.report.items()))
    print(f"the masked pairs: {masked.save(args.out)}")


def _train_options(parser: Parser, words: list[str]) -> None:
    from zscir.inversion import TrainConfig

    add_dataclass_options(parser, TrainConfig)
    parser.add_argument("--data", dest="pairs", default=argparse.SUPPRESS, help="the same as --pairs")
    parser.add_argument(
        "--resume",
        default="auto",
        metavar="auto|none|FOLDER",
        help="go on from the last checkpoint of this training (auto), begin anew, or name a checkpoint",
    )
    parser.set_defaults(command=_train)


def _train(args: argparse.Namespace) -> None:
    from zscir.inversion import TrainConfig, fit
    from zscir.inversion.processes import Processes

    config = TrainConfig(**_given(args, TrainConfig))
    resume = {"auto": True, "none": False}.get(args.resume, args.resume)
    inversion = fit(config, resume=resume)
    if Processes().first:
        print(inversion.history.tail(5).to_string(index=False))
        print(f"the network: {inversion.path}")


def _from(name: str) -> typing.Callable[[Parser, list[str]], None]:
    """The function of `zscir.cli_retrieval` that adds a command's options, imported when it is called."""

    def add_options(parser: Parser, words: list[str]) -> None:
        from zscir import cli_retrieval

        getattr(cli_retrieval, name)(parser, words)

    return add_options


_COMMANDS = {
    "book": (_book_options, "run the chapters and build the book"),
    "pdf": (_pdf_options, "print the built book as one PDF (needs Chromium)"),
    "run": (_run_options, "run one chapter, with any parameters"),
    "sweep": (_sweep_options, "run one chapter over a grid of parameters and seeds, into one table"),
    "pocket": (_pocket_options, "make the embedded data, or train its backbone"),
    "pairs": (_pairs_options, "make masked pairs, and write them as a dataset"),
    "train": (_train_options, "fit a textual inversion network"),
    "evaluate": (_from("evaluate_options"), "score a method on a benchmark"),
    "retrieve": (_from("retrieve_options"), "find the images of a folder that an image and a wish mean"),
    "submission": (_from("submission_options"), "check files for the test servers of CIRR and CIRCO"),
}
