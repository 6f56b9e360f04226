"""Figures of chapters 2 and 3: nouns of captions, maps, thresholds, masked images."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import seaborn
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor

from zscir.backbone import Backbone
from zscir.figures.measures import JUDGEMENTS
from zscir.figures.scenes import show_picture
from zscir.figures.style import MAP_COLOURS, PALETTE, WIDTH, new_figure
from zscir.nouns import Noun
from zscir.regions import keep_mask, mask_image


def noun_counts(nouns: Sequence[Sequence[Noun]], most: int = 15) -> Figure:
    """Two panels: how many nouns a caption has, and the most frequent nouns (share of captions)."""
    figure, axes = new_figure(1, 2, height=3.4, width_ratios=(2, 3))
    numbers = pd.Series([len(found) for found in nouns], name="nouns")
    shares = 100 * numbers.value_counts(normalize=True).sort_index()
    seaborn.barplot(x=shares.index, y=shares.values, ax=axes[0, 0], color=PALETTE[0])
    axes[0, 0].set(xlabel="nouns in a caption", ylabel="captions, %")
    frequent = Counter(lemma for found in nouns for lemma in {noun.lemma for noun in found}).most_common(most)
    words, counts = zip(*frequent, strict=True)
    values = [100 * count / len(nouns) for count in counts]
    seaborn.barplot(x=values, y=list(words), ax=axes[0, 1], color=PALETTE[0], orient="h")
    axes[0, 1].set(xlabel="captions with this noun, %", ylabel="")
    axes[0, 1].grid(False, axis="y")
    return figure


def judgement_bars(shares: pd.DataFrame) -> Figure:
    """Stacked bars: for each row of ``shares`` (percent, columns `JUDGEMENTS`) what its nouns are."""
    figure, axes = new_figure(1, 1, height=0.9 + 0.36 * len(shares))
    left = np.zeros(len(shares))
    for judgement, colour in zip(JUDGEMENTS, PALETTE[:3] + PALETTE[5:], strict=False):
        values = shares.get(judgement, pd.Series(0.0, shares.index)).to_numpy()
        axes[0, 0].barh(shares.index, values, left=left, color=colour, label=judgement, height=0.7)
        left += values
    axes[0, 0].invert_yaxis()
    axes[0, 0].grid(False, axis="y")
    axes[0, 0].set(xlabel="nouns, %", xlim=(0, 100))
    figure.legend(loc="outside upper center", ncols=4)
    return figure


def to_picture(backbone: Backbone, pixels: Tensor) -> Image.Image:
    """Normalised pixels [3, S, S] as a picture again."""
    mean, std = (pixels.new_tensor(values)[:, None, None] for values in (backbone.mean, backbone.std))
    values = ((pixels * std + mean).clamp(0, 1) * 255).round().byte()
    return Image.fromarray(values.permute(1, 2, 0).cpu().numpy())


def cam_panels(backbone: Backbone, pixels: Tensor, cams: Mapping[str, Tensor], caption: str = "") -> Figure:
    """The picture of pixels [3, S, S] and its maps [S, S], one a noun, over the greyed picture."""
    count = 1 + len(cams)
    figure, axes = new_figure(1, count, height=WIDTH / max(count, 4) + 0.45)
    picture = to_picture(backbone, pixels)
    grey = picture.convert("L").convert("RGB")
    show_picture(axes[0, 0], picture, "the picture")
    for axis, (noun, cam) in zip(axes[0, 1:], cams.items(), strict=True):
        show_picture(axis, grey, noun)
        drawn = axis.imshow(cam.cpu().numpy(), cmap=MAP_COLOURS, vmin=0, vmax=1, alpha=0.65)
    if cams:
        figure.colorbar(drawn, ax=axes[0, -1], fraction=0.05, label="map")
    if caption:
        figure.suptitle(f"“{caption}”", fontsize=10)
    return figure


def masked_panels(
    backbone: Backbone,
    pixels: Tensor,
    cam: Tensor,
    taus: Sequence[float],
    *,
    chosen: float,
    fill: str = "mean",
) -> Figure:
    """The masked image for several thresholds, with the share that is kept; ``chosen`` is framed."""
    figure, axes = new_figure(1, len(taus), height=WIDTH / len(taus) + 0.55)
    for axis, tau in zip(axes[0], taus, strict=True):
        kept = keep_mask(cam, tau)
        masked = mask_image(pixels[None], kept[None].to(pixels.device), fill, backbone.mean, backbone.std)
        text = f"{100 * float(kept.float().mean()):.0f} % kept"
        show_picture(axis, to_picture(backbone, masked[0]), text, "kept" if tau == chosen else "")
        axis.set_title(f"τ = {tau:g}", fontsize=9.5, loc="center")
    return figure


def fill_panels(backbone: Backbone, pixels: Tensor, keep: Tensor, fills: Sequence[str]) -> Figure:
    """One masked image under several fills; ``keep`` is bool [S, S]."""
    figure, axes = new_figure(1, len(fills), height=WIDTH / len(fills) + 0.3)
    for axis, fill in zip(axes[0], fills, strict=True):
        masked = mask_image(pixels[None], keep[None].to(pixels.device), fill, backbone.mean, backbone.std)
        show_picture(axis, to_picture(backbone, masked[0]), fill)
    return figure


def threshold_curves(table: pd.DataFrame, tau: float, true_area: float) -> Figure:
    """What each threshold keeps (left) and how well that fits the object (right), ``tau`` marked.

    Args:
        table: from ``zscir.figures.measures.threshold_table``. Lines are means, bands the middle half.
        tau: the chapter's threshold.
        true_area: mean share of the image that the objects fill, 0 to 1.
    """
    figure, axes = new_figure(1, 2, height=3.0)
    shares = table.assign(**{name: 100 * table[name] for name in ("kept", "coverage")})
    style = {"x": "tau", "errorbar": ("pi", 50), "estimator": "mean"}
    left, right = axes[0]
    seaborn.lineplot(shares, y="kept", ax=left, label="of the image", color=PALETTE[0], **style)
    seaborn.lineplot(shares, y="coverage", ax=left, label="of the object", color=PALETTE[1], **style)
    left.axhline(100 * true_area, color="0.35", linestyle=":", label="objects' true share")
    left.set(ylabel="kept, %", ylim=(0, 100))
    seaborn.lineplot(shares, y="IoU", ax=right, color=PALETTE[2], **style)
    right.set(ylabel="IoU of kept region and object", ylim=(0, 1))
    for axis in axes[0]:
        axis.set(xlabel="τ", xlim=(0, 1))
        axis.axvline(tau, color="0.35", linewidth=1, linestyle="--")
    left.legend(loc="upper right", fontsize=8, frameon=True, edgecolor="none", framealpha=0.9)
    right.annotate(f"τ = {tau:g}", (tau, 0.93), (4, 0), textcoords="offset points", fontsize=9)
    return figure
