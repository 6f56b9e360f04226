"""README, pages and chapters agree with what is there: commands, files they name, terms of the glossary."""

import re
import shlex

import nbformat
import pytest

from zscir import cli
from zscir.book import declared_parameters
from zscir.book.chapters import source_of
from zscir.storage.paths import REPO

README = REPO / "README.md"
PAGES = [README, *sorted((REPO / "book").glob("*.md")), REPO / "benchmarks" / "README.md"]
CHAPTERS = sorted((REPO / "notebooks").glob("*.ipynb"))
TARGETS = set(re.findall(r"^([\w-]+):", (REPO / "Makefile").read_text("utf-8"), re.MULTILINE))


def text_of(path):
    """A page's text, or the text cells of a chapter."""
    if path.suffix == ".md":
        return path.read_text("utf-8")
    cells = nbformat.read(path, as_version=4).cells
    return "\n\n".join(cell.source for cell in cells if cell.cell_type == "markdown")


def commands(text):
    """Lines of shell blocks, as lists of words."""
    shell = "\n".join(re.findall(r"^```(?:shell|bash|console)\n(.*?)^```", text, re.MULTILINE | re.DOTALL))
    return [
        shlex.split(line, comments=True) for line in shell.replace("\\\n", " ").splitlines() if line.strip()
    ]


def mentions(text):
    """Commands named within sentences, often without all they need, as lists of words."""
    return [one.split() for one in re.findall(r"(?<!`)`((?:zscir|make) [^`\n]+)`(?!`)", text)]


def uses(program, found_in):
    """Commands of all pages that use a program: parameters, the words after the program's name."""
    found = {}
    for path in [*PAGES, *CHAPTERS]:
        for words in found_in(text_of(path)):
            called = [n for n, word in enumerate(words) if word.rpartition("/")[2] == program]
            if any(n == 0 or words[n - 1] == "-m" for n in called):
                rest = words[called[0] + 1 :]
                found.setdefault(f"{path.stem}: {' '.join([program, *rest])}", rest)
    return [pytest.param(rest, id=name) for name, rest in found.items()]


@pytest.mark.parametrize("words", uses("zscir", commands))
def test_every_command_is_one_of_the_command_line(words):
    """With the real parser; a name that a reader replaces (`FOLDER`) is a value like any other."""
    try:
        given = cli.parse(words)[1].arguments
    except Exception as error:
        pytest.fail(f"zscir does not understand {' '.join(words)}: {error}")
    names = {name for name, *_ in given.get("parameter") or ()}
    if "chapter" in given:
        assert names <= set(declared_parameters(source_of(REPO, given["chapter"]).stem)), words
    else:
        assert names <= {name for path in CHAPTERS for name in declared_parameters(path.stem)}


@pytest.mark.parametrize("words", uses("zscir", mentions))
def test_every_mentioned_command_and_option_exists(words, capsys):
    cli.main([words[0], "--help"])
    said = capsys.readouterr()
    assert said.err == "", f"no command {words[0]}"
    options = {word for word in words if word.startswith("--")}
    assert options <= set(re.findall(r"--[\w-]+", said.out))


@pytest.mark.parametrize("words", [*uses("make", commands), *uses("make", mentions)])
def test_every_make_command_names_a_target(words):
    assert {word for word in words if "=" not in word} <= TARGETS
    variables = set(re.findall(r"^(\w+)\s*\?=", (REPO / "Makefile").read_text("utf-8"), re.MULTILINE))
    assert {word.partition("=")[0] for word in words if "=" in word} <= variables


#: What bash and PowerShell read differently, or one of them not at all.
ONE_SHELL = r"\.venv|\\|'|&&|~/|/bin/|(^|\s)\*|\*\.|^\s*(export|make|mkdir -|cp -[^r]|rm|sed|source|[A-Z_]+=)"


@pytest.mark.parametrize("path", [*PAGES, REPO / "CONTRIBUTING.md", *CHAPTERS], ids=lambda path: path.stem)
def test_a_block_of_commands_is_for_every_shell(path):
    """Blocks that say *shell*, and no others; those of one system say *bash* or *powershell*."""
    blocks = re.findall(r"^ *```shell\n(.*?)^ *```", text_of(path), re.MULTILINE | re.DOTALL)
    makes = path.name == "README.md"  # its first block is for those who have make
    lines = re.sub(r"(?m)#.*$", "", "".join(blocks[makes:])).splitlines()
    assert [line for line in lines if re.search(ONE_SHELL, line)] == []


def test_every_page_tells_both_systems_how_to_begin():
    for page in (README, REPO / "book" / "rerun.md"):
        steps = ("source .venv/bin/activate", r".venv\Scripts\Activate.ps1", '-m pip install -e ".[test]"')
        assert [step for step in steps if step not in text_of(page)] == []


def test_the_commands_are_found_at_all():
    assert len(uses("zscir", commands)) > 20 and len(uses("make", mentions)) > 2
    text = "```shell\nbin/zscir run 05 \\\n    -p tau 0.2  # so\n```\nand `make book PROFILE=quick`"
    assert commands(text) == [["bin/zscir", "run", "05", "-p", "tau", "0.2"]]
    assert mentions(text) == [["make", "book", "PROFILE=quick"]]


@pytest.mark.parametrize("path", PAGES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_every_file_that_a_page_names_exists(path):
    text = path.read_text("utf-8")
    linked = re.findall(r"\]\((?!https?:|#|mailto:)([^)\s]+)\)", text)
    linked += re.findall(r"^```\{(?:figure|image|literalinclude)\} (\S+)", text, re.MULTILINE)
    missing = [one for one in linked if not (path.parent / one).exists()]
    text = re.sub(r"--out \S+|_build/\S+", "", text)  # these a command makes
    folders = "book|notebooks|zscir|tests|benchmarks|\\.ci"
    named = re.findall(rf"(?<![\w/.-])((?:{folders})/[\w./-]+\.(?:py|md|ipynb|json|yml|svg|bib))", text)
    assert missing + [one for one in named if not (REPO / one).exists()] == []


def glossary():
    """Terms as the glossary writes them."""
    body = re.search(
        r"```\{glossary\}\n(.*?)^```", text_of(REPO / "book" / "glossary.md"), re.MULTILINE | re.DOTALL
    )
    return [line for line in body[1].splitlines() if line.strip() and not line.startswith(" ")]


def linked_terms(path):
    """Terms that a page or chapter links to the glossary, in small letters."""
    roles = re.findall(r"\{term\}`([^`]+)`", text_of(path))
    return {re.sub(r"^.*<(.+)>$", r"\1", " ".join(role.split())).lower() for role in roles}


def test_every_term_of_the_glossary_is_used_outside_of_it():
    used = set().union(*(linked_terms(path) for path in [*PAGES, *CHAPTERS] if path.stem != "glossary"))
    assert [term for term in glossary() if term.lower() not in used] == []


@pytest.mark.parametrize("path", [*PAGES[1:], *CHAPTERS], ids=lambda path: path.stem)
def test_every_linked_term_is_in_the_glossary(path):
    assert linked_terms(path) <= {term.lower() for term in glossary()}


def test_no_term_stands_twice_in_the_glossary():
    terms = [term.lower() for term in glossary()]
    assert sorted(set(terms)) == sorted(terms) and len(terms) > 30
