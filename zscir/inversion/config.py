"""What a training of phi depends on: ``TrainConfig``.

Presets name what is compared in the book. Each fixes what makes it what it is; the rest stays free:

* ``paper``: query-target and original loss, half each unless ``lam`` says otherwise, images masked by CAMs;
* ``pic2word``: the original loss alone (``lam`` 0); no noun, map or mask is needed;
* ``query-target-only``: the query-target loss alone (``lam`` 1);
* ``unmasked-image``: as ``paper``, but only the text is masked, the image stays whole;
* ``rest``: the other reading of the paper, the noun's region is masked and the rest kept;
* ``lincir``: language only, the pseudo-word comes from the caption's own noisy text feature (LinCIR).

    >>> TrainConfig(preset="pic2word").lam, TrainConfig(preset="rest", lam=0.8).lam
    (0.0, 0.8)
    >>> TrainConfig(preset="pic2word", lam=0.8)
    Traceback (most recent call last):
    ...
    ValueError: lam is 0.8; legal: 0.0 for preset 'pic2word' (preset 'paper' leaves it free)
    >>> TrainConfig(tau=1.3)
    Traceback (most recent call last):
    ...
    ValueError: tau is 1.3; legal: 0 <= tau <= 1
"""

import math
from dataclasses import asdict, dataclass, fields, replace
from functools import cached_property

from zscir.backbone.clip import PRECISIONS
from zscir.inversion.network import LOSSES, NETWORKS
from zscir.inversion.network import RULES as NETWORK
from zscir.pairs import Masking
from zscir.storage.checks import SEED, Rule, check, check_fields, number, one_of, optional, whole_from

#: What each preset fixes.
PRESETS: dict[str, dict] = {
    "paper": {},
    "pic2word": {"lam": 0.0, "mask_source": "none"},
    "query-target-only": {"lam": 1.0},
    "unmasked-image": {"mask_source": "none"},
    "rest": {"keep": "rest"},
    "lincir": {"lam": 1.0, "mask_source": "none", "loss": "mse"},
}
#: What a field is that neither the caller nor the preset sets.
_FREE = {"lam": 0.5, "keep": "noun", "mask_source": "cam", "loss": "contrastive"}
#: Fields that say where pairs and backbone come from (their fingerprints name them in an artifact's key), and
#: what is kept on the way.
_NOT_IN_KEY = "preset network backbone pretrained quick_gelu pairs limit epochs checkpoint_every".split()
_STEPS = 600
#: What is legal for the fields that are none of `Masking`.
RULES = {
    "precision": one_of(*PRECISIONS),
    "loss": one_of(*LOSSES),
    "online": Rule("True, False", lambda value: isinstance(value, bool)),
    "pretrained": optional(Rule("an open_clip tag or a file", lambda value: isinstance(value, str))),
    "quick_gelu": one_of(None, True, False),
    "hidden": optional(NETWORK["hidden"]),
    **{name: NETWORK[name] for name in ("depth", "dropout", "activation")},
    "limit": optional(whole_from(1)),
    "epochs": optional(whole_from(1)),
    "lam": number("0 <= lam <= 1", lambda lam: 0 <= lam <= 1),
    "lr": number("lr > 0", lambda lr: lr > 0),
    "weight_decay": number("weight_decay >= 0", lambda decay: decay >= 0),
    "clip_norm": number("clip_norm > 0", lambda norm: norm > 0),
    "ema": number("0 <= ema < 1", lambda ema: 0 <= ema < 1),
    "noise": number("noise >= 0", lambda noise: noise >= 0),
    "checkpoint_every": Rule("whole numbers from 0 (0: at the end)", whole_from(0).test),
    "batch": Rule("whole numbers from 2 (one pair has nothing to be told from)", whole_from(2).test),
    "seed": SEED,
    "backbone": Rule("a name or the path of a folder", lambda value: isinstance(value, str) and value != ""),
}


@dataclass(frozen=True)
class TrainConfig:
    """Everything a training depends on, checked when it is made.

    Total loss = ``lam`` * query-target + (1 - ``lam``) * original. Fields that are None are filled in:
    ``lam``, ``keep``, ``mask_source`` and ``loss`` by the preset, ``hidden``, ``depth``,
    ``dropout`` and ``activation`` by ``network`` (see ``zscir.inversion.network.NETWORKS``). What a preset
    fixes cannot be set to something else, so its name in a table can be trusted. ``masking`` is the
    ``zscir.pairs.Masking`` that the fields of its names give.

    * ``loss``: "contrastive" (by the backbone's own logit scale), "cosine" or "mse".
    * ``noise``: length of LinCIR's noise relative to a feature's, see ``zscir.inversion.network.noisy``.
    * ``steps``, or ``epochs`` in its place; ``batch`` is that of all processes together.
    * ``lr`` rises linearly over ``warmup`` steps (by default a third of all, at most 100), then falls to 0
      along a cosine.
    * ``ema``: decay of the running mean of phi's weights, which is what is returned (0: the last weights).
    * ``backbone``, ``pretrained``, ``quick_gelu``: as `zscir.backbone.load_backbone` takes them.
    * ``online``: encode augmented images in every step, in place of stored features.
    * ``checkpoint_every``: steps between checkpoints (0: only at the end).

    Raises:
        ValueError: a field has an illegal value; the message names field, value and what is legal.
    """

    preset: str = "paper"
    lam: float | None = None
    tau: float = 0.3
    keep: str | None = None
    fill: str = "mean"
    mask_source: str | None = None
    cam_method: str | None = None
    cam_layer: str | None = None
    cam_target: str | None = None
    noun_strategy: str = "random"
    span: str = "noun"
    loss: str | None = None
    noise: float = 1.0
    steps: int | None = None
    epochs: int | None = None
    batch: int = 128
    lr: float = 1e-3
    weight_decay: float = 0.05
    warmup: int | None = None
    clip_norm: float = 1.0
    ema: float = 0.999
    network: str = "three-layer"
    hidden: int | None = None
    depth: int | None = None
    dropout: float | None = None
    activation: str | None = None
    precision: str = "fp32"
    seed: int = 0
    backbone: str = "pocket"
    pretrained: str | None = None
    quick_gelu: bool | None = None
    pairs: str = "pocket-small"
    limit: int | None = None
    online: bool = False
    checkpoint_every: int = 500

    def __post_init__(self):
        check("preset", self.preset, one_of(*PRESETS))
        check("network", self.network, one_of(*NETWORKS))
        for name, value in PRESETS[self.preset].items():
            fixed = getattr(self, name) in (None, value)
            self._require(
                name, fixed, f"{value!r} for preset {self.preset!r} (preset 'paper' leaves it free)"
            )
            object.__setattr__(self, name, value)
        steps = {"steps": _STEPS if self.epochs is None else None}
        for name, value in {**_FREE, **NETWORKS[self.network], **steps}.items():
            object.__setattr__(self, name, value if getattr(self, name) is None else getattr(self, name))
        if self.warmup is None and whole_from(1).test(self.steps):
            object.__setattr__(self, "warmup", min(100, self.steps // 3))
        object.__setattr__(self, "pairs", str(self.pairs or TrainConfig.pairs))
        object.__setattr__(self, "pretrained", self.pretrained or None)
        check_fields(self, RULES)
        self._check_length()
        for name in ("cam_method", "cam_layer", "cam_target"):
            object.__setattr__(self, name, getattr(self.masking, name))
        self._check_together()

    def as_preset(self, preset: str, **fields: object) -> "TrainConfig":
        """The same training as another preset: what a preset fixes is that one's own, all else stays.

        >>> TrainConfig(lam=0.8, tau=0.4).as_preset("pic2word").lam
        0.0
        """
        free = dict.fromkeys([*PRESETS[self.preset], *PRESETS.get(str(preset), ())])
        return replace(self, preset=preset, **{**free, **fields})

    @property
    def language_only(self) -> bool:
        """Whether phi learns from captions, as LinCIR's does: no image takes part."""
        return self.preset == "lincir"

    @cached_property
    def masking(self) -> Masking:
        """How the pairs are masked."""
        return Masking(**{name: getattr(self, name) for name in _MASKING})

    def _check_length(self):
        self._require("steps", self.steps is None or whole_from(1).test(self.steps), "whole numbers from 1")
        self._require("steps", self.steps is None or self.epochs is None, "None when epochs is given")
        most = math.inf if self.steps is None else self.steps
        legal = self.warmup is None or (whole_from(0).test(self.warmup) and self.warmup <= most)
        self._require("warmup", legal, f"0 to steps ({self.steps})")

    def _check_together(self):
        """What only some combinations allow."""
        if self.language_only:
            why = "for preset 'lincir', which reads no image"
            self._require("online", not self.online, f"False {why}")
            self._require("noun_strategy", self.noun_strategy != "most-visible", f"random, first, head {why}")
        legal = self.mask_source in ("cam", "none") or not self.online or self.lam == 0
        self._require("mask_source", legal, "cam, none with online=True (others are made from stored maps)")

    def _require(self, name: str, legal: bool, what: str):
        if not legal:
            raise ValueError(f"{name} is {getattr(self, name)!r}; legal: {what}")


#: Fields that are those of `Masking`.
_MASKING = {field.name for field in fields(Masking)} & {field.name for field in fields(TrainConfig)}


def key_fields(config: TrainConfig) -> dict:
    """The fields that decide phi: none that is replaced by a fingerprint or without effect."""
    unused = set(_NOT_IN_KEY)
    masking = _MASKING - {"seed"}
    if config.language_only:
        unused |= masking - {"noun_strategy", "span"}
    else:
        unused.add("noise")
    unused |= masking if config.lam == 0 else config.masking.without_effect
    values = {name: value for name, value in asdict(config).items() if name not in unused}
    floats = [f.name for f in fields(config) if "float" in str(f.type) and values.get(f.name) is not None]
    values |= {name: float(values[name]) for name in floats}
    return values | {"language_only": config.language_only}
