"""How good a map is, against the true mask of what it should find."""

from __future__ import annotations

import torch
from torch import Tensor


def localisation(cam: Tensor, true_mask: Tensor) -> dict[str, float | bool]:
    """How well one map [S, S] finds the object of a true mask [S, S] (bool).

    Returns:
        ``pointing``: whether the map's peak lies inside the mask (the pointing game, Zhang et al. 2018).
        ``best_iou``: the largest intersection over union of ``cam >= tau`` with the mask over tau = 0,
        0.05, ..., 1; ``best_tau``: the smallest tau that reaches it. A map that is 0 everywhere points
        nowhere (False).

    Raises:
        ValueError: different shapes, a mask that is not bool, or an empty mask.

    >>> cam = torch.tensor([[0.0, 0.2], [0.6, 1.0]])
    >>> localisation(cam, cam > 0.5)
    {'pointing': True, 'best_iou': 1.0, 'best_tau': 0.25}
    """
    if cam.ndim != 2 or cam.shape != true_mask.shape or true_mask.dtype != torch.bool:
        raise ValueError(
            f"true_mask must be bool of the map's shape {list(cam.shape)}, "
            f"got {true_mask.dtype} {list(true_mask.shape)}"
        )
    if not true_mask.any():
        raise ValueError("true_mask is empty: there is nothing to find")
    taus = torch.arange(21, device=cam.device) / 20
    kept = cam >= taus[:, None, None]  # [21, S, S]
    shared, either = (kept & true_mask).sum(dim=(1, 2)), (kept | true_mask).sum(dim=(1, 2))
    iou = shared / either
    pointing = bool(true_mask.flatten()[cam.argmax()]) and bool(cam.max() > 0)
    best = int(iou.argmax())
    return {"pointing": pointing, "best_iou": float(iou[best]), "best_tau": best / 20}
