"""The chapters: clean sources, and each of them runs alone, in small, without a word on stderr."""

import ast
import itertools
import math
import os
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
import yaml
from benchmark_roots import (
    cirr_entries,
    write_circo,
    write_cirr,
    write_composition,
    write_domains,
    write_fashioniq,
    write_genecis,
)

from zscir.book import PROFILES, declared_parameters, run_chapter
from zscir.pocket import make_pocket
from zscir.storage.paths import REPO

PATHS = sorted((REPO / "notebooks").glob("*.ipynb"))
KERNEL = {"name": "python3", "language": "python", "display_name": "Python 3 (ipykernel)"}
PARAMETER = re.compile(r"(\w+): (float|int|bool|str|list|dict) = (.+?)  # \S.*")
each_chapter = pytest.mark.parametrize("path", PATHS, ids=[path.stem for path in PATHS])


def code_cells(path):
    return [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]


def test_the_table_of_contents_lists_exactly_the_chapters():
    toc = yaml.safe_load((REPO / "book" / "_toc.yml").read_text())
    listed = [entry["file"] for part in toc["parts"] for entry in part["chapters"]]
    chapters = [name.removeprefix("notebooks/") for name in listed if name.startswith("notebooks/")]
    assert chapters == [path.stem for path in PATHS]
    prose = [name for name in listed if not name.startswith("notebooks/")]
    assert {f"{name}.md" for name in [*prose, toc["root"]]} == {p.name for p in (REPO / "book").glob("*.md")}


def test_every_parameter_of_a_profile_is_one_of_a_chapter():
    declared = {path.stem: set(declared_parameters(path.stem)) for path in PATHS}
    for profile in PROFILES.values():
        for name, values in profile.items():
            legal = set().union(*declared.values()) if name == "*" else declared[name]
            assert set(values) <= legal


@each_chapter
def test_the_source_is_clean(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert notebook.metadata.get("kernelspec") == KERNEL
    assert set(notebook.metadata) <= {"kernelspec", "language_info"}
    assert all(not cell.outputs and cell.execution_count is None for cell in code_cells(path))
    ids = [cell["id"] for cell in notebook.cells]
    assert all(one.startswith(f"{path.stem[:2]}-") for one in ids), (
        "ids are 05-01, 05-setup, ...: made to stay"
    )
    assert len(set(ids)) == len(ids)
    assert path.read_text() == nbformat.writes(notebook) + "\n", "write it with nbformat: small differences"


@each_chapter
def test_cells_are_short_and_begin_with_a_title(path):
    first = nbformat.read(path, as_version=4).cells[0]
    assert first.cell_type == "markdown" and re.search(r"^# \S", first.source, re.MULTILINE)
    told = [cell for cell in code_cells(path) if "parameters" not in cell.metadata.get("tags", [])]
    lines = {cell["id"]: len(cell.source.splitlines()) for cell in told}  # of code; a list may be long
    assert not {one: count for one, count in lines.items() if count > 15}


@each_chapter
def test_one_cell_near_the_top_declares_the_parameters(path):
    cells = nbformat.read(path, as_version=4).cells
    tagged = [n for n, cell in enumerate(cells) if "parameters" in cell.metadata.get("tags", [])]
    assert len(tagged) == 1 and tagged[0] <= 4
    names = []
    for line in cells[tagged[0]].source.splitlines():
        match = PARAMETER.fullmatch(line)
        assert match, f"not `name: type = literal  # help`: {line}"
        assert "=" not in match[3] and "Literal" not in line, (
            "papermill (#864, #906) forgets such a parameter"
        )
        assert type(ast.literal_eval(match[3])).__name__ == match[2], line
        names.append(match[1])
    assert list(declared_parameters(path.stem)) == names


def checks(path, **given):
    """Run the cell of a chapter that checks its parameters."""
    (cell,) = (cell for cell in code_cells(path) if "checks" in cell.metadata.get("tags", []))
    values = {name: ast.literal_eval(one["default"]) for name, one in declared_parameters(path.stem).items()}
    exec(cell.source, values | given)


@each_chapter
def test_the_cell_below_the_parameters_checks_them(path, capsys):
    assert code_cells(path)[1].metadata["tags"] == ["checks"]
    checks(path)
    checks(path, world="tiny", seed=2**32 - 1)
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("tau", 1.2, "tau is 1.2; legal: 0 <= tau <= 1"),
        ("tau", -0.1, "tau is -0.1"),
        ("tau", float("nan"), "tau is nan"),
        ("tau", True, "tau is True"),
        ("lam", 2, "lam is 2; legal: 0 <= lam <= 1"),
        ("world", "huge", "world is 'huge'; legal: tiny, small, large"),
        ("seed", -1, "seed is -1; legal: 0 <= seed < 2**32"),
        ("steps", 0, "steps is 0; legal: whole numbers from 1"),
        ("batch", 1, "batch is 1; legal: whole numbers from 2"),
        ("limit", 0, "limit is 0; legal: None or whole numbers from 1"),
        (
            "pairs",
            "pocket-huge",
            "pairs is 'pocket-huge'; legal: pocket-tiny|small|large, the same with -0rel",
        ),
        (
            "backbone",
            "ViT-L14",
            "backbone is 'ViT-L14'; legal: pocket, a folder, open_clip's (near: ViT-L-14,",
        ),
        ("pretrained", "openai", "pretrained must be None for 'pocket', which has its weights, got 'openai'"),
        ("fill", "red", "fill is 'red'; legal: mean, black, blur, noise, drop"),
        ("cam_method", "cam", "cam_method is 'cam'; legal: None, gradcam, hirescam"),
        ("preset", "papre", "preset is 'papre'; legal: paper, pic2word"),
        ("weight", 1.5, "weight=1.5 is not a number from 0 to 1"),
        (
            "prompt",
            "a photo of *",
            "'a photo of *' is not one of 'pic2word', 'searle' nor a template",
        ),
        ("cleaning", "soap", "cleaning is 'soap'; legal: none, strip, lower"),
        ("preprocessing", "crop", "preprocessing is 'crop'; legal: clip, targetpad"),
    ],
)
def test_an_illegal_parameter_is_named_with_its_value_and_what_is_legal(name, value, said):
    chapters = [path for path in PATHS if name in declared_parameters(path.stem)]
    assert chapters
    for path in chapters:
        with pytest.raises(ValueError, match=re.escape(said)):
            checks(path, **{name: value})


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        ("float", ["0.3", "[0.3]", "0,3", [0.3], (0, 3), True, math.nan, math.inf]),
        ("int", ["3", "[3]", "0,3", [3], 1.5, True, math.nan, math.inf]),
        ("bool", ["true", "False", "", None, 2]),
    ],
)
@each_chapter
def test_values_of_another_kind_are_refused_by_name(path, kind, values):
    """As papermill hands them on: lists and numbers as texts."""
    given = declared_parameters(path.stem).items()
    for name, value in itertools.product(
        [n for n, one in given if one["inferred_type_name"] == kind], values
    ):
        with pytest.raises(ValueError, match=rf"{name} ?(is|=)"):
            checks(path, **{name: value})


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("pairs", [3, True, "nowhere", "nowhere.tar"]),
        ("backbone", [3, True, ["pocket"], "nowhere"]),
        ("pretrained", [3, True, "nowhere"]),
        ("preset", [3, None, ["paper"], "[1, 2]"]),
        ("reference", [3, None, ["kept"], "gone"]),
        ("captions", [3, None, ["original"], "short"]),
        ("gallery", [3, "all"]),
        ("prompt", [3, True, ["searle"]]),
        ("world", [3, None, ["tiny"]]),
    ],
)
def test_texts_of_another_kind_are_refused_by_name(name, values):
    for path in [path for path in PATHS if name in declared_parameters(path.stem)]:
        for value in values:
            with pytest.raises(
                (ValueError, FileNotFoundError), match=name if name != "world" else "world|size"
            ):
                checks(path, **{name: value})
    for path in [path for path in PATHS if "root" in declared_parameters(path.stem)]:
        for value in (3, True, ["/data"], math.nan):
            with pytest.raises(FileNotFoundError, match="root is "):
                checks(path, root=value)


def test_a_folder_or_table_that_does_not_exist_is_named():
    for path in PATHS:
        for name in declared_parameters(path.stem):
            if name.endswith("root") or name == "table":
                with pytest.raises(FileNotFoundError, match=f"{name.split('_')[-1]} is '/nowhere'"):
                    checks(path, **{name: "/nowhere"})


@each_chapter
def test_named_figures_have_a_caption_and_a_text_for_those_who_cannot_see(path):
    for cell in code_cells(path):
        figure = cell.metadata.get("mystnb", {}).get("figure")
        if figure is not None:
            assert figure.get("caption", "").strip() and figure.get("name", "").startswith("fig-"), cell["id"]
            assert cell.metadata["mystnb"].get("image", {}).get("alt", "").strip(), cell["id"]


@each_chapter
def test_the_header_shows_the_measured_running_time(path):
    head = nbformat.read(path, as_version=4).cells[0].source
    line = re.search(r"To run: (.*)", head)
    assert line and line[1].startswith("{glue:text}`run-time` "), "see zscir.book.record"
    assert not re.search(r"\b(second|minute|hour)", line[1]), "no typed running time"


@pytest.fixture(scope="session")
def artifacts(tmp_path_factory):
    """One folder of artifacts, empty at first, for all chapters of the run and all its workers."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "artifacts"
    folder.mkdir(exist_ok=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ZSCIR_ARTIFACTS", str(folder))
        patch.setenv("PYTHONPATH", str(REPO / "tests" / "offline"))
        yield folder


def test_a_kernel_of_these_tests_reaches_no_network(artifacts):
    code = "import socket; socket.create_connection((%r, 9), 1)"
    for host, kind in (("192.0.2.1", "PermissionError"), ("127.0.0.1", "ConnectionRefusedError")):
        done = subprocess.run([sys.executable, "-c", code % host], capture_output=True, text=True)
        assert done.returncode == 1 and kind in done.stderr, done.stderr


@pytest.mark.slow
@each_chapter
def test_the_chapter_runs_alone(path, artifacts, tmp_path):
    copy = run_chapter(path.stem, profile="quick", out=tmp_path / path.name, strict=True)
    named = [one for one in (REPO, artifacts, tmp_path, Path.home()) if f"{one}/" in copy.read_text("utf-8")]
    assert not named, "a copy names no path of the machine"
    below = [str(one.relative_to(artifacts)) for one in artifacts.rglob("*")]
    assert below and max(map(len, below)) <= 120, "Windows opens 260 characters: 140 are left for a checkout"
    for cell in code_cells(copy):
        pictures = [one for one in cell.outputs if "image/png" in one.get("data", {})]
        assert len(pictures) <= 1, f"cell {cell['id']} draws several figures, a caption has one"
        shown = pictures and not {"remove-cell", "remove-output"} & set(cell.metadata.get("tags", []))
        assert not shown or "figure" in cell.metadata.get("mystnb", {}), f"cell {cell['id']} lacks a caption"


def real_folders(root):
    """Chapter -> parameters that name folders in the official layouts, with pictures of noise."""
    write_cirr(root / "cirr", entries=cirr_entries(sets=6))
    for category in ("dress", "shirt", "toptee"):
        write_fashioniq(root / "fashioniq", category)
    write_circo(root / "circo")
    for task in ("focus_attribute", "change_attribute", "focus_object", "change_object"):
        write_genecis(root / "genecis", task)
    write_composition(root / "composition")
    write_domains(root / "domains")
    beyond = {f"{name}_root": str(root / name) for name in ("circo", "genecis", "composition", "domains")}
    cirr = {"root": str(root / "cirr")}
    fashioniq = {"root": str(root / "fashioniq")}
    return {"05": cirr, "06": fashioniq, "07": cirr, "08": cirr, "09": beyond}


@pytest.mark.slow
@pytest.mark.parametrize("chapter", ["05", "06", "07", "08", "09"])
def test_the_chapter_takes_folders_of_real_benchmarks_and_pairs(chapter, artifacts, tmp_path):
    given = real_folders(tmp_path)[chapter] | {"pairs": str(make_pocket("tiny").path / "pairs")}
    copy = run_chapter(chapter, given, profile="quick", out=tmp_path / "copy.ipynb")
    assert nbformat.read(copy, 4).metadata["zscir"]["parameters"].items() >= given.items()
