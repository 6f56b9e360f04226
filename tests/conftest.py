"""Fixtures that several test files share: backbones with tiny towers of random weights."""

import os

import numpy as np
import pytest
import torch
from live_pages import firefox
from PIL import Image

from zscir.backbone import Backbone
from zscir.backbone.clip import make_backbone
from zscir.backbone.weights import build_model
from zscir.book.browser import chromium
from zscir.storage.provenance import THREADS, thread_share


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


def tiny_config(vision: dict | None = None, text: dict | None = None, **model) -> dict:
    """Config of a CLIP small enough for a test: 32 px in 8 px patches, width 64, 24 tokens."""
    return {
        "model_cfg": {
            "embed_dim": 32,
            "vision_cfg": {"layers": 3, "width": 64, "head_width": 16, "patch_size": 8, "image_size": 32}
            | (vision or {}),
            "text_cfg": {"context_length": 24, "width": 48, "heads": 4, "layers": 2, "vocab_size": 49408}
            | (text or {}),
            **model,
        },
        "preprocess_cfg": {"mean": [0.5, 0.4, 0.3], "std": [0.2, 0.3, 0.25]},
    }


def build_tiny_backbone(
    vision: dict | None = None, text: dict | None = None, *, seed: int = 0, precision: str = "fp32", **model
) -> Backbone:
    """A random `Backbone` on the CPU; the arguments change the tiny configuration."""
    config = tiny_config(vision, text, **model)
    network = build_model(config["model_cfg"], seed=seed)
    with torch.no_grad():  # spread the word embeddings, which start nearly equal, so that texts differ
        getattr(network, "text", network).token_embedding.weight.mul_(20)
    return make_backbone("tiny", network, config, device="cpu", precision=precision)


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
