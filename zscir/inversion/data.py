"""What a training draws its batches from: stored features, or images encoded anew in every step."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torchvision.transforms import RandomResizedCrop
from torchvision.transforms import functional as TF

from zscir.backbone import Backbone
from zscir.inversion.config import TrainConfig
from zscir.inversion.processes import Processes
from zscir.pairs import Pairs, build_masked_pairs, image_features
from zscir.pairs.features import readable_rows, stored
from zscir.pairs.hidden_nouns import hidden_nouns
from zscir.regions import encode_regions, encode_with_cams
from zscir.storage import artifact
from zscir.storage.shards import write_rows

#: Share of the image's area that ``online`` crops to, open_clip's own for training.
CROP = (0.9, 1.0)
TEXT_BATCH = 1024


@dataclass
class TrainData:
    """P rows to draw from, M of them with a masked caption; tensors lie on the CPU.

    Attributes:
        count: P.
        targets: [P, D] features that queries must find: whole images, or captions for the text preset.
        inputs: [M, D] features that phi gets with a masked caption; None when there are none, or ``online``.
        captions: [M, L] token ids of the masked captions, None when ``lam`` is 0.
        masked_row: [P] row among the M, -1 for a row without one; None when ``lam`` is 0.
        report: what was counted while the pairs were made.
        online: encodes images in place of the stored features.
    """

    count: int
    targets: Tensor | None
    inputs: Tensor | None
    captions: Tensor | None
    masked_row: Tensor | None
    report: dict
    online: "OnlineImages | None" = field(default=None, repr=False)

    def features(self, rows: Tensor, masked: Tensor, step: int) -> tuple[Tensor, Tensor | None]:
        """Targets of rows [B] and inputs of masked rows [B'] (numbers among the M) at a step."""
        if self.online is not None:
            return self.online.features(rows, masked, step)
        return self.targets[rows], None if self.inputs is None else self.inputs[masked]


def load_data(
    config: TrainConfig, backbone: Backbone, pairs: Pairs, processes: Processes, progress: bool
) -> TrainData:
    """What ``config`` trains on; what is not stored yet is computed and stored.

    Raises:
        ValueError: fewer pairs with a masked caption than needed: one, or ``batch`` where only those count.
    """
    if config.language_only:
        return _language_data(config, backbone, pairs, progress)
    made = masked_row = captions = inputs = online = None
    report = {"pairs": len(pairs)}
    if config.lam > 0:
        settings = {"mask_source": "none"} if config.online else {}  # maps are made anew in every step
        made = build_masked_pairs(backbone, pairs, config.masking, **settings, progress=progress)
        report, targets, inputs = made.report, made.image_features, made.masked_features
        _require_masked(config, pairs, len(made.rows), report)
        captions = backbone.tokenize(made.masked_captions)
        masked_row = torch.full((len(pairs),), -1)
        masked_row[made.rows] = torch.arange(len(made.rows))
    # with a share of the original loss, pairs without a noun take part too
    rows = torch.arange(len(pairs)) if config.lam < 1 else torch.as_tensor(made.rows)
    if config.online:
        targets = inputs = None
        online = OnlineImages(config, backbone, pairs, made, processes)
    elif config.lam < 1:
        targets = image_features(backbone, pairs, progress=progress)
        rows = readable_rows(targets)
        targets = targets if len(rows) == len(targets) else targets[rows]
        if made is None:
            report["unreadable"] = len(pairs) - len(rows)
    if made is not None:
        masked_row = masked_row[rows]
    return TrainData(len(rows), targets, inputs, captions, masked_row, report, online)


def _require_masked(config: TrainConfig, pairs: Pairs, found: int, report: dict):
    needed = config.batch if config.lam == 1 else 1
    if found < needed:
        raise ValueError(f"pairs {pairs.name!r}: {needed} masked pairs needed, found {report}")


def _language_data(config: TrainConfig, backbone: Backbone, pairs: Pairs, progress: bool) -> TrainData:
    """Captions alone: no image is read."""
    hidden = hidden_nouns(backbone, pairs, config.masking, progress=progress)
    report = {"pairs": len(pairs), "masked": len(hidden.rows)}
    report |= {name: len(getattr(hidden, name)) for name in ("without_noun", "beyond_context")}
    _require_masked(config, pairs, len(hidden.rows), report)
    whole = [pairs.captions[row] for row in hidden.rows]

    def write(folder: Path) -> None:
        texts = (whole[first : first + TEXT_BATCH] for first in range(0, len(whole), TEXT_BATCH))
        features = (backbone.encode_texts(some).cpu().numpy() for some in texts)
        write_rows(folder / "features.npy", len(whole), features)

    folder = artifact("caption-features", hidden.key, write)
    features, every = stored(folder / "features.npy"), torch.arange(len(whole))
    return TrainData(len(every), features, features, backbone.tokenize(hidden.captions), every, report)


class OnlineImages:
    """Features of augmented images, encoded in every step: a random crop of 90 to 100 % of the area.

    The crop of an image depends on seed, step and row alone. Whole and masked image share it, and the map of
    the noun is made on it. Each process encodes its part; all get all features.
    """

    def __init__(self, config: TrainConfig, backbone: Backbone, pairs: Pairs, made, processes: Processes):
        self.config, self.backbone, self.pairs, self.processes = config, backbone, pairs, processes
        self.rows = None if made is None or config.lam < 1 else made.rows
        self.lemmas = None if made is None else dict(zip(made.rows.tolist(), made.lemmas, strict=True))

    def features(self, rows: Tensor, masked: Tensor, step: int) -> tuple[Tensor, Tensor | None]:
        """Whole images [B, D] of rows, and masked images [B', D] of those that have a masked caption."""
        rows = (rows if self.rows is None else self.rows[rows]).tolist()
        lemmas = {} if self.lemmas is None or len(masked) == 0 else self.lemmas
        maps = self.config.mask_source != "none"
        own = rows[self.processes.part(len(rows))]
        nouns = [[lemmas[row]] if maps and row in lemmas else [] for row in own]
        own_whole, own_hidden = self._encoded(own, nouns, step)
        whole = self.processes.gather(own_whole, len(rows))
        if not lemmas:
            return whole, None
        hidden = self.processes.gather(own_hidden, len(rows)) if maps else whole
        return whole, hidden[torch.tensor([row in lemmas for row in rows], device=whole.device)]

    def _encoded(self, rows: list[int], nouns: list[list[str]], step: int) -> tuple[Tensor, Tensor]:
        """Whole and masked images [b, D] of rows; 0 where there is no noun."""
        masking, backbone = self.config.masking, self.backbone
        if not rows:
            return (torch.zeros(0, backbone.dim, device=backbone.device),) * 2
        pixels = torch.stack([self._pixels(row, step) for row in rows])
        has = torch.tensor([len(words) > 0 for words in nouns])
        if not has.any():
            whole = backbone.encode_images(pixels)
            return whole, torch.zeros_like(whole)
        whole, maps = encode_with_cams(backbone, pixels, nouns, **masking.cams(backbone))
        noise = torch.Generator().manual_seed(draw_seed(self.config.seed, step))
        how = (masking.tau, masking.keep, masking.fill)
        seen = encode_regions(backbone, pixels[has], torch.cat(maps).cpu(), *how, generator=noise)
        hidden = torch.zeros_like(whole)
        hidden[has.to(whole.device)] = seen.features
        return whole, hidden

    def _pixels(self, row: int, step: int) -> Tensor:
        """The preprocessed image [3, S, S], cropped and resized to its size again."""
        pixels = self.backbone.preprocess(self.pairs.images[row])
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(draw_seed(self.config.seed, step, row))
            box = RandomResizedCrop.get_params(pixels, scale=list(CROP), ratio=[3 / 4, 4 / 3])
        return TF.resized_crop(pixels, *box, size=list(pixels.shape[1:]), antialias=True)


def draw_seed(*numbers: int) -> int:
    """One seed of several numbers, such as (seed, step): what is drawn in a step depends on these alone."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> 1)


def batches(count: int, batch: int, seed: int, first: int = 0) -> Iterator[Tensor]:
    """Rows [batch] of step ``first`` onwards, without end; every epoch is shuffled by (seed, epoch) alone.

    All batches are full: of each epoch the last ``count % batch`` rows of its order wait for a later epoch.
    """
    per_epoch = count // batch
    step = first
    while True:
        epoch, place = divmod(step, per_epoch)
        if place == 0 or step == first:
            generator = torch.Generator().manual_seed(draw_seed(seed, epoch, count))
            order = torch.randperm(count, generator=generator)
        yield order[place * batch : (place + 1) * batch]
        step += 1
