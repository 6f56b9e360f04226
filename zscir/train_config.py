"""What a training of phi depends on: ``TrainConfig``, which ``zscir.training`` re-exports.

Presets name the settings that are compared in the book:

* ``paper``: half query-target loss, half original loss (``lam`` 0.5), images masked by CAMs;
* ``pic2word``: the original loss alone (``lam`` 0); no noun, map or mask is needed;
* ``query-target-only``: the query-target loss alone (``lam`` 1);
* ``unmasked-image``: as ``paper``, but only the text is masked, the image stays whole.

    >>> TrainConfig(preset="pic2word").lam
    0.0
    >>> TrainConfig(tau=1.3)
    Traceback (most recent call last):
    ...
    ValueError: tau is 1.3; legal: 0 <= tau <= 1
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, fields

from zscir.pairs import check_masking

PRESETS: dict[str, dict] = {
    "paper": {"lam": 0.5, "mask_source": "cam"},
    "pic2word": {"lam": 0.0, "mask_source": "none"},
    "query-target-only": {"lam": 1.0, "mask_source": "cam"},
    "unmasked-image": {"lam": 0.5, "mask_source": "none"},
}
PRECISIONS = ("fp32", "bf16")
#: Fields that say where pairs and backbone come from; their fingerprints name them in an artifact's key.
_SOURCES = ("preset", "backbone", "pretrained", "pairs", "limit")
#: Fields that only matter when the query-target loss has a share.
MASKING_FIELDS = ("mask_source", "noun_strategy", "span", "tau", "keep", "fill")
MASKING_FIELDS += ("cam_method", "cam_layer", "cam_target")


@dataclass(frozen=True)
class TrainConfig:
    """Everything a training depends on, checked when it is made.

    Total loss = ``lam`` * query-target + (1 - ``lam``) * original. ``lam`` and ``mask_source`` are taken from
    the preset when None; the preset "paper" lets both be set, the others fix them. ``lr`` rises linearly
    over ``warmup`` steps, then falls to 0 along a cosine. ``ema`` is the decay of the running mean of phi's
    weights, which is what is returned (0: the last weights). The masking fields are those of
    ``zscir.pairs.build_masked_pairs``.

    Raises:
        ValueError: a field has an illegal value; the message names field, value and what is legal.
    """

    preset: str = "paper"
    lam: float | None = None
    tau: float = 0.3
    keep: str = "noun"
    fill: str = "mean"
    mask_source: str | None = None
    cam_method: str | None = None
    cam_layer: str | None = None
    cam_target: str | None = None
    noun_strategy: str = "random"
    span: str = "noun"
    steps: int = 1500
    batch: int = 256
    lr: float = 1e-3
    weight_decay: float = 0.05
    warmup: int = 100
    clip_norm: float = 1.0
    ema: float = 0.999
    hidden: int | None = None
    depth: int = 3
    dropout: float = 0.5
    precision: str = "fp32"
    seed: int = 0
    backbone: str = "pocket"
    pretrained: str | None = None
    pairs: str = "pocket-small"
    limit: int | None = None

    def __post_init__(self):
        self._require("preset", self.preset in PRESETS, ", ".join(PRESETS))
        for name, value in PRESETS[self.preset].items():
            given = getattr(self, name)
            fixed = self.preset == "paper" or given is None or given == value
            self._require(name, fixed, f"{value!r} for preset {self.preset!r} (or preset='paper')")
            object.__setattr__(self, name, value if given is None else given)
        object.__setattr__(self, "pairs", str(self.pairs))
        self._check_numbers()
        self._require("precision", self.precision in PRECISIONS, ", ".join(PRECISIONS))
        check_masking(**{name: getattr(self, name) for name in MASKING_FIELDS if name != "cam_layer"})

    def _check_numbers(self):
        for name in ("lam", "lr", "weight_decay", "clip_norm", "ema", "dropout"):
            self._require(name, _is_number(getattr(self, name)), "a finite number")
        for name in ("steps", "batch", "warmup", "depth", "seed"):
            self._require(name, _is_whole_number(getattr(self, name)), "a whole number")
        for name in ("hidden", "limit"):
            value = getattr(self, name)
            legal = value is None or (_is_whole_number(value) and value >= 1)
            self._require(name, legal, "None or a whole number from 1")
        self._require("lam", 0 <= self.lam <= 1, "0 <= lam <= 1")
        self._require("steps", self.steps >= 1, "whole numbers from 1")
        self._require("batch", self.batch >= 2, "whole numbers from 2 (one pair has nothing to be told from)")
        self._require("warmup", 0 <= self.warmup <= self.steps, f"0 to steps ({self.steps})")
        self._require("seed", 0 <= self.seed < 2**32, "0 <= seed < 2**32")
        self._require("lr", self.lr > 0, "lr > 0")
        self._require("weight_decay", self.weight_decay >= 0, "weight_decay >= 0")
        self._require("clip_norm", self.clip_norm > 0, "clip_norm > 0")
        self._require("depth", self.depth >= 1, "whole numbers from 1")
        self._require("ema", 0 <= self.ema < 1, "0 <= ema < 1")
        self._require("dropout", 0 <= self.dropout < 1, "0 <= dropout < 1")

    def _require(self, name: str, legal: bool, what: str):
        if not legal:
            raise ValueError(f"{name} is {getattr(self, name)!r}; legal: {what}")


def _is_whole_number(value) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def key_fields(config: TrainConfig) -> dict:
    """The fields that decide phi: none that is replaced by a fingerprint or without effect."""
    unused = set(_SOURCES)
    if config.lam == 0:
        unused |= set(MASKING_FIELDS)
    elif config.mask_source in ("true", "none"):
        unused |= {"tau", "cam_method", "cam_layer", "cam_target"}
        unused |= {"keep", "fill"} if config.mask_source == "none" else set()
    values = {name: value for name, value in asdict(config).items() if name not in unused}
    floats = {f.name for f in fields(config) if "float" in str(f.type)}
    return {name: float(value) if name in floats else value for name, value in values.items()}
