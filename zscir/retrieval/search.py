"""Exact search: the k best images of every query, the gallery read once, a chunk at a time.

A first pass multiplies in float32 and keeps what may be among the k best. Its products are off by no more
than a bound that holds for any order of summation (Higham, Accuracy and Stability of Numerical Algorithms,
section 3.1), so nothing is lost. A second pass computes the few that are left in float64. The answers are
those of `zscir.retrieval.metrics.top_k` on all cosines in float64; memory holds a chunk and the few.
"""

from collections.abc import Iterator

import numpy as np

from zscir.retrieval.metrics import NEAR, UnitRows, check_widths, top_k

#: Gallery rows a chunk, and queries a block.
ROWS, QUERIES = 4096, 512
#: Images that a block of queries may keep; equal images by the thousand could be more.
KEPT = 2**23


def nearest(
    queries: np.ndarray, gallery: UnitRows, k: int, excluded: np.ndarray
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Of each query, in order: gallery rows of its k highest cosines, best first, and these in float32.

    Args:
        queries: float64 [Q, D], rows of length 1.
        gallery: [N, D].
        k: how many; fewer come back from a smaller gallery.
        excluded: int [Q], the gallery row that a query must not find, or -1.

    Raises:
        ValueError: k is less than 1, or the widths differ.
    """
    if k < 1:
        raise ValueError(f"k={k} must be at least 1")
    check_widths(queries, gallery)
    parts = [slice(start, start + QUERIES) for start in range(0, len(queries), QUERIES)]
    blocks = [_Block(queries[part].astype(np.float32), k, excluded[part]) for part in parts]
    for start in range(0, len(gallery), ROWS):
        chunk = gallery.single(slice(start, start + ROWS))
        for block in blocks:
            block.add(chunk, start)
    for block, part in zip(blocks, parts, strict=True):
        own, without, kept = queries[part], excluded[part], block.found()
        if kept is None:  # so many queries at once do not fit: halves
            half = len(own) // 2
            yield from nearest(own[:half], gallery, k, without[:half])
            yield from nearest(own[half:], gallery, k, without[half:])
            continue
        for query, found in zip(own, kept, strict=True):
            scores = (gallery[found] @ query).astype(np.float32)
            best = top_k(scores, k)
            yield found[best], scores[best]


class _Block:
    """Some queries, and what may be among the k best of each so far."""

    def __init__(self, queries: np.ndarray, k: int, excluded: np.ndarray):
        self.queries, self.k, self.excluded, self.is_full = queries, k, excluded, False
        self.floor = np.full(len(queries), -np.inf, dtype=np.float32)  # what is below is not among them
        self.margin = np.float32(2 * (queries.shape[1] + 8) * 2.0**-24 + 2 * NEAR)
        self.kept = (np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.float32))
        self.new: list[tuple[np.ndarray, ...]] = []
        self.room = 0

    def add(self, chunk: np.ndarray, start: int) -> None:
        """Look at the gallery rows from ``start`` on, float32 [n, D]."""
        if self.is_full:
            return
        scores = self.queries @ chunk.T  # [q, n]
        mine = np.flatnonzero((self.excluded >= start) & (self.excluded < start + len(chunk)))
        scores[mine, self.excluded[mine] - start] = -np.inf
        if start == 0 and len(chunk) > self.k:
            self.floor = np.partition(scores, -self.k, axis=1)[:, -self.k] - self.margin
        at = np.flatnonzero(scores > self.floor[:, None])
        self.new.append((at // len(chunk), at % len(chunk) + start, scores.ravel()[at]))
        self.room -= len(at)
        if self.room < 0:
            self._sift()

    def found(self) -> list[np.ndarray] | None:
        """Gallery rows of each query, increasing; None where they were too many."""
        if not self.is_full:
            self._sift()
        if self.is_full:
            return None
        query, row, _ = self.kept
        order = np.lexsort((row, query))
        return np.split(row[order], np.searchsorted(query[order], np.arange(1, len(self.queries))))

    def _sift(self) -> None:
        """Raise the floor to the k-th best of each query, and drop what is below."""
        query, row, score = map(np.concatenate, zip(self.kept, *self.new, strict=True))
        order = np.lexsort((-score, query))
        ends = np.searchsorted(query[order], np.arange(len(self.queries) + 1))
        many = np.flatnonzero(np.diff(ends) >= self.k)
        self.floor[many] = score[order[ends[many] + self.k - 1]] - self.margin
        good = score > self.floor[query]
        self.kept, self.new = (query[good], row[good], score[good]), []
        self.room = max(len(self.kept[0]), 4096)
        if len(self.kept[0]) > KEPT and len(self.queries) > 1:
            self.is_full, self.kept = True, (query[:0], row[:0], score[:0])
