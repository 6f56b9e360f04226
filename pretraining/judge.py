"""How good a pocket backbone is: held-out retrieval, and where its maps of single nouns point.

    python -m pretraining.judge --out zscir/pocket/weights/scores.json

Pictures are drawn for the purpose, from a stream of scenes that no training sees.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from zscir.analysis.drawn_objects import METHODS
from zscir.analysis.mask_quality import map_scores
from zscir.backbone import Backbone, load_backbone
from zscir.pocket import captions, scenes
from zscir.pocket.scenes import training_scene
from zscir.regions import noun_cams
from zscir.regions.maps import TARGETS
from zscir.storage.whole import written_whole

from .pool import HELD_OUT_STREAM

#: Objects seen on less than a hundredth of the picture (pixels of 128 x 128) are hidden too far to be judged.
LEAST_PIXELS = 164


def retrieval_scores(backbone: Backbone, count: int = 1000, seed: int = 0) -> dict[str, float]:
    """Recall@1 and @5 in percent, picture -> full caption and back, among `count` held-out scenes."""
    shown = [training_scene(index, seed, HELD_OUT_STREAM) for index in range(count)]
    rng = np.random.default_rng([HELD_OUT_STREAM, seed])
    texts = backbone.encode_texts([captions.caption(scene, rng, full=True) for scene in shown])
    drawn = [backbone.preprocess(scenes.render(scene)[0]) for scene in shown]
    images = torch.cat(
        [backbone.encode_images(torch.stack(drawn[i : i + 200])) for i in range(0, count, 200)]
    )
    cosines = images @ texts.T  # [count, count]
    scores = {}
    for name, table in (("image_to_text", cosines), ("text_to_image", cosines.T)):
        rank = (table > table.diagonal()[:, None]).sum(dim=1)
        scores |= {f"{name}_recall@{k}": round(100 * float((rank < k).float().mean()), 2) for k in (1, 5)}
    return scores


def held_out_objects(
    backbone: Backbone, count: int, seed: int = 0
) -> tuple[torch.Tensor, torch.Tensor, list[str]]:
    """Pictures with several things: pixels [R, 3, S, S], true mask of the first thing [R, S, S], its noun."""
    pixels, masks, nouns = [], [], []
    index = 0
    while len(nouns) < count:
        scene = training_scene(index, seed, HELD_OUT_STREAM)
        index += 1
        if len(scene.objects) < 2:
            continue
        picture, labels = scenes.render(scene)
        if (labels == 1).sum() < LEAST_PIXELS:
            continue
        mask = Image.fromarray(((labels == 1) * 255).astype(np.uint8))
        mask = mask.resize((backbone.image_size,) * 2, Image.Resampling.BILINEAR)
        pixels.append(backbone.preprocess(picture))
        masks.append(torch.from_numpy(np.asarray(mask) > 127))
        nouns.append(scene.objects[0].noun)
    return torch.stack(pixels), torch.stack(masks), nouns


def layers_of(backbone: Backbone) -> list[list[str]]:
    """Layers whose maps are compared: the norm before each block's attention, the last norm, and means of
    neighbours among these."""
    names = [name for name, _ in backbone.model.named_modules()]
    norms = [n for n in names if n.startswith("visual.transformer.resblocks.") and n.endswith(".ln_1")]
    norms.append("visual.ln_post")
    return [*([name] for name in norms), norms[-3:-1], norms[-2:], norms[-3:]]


def localisation_table(backbone: Backbone, count: int = 300, seed: int = 0) -> list[dict]:
    """Scores of every layer, method and target; layers no gradient reaches (the patches of a
    class-token tower's last norm) are left out."""
    pixels, masks, nouns = held_out_objects(backbone, count, seed)
    rows = []
    for layer in layers_of(backbone):
        for method in METHODS:
            for target in TARGETS:
                how = {"layer": layer, "method": method, "target": target}
                maps = [one[0] for one in noun_cams(backbone, pixels, [[n] for n in nouns], **how)]
                if any(one.max() > 0 for one in maps):
                    rows.append({**how, **map_scores(torch.stack(maps).cpu(), masks)})
    return rows


def judge(backbone: Backbone, count: int = 1000, objects: int = 300) -> dict:
    """All scores: retrieval, the backbone's own choice of map, and the table it was chosen from."""
    table = localisation_table(backbone, objects)
    own = {"layer": list(backbone.cam_layers), "method": backbone.cam_method, "target": backbone.cam_target}
    chosen = [row for row in table if {key: row[key] for key in own} == own]
    return {
        "retrieval": {"candidates": count, **retrieval_scores(backbone, count)},
        "localisation": {"objects": objects, "chosen": chosen[0] if chosen else None, "table": table},
    }


def main() -> None:
    """Judge the backbone that the command line names and write its scores."""
    parser = argparse.ArgumentParser(
        prog="python -m pretraining.judge", description=__doc__.partition("\n")[0]
    )
    parser.add_argument("--backbone", default="pocket", help="name or folder of a backbone")
    parser.add_argument("--out", type=Path, required=True, help="JSON file to write")
    args = parser.parse_args()
    scores = judge(load_backbone(args.backbone))
    with written_whole(args.out) as scratch:
        scratch.write_text(json.dumps(scores, indent=1) + "\n", encoding="utf-8")
    print(json.dumps({**scores["retrieval"], **(scores["localisation"]["chosen"] or {})}, indent=1))


if __name__ == "__main__":
    main()
