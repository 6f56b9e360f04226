"""What the pocket backbone is trained for, from captions alone.

CLIP's own loss on captions, and a loss on short texts that name one thing or the place of a picture (*a
photo of a dog*, *on the beach*). These say what is in a picture, not where; the patches have to find out
among themselves (multiple-instance learning).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from zscir.pocket.captions import PHOTO_OF, pick, with_article
from zscir.pocket.scenes import Scene
from zscir.pocket.vocabulary import BACKGROUND, THINGS, WHERE

#: What a short text may name: all things, then all places.
NAMED = (*THINGS, *WHERE)
_COLUMN = {name: column for column, name in enumerate(NAMED)}


def short_texts(rng: np.random.Generator, plain: bool = False) -> list[str]:
    """One short text for each of `NAMED`, in one of the words people use for it; where they must be `plain`,
    *on the beach* alone, as a relative caption may say it, is *a photo of a beach*."""
    things = [pick(rng, PHOTO_OF).format(with_article(pick(rng, THINGS[name].names))) for name in THINGS]
    if plain:
        places = [pick(rng, PHOTO_OF).format(pick(rng, BACKGROUND[name])) for name in WHERE]
    else:
        places = [pick(rng, (*WHERE[name], *BACKGROUND[name])) for name in WHERE]
    return things + places


def named_in(shown: Sequence[Scene]) -> Tensor:
    """Which of `NAMED` captions of each picture name, bool [B, len(NAMED)]."""
    present = torch.zeros(len(shown), len(NAMED), dtype=torch.bool)
    for row, scene in zip(present, shown, strict=True):
        row[[_COLUMN[name] for name in (scene.place, *(thing.noun for thing in scene.objects))]] = True
    return present


def clip_loss(logits: Tensor) -> Tensor:
    """CLIP's symmetric cross-entropy of logits [B, B] whose diagonal is right."""
    labels = torch.arange(len(logits), device=logits.device)
    return (functional.cross_entropy(logits, labels) + functional.cross_entropy(logits.T, labels)) / 2


def patch_losses(
    cosines: Tensor, present: Tensor, scale: float, thing_patches: int, place_share: float
) -> tuple[Tensor, Tensor]:
    """Two losses of patches that say, by a softmax over all names, what they show.

    Args:
        cosines: of each patch with each short text, [B, n, len(NAMED)].
        present: what the captions name, from `named_in`.
        scale: what multiplies the cosines before the softmax.
        thing_patches, place_share: how many patches a named thing, and what share of them a named place,
            has to be seen in.

    Returns:
        ``inside``: every patch should say something that is in the picture (minus the log of the summed
        probability of all that is named). ``found``: everything named should be said by its best patches
        (minus the log of their mean probability).
    """
    told = functional.log_softmax(scale * cosines, dim=2)
    inside = -told.masked_fill(~present[:, None], -torch.inf).logsumexp(dim=2).mean()
    row, column = present.nonzero(as_tuple=True)
    said = told.transpose(1, 2)[row, column].exp()  # [names in all pictures, n]
    is_thing = column < len(THINGS)
    things = _best(said[is_thing], thing_patches)
    places = _best(said[~is_thing], round(place_share * said.shape[1]))
    return inside, -torch.cat([things, places]).clamp(min=1e-6).log().mean()


def _best(said: Tensor, count: int) -> Tensor:
    """Mean of the `count` largest of each row, at least one."""
    return said.topk(min(max(count, 1), said.shape[1]), dim=1).values.mean(dim=1)
