"""What is around the code agrees with it: dependencies, environment, package data, commands, API page."""

import ast
import importlib.metadata
import os
import re
import subprocess
import sys
import tomllib

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import zscir
from zscir.storage.paths import REPO

PROJECT = tomllib.loads((REPO / "pyproject.toml").read_text())
ENVIRONMENT = yaml.safe_load((REPO / "environment.yml").read_text())

#: Names that differ: on PyPI -> on conda-forge.
CONDA_NAMES = {
    "torch": "pytorch",
    "matplotlib": "matplotlib-base",
    "seaborn": "seaborn-base",
}
#: Distributions that bring an import of ours and are not named after it.
PROVIDED_BY = {
    "jupyter_client": "ipykernel",
    "IPython": "ipykernel",
    "nbclient": "papermill",
    "dask": "distributed",
    "pyarrow": "datasets",
}


def requirements(lines) -> dict[str, str]:
    """Name -> version range, of lines such as ``torch>=2.9,<2.16``."""
    parsed = [Requirement(line) for line in lines]
    return {canonicalize_name(one.name): str(one.specifier) for one in parsed}


def test_environment_and_project_name_the_same_packages_and_ranges():
    *conda, pip = ENVIRONMENT["dependencies"]
    assert pip["pip"][-1] == "-e ."
    installed = requirements(conda) | requirements(pip["pip"][:-1])
    assert installed.pop("pip") == ""
    assert PROJECT["project"]["requires-python"] in installed.pop("python").split(",")
    wanted = requirements(PROJECT["project"]["dependencies"])
    assert installed == {CONDA_NAMES.get(name, name): spec for name, spec in wanted.items()}


def test_all_files_name_the_same_oldest_python():
    oldest = PROJECT["project"]["requires-python"].removeprefix(">=")
    for name in ("README.md", "Makefile", ".ci/run"):
        text = (REPO / name).read_text("utf-8")
        assert set(re.findall(r"(3\.\d+) or newer", text)) == {oldest}, name
        if name != "README.md":  # these compare it, too
            assert f"sys.version_info < ({oldest.replace('.', ', ')})" in text, name
    assert PROJECT["tool"]["ruff"]["target-version"] == f"py{oldest.replace('.', '')}"
    assert f"Programming Language :: Python :: {oldest}" in PROJECT["project"]["classifiers"]
    assert any(line.startswith(f"python>={oldest},") for line in ENVIRONMENT["dependencies"][:-1])


def test_the_readme_makes_the_environment_that_exists():
    readme = (REPO / "README.md").read_text("utf-8")
    assert "conda env create -f environment.yml" in readme
    assert ENVIRONMENT["name"] == PROJECT["project"]["name"] and f"# {PROJECT['project']['name']}" in readme
    assert PROJECT["project"]["scripts"] == {"zscir": "zscir.cli:main"}
    installed = re.search(r"pip install .*'\.\[(\w+)\]'", (REPO / "Makefile").read_text("utf-8"))
    assert installed and installed[1] in PROJECT["project"]["optional-dependencies"]


def test_what_is_installed_here_is_within_the_ranges():
    for line in PROJECT["project"]["dependencies"]:
        one = Requirement(line)
        assert one.specifier.contains(importlib.metadata.version(one.name)), line


def test_every_import_of_the_library_is_a_declared_dependency():
    extras = PROJECT["project"]["optional-dependencies"]
    declared = set(requirements([*PROJECT["project"]["dependencies"], *extras["check"]]))
    owners = importlib.metadata.packages_distributions()
    for path in (REPO / "zscir").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += (
                [node.module] if isinstance(node, ast.ImportFrom) and node.module and not node.level else []
            )
            for top in {name.partition(".")[0] for name in names} - set(sys.stdlib_module_names) - {"zscir"}:
                known = owners.get(top, [top])  # the name of a library that is not installed: an extra's
                brought = {canonicalize_name(name) for name in known} | {PROVIDED_BY.get(top)}
                assert brought & declared, f"{path.name} imports {top}, which no dependency declares"


def test_every_data_file_of_the_package_is_shipped():
    patterns = PROJECT["tool"]["setuptools"]["package-data"]["zscir"]
    package = REPO / "zscir"
    shipped = {path for pattern in patterns for path in package.glob(pattern)}
    others = [p for p in package.rglob("*") if p.is_file() and p.suffix not in (".py", ".pyc")]
    assert [path for path in others if path not in shipped] == []


def test_import_is_quick_and_leaves_the_heavy_libraries_alone():
    code = """
import sys, time
start = time.perf_counter()
import zscir
taken = time.perf_counter() - start
heavy = {"torch", "spacy", "pandas", "numpy"} & set(sys.modules)
assert not heavy, heavy
print(taken)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, cwd=REPO)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) < 0.3


@pytest.mark.parametrize("name", zscir.__all__)
def test_every_public_name_exists_and_explains_itself(name):
    value = getattr(zscir, name)
    assert name in dir(zscir)
    assert name == "__version__" or (value.__doc__ or "").strip()


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = zscir.nonsense


def test_every_module_is_on_the_api_page_and_none_besides():
    package = REPO / "zscir"
    files = [path.relative_to(REPO).with_suffix("") for path in package.rglob("*.py")]
    modules = {".".join(f.parts[:-1] if f.name == "__init__" else f.parts) for f in files}
    page = (REPO / "book" / "api.md").read_text()
    public = {name for name in modules if "._" not in name and name != "zscir"}
    assert sorted(re.findall(r"automodule:: (\S+)", page)) == sorted(public)


def test_readme_and_ci_use_the_two_commands():
    readme, ci = (REPO / "README.md").read_text(), (REPO / ".ci" / "run").read_text()
    for command in ("make book", "make test"):
        assert command in readme and command in ci
    assert os.access(REPO / ".ci" / "run", os.X_OK)
    assert ci.rstrip().endswith("make test")
    targets = set(re.findall(r"^(\w+):", (REPO / "Makefile").read_text(), re.MULTILINE))
    assert {"book", "test", "serve", "clean"} <= targets


@pytest.mark.posix
def test_make_refuses_an_old_python_in_words(tmp_path):
    old = tmp_path / "python-old"
    old.write_text("#!/bin/sh\nexit 1\n")
    old.chmod(0o755)
    for name in ("Makefile", "pyproject.toml"):
        (tmp_path / name).write_text((REPO / name).read_text())
    env = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    command = ["make", "test", f"PYTHON={old}"]
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True)
    assert done.returncode == 2 and "needs Python 3.11 or newer" in done.stderr
    assert not (tmp_path / ".venv").exists()


def test_the_version_is_said_once():
    citation = yaml.safe_load((REPO / "CITATION.cff").read_text())
    assert citation["version"] == zscir.__version__
    assert PROJECT["tool"]["setuptools"]["dynamic"]["version"] == {"attr": "zscir.__version__"}
