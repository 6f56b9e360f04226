"""Why a query found something else: the first answer against the target, by what both pictures show.

    first = first_answers(cirr, query_features, gallery)
    reasons(cirr, scenes, first)                                   # one of REASONS a query
    likeness(cirr, reference_features, gallery)                    # cosine of reference and target

Needs pictures that know what they show, so those of the pocket world; `likeness` and `first_answers` do
without.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from scipy import stats

from zscir.benchmarks import Benchmark
from zscir.pocket.scenes import Scene
from zscir.retrieval.metrics import unit_rows
from zscir.retrieval.ranking import excluded_rows, feature_rows, require_targets
from zscir.retrieval.search import nearest
from zscir.storage.checks import chosen

#: What a picture shows, in the order in which a mistake is named.
ASPECTS = ("things", "place", "details")
#: What the first answer can be, each but the first two a failure.
REASONS = (
    "the target",
    "shows the same as the target",
    "as the reference: change ignored",
    "rest kept, change half made or wrong",
    "change made, other things",
    "change made, another place",
    "change made, other details",
    "neither changed nor kept",
)


def agree(aspect: str, scene: Scene, other: Scene) -> bool:
    """Whether two scenes show the same, as far as one of `ASPECTS` goes.

    "things" are the nouns. "details" are light and style, and colour, pattern, size and number of those
    things that both show: that another thing has another colour is part of being another thing. How things
    stand to each other is no aspect, since no relative caption says it.

    Raises:
        ValueError: an unknown aspect.
    """
    chosen("aspect", aspect, ASPECTS)
    nouns = [{thing.noun for thing in shown.objects} for shown in (scene, other)]
    if aspect == "things":
        return nouns[0] == nouns[1]
    if aspect == "place":
        return scene.place == other.place
    both = [{o for o in shown.objects if o.noun in nouns[0] & nouns[1]} for shown in (scene, other)]
    return (scene.light, scene.style, both[0]) == (other.light, other.style, both[1])


def reason(reference: Scene, target: Scene, answer: Scene) -> str:
    """Why an answer is not the target: one of `REASONS` from the second on.

    Aspects in which reference and target do not `agree` are *asked* to change, the others to be kept. Where
    the change was made and several aspects were lost, the first of `ASPECTS` gives the name.

    >>> from zscir.pocket.scenes import Object
    >>> owl, owl_at_sea = (Scene(place, (Object("owl"),)) for place in ("farm", "sea"))
    >>> reason(owl, owl_at_sea, Scene("farm", (Object("owl"),), seed=1))
    'as the reference: change ignored'
    >>> reason(owl, owl_at_sea, Scene("sea", (Object("bee"),)))
    'change made, other things'
    """
    asked = [aspect for aspect in ASPECTS if not agree(aspect, reference, target)]
    kept = [aspect for aspect in ASPECTS if aspect not in asked]
    missed = [aspect for aspect in asked if not agree(aspect, answer, target)]
    lost = [aspect for aspect in kept if not agree(aspect, answer, target)]
    if missed:
        ignored = all(agree(aspect, answer, reference) for aspect in asked)
        return REASONS[7] if lost else REASONS[2] if ignored else REASONS[3]
    return REASONS[4 + ASPECTS.index(lost[0])] if lost else REASONS[1]


def reasons(benchmark: Benchmark, scenes: Mapping[str, Scene], answers: Sequence[str]) -> list[str]:
    """One of `REASONS` for each query.

    Args:
        benchmark: with targets.
        scenes: image id -> what the picture shows, as ``Pocket.scenes`` gives them.
        answers: image id of each query's first answer, as `first_answers` gives them.

    Raises:
        ValueError: not one answer a query, or a picture whose scene is not known; it is named.
    """
    require_targets(benchmark)
    if len(answers) != len(benchmark.queries):
        raise ValueError(f"answers has {len(answers)} entries for {len(benchmark.queries)} queries")
    named = []
    for query, answer in zip(benchmark.queries, answers, strict=True):
        names = (query.reference, query.targets[0], answer)
        if unknown := [name for name in names if name not in scenes]:
            raise ValueError(f"scenes says nothing of image {unknown[0]!r}")
        found = answer in query.targets
        named.append(REASONS[0] if found else reason(*(scenes[name] for name in names)))
    return named


def first_answers(benchmark: Benchmark, query_features: object, gallery_features: object) -> list[str]:
    """Image id of the first answer to every query, by the benchmark's protocol; shapes as `score_features`.

    Raises:
        ValueError: shapes or rows that `score_features` refuses.
    """
    queries, gallery = feature_rows(benchmark, query_features, gallery_features)
    found = nearest(queries, gallery, 1, excluded_rows(benchmark))
    return [benchmark.gallery[best] for rows, _ in found for best in rows]


def likeness(benchmark: Benchmark, reference_features: object, gallery_features: object) -> np.ndarray:
    """Cosine of each query's reference and its (first) target, float64 [Q].

    Args:
        benchmark: with targets.
        reference_features: [Q, D], as ``query_features(backbone, benchmark, "image")`` gives them.
        gallery_features: [N, D].
    """
    require_targets(benchmark)
    names = [query.id for query in benchmark.queries]
    references = unit_rows(reference_features, names, "reference_features")
    gallery = unit_rows(gallery_features, benchmark.gallery, "gallery_features")
    targets = gallery[[benchmark.row[query.targets[0]] for query in benchmark.queries]]
    return np.einsum("qd,qd->q", references, targets)


def equal_groups(values: np.ndarray, count: int) -> np.ndarray:
    """Number of the group of each value, int64 from 0 for the lowest, of ``count`` equally large groups.

    Where the number does not divide, sizes differ by one; equal values keep their order.

    >>> equal_groups(np.array([0.9, 0.1, 0.5, 0.3]), 2).tolist()
    [1, 0, 1, 0]

    Raises:
        ValueError: fewer values than groups, or no group.
    """
    if not 1 <= count <= len(values):
        raise ValueError(f"count is {count!r}; legal: whole numbers from 1 to {len(values)}, the values")
    place = stats.rankdata(values, method="ordinal").astype(np.int64) - 1
    return place * count // len(values)


def recall_by_likeness(
    ranks: Mapping[str, np.ndarray], likes: np.ndarray, k: int = 10, groups: int = 5
) -> pd.DataFrame:
    """Recall@k in groups of queries, from those whose target is least like the reference upward.

    Args:
        ranks: method -> the rank of the target of every query, from 0 (``Scores.ranks``).
        likes: from `likeness` [Q].
        k: of Recall@k.
        groups: how many groups of equally many queries.

    Returns:
        A row a method and group: ``method``, ``group`` (from 0), ``likeness`` (mean cosine), ``hits``,
        ``n``.

    Raises:
        ValueError: a method without one rank a query, or what `equal_groups` refuses.
    """
    group = equal_groups(likes, groups)
    rows = []
    for method, own in ranks.items():
        if len(own) != len(likes):
            raise ValueError(f"ranks[{method!r}] has {len(own)} entries for {len(likes)} queries")
        for number in range(groups):
            here = group == number
            hits = int((np.asarray(own)[here] < k).sum())
            rows.append((method, number, float(likes[here].mean()), hits, int(here.sum())))
    return pd.DataFrame(rows, columns=["method", "group", "likeness", "hits", "n"])
