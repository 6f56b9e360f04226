"""The text half of masked pairs: which nouns of which captions become ``*``, and their text features."""

import json
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from zscir.backbone import Backbone
from zscir.backbone.clip import PLACEHOLDER
from zscir.nouns import Noun, choose_noun, find_nouns, mask_noun
from zscir.pairs.masking import Masking
from zscir.pairs.sources import Pairs
from zscir.regions.maps import CONTRAST_NOUNS, TEMPLATE
from zscir.storage import artifact
from zscir.storage.dealing import Dealt
from zscir.storage.shards import Columns, Layer

#: Captions a shard of the text work.
TEXT_SHARD = 16384


@dataclass(frozen=True)
class HiddenNouns:
    """Nouns that become ``*``, in the order of their pairs; M of them.

    ``key`` is what they depend on. ``rows`` [M] are their pairs, not decreasing; ``nouns`` as in the caption,
    ``lemmas``, ``captions`` with the ``*``; ``without_noun`` and ``beyond_context`` are the rows that have
    none, and that have some only behind the longest text of the backbone. ``places`` [M] are those of their
    maps in the whole layer of maps.
    """

    key: dict
    rows: list[int]
    nouns: list[str]
    lemmas: list[str]
    captions: list[str]
    without_noun: list[int]
    beyond_context: list[int]
    places: Sequence[int]

    def within(self, rows: range) -> range:
        """Which of the nouns belong to neighbouring pairs."""
        return range(bisect_left(self.rows, rows.start), bisect_left(self.rows, rows.stop))

    def only(self, places: Sequence[int], **key: object) -> "HiddenNouns":
        """Some of the nouns; ``places`` increase, ``key`` says how they were chosen."""
        names = ("rows", "nouns", "lemmas", "captions", "places")
        columns = {name: [getattr(self, name)[place] for place in places] for name in names}
        return replace(self, key={**self.key, **key}, **columns)


def hidden_nouns(
    backbone: Backbone, pairs: Pairs, masking: Masking, *, n_process: int = 1, progress: bool = False
) -> HiddenNouns:
    """The nouns that a masking hides (an artifact); of "most-visible" all that it chooses from."""
    strategy = "all" if masking.strategy == "most-visible" else masking.strategy
    key = {"backbone": backbone.fingerprint, "pairs": pairs.fingerprint, "articles": "agree"}
    key |= {"strategy": strategy, "span": masking.span}
    key |= {"seed": masking.drawn_by} if strategy == "random" else {}
    layer = Layer("nouns", key, TEXT_SHARD)
    firsts = range(0, len(pairs), TEXT_SHARD)
    with Dealt([layer], len(firsts)) as dealt:
        for index in dealt:
            captions = pairs.captions[firsts[index] : firsts[index] + TEXT_SHARD]
            found = find_nouns(captions, n_process=n_process, progress=progress)
            layer.write(index, _columns(backbone, captions, found, firsts[index], key))
    folder = layer.finish(len(firsts))
    names = ("rows", "nouns", "lemmas", "captions", "without_noun", "beyond_context")
    columns = {name: json.loads((folder / f"{name}.json").read_text("utf-8")) for name in names}
    return HiddenNouns(key, **columns, places=range(len(columns["rows"])))


def _columns(
    backbone: Backbone, captions: Sequence[str], found: Sequence[list[Noun]], first: int, key: dict
) -> Columns:
    columns: Columns = {name: [] for name in ("rows", "nouns", "lemmas", "captions")}
    columns |= {"without_noun": [], "beyond_context": []}
    for row, (caption, nouns) in enumerate(zip(captions, found, strict=True), start=first):
        usable = [noun for noun in nouns if _fits(backbone, caption, noun, key["span"])]
        if not usable:
            columns["beyond_context" if nouns else "without_noun"].append(row)
            continue
        if key["strategy"] != "all":
            rng = np.random.default_rng([key.get("seed", 0), row])
            usable = [choose_noun(usable, key["strategy"], rng)]
        for noun in usable:
            masked = mask_noun(caption, noun, key["span"])
            for name, value in zip(columns, (row, noun.text, noun.lemma, masked), strict=False):
                columns[name].append(value)
    return columns


def _fits(backbone: Backbone, caption: str, noun: Noun, span: str) -> bool:
    """Whether the tokenizer sees exactly one ``*`` in the masked caption, within the context, which holds the
    noun's own text, too."""
    masked = mask_noun(caption, noun, span).replace(PLACEHOLDER, f" {PLACEHOLDER} ")
    ids = backbone.tokenizer.encode(masked)
    room = backbone.context_length - 2
    if ids.count(backbone.placeholder_id) != 1 or backbone.placeholder_id not in ids[:room]:
        return False
    return len(backbone.tokenizer.encode(TEMPLATE.replace("{noun}", noun.lemma))) <= room


def noun_texts(backbone: Backbone, hidden: HiddenNouns) -> dict[str, Tensor]:
    """Feature [D] of the text of every lemma, and of those that a contrast needs (an artifact)."""
    words = sorted({*hidden.lemmas, *CONTRAST_NOUNS})

    def build(folder: Path) -> None:
        features = backbone.encode_texts([TEMPLATE.replace("{noun}", word) for word in words])
        np.save(folder / "features.npy", features.cpu().numpy())

    folder = artifact("noun-features", {**hidden.key, "template": TEMPLATE}, build)
    features = torch.from_numpy(np.load(folder / "features.npy")).to(backbone.device)
    return dict(zip(words, features, strict=True))
