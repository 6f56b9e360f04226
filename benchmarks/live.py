"""What the live figures of the pages weigh, how fast they wake and answer, and if they agree with Python.

    python benchmarks/live.py --out benchmarks/results/live.json

Chapters 1, 3, 5, 7 and 8 show the figures. Here they are made anew, put on a page, and opened from its folder
in a Chromium that has no network. Bytes are those that the built book stores for them; an array that several
figures use is stored, and counted, once. A query is the work of all methods of "ask": a text, two composed
prompts, six rankings of the gallery. Agreement is over all queries: the least cosine between the page's
feature and Python's, and how many lists of ten answers differ; where one does, the largest difference of the
two cosines at its first difference stands below.
"""

from __future__ import annotations

import argparse
import re
import statistics
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from records import today, write

from zscir import TrainConfig, fit, load_backbone, load_benchmark, load_pairs, make_pocket, retrieve
from zscir.analysis.ablation_tables import recorded
from zscir.analysis.drawn_objects import drawn_objects
from zscir.analysis.mask_quality import mask_quality
from zscir.analysis.probes import scene_probes
from zscir.book.browser import chromium
from zscir.figures.live import LiveFigure, ask, move_tau
from zscir.figures.live.lookups import look_around, which_word
from zscir.figures.style import note_figure
from zscir.retrieval import gallery_features, query_features
from zscir.storage.provenance import machine, versions

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

FIGURE = "document.querySelector('.zscir-live').figure"
METHODS = {"image": "image", "text": "text", "image + text": "image+text", "slerp": "slerp"}
#: Milliseconds of some queries, each of its own words: all methods, and the text alone.
TIMES = f"""count => {{
  const {{ engine, settings }} = {FIGURE}, step = Math.max(1, Math.floor(settings.queries.length / count));
  const timed = work => {{ const start = performance.now(); work(); return performance.now() - start; }};
  return [...Array(count).keys()].map(number => {{
    const [reference, caption, target] = settings.queries[number * step % settings.queries.length];
    const all = () => engine.answer(reference, caption, {{ target }});
    return [timed(all), timed(() => engine.tower.encode(caption))];
  }});
}}"""
FOUND = f"""([first, last]) => {{
  const {{ engine, settings }} = {FIGURE};
  return settings.queries.slice(first, last).map(([reference, caption]) => {{
    const features = engine.features(reference, caption, settings.weight);
    return engine.answer(reference, caption, {{ k: 10 }}).map(({{ name, rows, scores }}) =>
      [name, rows.map(row => settings.ids[row]), rows.map(row => scores[row]), [...features[name]]]);
  }});
}}"""


@contextmanager
def awake(browser: Browser, figure: LiveFigure) -> Iterator[Page]:
    """A page with the figure, woken."""
    with tempfile.TemporaryDirectory(prefix="zscir-live-") as folder:
        path = Path(folder, "page.html")
        path.write_text(f"<!DOCTYPE html><meta charset='utf-8'>{figure._repr_html_()}", encoding="utf-8")
        page = browser.new_context(offline=True).new_page()
        page.set_default_timeout(600_000)
        page.goto(path.as_uri())
        page.click(".live-wake")
        page.wait_for_function(f"{FIGURE}?.awakeAfter")
        yield page
        page.context.close()


def weights(figures: dict[str, LiveFigure]) -> dict[str, dict[str, int]]:
    """Bytes: of each figure's arrays as the pages store them, each array once, and of its code and style."""
    found, stored = {}, set()
    for name, figure in figures.items():
        html = figure._repr_html_()
        texts = dict(re.findall(r'data-array="(\w+)">([^<]+)<', html))
        found[name] = {"arrays": sum(len(text) for one, text in texts.items() if one not in stored)}
        found[name]["page"] = len(html) - sum(map(len, texts.values()))
        stored |= set(texts)
    return found


def waking(browser: Browser, figure: LiveFigure, repeats: int) -> list[float]:
    """Milliseconds from the press of the button to the live figure, each in a new page."""
    taken = []
    for _ in range(repeats):
        with awake(browser, figure) as page:
            taken.append(round(page.evaluate(f"{FIGURE}.awakeAfter"), 1))
    return taken


def agreement(page: Page, benchmark, features: dict, gallery: torch.Tensor) -> dict:
    """The page's features and first ten answers against Python's, over all queries."""
    cosines, differ, gaps = dict.fromkeys(features, 1.0), dict.fromkeys(features, 0), [0.0]
    for first in range(0, len(benchmark.queries), 50):
        for number, found in enumerate(page.evaluate(FOUND, [first, first + 50]), start=first):
            for name, ids, scores, feature in found:
                own = features[name][number].double()
                cosine = float(torch.tensor(feature, dtype=torch.float64) @ own / own.norm())
                cosines[name] = min(cosines[name], cosine)
                best = retrieve(benchmark, features[name], gallery, number, k=10)
                places = [place for place in range(len(ids)) if ids[place] != best.ids[place]]
                differ[name] += bool(places)
                gaps += [abs(float(best.scores[place]) - scores[place]) for place in places[:1]]
    return {
        "least cosine": cosines,
        "lists that differ": differ,
        "largest difference of cosines there": max(gaps),
    }


def measure(world: str, steps: int, batch: int, repeats: int) -> dict:
    """Make the figures and measure them; the record."""
    pocket, clip = f"pocket-{world}", load_backbone("pocket")
    drawn, cirr = load_pairs(pocket, limit=600), load_benchmark("cirr", pocket)
    objects = drawn_objects(clip, drawn, range(min(150, len(drawn) // 4)))
    maps = objects.maps(clip)
    settings = {"pairs": pocket, "limit": 8000, "pretrained": "", "steps": steps, "batch": batch}
    paper = TrainConfig(tau=0.3, lam=0.5, **settings)
    networks = {"Pic2Word": fit(paper.as_preset("pic2word")), "masked pairs": fit(paper)}
    gallery, captions = gallery_features(clip, cirr), load_pairs(pocket, limit=8000).captions
    seen, scenes = make_pocket(world).captions("cirr"), make_pocket(world).scenes("cirr")
    still = note_figure("still")
    things = {name: [thing.noun for thing in scenes[name].objects] for name in cirr.gallery[:24]}
    probe = next(one for one in scene_probes([scenes[name] for name in cirr.gallery]) if one.name == "thing")
    figures = {
        "move tau": move_tau(clip, drawn, objects, maps, mask_quality(maps, objects.masks), 0.3),
        "ask": ask(clip, cirr, gallery, captions, still, 0, seen, networks, weight=0.7),
        "ask, in small": ask(clip, cirr, gallery, captions, still, 0, seen),
        "which word": which_word(clip, cirr, networks, things, probe, 0.3, seen=seen),
        "look around": look_around(*recorded()),
    }
    features = {name: query_features(clip, cirr, kind, weight=0.7) for name, kind in METHODS.items()}
    features |= {name: query_features(clip, cirr, "inversion", one) for name, one in networks.items()}
    with chromium() as browser:
        wakes = {name: waking(browser, figure, repeats) for name, figure in figures.items()}
        with awake(browser, figures["ask"]) as page:
            answers, texts = zip(*page.evaluate(TIMES, 50), strict=True)
            agreed = agreement(page, cirr, features, gallery)
        said = browser.version
    return {
        "date": today(),
        "machine": machine(),
        "versions": versions(("torch", "open_clip_torch")) | {"Chromium": said},
        "world": world,
        "queries": len(cirr.queries),
        "gallery": len(cirr.gallery),
        "bytes": weights(figures),
        "milliseconds to wake": wakes,
        "milliseconds a query, median of 50": {
            "all methods": round(statistics.median(answers), 1),
            "one text": round(statistics.median(texts), 1),
        },
        "agreement": agreed,
    }


def main() -> None:
    """Measure, print and store."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--world", default="small", help="tiny, small or large")
    parser.add_argument("--steps", type=int, default=500, help="training steps of the two networks")
    parser.add_argument("--batch", type=int, default=128, help="their batch")
    parser.add_argument("--repeats", type=int, default=5, help="how often each figure is woken")
    parser.add_argument("--out", type=Path, help="JSON file to write")
    args = parser.parse_args()
    try:
        record = measure(args.world, args.steps, args.batch, args.repeats)
    except FileNotFoundError as error:
        sys.exit(f"live: {error}")
    write(record, args.out)


if __name__ == "__main__":
    main()
