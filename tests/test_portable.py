"""Windows and macOS: what only POSIX has is not used unasked; a test that needs it is marked ``posix``."""

import ast
import re
import textwrap
from pathlib import Path

import nbformat
import pytest

from zscir.storage.paths import REPO

MODULES = "crypt curses fcntl grp nis posix pty pwd readline resource spwd syslog termios tty".split()
#: Names of `os` and `signal` that Windows has not, in the spelling of typeshed's ``sys.platform != "win32"``.
NAMES = (
    r"os\.(?:CLD_\w+|F_[TU]?LOCK|O_(?:CLOEXEC|DIRECTORY|NOCTTY|NOFOLLOW|NONBLOCK|SYNC)|PRIO_\w+|RTLD_\w+|SCHED_\w+|"
    r"W[A-Z]+|XATTR_\w+|f?chown|lchown|chroot|confstr|ctermid|environb|fchdir|fdatasync|fork(?:pty)?|f?pathconf|"
    r"f?statvfs|get(?:e?[gu]id|envb|groups|grouplist|loadavg|pg(?:id|rp)|priority|res[gu]id|sid|xattr)|initgroups|"
    r"killpg|listxattr|major|minor|makedev|mkfifo|mknod|nice|openpty|pipe2|posix_\w+|p(?:read|write)v?|readv|"
    r"register_at_fork|removexattr|sched_\w+|sendfile|set(?:e?[gu]id|groups|pg(?:id|rp)|priority|re[gu]id|sid|xattr)|"
    r"sync|sysconf|tc[gs]etpgrp|ttyname|uname|wait(?:3|4|id)|writev)\b"
    r"|signal\.(?:SIG(?:ALRM|CHLD|CONT|HUP|KILL|PIPE|PROF|QUIT|STOP|TSTP|USR[12])|alarm|pause|setitimer|sigwait)\b"
)
#: What tests do besides: links, which Windows allows to few, and scripts of the shell.
IN_TESTS = r"\.symlink_to\b|'#!/bin/"
ASKED = r"hasattr\(|os\.name|sys\.platform|mark\.posix"
FOLDERS = ("zscir", "book", "benchmarks", "pretraining", "tests")
FILES = sorted(path for folder in FOLDERS for path in (REPO / folder).rglob("*.py"))
FILES = [path for path in FILES if path.parent.name != "faults"]  # which conftest.py leaves out on Windows


def inner_code(text):
    """The tree of a text that is a script, as some tests give to a process of their own; else nothing."""
    try:
        return ast.parse(textwrap.dedent(text)) if re.search(r"\bimport \w", text) else None
    except SyntaxError:
        return None


def needs(node, names):
    """What one node needs of POSIX, or nothing."""
    if isinstance(node, ast.Import | ast.ImportFrom):
        tops = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""]
        return next((top for top in tops if top.partition(".")[0] in MODULES), "")
    if isinstance(node, ast.Attribute | ast.Name | ast.Constant):
        found = re.search(names, ast.unparse(node)[:200])
        return found[0] if found else ""
    return ""


def asks(node):
    """Whether a node asks first: a condition on the system, a mark, or an error that is caught."""
    if isinstance(node, ast.If | ast.IfExp):
        return re.search(ASKED, ast.unparse(node.test))
    if isinstance(node, ast.BoolOp):
        return re.search(ASKED, ast.unparse(node.values[0]))
    if isinstance(node, ast.Try):
        return any(
            re.search("Module|Import|Attribute", ast.unparse(one.type or one)) for one in node.handlers
        )
    marks = getattr(node, "decorator_list", [])
    return any(re.search(ASKED, ast.unparse(mark)) for mark in marks)


def unasked(node, names):
    """All that a tree needs of POSIX without having asked."""
    if asks(node):
        return set()
    script = (
        inner_code(node.value) if isinstance(node, ast.Constant) and isinstance(node.value, str) else None
    )
    inner = [*ast.iter_child_nodes(node), *([script] if script else [])]
    return {needs(node, names)}.union(*(unasked(one, names) for one in inner)) - {""}


@pytest.mark.parametrize(
    "path", [path for path in FILES if path.parent.name != "tests"], ids=lambda p: p.stem
)
def test_no_module_needs_posix_unasked(path):
    assert unasked(ast.parse(path.read_text("utf-8")), NAMES) == set()


@pytest.mark.parametrize("path", sorted((REPO / "notebooks").glob("*.ipynb")), ids=lambda path: path.stem)
def test_no_chapter_needs_posix(path):
    cells = nbformat.read(path, as_version=4).cells
    code = [cell.source for cell in cells if cell.cell_type == "code"]
    assert set().union(*(unasked(ast.parse(text), NAMES) for text in code)) == set()


def parts(trees):
    """Definitions and constants at the top of modules, by name."""
    for tree in trees:
        for node in tree.body:
            names = [one.id for one in getattr(node, "targets", []) if isinstance(one, ast.Name)]
            yield from ((name, node) for name in [*names, *filter(None, [getattr(node, "name", None)])])


def test_a_test_that_needs_posix_is_marked():
    """Also by a helper: what the tests call that needs POSIX counts as such a name itself."""
    trees = [
        ast.parse(path.read_text("utf-8"))
        for path in FILES
        if path.parent.name == "tests" and path.name != Path(__file__).name
    ]
    known, names = set(), f"{NAMES}|{IN_TESTS}"
    while True:
        found = {name for name, node in parts(trees) if unasked(node, names)} - {"main"}
        if found == known:
            break
        known = found
        helpers = "|".join(name for name in known if not name.startswith("test_"))
        names = f"{NAMES}|{IN_TESTS}|\\b(?:{helpers or 'nothing'})\\b"
    assert {name for name in known if name.startswith("test_")} == set()


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ("import fcntl", {"fcntl"}),
        ("from resource import getrusage", {"resource"}),
        ("try:\n    import resource\nexcept ModuleNotFoundError:\n    resource = None", set()),
        ("def f():\n    os.kill(1, signal.SIGKILL)", {"signal.SIGKILL"}),
        ("x = len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else 1", set()),
        ("x = hasattr(os, 'geteuid') and os.geteuid() == 0", set()),
        ("x = os.geteuid() == 0", {"os.geteuid"}),
        ("run('import os\\nos.fork()')", {"os.fork"}),
        ("@pytest.mark.posix\ndef test_x():\n    os.fork()", set()),
        ("import posixpath, signal\nsignal.signal(signal.SIGTERM, f)", set()),
    ],
)
def test_what_needs_posix_is_found(code, found):
    assert unasked(ast.parse(code), NAMES) == found
