"""Fixtures that several test files share: backbones with tiny towers of random weights."""

import os

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, settings
from live_pages import firefox
from PIL import Image
from tiny_backbones import build_tiny_backbone, tiny_config

from zscir.backbone import Backbone
from zscir.book.browser import chromium
from zscir.storage.provenance import THREADS, thread_share

#: How many inputs Hypothesis makes: some in every run, many at night (``--hypothesis-profile nightly``).
SLOW = [HealthCheck.too_slow, HealthCheck.function_scoped_fixture, HealthCheck.data_too_large]
COMMON = {"deadline": None, "database": None, "suppress_health_check": SLOW}
settings.register_profile("tests", max_examples=200, derandomize=True, **COMMON)
settings.register_profile("nightly", max_examples=10_000, print_blob=True, **COMMON)
settings.load_profile("tests")

#: The matrix of faults disturbs children of the tests' own process, which Windows has not.
collect_ignore = [] if hasattr(os, "fork") else ["faults"]


def pytest_configure() -> None:
    """Workers of pytest-xdist (``pytest -n 2``) share the cores, and so do the processes that they start."""
    if (workers := int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", 1))) > 1:
        share = thread_share(workers)
        torch.set_num_threads(share)
        os.environ.update(dict.fromkeys(THREADS, str(share)))


def pytest_runtest_setup(item) -> None:
    """What is marked ``posix`` is skipped on Windows; `test_portable.py` finds what has to be marked."""
    if os.name != "posix" and item.get_closest_marker("posix"):
        pytest.skip("needs signals, links, scripts of the shell, or make")


@pytest.fixture(scope="session")
def tiny_backbone() -> Backbone:
    """One random `Backbone` for the whole run: joint width 32, token width 48, images 32 x 32."""
    return build_tiny_backbone()


@pytest.fixture(scope="session")
def make_tiny_backbone():
    """The function `build_tiny_backbone`, for tests that need another architecture."""
    return build_tiny_backbone


@pytest.fixture(scope="session")
def make_tiny_config():
    """The function `tiny_config`."""
    return tiny_config


@pytest.fixture(scope="module")
def browser(request):
    """Chromium, for tests that open pages, or what `in_browsers` asks for; one runs at a time."""
    with firefox() if getattr(request, "param", "") == "firefox" else chromium() as running:
        yield running


COLOURS = [(220, 30, 30), (30, 200, 30), (40, 40, 230), (230, 220, 20), (20, 20, 20), (240, 240, 240)]
WORDS = ["dog", "cat", "owl", "car", "tree", "boat"]


@pytest.fixture
def colour_pairs(tmp_path) -> str:
    """Path of a folder with 36 two-colour images and a table of captions; the last caption has no noun."""
    folder = tmp_path / "pairs"
    folder.mkdir()
    lines = ["file\tcaption"]
    for row in range(36):
        pixels = np.zeros((32, 32, 3), np.uint8)
        pixels[:, :16], pixels[:, 16:] = COLOURS[row // 6], COLOURS[row % 6]
        Image.fromarray(pixels).save(folder / f"{row}.png")
        text = f"a {WORDS[row // 6]} and a {WORDS[row % 6]}" if row < 35 else "it is here"
        lines.append(f"{row}.png\t{text}")
    (folder / "pairs.tsv").write_text("\n".join(lines) + "\n", "utf-8")
    return str(folder)
