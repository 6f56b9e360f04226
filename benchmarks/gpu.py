"""Training and masking on a GPU: pairs per second, share of the peak, memory, and agreement with the CPU.

python benchmarks/gpu.py --out benchmarks/results/gpu.json                        # ViT-L-14, bf16, batch 1024
python benchmarks/gpu.py --backbone ViT-B-32 --batch 16 --steps 2 --images 4      # a try on the CPU

Steps of the preset `paper` from stored features. FLOPs are counted by PyTorch, forward and backward; the peak
is the card's dense bf16 figure (--peak, 989e12 for an H100 SXM by its data sheet). The agreement is the
largest relative difference of the loss over 20 fp32 steps without dropout, GPU against CPU.
"""

import argparse
import time
from pathlib import Path

import torch
from records import today, write
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from zscir.backbone import Backbone, load_backbone
from zscir.inversion import TrainConfig
from zscir.inversion.checkpoints import Run, State, fresh_state
from zscir.inversion.data import TrainData, batches
from zscir.inversion.processes import Processes
from zscir.inversion.training import _losses, _step
from zscir.pairs import Pairs
from zscir.regions import keep_mask, mask_image, noun_cams
from zscir.storage.provenance import machine, versions

#: Captions about as long as CC3M's, which have ten words on average (Sharma et al., ACL 2018).
CAPTIONS = (
    "a * runs along the beach",
    "the * on a table in front of the window of a small old house",
    "people walk past a * in the evening",
    "* in the garden of the palace , which was built for the king and his family a long time ago",
    "portrait of a young woman with a * and a red hat in the park",
)
NOUNS = ("dog", "table", "house", "woman")


def made_up(backbone: Backbone, count: int) -> TrainData:
    """Random features, and captions of usual lengths."""
    generator = torch.Generator().manual_seed(0)
    whole, masked = (
        F.normalize(torch.randn(count, backbone.dim, generator=generator), dim=-1) for _ in range(2)
    )
    captions = backbone.tokenize([CAPTIONS[row % len(CAPTIONS)] for row in range(count)])
    return TrainData(count, whole, masked, captions, torch.arange(count), {})


def prepared(backbone: Backbone, config: TrainConfig, data: TrainData):
    """A function that takes one step and returns its losses."""
    pairs = Pairs("made up", [], [], "made-up")
    run = Run(config, backbone, pairs, Processes(), "benchmark", False)
    torch.manual_seed(config.seed)
    state: State = fresh_state(run)
    state.phi.train()
    drawn, losses = batches(data.count, config.batch, config.seed), _losses(run, data)
    return lambda: _step(run, state, losses, next(drawn), config.lr)


def wait(backbone: Backbone) -> None:
    """Until the GPU is done."""
    if backbone.device.type == "cuda":
        torch.cuda.synchronize()


def training_speed(backbone: Backbone, args: argparse.Namespace) -> dict:
    """Pairs per second, FLOPs of a step and memory."""
    config = TrainConfig(batch=args.batch, steps=10**6, precision=args.precision)
    step = prepared(backbone, config, made_up(backbone, 4 * args.batch))
    with FlopCounterMode(display=False) as counter:
        step()
    wait(backbone)
    start = time.perf_counter()
    for _ in range(args.steps):
        step()
    wait(backbone)
    seconds = (time.perf_counter() - start) / args.steps
    flops, cuda = counter.get_total_flops(), backbone.device.type == "cuda"
    return {
        "pairs per second": round(args.batch / seconds, 1),
        "FLOPs of a step": flops,
        "share of peak": round(flops / seconds / args.peak, 4) if cuda else None,
        "peak memory, GB": round(torch.cuda.max_memory_allocated() / 1e9, 2) if cuda else None,
    }


def masking_speed(backbone: Backbone, images: int) -> dict:
    """Images per second from pixels to the features of masked images: map, threshold, fill, encode."""
    torch.manual_seed(0)
    pixels = torch.randn(images, 3, backbone.image_size, backbone.image_size, device=backbone.device)
    nouns = [[NOUNS[row % len(NOUNS)]] for row in range(images)]

    def work() -> None:
        maps = torch.cat(noun_cams(backbone, pixels, nouns))
        kept = keep_mask(maps, 0.3)
        backbone.encode_images(mask_image(pixels, kept, "mean", backbone.mean, backbone.std))
        wait(backbone)

    work()
    start = time.perf_counter()
    work()
    return {"images per second": round(images / (time.perf_counter() - start), 2)}


def agreement(args: argparse.Namespace, steps: int = 20) -> dict | None:
    """Largest relative difference of the loss, GPU against CPU, over some fp32 steps; None without a GPU."""
    if not torch.cuda.is_available():
        return None
    curves = []
    for device in ("cpu", "cuda"):
        backbone = load_backbone(args.backbone, args.pretrained or None, device=device)
        config = TrainConfig(batch=16, steps=steps, warmup=2, dropout=0.0)
        step = prepared(backbone, config, made_up(backbone, 64))
        curves.append(torch.tensor([float(step()[0]) for _ in range(steps)]))
    return {
        "steps": steps,
        "largest relative difference": float(((curves[0] - curves[1]) / curves[0]).abs().max()),
    }


def main() -> None:
    """Measure, print and store."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--backbone", default="ViT-L-14")
    parser.add_argument("--pretrained", default="random")
    parser.add_argument("--precision", default="bf16")
    parser.add_argument("--batch", type=int, default=1024)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--images", type=int, default=128)
    parser.add_argument("--peak", type=float, default=989e12)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    backbone = load_backbone(args.backbone, args.pretrained or None, precision=args.precision)
    record = {"date": today(), "machine": machine(), "versions": versions(("torch", "open_clip_torch"))}
    record["settings"] = {key: value for key, value in vars(args).items() if key != "out"}
    record["training"] = training_speed(backbone, args)
    record["masking"] = masking_speed(backbone, args.images)
    record["agreement with the CPU"] = agreement(args)
    write(record, args.out)


if __name__ == "__main__":
    main()
