"""The stages of the work, each in small: how it is run, and which of what it stores must stay the same."""

import contextlib
import io
import json
import os
import re
import shutil
import sys
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import nbformat
import numpy as np
from benchmark_roots import write_cirr
from PIL import Image
from tiny_backbones import build_tiny_backbone

from zscir.benchmarks import load_benchmark
from zscir.book import build, chapters, pages, run_chapter
from zscir.inversion import TrainConfig, fit
from zscir.nouns import find_nouns
from zscir.pairs import build_masked_pairs, features, hidden_nouns, load_pairs
from zscir.pairs.features import image_features
from zscir.pocket import layouts
from zscir.retrieval import write_submission
from zscir.storage import grid, outcomes, run_points

PARAMETERS = "tau: float = 0.3  # threshold"
KERNEL = {"name": "python3", "language": "python", "display_name": "Python 3 (ipykernel)"}
CODE = """from zscir.storage import artifact

folder = artifact("numbers", {"tau": tau}, lambda new: (new / "x.txt").write_text(str(tau)))
print("recall", folder.joinpath("x.txt").read_text())"""


@dataclass
class Inputs:
    """What the stages read, made once; nothing of it is ever disturbed."""

    folder: Path

    def __post_init__(self):
        self.backbone = build_tiny_backbone()
        rng, rows = np.random.default_rng(0), ["file\tcaption"]
        pictures = self.folder / "pairs"
        pictures.mkdir()
        for number, noun in enumerate(("dog", "cat", "owl", "car", "tree", "boat")):
            pixels = rng.integers(0, 255, (32, 32, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(pictures / f"{number}.png")
            rows.append(f"{number}.png\ta {noun} on a hill")
        (pictures / "pairs.tsv").write_text("\n".join(rows) + "\n", "utf-8")
        self.pairs = load_pairs(pictures)
        find_nouns(["a dog"])  # loads the language model, once for all children
        self.benchmark = load_benchmark("cirr", write_cirr(self.folder / "cirr", "test1"), "test1")
        self.queries = rng.normal(size=(len(self.benchmark.queries), 8)).astype(np.float32)
        self.gallery = rng.normal(size=(len(self.benchmark.gallery), 8)).astype(np.float32)


@dataclass
class Stage:
    """One stage. ``run`` does it below a folder; whatever it needs is there or made as well.

    It stores below ``home``, in paths that hold ``own``; ``results`` and ``parts`` are patterns of what it
    stores for good, and of what one that was killed goes on from. ``volatile`` are the names of files that
    tell of time or machine. ``leaves`` says that a killed one may leave a hidden file, ``reads`` that stored
    results are used where nothing can be written, ``after`` at which stage's end it begins.
    """

    run: Callable[[Path, Inputs], object]
    home: str
    own: str
    results: str
    parts: str = ""
    volatile: tuple[str, ...] = ()
    leaves: bool = False
    reads: bool = True
    after: str = ""

    def stored(self, root: Path) -> dict[str, bytes]:
        """Name of each file that must always be the same -> its bytes."""
        files = {path.relative_to(root).as_posix(): path for path in self.files(root)}
        return {name: content(path) for name, path in files.items() if path.name not in self.volatile}

    def files(self, root: Path) -> list[Path]:
        """All that it stores for good, without what was set aside."""
        found = (path for path in root.glob(self.results) if path.is_file())
        return sorted(path for path in found if not re.search(r"/\.|\.damaged\b", str(path)))


def content(path: Path) -> bytes:
    """Bytes of a file; of an executed chapter what its cells printed, since it also tells when that was."""
    if path.suffix != ".ipynb":
        return path.read_bytes()
    cells = [cell for cell in nbformat.read(path, 4).cells if cell["id"] not in ("01-run-time", "01-made-by")]
    return json.dumps([[cell.source, cell.get("outputs")] for cell in cells]).encode()


def store_in(root: Path) -> None:
    """Let artifacts lie below a folder."""
    os.environ["ZSCIR_ARTIFACTS"] = str(root / "store")


def world(root: Path, inputs: Inputs) -> None:
    """A pocket world whose pictures are of one colour."""
    store_in(root)
    layouts.SIZES["tiny"] = layouts.SIZES["tiny"] | {"pairs": 3, "circo_val": 1, "circo_test": 1}
    picture = Image.new("RGB", (8, 8), "red"), np.zeros((8, 8), np.uint8)
    layouts.render = lambda scene: picture
    here = SimpleNamespace(map=lambda work, *items, chunksize: map(work, *items))
    layouts.ProcessPoolExecutor = lambda count: contextlib.nullcontext(here)
    layouts._write_fashioniq = layouts._write_cirr
    layouts.make_pocket("tiny")


def cut_small() -> None:
    """Several shards also of few pairs."""
    features.SHARD = hidden_nouns.TEXT_SHARD = 3


def encoded(root: Path, inputs: Inputs) -> None:
    """Features of the images."""
    store_in(root)
    cut_small()
    image_features(inputs.backbone, inputs.pairs, progress=False)


def masked(root: Path, inputs: Inputs) -> None:
    """Maps, and features of the masked images."""
    store_in(root)
    cut_small()
    build_masked_pairs(inputs.backbone, inputs.pairs, progress=False)


def trained(root: Path, inputs: Inputs) -> None:
    """A training of four steps, with a checkpoint after each two."""
    store_in(root)
    settings = {"steps": 4, "batch": 4, "warmup": 1, "hidden": 8, "checkpoint_every": 2}
    config = TrainConfig(pairs="six", **settings)
    fit(config, backbone=inputs.backbone, pairs=inputs.pairs, progress=False)


def square(point: dict) -> dict:
    """The task of the sweep."""
    return {"square": point["x"] ** 2}


def swept(root: Path, inputs: Inputs) -> None:
    """A sweep whose points this process works on itself."""

    def here(task: object, points: dict, *options: object):
        for number, point in points.items():
            yield number, outcomes.Outcome(task(point), seconds=0.5, machine={"processor": "x"})

    sys.modules["zscir.storage.workers"] = SimpleNamespace(outcomes=here, packed=lambda task: task)
    store_in(root)
    run_points(square, grid({"x": [3, 1, 2]}), root / "sweep", progress=False)


def execute(notebook: nbformat.NotebookNode, *others: object, **options: object) -> nbformat.NotebookNode:
    """A notebook, executed in this process, in place of papermill and a kernel."""
    notebook, names = deepcopy(notebook), {}
    for cell in notebook.cells:
        if cell.cell_type == "code":
            said = io.StringIO()
            with contextlib.redirect_stdout(said):
                exec(cell.source, names)
            printed = [nbformat.v4.new_output("stream", text=said.getvalue())] if said.getvalue() else []
            cell.outputs = printed
    return notebook


def checkout(root: Path) -> Path:
    """A checkout with one chapter and one page."""
    cells = [nbformat.v4.new_markdown_cell("# A chapter", id="01-0")]
    cells += [nbformat.v4.new_code_cell(text, id=f"01-{n}") for n, text in enumerate((PARAMETERS, CODE), 1)]
    cells[1].metadata["tags"] = ["parameters"]
    (root / "notebooks").mkdir(parents=True, exist_ok=True)
    (root / "book").mkdir(exist_ok=True)
    (root / "book" / "index.md").write_text("# A book\n", "utf-8")
    notebook = nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": KERNEL})
    nbformat.write(notebook, root / "notebooks" / "01_a.ipynb")
    return root


def chapter(root: Path, inputs: Inputs) -> None:
    """A chapter that stores a result and prints it."""
    store_in(root)
    chapters.papermill = SimpleNamespace(**vars(chapters.papermill) | {"execute_notebook": execute})
    run_chapter("01_a", root=root / "checkout")


def jupyter_book(command: list[str], **options: object) -> SimpleNamespace:
    """In place of Jupyter Book: one file of all pages, another of what the chapters printed."""
    book, out = Path(command[4]), Path(command[command.index("--path-output") + 1], "_build", "html")
    try:
        out.mkdir(parents=True)
        (out / "index.html").write_text("".join(page.read_text() for page in sorted(book.glob("*.md"))))
        (out / "01_a.html").write_bytes(content(book / "notebooks" / "01_a.ipynb"))
    except OSError:  # it says so itself
        return SimpleNamespace(returncode=1)
    return SimpleNamespace(returncode=0)


def page_build(root: Path, inputs: Inputs) -> None:
    """A book of one chapter and one page."""
    store_in(root)
    chapters.papermill = SimpleNamespace(**vars(chapters.papermill) | {"execute_notebook": execute})
    pages.subprocess = SimpleNamespace(DEVNULL=None, run=jupyter_book)
    build(root=root / "checkout", jobs=1)


def submitted(root: Path, inputs: Inputs) -> None:
    """The two files for CIRR's server."""
    store_in(root)
    write_submission(root / "server", inputs.benchmark, inputs.queries, inputs.gallery)


def artifact_of(kind: str, run: Callable, *volatile: str, parts: str = "") -> Stage:
    """A stage whose results are one kind of artifact."""
    return Stage(run, "store", f"/{kind}/", f"store/{kind}/*/**/*", parts, volatile)


BOOK = "checkout/book/notebooks"
_parts = partial("store/{}/.parts-*/*.npz".format)
STAGES = {
    "world": artifact_of("pocket", world),
    "features": artifact_of("image-features", encoded, parts=_parts("image-features")),
    "maps": artifact_of("cams", masked, parts=_parts("cams")),
    "masked features": artifact_of("masked-features", masked, parts=_parts("masked-features")),
    "training": Stage(
        trained,
        "store",
        "/inversion",
        "store/inversion/*/*",
        "store/inversion-checkpoints/*/*.ckpt",
        ("history.csv", "key.json"),
        after="masked features",
    ),
    "sweep": Stage(swept, "sweep", "/sweep", "sweep/**/*", "", ("provenance.json",), True, reads=False),
    "chapter": Stage(chapter, BOOK, "/book/notebooks/", f"{BOOK}/*.ipynb", leaves=True),
    "page build": Stage(
        page_build, "checkout/_build", "/_build/", "checkout/_build/html/*", leaves=True, reads=False
    ),
    "submission": Stage(submitted, "server", "/server/", "server/*", leaves=True, reads=False),
}


def prepared(root: Path, ready: Path | None = None) -> Path:
    """An empty place for a stage, or a copy of one."""
    shutil.rmtree(root, ignore_errors=True)
    if ready is not None:
        shutil.copytree(ready, root, symlinks=True)
    else:
        checkout(root / "checkout")
    return root
