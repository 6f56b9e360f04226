"""Backbones with tiny towers of random weights, for tests and for processes that they start."""

import torch

from zscir.backbone import Backbone
from zscir.backbone.clip import make_backbone
from zscir.backbone.weights import build_model


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
