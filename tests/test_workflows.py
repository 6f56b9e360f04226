"""What GitHub runs exists here: workflows name our commands, the line for Colab our repository."""

import os
import re
import tomllib

import pytest
import yaml

from zscir import cli
from zscir.storage.paths import REPO

FOLDER = REPO / ".github" / "workflows"
CONFIG = yaml.safe_load((REPO / "_config.yml").read_text())


def workflow(name):
    """A workflow; YAML reads the key ``on`` as True."""
    found = yaml.safe_load((FOLDER / name).read_text())
    return {"on" if key is True else key: value for key, value in found.items()}


def steps(name):
    return [step for job in workflow(name)["jobs"].values() for step in job["steps"]]


EVERY = pytest.mark.parametrize("name", sorted(path.name for path in FOLDER.glob("*.yml")))


@EVERY
def test_the_commands_of_a_workflow_exist(name):
    targets = set(re.findall(r"^([\w-]+):", (REPO / "Makefile").read_text(), re.MULTILINE))
    commands = [step["run"] for step in steps(name) if "run" in step]
    assert commands
    for command in commands:
        program, *words = command.split()
        if program == "make":
            assert set(words) <= targets, command
        elif program == "python":
            assert words[:4] == ["-m", "pip", "install", "-e"] or words[1] == "pytest", command
        elif program == "zscir":
            cli.parse(words)
        elif program == "cp":
            assert words == ["_build/zscir.pdf", "_build/html/zscir.pdf"]
        else:
            assert os.access(REPO / program, os.X_OK), command


@EVERY
def test_every_step_runs_something_and_actions_are_pinned_by_commit(name):
    assert all(("run" in step) != ("uses" in step) for step in steps(name))
    text = (FOLDER / name).read_text("utf-8")
    used = re.findall(r"uses: *(.*)", text)
    assert len(used) == sum("uses" in step for step in steps(name))
    for one in used:
        assert re.match(r"actions/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+\b", one), one


def test_an_action_has_one_version_everywhere():
    lines = [line for path in FOLDER.glob("*.yml") for line in path.read_text("utf-8").splitlines()]
    used = {re.search(r"uses: *(\S+ # [\w.]+)", line)[1] for line in lines if "uses:" in line}
    assert len({one.partition("@")[0] for one in used}) == len(used) >= 5


def test_many_inputs_are_generated_at_night():
    assert set(workflow("nightly.yml")["on"]) == {"schedule", "workflow_dispatch"}
    assert steps("nightly.yml")[-1]["run"].endswith("tests/bad_inputs --hypothesis-profile nightly")
    profiles = (REPO / "tests" / "conftest.py").read_text("utf-8")
    assert 'register_profile("nightly", max_examples=10_000' in profiles


def test_the_book_is_built_checked_and_published_from_main_alone():
    assert CONFIG["repository"]["branch"] in workflow("book.yml")["on"]["push"]["branches"]
    jobs = workflow("book.yml")["jobs"]
    commands = [step.get("run") for step in jobs["build"]["steps"]]
    assert commands.index("make book") < commands.index("make check-pages") < commands.index("make pdf")
    upload = next(step for step in jobs["build"]["steps"] if "upload-pages" in step.get("uses", ""))
    assert upload["with"]["path"] == "_build/html"
    assert jobs["publish"]["if"] == f"github.ref == 'refs/heads/{CONFIG['repository']['branch']}'"
    assert jobs["publish"]["needs"] == "build" and jobs["publish"]["permissions"]["pages"] == "write"
    assert workflow("book.yml")["permissions"] == {"contents": "read"}


def test_tests_run_on_pushes_and_pull_requests():
    assert set(workflow("test.yml")["on"]) == {"push", "pull_request"}
    assert any(step.get("run") == ".ci/run" for step in steps("test.yml"))


def test_tests_run_on_every_python_and_system_that_is_declared():
    jobs = workflow("test.yml")["jobs"]
    project = tomllib.loads((REPO / "pyproject.toml").read_text("utf-8"))["project"]
    declared = re.findall(r":: (3\.\d+)", "\n".join(project["classifiers"]))
    assert jobs["linux"]["strategy"]["matrix"]["python"] == declared
    assert jobs["others"]["strategy"]["matrix"]["os"] == ["macos-latest", "windows-latest"]
    assert jobs["others"]["strategy"]["matrix"]["python"] == declared


def test_the_other_systems_do_what_the_readme_says_without_make():
    readme = (REPO / "README.md").read_text("utf-8")
    block = readme[readme.index("Without make") :].split("```shell\n")[1].partition("```")[0]
    told = [re.sub(r"\s+#.*", "", line).strip() for line in block.splitlines()]
    said = [step["run"] for step in workflow("test.yml")["jobs"]["others"]["steps"] if "run" in step]
    assert [line.replace(" --profile quick", "") for line in said] == told
