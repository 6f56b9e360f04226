"""What masking costs, in one run: maps of all nouns, the fill that drops, and masked pairs by the thousand.

ATEN_CPU_CAPABILITY=avx2 ONEDNN_MAX_CPU_ISA=AVX2 MKL_ENABLE_INSTRUCTIONS=AVX2 \\
    python benchmarks/masking.py --out benchmarks/results/masking.json

* a masked pair's image half (whole feature, map of one noun, masked feature) in plain forwards of the tower;
* the fast maps against pytorch-grad-cam called noun by noun on the same batch, and against one plain forward;
* features of masked images with ``fill="drop"`` against ``fill="mean"``, at the τ that keeps 30 % on average;
* peak memory of `build_masked_pairs` for two numbers of pairs (a small random tower with wide features).

Times are CPU seconds of one thread, the runs taking turns, so other work on the machine changes little. Of
every number the least of the repeats counts.
"""

import argparse
import io
import json
import os
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from reference_cams import reference_cams

from zscir.backbone import Backbone, load_backbone
from zscir.backbone.clip import make_backbone
from zscir.backbone.weights import build_model
from zscir.regions import encode_masked, encode_regions, encode_with_cams, keep_mask, noun_cams
from zscir.regions.maps import CONTRAST_NOUNS, TEMPLATE
from zscir.regions.token_drop import kept_patches, patch_grid
from zscir.storage.provenance import machine, versions

WORDS = ("dog", "sofa", "tree", "car", "lamp", "kite", "horse", "cup")
KEPT = 0.3


def cpu_seconds(runs: dict[str, Callable[[], object]], repeats: int) -> dict[str, list[float]]:
    """CPU seconds of each run, `repeats` times in turn, after one round that does not count."""
    taken: dict[str, list[float]] = {name: [] for name in runs}
    for turn in range(1 + repeats):
        for name, work in runs.items():
            start = time.process_time()
            work()
            if turn:
                taken[name].append(time.process_time() - start)
    return taken


def random_pixels(backbone: Backbone, count: int) -> torch.Tensor:
    """Normalised noise [count, 3, S, S]."""
    size = (count, 3, backbone.image_size, backbone.image_size)
    return torch.randn(size, generator=torch.Generator().manual_seed(0))


def maps(backbone: Backbone, images: int, nouns: int, repeats: int) -> dict:
    """Maps of all nouns of a batch: fast, by pytorch-grad-cam noun by noun, and a plain forward beside."""
    pixels = random_pixels(backbone, images)
    lists = [[WORDS[(image + place) % len(WORDS)] for place in range(nouns)] for image in range(images)]

    def one_by_one() -> list[list[torch.Tensor]]:
        calls = [[[row[place]] for row in lists] for place in range(nouns)]
        return [reference_cams(backbone, pixels, call) for call in calls]

    runs = {
        "one plain forward": lambda: backbone.encode_images(pixels),
        "fast, all nouns": lambda: noun_cams(backbone, pixels, lists),
        "pytorch-grad-cam, noun by noun": one_by_one,
    }
    taken = cpu_seconds(runs, repeats)
    plain, fast, reference = (min(values) for values in taken.values())
    slow = [torch.cat(row) for row in zip(*one_by_one(), strict=True)]
    return {
        "images": images,
        "nouns an image": nouns,
        "CPU seconds": rounded(taken),
        "images/s": {name: round(images / min(values), 2) for name, values in taken.items()},
        "fast / one plain forward": round(fast / plain, 2),
        "pytorch-grad-cam / fast": round(reference / fast, 2),
        "largest difference": max(
            float((a - b).abs().max()) for a, b in zip(noun_cams(backbone, pixels, lists), slow, strict=True)
        ),
    }


def image_half(backbone: Backbone, images: int, repeats: int) -> dict:
    """What a masked pair costs: feature, map of one noun and masked feature, beside one plain forward."""
    pixels = random_pixels(backbone, images)
    nouns = [[WORDS[image % len(WORDS)]] for image in range(images)]
    words = sorted({*WORDS, *CONTRAST_NOUNS})
    encoded = backbone.encode_texts([TEMPLATE.replace("{noun}", word) for word in words])
    texts = dict(zip(words, encoded, strict=True))

    def whole() -> torch.Tensor:
        features, cams = encode_with_cams(backbone, pixels, nouns, grain="patch", texts=texts)
        encode_regions(backbone, pixels, torch.cat(cams), 0.3)
        return features

    taken = cpu_seconds({"one plain forward": lambda: backbone.encode_images(pixels), "all": whole}, repeats)
    plain, all_of_it = (min(values) for values in taken.values())
    difference = (whole() - backbone.encode_images(pixels)).abs().max()
    return {
        "backbone": backbone.name,
        "images": images,
        "CPU seconds": rounded(taken),
        "plain forwards an image": round(all_of_it / plain, 2),
        "largest difference of the whole feature": float(difference),
    }


def fills(backbone: Backbone, images: int, repeats: int) -> dict:
    """Features of masked images, painted and dropped, at the τ that keeps `KEPT` on average."""
    pixels = random_pixels(backbone, images)
    cams = torch.cat(noun_cams(backbone, pixels, [[WORDS[i % len(WORDS)]] for i in range(images)]))
    taus = torch.linspace(0, 1, 201).tolist()
    tau = min(taus, key=lambda one: abs(float(keep_mask(cams, one).float().mean()) - KEPT))
    keep = keep_mask(cams, tau)
    taken = cpu_seconds(
        {fill: lambda fill=fill: encode_masked(backbone, pixels, keep, fill) for fill in ("mean", "drop")},
        repeats,
    )
    return {
        "images": images,
        "tau": round(tau, 3),
        "kept": round(float(keep.float().mean()), 3),
        "kept patches": round(float(kept_patches(keep, patch_grid(backbone)).float().mean()), 3),
        "CPU seconds": rounded(taken),
        "mean / drop": round(min(taken["mean"]) / min(taken["drop"]), 2),
    }


def rounded(taken: dict[str, list[float]]) -> dict[str, list[float]]:
    """Seconds to the millisecond."""
    return {name: [round(value, 3) for value in values] for name, values in taken.items()}


def write_tars(folder: Path, count: int) -> None:
    """A source of `count` small random pictures with captions, a thousand a tar."""
    rng = np.random.default_rng(0)
    for first in range(0, count, 1000):
        with tarfile.open(folder / f"{first // 1000:05}.tar", "w") as tar:
            for row in range(first, min(first + 1000, count)):
                picture = io.BytesIO()
                Image.fromarray(rng.integers(0, 255, (4, 4, 3), dtype=np.uint8)).resize((64, 64)).save(
                    picture, "JPEG"
                )
                one, other = rng.choice(WORDS, 2)
                text = f"a {one} and number {row} beside a {other}"
                for suffix, data in (("jpg", picture.getvalue()), ("txt", text.encode())):
                    entry = tarfile.TarInfo(f"{row:09}.{suffix}")
                    entry.size = len(data)
                    tar.addfile(entry, io.BytesIO(data))


def small_tower(dim: int) -> Backbone:
    """A random tower, quick to run, whose features are as wide as a large one's."""
    vision = {"layers": 2, "width": 64, "head_width": 32, "patch_size": 16, "image_size": 64}
    text = {"context_length": 32, "width": 64, "heads": 2, "layers": 1, "vocab_size": 49408}
    config = {"model_cfg": {"embed_dim": dim, "vision_cfg": vision, "text_cfg": text}, "preprocess_cfg": {}}
    return make_backbone("small", build_model(config["model_cfg"]), config, device="cpu")


def build_pairs(folder: str, dim: int) -> None:
    """Build masked pairs of a folder of tars and print the number made and the peak memory in MB."""
    from zscir.pairs import build_masked_pairs, load_pairs

    masked = build_masked_pairs(small_tower(dim), load_pairs(folder), progress=False)
    lines = Path("/proc/self/status").read_text().splitlines()  # getrusage would count the parent's memory
    peak = next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))
    print(json.dumps({"pairs": len(masked.rows), "peak MB": round(peak / 1024)}))


def memory(counts: list[int], dim: int) -> dict:
    """Peak memory for two numbers of pairs, each in a process of its own, and what that means for 100,000."""
    found = []
    for count in counts:
        with tempfile.TemporaryDirectory() as folder:
            write_tars(Path(folder), count)
            env = os.environ | {"ZSCIR_ARTIFACTS": f"{folder}/artifacts", "OMP_NUM_THREADS": "1"}
            command = [sys.executable, __file__, "--build", folder, "--dim", str(dim)]
            done = subprocess.run(command, env=env, capture_output=True, text=True, check=True)
            found.append(json.loads(done.stdout.splitlines()[-1]))
            print(found[-1], flush=True)
    first, last = found[0], found[-1]
    slope = (last["peak MB"] - first["peak MB"]) / (last["pairs"] - first["pairs"])
    at_100k = round(last["peak MB"] + slope * (100_000 - last["pairs"]))
    return {"width of a feature": dim, "runs": found, "MB for 100,000 pairs, on a line": at_100k}


def main() -> None:
    """Measure, print and store."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--backbone", default="ViT-B-32")
    parser.add_argument("--pretrained", default="random")
    parser.add_argument("--images", type=int, default=8)
    parser.add_argument("--nouns", type=int, default=4)
    parser.add_argument("--masked", type=int, default=64, help="images of the comparison of fills")
    parser.add_argument("--pairs", type=int, nargs=2, default=[4000, 16000])
    parser.add_argument("--dim", type=int, default=768)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--build", help=argparse.SUPPRESS)
    args = parser.parse_args()
    torch.set_num_threads(1)
    if args.build:
        build_pairs(args.build, args.dim)
        return
    used = memory(args.pairs, args.dim)
    backbone = load_backbone(args.backbone, args.pretrained or None, device="cpu")
    record = {
        "date": date.today().isoformat(),
        "machine": machine(),
        "versions": versions(("torch", "open_clip_torch", "grad-cam")),
        "backbone": f"{args.backbone}, {args.pretrained}",
        "image half": [image_half(tower, args.masked, args.repeats) for tower in (load_backbone(), backbone)],
        "maps": maps(backbone, args.images, args.nouns, args.repeats),
        "fills": fills(backbone, args.masked, args.repeats),
        "memory": used,
    }
    text = json.dumps(record, indent=1) + "\n"
    if args.out:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
