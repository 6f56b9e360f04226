"""Which word is it, and look around the record: what the pages show is what Python says."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from live_pages import barriers, in_browsers, opened, shows, tab, woken, write_page

from zscir import load_backbone, load_benchmark, make_pocket
from zscir.analysis.ablation_tables import recorded, shared_seeds, spreads, study_rows
from zscir.analysis.ablations import BASE, METRICS, STUDIES
from zscir.analysis.masked_references import masked_references
from zscir.analysis.probes import classifier, scene_probes
from zscir.analysis.readings import pseudo_word_features
from zscir.figures.live.lookups import look_around, which_word
from zscir.inversion import InversionNetwork
from zscir.regions import keep_mask, noun_cams
from zscir.retrieval import gallery_features
from zscir.retrieval.queries import pseudo_words
from zscir.retrieval.statistics import t_interval

FIGURE = "document.querySelector('.zscir-live').figure"


@pytest.fixture(scope="module")
def words():
    """Backbone, benchmark, probe, untrained networks, four pictures with their things, the live figure."""
    clip, cirr, scenes = load_backbone("pocket"), load_benchmark("cirr", "pocket-tiny"), make_pocket("tiny")
    scenes, networks = scenes.scenes("cirr"), {}
    for seed, name in enumerate(("Pic2Word", "masked pairs")):
        torch.manual_seed(seed)
        networks[name] = SimpleNamespace(phi=InversionNetwork(clip.dim, clip.token_width).eval())
    (probe,) = (one for one in scene_probes([scenes[name] for name in cirr.gallery]) if one.name == "thing")
    names = sorted(cirr.gallery, key=lambda name: -len(scenes[name].objects))[:4]
    things = {name: [thing.noun for thing in scenes[name].objects] for name in names}
    figure = which_word(clip, cirr, networks, things, probe, tau=0.3)
    return SimpleNamespace(clip=clip, cirr=cirr, probe=probe, networks=networks, things=things, figure=figure)


@pytest.fixture(scope="module")
def word_page(words, tmp_path_factory):
    return write_page(tmp_path_factory.mktemp("word"), words.figure)


def read_by_the_probe(words, image):
    """By method the eight values of the probe nearest to an image feature [D], and their cosines."""
    asked = {"image": image[None]}
    for name, network in words.networks.items():
        asked[name] = pseudo_word_features(words.clip, pseudo_words(network, image[None]))
    values, found = classifier(words.clip, words.probe), []
    for name, feature in asked.items():
        cosines = (feature @ values.T)[0]
        order = cosines.argsort(descending=True, stable=True)[:8].tolist()
        found.append(
            [name, [[words.probe.values[n], pytest.approx(float(cosines[n]), abs=1e-4)] for n in order]]
        )
    return found


@in_browsers
def test_the_nearest_nouns_are_those_of_the_probe_whole_and_masked(browser, words, word_page):
    gallery = gallery_features(words.clip, words.cirr)
    with opened(browser, word_page) as page:
        woken(page)
        for place, (name, things) in enumerate(words.things.items()):
            page.get_by_role("radio").nth(place).check()
            whole = gallery[words.cirr.row[name]]
            assert page.evaluate(f"{FIGURE}.found") == read_by_the_probe(words, whole)
            assert page.inner_text("[role=status]:not(.live-said)").startswith("Whole.")
            pixels = words.clip.preprocess(words.cirr.open_image(name))
            for noun in things:
                masked = masked_references(words.clip, words.cirr, {name: noun}, tau=0.3)
                page.get_by_label("Masked for", exact=True).select_option(label=noun)
                assert page.evaluate(f"{FIGURE}.found") == read_by_the_probe(words, masked.features[0])
                said = page.inner_text("[role=status]:not(.live-said)")
                assert f"Masked for “{noun}” at τ = 0.3, {100 * float(masked.kept[0]):.0f} % kept" in said
                keep = keep_mask(noun_cams(words.clip, pixels[None], [[noun]])[0][0], 0.3)
                shown = page.evaluate(
                    "(c => [...c.getContext('2d').getImageData(0, 0, c.width, c.height).data])"
                    "(document.querySelector('.live-seen canvas'))"
                )
                shown = np.reshape(shown, (*keep.shape, 4))[..., :3]
                hidden = (shown == words.figure.settings["mean"]).all(axis=-1)
                assert hidden[~keep.numpy()].all() and not hidden[keep.numpy()].all()


@in_browsers
def test_the_keyboard_alone_chooses_a_picture_and_a_noun(browser, words, word_page):
    with opened(browser, word_page) as page:
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        page.wait_for_selector(".live-awake")
        page.keyboard.press("ArrowRight")
        shows(page, ".live-caption", words.figure.settings["pictures"][1])
        assert tab(page) == "SELECT select-one"
        page.keyboard.press("ArrowDown")
        noun = words.figure.settings["nouns"][1][0]
        shows(page, "[role=status]:not(.live-said)", f"Masked for “{noun}”")


@pytest.fixture(scope="module")
def record():
    return recorded()


@pytest.fixture(scope="module")
def record_figure(record):
    return look_around(*record)


@pytest.fixture(scope="module")
def record_page(record_figure, tmp_path_factory):
    return write_page(tmp_path_factory.mktemp("record"), record_figure)


@in_browsers
def test_every_study_and_metric_shows_the_seeds_and_intervals_of_the_record(browser, record, record_page):
    table, spread = record[0], spreads(record[0])
    with opened(browser, record_page) as page:
        woken(page)
        for study in STUDIES:
            page.get_by_label("Study", exact=True).select_option(study)
            rows = shared_seeds(study_rows(table, study))
            for metric in METRICS:
                page.get_by_label("Metric", exact=True).select_option(metric)
                groups = rows.groupby("label", sort=False)
                expected = {
                    label: [own[metric].tolist(), *t_interval(own[metric], spread[metric])[:3]]
                    for label, own in groups
                    if own[metric].notna().all()
                }
                shown = page.evaluate(f"{FIGURE}.points.map(point => [point.label, point.found['{metric}']])")
                assert shown == [[label, found] for label, found in expected.items()]
                seeds = sum(len(values) for values, *_ in expected.values())
                assert page.locator(".live-record .seed").count() == seeds


@in_browsers
def test_pointer_and_focus_tell_the_settings(browser, record, record_page):
    rows = shared_seeds(study_rows(record[0], "fill"))
    with opened(browser, record_page) as page:
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        page.wait_for_selector(".live-awake")
        page.get_by_label("Study", exact=True).select_option("fill")
        page.get_by_label("Metric", exact=True).focus()
        for label in STUDIES["fill"]:
            tab(page)
            own = rows[rows["label"] == label]
            told = shows(page, ".live-told", f"{label}: ")
            assert (
                told.startswith(f"{label}: {own['recall@1'].mean():.1f} %, 95 ") and f"fill {label};" in told
            )
            assert all(f"seed {one.seed}: " in told for one in own.itertuples())
            named = [name for name in BASE if own[name].iloc[0] != "" and name != "fill"]
            assert all(f" {name} " in told for name in named)
        page.locator(".live-record g").first.hover()
        shows(page, ".live-told", "mean: ")


@in_browsers
@pytest.mark.parametrize("width, theme", [(400, "light"), (1400, "dark")])
def test_nothing_bars_a_reader(browser, words, record_figure, tmp_path, width, theme):
    for figure in (words.figure, record_figure):
        with opened(browser, write_page(tmp_path, figure, theme), width) as page:
            assert barriers(woken(page)) == []
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            page.emulate_media(media="print")
            assert page.is_visible(".live-still img") and page.is_hidden(".live-app")
