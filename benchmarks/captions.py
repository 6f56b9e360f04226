"""Is the pocket world like the world? Captions of both, counted by the same rules.

    python benchmarks/captions.py --data ../shared/data --out benchmarks/results/captions.json

``--data`` holds the annotation files of CIRR and FashionIQ as published (``cirr/captions``,
``fashion-iq/captions``), which the project does not carry; no image is needed. Of CC3M only what its paper
says stands here. spaCy reads every caption, so the shares are as exact as its tagger and parser.
"""

import argparse
import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from records import today, write

from zscir import load_pairs, make_pocket
from zscir.nouns.find import find_nouns, language_model
from zscir.pocket.captions import TURNS
from zscir.storage.provenance import machine, versions

#: How many training captions are read; queries are read all.
PAIRS = 8000
WHERE = frozenset(
    """above across against along among around at before behind below beneath beside between by in inside into
    near next on onto outside over through under underneath upon within""".split()
)
NO = frozenset("no not n't nor never neither none nothing without instead".split())
#: Tokens a caption of the training set: Sharma et al. 2018, the statistics of the data set.
CC3M = {"captions": 3_318_333, "words": 10.3, "words, standard deviation": 4.5}


def statistics_of(captions: Iterable[str]) -> dict[str, float]:
    """Means a caption and shares (0 to 1) of captions, rounded to three places.

    A place is a preposition of place with a noun behind it, a count any number word but *one*, a negation one
    of `NO`; what is worded like a wish has one of `TURNS`. Nouns are those that can be masked.
    """
    captions = list(captions)
    nouns = sum(map(len, find_nouns(captions)))
    words, squares, adjectives = 0, 0, 0
    shares = dict.fromkeys(("place", "count", "negation"), 0)
    for doc in language_model().pipe(captions):
        own = [token for token in doc if not (token.is_punct or token.is_space)]
        words, squares = words + len(own), squares + len(own) ** 2
        adjectives += sum(token.pos_ == "ADJ" for token in own)
        shares["place"] += any(t.lower_ in WHERE and any(c.dep_ == "pobj" for c in t.children) for t in own)
        shares["count"] += any(t.pos_ == "NUM" and t.lower_ != "one" for t in own)
        shares["negation"] += any(t.lower_ in NO for t in own)
    mean = words / len(captions)
    found = {"words": mean, "words, standard deviation": (squares / len(captions) - mean**2) ** 0.5}
    found |= {"nouns": nouns / len(captions), "adjectives a noun": adjectives / nouns}
    found |= {f"share with a {name}": count / len(captions) for name, count in shares.items()}
    found["share worded like a wish"] = sum(bool(TURNS.search(one)) for one in captions) / len(captions)
    return {"captions": len(captions)} | {name: round(value, 3) for name, value in found.items()}


def captions_of(cirr: Path, fashioniq: Path) -> dict[str, list[str]]:
    """Relative captions of two benchmarks in their official layouts, split val."""
    entries = json.loads((cirr / "captions" / "cap.rc2.val.json").read_text("utf-8"))
    garments = [
        entry
        for path in sorted((fashioniq / "captions").glob("cap.*.val.json"))
        for entry in json.loads(path.read_text("utf-8"))
    ]
    said = [caption for entry in garments for caption in entry["captions"]]
    return {"CIRR": [entry["caption"] for entry in entries], "FashionIQ": said}


def main() -> None:
    """Count, print, write the record."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="folder with cirr and fashion-iq")
    parser.add_argument("--out", type=Path, help="of the record")
    args = parser.parse_args()
    pocket = make_pocket("small")
    groups: Mapping[str, Iterable[str]] = {
        "pocket pairs": load_pairs("pocket-small", PAIRS).captions,
        "pocket pairs, plain": load_pairs("pocket-small-0relative", PAIRS).captions,
        **{
            f"pocket {name}": own
            for name, own in captions_of(pocket.root("cirr") / "cirr", pocket.root("fashioniq")).items()
        },
        **{
            f"real {name}": own
            for name, own in captions_of(args.data / "cirr", args.data / "fashion-iq").items()
        },
    }
    record = {"date": today(), "machine": machine(), "versions": versions()}
    counted = {name: statistics_of(own) for name, own in groups.items()}
    write(record | {"captions": counted | {"CC3M, as published": CC3M}}, args.out)


if __name__ == "__main__":
    main()
