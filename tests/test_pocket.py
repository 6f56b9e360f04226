"""The pocket world: same seed, same world; true captions; queries that ask for unseen combinations."""

import dataclasses
import hashlib
import json
import os
import subprocess
import sys

import numpy as np
import pytest

from zscir.pairs import load_pairs
from zscir.pocket import SIZES, captions, drawing, make_pocket, relative, sets
from zscir.pocket.layouts import pair, source_fingerprint
from zscir.pocket.scenes import Object, Scene, held_out, held_out_garment, render, training_scene
from zscir.pocket.vocabulary import COLOURS, PATTERNS, PLACES, SCENE_NOUNS, THINGS
from zscir.storage.paths import REPO


def digest(*parts: bytes | str) -> str:
    return hashlib.sha256(b"".join(p.encode() if isinstance(p, str) else p for p in parts)).hexdigest()[:16]


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    return make_pocket("tiny", root=tmp_path_factory.mktemp("pocket"))


def cirr(pocket, split="val"):
    return json.loads((pocket.root("cirr") / "cirr" / "captions" / f"cap.rc2.{split}.json").read_text())


def test_world_is_as_large_as_it_says():
    assert len(SCENE_NOUNS) >= 100 and len(PLACES) >= 10 and SIZES["small"]["pairs"] >= 20_000
    assert set(captions.WHERE) == set(captions.BACKGROUND) == set(PLACES)


def test_scenes_and_captions_are_pinned():
    told = [f"{scene.to_json()}|{text}" for scene, text in (pair(i, 0) for i in range(40))]
    assert digest(*told) == "a3bac6a69ab0ec6e"


def test_pixels_are_pinned():
    pictures = [render(pair(i, 0)[0]) for i in range(12)]
    assert digest(*(np.asarray(p).tobytes() for p, _ in pictures)) == "8e21e2624d48c5a2"
    assert digest(*(labels.tobytes() for _, labels in pictures)) == "088fb9ce005de5ae"


def test_queries_are_pinned(tiny):
    texts = [q["caption"] for q in cirr(tiny)]
    assert digest(*texts) == "d967f49f6f478160"


def test_two_worlds_of_one_seed_are_the_same_files(tiny, tmp_path):
    again = make_pocket("tiny", root=tmp_path)
    for name in ("cirr", "fashioniq", "circo"):
        files = sorted(p.relative_to(tiny.root(name)) for p in tiny.root(name).rglob("*") if p.is_file())
        assert files
        for file in files:
            assert (tiny.root(name) / file).read_bytes() == (again.root(name) / file).read_bytes(), file
    assert tiny.pairs["caption"][:] == again.pairs["caption"][:]


def test_the_world_has_one_name_in_every_locale():
    code = "from zscir.pocket.layouts import source_fingerprint; print(source_fingerprint())"
    plain = os.environ | {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    said = subprocess.run([sys.executable, "-c", code], env=plain, capture_output=True, text=True, cwd=REPO)
    assert said.stdout.strip() == source_fingerprint(), said.stderr


def test_another_seed_is_another_world(tiny, tmp_path):
    other = make_pocket("tiny", seed=1, root=tmp_path)
    assert [q["caption"] for q in cirr(other)] != [q["caption"] for q in cirr(tiny)]


def test_unknown_size_and_benchmark_are_named(tiny):
    with pytest.raises(ValueError, match="size is 'huge'.*tiny.*small.*large"):
        make_pocket("huge")
    with pytest.raises(ValueError, match="benchmark is 'coco'.*cirr.*fashioniq.*circo"):
        tiny.root("coco")


def test_pairs_keep_scene_and_true_masks(tiny):
    rows = tiny.pairs
    assert len(rows) == SIZES["tiny"]["pairs"]
    for row in rows.select(range(40)):
        scene, labels = Scene.from_json(row["scene"]), np.asarray(row["labels"])
        assert row["image"].size == (labels.shape[1], labels.shape[0]) == (128, 128)
        assert labels.max() <= len(scene.objects)
        # the nearest thing is never hidden
        assert set(np.unique(labels)) - {0}


def test_every_label_is_where_its_thing_was_drawn():
    scene = Scene("studio", (Object("apple", "green"), Object("chair", "blue")), relation="beside", seed=3)
    picture, labels = render(scene)
    pixels = np.asarray(picture).astype(int)
    apple, chair = pixels[labels == 1], pixels[labels == 2]
    assert (apple[:, 1] > apple[:, 2] + 20).mean() > 0.4 > (chair[:, 1] > chair[:, 2] + 20).mean()
    assert (chair[:, 2] > chair[:, 0] + 20).mean() > 0.4


def test_training_never_shows_a_held_out_combination():
    for index in range(400):
        scene = training_scene(index, 0, 101)
        if scene.is_fashion:
            assert not held_out_garment(scene.objects[0])
        else:
            assert not any(held_out(thing.noun, scene.place) for thing in scene.objects)
            assert sum(thing.count for thing in scene.objects) <= 4


def test_targets_show_held_out_combinations(tiny):
    scenes = tiny.scenes("cirr")
    for query in cirr(tiny):
        target = scenes[query["target_hard"]]
        assert held_out(target.objects[0].noun, target.place)
    garments = tiny.scenes("fashioniq")
    for query in json.loads((tiny.root("fashioniq") / "captions" / "cap.dress.val.json").read_text()):
        assert held_out_garment(garments[query["target"]].objects[0])
        assert query["target"] != query["candidate"]


def test_every_query_has_its_hard_negatives(tiny):
    scenes = tiny.scenes("cirr")
    for query in cirr(tiny):
        members = query["img_set"]["members"]
        assert len(set(members)) == 6 and {query["reference"], query["target_hard"]} <= set(members)
        target = scenes[query["target_hard"]]
        others = [scenes[m] for m in members if m != query["target_hard"]]
        noun, place = target.objects[0].noun, target.place
        assert any(s.objects[0].noun == noun and s.place != place for s in others)
        assert any(s.objects[0].noun != noun and s.place == place for s in others)


def test_test_split_has_no_targets(tiny):
    assert all("target_hard" not in q and "target_rank" not in q["img_set"] for q in cirr(tiny, "test1"))


def test_circo_has_several_answers(tiny):
    queries = json.loads((tiny.root("circo") / "annotations" / "val.json").read_text())
    scenes = tiny.scenes("circo")
    for query in queries:
        shown = {(scenes[str(i)].objects[0].noun, scenes[str(i)].place) for i in query["gt_img_ids"]}
        assert len(query["gt_img_ids"]) >= 2 and len(shown) == 1
        assert query["reference_img_id"] not in query["gt_img_ids"]


BASE = Scene("beach", (Object("dog"),), seed=1)


@pytest.mark.parametrize(
    ("target", "kind", "words"),
    [
        (dataclasses.replace(BASE, place="kitchen"), "place", ("kitchen",)),
        (dataclasses.replace(BASE, objects=(Object("cat"),)), "object", ("cat", "kitten")),
        (dataclasses.replace(BASE, objects=(Object("dog", "red"),)), "colour", ("red",)),
        (dataclasses.replace(BASE, objects=(Object("dog", None, "dots"),)), "pattern", PATTERNS["dots"]),
        (
            dataclasses.replace(BASE, objects=(Object("dog", size="large"),)),
            "comparison",
            ("bigger", "larger"),
        ),
        (dataclasses.replace(BASE, objects=(Object("dog", count=2),)), "count", ("two", "second")),
        (dataclasses.replace(BASE, objects=(Object("dog"), Object("tree"))), "addition", ("tree",)),
        (dataclasses.replace(BASE, style="sketch"), "style", ("drawing", "sketch")),
        (dataclasses.replace(BASE, light="night"), "light", ("night", "dark")),
    ],
)
def test_relative_captions_say_what_changed(target, kind, words):
    for seed in range(60):
        text, found = relative.relative_caption(BASE, target, np.random.default_rng(seed))
        assert found == kind
        assert any(word in text for word in words), text


def test_removal_is_a_negation():
    reference = dataclasses.replace(BASE, objects=(Object("dog"), Object("tree")), relation="beside")
    texts = {relative.relative_caption(reference, BASE, np.random.default_rng(s))[0] for s in range(40)}
    assert all("tree" in text and ("no " in text or "without" in text or "remove" in text) for text in texts)
    assert len(texts) >= 4


def test_nothing_to_say_is_an_error():
    with pytest.raises(ValueError, match="nothing to say"):
        relative.relative_caption(BASE, dataclasses.replace(BASE, seed=9), np.random.default_rng(0))


def test_full_captions_name_everything():
    rng = np.random.default_rng(0)
    for index in range(200):
        scene = training_scene(index, 3, 101)
        if scene.is_fashion:
            continue
        text = captions.caption(scene, rng, full=True)
        for thing in scene.objects:
            names = [*THINGS[thing.noun].names, THINGS[thing.noun].plural]
            assert any(name in text or captions._plural(name) in text for name in names), text
            assert not thing.colour or thing.colour in text
        assert any(
            phrase in text for phrase in captions.WHERE[scene.place] + captions.BACKGROUND[scene.place]
        )


def test_partial_captions_name_only_what_is_shown_or_denied():
    """A noun that is not in the picture appears in a caption only after a word of contrast."""
    rng = np.random.default_rng(1)
    contrast = ("instead of", "not ", "no ", "without", "replace", "in place of", "change")
    for index in range(300):
        scene = training_scene(index, 4, 101)
        if scene.is_fashion:
            continue
        text = f" {captions.caption(scene, rng)} "
        shown = {o.noun for o in scene.objects}
        clash = [
            n for n in ("dog", "piano", "cheese", "umbrella", "castle") if n not in shown and f" {n} " in text
        ]
        assert not clash or any(word in text for word in contrast), text


def test_captions_are_worded_like_relative_ones_as_often_as_asked():
    scenes = [training_scene(index, 5, 101) for index in range(600)]
    for asked, (least, most) in {100: (0.3, 0.4), 50: (0.13, 0.22), 0: (0, 0)}.items():
        rng = np.random.default_rng(2)
        said = [captions.caption(scene, rng, index % 3 == 0, asked) for index, scene in enumerate(scenes)]
        share = sum(bool(captions.TURNS.search(text)) for text in said) / len(said)
        assert least <= share <= most, asked
    for text in (
        "a dog instead of a cat",
        "is on the beach",
        "a cat and no tree",
        "a bigger dog",
        "add a dog",
    ):
        assert captions.TURNS.search(text), text
    for text in ("a big dog on the beach", "a dress without sleeves", "there is a dog", "a snowy landscape"):
        assert not captions.TURNS.search(text), text


def test_a_world_of_plain_captions_has_the_same_pictures():
    usual, plain = load_pairs("pocket-tiny"), load_pairs("pocket-tiny-0relative")
    assert usual.scenes == plain.scenes and usual.fingerprint != plain.fingerprint
    assert np.array_equal(np.asarray(usual.images.read(3)), np.asarray(plain.images.read(3)))
    assert any(map(captions.TURNS.search, usual.captions)) and not any(
        map(captions.TURNS.search, plain.captions)
    )
    with pytest.raises(ValueError, match="relative is 101; legal: a whole number from 0 to 100"):
        make_pocket("tiny", relative=101)
    for name in ("pocket-tiny-101relative", "pocket-tiny-relative"):
        with pytest.raises(ValueError, match=f"pairs is '{name}'; legal: pocket-tiny.small.large, the same"):
            load_pairs(name)


@pytest.mark.parametrize("colour", COLOURS)
def test_recolouring_changes_the_fills(colour):
    plain, painted = (np.asarray(drawing.sprite("car", c)) for c in (None, colour))
    assert plain.shape == painted.shape and (plain != painted).any()
    assert (plain[..., 3] == painted[..., 3]).all()


def test_unknown_words_are_named():
    with pytest.raises(ValueError, match="colour is 'mauve'"):
        drawing.thing_svg("dog", "mauve")
    with pytest.raises(ValueError, match="pattern is 'zigzag'"):
        drawing.thing_svg("dog", None, "zigzag")
    with pytest.raises(ValueError, match="length is 'maxi'"):
        drawing.thing_svg("dress", length="maxi")
    with pytest.raises(ValueError, match="sleeves is 'puffed'"):
        drawing.thing_svg("shirt", sleeves="puffed")
    with pytest.raises(ValueError, match="moon"):
        drawing.background_svg("moon", 0)


def test_sets_come_from_their_seed_alone():
    first, again = (sets.six(np.random.default_rng(11)) for _ in range(2))
    assert first == again and first != sets.six(np.random.default_rng(12))
