"""What a pseudo-word says, in words: by the distance of embeddings, and through the text tower.

    words = caption_words(backbone, pairs.captions, least=5)
    made = pseudo_words(inversion, image_features)                                     # [B, W]
    closest(made, word_embeddings(backbone, words), k=5)                               # by embedding
    closest(pseudo_word_features(backbone, made), word_features(backbone, words), k=5)  # by meaning

Letters in shapes: B pseudo-words, V words of a vocabulary, W token width, D joint width.
"""

import re
from collections import Counter
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from zscir.backbone import Backbone
from zscir.inversion.network import PROMPT
from zscir.retrieval.features import batches

_WORD = re.compile(r"[^\W\d_]{2,}")


def caption_words(backbone: Backbone, captions: Sequence[str], least: int = 1) -> list[str]:
    """The words of some captions that are one token each, the most frequent first.

    Lower-cased, of two letters or more; equally frequent ones in alphabetical order. A word that the
    tokenizer cuts into pieces has no embedding of its own and is left out.

    Args:
        backbone: whose tokenizer decides.
        captions: any texts.
        least: how often a word must occur.

    Raises:
        ValueError: no word is left.
    """
    counts = Counter(word for text in captions for word in _WORD.findall(text.lower()))
    often = sorted((-count, word) for word, count in counts.items() if count >= least)
    words = [word for _, word in often if len(backbone.tokenizer.encode(word)) == 1]
    if not words:
        raise ValueError(f"no word of one token occurs {least} times in the {len(captions):,} captions")
    return words


def word_embeddings(backbone: Backbone, words: Sequence[str]) -> Tensor:
    """The text tower's own embeddings of words [V, W], float32, as they are stored (not normalised).

    Raises:
        ValueError: a word of no or of several tokens; it is named.
    """
    tokens = [backbone.tokenizer.encode(word) for word in words]
    wrong = [word for word, ids in zip(words, tokens, strict=True) if len(ids) != 1]
    if wrong:
        raise ValueError(f"words must be one token each, {wrong[0]!r} is not")
    ids = torch.tensor([ids[0] for ids in tokens], dtype=torch.long, device=backbone.device)
    return backbone.text_tower.token_embedding(ids).detach().float()


def word_features(backbone: Backbone, words: Sequence[str], prompt: str = PROMPT) -> Tensor:
    """Features [V, D] of the prompt with each word in the place of its ``*``, rows of length 1."""
    return backbone.encode_texts([prompt.replace("*", word) for word in words])


@torch.no_grad()
def pseudo_word_features(backbone: Backbone, words: Tensor, prompt: str = PROMPT) -> Tensor:
    """Features [B, D] of the prompt whose ``*`` stands for each pseudo-word [B, W]; float32, on the CPU."""
    parts = [backbone.encode_composed([prompt] * len(batch), batch) for _, batch in batches(words)]
    return torch.cat(parts).cpu()


def closest(rows: Tensor, words: Tensor, k: int) -> np.ndarray:
    """Numbers of the k words whose vectors have the highest cosine with each row, best first: int64 [B, k].

    >>> closest(torch.tensor([[2.0, 0.0]]), torch.tensor([[1.0, 1.0], [5.0, 0.0], [-1.0, 0.0]]), k=2)
    array([[1, 0]])

    Args:
        rows: [B, W], any length but zero.
        words: [V, W], any length but zero.
        k: how many, from 1 to V; of equally close words the earlier comes first.

    Raises:
        ValueError: a k outside 1 to V.
    """
    if not 1 <= k <= len(words):
        raise ValueError(f"k is {k!r}; legal: whole numbers from 1 to {len(words)}, the number of words")
    rows, words = (F.normalize(vectors.double().cpu(), dim=-1) for vectors in (rows, words))
    return (rows @ words.T).argsort(dim=1, descending=True, stable=True)[:, :k].numpy()


def named_among(found: np.ndarray, words: Sequence[str], truths: Sequence[set[str]]) -> np.ndarray:
    """Whether a right word is among those found, bool [B'], for the rows that have a right word at all.

    A row counts when one of its right words belongs to the vocabulary: what cannot be said is no mistake.

    >>> named_among(np.array([[0, 1], [1, 2], [0, 2]]), ["a", "b", "c"], [{"b"}, {"a"}, {"z"}]).tolist()
    [True, False]

    Args:
        found: numbers of words [B, k], as `closest` gives them.
        words: the vocabulary.
        truths: for each row the words that are right.

    Raises:
        ValueError: not one set of right words a row.
    """
    if len(truths) != len(found):
        raise ValueError(f"truths has {len(truths)} entries for {len(found)} rows")
    known = set(words)
    sayable = [right & known for right in truths]
    rows = [({words[number] for number in row}, right) for row, right in zip(found, sayable, strict=True)]
    return np.array([bool(named & right) for named, right in rows if right], dtype=bool)
