"""How a masked pair is made: one object that travels from the chapter to the threshold.

>>> Masking(tau=0.4, keep="rest").keep
'rest'
>>> Masking(tau=1.7)
Traceback (most recent call last):
...
ValueError: tau is 1.7; legal: 0 <= tau <= 1
"""

from collections.abc import Sequence
from dataclasses import dataclass

from zscir.backbone import Backbone
from zscir.backbone.weights import check_layer
from zscir.nouns.find import SPANS, STRATEGIES
from zscir.pairs.sources import Pairs
from zscir.regions.maps import METHODS, TARGETS
from zscir.regions.masks import FILLS, KEEPS
from zscir.regions.token_drop import check_drop
from zscir.storage.checks import SEED, check_fields, number, one_of, whole_from

RULES = {
    "tau": number("0 <= tau <= 1", lambda tau: 0 <= tau <= 1),
    "keep": one_of(*KEEPS),
    "fill": one_of(*FILLS),
    "cam_method": one_of(None, *METHODS),
    "cam_target": one_of(None, *TARGETS),
    "noun_strategy": one_of(*STRATEGIES),
    "span": one_of(*SPANS),
    "mask_source": one_of("cam", "true", "none", "random", "random-true"),
    "nouns": one_of("one", "all"),
    "seed": SEED,
    "epoch": whole_from(0),
}


@dataclass(frozen=True)
class Masking:
    """Which noun of a caption is hidden, and what of its image is kept; checked when it is made.

    Attributes:
        tau: threshold on the CAM in [0, 1]; what is below is masked.
        keep: "noun" keeps where the CAM is high (the paper), "rest" the complement.
        fill: what stands in masked pixels, see ``zscir.regions.mask_image``; or "drop", which leaves masked
            patches out of a Vision Transformer, see ``zscir.regions.token_drop``.
        mask_source: "cam" (the paper), "true" (label maps of drawn pairs, no tau), "none" (the image stays
            whole), "random" (the CAM of another pair's noun on that pair's image: a floor), "random-true"
            (the true mask of another pair's noun: the areas of "true" in wrong places).
        cam_method, cam_layer, cam_target: see ``zscir.regions.noun_cams``; the backbone's own when empty.
        nouns: "one" noun a caption, or "all" of them, each a masked pair.
        noun_strategy: which one, see ``zscir.nouns.choose_noun``; "most-visible" takes the one whose CAM has
            the largest mean.
        span: "noun" masks the noun alone, "chunk" with its determiner and adjectives.
        seed, epoch: of the random noun (their sum: another epoch draws anew), of "random" and of "noise".

    Raises:
        ValueError: an illegal value; the message names setting, value and what is legal.
    """

    tau: float = 0.3
    keep: str = "noun"
    fill: str = "mean"
    mask_source: str = "cam"
    cam_method: str | None = None
    cam_layer: str | Sequence[str] | None = None
    cam_target: str | None = None
    nouns: str = "one"
    noun_strategy: str = "random"
    span: str = "noun"
    seed: int = 0
    epoch: int = 0

    def __post_init__(self):
        for name in ("cam_method", "cam_layer", "cam_target"):
            object.__setattr__(self, name, getattr(self, name) or None)
        check_fields(self, RULES)
        if not isinstance(self.cam_layer, (str, type(None))):
            object.__setattr__(self, "cam_layer", tuple(self.cam_layer))

    @property
    def strategy(self) -> str:
        """Which nouns: "all", or one of ``zscir.nouns.find.STRATEGIES``."""
        return "all" if self.nouns == "all" else self.noun_strategy

    @property
    def drawn_by(self) -> int:
        """The seed of all that is drawn."""
        return self.seed + self.epoch

    @property
    def from_labels(self) -> bool:
        """Whether masks come from the label maps of drawn pairs."""
        return self.mask_source in ("true", "random-true")

    @property
    def without_effect(self) -> set[str]:
        """Names of the settings of the image's mask that its source makes void."""
        if self.mask_source in ("cam", "random"):
            return set()
        unused = {"tau", "cam_method", "cam_layer", "cam_target"}
        return unused | {"keep", "fill"} if self.mask_source == "none" else unused

    def cams(self, backbone: Backbone) -> dict:
        """Method, layer and target of the maps, as ``zscir.regions.noun_cams`` takes them."""
        layer = [self.cam_layer] if isinstance(self.cam_layer, str) else self.cam_layer
        return {
            "method": self.cam_method or backbone.cam_method,
            "layer": list(layer or backbone.cam_layers),
            "target": self.cam_target or backbone.cam_target,
        }

    @property
    def key(self) -> dict:
        """What features of masked images depend on, once the nouns and their maps are given."""
        key = {"mask_source": self.mask_source, "keep": self.keep, "fill": self.fill, "grain": "pixel"}
        key |= {} if self.from_labels else {"tau": float(self.tau)}
        drawn = self.mask_source.startswith("random") or self.fill == "noise"
        return key | ({"mask_seed": self.drawn_by} if drawn else {})

    def check_for(self, backbone: Backbone, pairs: Pairs) -> None:
        """Raise ValueError for what this backbone, or these pairs, cannot do."""
        if self.from_labels and not pairs.has_true_masks:
            raise ValueError(
                f"mask_source is {self.mask_source!r}, but pairs {pairs.name!r} have no label maps; "
                "legal: cam, none"
            )
        if self.fill == "drop":
            check_drop(backbone)
        needs_maps = self.mask_source in ("cam", "random") or self.strategy == "most-visible"
        layers = self.cams(backbone)["layer"] if needs_maps else []
        if needs_maps and not layers:
            raise ValueError(
                f"cam_layer is None, but backbone {backbone.name!r} has no default layer for maps"
            )
        for layer in layers:
            check_layer(backbone.model, layer)
