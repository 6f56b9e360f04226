"""Figures and sentences of results show what they are given, and say only what the numbers say."""

import base64
import io
import math
import re

import matplotlib
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from zscir.figures.results import (
    kind_bars,
    loss_curves,
    readings,
    recall_intervals,
)
from zscir.figures.style import METHOD_STYLES, method_style
from zscir.figures.tables import difference_table, score_table
from zscir.retrieval import Scores, difference
from zscir.retrieval.statistics import wilson_interval

KINDS = ("place", "place", "place", "place", "negation", "negation")


def scores_of(hits, groups=KINDS):
    values = {"recall@1": np.array(hits, dtype=float)}
    count = len(hits)
    ids = tuple(str(number) for number in range(count))
    ranks = np.where(values["recall@1"] > 0, 0, 9)
    none = np.full(count, -1)
    return Scores(ids, tuple(groups), values, ranks, none, {}, np.zeros(count, dtype=int))


@pytest.fixture
def scores():
    return {"Pic2Word": scores_of([1, 0, 0, 0, 0, 0]), "masked pairs": scores_of([1, 1, 0, 1, 1, 0])}


def legend_of(figure):
    return [text.get_text() for legend in figure.legends for text in legend.get_texts()]


def test_a_method_looks_the_same_everywhere_and_unknown_ones_differ():
    assert method_style("Pic2Word", 0) == method_style("Pic2Word", 3) == METHOD_STYLES["Pic2Word"]
    assert method_style("mine", 0)[0] != method_style("yours", 1)[0]
    assert method_style("mine", 0)[0] not in {colour for colour, _ in METHOD_STYLES.values()}
    assert method_style("text alone", 5) == METHOD_STYLES["text"]
    assert (
        len({colour for colour, _ in METHOD_STYLES.values()})
        == len({mark for _, mark in METHOD_STYLES.values()})
        == len(METHOD_STYLES)
    )


def test_losses_without_a_share_give_no_line_and_the_guess_is_marked():
    steps = {"step": [10, 20], "lr": [0.1, 0.1]}
    both = pd.DataFrame({**steps, "loss": [3, 2], "original": [3.0, 2.0], "query_target": [2.5, 1.5]})
    one = both.assign(query_target=math.nan)
    original, query_target = loss_curves({"Pic2Word": one, "masked pairs": both}, batch=64).axes
    assert [line.get_label() for line in original.lines] == ["Pic2Word", "masked pairs", "guess: log(batch)"]
    assert [line.get_label() for line in query_target.lines] == ["masked pairs", "guess: log(batch)"]
    assert list(query_target.lines[0].get_ydata()) == [2.5, 1.5]
    assert original.lines[-1].get_ydata()[0] == pytest.approx(math.log(64))
    assert original.get_yscale() == query_target.get_yscale() == "log"


def test_readings_stand_in_the_row_of_their_picture():
    images = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    table = readings(images, {"A": [["dog", "cat"], ["<tree>"]], "B": [["fox"], ["owl"]]}).data
    cells = re.findall(r"<t[dh]>(.*?)</t[dh]>", table)
    assert cells[:3] == ["", "A", "B"] and cells[4:6] == ["dog, cat", "fox"] and cells[7] == "&lt;tree&gt;"
    shown = [base64.b64decode(one) for one in re.findall(r'base64,([^"]+)"', table)]
    colours = [Image.open(io.BytesIO(one)).getpixel((0, 0)) for one in shown]
    assert colours == [(255, 0, 0), (0, 0, 255)] and table.count('alt="picture"') == 2
    with pytest.raises(ValueError, match=r"words\['A'\] has 1 entries for 2 images"):
        readings(images, {"A": [["dog"]]})
    with pytest.raises(ValueError, match="images is empty"):
        readings([], {})


def test_recalls_are_drawn_at_their_value_on_their_interval(scores):
    axis, gains = recall_intervals(scores, ["recall@1"]).axes
    interval, point = axis.lines[2:]
    assert tuple(interval.get_xdata()) == scores["masked pairs"].interval("recall@1")
    assert point.get_xdata()[0] == pytest.approx(100 * 4 / 6)
    assert [tick.get_text() for tick in axis.get_yticklabels()] == list(scores)
    assert axis.get_title(loc=matplotlib.rcParams["axes.titlelocation"]) == "Recall@1"
    assert axis.get_xlabel() == "%, n = 6 queries"
    assert [tick.get_text() for tick in gains.get_yticklabels()] == ["masked pairs"]
    assert [text.get_text() for text in gains.texts] == ["+50"], "too far away to be drawn"


def test_what_a_method_gains_is_drawn_on_its_paired_interval():
    hits = [1, 0] * 50
    scores = {"Pic2Word": scores_of(hits, "a" * 100), "slerp": scores_of([1, 1, *hits[2:]], "a" * 100)}
    _, gains = recall_intervals(scores, ["recall@1"]).axes
    gain = difference(scores["slerp"], scores["Pic2Word"], "recall@1")
    interval, point, zero = gains.lines
    assert tuple(interval.get_xdata()) == gain[1:3] and point.get_xdata()[0] == gain.difference == 1
    assert not gains.texts and list(zero.get_xdata()) == [0, 0]
    low, high = gains.get_xlim()
    assert low == -high and gain.high < high < 10


def test_a_method_that_gains_nothing_at_all_is_drawn_too(scores):
    same = {"Pic2Word": scores["Pic2Word"], "slerp": scores["Pic2Word"]}
    low, high = recall_intervals(same, ["recall@1"]).axes[1].get_xlim()
    assert low == -high < 0


def test_kinds_have_their_own_bars_and_hard_ones_their_own_panel(scores):
    easy, hard = kind_bars(scores, "recall@1", hard=("negation", "count")).axes
    assert [tick.get_text() for tick in easy.get_yticklabels()] == ["place (4)"]
    assert [tick.get_text() for tick in hard.get_yticklabels()] == ["negation (2)"]
    assert [bar.get_width() for bar in easy.patches] == [25, 75]
    assert [bar.get_width() for bar in hard.patches] == [0, 50]
    assert legend_of(kind_bars(scores, "recall@1")) == list(scores)


def test_sets_of_the_real_benchmark_are_no_kinds():
    groups = [str(number) for number in range(30)]
    (axis,) = kind_bars({"A": scores_of([1] * 15 + [0] * 15, groups)}, "recall@1").axes
    assert [tick.get_text() for tick in axis.get_yticklabels()] == ["all queries (30)"]
    assert axis.patches[0].get_width() == 50


@pytest.mark.parametrize(("hits", "count"), [(0, 10), (10, 10), (3, 10), (120, 400)])
def test_wilson_interval_solves_its_equation(hits, count):
    share, bounds = hits / count, wilson_interval(hits, count)
    assert 0 <= bounds[0] <= 100 * share <= bounds[1] <= 100
    for bound in (bound / 100 for bound in bounds):
        reach = 1.959963985 * math.sqrt(bound * (1 - bound) / count)
        assert abs(share - bound) == pytest.approx(reach, abs=1e-9)


def test_figures_can_be_written(scores, tmp_path):
    figure = kind_bars(scores, "recall@1", hard=("negation",))
    figure.savefig(tmp_path / "bars.png", dpi=100)
    with Image.open(tmp_path / "bars.png") as image:
        assert image.width == 700 and len(set(image.convert("L").tobytes())) > 10


def test_tables_hold_value_and_interval(scores):
    table = score_table(scores, ["recall@1"])
    low, high = scores["masked pairs"].interval("recall@1")
    assert table.loc["masked pairs", "recall@1"] == f"66.7\u00a0[{low:.1f},\u00a0{high:.1f}]"
    gain = difference(scores["masked pairs"], scores["Pic2Word"], "recall@1")
    assert difference_table({"recall@1": gain}).loc["recall@1", "difference"] == "+50.0"
    floor = {"at the floor": gain._replace(p=1 / 10_001), "above": gain._replace(p=0.0002)}
    assert difference_table(floor)["p"].tolist() == ["≤ 0.0001", "0.0002"]
