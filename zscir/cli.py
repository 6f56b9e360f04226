"""The commands of the shell; each is a thin door to one room of the library.

Those whose options are the fields of typed settings stand in `zscir.cli_settings`, whose import is slow.

    zscir run 07_ablations -p tau 0.27 -o my_run.ipynb
    torchrun --nproc_per_node 8 -m zscir train --backbone ViT-L-14 --pretrained openai --pairs /data/cc3m
    zscir evaluate cirr --root ~/data/cirr --method inversion

A mistake of the caller (a value, a name, a file) or a fault of the machine (a full disk, a folder that cannot
be written) is told in one line on stderr, with exit status 2; a chapter or a page that fails, points of a
sweep, or a training whose loss is no number, with exit status 1.
"""

import ast
import os
import shutil
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, CycloptsError, Parameter, Token, UnknownOptionError, UnusedCliTokensError, convert

import zscir
from zscir.storage.paths import artifacts_hint, artifacts_root, printable

#: Names of the errors that are failures (importing them is slow).
FAILURES = ("BookError", "SweepError", "FloatingPointError")
#: Commands of `zscir.cli_settings`, which is imported when one of them is named.
_SETTINGS = {
    "pairs": "Make masked pairs, and write them as a dataset.",
    "train": "Fit a textual inversion network.",
    "evaluate": "Score a method on a benchmark.",
    "retrieve": "Find the images of a folder that an image and a wish mean.",
}


def _convert(kind: type, tokens: Sequence[Token]) -> Any:
    """Values as their annotations say, but no number with decimals becomes a whole one."""
    if kind in (int, int | None):
        try:
            int(tokens[0].value)
        except ValueError:
            raise ValueError(f"{tokens[0].value!r} is no whole number") from None
    return convert(kind, tokens)


app = App(
    name="zscir",
    help="Zero-shot composed image retrieval: the book, and what it is made with.",
    version=zscir.__version__,
    help_format="plaintext",
    result_action="return_value",
    default_parameter=Parameter(converter=_convert),
)
pocket = app.command(App(name="pocket", help="Make the embedded data."))
for _name, _summary in _SETTINGS.items():
    app.command(f"zscir.cli_settings:{_name}", name=_name, help=_summary)
submission = app.command(App(name="submission", help="Check files for the test servers of CIRR and CIRCO."))


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: the words after ``zscir``; by default those of the process.

    Returns:
        Exit status: 0, or 1 for a failed chapter, page, sweep or training, 2 for a mistake of the caller, 130
        when it was interrupted.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    if argv is None:
        warnings.formatwarning = _warning_line
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # a name of a file may hold what the terminal cannot print
            stream.reconfigure(errors="backslashreplace")
    try:
        command, given = parse(words)
        if command.__name__ == "help_print" and not {"--help", "-h"} & set(words):
            raise ValueError(f"which command? zscir {' '.join([*words, '--help'])} names them")
        artifacts_root()  # one that is not legal is told before any work
        command(*given.args, **given.kwargs)
        sys.stdout.flush()
    except KeyboardInterrupt:
        print("zscir: interrupted; what was finished is stored, the same command goes on", file=sys.stderr)
        return 130  # what shells expect
    except BrokenPipeError:  # who reads has seen enough, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (CycloptsError, ValueError, OSError) as error:
        print(f"zscir: {printable(' '.join(_message(error).split()))}", file=sys.stderr)
        return 2
    except (RuntimeError, FloatingPointError) as error:
        if type(error).__name__ not in FAILURES:
            raise
        print(f"zscir: {error}", file=sys.stderr)
        return 1
    return 0


def _warning_line(message: Warning | str, *place: object) -> str:
    """A warning as a line of ours, in place of Python's two, of which the second is code."""
    return f"zscir: warning: {printable(' '.join(str(message).split()))}\n"


def parse(words: list[str]) -> tuple[Callable, Any]:
    """The function of a command, and its bound arguments.

    Raises:
        CycloptsError: no such command or option, or a value of another type.
    """
    command, given, _ = app.parse_args(words, exit_on_error=False, print_error=False)
    return command, given


def _message(error: Exception) -> str:
    """What an error says; an unknown option comes with a near one, or with all there are."""
    said = str(error)
    if isinstance(error, OSError) and error.strerror:
        if error.filename is None or Path(str(error.filename)).is_relative_to(artifacts_root()):
            said += f" {artifacts_hint()}"
        elif isinstance(error, (FileExistsError, NotADirectoryError)):
            said += " (a file lies where a folder is needed: name another place)"
    if isinstance(error, UnusedCliTokensError):
        said += " The command takes no more words; --help names what it takes."
    if isinstance(error, UnknownOptionError) and "mean" not in said:
        names = [argument.names[0] for argument in error.argument_collection or () if argument.names]
        said += f" The options are: {', '.join(name for name in names if name.startswith('-'))}."
    return said


def parse_value(text: str) -> Any:
    """A parameter's value as written on the command line: a Python literal if it is one, else the text.

    >>> [parse_value(text) for text in ("0.27", "1e-2", "True", "[1, 2]", "tiny", "'7'")]
    [0.27, 0.01, True, [1, 2], 'tiny', '7']
    """
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def _values(given: list[tuple[str, str]] | None) -> dict[str, Any]:
    return {name: parse_value(text) for name, text in given or ()}


def _grouped(_: type, tokens: Sequence[Token]) -> list[list[str]]:
    """``-p tau 0.2 0.4 -p world tiny`` as a list for each ``-p``, whose first word has the index 0."""
    starts = [place for place, token in enumerate(tokens) if token.index == 0]
    words = [token.value for token in tokens]
    return [words[start:stop] for start, stop in zip(starts, [*starts[1:], None], strict=True)]


def _grid(groups: list[list[str]] | None) -> dict[str, list]:
    """Values to try, by the name of their parameter."""
    given: dict[str, list] = {}
    for name, *texts in groups or ():
        if not texts or name in given:
            raise ValueError(f"-p {name} {'is given twice' if texts else 'has no value'}")
        given[name] = [parse_value(text) for text in texts]
    return given


Chapter = Annotated[str, Parameter(help="such as 05_cirr, or 05")]
Profile = Annotated[str, Parameter(help="default, or quick (a small world, few steps)")]
Values = Annotated[list[tuple[str, str]] | None, Parameter(name=("-p", "--parameter"), negative="")]
Grid = Annotated[
    list[list[str]] | None,
    Parameter(name=("-p", "--parameter"), negative="", consume_multiple=True, converter=_grouped),
]
Out = Annotated[str | None, Parameter(name=("-o", "--out"))]


@app.command
def book(
    *,
    profile: Profile = "default",
    only: str | None = None,
    force: bool = False,
    jobs: int | None = None,
    parameter: Values = None,
) -> None:
    """Run the chapters and build the book.

    Args:
        only: run this chapter alone; take the others as they are
        force: run also what has not changed
        jobs: chapters at a time, two if there are two cores
        parameter: name and value, passed to every chapter that declares it
    """
    from zscir.book import build

    print(f"the book: {build(profile, _values(parameter), only, force=force, jobs=jobs)}")


@app.command
def pdf(*, profile: Profile = "default", parameter: Values = None) -> None:
    """Print the built book as one PDF (needs Chromium).

    Args:
        parameter: name and value, as the book was built with
    """
    from zscir.book.pdf import build_pdf

    print(f"the book: {build_pdf(profile, _values(parameter))}")


@app.command
def run(
    chapter: Chapter,
    /,
    *,
    out: Out = None,
    profile: Profile = "default",
    force: bool = False,
    parameter: Values = None,
) -> None:
    """Run one chapter, with any parameters.

    Args:
        out: where to store the executed notebook
        force: run although nothing has changed
        parameter: a parameter of the chapter, such as -p tau 0.27
    """
    from zscir.book import run_chapter
    from zscir.book.chapters import print_remarks

    copy = run_chapter(chapter, _values(parameter), profile, out, force=force)
    print_remarks(copy)
    print(copy)


@app.command
def sweep(
    chapter: Chapter,
    /,
    *,
    parameter: Grid = None,
    seeds: int | None = None,
    workers: int | None = None,
    scheduler: str | None = None,
    profile: Profile = "default",
    out: Out = None,
) -> None:
    """Run one chapter over a grid of parameters and seeds, into one table.

    Args:
        parameter: a parameter and values to try, such as -p tau 0.2 0.4; one value: the same for all
        seeds: each with the seeds 0 to N - 1
        workers: processes here (default: one a core)
        scheduler: address of a Dask cluster that does the work
        out: folder where to keep points and table
    """
    from zscir.book import plan_chapter
    from zscir.storage import run_points

    given = _grid(parameter)
    fixed = {name: values[0] for name, values in given.items() if len(values) == 1}
    axes = {name: values for name, values in given.items() if len(values) > 1}
    options = {"fixed": fixed, "profile": profile, "folder": out, "anywhere": scheduler is not None}
    plan = plan_chapter(chapter, axes, seeds, **options)
    table = run_points(plan.task, plan.points, plan.folder, workers=workers, scheduler=scheduler)
    print(table.to_string(index=False, line_width=shutil.get_terminal_size().columns))
    print(f"the table: {plan.folder / 'table.csv'}")


@pocket.command
def make(*, size: str = "small") -> None:
    """Draw the pocket world and write it in the official layouts.

    Args:
        size: tiny, small or large
    """
    from zscir.pocket import make_pocket

    print(make_pocket(size).path)


@submission.command
def check(files: list[str], /, *, root: str | None = None, split: str | None = None) -> None:
    """Look at files for a test server as the server will.

    Args:
        files: of CIRR's or CIRCO's server, by anyone
        root: the benchmark's folder: every name is then held against its files
        split: by default test1 for CIRR, test for CIRCO
    """
    from zscir.benchmarks import load_benchmark
    from zscir.retrieval import check_submission
    from zscir.retrieval.submission import submission_kind

    for path in files:
        benchmark = None
        if root:
            name = submission_kind(path)
            split_of = split or {"cirr": "test1", "circo": "test"}[name]
            benchmark = load_benchmark(name, root, split_of, require_images=False)
        print(f"{check_submission(path, benchmark)}: the server can take it")
