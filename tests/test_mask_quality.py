"""Scores of maps against a slow count, intervals, floor and sizes."""

import numpy as np
import pytest
import torch

from zscir.analysis.mask_quality import (
    map_scores,
    mask_measures,
    mask_quality,
    pointing_quality,
    same_areas_at_random,
    sizes_of,
)
from zscir.retrieval.statistics import mean_interval


def drawn(count=12, side=12, seed=0):
    """Maps, and true masks of growing size with their upper left corner fixed."""
    generator = torch.Generator().manual_seed(seed)
    maps = torch.rand(count, side, side, generator=generator)
    masks = torch.zeros(count, side, side, dtype=torch.bool)
    for row in range(count):
        masks[row, : 1 + row // 2, : 2 + row // 2] = True
    return maps / maps.amax(dim=(1, 2), keepdim=True), masks


def test_measures_against_a_slow_count():
    maps, masks = drawn()
    keep = maps >= 0.6
    got = mask_measures(keep, masks)
    for row in range(12):
        cells = [(bool(keep[row, i, j]), bool(masks[row, i, j])) for i in range(12) for j in range(12)]
        both, kept = sum(a and b for a, b in cells), sum(a for a, _ in cells)
        true, either = sum(b for _, b in cells), sum(a or b for a, b in cells)
        expected = {"IoU": both / either, "precision": both / kept, "recall": both / true, "kept": kept / 144}
        assert {name: value[row] for name, value in got.items()} == pytest.approx(expected)


def test_a_table_row_is_the_mean_with_its_interval():
    maps, masks = drawn()
    table = mask_quality(maps, masks, [0.3, 0.6])
    sizes = sizes_of(masks)
    assert list(sizes) == ["all", "small", "medium", "large"]
    assert sum(sizes[name].sum() for name in ("small", "medium", "large")) == sizes["all"].sum() == 12
    assert len(table) == 8 and table["objects"].tolist()[:4] == [int(one.sum()) for one in sizes.values()]
    row = table[(table["tau"] == 0.6) & (table["size"] == "small")].iloc[0]
    values = mask_measures(maps >= 0.6, masks)["precision"][sizes["small"]]
    assert row["precision"] == pytest.approx(values.mean())
    assert row["precision low"] < row["precision"] < row["precision high"]
    assert table.groupby("size")["kept"].is_monotonic_decreasing.all()


def test_the_interval_is_as_wide_as_theory_says():
    values = np.random.default_rng(1).normal(0.5, 0.1, 400)
    mean, low, high = mean_interval(values)
    assert mean == pytest.approx(values.mean())
    assert high - low == pytest.approx(2 * 1.96 * values.std() / 20, rel=0.1)


def test_the_floor_keeps_as_much_and_knows_nothing():
    maps, masks = drawn(200)
    masks = masks[:1].expand(200, -1, -1) | drawn(12)[1][6]
    perfect = masks.float() * 0.9 + 0.1 * maps
    blind = same_areas_at_random(perfect, seed=3)
    assert torch.equal(blind.flatten(1).sort().values, perfect.flatten(1).sort().values)
    assert torch.equal(blind, same_areas_at_random(perfect, seed=3))
    floor, best = (mask_quality(one, masks, [0.5]).iloc[0] for one in (blind, perfect))
    assert best["IoU"] == 1 and floor["kept"] == pytest.approx(best["kept"])
    assert floor["precision"] == pytest.approx(float(masks.float().mean()), abs=0.06)


def test_pointing_and_flat_maps():
    maps, masks = drawn()
    maps[:, 0, 0] = 1.01  # on every object
    assert pointing_quality(maps, masks)["pointing"].tolist() == [1, 1, 1, 1]
    maps[:6] = 0  # a flat map's first cell would be a hit
    assert pointing_quality(maps, masks).set_index("size").loc["all", "pointing"] == 0.5


def test_map_scores_are_the_means():
    maps, masks = drawn()
    scores = map_scores(maps, masks)
    table = mask_quality(maps, masks, [round(0.05 * step, 2) for step in range(1, 20)])
    whole = table[table["size"] == "all"].set_index("tau")["IoU"]
    assert scores["iou_at_one_tau"] == round(whole.max(), 3) and scores["that_tau"] == whole.idxmax()
    assert scores["iou_at_0.3"] == round(whole[0.3], 3)
    assert scores["best_iou"] >= scores["iou_at_one_tau"]


def test_bad_masks_are_explained():
    maps, masks = drawn()
    with pytest.raises(ValueError, match="masks must be bool of one shape"):
        mask_measures(maps, masks)
    with pytest.raises(ValueError, match="true mask 4 is empty"):
        mask_measures(masks, masks & (torch.arange(12) != 4)[:, None, None])
