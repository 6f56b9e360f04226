"""Every row of the table gets one error of ours: it names input, value and cure, and nothing is written."""

import contextlib
import io
import shlex
import traceback

import pytest
from places import laid, make_places, spoil
from rows import ROWS

from zscir import cli
from zscir.storage.paths import REPO


@pytest.fixture(scope="module")
def places(tmp_path_factory, make_tiny_config):
    from zscir.backbone.weights import build_model, save_backbone

    config = make_tiny_config()
    tiny = save_backbone(build_model(config["model_cfg"]), config, tmp_path_factory.mktemp("tiny"))
    return make_places(tmp_path_factory.mktemp("places"), str(tiny))


def files_in(*folders):
    """Every file of some folders, and when it was changed."""
    found = (path for folder in folders for path in folder.rglob("*") if path.is_file())
    return {path: path.stat().st_mtime_ns for path in found}


def called(call):
    """Exit status of a call as the shell's main function would give it, if the error was raised by us."""
    try:
        call()
        return 0
    except (ValueError, OSError) as error:
        ours = traceback.extract_tb(error.__traceback__)[-1].filename.startswith(f"{REPO}/zscir")
        print(f"zscir: {error}" if ours else traceback.format_exc(), file=cli.sys.stderr)
        return 2


def answer(row):
    """Exit status and stderr of a row; a traceback for another error than ours."""
    said = io.StringIO()
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
        try:
            if callable(row.run):
                return called(row.run), said.getvalue()
            return cli.main(shlex.split(row.run.replace("{repo}", str(REPO)))), said.getvalue()
        except BaseException:
            return None, traceback.format_exc()


def slashes(text):
    """A text with the slashes of every system's paths alike."""
    return text.replace("\\\\", "/").replace("\\", "/")


def faults(row, status, said, before, after):
    """What is wrong with the answer to a row."""
    lacking = [part for part in row.says if slashes(part) not in slashes(said)]
    changed = [path.name for path in before | after if before.get(path) != after.get(path)]
    one_line = said.startswith("zscir: ") and said.count("\n") == 1
    wrong = [f"exit status {status}"] * (status != 2) + ["not one line of ours"] * (not one_line)
    wrong += [f"lacks {part!r}" for part in lacking] + [f"wrote {name}" for name in changed]
    return f"{row.area}: {row.run}: {', '.join(wrong)}; said: {said[-2000:]}" if wrong else ""


def test_every_bad_input_gets_one_clear_error(places, tmp_path, monkeypatch):
    wrong = []
    (tmp_path / "artifacts").mkdir()
    for number, row in enumerate(ROWS):
        named = row.run if isinstance(row.run, str) else "cirr pairs"
        folder = laid(places, tmp_path / str(number), f"{named} {list(row.files)} {row.variables}")
        for name, how in row.files.items():
            spoil(folder / name, how)
        before = files_in(folder, tmp_path / "artifacts")
        with monkeypatch.context() as patch:
            patch.chdir(folder)
            patch.setenv("ZSCIR_ARTIFACTS", str(tmp_path / "artifacts"))
            for name, value in row.variables.items():
                patch.setenv(name, value)
            status, said = answer(row)
        wrong.append(faults(row, status, said, before, files_in(folder, tmp_path / "artifacts")))
    assert not any(wrong), "\n\n".join(filter(None, wrong))


def test_the_table_covers_every_command_and_kind_of_input():
    assert len(ROWS) >= 100
    shell = [row.run.split() for row in ROWS if isinstance(row.run, str) and row.run]
    commands = {
        "book",
        "pdf",
        "run",
        "sweep",
        "pocket",
        "pairs",
        "train",
        "evaluate",
        "retrieve",
        "submission",
    }
    assert {words[0] for words in shell} >= commands
    assert {name for name in cli.app if not name.startswith("-")} == commands
