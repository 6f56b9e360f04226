"""Figures: what they show, what they refuse, what they count; and the checks of a chapter's parameters."""

import base64
import io
import re
import sys
import xml.etree.ElementTree as ElementTree
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from IPython.core.formatters import DisplayFormatter
from IPython.core.pylabtools import select_figure_formats
from PIL import Image

from zscir.analysis.drawn_objects import (
    blind_maps,
    block_layers,
    drawn_objects,
    judged_nouns,
    localisation_table,
    mentions,
    true_cells,
)
from zscir.analysis.mask_quality import localisation
from zscir.benchmarks import Benchmark, Query
from zscir.figures import masking, pictures, style
from zscir.figures.masking import masked_picture
from zscir.figures.style import new_figure
from zscir.nouns import find_nouns
from zscir.pairs import Pairs
from zscir.pairs.sources import Images
from zscir.storage.paths import REPO

sys.path.insert(0, str(REPO / "book"))
from method_picture import method_svg, write_method_svg  # noqa: E402  (a script beside the library)

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module", autouse=True)
def book_style():
    """The book's look, as in a chapter."""
    style.use_style()


@pytest.fixture
def benchmark(tmp_path) -> Benchmark:
    """Six images of a set, two queries of two kinds."""
    names = [f"dev-{k}" for k in range(6)]
    for number, name in enumerate(names):
        Image.new("RGB", (32, 32), (40 * number, 0, 0)).save(tmp_path / f"{name}.png")
    queries = [
        Query("0", names[0], ("is red",), (names[1],), tuple(names[1:]), "colour"),
        Query("1", names[2], ("at night",), (names[3],), tuple(n for n in names if n != names[2]), "light"),
    ]
    paths = {name: tmp_path / f"{name}.png" for name in names}
    return Benchmark("cirr", "val", queries, names, paths, True, ("recall@1",), {})


@pytest.fixture
def pairs() -> Pairs:
    """Three drawn pairs: a dog on a beach (the left half is dog), a garment, a caption that denies a cat."""
    label_map = np.zeros((32, 32), np.uint8)
    label_map[:, :16] = 1
    scene = '{"place": "%s", "objects": [{"noun": "%s", "label": 1}]}'
    return Pairs(
        "drawn",
        ["a dog on the beach at night", "a shirt", "a dog, not a cat, on top of a puppy"],
        Images(range(3), lambda index: Image.new("RGB", (32, 32), "orange")),
        "drawn",
        scenes=[scene % ("beach", "dog"), scene % ("studio", "shirt"), scene % ("forest", "dog")],
        label_maps=lambda index: Image.fromarray(label_map),
        synonyms={"dog": {"dog"}, "puppy": {"dog"}, "cat": {"cat"}, "beach": {"beach"}, "shirt": {"shirt"}},
    )


def framed(figure) -> list[bool]:
    return [axis.spines["left"].get_visible() for axis in figure.axes]


def test_a_figure_shows_itself_as_png_of_the_page_width():
    figure, _ = new_figure(1, 2, height=2)
    picture = Image.open(io.BytesIO(figure._repr_png_()))
    assert picture.width == 840 and 230 <= picture.height <= 240, "only blank rows are cut off"


def test_a_figure_shows_itself_also_where_pyplot_draws_for_a_notebook(monkeypatch):
    shell = SimpleNamespace(display_formatter=DisplayFormatter())
    monkeypatch.setattr(style, "get_ipython", lambda: shell)
    style.use_style()
    select_figure_formats(shell, {"png"})  # as the notebook backend of pyplot, once asked for
    shown, _ = shell.display_formatter.format(new_figure(1, 2, height=2)[0])
    assert "pictures" in Image.open(io.BytesIO(shown["image/png"])).info


def test_what_is_blank_above_and_below_a_figure_is_cut_off():
    figure, axes = new_figure(1, 1, height=3)
    axes[0, 0].set_axis_off()
    figure.text(0.5, 0.5, "a line", fontsize=10)
    picture = Image.open(io.BytesIO(figure._repr_png_()))
    assert picture.width == 840 and 20 < picture.height < 50
    axes[0, 0].remove()
    figure.texts[0].remove()
    assert Image.open(io.BytesIO(figure._repr_png_())).size == (840, 360)  # all blank: left as it is


def test_picture_grid_puts_each_text_below_its_picture():
    images = [Image.new("RGB", (8, 8), colour) for colour in ("red", "green", "blue")]
    figure = pictures.picture_grid(images, ["one", "two", "three"], columns=2, roles=["", "target", ""])
    assert [axis.get_xlabel() for axis in figure.axes] == ["one", "two", "three", ""]
    assert framed(figure)[:3] == [False, True, False]
    shown = figure.axes[1].images[0].get_array()
    assert shown[0, 0].tolist() == [0, 128, 0]


@pytest.mark.parametrize("arguments", [([],), ([Image.new("RGB", (4, 4))], ["a", "b"])])
def test_picture_grid_refuses_what_does_not_fit(arguments):
    with pytest.raises(ValueError, match="images"):
        pictures.picture_grid(*arguments)


def test_set_of_six_frames_reference_and_target(benchmark):
    figure = pictures.set_of_six(benchmark, 1)
    labels = [axis.get_xlabel() for axis in figure.axes]
    assert labels[0] == "reference" and labels.count("target") == 1 and labels.count("") == 4
    reds = [int(axis.images[0].get_array()[0, 0, 0]) for axis in figure.axes]
    assert reds[0] == 80 and reds[labels.index("target")] == 120
    assert figure._suptitle.get_text() == "“at night”"


def test_set_of_six_needs_a_set(benchmark):
    benchmark.queries[0] = Query("0", "dev-0", ("is red",), ("dev-1",))
    with pytest.raises(ValueError, match="query 0"):
        pictures.set_of_six(benchmark, 0)


def test_query_examples_name_kind_and_caption(benchmark):
    figure = pictures.query_examples(benchmark, [0, 1], columns=2)
    assert [axis.get_title(loc="left") for axis in figure.axes] == ["colour", "light"]
    assert [axis.get_xlabel() for axis in figure.axes] == ["“is red”", "“at night”"]


def test_rankings_frame_the_target_where_it_was_found(benchmark):
    figure = pictures.rankings(benchmark, 0, {"good": ["dev-1", "dev-2"], "bad": ["dev-4"]})
    assert [axis.get_title() for axis in figure.axes[:4]] == ["reference", "1", "2", "target"]
    assert [axis.get_ylabel() for axis in figure.axes[::4]] == ["good", "bad"]
    assert framed(figure)[:6] == [True, True, False, True, True, False]
    assert int(figure.axes[3].images[0].get_array()[0, 0, 0]) == 40


def test_judged_nouns_tell_objects_places_and_absent_things(pairs):
    judged = judged_nouns(pairs, find_nouns(pairs.captions))
    first = judged[judged["row"] == 0]
    assert dict(zip(first["lemma"], first["is"], strict=True)) == {
        "dog": "an object",
        "beach": "the place",
        "night": "something else",
    }
    last = judged[judged["row"] == 2].set_index("lemma")["is"]
    assert last["cat"] == "not in the picture" and last["puppy"] == "an object"


def test_mentions_are_found_by_search_and_judged_by_their_borders(pairs):
    nouns = find_nouns(pairs.captions)
    found = mentions(pairs, nouns)
    assert found["word"].tolist() == ["dog", "shirt", "dog", "cat", "puppy"]  # not "top": "top of"
    assert set(found["found"]) == {"exactly"}
    missed = mentions(pairs, [[], nouns[1], nouns[2]])
    assert missed["found"].tolist()[0] == "no"


def test_measures_need_drawn_pairs(pairs, tiny_backbone):
    pairs.scenes = None
    for call in (
        lambda: judged_nouns(pairs, [[], [], []]),
        lambda: mentions(pairs, [[], [], []]),
        lambda: drawn_objects(tiny_backbone, pairs, [0]),
    ):
        with pytest.raises(ValueError, match="'drawn'.*pocket-<size>"):
            call()


def test_drawn_objects_leave_garments_out_and_know_their_masks(pairs, tiny_backbone):
    objects = drawn_objects(tiny_backbone, pairs, range(3))
    assert objects.rows == [0, 2] and objects.lemmas == ["dog", "dog"]
    assert objects.masks[0, :, :15].all() and not objects.masks[0, :, 17:].any()
    with pytest.raises(ValueError, match="no object"):
        drawn_objects(tiny_backbone, pairs, [1])


def test_localisation_of_perfect_and_blind_maps(pairs, tiny_backbone):
    objects = drawn_objects(tiny_backbone, pairs, range(3))
    perfect = objects.masks.float()
    found = localisation(perfect, objects.masks)
    assert found["best_iou"].tolist() == [1.0, 1.0] and found["pointing"].all()
    perfect[1] = 1 - perfect[1]
    blind = blind_maps(objects, perfect)
    assert torch.equal(blind["a map of another picture"], perfect.flip(0))
    assert blind["a blob in the middle"][0, 16, 16] > blind["a blob in the middle"][0, 0, 0]


def test_the_localisation_table_has_a_row_a_layer_and_agrees_with_single_maps(pairs, tiny_backbone):
    objects = drawn_objects(tiny_backbone, pairs, range(3))
    layers = block_layers(tiny_backbone)
    assert list(layers) == ["block 1 of 3", "block 2 of 3", "block 3 of 3"]
    table = localisation_table(tiny_backbone, objects, layers)
    assert table.shape == (3, 6)
    maps = objects.maps(tiny_backbone, layer=layers["block 2 of 3"], method="hirescam")
    expected = localisation(maps, objects.masks)
    assert table.loc["block 2 of 3", ("IoU", "hirescam")] == expected["best_iou"].mean()


def test_of_a_deep_tower_some_blocks_are_compared_the_last_among_them(make_tiny_backbone):
    deep = make_tiny_backbone(vision={"layers": 9})
    layers = block_layers(deep, most=4)
    assert len(layers) == 4 and list(layers)[-1] == "block 9 of 9"
    assert all(deep.model.get_submodule(path) for paths in layers.values() for path in paths)


def test_figures_of_maps_fills_and_nouns_draw_what_they_are_given(pairs, tiny_backbone):
    pixels = tiny_backbone.preprocess(Image.new("RGB", (32, 32), "red"))
    figure = masking.cam_panels(tiny_backbone, pixels, {"dog": torch.eye(32)}, "a dog")
    assert np.array_equal(figure.axes[1].images[1].get_array(), np.eye(32))
    figure = masking.fill_panels(tiny_backbone, pixels, torch.ones(32, 32).bool(), ["mean", "black"])
    assert all(axis.images[0].get_array()[0, 0].tolist() == [255, 0, 0] for axis in figure.axes)
    figure = masking.noun_counts(find_nouns(pairs.captions), most=2)
    assert sum(bar.get_height() for bar in figure.axes[0].patches) == pytest.approx(100)
    assert len(figure.axes[1].patches) == 2
    shares = pd.DataFrame({"an object": {"first": 60.0}, "the place": {"first": 40.0}})
    bars = masking.judgement_bars(shares).axes[0].patches
    assert sorted(bar.get_width() for bar in bars) == [0, 0, 40, 60]


def test_the_method_picture_is_small_whole_and_names_its_source(tmp_path, tiny_backbone):
    path = write_method_svg(tmp_path / "method.svg", tiny_backbone)
    tall = tmp_path / "method-tall.svg"
    assert path.stat().st_size < 150_000 and sorted(tmp_path.iterdir()) == sorted([path, tall])
    assert ElementTree.parse(tall).getroot().get("viewBox") == "0 0 500 944"
    root = ElementTree.parse(path).getroot()
    assert "drawings: OpenMoji, CC BY-SA 4.0" in [one.text for one in root.iter(f"{SVG}text")]
    data = [one.get("href").removeprefix("data:image/png;base64,") for one in root.iter(f"{SVG}image")]
    assert len(data) == 5
    assert {Image.open(io.BytesIO(base64.b64decode(one))).size for one in data} == {(168, 168)}


def test_the_stored_method_picture_is_made_by_its_script(tiny_backbone):
    def frame(text: str) -> str:
        return re.sub(r"data:image/png;base64,[^\"]+", "", text)

    for name, layout in {"method.svg": "wide", "method-tall.svg": "tall"}.items():
        stored = (REPO / "book" / "_assets" / name).read_text(encoding="utf-8")
        assert frame(stored) == frame(method_svg(tiny_backbone, layout=layout))


def test_marked_captions_colour_each_noun_once():
    captions = ["a small dog on a sofa", "it is dark"]
    figure = masking.marked_caption(captions, find_nouns(captions))
    boxes = figure.axes[0].patches
    assert [(box.get_x(), box.get_width()) for box in boxes] == [(8, 3), (17, 4)]
    assert boxes[0].get_facecolor() != boxes[1].get_facecolor()  # the head
    assert [line.get_xdata().tolist() for line in figure.axes[0].lines] == [[0, 11], [15, 21]]
    assert "".join(text.get_text() for text in figure.axes[0].texts) == "".join(captions)


def test_a_masked_picture_shows_what_drop_leaves_out(tiny_backbone):
    pixels = tiny_backbone.preprocess(Image.new("RGB", (32, 32), "red"))
    keep = torch.zeros(32, 32, dtype=torch.bool)
    keep[:8, :12] = True  # one patch and half of another
    seen = np.asarray(masked_picture(tiny_backbone, pixels, keep, "drop")).astype(int)
    assert (seen[:8, :16] == [255, 0, 0]).all() and (seen[8:] == 255).all() and (seen[:, 16:] == 255).all()
    grey = np.asarray(masked_picture(tiny_backbone, pixels, keep))
    assert (grey[:8, :12] == [255, 0, 0]).all() and (grey[8:] == grey[31, 31]).all()


def test_mask_grid_has_a_row_a_noun_and_frames_the_chosen_tau(tiny_backbone):
    pixels = tiny_backbone.preprocess(Image.new("RGB", (32, 32), "red"))
    cams = {"dog": torch.linspace(0, 1, 1024).reshape(32, 32), "cat": torch.ones(32, 32)}
    figure = masking.mask_grid(tiny_backbone, pixels, cams, [0.25, 0.5], chosen=0.5)
    assert [axis.get_ylabel() for axis in figure.axes[::3]] == ["dog", "cat"]
    assert [axis.get_xlabel() for axis in figure.axes] == [
        *("map", "75 % kept", "50 % kept"),
        *("map", "100 % kept", "100 % kept"),
    ]
    assert framed(figure) == [False, False, True] * 2
    assert [axis.get_title() for axis in figure.axes[:3]] == ["", "τ = 0.25", "τ = 0.5"]


def test_quality_curves_failures_and_areas(pairs, tiny_backbone):
    from zscir.analysis.mask_quality import mask_quality, same_areas_at_random

    objects = drawn_objects(tiny_backbone, pairs, range(3))
    perfect = objects.masks.float()
    tables = {"own": mask_quality(perfect, objects.masks)}
    tables["random mask"] = mask_quality(same_areas_at_random(perfect), objects.masks)
    figure = masking.quality_curves(tables, 0.3, own="own")
    left, right = figure.axes
    assert left.lines[0].get_ydata().tolist() == [1.0] * 18 and left.lines[1].get_linestyle() == ":"
    assert left.lines[1].get_color() != left.lines[0].get_color()
    assert [text.get_text() for text in right.get_legend().get_texts()] == ["all (2)", "large (2)"]
    figure = masking.failure_panels(tiny_backbone, objects, perfect, [0.5, 0.2], most=1)
    assert [axis.get_xlabel() for axis in figure.axes] == ["dog: IoU 0.20"]
    areas = {0.2: torch.tensor([0.2, 0.4]), 0.4: torch.tensor([0.1, 0.1])}
    labels = masking.kept_areas(areas, chosen=0.2).axes[0].get_xticklabels()
    assert [label.get_text() for label in labels] == ["0.2", "0.4"]
    coarse = true_cells(tiny_backbone, objects)
    assert coarse.shape == objects.masks.shape and coarse[:, ::8, ::8].any()
    figure = masking.pair_panels(tiny_backbone, objects.pixels[0], coarse[0], "a dog", "a *")
    assert [axis.get_xlabel() for axis in figure.axes] == ["“a dog”", "“a *”"]
