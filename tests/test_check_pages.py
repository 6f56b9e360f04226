"""The check of the built pages finds what it is there to find; the workflows run what exists."""

import importlib.metadata
import importlib.util
import os
import re
import shutil

import pytest
import yaml

from zscir.browser import NAMES
from zscir.paths import REPO

spec = importlib.util.spec_from_file_location("check_pages", REPO / "book" / "check_pages.py")
check_pages = importlib.util.module_from_spec(spec)
spec.loader.exec_module(check_pages)

HEAD = '<!DOCTYPE html><html lang="en" data-theme="light"><head><title>A page</title>'
HEAD += "<script>document.documentElement.dataset.theme = localStorage.theme ?? 'light'</script></head>"
GOOD = f"""{HEAD}<body><main><h1 id="top">Here</h1><p>Text and <a href="other.html#there">a link</a>.</p>
<img src="a.png" alt="a dog on a sofa"><a href="https://example.org">away</a></main></body></html>"""
OTHER = f"""{HEAD}<body><main><h1 id="there">There</h1><p><a href="index.html">back</a></p>
</main></body></html>"""


def has_axe():
    try:
        return bool(check_pages.axe_script())
    except FileNotFoundError:
        return False


needs_browser = pytest.mark.skipif(
    not (os.environ.get("CHROMIUM") or any(map(shutil.which, NAMES))) or not has_axe(),
    reason="no Chromium, or no axe-core (pip install -e '.[check]')",
)


@pytest.fixture
def pages(tmp_path):
    (tmp_path / "index.html").write_text(GOOD)
    (tmp_path / "other.html").write_text(OTHER)
    (tmp_path / "a.png").write_bytes(b"")
    return tmp_path


def test_good_pages_have_no_findings(pages, capsys):
    assert check_pages.main([str(pages), "--static"]) == 0
    assert "2 pages, 0 findings" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("old", "new", "finding"),
    [
        ("other.html#there", "other.html#nowhere", "the link other.html#nowhere leads nowhere"),
        ("other.html#there", "gone.html", "the link gone.html leads nowhere"),
        ("other.html#there", "../other.html", "the link ../other.html leads nowhere"),
        (' alt="a dog on a sofa"', "", "the picture a.png has no text"),
        ("a dog on a sofa", "a.png", "the picture a.png has no text"),
        ("<main>", '<main><script src="https://cdn.example.org/x.js"></script>', "loads https://cdn"),
        ("<main>", '<link rel="stylesheet" href="//fonts.example.org/x.css"><main>', "loads //fonts"),
        ('src="a.png"', 'src="http://example.org/a.png"', "loads http://example.org/a.png"),
    ],
)
def test_what_is_wrong_is_found(pages, capsys, old, new, finding):
    assert old in GOOD
    (pages / "index.html").write_text(GOOD.replace(old, new))
    assert check_pages.main([str(pages), "--static"]) == 1
    assert finding in capsys.readouterr().out


def test_style_sheets_load_nothing_from_elsewhere(pages):
    (pages / "x.css").write_text("@import 'https://fonts.example.org/a.css'; a { background: url(b.png) }")
    assert check_pages.static_findings(pages) == ["x.css: loads https://fonts.example.org/a.css"]


def test_no_pages_are_no_success(tmp_path, capsys):
    assert check_pages.main([str(tmp_path)]) == 2
    assert "there are no pages in" in capsys.readouterr().err


@needs_browser
@pytest.mark.slow
def test_a_browser_finds_what_people_cannot_read(pages):
    assert check_pages.browser_findings(pages) == []
    faint = '<p style="color:#ccc;background:#fff">hardly to be read</p><div style="width:3000px">wide</div>'
    (pages / "index.html").write_text(GOOD.replace("<main>", f"<main>{faint}"))
    found = check_pages.browser_findings(pages, ["index.html"])
    assert any("color-contrast (serious)" in one for one in found)
    assert any("px wide" in one for one in found)


def test_axe_is_asked_for_by_the_extra(monkeypatch):
    def missing(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(check_pages.importlib.metadata, "distribution", missing)
    with pytest.raises(FileNotFoundError, match=r"pip install -e '\.\[check\]'"):
        check_pages.axe_script()


@pytest.mark.parametrize("name", ["book.yml", "test.yml"])
def test_workflows_run_what_exists(name):
    flow = yaml.safe_load((REPO / ".github" / "workflows" / name).read_text("utf-8"))
    steps = [step for job in flow["jobs"].values() for step in job["steps"]]
    commands = [step["run"] for step in steps if "run" in step]
    targets = re.findall(r"^([\w-]+):", (REPO / "Makefile").read_text("utf-8"), re.MULTILINE)
    assert commands and all(step.get("uses", "@").count("@") == 1 for step in steps)
    for command in commands:
        program, *words = command.split()
        assert (program == "make" and words[0] in targets) or (REPO / program).is_file(), command
    assert any(step.get("uses", "").startswith("actions/checkout@") for step in steps)


def test_the_pages_that_are_published_are_those_that_are_built():
    flow = yaml.safe_load((REPO / ".github" / "workflows" / "book.yml").read_text("utf-8"))
    upload = next(s for s in flow["jobs"]["build"]["steps"] if "upload-pages" in s.get("uses", ""))
    assert upload["with"]["path"] == "_build/html"
    assert flow["permissions"]["pages"] == "write" and flow["jobs"]["publish"]["needs"] == "build"
