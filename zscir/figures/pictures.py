"""Figures made of pictures: captioned pictures, a set of six, what queries find, wins and losses."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import ExifTags, Image, ImageOps

from zscir.benchmarks import Benchmark, Query
from zscir.benchmarks.images import open_image
from zscir.figures.style import FRAMES, LINE, WIDTH, new_figure, wrapped
from zscir.retrieval.ranking import Retrieved
from zscir.storage.pictures import OWN_SOFTWARE, picture_suffixes
from zscir.storage.whole import check_writable, written_whole

#: Pixels of the longer side of a picture that a figure keeps.
LARGEST = 2048


def picture_grid(
    images: Sequence[Image.Image],
    texts: Sequence[str] | None = None,
    *,
    columns: int = 4,
    roles: Sequence[str] | None = None,
    title: str = "",
) -> Figure:
    """Pictures in rows, each with its text below.

    Args:
        images: at least one.
        texts: one a picture, wrapped to its width.
        columns: pictures a row.
        roles: one a picture: a key of ``FRAMES``, whose colour frames it, or "" for no frame.
        title: above all.

    Raises:
        ValueError: no picture, or as many texts or roles as there are no pictures.
    """
    if not images:
        raise ValueError("images is empty: give at least one picture")
    for name, value in (("texts", texts), ("roles", roles)):
        if value is not None and len(value) != len(images):
            raise ValueError(f"{name} has {len(value)} entries for {len(images)} images")
    width = max(12, round(105 / columns))
    below = [wrapped(text, width, 12) for text in texts or [""] * len(images)]
    lines = depth_of(below) if texts else 0
    figure, axes = _cells(len(images), columns, WIDTH / columns + lines * LINE)
    for axis, image, text, role in zip(axes, images, below, roles or [""] * len(images), strict=True):
        show_picture(axis, image, text, role)
    write_title(figure, title)
    return figure


def _cells(count: int, columns: int, height: float) -> tuple[Figure, np.ndarray]:
    """A figure with ``count`` axes in rows of ``columns``, each row ``height`` inches; the axes, flat."""
    rows = -(-count // columns)
    figure, axes = new_figure(rows, columns, height=rows * height)
    for axis in axes.flat[count:]:
        axis.set_axis_off()
    return figure, axes.flat[:count]


def depth_of(texts: Sequence[str]) -> int:
    """Lines of the longest of some texts."""
    return max(text.count("\n") + 1 for text in texts)


def show_picture(axis: Axes, image: Image.Image | np.ndarray, text: str = "", role: str = "") -> None:
    """Put a picture with a text below into ``axis``, framed when it has a role (a key of ``FRAMES``).

    Of large photos only as many pixels are kept as a figure shows.
    """
    if isinstance(image, Image.Image) and max(image.size) > LARGEST:
        image = image.reduce(-(-max(image.size) // LARGEST))
    axis.imshow(image, interpolation="antialiased")
    axis.set(xticks=[], yticks=[])
    axis.grid(False)
    axis.set_xlabel(text, fontsize=8.5, labelpad=5, linespacing=1.2)
    for spine in axis.spines.values():
        spine.set(visible=bool(role), color=FRAMES.get(role, "none"), linewidth=4)


def set_of_six(benchmark: Benchmark, query_index: int) -> Figure:
    """The set of a CIRR query: its reference and the five others, among them the target.

    Raises:
        ValueError: the query has no set, as in other benchmarks.
    """
    query = benchmark.queries[query_index]
    if not query.subset:
        raise ValueError(f"query {query.id} of {benchmark.name} has no set; only CIRR's queries do")
    images = [benchmark.open_image(image_id) for image_id in (query.reference, *query.subset)]
    roles = ["reference", *("target" if name in query.targets else "" for name in query.subset)]
    return picture_grid(images, roles, columns=6, roles=roles, title=_quoted(query))


def query_examples(benchmark: Benchmark, rows: Sequence[int], columns: int = 3) -> Figure:
    """Queries with their answers: group, reference and target side by side, relative caption below."""
    texts = [wrapped(f"“{benchmark.queries[row].text[0]}”", 36) for row in rows]
    figure, axes = _cells(len(rows), columns, WIDTH / columns / 2 + (1 + depth_of(texts)) * LINE)
    for axis, row, text in zip(axes, rows, texts, strict=True):
        query = benchmark.queries[row]
        sides = []
        for role, name in (("reference", query.reference), ("target", query.targets[0])):
            picture = benchmark.open_image(name).resize((256, 256), Image.Resampling.BICUBIC)
            sides.append(ImageOps.expand(picture, 10, FRAMES[role]))
        show_picture(axis, np.hstack(sides), text)
        axis.set_title(query.group, fontsize=9, fontweight="bold")
    return figure


def rankings(benchmark: Benchmark, query_index: int, found: Mapping[str, Sequence[str]]) -> Figure:
    """What one query finds by several methods: a row a method, best first, targets framed.

    The reference stands before each row, the (first) target behind the first row.

    Args:
        benchmark: from `load_benchmark`.
        query_index: row of the query.
        found: method -> image ids in the order of its ranking.
    """
    query = benchmark.queries[query_index]
    columns = max(len(ids) for ids in found.values()) + 2
    figure, axes = new_figure(len(found), columns, height=len(found) * (WIDTH / columns + 0.2) + 0.4)
    for row, (method, ids) in zip(axes, found.items(), strict=True):
        show_picture(row[0], benchmark.open_image(query.reference), role="reference")
        row[0].set_ylabel(method, fontsize=9)
        _show_answers(row[1:], benchmark, query, ids)
    for axis, title in zip(axes[0], ["reference", *range(1, columns - 1), "target"], strict=True):
        axis.set_title(str(title), fontsize=9, loc="center")
    axes[0, -1].set_axis_on()
    show_picture(axes[0, -1], benchmark.open_image(query.targets[0]), role="target")
    write_title(figure, _quoted(query))
    return figure


def retrieved_grid(
    benchmark: Benchmark, found: Mapping[int, Retrieved], notes: Mapping[int, str] | None = None
) -> Figure:
    """A row a query: reference and relative caption, then what was found, best first; hits are framed.

    Below the reference stands the rank of the target in the whole ranking, where it is known; a target that
    was not found stands at the end of its row.

    Args:
        benchmark: from `load_benchmark`.
        found: number of a query -> what `zscir.retrieve` returned for it.
        notes: number of a query -> what stands behind its caption, such as why it failed.

    Raises:
        ValueError: no query.
    """
    if not found:
        raise ValueError("found is empty: give at least one query")
    labels = [f"rank {answers.rank}" if answers.rank else "reference" for answers in found.values()]
    return _answer_grid(benchmark, list(zip(found, found.values(), labels, strict=True)), notes or {})


def wins_and_losses(
    benchmark: Benchmark, found: Mapping[str, Mapping[int, Retrieved]], ranks: Mapping[str, Sequence[int]]
) -> Figure:
    """Queries in which two methods differ: two rows each, what the first and what the second method found.

    Args:
        benchmark: from `load_benchmark`.
        found: the two methods, each with the number of a query -> what it found for it.
        ranks: the two methods, each with the rank (from 0) of the right answer for every query, as in
            ``Scores.ranks``.

    Raises:
        ValueError: not two methods, or no query.
    """
    if len(found) != 2 or not all(found.values()):
        raise ValueError(f"found must have two methods with queries, got {list(found)}")
    rows = [
        (number, own[number], f"{name}:\nrank {ranks[name][number] + 1}")
        for number in next(iter(found.values()))
        for name, own in found.items()
    ]
    return _answer_grid(benchmark, rows, {})


def found_files(image: str | Path, text: str, found: Retrieved) -> Figure:
    """The reference with its wish, then the files of a folder that were found, best first."""
    images = [open_image(Path(name), upright=True) for name in (image, *found.ids)]
    names = [f"{place}  {wrapped(Path(name).name, 15, 1)}" for place, name in enumerate(found.ids, 1)]
    roles = ["reference", *[""] * len(names)]
    return picture_grid(images, ["reference", *names], columns=6, roles=roles, title=f"“{text}”")


def picture_file(out: str | Path) -> Path:
    """The file that a figure will be saved as: ``out``, with .png where it has no ending.

    Raises:
        ValueError: ``out`` is a folder, or matplotlib writes no such format.
        FileNotFoundError: its folder does not exist.
        PermissionError: nothing can be written there.
    """
    path = Path(out).expanduser()
    path = path if path.suffix or path.is_dir() else path.with_name(f"{path.name}.png")
    legal = sorted(FigureCanvasAgg.get_supported_filetypes().keys() - {"pgf"})  # that needs LaTeX
    if path.is_dir() or path.suffix.lower().lstrip(".") not in legal:
        raise ValueError(f"out is {str(out)!r}; legal: a file that ends in .{', .'.join(legal)}")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"out is {str(out)!r}: there is no folder {str(path.parent)!r}")
    try:
        check_writable(path.parent)
    except OSError as error:
        raise PermissionError(f"out is {str(out)!r}, where nothing can be written") from error
    return path


def save_found(figure: Figure, path: Path) -> None:
    """Save a figure of `found_files`, marked so that no search finds it (`zscir.retrieval.galleries`)."""
    suffix, exif = path.suffix.lower(), Image.Exif()
    exif[ExifTags.Base.Software] = OWN_SOFTWARE
    marks = {
        ".png": {"metadata": {"Software": OWN_SOFTWARE}},
        ".gif": {"pil_kwargs": {"comment": OWN_SOFTWARE}},
    }
    mark = marks.get(suffix, {"pil_kwargs": {"exif": exif}} if suffix in picture_suffixes() else {})
    with written_whole(path) as scratch:
        figure.savefig(scratch, format=suffix[1:], **mark)


def _answer_grid(
    benchmark: Benchmark, rows: Sequence[tuple[int, Retrieved, str]], notes: Mapping[int, str]
) -> Figure:
    """A row for each (number of a query, what it found, text below its reference), its caption above.

    A target that is not among what was found stands at the end of its row.
    """
    most = max(len(found.ids) for _, found, _ in rows)
    missed = [_missed(benchmark.queries[number], found) for number, found, _ in rows]
    columns = 1 + most + any(missed)
    figure, axes = new_figure(len(rows), columns, height=len(rows) * (WIDTH / columns + 3.4 * LINE))
    for row, (number, found, text), target in zip(axes, rows, missed, strict=True):
        query = benchmark.queries[number]
        picture = benchmark.open_image(query.reference)
        if query.reference in benchmark.regions:  # a cut-out of any shape
            side = min(max(picture.size), LARGEST)
            picture = ImageOps.pad(picture, (side, side), color="white")
        show_picture(row[0], picture, text, "reference")
        _show_answers(row[1:], benchmark, query, found.ids, numbered=True)
        if target:
            row[-1].set_axis_on()
            show_picture(row[-1], benchmark.open_image(target), "the target", "target")
        note = f"  ({notes[number]})" if notes.get(number) else ""
        _write_above(row[0], wrapped(f"“{query.text[0]}”{note}", 92, 3))
    return figure


def _missed(query: Query, found: Retrieved) -> str:
    """The (first) target of a query that was not found, or "" where one was, or none is known."""
    return "" if set(found.ids) & set(query.targets) else next(iter(query.targets), "")


def _show_answers(
    axes: Sequence[Axes], benchmark: Benchmark, query: Query, ids: Sequence[str], numbered: bool = False
) -> None:
    """What a query found, an image an axis, targets framed; axes that are left over are empty."""
    for place, axis in enumerate(axes):
        if place >= len(ids):
            axis.set_axis_off()
            continue
        role = "target" if ids[place] in query.targets else ""
        text = f"{place + 1}  {role}".rstrip() if numbered else ""
        show_picture(axis, benchmark.open_image(ids[place]), text, role)


def write_title(figure: Figure, text: str) -> None:
    """People's words above a figure, if there are any: at most four lines, for which the figure grows."""
    if text:
        text = wrapped(text, 82)
        figure.set_figheight(figure.get_figheight() + (depth_of([text]) - 1) * LINE)
        figure.suptitle(text, fontsize=10)


def _quoted(query: Query) -> str:
    return f"“{' / '.join(query.text)}”"


def _write_above(axis: Axes, text: str) -> None:
    """Text above an axis that may run over those to its right: only its height counts in the layout."""
    axis.set_title("\n".join(" " for _ in text.splitlines()), fontsize=9)  # keeps the height free
    place = {"xycoords": "axes fraction", "textcoords": "offset points", "annotation_clip": False}
    axis.annotate(text, (0, 1), (0, 6), fontsize=9, va="bottom", **place).set_in_layout(False)
