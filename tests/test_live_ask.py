"""Ask it yourself: the page's text tower and rankings are Python's; words, keyboard, the line of Python."""

import json
import os
import statistics
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from live_pages import barriers, in_browsers, needs_browser, opened, shows, tab, woken, write_page

from zscir import Query, load_backbone, load_benchmark, retrieve
from zscir.figures import live
from zscir.figures.style import note_figure
from zscir.inversion import InversionNetwork
from zscir.retrieval import gallery_features, query_features
from zscir.storage.paths import REPO

STILL = note_figure("still")
NAMES = {"image": "image", "text": "text", "image + text": "image+text", "slerp": "slerp"}
FOUND = """([first, last]) => {
  const { engine, settings } = document.querySelector(".zscir-live").figure;
  return settings.queries.slice(first, last).map(([reference, caption, target]) => {
    const features = engine.features(reference, caption, settings.weight);
    const found = engine.answer(reference, caption, { k: 10, target });
    return found.map(({ name, rows, rank }) => ({ name, rank, feature: [...features[name]],
      ids: rows.map(row => settings.ids[row]) }));
  });
}"""

ASKED = "caption => document.querySelector('.zscir-live').figure.asked === caption"


@pytest.fixture(scope="module")
def world():
    """Backbone, benchmark, gallery features, two untrained networks, and the live figure."""
    clip, cirr = load_backbone("pocket"), load_benchmark("cirr", "pocket-tiny")
    gallery, networks = gallery_features(clip, cirr), {}
    for seed, name in enumerate(("Pic2Word", "masked pairs")):
        torch.manual_seed(seed)
        networks[name] = SimpleNamespace(phi=InversionNetwork(clip.dim, clip.token_width).eval())
    captions = ["a dog is in the garden", "the owl"]
    seen = {name: f"picture {number}" for number, name in enumerate(cirr.gallery)}
    figure = live.ask(clip, cirr, gallery, captions, STILL, 2, seen, networks, weight=0.7)
    return SimpleNamespace(clip=clip, cirr=cirr, gallery=gallery, networks=networks, figure=figure)


@pytest.fixture(scope="module")
def address(world, tmp_path_factory):
    return write_page(tmp_path_factory.mktemp("ask"), world.figure)


def features_of(world):
    """Method -> features of all queries, as Python has them."""
    found = {name: query_features(world.clip, world.cirr, kind, weight=0.7) for name, kind in NAMES.items()}
    return found | {
        name: query_features(world.clip, world.cirr, "inversion", one) for name, one in world.networks.items()
    }


@in_browsers
def test_features_answers_and_ranks_are_those_of_python(browser, world, address):
    expected = features_of(world)
    with opened(browser, address) as page:
        shown = woken(page).evaluate(FOUND, [0, len(world.cirr.queries)])
    assert len(shown) == len(world.cirr.queries) == 56
    for number, found in enumerate(shown):
        assert [one["name"] for one in found] == list(expected)
        for one in found:
            features = expected[one["name"]]
            assert float(torch.tensor(one["feature"]) @ features[number]) > 0.9999
            best = retrieve(world.cirr, features, world.gallery, number, k=10)
            assert one["ids"] == list(best.ids) and one["rank"] == best.rank


@in_browsers
def test_texts_are_cleaned_and_split_as_open_clip_does(browser, world, address):
    texts = ["It's  a DOG&amp;cat", "“blue” dogs’ 12 kites!?", "a*b , <b>c</b>", "naïve café — x", "", " * "]
    tokenizer = world.clip.tokenizer
    expected = [tokenizer.pat.findall(tokenizer.clean_fn(text.replace("*", " * "))) for text in texts]
    with opened(browser, address) as page:
        assert page.evaluate("texts => texts.map(zscirLive.wordsOf)", texts) == expected


@in_browsers
def test_the_error_function_is_exact(browser, address):
    values = np.linspace(-6, 6, 241)
    with opened(browser, address) as page:
        shown = page.evaluate("values => values.map(zscirLive.erf)", values.tolist())
    assert np.allclose(shown, torch.erf(torch.tensor(values)), rtol=0, atol=1e-9)


@in_browsers
def test_a_word_that_the_tower_never_met_is_named_and_nothing_is_asked(browser, address):
    with opened(browser, address) as page:
        woken(page)
        assert page.locator(".live-results li").count() == 48 and page.is_visible(".live-results")
        page.get_by_label("Relative caption").fill("a purple Zeppelin, yes")
        page.keyboard.press("Enter")
        said = shows(page, ".live-query [role=status]", "Not asked: no caption of this build has ")
        assert "“zeppelin”" in said and page.is_hidden(".live-results")
        page.get_by_label("Relative caption").fill("  ")
        page.get_by_role("button", name="Ask", exact=True).click()
        shows(page, ".live-query [role=status]", "Type a relative caption")


@in_browsers
def test_a_query_of_the_benchmark_shows_its_target_and_one_of_the_readers_does_not(browser, world, address):
    ranks = {
        name: retrieve(world.cirr, features, world.gallery, 2, k=8).rank
        for name, features in features_of(world).items()
    }
    with opened(browser, address) as page:
        woken(page)
        shown = page.locator(".live-method").all_inner_texts()
        assert all(f"target at rank {rank}" in text for rank, text in zip(ranks.values(), shown, strict=True))
        assert page.locator(".live-target").count() == sum(rank <= 8 for rank in ranks.values())
        page.get_by_label("Relative caption").fill("a dog")
        page.keyboard.press("Enter")
        page.wait_for_function(ASKED, arg="a dog")
        assert page.locator(".live-target").count() == 0
        answer = page.locator("[data-method=text] li button").first
        name = answer.get_attribute("aria-label").removeprefix("1: ")
        answer.click()
        shows(page, ".live-reference", name)  # an answer becomes the reference


@in_browsers
def test_the_line_of_python_gives_the_same_answers(browser, world, address):
    names = {"cirr": world.cirr, "clip": world.clip, "gallery": world.gallery, "networks": world.networks}
    names |= {"query_features": query_features, "retrieve": retrieve}
    with opened(browser, address) as page:
        woken(page)
        page.get_by_label("Relative caption").fill("add a larger blue candle")
        page.keyboard.press("Enter")
        page.wait_for_function(ASKED, arg="add a larger blue candle")
        page.get_by_label("text’s share").fill("0.35")
        found = page.evaluate(
            "document.querySelector('.zscir-live').figure.found.map(({ name, rows }) => [name, rows])"
        )
        if not found:  # a word of the caption is not in this build's captions
            pytest.fail(page.inner_text(".live-query [role=status]"))
        for name, rows in found:
            page.get_by_label(f"Copy as Python: {name}", exact=True).click()
            page.wait_for_selector(".live-line code")
            *first, last = page.inner_text(".live-line code").split("; ")
            own = dict(names)
            exec("\n".join(first), own)
            assert list(eval(last, own)) == [world.cirr.gallery[row] for row in rows]


@in_browsers
def test_the_keyboard_alone_asks(browser, world, address):
    with opened(browser, address) as page:
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        page.wait_for_selector(".live-awake")
        assert page.evaluate("document.activeElement === document.querySelector('input[type=text]')")
        tags = {tab(page) for _ in range(45)}
        assert {"BUTTON submit", "BUTTON button", "SELECT select-one", "INPUT radio", "INPUT range"} <= tags
        page.focus("input[type=radio]:checked")
        before = page.inner_text(".live-reference")
        page.keyboard.press("ArrowRight")
        page.wait_for_function(
            "before => document.querySelector('.live-reference').innerText !== before", arg=before
        )
        page.focus("input[type=range]")
        page.keyboard.press("Home")
        page.wait_for_selector("input[type=range][aria-valuetext='0.00 text']")
        found = page.evaluate("document.querySelector('.zscir-live').figure.found.map(({ rows }) => rows)")
        assert found[3] == found[0], "slerp without text is the image"


@in_browsers
@pytest.mark.parametrize("width", [400, 1400])
def test_nothing_bars_a_reader(browser, address, width):
    with opened(browser, address, width) as page:
        assert barriers(woken(page)) == []
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        page.get_by_role("button", name="later").click()
        page.get_by_role("button", name="a query by chance").click()
        assert barriers(page) == []


def test_the_small_form_has_three_methods(world):
    figure = live.ask(world.clip, world.cirr, world.gallery, [], STILL)
    assert [one["name"] for one in figure.settings["methods"]] == ["image", "text", "image + text"]
    assert set(figure.arrays) == {"tower", "embeddings", "gallery", "sheet"}
    assert "words" in figure.settings and figure.settings["images"] == world.cirr.gallery


def test_a_tower_that_is_too_large_or_another_kind_leaves_the_figure_still(
    world, make_tiny_backbone, monkeypatch
):
    other = make_tiny_backbone(quick_gelu=True)
    gallery = torch.eye(len(world.cirr.gallery), other.dim)
    assert live.ask(other, world.cirr, gallery, [], STILL) is STILL
    monkeypatch.setattr(live, "LARGEST", 10**6)
    assert live.ask(world.clip, world.cirr, world.gallery, [], STILL) is STILL


def test_queries_outside_the_gallery_are_no_suggestions(world):
    asked = world.cirr.queries[0]
    lone = SimpleNamespace(**{**vars(world.cirr), "row": world.cirr.row})
    lone.open_image = world.cirr.open_image
    lone.queries = [asked, Query("x", "elsewhere", ("is red",)), Query("y", asked.reference, ("a", "b"))]
    assert len(live.ask(world.clip, lone, world.gallery, [], STILL).settings["queries"]) == 1


@pytest.mark.thorough
@needs_browser
@pytest.mark.slow
def test_the_script_measures_all_figures():
    """In a process of its own: Playwright allows one browser of its synchronous kind in a thread."""
    code = "import json, live; print(json.dumps(live.measure('tiny', steps=2, batch=8, repeats=1)))"
    paths = os.pathsep.join([str(REPO / "benchmarks"), str(REPO)])
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONPATH": paths},
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    record = json.loads(done.stdout.splitlines()[-1])
    agreed = record["agreement"]
    assert record["queries"] == 56 and min(agreed["least cosine"].values()) > 0.9999
    assert set(agreed["lists that differ"].values()) == {0}
    assert {"move tau", "ask", "which word", "look around"} <= set(record["bytes"]) and all(
        figure["page"] > 10**4 for figure in record["bytes"].values()
    )
    assert record["bytes"]["ask"]["arrays"] > 10**6 > 50 * record["bytes"]["ask, in small"]["arrays"] > 0
    assert all(value > 0 for value in record["milliseconds a query, median of 50"].values())


def test_the_record_keeps_the_bars():
    path = REPO / "benchmarks" / "results" / "live.json"
    if not path.is_file():
        pytest.skip("there is no record: benchmarks/live.py makes it")
    record = json.loads(path.read_text("utf-8"))
    weights = [part for figure in record["bytes"].values() for part in figure.values()]
    assert sum(weights) <= 12e6
    assert all(statistics.median(waking) <= 2000 for waking in record["milliseconds to wake"].values())
    assert record["milliseconds a query, median of 50"]["all methods"] <= 150
    assert min(record["agreement"]["least cosine"].values()) > 0.9999
    assert record["agreement"]["largest difference of cosines there"] <= 1e-5
