"""Zero-shot composed image retrieval with masked image-text pairs.

    >>> import zscir
    >>> zscir.compose_prompt("is red")
    'a photo of * , is red'

The names below are imported when they are first used, so ``import zscir`` itself is quick.
Every name lives in the room that explains it, from the ground up: ``zscir.storage``, ``zscir.nouns``,
``zscir.backbone``, ``zscir.pocket``, ``zscir.regions``, ``zscir.benchmarks``, ``zscir.pairs``,
``zscir.inversion``, ``zscir.retrieval``, ``zscir.analysis``, ``zscir.figures``, ``zscir.book``.
A room imports only from rooms before it.
"""

import warnings
from importlib import import_module

__version__ = "0.1.0"

warnings.filterwarnings("ignore", message="IProgress not found")  # of tqdm in Jupyter without widgets

_HOME = {
    "nouns": ("Noun", "choose_noun", "find_nouns", "mask_noun"),
    "backbone": ("Backbone", "load_backbone"),
    "pocket": ("make_pocket", "pocket_name"),
    "regions": ("encode_masked", "keep_mask", "mask_image", "noun_cams"),
    "benchmarks": ("Benchmark", "Query", "benchmark_root", "load_benchmark"),
    "pairs": ("MaskedPairs", "Masking", "Pairs", "build_masked_pairs", "load_pairs", "masked_pairs_at"),
    "inversion": (
        *("Inversion", "InversionNetwork", "TrainConfig", "fit", "load_inversion"),
        *("original_loss", "query_target_loss"),
    ),
    "retrieval": (
        *("Scores", "check_submission", "compare", "compose_prompt", "evaluate", "retrieve"),
        *("retrieve_files", "score_features", "write_submission"),
    ),
    "storage": ("grid", "run_points"),
    "book": ("run_chapter", "sweep_chapter"),
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
