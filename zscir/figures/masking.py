"""Figures of chapters 2 and 3: nouns of captions, maps, thresholds, masked images."""

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image
from torch import Tensor

from zscir.analysis.drawn_objects import JUDGEMENTS, DrawnObjects
from zscir.backbone import Backbone
from zscir.figures.pictures import depth_of, show_picture, write_title
from zscir.figures.style import (
    LINE,
    MAP_COLOURS,
    PALETTE,
    WIDTH,
    label_rows,
    legend_above,
    new_figure,
    wrapped,
)
from zscir.nouns import Noun
from zscir.regions import keep_mask, mask_image
from zscir.regions.masks import expand_mask
from zscir.regions.token_drop import kept_patches, patch_grid

#: Letters of 11 points in a line of a page's width.
LETTERS = 74
_BOUNDS = {"true": ("0.15", "-."), "random": ("0.5", ":")}  # colour and line of ceiling and floor


def noun_counts(nouns: Sequence[Sequence[Noun]], most: int = 15) -> Figure:
    """Two panels: how many nouns a caption has, and the most frequent nouns (share of captions)."""
    figure, axes = new_figure(1, 2, height=3.4, width_ratios=(2, 3))
    shares = 100 * pd.Series([len(found) for found in nouns]).value_counts(normalize=True).sort_index()
    axes[0, 0].bar(shares.index.astype(str), shares, color=PALETTE[0])
    axes[0, 0].set(xlabel="nouns in a caption", ylabel=f"% of {len(nouns):,} captions")
    lemmas = Counter(lemma for found in nouns for lemma in dict.fromkeys(noun.lemma for noun in found))
    words, counts = zip(*lemmas.most_common(most), strict=True)
    axes[0, 1].barh(range(len(words)), [100 * count / len(nouns) for count in counts], color=PALETTE[0])
    label_rows(axes[0, 1], words)
    axes[0, 1].set(xlabel=f"% of {len(nouns):,} captions have this noun")
    return figure


def judgement_bars(shares: pd.DataFrame) -> Figure:
    """Stacked bars: for each row of ``shares`` (percent, columns `JUDGEMENTS`) what its nouns are."""
    figure, axes = new_figure(1, 1, height=0.9 + 0.36 * len(shares))
    shares = shares.reindex(columns=list(JUDGEMENTS), fill_value=0.0)
    shares.plot.barh(stacked=True, ax=axes[0, 0], color=PALETTE[:3] + PALETTE[5:6], width=0.7, legend=False)
    label_rows(axes[0, 0], shares.index)
    axes[0, 0].set(xlabel="nouns, %", xlim=(0, 100))
    legend_above(figure, columns=4)
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
    show_picture(axes[0, 0], picture, "the picture")
    for axis, (noun, cam) in zip(axes[0, 1:], cams.items(), strict=True):
        _show_map(axis, picture, cam, noun)
    if cams:
        figure.colorbar(axes[0, -1].images[-1], ax=axes[0, -1], fraction=0.05, label="map")
    write_title(figure, f"“{caption}”" if caption else "")
    return figure


def masked_picture(backbone: Backbone, pixels: Tensor, keep: Tensor, fill: str = "mean") -> Image.Image:
    """The masked picture of pixels [3, S, S] for a mask bool [S, S] (or of coarser cells).

    Patches that "drop" leaves out are white: there is nothing where they were.
    """
    if fill == "drop":
        keep = kept_patches(keep[None], patch_grid(backbone))[0]
    keep = expand_mask(keep, pixels.shape[-1])[None].to(pixels.device)
    if fill != "drop":
        return to_picture(backbone, mask_image(pixels[None], keep, fill, backbone.mean, backbone.std)[0])
    white = (1 - pixels.new_tensor(backbone.mean)) / pixels.new_tensor(backbone.std)
    return to_picture(backbone, pixels.where(keep[0], white[:, None, None]))


def marked_caption(captions: Sequence[str], nouns: Sequence[Sequence[Noun]]) -> Figure:
    """Captions with their nouns marked, heads darker, the rest of each noun's chunk underlined."""
    figure, axes = new_figure(1, 1, height=0.15 + 0.34 * len(captions))
    axis = axes[0, 0]
    axis.axis("off")
    letters = max(LETTERS, *map(len, captions))
    axis.set(xlim=(0, letters), ylim=(-len(captions), 0))
    size = 11 * LETTERS / letters
    for line, (caption, found) in enumerate(zip(captions, nouns, strict=True)):
        for place, letter in enumerate(caption):
            axis.text(
                place + 0.5, -line - 0.5, letter, family="monospace", size=size, ha="center", va="center"
            )
        for noun in found:
            colour, width = PALETTE[1] if noun.head else PALETTE[0], noun.end - noun.start
            box = Rectangle((noun.start, -line - 0.88), width, 0.76, color=colour, alpha=0.2, linewidth=0)
            axis.add_patch(box)
            axis.plot([noun.chunk_start, noun.chunk_end], [-line - 0.92] * 2, color=colour, linewidth=1.2)
    return figure


def mask_grid(
    backbone: Backbone,
    pixels: Tensor,
    cams: Mapping[str, Tensor],
    taus: Sequence[float],
    *,
    chosen: float,
    fill: str = "mean",
) -> Figure:
    """One row a noun: its map [S, S], then the masked picture for several τ; ``chosen`` is framed."""
    count = 1 + len(taus)
    figure, axes = new_figure(len(cams), count, height=len(cams) * (WIDTH / count + 0.3))
    picture = to_picture(backbone, pixels)
    for number, (line, (noun, cam)) in enumerate(zip(axes, cams.items(), strict=True)):
        _show_map(line[0], picture, cam, "map")
        line[0].set_ylabel(noun, fontsize=9.5)
        for axis, tau in zip(line[1:], taus, strict=True):
            kept = keep_mask(cam, tau)
            text = f"{100 * float(kept.float().mean()):.0f} % kept"
            masked = masked_picture(backbone, pixels, kept, fill)
            show_picture(axis, masked, text, "kept" if tau == chosen else "")
            axis.set_title(f"τ = {tau:g}" if number == 0 else "", fontsize=9.5, loc="center")
    return figure


def pair_panels(
    backbone: Backbone, pixels: Tensor, keep: Tensor, caption: str, masked: str, fill: str = "mean"
) -> Figure:
    """A pair and its masked pair: picture and caption, masked picture and masked caption."""
    below = [wrapped(f"“{words}”", 54) for words in (caption, masked)]
    figure, axes = new_figure(1, 2, height=WIDTH / 3.2 + 0.5 + (depth_of(below) - 1) * LINE)
    show_picture(axes[0, 0], to_picture(backbone, pixels), below[0])
    show_picture(axes[0, 1], masked_picture(backbone, pixels, keep, fill), below[1])
    return figure


def failure_panels(
    backbone: Backbone, objects: DrawnObjects, maps: Tensor, scores: Sequence[float], most: int = 5
) -> Figure:
    """The objects with the lowest scores (IoU at the chapter's τ): map, and outline of the true mask."""
    worst = np.argsort(np.asarray(scores), kind="stable")[:most]
    figure, axes = new_figure(1, len(worst), height=WIDTH / len(worst) + 0.4)
    for axis, place in zip(axes[0], worst, strict=True):
        text = f"{objects.lemmas[place]}: IoU {scores[place]:.2f}"
        _show_map(axis, to_picture(backbone, objects.pixels[place]), maps[place], text)
        axis.contour(objects.masks[place].numpy(), levels=[0.5], colors="white", linewidths=1.4)
    return figure


def quality_curves(tables: Mapping[str, pd.DataFrame], tau: float, own: str) -> Figure:
    """Left each measure against τ, a line a table; right the IoU of table ``own`` by size of the object.

    Tables are those of ``mask_quality``; bands are their 95 % intervals, the dashed
    line is the chapter's τ. Tables whose name begins with "true" (ceiling) or "random" (floor) are
    dark and grey.
    """
    figure, ((left, right),) = new_figure(1, 2, height=3.7)
    colours = iter(PALETTE)
    for name, table in tables.items():
        bound = _BOUNDS.get(name.partition(" ")[0])
        style = {"color": bound[0], "linestyle": bound[1]} if bound else {"color": next(colours)}
        _band(left, table[table["size"] == "all"], name, **style)
    left.set_ylabel("IoU")
    for colour, (size, table) in zip(PALETTE, tables[own].groupby("size", sort=False), strict=False):
        objects = int(table["objects"].iloc[0])
        _band(right, table, f"{size} ({objects})", color=colour)
    right.set_ylabel(f"IoU, {own}")
    for axis in (left, right):
        axis.set(xlabel="τ", xlim=(0, 1), ylim=(0, 1))
        axis.axvline(tau, color="0.35", linewidth=1, linestyle="--")
        axis.legend(fontsize=8, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2, columnspacing=1.2)
    return figure


def _show_map(axis: Axes, picture: Image.Image, cam: Tensor, text: str) -> None:
    """A map [S, S] over its greyed picture, with a text below."""
    show_picture(axis, picture.convert("L").convert("RGB"), text)
    axis.imshow(cam.cpu().numpy(), cmap=MAP_COLOURS, vmin=0, vmax=1, alpha=0.65)


def _band(axis: Axes, table: pd.DataFrame, label: str, **style) -> None:
    axis.plot(table["tau"], table["IoU"], label=label, **style)
    look = {"color": style["color"], "alpha": 0.15, "linewidth": 0}
    axis.fill_between(table["tau"], table["IoU low"], table["IoU high"], **look)


def kept_areas(areas: Mapping[float, Tensor], chosen: float) -> Figure:
    """How the kept share of the image is spread over the pairs, one box a threshold; ``chosen`` is darker."""
    figure, axes = new_figure(1, 1, height=2.6)
    values = [100 * area.numpy() for area in areas.values()]
    boxes = axes[0, 0].boxplot(values, whis=(5, 95), showfliers=False, patch_artist=True, widths=0.6)
    for box, tau in zip(boxes["boxes"], areas, strict=True):
        box.set(facecolor=PALETTE[0], alpha=0.8 if tau == chosen else 0.3)
    axes[0, 0].set_xticks(range(1, len(areas) + 1), [f"{tau:g}" for tau in areas])
    count = len(next(iter(areas.values())))
    axes[0, 0].set(xlabel=f"τ (n = {count:,} pairs each)", ylabel="kept, % of the image", ylim=(0, 100))
    return figure


def fill_panels(backbone: Backbone, pixels: Tensor, keep: Tensor, fills: Sequence[str]) -> Figure:
    """One masked image under several fills; ``keep`` is bool [S, S]."""
    figure, axes = new_figure(1, len(fills), height=WIDTH / len(fills) + 0.3)
    for axis, fill in zip(axes[0], fills, strict=True):
        show_picture(axis, masked_picture(backbone, pixels, keep, fill), fill)
    return figure
