"""The box of a chapter says what was run: parameters, versions, commit, machine and time."""

import json
import re
import subprocess
import sys
from datetime import UTC, datetime

import nbformat
import torch

from zscir.book import declared_parameters
from zscir.book.made_by import box, chapter_record, sign, values_used
from zscir.storage.paths import REPO
from zscir.storage.provenance import NO_CHECKOUT, commit_of, kernel_facts

DECLARED = {"tau": {"default": "0.3"}, "prompt": {"default": '"a | b"'}, "seed": {"default": "3"}}
KERNEL = {"processor": "A processor", "cores": 2, "threads": 1, "gpu": None, "peak_memory": 1_500_000_000}
CLEAN = {"commit": "0" * 40, "dirty": False}


def record_of(chosen=None, commit=CLEAN, kernel=KERNEL, name="05_cirr"):
    started = datetime(2026, 3, 1, 9, 5, tzinfo=UTC)
    return chapter_record(name, DECLARED, chosen or {}, "default", commit, started, 41.26, kernel)


def git(folder, *words):
    who = ["-c", "user.name=A", "-c", "user.email=a@example.org"]
    subprocess.run(["git", *who, *words], cwd=folder, check=True, capture_output=True)


def test_the_box_lists_all_parameters_and_those_that_were_changed():
    text = box(record_of({"tau": 0.27, "seed": 3}))
    assert "| parameters | `tau=0.27`, `prompt='a \\| b'`, `seed=3` |" in text
    assert "| not the chapter's own | `tau=0.27` |" in text, "seed 3 is the chapter's own"
    assert "| seed | 3 |" in text and "| run | 2026-03-01 09:05 UTC, 41 seconds |" in text
    assert f"`{'0' * 40}`, nothing uncommitted" in text
    assert "A processor, 2 cores, 1 thread, no GPU" in text and "at most 1.5 GB at once" in text
    assert f"torch {torch.__version__.partition('+')[0]}" in text
    assert text.startswith("```{admonition} Made by\n:class: dropdown") and text.endswith("\n```")


def test_every_parameter_of_every_chapter_can_be_told():
    for path in sorted((REPO / "notebooks").glob("*.ipynb")):
        declared = declared_parameters(path.stem)
        assert list(values_used(declared, {})) == list(declared)


def test_a_record_is_plain_json_and_comes_back_the_same():
    record = record_of()
    assert json.loads(json.dumps(record)) == record
    assert set(record["machine"]) == {"processor", "cores", "threads", "gpu"}


def test_signing_keeps_the_notebook_valid_and_touches_captions_alone():
    plain, drawn = nbformat.v4.new_code_cell("1", id="05-01"), nbformat.v4.new_code_cell("2", id="05-02")
    drawn.metadata["mystnb"] = {"figure": {"caption": "What is seen.\n", "name": "fig-a"}}
    notebook = nbformat.v4.new_notebook(cells=[plain, drawn])
    sign(notebook, record_of())
    nbformat.validate(notebook)
    assert drawn.metadata["mystnb"]["figure"] == {"caption": "What is seen. Cell 05-02.\n", "name": "fig-a"}
    assert plain.metadata == {} and [one["id"] for one in notebook.cells[2:]] == ["05-run-time", "05-made-by"]
    stored = notebook.cells[2].outputs[0]
    assert stored["data"]["application/papermill.record/text/plain"] == "'41 seconds'"
    assert stored["metadata"]["scrapbook"]["name"] == "run-time"


def test_what_glue_itself_stores_has_the_same_form():
    from IPython.core.interactiveshell import InteractiveShell
    from IPython.utils.capture import capture_output
    from myst_nb import glue

    InteractiveShell.instance()
    with capture_output() as captured:
        glue("run-time", "41 seconds", display=False)
    InteractiveShell.clear_instance()
    notebook = sign(nbformat.v4.new_notebook(), record_of())
    ours, theirs = notebook.cells[0].outputs[0], captured.outputs[0]
    assert ours["metadata"] == theirs.metadata and ours["data"].items() >= theirs.data.items()


def test_the_commit_and_whether_files_differ_from_it(tmp_path):
    assert commit_of(tmp_path) == {"commit": NO_CHECKOUT, "dirty": None}
    git(tmp_path, "init")
    (tmp_path / "a.txt").write_text("a")
    git(tmp_path, "add", "a.txt")
    git(tmp_path, "commit", "-m", "A file")
    found = commit_of(tmp_path)
    assert re.fullmatch("[0-9a-f]{40}", found["commit"]) and found["dirty"] is False
    (tmp_path / "b.txt").write_text("new, and not ignored")
    assert commit_of(tmp_path) == {"commit": found["commit"], "dirty": True}
    (tmp_path / "sub").mkdir()
    assert commit_of(tmp_path / "sub")["commit"] == NO_CHECKOUT, "a folder inside of another checkout is none"


def test_a_damaged_checkout_is_told_without_its_path(tmp_path):
    (tmp_path / ".git").write_text("gitdir: nowhere")
    found = commit_of(tmp_path)
    assert found == {"commit": "unknown, git could not read the checkout", "dirty": None}
    assert str(tmp_path) not in box(record_of(commit=found))


def test_the_kernel_tells_threads_only_if_pytorch_was_used():
    assert kernel_facts()["threads"] == torch.get_num_threads()
    code = "import json; from zscir.storage.provenance import kernel_facts; print(json.dumps(kernel_facts()))"
    done = subprocess.run([sys.executable, "-c", code], cwd=REPO, capture_output=True, text=True, check=True)
    facts = json.loads(done.stdout)
    assert facts["threads"] is None and facts["gpu"] is None and facts["processor"] and facts["cores"] >= 1


def test_the_peak_of_memory_rises_with_what_is_held():
    code = "from zscir.storage.provenance import kernel_facts as f; a = f(); b = bytearray(300_000_000); "
    code += "c = f(); print(c['peak_memory'] - a['peak_memory'])"
    done = subprocess.run([sys.executable, "-c", code], cwd=REPO, capture_output=True, text=True, check=True)
    assert 250e6 < int(done.stdout) < 400e6


def test_a_system_that_does_not_count_memory_is_said_to_be_one():
    assert "| memory | not told by this system |" in box(record_of(kernel={**KERNEL, "peak_memory": None}))
