"""The settings of masked pairs, and what is legal for each."""

from __future__ import annotations

from zscir.nouns.find import SPANS, STRATEGIES
from zscir.regions.maps import GRAINS, METHODS, TARGETS
from zscir.regions.masks import FILLS, KEEPS

MASK_SOURCES = ("cam", "true", "none", "random")
NOUN_COUNTS = ("one", "all")


def check_masking(
    tau: float,
    keep: str = "noun",
    fill: str = "mean",
    cam_method: str | None = None,
    cam_target: str | None = None,
    noun_strategy: str = "random",
    span: str = "noun",
    mask_source: str = "cam",
    grain: str = "pixel",
    nouns: str = "one",
):
    """Raise ValueError, naming parameter, value and legal values, for what `build_masked_pairs` refuses."""
    if isinstance(tau, bool) or not isinstance(tau, (int, float)) or not 0 <= tau <= 1:
        raise ValueError(f"tau is {tau!r}; legal: 0 <= tau <= 1")
    for name, value, legal in (
        ("keep", keep, KEEPS),
        ("fill", fill, FILLS),
        ("cam_method", cam_method, (None, *METHODS)),
        ("cam_target", cam_target, (None, *TARGETS)),
        ("noun_strategy", noun_strategy, STRATEGIES),
        ("span", span, SPANS),
        ("mask_source", mask_source, MASK_SOURCES),
        ("grain", grain, GRAINS),
        ("nouns", nouns, NOUN_COUNTS),
    ):
        if value not in legal:
            raise ValueError(f"{name} is {value!r}; legal: {', '.join(map(str, legal))}")
