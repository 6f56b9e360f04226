"""Every picture and plot that the chapters show, one function a figure.

    use_style()
    set_of_six(benchmark, query_index=0)

Figures come back as matplotlib figures that pyplot does not know: the last line of a cell shows one exactly
once. Where drawings of the pocket world appear, they are by OpenMoji, CC BY-SA 4.0.
"""

from zscir.figures.ablations import effects_figure, study_curves, study_dots
from zscir.figures.masking import (
    cam_panels,
    failure_panels,
    fill_panels,
    judgement_bars,
    kept_areas,
    marked_caption,
    mask_grid,
    noun_counts,
    pair_panels,
    quality_curves,
)
from zscir.figures.pictures import (
    found_files,
    picture_grid,
    query_examples,
    rankings,
    retrieved_grid,
    set_of_six,
    wins_and_losses,
)
from zscir.figures.probing import likeness_curves, reason_bars, share_dots
from zscir.figures.results import (
    conflict_curves,
    kind_bars,
    loss_curves,
    readings,
    recall_curves,
    recall_intervals,
)
from zscir.figures.style import note_figure, use_style
from zscir.figures.tables import best_row, best_sentence, difference_sentence, difference_table, score_table

__all__ = [
    "best_row",
    "best_sentence",
    "cam_panels",
    "conflict_curves",
    "difference_sentence",
    "difference_table",
    "effects_figure",
    "failure_panels",
    "fill_panels",
    "found_files",
    "judgement_bars",
    "kept_areas",
    "kind_bars",
    "likeness_curves",
    "loss_curves",
    "marked_caption",
    "mask_grid",
    "note_figure",
    "noun_counts",
    "pair_panels",
    "picture_grid",
    "quality_curves",
    "query_examples",
    "rankings",
    "readings",
    "reason_bars",
    "recall_curves",
    "recall_intervals",
    "retrieved_grid",
    "score_table",
    "set_of_six",
    "share_dots",
    "study_curves",
    "study_dots",
    "use_style",
    "wins_and_losses",
]
