"""How good maps and masks are, against the true masks of what they should find.

    table = mask_quality(maps, masks)                      # IoU, precision, recall, kept area against tau
    floor = mask_quality(same_areas_at_random(maps), masks)
    points = pointing_quality(maps, masks)

Letters in shapes: R objects, each with its own picture and map, S image side.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor

from zscir.regions import keep_mask
from zscir.retrieval.statistics import mean_interval

TAUS = tuple(round(0.05 * step, 2) for step in range(1, 19))
#: Object sizes: name -> smallest and largest share of the image.
SIZES = {"all": (0.0, 1.0), "small": (0.0, 0.05), "medium": (0.05, 0.15), "large": (0.15, 1.0)}


def localisation(maps: Tensor, masks: Tensor) -> dict[str, np.ndarray]:
    """How well maps [R, S, S] find the objects of their true masks, bool [R, S, S].

    Returns:
        ``pointing``, bool [R]: whether the map's peak lies inside the mask (the pointing game, Zhang et al.
        2018); a map that is 0 everywhere points nowhere. ``best_iou``, float64 [R]: the largest intersection
        over union of ``map >= tau`` with the mask over tau = 0, 0.05, ..., 1.

    Raises:
        ValueError: what `mask_measures` refuses.

    >>> maps = torch.tensor([[[0.0, 0.2], [0.6, 1.0]]])
    >>> {name: values.tolist() for name, values in localisation(maps, maps > 0.5).items()}
    {'pointing': [True], 'best_iou': [1.0]}
    """
    maps, masks = maps.cpu(), masks.cpu()
    best = np.max([mask_measures(maps >= tau, masks)["IoU"] for tau in torch.arange(21) / 20], axis=0)
    flat = maps.flatten(1)
    hits = masks.flatten(1).gather(1, flat.argmax(dim=1, keepdim=True))[:, 0] & (flat.amax(dim=1) > 0)
    return {"pointing": hits.numpy(), "best_iou": best}


def map_scores(maps: Tensor, masks: Tensor) -> dict[str, float]:
    """Means over objects, for maps [R, S, S] and true masks bool [R, S, S].

    Returns:
        ``pointing`` (the pointing game, percent), ``best_iou`` (each object at its own best threshold),
        ``iou_at_one_tau`` and ``that_tau`` (the one threshold best for all), ``iou_at_0.3``.
    """
    means = {name: float(values.mean()) for name, values in localisation(maps, masks).items()}
    ious = {tau: float(mask_measures(keep_mask(maps, tau), masks)["IoU"].mean()) for tau in (*TAUS, 0.95)}
    best = max(ious, key=ious.get)
    return {
        "pointing": round(100 * means["pointing"], 1),
        "best_iou": round(means["best_iou"], 3),
        "iou_at_one_tau": round(ious[best], 3),
        "that_tau": best,
        "iou_at_0.3": round(ious[0.3], 3),
    }


def mask_measures(keep: Tensor, masks: Tensor) -> dict[str, np.ndarray]:
    """Measures of each of R masks, float64 [R], for kept and true regions, bool [R, S, S].

    ``IoU``, ``precision`` (share of the kept region on the object; 0 where nothing is kept), ``recall``
    (share of the object that is kept), ``kept`` (share of the image that is kept).

    Raises:
        ValueError: different shapes, masks that are not bool, or an empty true mask.

    >>> keep, true = torch.tensor([[[1, 1], [0, 0]]]).bool(), torch.tensor([[[1, 0], [1, 0]]]).bool()
    >>> {name: round(float(value[0]), 2) for name, value in mask_measures(keep, true).items()}
    {'IoU': 0.33, 'precision': 0.5, 'recall': 0.5, 'kept': 0.5}
    """
    keep, masks = keep.cpu(), masks.cpu()
    if keep.shape != masks.shape or keep.dtype != torch.bool or masks.dtype != torch.bool:
        raise ValueError(
            f"masks must be bool of one shape, got {keep.dtype} {list(keep.shape)} and "
            f"{masks.dtype} {list(masks.shape)}"
        )
    shared, kept, true = (m.flatten(1).sum(dim=1).double() for m in (keep & masks, keep, masks))
    if not true.all():
        raise ValueError(f"true mask {int((true == 0).nonzero()[0])} is empty: there is nothing to find")
    measures = {"IoU": shared / (kept + true - shared), "precision": shared / kept.clamp(min=1)}
    measures |= {"recall": shared / true, "kept": kept / keep[0].numel()}
    return {name: value.numpy() for name, value in measures.items()}


def mask_quality(maps: Tensor, masks: Tensor, taus: Sequence[float] = TAUS, seed: int = 0) -> pd.DataFrame:
    """What thresholds make of maps [R, S, S] in [0, 1], against true masks bool [R, S, S].

    Returns:
        One row a threshold and object size (`SIZES`, those that occur): ``tau``, ``size``, ``objects``, and
        for each of `mask_measures` its mean with the ends of its 95 % bootstrap interval over objects,
        ``IoU``, ``IoU low``, ``IoU high`` and so on. A mask that would keep nothing keeps its top cell.
    """
    kept = {tau: mask_measures(keep_mask(maps, tau), masks) for tau in taus}
    return pd.DataFrame(
        [{"tau": tau, **row} for tau, measures in kept.items() for row in _by_size(measures, masks, seed)]
    )


def pointing_quality(maps: Tensor, masks: Tensor, seed: int = 0) -> pd.DataFrame:
    """The pointing game (see `localisation`): does the peak of the map fall on the object?

    Returns:
        One row a size: ``size``, ``objects``, ``pointing`` (0 to 1) and its 95 % interval, ``pointing low``,
        ``pointing high``.
    """
    hits = localisation(maps, masks)["pointing"].astype(float)
    return pd.DataFrame(_by_size({"pointing": hits}, masks, seed))


def _by_size(measures: Mapping[str, np.ndarray], masks: Tensor, seed: int) -> list[dict]:
    """A row a size: its name, how many objects, and of each measure [R] the mean and its interval."""
    rows = []
    for size, chosen in sizes_of(masks).items():
        rows.append({"size": size, "objects": int(chosen.sum())})
        for name, values in measures.items():
            ends = mean_interval(values[chosen], seed=seed)
            rows[-1] |= dict(zip((name, f"{name} low", f"{name} high"), ends, strict=True))
    return rows


def sizes_of(masks: Tensor) -> dict[str, np.ndarray]:
    """Which objects are of which size, bool [R] for each of `SIZES` that occurs."""
    share = masks.cpu().flatten(1).double().mean(dim=1).numpy()
    inside = {name: (share > low) & (share <= high) for name, (low, high) in SIZES.items()}
    return {name: chosen for name, chosen in inside.items() if chosen.any()}


def same_areas_at_random(maps: Tensor, seed: int = 0, cells: int = 7) -> Tensor:
    """Maps [R, S, S] that know nothing, with the very values of ``maps``: at each tau they keep as much.

    The values are put where a smooth random field (``cells`` x ``cells`` normal variables, enlarged) has the
    same rank, so the masks are blots of random place and form.
    """
    generator = torch.Generator().manual_seed(seed)
    count, side = len(maps), maps.shape[-1]
    field = torch.randn(count, 1, cells, cells, generator=generator)
    field = F.interpolate(field, (side, side), mode="bicubic", align_corners=False).flatten(1)
    values = maps.cpu().float().flatten(1).sort(dim=1).values
    return values.gather(1, field.argsort(dim=1).argsort(dim=1)).reshape(maps.shape)
