"""Ranks of pocket benchmarks by a seeded phi, features computed anew: ``OUT CIRR_ROOT CIRCO_ROOT``.

Run by tests/test_retrieval.py in processes with other instructions and other numbers of threads.
"""

import sys
from types import SimpleNamespace

import numpy as np
import torch

from zscir import InversionNetwork, evaluate, load_backbone, load_benchmark

if __name__ == "__main__":
    out, *roots = sys.argv[1:]
    backbone = load_backbone()
    torch.manual_seed(0)
    phi = InversionNetwork(backbone.dim, backbone.text_tower.token_embedding.weight.shape[1])
    ranks = {}
    for name, root in zip(("cirr", "circo"), roots, strict=True):
        benchmark = load_benchmark(name, root)
        for method in ("text", "image", "image+text", "inversion"):
            scores = evaluate(backbone, benchmark, method, SimpleNamespace(phi=phi, config=None))
            ranks |= {f"{name} {method}": scores.ranks, f"{name} {method}, subset": scores.subset_ranks}
    np.savez(out, **ranks)
