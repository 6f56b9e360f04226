"""Conclusions are written by people: here is what each rests on.

Where a test fails, the result has changed: rewrite what the chapter concludes, texts of figures included, and
then the line here. Looked at are the record (``benchmarks/chapters.py`` makes it) and, where this checkout
has been built, its chapters.
"""

import json
import re

import pytest

from zscir.analysis.failures import REASONS
from zscir.book.record import chapter_records, recorded_values
from zscir.storage.paths import REPO

RECORD = json.loads((REPO / "benchmarks" / "results" / "chapters.json").read_text("utf-8"))
BUILT = REPO / "book" / "notebooks"
RISING = ("image", "text", "image + text", "masked pairs", "Pic2Word", "slerp", "target's caption")
GARMENTS = ("dress", "shirt", "toptee")
NETWORKS = ("Pic2Word", "masked pairs")
BARE = ("image", "text", "slerp")
METHODS = ("image + text", *NETWORKS)
READ = ("by embedding", "through the tower")
FOUR = ("CIRCO", "GeneCIS", "composition", "domains")
TASKS = ("change_attribute", "change_object")
PROBES = ("thing", "two things", "place", "colour", "count", "style")


def below(v: dict, name: str) -> bool:
    """A difference is negative, and its interval does not hold zero."""
    return v[f"{name} difference"] <= v[f"{name} high"] < 0


def above(v: dict, name: str) -> bool:
    """A difference is positive, and its interval does not hold zero."""
    return 0 < v[f"{name} low"] <= v[f"{name} difference"]


def open_(v: dict, name: str) -> bool:
    """The interval of a difference holds zero."""
    return v[f"{name} low"] <= 0 <= v[f"{name} high"]


def apart(v: dict, less: str, more: str) -> bool:
    """Two values differ by more than their intervals."""
    return v[f"{less} high"] < v[f"{more} low"]


def most_frequent(v: dict, method: str) -> list[str]:
    """The failures of a method, the most frequent first."""
    return sorted(REASONS[1:], key=lambda reason: -v[f"{reason}, {method}"])


def likeness(v: dict, method: str) -> float:
    """Points of recall that a method gains where reference and target are alike."""
    return v[f"{method}, most alike"] - v[f"{method}, least alike"]


#: Chapter -> what it says, and what makes it true.
SAID = {
    "06_fashioniq": {
        "masked pairs lose, in both measures": lambda v: (
            below(v, "gain recall@10") and below(v, "gain recall@50")
        ),
        "in each category": lambda v: all(v[f"gain {name}"] < 0 for name in GARMENTS),
        "slerp: undecided in Recall@10": lambda v: open_(v, "slerp recall@10"),
        "slerp: ahead in Recall@50": lambda v: above(v, "slerp recall@50"),
        "Recall@50 is near its ceiling": lambda v: v["recall@50 text"] > 90 > v["recall@10 text"] + 10,
        "protocols move it more than methods": lambda v: v["spread less gain"] > 0,
        "from the image to the ceiling": lambda v: (
            sorted(RISING, key=lambda name: v[f"recall@10 {name}"]) == list(RISING)
        ),
        "the union is easier": lambda v: v["union"] > 0,
        "another joining and prompt are worth something": lambda v: v["LinCIR less Pic2Word"] > 0.05,
        "padding is worth nothing": lambda v: abs(v["SEARLE less LinCIR"]) < 0.05,
    },
    "08_pseudo_word": {
        "the thing is named more often through the tower": lambda v: all(
            v[f"thing through the tower {name}"] > v[f"thing by embedding {name}"] for name in NETWORKS
        ),
        "the place by embedding": lambda v: all(
            v[f"place by embedding {name}"] > v[f"place through the tower {name}"] for name in NETWORKS
        ),
        "a colour hardly ever": lambda v: all(
            v[f"colour {how} {name}"] < 5 for how in READ for name in NETWORKS
        ),
        "the style suffers most": lambda v: all(
            v["style image value"] - v["style masked pairs value"]
            >= v[f"{one} image value"] - v[f"{one} masked pairs value"]
            for one in PROBES
        ),
        "but for the count the image is ahead": lambda v: all(
            (v[f"{one} image value"] > v[f"{one} {name} value"]) == (one != "count")
            for one in PROBES
            for name in NETWORKS
        ),
        "Pic2Word is ahead in all but the style": lambda v: all(
            (v[f"{one} Pic2Word value"] > v[f"{one} masked pairs value"]) == (one != "style")
            for one in PROBES
        ),
        "in thing and place by more than the intervals": lambda v: all(
            apart(v, f"{one} masked pairs", f"{one} Pic2Word") for one in ("thing", "place")
        ),
        "the place is still read almost always": lambda v: v["place masked pairs value"] > 85,
        "the mask takes the place": lambda v: all(
            v[f"{name}, masked: place value"] < 10 for name in NETWORKS
        ),
        "and the second thing": lambda v: all(
            apart(v, f"{name}, masked: two things", f"{name}, whole: two things") for name in NETWORKS
        ),
        "the style is read better": lambda v: all(
            apart(v, f"{name}, whole: style", f"{name}, masked: style") for name in NETWORKS
        ),
        "masked pairs tell a masked thing better, not apart": lambda v: (
            v["masked pairs, masked: thing value"] > v["masked pairs, whole: thing value"]
            and not apart(v, "masked pairs, whole: thing", "masked pairs, masked: thing")
        ),
        "Pic2Word tells it worse": lambda v: apart(v, "Pic2Word, masked: thing", "Pic2Word, whole: thing"),
        "masked references find less, also where the place changes": lambda v: all(
            below(v, f"{name} recall@1{what}") for name in NETWORKS for what in ("", ", place changes")
        ),
        "most answers are the target": lambda v: all(
            v[f"the target, {name}"] > v[f"{most_frequent(v, name)[0]}, {name}"] for name in METHODS
        ),
        "networks neither change nor keep, or change half": lambda v: all(
            most_frequent(v, name)[:2] == [REASONS[7], REASONS[3]] for name in NETWORKS
        ),
        "the sum clings to the reference": lambda v: (
            most_frequent(v, "image + text")[:3] == [REASONS[3], REASONS[7], REASONS[2]]
        ),
        "networks hardly ignore the change": lambda v: all(
            v[f"{REASONS[2]}, {name}"] < 4 for name in NETWORKS
        ),
        "the sum lives on likeness, masked pairs more than Pic2Word": lambda v: (
            likeness(v, "image + text") > 30 > 20 > likeness(v, "masked pairs") > likeness(v, "Pic2Word")
        ),
        "least alike: sum, masked pairs, Pic2Word": lambda v: (
            v["image + text, least alike"] + 20 < v["masked pairs, least alike"] < v["Pic2Word, least alike"]
        ),
        "most alike: the sum": lambda v: all(
            v["image + text, most alike"] > v[f"{name}, most alike"] for name in NETWORKS
        ),
    },
    "09_beyond": {
        "masked pairs lose to Pic2Word on three": lambda v: all(
            below(v, name) for name in ("CIRCO", "GeneCIS", "composition", "composition recall@1")
        ),
        "level on domains": lambda v: open_(v, "domains"),
        "the sum is first on CIRCO, undecided": lambda v: (
            open_(v, "CIRCO sum") and v["CIRCO sum difference"] > 0
        ),
        "in longer lists it is ahead": lambda v: all(v[f"CIRCO sum, map@{k} low"] > 0 for k in (10, 25)),
        "Pic2Word is above the sum on domains": lambda v: above(v, "domains sum"),
        "four winners, none of them masked pairs": lambda v: (
            [v[f"{name} best"] for name in FOUR] == ["image + text", "slerp", "text", "Pic2Word"]
        ),
        "networks gain where something is to change": lambda v: all(
            v[f"{task}, {name}"] > v[f"{task}, {one}"] + 30
            for task in TASKS
            for name in NETWORKS
            for one in ("image", "text")
        ),
        "text is best where an object is in focus": lambda v: (
            max((*METHODS, *BARE), key=lambda name: v[f"focus_object, {name}"]) == "text"
        ),
        "Pic2Word is first where an attribute is to change": lambda v: (
            max((*METHODS, *BARE), key=lambda name: v[f"change_attribute, {name}"]) == "Pic2Word"
        ),
        "sum and slerp where an object is": lambda v: all(
            v[f"change_object, {one}"] > max(90, v[f"change_object, {name}"] + 10)
            for one in ("image + text", "slerp")
            for name in NETWORKS
        ),
        "nothing is above chance where an attribute is": lambda v: all(
            v[f"focus_attribute, {name}"] <= v["chance"] for name in (*METHODS, *BARE)
        ),
    },
}
CASES = [(chapter, said) for chapter, of in SAID.items() for said in of]


def values(chapter: str) -> list[dict]:
    """What was found, as recorded and as built."""
    found = [RECORD["values"][chapter]]
    built = BUILT / f"{chapter}.ipynb"
    if built.is_file():
        (record,) = (one for one in chapter_records(BUILT) if one["chapter"] == chapter)
        found += [] if record["changed"] else [recorded_values(built)]
    return found


@pytest.mark.parametrize(("chapter", "said"), CASES, ids=[f"{chapter}: {said}" for chapter, said in CASES])
def test_the_chapter_says_what_was_found(chapter, said):
    for found in values(chapter):
        assert SAID[chapter][said](found)


@pytest.mark.parametrize("chapter", SAID)
def test_the_record_is_of_the_chapter_as_it_is(chapter):
    """Every value that the prose shows was recorded: else record again."""
    text = (REPO / "notebooks" / f"{chapter}.ipynb").read_text("utf-8")
    shown = {
        re.sub(r":[^:`]*$", "", name) for name in re.findall(r"\{glue:text\}`(?!notebooks/)([^`]+)`", text)
    }
    assert shown - {"run-time"} <= set(RECORD["values"][chapter])
