"""What is read from pseudo-words, and why queries fail: against plain loops, and with the mistakes named."""

import math

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F

from zscir.analysis.failures import (
    REASONS,
    agree,
    equal_groups,
    first_answers,
    likeness,
    reason,
    reasons,
    recall_by_likeness,
)
from zscir.analysis.masked_references import masked_references
from zscir.analysis.probes import Probe, balanced, classifier, right, scene_probes, scene_words
from zscir.analysis.readings import (
    caption_words,
    closest,
    named_among,
    pseudo_word_features,
    word_embeddings,
    word_features,
)
from zscir.benchmarks import load_benchmark
from zscir.figures.probing import likeness_curves, reason_bars, share_dots
from zscir.figures.style import note_figure
from zscir.inversion import InversionNetwork
from zscir.pocket import make_pocket
from zscir.pocket.scenes import Object, Scene
from zscir.regions import keep_mask, mask_image, noun_cams
from zscir.retrieval.queries import pseudo_words
from zscir.retrieval.statistics import share_of


@pytest.fixture(scope="module")
def cirr():
    return load_benchmark("cirr", "pocket-tiny")


@pytest.fixture(scope="module")
def scenes():
    return make_pocket("tiny").scenes("cirr")


def rows(count, width=8, seed=0):
    return F.normalize(torch.randn(count, width, generator=torch.Generator().manual_seed(seed)), dim=-1)


def test_the_closest_are_those_of_a_plain_sort():
    queries, words = rows(5), 3 * rows(12, seed=1)
    for query, found in zip(queries, closest(queries, words, k=4), strict=True):
        cosines = [float(query @ word / word.norm()) for word in words]
        assert found.tolist() == sorted(range(12), key=lambda n: -cosines[n])[:4]
    with pytest.raises(ValueError, match="k is 13; legal: whole numbers from 1 to 12"):
        closest(queries, words, k=13)


def test_words_are_whole_tokens_and_the_frequent_ones_come_first(tiny_backbone):
    found = caption_words(tiny_backbone, ["a dog and a Dog", "a cat", "hippopotamuses"], least=1)
    assert found[0] == "dog" and "cat" in found and "hippopotamuses" not in found
    assert word_embeddings(tiny_backbone, found).shape == (len(found), tiny_backbone.token_width)
    with pytest.raises(ValueError, match="occurs 9 times in the 1 captions"):
        caption_words(tiny_backbone, ["a dog"], least=9)
    with pytest.raises(ValueError, match="'hippopotamuses' is not"):
        word_embeddings(tiny_backbone, ["dog", "hippopotamuses"])


def test_a_pseudo_word_that_is_a_word_says_that_word(tiny_backbone):
    words = ["dog", "cat", "owl", "car"]
    told = pseudo_word_features(tiny_backbone, word_embeddings(tiny_backbone, words))
    torch.testing.assert_close(told, word_features(tiny_backbone, words), atol=1e-5, rtol=0)
    assert closest(told, word_features(tiny_backbone, words), k=1)[:, 0].tolist() == [0, 1, 2, 3]


def test_pseudo_words_are_those_of_the_network(tiny_backbone):
    network = InversionNetwork(tiny_backbone.dim, tiny_backbone.token_width)
    holder = type("Holder", (), {"phi": network})
    features = rows(5, tiny_backbone.dim)
    torch.testing.assert_close(pseudo_words(holder, features), network.eval()(features).detach())


def test_rows_without_a_sayable_word_do_not_count():
    found, words = np.array([[0, 1], [1, 2], [0, 2]]), ["a", "b", "c"]
    assert named_among(found, words, [{"c"}, {"c"}, {"nowhere"}]).tolist() == [False, True]
    with pytest.raises(ValueError, match="2 entries for 3 rows"):
        named_among(found, words, [set(), set()])


def test_probes_ask_only_where_there_is_an_answer(scenes):
    probes = {one.name: one for one in scene_probes(list(scenes.values()))}
    for number, scene in enumerate(scenes.values()):
        single = len(scene.objects) == 1
        assert probes["place"].answers[number] == (scene.place,)
        assert probes["thing"].answers[number] == ((scene.objects[0].noun,) if single else ())
        coloured = single and scene.objects[0].colour
        assert probes["colour"].answers[number] == ((scene.objects[0].colour,) if coloured else ())
        assert (number in probes["two things"].asked) == (len(scene.objects) == 2)
    assert probes["style"].chance == pytest.approx(100 / 3)
    words = scene_words(next(iter(scenes.values())))
    assert words["thing"] and words["place"] and "in" not in words["place"]


def test_right_and_balanced_are_those_of_a_plain_count():
    answers = (("a",), ("a",), (), ("b",), ("c",))
    probe = Probe("letter", ("a", "b", "c"), (("x",),) * 3, answers)
    values = torch.eye(3)
    features = torch.tensor([[1.0, 0, 0], [0, 1, 0], [0, 0, 1], [0, 1, 0], [1, 0, 0]])
    hits = right(features, values, probe)
    assert hits.tolist() == [True, False, True, False]
    share = balanced(hits, probe)
    assert share.value == pytest.approx(100 * (0.5 + 1 + 0) / 3) and share.n == 4
    assert share.low <= share.value <= share.high
    both = Probe("two", ("a", "b", "c"), (("x",),) * 3, (("c", "a"), ("a", "b")))
    assert right(torch.tensor([[2.0, 0, 1], [0, 1, 2]]), values, both).tolist() == [True, False]
    assert both.chance == pytest.approx(100 / math.comb(3, 2))
    with pytest.raises(ValueError, match="2 rows for 5 pictures"):
        right(features[:2], values, probe)
    with pytest.raises(ValueError, match="'letter' is asked of 4 pictures, got 2 hits"):
        balanced(hits[:2], probe)


def test_a_classifier_is_the_mean_of_its_sentences(tiny_backbone):
    probe = Probe("thing", ("dog", "cat"), (("a dog", "one dog"), ("a cat",)), (("dog",),))
    found = classifier(tiny_backbone, probe)
    mean = F.normalize(tiny_backbone.encode_texts(["a dog", "one dog"]).mean(dim=0), dim=-1)
    torch.testing.assert_close(found[0], mean, atol=1e-5, rtol=0)


OWL, DOG = Object("owl"), Object("dog")


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (Scene("sea", (OWL,), seed=9), "shows the same as the target"),
        (Scene("farm", (OWL,), seed=9), "as the reference: change ignored"),
        (Scene("forest", (OWL,)), "rest kept, change half made or wrong"),
        (Scene("sea", (DOG,)), "change made, other things"),
        (Scene("sea", (Object("owl", "red"),)), "change made, other details"),
        (Scene("forest", (DOG,)), "neither changed nor kept"),
    ],
)
def test_each_failure_has_its_reason(answer, expected):
    assert reason(Scene("farm", (OWL,)), Scene("sea", (OWL,)), answer) == expected
    assert expected in REASONS


def test_the_first_answers_and_their_reasons_belong_to_the_queries(cirr, scenes):
    queries, gallery = rows(len(cirr.queries), seed=2), rows(len(cirr.gallery), seed=3)
    found = first_answers(cirr, queries, gallery)
    for query, feature, answer in zip(cirr.queries, queries, found, strict=True):
        scores = {name: float(feature @ one) for name, one in zip(cirr.gallery, gallery, strict=True)}
        scores.pop(query.reference)
        assert answer == max(scores, key=scores.get)
    named = reasons(cirr, scenes, found)
    hits = [answer in query.targets for query, answer in zip(cirr.queries, found, strict=True)]
    assert [one == REASONS[0] for one in named] == hits and set(named) <= set(REASONS)
    with pytest.raises(ValueError, match="says nothing of image"):
        reasons(cirr, {}, found)
    with pytest.raises(ValueError, match="0 entries for"):
        reasons(cirr, scenes, [])
    with pytest.raises(ValueError, match="aspect is 'mood'; legal: things, place, details"):
        agree("mood", Scene("sea", (OWL,)), Scene("sea", (OWL,)))


def test_recall_is_counted_in_equal_groups_of_likeness(cirr):
    references, gallery = rows(len(cirr.queries), seed=2), rows(len(cirr.gallery), seed=3)
    likes = likeness(cirr, references, gallery)
    target = gallery[cirr.row[cirr.queries[3].targets[0]]]
    assert likes[3] == pytest.approx(float(references[3] @ target), abs=1e-6)
    ranks = np.arange(len(likes)) % 20
    table = recall_by_likeness({"a": ranks}, likes, k=10, groups=4)
    assert table["n"].sum() == len(likes) and table["n"].max() - table["n"].min() <= 1
    assert table["hits"].sum() == (ranks < 10).sum() and table["likeness"].is_monotonic_increasing
    with pytest.raises(ValueError, match="count is 0; legal"):
        equal_groups(likes, 0)
    with pytest.raises(ValueError, match=r"ranks\['a'\] has 1 entries"):
        recall_by_likeness({"a": ranks[:1]}, likes)
    assert len(likeness_curves(table, "recall@10").axes[0].containers) == 1


def test_masked_references_are_masked_as_the_training_masks(
    cirr, scenes, monkeypatch, tmp_path, tiny_backbone
):
    monkeypatch.setenv("ZSCIR_ARTIFACTS", str(tmp_path))
    names = list(dict.fromkeys(query.reference for query in cirr.queries))[:3]
    nouns = {name: scenes[name].objects[0].noun for name in names}
    found = masked_references(tiny_backbone, cirr, nouns, tau=0.4)
    for row, name in enumerate(names):
        pixels = tiny_backbone.preprocess(cirr.open_image(name))[None]
        keep = keep_mask(noun_cams(tiny_backbone, pixels, [[nouns[name]]])[0], 0.4)
        expected = tiny_backbone.encode_images(mask_image(pixels, keep))
        torch.testing.assert_close(found.features[row], expected[0], atol=1e-5, rtol=0)
        assert found.kept[row] == pytest.approx(float(keep.float().mean()), abs=1e-6)
    again = masked_references(tiny_backbone, cirr, nouns, tau=0.4)
    assert torch.equal(again.features, found.features)
    with pytest.raises(ValueError, match="nouns is empty"):
        masked_references(tiny_backbone, cirr, {}, tau=0.4)


def test_figures_show_each_share_on_its_interval():
    shares = pd.DataFrame(
        [
            {
                "panel": "thing",
                "row": "a",
                "method": name,
                "chance": 10.0,
                **share_of([True, False, True])._asdict(),
            }
            for name in ("Pic2Word", "masked pairs")
        ]
    )
    axis = share_dots(shares, "%").axes[0]
    drawn = {line.get_label(): line.get_xdata()[0] for line in axis.lines if line.get_marker() in "^o"}
    assert drawn == {"Pic2Word": pytest.approx(200 / 3), "masked pairs": pytest.approx(200 / 3)}
    bars = reason_bars({"Pic2Word": ["x", "x", "y"]}, ("x", "y", "z")).axes[0].patches
    assert [round(bar.get_width(), 1) for bar in bars] == [66.7, 33.3, 0]
    assert "no labels" in note_figure("no labels").axes[0].texts[0].get_text()
    for call, message in (
        (lambda: share_of([]), "hits is empty"),
        (lambda: share_dots(shares.drop(columns="low"), "%"), "lacks the column 'low'"),
        (lambda: share_dots(shares[:0], "%"), "shares is empty"),
        (lambda: reason_bars({}, ()), "named is empty"),
        (lambda: reason_bars({"a": ["w"]}, ("x",)), "reason 'w' is not in order: x"),
    ):
        with pytest.raises(ValueError, match=message):
            call()
