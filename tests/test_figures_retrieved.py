"""Grids of what was found, and curves of results, show what they are given."""

import warnings

import matplotlib
import numpy as np
import pytest
import torch
from matplotlib.text import Text
from PIL import Image
from test_figures_results import legend_of, scores_of
from test_retrieval import random_scores, small_benchmark

from zscir.analysis.conflicts import conflict_table
from zscir.benchmarks import Benchmark, Query
from zscir.figures import style
from zscir.figures.masking import pair_panels
from zscir.figures.pictures import found_files, retrieved_grid, wins_and_losses
from zscir.figures.results import conflict_curves, recall_curves
from zscir.figures.style import FRAMES, drawable, label_rows, metric_name, new_figure, wrapped
from zscir.retrieval.comparison import largest_changes, recall_table
from zscir.retrieval.ranking import Retrieved

RED = "is red and far too long a wish to stand above one picture alone"


def drawn(figure):
    """The figure after its layout was made."""
    figure.draw_without_rendering()
    return figure


@pytest.fixture
def benchmark(tmp_path):
    names = ["r", "a", "b", "t"]
    for name in names:
        Image.new("RGB", (8, 8)).save(tmp_path / f"{name}.png")
    query = Query("0", "r", (RED, "other wording"), ("t",))
    paths = {name: tmp_path / f"{name}.png" for name in names}
    return Benchmark("cirr", "val", [query], names, paths, True, ("recall@1",), {})


def test_the_target_is_framed_where_it_was_found_and_only_there(benchmark):
    figure = retrieved_grid(benchmark, {0: Retrieved(["a", "t", "b"], np.zeros(3), 7)})
    assert [axis.get_xlabel() for axis in figure.axes] == ["rank 7", "1", "2  target", "3"]
    framed = [axis for axis in figure.axes if axis.spines["left"].get_visible()]
    colours = [matplotlib.colors.to_hex(axis.spines["left"].get_edgecolor()) for axis in framed]
    assert colours == [FRAMES["reference"], FRAMES["target"]]
    assert [text.get_text() for text in figure.axes[0].texts] == [f"“{RED}”"]
    lefts = [axis.get_position().x0 for axis in drawn(figure).axes]
    assert np.allclose(np.diff(lefts), lefts[1] - lefts[0], atol=0.01)  # the columns are evenly spaced
    with pytest.raises(ValueError, match="found is empty"):
        retrieved_grid(benchmark, {})


def test_a_target_that_was_not_found_stands_at_the_end(benchmark):
    figure = retrieved_grid(benchmark, {0: Retrieved(["a", "b"], np.zeros(2), 3)})
    assert [axis.get_xlabel() for axis in figure.axes] == ["rank 3", "1", "2", "the target"]
    side = figure.axes[-1].spines["left"]
    assert matplotlib.colors.to_hex(side.get_edgecolor()) == FRAMES["target"] and side.get_visible()


def test_wins_and_losses_show_both_methods(benchmark):
    first, second = Retrieved(["a", "b"], np.zeros(2), 3), Retrieved(["t", "a"], np.zeros(2), 1)
    found = {"A": {0: first}, "B": {0: second}}
    figure = wins_and_losses(benchmark, found, {"A": [2], "B": [0]})
    labels = [axis.get_xlabel() for axis in figure.axes]
    assert labels == ["A:\nrank 3", "1", "2", "the target", "B:\nrank 1", "1  target", "2", ""]
    with pytest.raises(ValueError, match="two methods"):
        wins_and_losses(benchmark, {"A": {0: first}}, {"A": [2]})


def test_the_largest_changes_are_those_of_the_rank():
    first, second = scores_of([1] * 6), scores_of([1] * 6)
    first.ranks[:] = [9, 99, 0, 4, 4, 0]
    second.ranks[:] = [0, 49, 9, 4, 9, 0]
    assert largest_changes(first, second, 3) == ([0, 1], [2, 4])
    with pytest.raises(ValueError, match="same queries"):
        largest_changes(first, scores_of([1, 0], groups=("a", "b")))


def test_files_of_a_folder_are_shown_in_order(tmp_path):
    for name in ("r.png", "a.png", "b.png"):
        Image.new("RGB", (8, 8)).save(tmp_path / name)
    found = Retrieved([str(tmp_path / "b.png"), str(tmp_path / "a.png")], np.array([0.5, 0.4]))
    figure = found_files(tmp_path / "r.png", "is red", found)
    assert [axis.get_xlabel() for axis in figure.axes[:3]] == ["reference", "1  b.png", "2  a.png"]


def test_recall_curves_go_through_the_metrics():
    scores = random_scores(noise=2)
    scores.ranks[:] = np.random.default_rng(0).integers(60, size=200)
    table = recall_table(scores, (1, 5, 10))
    wanted = [100 * float((scores.ranks < k).mean()) for k in (1, 5, 10)]
    assert list(table["recall"]) == pytest.approx(wanted)
    assert (table["low"] <= table["recall"]).all() and (table["recall"] <= table["high"]).all()
    figure = recall_curves({"A": scores, "B": scores}, (1, 5, 10))
    (axis,) = figure.axes
    assert [list(line.get_ydata()) for line in axis.lines] == [list(table["recall"])] * 2
    assert len(axis.collections) == 2 and legend_of(figure) == ["A", "B"]


def test_conflict_says_whom_the_answer_follows():
    rng = np.random.default_rng(0)
    benchmark = small_benchmark(rng, queries=40, images=23, exclude=True)
    gallery = rng.normal(size=(23, 8))
    references = np.array([benchmark.row[query.reference] for query in benchmark.queries])
    image, text = gallery[references], rng.normal(size=(40, 8))
    table = conflict_table(benchmark, text, image, gallery, {"text": text, "image": image})
    unit = gallery / np.linalg.norm(gallery, axis=1, keepdims=True)
    for number in (0, 17):
        likes = unit @ text[number]
        above = (likes > likes[references[number]]).sum()
        row = table[(table["method"] == "text")].iloc[number]
        assert row["conflict"] == pytest.approx(100 * above / 22)
        best = int((likes > np.delete(likes, references[number]).max()).sum())  # 1 if the reference is best
        assert row["text"] == pytest.approx(100 * (22 - best) / 22)
    means = table.groupby("method")[["text", "image"]].mean()
    assert means.loc["text", "text"] > 95 and means.loc["image", "image"] > 90
    assert means.loc["image", "text"] < 70 and means.loc["text", "image"] < 70
    left, right = conflict_curves(table, bins=4).axes
    assert left.get_title(loc=matplotlib.rcParams["axes.titlelocation"]) == "follows the text"
    assert len(left.containers) == len(right.containers) == 2
    outside = Benchmark("x", "", [Query("0", "r", ("x",), ("a",))], ["a"], {}, False, (), {})
    with pytest.raises(ValueError, match="outside the gallery"):
        conflict_table(outside, text[:1], text[:1], text[:1], {})


def test_a_wish_of_300_words_stays_within_the_figure(tmp_path):
    for name in ("r.png", "a $\\b$ c.png"):
        Image.new("RGB", (8, 8)).save(tmp_path / name)
    found = Retrieved([str(tmp_path / "a $\\b$ c.png")], np.array([0.5]))
    figure = drawn(found_files(tmp_path / "r.png", "a price of $\\price$ " * 60, found))
    title = figure.get_suptitle()
    assert title.startswith("“a price of $\\price$") and title.endswith("…")
    box = figure._suptitle.get_window_extent()
    assert box.x0 >= 0 and box.x1 <= figure.bbox.x1


@pytest.mark.parametrize("text", ["costs $5, not $10", "$\\price$", "a_{b} ^ \\x {", "$", "\\$"])
def test_a_text_is_drawn_as_it_was_written(text):
    figure, axes = new_figure()
    axes[0, 0].set(xlabel=text)
    drawn(figure)
    assert axes[0, 0].get_xlabel() == text and ("$" in text) != axes[0, 0].xaxis.label.get_parse_math()


def test_formulas_of_the_book_are_drawn_as_such():
    figure, axes = new_figure()
    axes[0, 0].set(xlabel=metric_name("recall_subset@1"), xscale="log")
    axes[0, 0].plot([1, 1000], [0, 1])
    drawn(figure)
    assert axes[0, 0].xaxis.label.get_parse_math() and axes[0, 0].get_xticklabels()[1].get_parse_math()


def test_letters_that_no_font_has_are_left_out_and_counted(monkeypatch):
    monkeypatch.setattr(style, "_font_with", lambda letter: "" if letter > 0x4E00 else style.FONT)
    figure, axes = new_figure()
    axes[0, 0].set(xlabel="狗狗 and 猫, caf\udce9, γ")
    with pytest.warns(UserWarning, match="no font of this machine has 2 of the letters"):
        drawn(figure)
    assert axes[0, 0].get_xlabel() == "[...] and [...], caf?, γ"


def test_letters_that_another_font_has_are_drawn_with_it(monkeypatch):
    monkeypatch.setattr(style, "_font_with", lambda letter: "Liberation Sans")
    figure, axes = new_figure()
    axes[0, 0].set(xlabel="γ")
    style.write_plainly([axes[0, 0].xaxis.label])
    assert axes[0, 0].xaxis.label.get_fontfamily() == [style.FONT, "Liberation Sans"]
    assert axes[0, 0].get_xlabel() == "γ"


def test_bytes_and_control_characters_are_drawn_wherever_they_stand():
    figure, axes = new_figure(1, 2)
    for words in ("caf\udce9", "a\x07b", "$\\price$"):
        label_rows(axes[0, 0], [words, "b"])
        axes[0, 1].set(xlabel=words, title=words)
        with warnings.catch_warnings(action="error"):
            drawn(figure)
        assert axes[0, 0].get_yticklabels()[0].get_text() == axes[0, 1].get_xlabel() == drawable(words)
        assert not axes[0, 0].get_yticklabels()[0].get_parse_math() or "$" not in words


def test_long_words_are_shortened_and_the_pictures_keep_their_size(tmp_path):
    names = ["a_file_name_of_more_than_thirty_letters.png", "short.png", "r.png"]
    for name in names:
        Image.new("RGB", (8, 8)).save(tmp_path / name)
    found = Retrieved([str(tmp_path / name) for name in names[:2]], np.array([0.5, 0.4]))
    heights = []
    for wish in ("is red", "word " * 300, "x" * 900):
        figure = found_files(tmp_path / "r.png", wish, found)
        drawn(figure)
        for text in [text for text in figure.findobj(Text) if text.get_text()]:
            box = text.get_window_extent()
            assert box.x0 >= 0 and box.y0 >= 0 and box.x1 <= figure.bbox.x1 and box.y1 <= figure.bbox.y1
        heights.append(figure.axes[1].get_window_extent().height)
    assert max(heights) - min(heights) < 5
    assert [axis.get_xlabel() for axis in figure.axes[1:3]] == ["1  a_file_name_of…", "2  short.png"]
    assert max(map(len, wrapped("牧" * 100, 20).splitlines())) <= 11


def test_long_captions_stay_below_their_pictures(tiny_backbone):
    pixels = tiny_backbone.preprocess(Image.new("RGB", (32, 32), "red"))
    figure = pair_panels(tiny_backbone, pixels, torch.ones(32, 32).bool(), "a red dog " * 30, "a *")
    drawn(figure)
    box = figure.axes[0].xaxis.label.get_window_extent()
    assert 0 <= box.x0 and box.x1 <= figure.bbox.x1 / 2 and box.y0 >= 0
