"""Maps of several nouns an image: pytorch-grad-cam against the fast engine, in one run.

python benchmarks/cams.py --images 4 --nouns 3 --out benchmarks/results/cams.json
"""

from __future__ import annotations

import argparse
import datetime
import importlib.metadata
import json
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch

from zscir.backbone import load_backbone
from zscir.regions import noun_cams

WORDS = ("dog", "sofa", "tree", "car", "lamp", "kite", "horse", "cup")


def seconds(work: Callable[[], object], repeats: int) -> list[float]:
    """Wall-clock seconds of each of `repeats` runs, after one that does not count."""
    work()
    taken = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        taken.append(time.perf_counter() - start)
    return taken


def processor() -> str:
    """The processor's name, as the system tells it."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def main() -> None:
    """Measure, print and store."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--backbone", default="ViT-B-32")
    parser.add_argument("--pretrained", default="random")
    parser.add_argument("--images", type=int, default=4)
    parser.add_argument("--nouns", type=int, default=3)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    backbone = load_backbone(args.backbone, args.pretrained or None)
    torch.manual_seed(0)
    pixels = torch.randn(args.images, 3, backbone.image_size, backbone.image_size)
    nouns = [list(WORDS[: args.nouns])] * args.images
    runs = {
        name: (lambda name=name: noun_cams(backbone, pixels, nouns, engine=name))
        for name in ("reference", "fast")
    }
    runs["one plain forward"] = lambda: backbone.encode_images(pixels)
    taken = {name: seconds(work, args.repeats) for name, work in runs.items()}
    pairs = zip(runs["reference"](), runs["fast"](), strict=True)
    middle = {name: statistics.median(values) for name, values in taken.items()}
    record = {
        "date": datetime.date.today().isoformat(),
        "machine": {
            "processor": processor(),
            "threads": torch.get_num_threads(),
            "cuda": torch.cuda.is_available(),
        },
        "versions": {n: importlib.metadata.version(n) for n in ("torch", "open_clip_torch", "grad-cam")},
        "settings": {key: value for key, value in vars(args).items() if key != "out"},
        "seconds": {name: [round(v, 3) for v in values] for name, values in taken.items()},
        "reference / fast": round(middle["reference"] / middle["fast"], 2),
        "fast / one plain forward": round(middle["fast"] / middle["one plain forward"], 2),
        "largest difference": max(float((a - b).abs().max()) for a, b in pairs),
    }
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(record, indent=1))


if __name__ == "__main__":
    main()
