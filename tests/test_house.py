"""The rules of the house: rooms in order, no circle of imports, short parts that explain themselves."""

import ast
import graphlib
import re

import pytest

from zscir.storage.paths import REPO

#: From the ground up; a room imports only from rooms before it.
ROOMS = ["storage", "nouns", "backbone", "pocket", "regions", "benchmarks", "pairs", "inversion"]
ROOMS += ["retrieval", "analysis", "figures", "book", "cli"]
LIMIT = 10_400
FILES = {".".join(p.relative_to(REPO).with_suffix("").parts): p for p in (REPO / "zscir").rglob("*.py")}
FILES = {name.removesuffix(".__init__"): path for name, path in sorted(FILES.items())}
TREES = {name: ast.parse(path.read_text("utf-8")) for name, path in FILES.items()}
FUNCTION = ast.FunctionDef | ast.AsyncFunctionDef
NAMED = FUNCTION | ast.ClassDef


def imports(module: str) -> set[str]:
    """Modules of the library that a module imports, also inside its functions."""
    found = set()
    for node in ast.walk(TREES[module]):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            folders = FILES[module].relative_to(REPO).parts[: -node.level] if node.level else ()
            base = ".".join([*folders, *filter(None, [node.module])])
            names = {f"{base}.{alias.name}" for alias in node.names}
            found |= {name if name in FILES else base for name in names}
    return found & set(FILES) - {module, "zscir"}


def height(module: str) -> int:
    """Place of a module's room in `ROOMS`; the command line's modules stand on top."""
    name = module.split(".")[1]
    return ROOMS.index(name) if name in ROOMS else ROOMS.index("cli")


def explained(node: ast.AST) -> list[ast.AST]:
    """A node and the public definitions in its body, those in the bodies of classes included."""
    public = [n for n in getattr(node, "body", []) if isinstance(n, NAMED) and not n.name.startswith("_")]
    return [node, *(deep for n in public for deep in (explained(n) if isinstance(n, ast.ClassDef) else [n]))]


def code_lines(module: str) -> int:
    """Lines of a module without docstrings, comments and blanks."""
    inner = [n for n in ast.walk(TREES[module]) if isinstance(n, NAMED | ast.Module)]
    texts = [node.body[0] for node in inner if ast.get_docstring(node, clean=False) is not None]
    skipped = {line for text in texts for line in range(text.lineno, text.end_lineno + 1)}
    lines = enumerate(FILES[module].read_text("utf-8").splitlines(), start=1)
    return sum(bool(re.match(r"\s*[^\s#]", line)) and number not in skipped for number, line in lines)


def test_a_room_imports_only_from_rooms_below_it():
    arrows = [(name, other) for name in FILES if name != "zscir" for other in imports(name)]
    assert [arrow for arrow in arrows if height(arrow[0]) < height(arrow[1])] == []


def test_no_modules_import_in_a_circle():
    graphlib.TopologicalSorter({name: imports(name) for name in FILES}).prepare()


def test_the_library_is_small():
    assert len([path for path in (REPO / "zscir").iterdir() if not path.name.startswith("_")]) <= 14
    assert sum(map(code_lines, FILES)) <= LIMIT


@pytest.mark.parametrize("module", FILES)
def test_parts_are_short_and_explain_themselves(module):
    tree = TREES[module]
    assert len(FILES[module].read_text("utf-8").splitlines()) <= 400
    functions = [node for node in ast.walk(tree) if isinstance(node, FUNCTION)]
    assert [node.name for node in functions if node.end_lineno - node.lineno >= 60] == []
    calls = [ast.unparse(node) for node in ast.walk(tree) if isinstance(node, ast.Call)]
    assert [call for call in calls if re.search(r"\.(read|write)_text\((?!.*utf-8)", call)] == []
    assert [node for node in explained(tree) if ast.get_docstring(node) is None] == []


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md"])
def test_pages_name_files_that_exist(page):
    text = (REPO / page).read_text("utf-8")
    named = re.findall(
        r"(?<![\w/.])((?:zscir|notebooks|pretraining|tests|benchmarks|book)/[\w./-]*\w/?)", text
    )
    assert [path for path in named if not (REPO / path).exists()] == []
    assert page != "README.md" or all(f"`zscir/{name}" in text for name in ROOMS)
