"""Live figures: what they hold, and τ under the reader's finger, in a browser without network."""

import base64
import gzip
import json
import re
import sys

import numpy as np
import pytest
from live_pages import barriers, in_browsers, opened, shows, tab, woken, write_page

from zscir import keep_mask, load_backbone, load_pairs
from zscir.analysis.drawn_objects import drawn_objects
from zscir.analysis.mask_quality import mask_measures, mask_quality
from zscir.figures.live import LiveFigure, move_tau
from zscir.figures.masking import masked_picture
from zscir.figures.style import note_figure
from zscir.storage.paths import REPO

sys.path.insert(0, str(REPO / "book" / "_ext"))
import live_arrays as extension  # noqa: E402  (an extension of Sphinx, beside the library)


def figure_of(**arrays):
    return LiveFigure(
        ("tau",), note_figure("still"), 'a "still" one', "Wake", {"a": "</script>"}, arrays, "me"
    )


def test_an_array_is_read_back_from_the_page():
    values = np.random.default_rng(0).normal(size=(3, 5)).astype(np.float32)
    html = figure_of(values=values)._repr_html_()
    known = json.loads(re.search(r'live-packed">(.*?)</script>', html)[1])
    (name, text), (other, settings) = re.findall(r'data-array="(\w+)">([^<]*)<', html)
    planes = np.frombuffer(gzip.decompress(base64.b64decode(text)), np.uint8)
    assert np.array_equal(
        np.ascontiguousarray(planes.reshape(4, -1).T).view(np.float32).reshape(3, 5), values
    )
    assert json.loads(gzip.decompress(base64.b64decode(settings))) == {"a": "</script>"}
    assert known["arrays"] == {
        "values": {"name": name, "type": "float32"},
        "settings": {"name": other, "type": "uint8"},
    }
    assert known["made"] == f"From this build: me. Fingerprints of the data: values {name}, settings {other}."
    assert 'alt="a &quot;still&quot; one"' in html


def test_an_array_of_another_type_is_refused():
    with pytest.raises(ValueError, match="array must be uint8 or float32, got float64"):
        figure_of(values=np.zeros(2))._repr_html_()


def test_the_build_moves_arrays_into_files(tmp_path):
    class App:
        outdir = tmp_path

    html = figure_of(a=np.zeros(2, np.uint8))._repr_html_()
    context = {"body": html}
    extension.move(App, "page", "", context, None)
    files = {path.stem: path.read_text() for path in (tmp_path / "_static" / "live").iterdir()}
    texts = dict(re.findall(r'data-array="(\w+)">([^<]+)<', html))
    assert len(texts) == 2 and files == {
        name: f'zscirLive.arrays["{name}"] = "{text}";\n' for name, text in texts.items()
    }
    assert context["body"] == re.sub("|".join(map(re.escape, texts.values())), "", html)


@pytest.fixture(scope="module")
def scenes():
    """Backbone, objects and maps of some drawn scenes, and their live figure."""
    clip, drawn = load_backbone("pocket"), load_pairs("pocket-tiny", limit=20)
    objects = drawn_objects(clip, drawn, range(20))
    maps = objects.maps(clip)
    return (
        clip,
        objects,
        maps,
        move_tau(clip, drawn, objects, maps, mask_quality(maps, objects.masks), tau=0.3),
    )


def chosen(objects, figure):
    """The object that the figure shows first."""
    row = max(set(objects.rows), key=lambda row: (objects.rows.count(row), -row))
    place = objects.rows.index(row)
    assert figure.settings["nouns"][0][0] == (0, objects.lemmas[place])
    return place


def test_the_curve_is_that_of_mask_quality(scenes):
    _, objects, maps, figure = scenes
    for step in (0, 27, 50, 100):
        table = mask_quality(maps, objects.masks, [step / 100])
        assert figure.settings["overlaps"][step] == pytest.approx(table["IoU"].iloc[0], abs=1e-12)


@in_browsers
@pytest.mark.parametrize("keep", ["noun", "rest"])
def test_tau_gives_the_masks_of_the_library_to_the_pixel(browser, scenes, tmp_path, keep):
    clip, objects, maps, figure = scenes
    place = chosen(objects, figure)
    with opened(browser, write_page(tmp_path, figure)) as page:
        woken(page).get_by_label("Keep").select_option(keep)
        for tau in (0, 0.27, 1):
            page.get_by_label("τ as a number").fill(str(tau))
            shows(page, ".live-numbers", f"at τ = {tau:.2f}:")
            mask = keep_mask(maps[place], tau, keep)
            shown = page.evaluate("[...document.querySelector('.zscir-live').figure.mask]")
            assert np.array_equal(np.reshape(shown, mask.shape), mask.numpy())
            numbers = {
                name: float(v[0]) for name, v in mask_measures(mask[None], objects.masks[[place]]).items()
            }
            said = f"{100 * numbers['kept']:.1f} % kept, IoU {numbers['IoU']:.2f}"
            assert said in page.inner_text(".live-numbers")
            assert page.get_attribute("input[type=range]", "aria-valuetext") == f"{tau:.2f}: {said}"
            for fill in ("mean", "black", "blur"):
                page.get_by_label("Fill").select_option(fill)
                pixels = page.evaluate(
                    "(c => [...c.getContext('2d').getImageData(0, 0, c.width, c.height).data])"
                    "(document.querySelector('[data-role=masked]'))"
                )
                picture = np.asarray(masked_picture(clip, objects.pixels[place], mask, fill))
                assert np.array_equal(np.reshape(pixels, (*mask.shape, 4))[..., :3], picture)


@in_browsers
def test_the_keyboard_alone_moves_tau(browser, scenes, tmp_path):
    _, _, _, figure = scenes
    with opened(browser, write_page(tmp_path, figure)) as page:
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        page.wait_for_selector(".live-awake")
        assert page.evaluate("document.activeElement.type") == "radio"
        assert [tab(page) for _ in range(4)] == ["SELECT select-one"] * 3 + ["INPUT range"]
        page.keyboard.press("ArrowRight")
        shows(page, ".live-numbers", "τ = 0.31:")
        page.keyboard.press("End")
        shows(page, ".live-numbers", "τ = 1.00:")
        assert tab(page) == "INPUT number"
        page.focus("input[type=radio]")
        page.keyboard.press("ArrowRight")
        shows(page, ".live-caption", figure.settings["captions"][1])


@in_browsers
@pytest.mark.parametrize("width", [400, 1400])
def test_nothing_bars_a_reader(browser, scenes, tmp_path, width):
    with opened(browser, write_page(tmp_path, scenes[3]), width) as page:
        assert barriers(page) == []
        assert barriers(woken(page)) == []
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        roles = page.evaluate("[...document.querySelectorAll('[role]')].map(one => one.getAttribute('role'))")
        assert "status" in roles and page.get_by_role("slider").count() == 1


@in_browsers
def test_without_javascript_and_on_paper_stands_the_still_figure(browser, scenes, tmp_path):
    address = write_page(tmp_path, scenes[3])
    with opened(browser, address, javascript=False) as page:
        assert page.is_visible(".live-still img") and page.query_selector("button") is None
    with opened(browser, address) as page:
        woken(page)
        assert page.is_hidden(".live-still img") and page.is_visible(".live-app")
        page.emulate_media(media="print")
        assert page.is_visible(".live-still img") and page.is_hidden(".live-app")


@in_browsers
def test_a_figure_whose_data_are_missing_says_so(browser, scenes, tmp_path):
    html = re.sub(r'(data-array="\w+">)[^<]+', r"\1", scenes[3]._repr_html_())
    (tmp_path / "page.html").write_text(f"<meta charset='utf-8'>{html}", encoding="utf-8")
    context = browser.new_context(offline=True)
    page = context.new_page()
    page.goto((tmp_path / "page.html").as_uri())
    page.click(".live-wake")
    page.wait_for_function("document.querySelector('.live-said').textContent.includes('cannot be read')")
    assert page.is_visible(".live-still img") and page.is_enabled(".live-wake")
    context.close()


@in_browsers
def test_jupyterlab_shows_the_same_figure(browser, scenes, tmp_path):
    (tmp_path / "page.html").write_text(
        "<!DOCTYPE html><meta charset='utf-8'><main></main>", encoding="utf-8"
    )
    with opened(browser, (tmp_path / "page.html").as_uri()) as page:
        # as JupyterLab puts trusted HTML into a page: scripts are cloned, then the whole is attached
        page.evaluate(
            """html => {
                const host = document.createElement("div");
                host.innerHTML = html;
                for (const script of [...host.getElementsByTagName("script")]) {
                    const clone = document.createElement("script");
                    for (const { name, value } of script.attributes) clone.setAttribute(name, value);
                    clone.textContent = script.textContent;
                    script.parentNode.replaceChild(clone, script);
                }
                document.querySelector("main").append(host);
            }""",
            scenes[3]._repr_html_(),
        )
        assert "τ = 0.30:" in woken(page).inner_text(".live-numbers")
