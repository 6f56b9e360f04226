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

import ast
import dataclasses
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, CycloptsError, Parameter, Token, UnknownOptionError, convert

import zscir

#: Errors that are the caller's mistakes, and the names of those that are failures (importing them is slow).
MISTAKES = (ValueError, FileNotFoundError, FileExistsError)
FAILURES = ("BookError", "SweepError", "FloatingPointError")
#: Benchmarks that papers report as the mean over an option's values, which are all scored unless one is
#: named.
PARTS = {
    "fashioniq": ("category", ("dress", "shirt", "toptee")),
    "genecis": ("task", ("focus_attribute", "change_attribute", "focus_object", "change_object")),
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
submission = app.command(App(name="submission", help="Check files for the test servers of CIRR and CIRCO."))
pairs = app.command(App(name="pairs", help="Make masked pairs, and write them as a dataset."))
train = app.command(App(name="train", help="Fit a textual inversion network."))


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: the words after ``zscir``; by default those of the process.

    Returns:
        Exit status: 0, or 1 for a failed chapter, page, sweep or training, or 2 for a mistake of the caller.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        command, given = parse(words)
        if command.__name__ == "help_print" and not {"--help", "-h"} & set(words):
            raise ValueError(f"which command? zscir {' '.join([*words, '--help'])} names them")
        command(*given.args, **given.kwargs)
    except (CycloptsError, *MISTAKES) as error:
        print(f"zscir: {' '.join(_message(error).split())}", file=sys.stderr)
        return 2
    except (RuntimeError, FloatingPointError) as error:
        if type(error).__name__ not in FAILURES:
            raise
        print(f"zscir: {error}", file=sys.stderr)
        return 1
    return 0


def parse(words: list[str]) -> tuple[Callable, Any]:
    """The function of a command, and its bound arguments.

    The options of ``train`` and ``pairs`` are the fields of settings whose import is slow; they are made only
    when the command is named.

    Raises:
        CycloptsError: no such command or option, or a value of another type.
    """
    for command, door in ((train, _train), (pairs, _pairs)):
        if words[:1] == [command.name[0]] and command.default_command is None:
            command.default(door())
    command, given, _ = app.parse_args(words, exit_on_error=False, print_error=False)
    return command, given


def _message(error: Exception) -> str:
    """What an error says; an unknown option comes with a near one, or with all there are."""
    said = str(error)
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


FIELDS = Parameter(name="*")
Named = list[tuple[str, str]] | None
Values = Annotated[Named, Parameter(name=("-p", "--parameter"), negative="")]
Protocol = Annotated[Named, Parameter(name=("-p", "--protocol"), negative="")]
Grid = Annotated[
    list[list[str]] | None,
    Parameter(name=("-p", "--parameter"), negative="", consume_multiple=True, converter=_grouped),
]
Out = Annotated[str | None, Parameter(name=("-o", "--out"))]


@app.command
def book(
    *, profile: str = "default", only: str | None = None, force: bool = False, parameter: Values = None
) -> None:
    """Run the chapters and build the book.

    Args:
        profile: default, or quick (a small world, few steps)
        only: run this chapter alone; take the others as they are
        force: run also what has not changed
        parameter: name and value, passed to every chapter that declares it
    """
    from zscir.book import build

    print(f"the book: {build(profile, _values(parameter), only, force=force)}")


@app.command
def pdf(*, profile: str = "default", parameter: Values = None) -> None:
    """Print the built book as one PDF (needs Chromium).

    Args:
        profile: of the book: default, or quick
        parameter: name and value, as the book was built with
    """
    from zscir.book.pdf import build_pdf

    print(f"the book: {build_pdf(profile, _values(parameter))}")


@app.command
def run(
    chapter: str,
    /,
    *,
    out: Out = None,
    profile: str = "default",
    force: bool = False,
    parameter: Values = None,
) -> None:
    """Run one chapter, with any parameters.

    Args:
        chapter: such as 05_cirr, or 05
        out: where to store the executed notebook
        profile: default, or quick (a small world, few steps)
        force: run although nothing has changed
        parameter: a parameter of the chapter, such as -p tau 0.27
    """
    from zscir.book import run_chapter

    print(run_chapter(chapter, _values(parameter), profile, out, force=force))


@app.command
def sweep(
    chapter: str,
    /,
    *,
    parameter: Grid = None,
    seeds: int | None = None,
    workers: int | None = None,
    scheduler: str | None = None,
    profile: str = "default",
    out: Out = None,
) -> None:
    """Run one chapter over a grid of parameters and seeds, into one table.

    Args:
        chapter: such as 05_cirr, or 05
        parameter: a parameter and values to try, such as -p tau 0.2 0.4; one value: the same for all
        seeds: each with the seeds 0 to N - 1
        workers: processes here (default: one a core)
        scheduler: address of a Dask cluster that does the work
        profile: default, or quick (a small world, few steps)
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


def _pairs() -> Callable:
    """The command ``pairs``: what `zscir.pairs.build_masked_pairs` takes."""
    from zscir.backbone import load_backbone
    from zscir.pairs import Masking, build_masked_pairs, load_pairs

    def pairs(
        source: str,
        /,
        *,
        out: str,
        limit: int | None = None,
        backbone: str = "pocket",
        pretrained: str | None = None,
        masking: Annotated[Masking | None, FIELDS] = None,
        n_process: int = 1,
        max_skipped: float = 0.2,
    ) -> None:
        """Make masked pairs, and write them as a dataset.

        Args:
            source: image-caption pairs, as load_pairs takes them
            out: a new folder for the dataset
            limit: only so many pairs
            backbone: pocket, a folder, or an open_clip architecture
            pretrained: open_clip tag or file of weights
            n_process: worker processes of spaCy
            max_skipped: share of the pairs that may be left out
        """
        network, found = load_backbone(backbone, pretrained), load_pairs(source, limit)
        work = {"n_process": n_process, "max_skipped": max_skipped}
        masked = build_masked_pairs(network, found, masking or Masking(), **work)
        print("\n".join(f"{name}: {value}" for name, value in masked.report.items()))
        print(f"the masked pairs: {masked.save(out)}")

    return pairs


def _train() -> Callable:
    """The command ``train``: a `zscir.inversion.TrainConfig`, and how to go on."""
    from zscir.inversion import TrainConfig, fit
    from zscir.inversion.processes import Processes

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
        config = config if data is None else dataclasses.replace(config, pairs=data)
        inversion = fit(config, resume={"auto": True, "none": False}.get(resume, resume))
        if Processes().first:
            print(inversion.history.tail(5).to_string(index=False))
            print(f"the network: {inversion.path}")

    return train


@dataclasses.dataclass(frozen=True)
class Composition:
    """How a query is made, and with what; the same for ``evaluate`` and ``retrieve``.

    Attributes:
        method: inversion, image, text, image+text (or sum), slerp
        backbone: pocket, a folder, or an open_clip architecture
        pretrained: open_clip tag or file of weights
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
    pretrained: str | None = None
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
        from zscir.backbone import load_backbone
        from zscir.retrieval import compose_prompt
        from zscir.retrieval.protocols import check_preprocessing, clean_caption, method_name

        method = method_name(self.method)
        compose_prompt("", self.prompt or "pic2word")
        clean_caption("", self.cleaning)
        check_preprocessing(self.preprocessing)
        backbone = load_backbone(self.backbone, self.pretrained, precision=self.precision)
        network = self._network(backbone) if method == "inversion" else None
        how = {name: getattr(self, name) for name in ("prompt", "cleaning", "preprocessing", "weight")}
        return backbone, {"method": method, "inversion": network, **how}

    def _network(self, backbone: Any) -> Any:
        """The inversion network to evaluate: the stored one, or one fitted to the same backbone."""
        from zscir.inversion import TrainConfig, fit, load_inversion
        from zscir.inversion.config import PRESETS

        given = {name: value for name in ("tau", "lam") if (value := getattr(self, name)) is not None}
        if self.inversion in PRESETS:
            settings = {"preset": self.inversion, "backbone": self.backbone, "pretrained": self.pretrained}
            return fit(TrainConfig(**settings, **given), backbone=backbone)
        network = load_inversion(self.inversion, backbone)
        for name, value in given.items():
            own = getattr(network.config, name, None)
            if own != value:
                raise ValueError(
                    f"--{name} {value} does not fit {self.inversion}, which was trained with {own}"
                )
        return network


@app.command
def evaluate(
    benchmark: str,
    /,
    *,
    root: str,
    split: str = "val",
    composition: Annotated[Composition | None, FIELDS] = None,
    allow_missing: bool = False,
    submission: str | None = None,
    protocol: Annotated[
        list[tuple[str, str]] | None, Parameter(name=("-p", "--protocol"), negative="")
    ] = None,
) -> None:
    """Score a method on a benchmark.

    Args:
        benchmark: cirr, fashioniq, circo, genecis, composition or domains
        root: the benchmark's folder, or pocket-tiny|small|large
        split: which queries
        allow_missing: drop the queries whose images are missing or broken
        submission: folder for the test server's files; nothing is scored then
        protocol: protocol option of the benchmark, such as -p category dress
    """
    from zscir import retrieval
    from zscir.benchmarks import load_benchmark

    options = dict(protocol or ()) | ({"allow_missing": True} if allow_missing else {})
    part, values = PARTS.get(benchmark, ("", ()))
    every = [] if submission or part in options else [{part: value} for value in values]
    loaded = [load_benchmark(benchmark, root, split, **options, **one) for one in every or [{}]]
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


@app.command
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
    from zscir.figures.retrieved import found_files
    from zscir.retrieval import retrieve_files
    from zscir.retrieval.queries import image_files

    if not Path(image).is_file():
        raise FileNotFoundError(f"image missing: {image}")
    files = image_files(gallery)
    backbone, how = (composition or Composition()).load()
    found = retrieve_files(backbone, image, text, files, k=k, **how)
    for place, (name, score) in enumerate(zip(found.ids, found.scores, strict=True), start=1):
        print(f"{place:3d}  {score:.4f}  {name}")
    found_files(image, text, found).savefig(out)
    print(f"the picture: {out}")


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
