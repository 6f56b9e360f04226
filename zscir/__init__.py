"""Zero-shot composed image retrieval with masked image-text pairs.

    >>> import zscir
    >>> zscir.compose_prompt("is red")
    'a photo of * , is red'

The names below are imported when they are first used, so ``import zscir`` itself is quick.
Every name lives in the module that explains it: ``zscir.backbone``, ``zscir.nouns``,
``zscir.regions``, ``zscir.inversion``, ``zscir.pairs``, ``zscir.training``,
``zscir.benchmarks``, ``zscir.retrieval``, ``zscir.pocket``, ``zscir.figures``, ``zscir.book``,
``zscir.sweeps``.
"""

from importlib import import_module

__version__ = "0.1.0"

_HOME = {
    "backbone": ("Backbone", "load_backbone"),
    "nouns": ("Noun", "choose_noun", "find_nouns", "mask_noun"),
    "masks": ("encode_masked", "keep_mask", "mask_image"),
    "regions": ("noun_cams",),
    "inversion": ("InversionNetwork", "original_loss", "query_target_loss"),
    "pairs": ("MaskedPairs", "Pairs", "build_masked_pairs", "load_pairs", "masked_pairs_at"),
    "training": ("Inversion", "TrainConfig", "fit", "load_inversion"),
    "benchmarks": ("Benchmark", "Query", "load_benchmark"),
    "retrieval": (
        *("Scores", "check_submission", "compare", "compose_prompt", "evaluate", "retrieve"),
        *("retrieve_files", "score_features", "write_submission"),
    ),
    "pocket": ("make_pocket",),
    "book": ("run_chapter",),
    "sweeps": ("grid", "run_points", "sweep_chapter"),
}
_MODULE_OF = {name: module for module, names in _HOME.items() for name in names}

__all__ = ["__version__", *sorted(_MODULE_OF)]


def __getattr__(name: str):
    """Import a public name from its module at first use (PEP 562)."""
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'zscir' has no attribute {name!r}")
    value = getattr(import_module(f"zscir.{_MODULE_OF[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """Names for completion, imported or not."""
    return sorted({*globals(), *__all__})
