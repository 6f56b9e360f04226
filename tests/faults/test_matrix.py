"""Each stage of the work x each fault: afterwards a plain rerun gives the bytes of an undisturbed run.

``matrix.csv`` says what each pair leads to, and is shown on the page *About this build*:

* same: a plain rerun gives the same bytes;
* anew: the rerun names what is damaged, sets it aside and computes it anew: the same bytes;
* error: one clear error, which the shell tells in a line; when its cause is gone, the same bytes.
"""

import csv
import os
import shutil
import signal
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
import torch
from disturb import Disk, Ending, at_change, begin, forked, obey_modes, send, turn_back_the_clock
from stages import STAGES, Inputs, prepared

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no such children")
MATRIX = Path(__file__).with_name("matrix.csv")
NOBODY = 65534


class Bench:
    """Stages and the places where they are disturbed; the undisturbed end of each is made once."""

    def __init__(self, base: Path):
        self.base, self.inputs, self._ends = base, Inputs(base), {}
        (base / "disk").mkdir()
        self.disk = Disk(base / "disk")

    def end(self, name: str) -> tuple[Path, int]:
        """The place where a stage ran undisturbed, and how many files and folders it changed."""
        if name not in self._ends:
            root = prepared(self.base / f"whole {name}", self.start(name))
            done = self.run(name, root, count=True)
            assert STAGES[name].stored(root), done
            self._ends[name] = root, done.value
        return self._ends[name]

    def start(self, name: str) -> Path | None:
        """The place where a stage begins, if another one comes before it."""
        return self.end(STAGES[name].after)[0] if STAGES[name].after else None

    def work(self, name: str, root: Path, count: bool = False) -> int:
        """Run a stage, in a child."""
        torch.set_num_threads(1)
        changes = at_change([STAGES[name].own], None, lambda: None) if count else lambda: 0
        STAGES[name].run(root, self.inputs)
        return changes()

    def run(self, name: str, root: Path, *before: Callable[[], object], count: bool = False) -> Ending:
        """Run a stage in a child that does some things first."""
        return forked(lambda: ([one() for one in before], self.work(name, root, count))[1])

    def new(self, name: str) -> Path:
        """A place where a stage has not yet run."""
        return prepared(self.base / "cell", self.start(name))

    def finished(self, name: str) -> Path:
        """A copy of the place where a stage ran undisturbed."""
        return prepared(self.base / "cell", self.end(name)[0])

    def assert_same(self, name: str, root: Path, *before: Callable[[], object]) -> Ending:
        """Run a stage again: now all its results must be those of an undisturbed run."""
        return self.check(name, root, self.run(name, root, *before))

    def check(self, name: str, root: Path, done: Ending) -> Ending:
        """All results of a stage that has run must be those of an undisturbed run."""
        assert (done.signal, done.error) == (0, "")
        wanted, found = (STAGES[name].stored(one) for one in (self.end(name)[0], root))
        assert list(found) == list(wanted)
        assert not [file for file in wanted if found[file] != wanted[file]]
        if not STAGES[name].leaves:
            assert not list(root.rglob(".*.tmp"))
        return done


@pytest.fixture(scope="module")
def bench() -> Iterator[Bench]:
    """The stages; below a folder that every user may enter."""
    base = Path(tempfile.mkdtemp(prefix="zscir-faults-"))
    base.chmod(0o755)
    built = Bench(base)
    yield built
    built.disk.leave()
    shutil.rmtree(base)


def some(count: int, most: int) -> list[int]:
    """Numbers below ``count`` that lie evenly, at most so many."""
    return sorted({round((number + 0.5) * count / most - 0.5) for number in range(most)})


def killed(bench: Bench, name: str, kind: signal.Signals, most: int) -> str:
    """A signal before one of the files changes; then a rerun."""
    for number in some(bench.end(name)[1], most):
        root = bench.new(name)
        hook = partial(at_change, [STAGES[name].own], number, partial(send, kind))
        ended = bench.run(name, root, hook)
        if kind is signal.SIGINT:
            assert ended.error.startswith("KeyboardInterrupt") and not list(root.rglob(".*.tmp"))
        else:
            assert ended.signal == kind
        bench.assert_same(name, root)
    return "same"


def disk_full(bench: Bench, name: str) -> str:
    """No room for the first file, or for the last ones; then there is room."""
    needed = sum(max(path.stat().st_size, 1) for path in STAGES[name].files(bench.end(name)[0]))
    for share in (0, 0.6):
        bench.disk.empty()
        root = prepared(bench.disk.path / "cell", bench.start(name))
        fill = partial(bench.disk.fill, int(share * needed))
        if bench.disk.mounted:
            fill()
        ended = bench.run(name, root, *[] if bench.disk.mounted else [fill])
        assert_clear(ended, root)
        bench.disk.ballast.unlink(missing_ok=True)
        bench.assert_same(name, root)
    return "error"


def assert_clear(ended: Ending, root: Path) -> None:
    """One error that the shell tells in a line, and that names the file or folder."""
    assert ended.signal == 0 and ended.clear, ended
    assert str(root) in ended.error or "exit status 1; its messages are above" in ended.error, ended.error


def read_only(bench: Bench, name: str) -> str:
    """A folder where nothing can be written: before the work, and after it."""
    stage = STAGES[name]
    for place, works in ((bench.new, False), (bench.finished, stage.reads)):
        root = place(name)
        (root / stage.home).mkdir(parents=True, exist_ok=True)
        folders = [root / stage.home, *(path for path in (root / stage.home).rglob("*") if path.is_dir())]
        for folder in folders:
            folder.chmod(0o555)
        if works:
            bench.assert_same(name, root, obey_modes)
        else:
            assert_clear(bench.run(name, root, obey_modes), root)
        for folder in folders:
            folder.chmod(0o755)
        bench.assert_same(name, root)
    return "error"


def of_another_user(bench: Bench, name: str) -> str:
    """A folder that is another user's alone; without the right to give folders away, nobody's."""
    root, root_user = bench.new(name), os.geteuid() == 0
    home = root / STAGES[name].home
    home.mkdir(parents=True, exist_ok=True)
    home.chmod(0o700 if root_user else 0)
    if root_user:
        os.chown(home, NOBODY, NOBODY)
    assert_clear(bench.run(name, root, obey_modes), root)
    home.chmod(0o755)
    if root_user:
        os.chown(home, 0, 0)
    bench.assert_same(name, root)
    return "error"


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    if data:
        data[len(data) // 2] ^= 1
        path.write_bytes(data)


def damaged(bench: Bench, name: str, damage: Callable[[Path], None]) -> str:
    """Each kind of file that a stage stores, and of those that one goes on from which was killed."""
    stage, end = STAGES[name], bench.end(name)[0]
    apart = ("key.json", "provenance.json")
    kinds = {(path.suffix, path.name in apart): path.relative_to(end) for path in stage.files(end)}
    found = {outcome_of_damage(bench, name, bench.finished(name), file, damage) for file in kinds.values()}
    if stage.parts:
        root = bench.new(name)
        killed = partial(at_change, [stage.own, "key.json"], 0, partial(send, signal.SIGKILL))
        assert bench.run(name, root, killed).signal == signal.SIGKILL
        last = sorted(root.glob(stage.parts))[-1].relative_to(root)
        found.add(outcome_of_damage(bench, name, root, last, damage))
    return max(found, key=["same", "anew", "error"].index)


def outcome_of_damage(bench: Bench, name: str, root: Path, file: Path, damage: Callable) -> str:
    """What a damaged file leads to; afterwards all is as it would be without."""
    damage(root / file)
    done = bench.run(name, root)
    if done.error:
        assert_clear(done, root)
        if "remove to compute again" in done.error:
            (root / file).unlink()
        else:  # nobody knows any more whose points these are
            assert "name another folder" in done.error
            shutil.rmtree((root / file).parent)
        bench.assert_same(name, root)
    else:
        bench.check(name, root, done)
        assert "set aside as" not in done.said or file.name in done.said or file.parent.name in done.said
    return "error" if done.error else "anew" if "set aside as" in done.said else "same"


def two_at_once(bench: Bench, name: str) -> str:
    """Two processes begin the same work at the same moment."""
    root = bench.new(name)
    both = [begin(lambda: bench.work(name, root)) for _ in range(2)]
    assert [ended().error for ended in both] == ["", ""]
    bench.assert_same(name, root)
    return "same"


def clock_set_back(bench: Bench, name: str) -> str:
    """All that is there is a year younger than the clock says; half of the work, and all of it."""
    half = partial(at_change, [STAGES[name].own], bench.end(name)[1] // 2, partial(send, signal.SIGKILL))
    root = bench.new(name)
    assert bench.run(name, root, half).signal == signal.SIGKILL
    bench.assert_same(name, root, turn_back_the_clock)
    bench.assert_same(name, bench.finished(name), turn_back_the_clock)
    return "same"


FAULTS: dict[str, Callable[[Bench, str], str]] = {
    "SIGKILL": partial(killed, kind=signal.SIGKILL, most=3),
    "SIGTERM": partial(killed, kind=signal.SIGTERM, most=1),
    "Ctrl-C": partial(killed, kind=signal.SIGINT, most=2),
    "disk full": disk_full,
    "read-only folder": read_only,
    "another user's folder": of_another_user,
    "file cut": partial(damaged, damage=cut),
    "bit flipped": partial(damaged, damage=flip),
    "file gone": partial(damaged, damage=Path.unlink),
    "two at once": two_at_once,
    "clock set back": clock_set_back,
}
with MATRIX.open(encoding="utf-8", newline="") as _stream:
    ROWS = {row.pop("fault"): row for row in csv.DictReader(_stream)}


def test_the_table_has_every_stage_and_every_fault():
    assert list(ROWS) == list(FAULTS) and all(list(row) == list(STAGES) for row in ROWS.values())


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("fault", FAULTS)
def test_after_a_fault_a_plain_rerun_gives_the_same_bytes(bench, fault, stage):
    assert FAULTS[fault](bench, stage) == ROWS[fault][stage]


@pytest.mark.slow
@pytest.mark.thorough
@pytest.mark.parametrize("stage", STAGES)
def test_killed_before_any_change_a_plain_rerun_gives_the_same_bytes(bench, stage):
    assert killed(bench, stage, signal.SIGKILL, most=30) == "same"
