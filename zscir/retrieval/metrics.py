"""Exact ranks and retrieval metrics from two feature matrices: numbers in, numbers out.

Letters in shapes: Q queries, N gallery images, D feature width, T most targets of a query, M members
of a subset. A row number of -1 stands for "none". Scores are cosines: rows of any length are normalised
first. They are computed in float64 and rounded to float32, so that equal features tie exactly, whatever the
order or the size of the chunks.

Cosines that differ by no more than `NEAR` count as equal, and gallery order decides: the features of one
image differ by as much between processors, threads and batches (measured: 2e-7 in a feature, 6e-7 in a
cosine). What such a difference can still move are images whose cosines lie `NEAR` apart to within it, which
no rule avoids; `Ranks.near` counts the queries that have a near tie, so one sees how many are so close.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

#: bytes of one chunk of scores; bounds the memory whatever the gallery
CHUNK_BYTES = 64 * 2**20
#: cosines that differ by no more than this rank in gallery order
NEAR = np.float32(1e-6)
KINDS = ("recall", "recall_subset", "map", "recall_all", "precision")
_METRIC = re.compile(rf"({'|'.join(KINDS)})@([1-9]\d*)")


@dataclass(frozen=True)
class Ranks:
    """Where the right answers came, from 0.

    Attributes:
        targets: int64 [Q, T], the rank of every target, -1 where a query has fewer targets.
        subset: int64 [Q], the rank of the first target within its subset, -1 without a subset.
        tied: bool [Q], whether a target had the very score of an image that is not one.
        near: bool [Q], whether a target was as near as `NEAR` to an image that is not one, or tied with it.
        within: the same two [2, Q] for the first target within the subset.
    """

    targets: np.ndarray
    subset: np.ndarray
    tied: np.ndarray
    near: np.ndarray
    within: np.ndarray


class UnitRows:
    """A matrix of features as rows of length 1, made where they are used: no second matrix is held.

    ``rows[part]`` are float64 [n, D], for a slice or for row numbers.

    Args:
        features: torch tensor or array [len(names), D]; any length of rows but zero.
        names: what each row belongs to.
        role: "query_features" or "gallery_features", for the error.

    Raises:
        ValueError: a wrong shape, or a row that is not finite or zero (it is named).
    """

    def __init__(self, features: object, names: Sequence[str], role: str):
        if hasattr(features, "detach"):
            features = features.detach().cpu()
            features = features.float() if features.dtype.itemsize < 4 else features  # NumPy has no bfloat16
            features = features.numpy()
        matrix = np.asarray(features)
        self._matrix = matrix if matrix.dtype.kind == "f" else np.asarray(matrix, dtype=np.float64)
        self.shape = matrix.shape
        if matrix.ndim != 2 or len(matrix) != len(names):
            raise ValueError(
                f"{role} must be a matrix of {len(names):,} rows (one each, in order), got shape "
                f"{list(matrix.shape)}"
            )
        self._lengths = np.empty(len(matrix))
        for part in _parts(len(matrix), matrix.shape[1]):
            rows = self._matrix[part].astype(np.float64)
            with np.errstate(over="ignore", invalid="ignore"):
                self._lengths[part] = np.sqrt(np.einsum("nd,nd->n", rows, rows))
        bad = np.flatnonzero(~np.isfinite(self._lengths) | (self._lengths == 0))
        if len(bad):
            which = f"first {names[bad[0]]!r}"
            raise ValueError(f"{role} has {len(bad):,} rows that are zero or not finite, {which}")
        usual = self._matrix.dtype == np.float32 and np.all(np.abs(np.log10(self._lengths)) < 30)
        self._inverse = (1 / self._lengths[:, None]).astype(np.float32) if usual else None

    def __len__(self) -> int:
        return len(self._matrix)

    def __getitem__(self, part: slice | np.ndarray) -> np.ndarray:
        rows = np.array(self._matrix[part], dtype=np.float64)
        rows /= self._lengths[part, None]
        return rows

    def single(self, part: slice) -> np.ndarray:
        """The same rows in float32, each number off by no more than three roundings: [n, D]."""
        if self._inverse is None:
            return self[part].astype(np.float32)
        return self._matrix[part] * self._inverse[part]


def unit_rows(features: object, names: Sequence[str], role: str) -> np.ndarray:
    """All rows of `UnitRows`: float64 [N, D]."""
    return UnitRows(features, names, role)[:]


def similarity_blocks(
    queries: np.ndarray, gallery: UnitRows | np.ndarray, excluded: np.ndarray, device: str | None = None
) -> Iterator[tuple[slice, slice, np.ndarray]]:
    """All scores, a block at a time: (rows of queries, rows of the gallery, float32 scores of these).

    Args:
        queries: float64 [Q, D], rows of length 1.
        gallery: [N, D], float64 rows of length 1.
        excluded: int [Q], the gallery row that a query must not find (score -inf), or -1.
        device: where the products are computed, such as "cuda"; None for NumPy on the CPU.
    """
    for part in _parts(len(gallery), gallery.shape[1]):
        product = _product(gallery[part], device)
        for rows in _parts(len(queries), part.stop - part.start):
            scores = product(queries[rows])
            hidden = np.flatnonzero((excluded[rows] >= part.start) & (excluded[rows] < part.stop))
            scores[hidden, excluded[rows][hidden] - part.start] = -np.inf
            yield rows, part, scores


def check_widths(queries: np.ndarray, gallery: UnitRows | np.ndarray) -> None:
    """Raise ValueError where the widths of queries and gallery differ."""
    if queries.shape[1] != gallery.shape[1]:
        raise ValueError(f"query features are {queries.shape[1]} wide, gallery features {gallery.shape[1]}")


def _parts(count: int, width: int) -> list[slice]:
    """Neighbouring rows, as many as have `CHUNK_BYTES` in float64."""
    step = max(1, CHUNK_BYTES // (8 * max(1, width)))
    return [slice(start, min(start + step, count)) for start in range(0, count, step)]


def _product(gallery: np.ndarray, device: str | None) -> Callable[[np.ndarray], np.ndarray]:
    """The function that gives the float32 cosines [rows, N] of query rows, computed in float64."""
    if device is None:
        return lambda rows: (rows @ gallery.T).astype(np.float32)
    import torch

    there = torch.from_numpy(gallery).to(device)
    return lambda rows: (torch.from_numpy(rows).to(device) @ there.T).float().cpu().numpy()


def scores_at(
    queries: np.ndarray, gallery: UnitRows | np.ndarray, columns: np.ndarray, excluded: np.ndarray
) -> np.ndarray:
    """Scores of queries at gallery rows of their own [Q, T]: float32, NaN (equal to nothing) for -1."""
    check_widths(queries, gallery)
    scores = np.empty(columns.shape, dtype=np.float32)
    for rows in _parts(len(queries), columns.shape[1] * queries.shape[1]):
        own = gallery[np.maximum(columns[rows], 0).ravel()]
        own = own.reshape(*columns[rows].shape, queries.shape[1])  # [rows, T, D]
        scores[rows] = (own @ queries[rows, :, None])[..., 0]
    scores[columns == excluded[:, None]] = -np.inf
    scores[columns < 0] = np.nan
    return scores


def rank_targets(
    queries: np.ndarray,
    gallery: UnitRows | np.ndarray,
    targets: np.ndarray,
    excluded: np.ndarray,
    members: np.ndarray,
    device: str | None = None,
) -> Ranks:
    """Exact ranks of the targets, without sorting.

    The rank of an image is the number of images with a higher score, plus those with the same score, to
    within `NEAR`, that come earlier in the gallery.

    Args:
        queries: float64 [Q, D], rows of length 1.
        gallery: [N, D], float64 rows of length 1.
        targets: int [Q, T], gallery rows; the first is a target, later ones may be -1.
        excluded: int [Q], gallery row left out of a query's ranking, or -1.
        members: int [Q, M], gallery rows of a query's subset (the target among them), or -1.
        device: as in `similarity_blocks`.
    """
    own = scores_at(queries, gallery, targets, excluded)
    ranks, close = np.zeros(targets.shape, dtype=np.int64), np.zeros((2, *targets.shape), dtype=np.int64)
    for rows, part, scores in similarity_blocks(queries, gallery, excluded, device):
        positions = np.arange(part.start, part.stop)
        for column in range(targets.shape[1]):
            has = np.flatnonzero(targets[rows, column] >= 0)
            at = rows.start + has
            block = scores if len(has) == len(scores) else scores[has]
            wanted, score = targets[at, column, None], own[at, column, None]
            ranks[at, column] += images_ahead(block, positions, wanted, score)
            close[:, at, column] += _close(block, score)
    for column in range(targets.shape[1]):
        close[:, :, column] -= _close(own, own[:, column, None])
    ranks[targets < 0] = -1
    subset, within = np.full(len(targets), -1, dtype=np.int64), np.zeros((2, len(targets)), dtype=bool)
    grouped = np.flatnonzero((members >= 0).any(axis=1))
    if len(grouped):
        inside = scores_at(queries[grouped], gallery, members[grouped], excluded[grouped])
        wanted, score = targets[grouped, :1], own[grouped, :1]
        subset[grouped] = images_ahead(inside, members[grouped], wanted, score)
        within[:, grouped] = _close(inside, score) > 1
    return Ranks(ranks, subset, *(close > 0).any(axis=2), within)


def images_ahead(
    scores: np.ndarray, positions: np.ndarray, wanted: np.ndarray, score: np.ndarray
) -> np.ndarray:
    """How many images of each row come before the wanted one: higher, or as high (`NEAR`) and earlier: [Q].

    Args:
        scores: float32 [Q, N]; NaN is never ahead.
        positions: int [N] or [Q, N], gallery rows of the scores.
        wanted: int [Q, 1], gallery row of the wanted image.
        score: float32 [Q, 1], its score.
    """
    higher = (scores > score + NEAR).sum(axis=1)
    earlier = (scores >= score - NEAR) & (scores <= score + NEAR) & (positions < wanted)
    return higher + earlier.sum(axis=1)


def _close(scores: np.ndarray, score: np.ndarray) -> np.ndarray:
    """How many of each row have just the score [Q, 1], and how many one as near as `NEAR`: int [2, Q]."""
    near = (scores >= score - NEAR) & (scores <= score + NEAR)
    return np.stack([(scores == score).sum(axis=1), near.sum(axis=1)])


def metric_values(name: str, ranks: Ranks) -> np.ndarray:
    """One metric for every query: float64 [Q] in [0, 1].

    * ``recall@k``: 1 when the first target (CIRCO's ``target_img_id``) is among the first k.
    * ``recall_subset@k``: the same within the query's subset.
    * ``map@k``: average precision: the precision at every target among the first k, summed and
      divided by min(number of targets, k) (Baldrati et al., ICCV 2023).
    * ``recall_all@k``: the share of the targets that are among the first k; ``precision@k``: the share of
      the first k that are targets (both as Pic2Word's code has them for ImageNet-R).

    A k beyond the gallery counts the whole gallery.

    Raises:
        ValueError: another name, or a subset metric where a query has no subset.

    >>> found = Ranks(np.array([[0, 2, -1], [4, 1, 0]]), np.array([0, 1]), *np.zeros((3, 2), bool))
    >>> metric_values("recall@3", found).tolist()
    [1.0, 0.0]
    >>> metric_values("map@3", found).round(3).tolist()
    [0.833, 0.667]
    """
    match = _METRIC.fullmatch(name)
    if match is None:
        legal = ", ".join(f"{kind}@k" for kind in KINDS)
        raise ValueError(f"metric {name!r} is not one of {legal} with k >= 1")
    kind, k = match[1], int(match[2])
    if kind == "recall":
        return (ranks.targets[:, 0] < k).astype(np.float64)
    if kind == "recall_subset":
        if (ranks.subset < 0).any():
            raise ValueError(f"{name} needs a subset for every query")
        return (ranks.subset < k).astype(np.float64)
    count = (ranks.targets >= 0).sum(axis=1)  # [Q]
    if kind in ("recall_all", "precision"):
        found = ((ranks.targets >= 0) & (ranks.targets < k)).sum(axis=1)
        return found / (count if kind == "recall_all" else k)
    order = np.sort(np.where(ranks.targets >= 0, ranks.targets, np.iinfo(np.int64).max - 1), axis=1)
    precision = np.arange(1, order.shape[1] + 1) / (order + 1)  # [Q, T], at each target found
    return np.where(order < k, precision, 0).sum(axis=1) / np.minimum(count, k)


def top_k(scores: np.ndarray, k: int) -> np.ndarray:
    """Rows of the k highest scores, best first, ties (to within `NEAR`) in gallery order, -inf never.

    Args:
        scores: float32 [N].
        k: how many; fewer come back when fewer are left.

    Raises:
        ValueError: k is less than 1.

    >>> top_k(np.array([0.1, 0.9, 0.5, 0.9, -np.inf]), 3).tolist()
    [1, 3, 2]
    """
    if k < 1:
        raise ValueError(f"k={k} must be at least 1")
    allowed = np.flatnonzero(scores > -np.inf)
    if len(allowed) > k:
        worst = np.partition(scores[allowed], len(allowed) - k)[len(allowed) - k]
        allowed = allowed[scores[allowed] >= worst - NEAR]
    order = allowed[np.argsort(-scores[allowed], kind="stable")]
    falls = np.diff(scores[order], prepend=scores[order[:1]]) < -NEAR
    return order[np.lexsort((order, falls.cumsum()))][:k]
