"""From features to ranks, scores, comparisons and submissions (chapters 1, 5, 6 and 9)."""

from zscir.retrieval.comparison import (
    average,
    compare,
    composition_gap,
    difference,
    unimodal_queries,
)
from zscir.retrieval.features import gallery_features
from zscir.retrieval.ladder import Ladder
from zscir.retrieval.protocols import compose_prompt
from zscir.retrieval.queries import Composition, evaluate, query_features, retrieve_files
from zscir.retrieval.ranking import retrieve, score_features
from zscir.retrieval.scores import Scores
from zscir.retrieval.submission import check_submission, write_submission
