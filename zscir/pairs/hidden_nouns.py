"""The text half of masked pairs: which nouns of which captions become ``*``, and their text features."""

from __future__ import annotations

import json
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from zscir.backbone import Backbone
from zscir.backbone.clip import PLACEHOLDER
from zscir.nouns import Noun, choose_noun, find_nouns, mask_noun
from zscir.pairs.sources import Pairs
from zscir.regions.maps import CONTRAST_NOUNS, TEMPLATE
from zscir.storage import artifact
from zscir.storage.locks import lock
from zscir.storage.shards import Columns, Layer

#: Captions a shard of the text work.
TEXT_SHARD = 16384


@dataclass(frozen=True)
class HiddenNouns:
    """Nouns that become ``*``, in the order of their pairs; M of them.

    ``rows`` [M] are their pairs, not decreasing; ``nouns`` as in the caption, ``lemmas``, ``captions`` with
    the ``*``; ``without_noun`` and ``beyond_context`` are the rows that have none, and that have some only
    behind the longest text of the backbone.
    """

    rows: list[int]
    nouns: list[str]
    lemmas: list[str]
    captions: list[str]
    without_noun: list[int]
    beyond_context: list[int]

    @classmethod
    def of(cls, folder: Path) -> HiddenNouns:
        """From a whole ``nouns`` artifact."""
        names = ("rows", "nouns", "lemmas", "captions", "without_noun", "beyond_context")
        return cls(*(json.loads((folder / f"{name}.json").read_text("utf-8")) for name in names))

    def within(self, rows: range) -> range:
        """Which of the nouns belong to neighbouring pairs."""
        return range(bisect_left(self.rows, rows.start), bisect_left(self.rows, rows.stop))

    @cached_property
    def different(self) -> list[str]:
        """Each lemma once, sorted."""
        return sorted(set(self.lemmas))


def nouns_key(backbone: Backbone, pairs: Pairs, strategy: str, span: str, seed: int) -> dict:
    """What the hidden nouns depend on; the seed only where they are drawn."""
    key = {"backbone": backbone.fingerprint, "pairs": pairs.fingerprint, "articles": "agree"}
    key |= {"strategy": strategy, "span": span}
    return key | ({"seed": seed} if strategy == "random" else {})


def hidden_nouns(backbone: Backbone, pairs: Pairs, key: dict, *, n_process: int, progress: bool) -> Path:
    """Folder of the ``nouns`` artifact that ``key`` describes (`nouns_key`): strategy ("all" or one of
    ``zscir.nouns.find.STRATEGIES`` but "most-visible"), span and seed."""
    layer = Layer("nouns", key, TEXT_SHARD)
    if layer.is_whole:
        return layer.folder
    firsts = range(0, len(pairs), TEXT_SHARD)
    with lock(layer.parts):
        for index, first in enumerate(firsts):
            if not layer.has(index):
                captions = pairs.captions[first : first + TEXT_SHARD]
                found = find_nouns(captions, n_process=n_process, progress=progress)
                layer.write(index, _columns(backbone, captions, found, first, key))
        return layer.finish(len(firsts))


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


def noun_texts(backbone: Backbone, hidden: HiddenNouns, key: dict) -> dict[str, Tensor]:
    """Feature [D] of the text of every lemma, and of those that a contrast needs (an artifact)."""
    words = sorted({*hidden.different, *CONTRAST_NOUNS})

    def build(folder: Path) -> None:
        features = backbone.encode_texts([TEMPLATE.replace("{noun}", word) for word in words])
        np.save(folder / "features.npy", features.cpu().numpy())

    folder = artifact("noun-features", {**key, "template": TEMPLATE}, build)
    features = torch.from_numpy(np.load(folder / "features.npy")).to(backbone.device)
    return dict(zip(words, features, strict=True))


def only(hidden: HiddenNouns, places: Sequence[int]) -> HiddenNouns:
    """Some of the nouns; ``places`` increase."""
    columns = [[column[at] for at in places] for column in (hidden.rows, hidden.nouns, hidden.lemmas)]
    captions = [hidden.captions[at] for at in places]
    return HiddenNouns(*columns, captions, hidden.without_noun, hidden.beyond_context)
