"""Every picture and plot that the chapters show, one function a figure.

    use_style()
    set_of_six(benchmark, query_index=0)

Figures come back as matplotlib figures that pyplot does not know: the last line of a cell shows one exactly
once. The names below are imported when they are first used. Where drawings of the pocket world appear, they
are by OpenMoji, CC BY-SA 4.0.
"""

from importlib import import_module

_HOME = {
    "style": ("FRAMES", "MAP_COLOURS", "PALETTE", "WIDTH", "new_figure", "note_figure", "use_style"),
    "scenes": (
        *("benchmark_picture", "picture_grid", "query_examples"),
        *("rankings", "set_of_six", "show_picture"),
    ),
    "measures": (
        *("DrawnObjects", "block_layers", "drawn_objects", "judged_nouns", "localisation_scores"),
        *("localisation_table", "mentions", "blind_maps", "true_cells"),
    ),
    "masking": (
        *("cam_panels", "failure_panels", "fill_panels", "judgement_bars", "kept_areas", "marked_caption"),
        *("mask_grid", "masked_panels", "masked_picture", "noun_counts", "pair_panels", "quality_curves"),
        "to_picture",
    ),
    "results": ("kind_bars", "loss_curves", "readings", "recall_intervals"),
    "ablations": (
        *("best_sentence", "effects", "effects_figure", "gain_sentence"),
        *("study_curves", "study_dots"),
    ),
    "retrieved": ("found_files", "largest_changes", "retrieved_grid", "wins_and_losses"),
    "probing": ("counted", "likeness_curves", "reason_bars", "share_dots"),
    "curves": ("conflict_curves", "conflict_table", "recall_curves", "recall_table"),
    "tables": ("best_row", "difference_sentence", "difference_table", "score_table"),
    "method": ("method_svg", "write_method_svg"),
}
_MODULE_OF = {name: module for module, names in _HOME.items() for name in names}

__all__ = sorted(_MODULE_OF)


def __getattr__(name: str):
    """Import a public name from its module at first use (PEP 562)."""
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'zscir.figures' has no attribute {name!r}")
    value = getattr(import_module(f"zscir.figures.{_MODULE_OF[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """Names for completion, imported or not."""
    return sorted({*globals(), *__all__})
