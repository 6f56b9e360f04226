"""What a training of phi depends on: ``TrainConfig``, which ``zscir.inversion.training`` re-exports.

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

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, fields

from zscir.inversion.network import ACTIVATIONS, LOSSES, NETWORKS
from zscir.pairs.masking import check_masking

#: What each preset fixes. "text" as modality is LinCIR's: no image takes part.
PRESETS: dict[str, dict] = {
    "paper": {},
    "pic2word": {"lam": 0.0, "mask_source": "none"},
    "query-target-only": {"lam": 1.0},
    "unmasked-image": {"mask_source": "none"},
    "rest": {"keep": "rest"},
    "lincir": {"modality": "text", "lam": 1.0, "mask_source": "none", "loss": "mse"},
}
MODALITIES = ("image", "text")
PRECISIONS = ("fp32", "bf16")
#: What a field is that neither the caller nor the preset sets.
_FREE = {"lam": 0.5, "keep": "noun", "mask_source": "cam", "modality": "image", "loss": "contrastive"}
#: Fields that say where pairs and backbone come from; their fingerprints name them in an artifact's key.
_SOURCES = ("preset", "network", "backbone", "pretrained", "pairs", "limit", "epochs")
#: Fields that change what is kept on the way, not phi.
_HOUSEKEEPING = ("checkpoint_every", "keep_checkpoints", "tensorboard")
#: Fields that only matter when the query-target loss has a share.
MASKING_FIELDS = ("mask_source", "noun_strategy", "span", "tau", "keep", "fill")
MASKING_FIELDS += ("cam_method", "cam_layer", "cam_target")
_STEPS = 600


@dataclass(frozen=True)
class TrainConfig:
    """Everything a training depends on, checked when it is made.

    Total loss = ``lam`` * query-target + (1 - ``lam``) * original. Fields that are None are filled in:
    ``lam``, ``keep``, ``mask_source``, ``loss`` and ``modality`` by the preset, ``hidden``, ``depth``,
    ``dropout`` and ``activation`` by ``network`` (see ``zscir.inversion.network.NETWORKS``). What a preset
    fixes cannot be set to something else, so its name in a table can be trusted. The masking fields are those
    of ``zscir.pairs.build_masked_pairs``.

    * ``loss``: "contrastive" (by the backbone's own logit scale, or ``logit_scale``), "cosine" or "mse".
    * ``noise``: length of LinCIR's noise relative to a feature's, see ``zscir.inversion.network.noisy``.
    * ``steps``, or ``epochs`` in its place; ``batch`` is that of all processes together.
    * ``lr`` rises linearly over ``warmup`` steps, then falls to 0 along a cosine.
    * ``ema``: decay of the running mean of phi's weights, which is what is returned (0: the last weights).
    * ``online``: encode augmented images in every step, in place of stored features.
    * ``compile``: run phi through ``torch.compile``.
    * ``checkpoint_every``: steps between checkpoints (0: only at the end); ``keep_checkpoints`` stay.
    * ``tensorboard``: also write TensorBoard's event files (needs the package ``tensorboard``).

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
    logit_scale: float | None = None
    modality: str | None = None
    noise: float = 1.0
    steps: int | None = None
    epochs: int | None = None
    batch: int = 128
    lr: float = 1e-3
    weight_decay: float = 0.05
    warmup: int = 100
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
    pairs: str = "pocket-small"
    limit: int | None = None
    online: bool = False
    compile: bool = False
    checkpoint_every: int = 500
    keep_checkpoints: int = 2
    tensorboard: bool = False

    def __post_init__(self):
        self._require("preset", self.preset in PRESETS, ", ".join(PRESETS))
        self._require("network", self.network in NETWORKS, ", ".join(NETWORKS))
        for name, value in PRESETS[self.preset].items():
            fixed = getattr(self, name) in (None, value)
            self._require(
                name, fixed, f"{value!r} for preset {self.preset!r} (preset 'paper' leaves it free)"
            )
            object.__setattr__(self, name, value)
        steps = {"steps": _STEPS if self.epochs is None else None}
        for name, value in {**_FREE, **NETWORKS[self.network], **steps}.items():
            object.__setattr__(self, name, value if getattr(self, name) is None else getattr(self, name))
        object.__setattr__(self, "pairs", str(self.pairs))
        self._check_names()
        self._check_numbers()
        self._check_ranges()
        check_masking(**{name: getattr(self, name) for name in MASKING_FIELDS if name != "cam_layer"})
        self._check_together()

    def _check_names(self):
        for name, legal in (
            ("precision", PRECISIONS),
            ("loss", LOSSES),
            ("modality", MODALITIES),
            ("activation", tuple(ACTIVATIONS)),
        ):
            self._require(name, getattr(self, name) in legal, ", ".join(legal))
        for name in ("online", "compile", "tensorboard"):
            self._require(name, isinstance(getattr(self, name), bool), "True, False")

    def _check_numbers(self):
        for name in ("lam", "lr", "weight_decay", "clip_norm", "ema", "dropout", "noise"):
            self._require(name, _is_number(getattr(self, name)), "a finite number")
        for name in ("batch", "warmup", "depth", "seed", "checkpoint_every", "keep_checkpoints"):
            self._require(name, _is_whole_number(getattr(self, name)), "a whole number")
        for name in ("hidden", "limit", "epochs"):
            value = getattr(self, name)
            legal = value is None or (_is_whole_number(value) and value >= 1)
            self._require(name, legal, "None or a whole number from 1")
        scale = self.logit_scale
        self._require(
            "logit_scale", scale is None or (_is_number(scale) and scale > 0), "None or a number > 0"
        )

    def _check_ranges(self):
        self._require("lam", 0 <= self.lam <= 1, "0 <= lam <= 1")
        known = self.steps is None or (_is_whole_number(self.steps) and self.steps >= 1)
        self._require("steps", known, "whole numbers from 1")
        self._require("steps", self.steps is None or self.epochs is None, "None when epochs is given")
        self._require("batch", self.batch >= 2, "whole numbers from 2 (one pair has nothing to be told from)")
        most = math.inf if self.steps is None else self.steps
        self._require("warmup", 0 <= self.warmup <= most, f"0 to steps ({self.steps})")
        self._require("seed", 0 <= self.seed < 2**32, "0 <= seed < 2**32")
        self._require("lr", self.lr > 0, "lr > 0")
        self._require("weight_decay", self.weight_decay >= 0, "weight_decay >= 0")
        self._require("clip_norm", self.clip_norm > 0, "clip_norm > 0")
        self._require("depth", self.depth >= 1, "whole numbers from 1")
        self._require("ema", 0 <= self.ema < 1, "0 <= ema < 1")
        self._require("dropout", 0 <= self.dropout < 1, "0 <= dropout < 1")
        self._require("noise", self.noise >= 0, "noise >= 0")
        self._require("checkpoint_every", self.checkpoint_every >= 0, "whole numbers from 0 (0: at the end)")
        self._require("keep_checkpoints", self.keep_checkpoints >= 1, "whole numbers from 1")

    def _check_together(self):
        """What only some combinations allow."""
        if self.modality == "text":
            self._require("modality", self.preset == "lincir", "'image' (preset 'lincir' is the text one)")
            self._require("online", not self.online, "False for preset 'lincir', which reads no image")
            legal = self.noun_strategy != "most-visible"
            self._require(
                "noun_strategy", legal, "random, first, head for preset 'lincir', which reads no image"
            )
        if self.online and self.lam > 0:
            legal = self.mask_source in ("cam", "none")
            self._require(
                "mask_source", legal, "cam, none with online=True (others are made from stored maps)"
            )

    def _require(self, name: str, legal: bool, what: str):
        if not legal:
            raise ValueError(f"{name} is {getattr(self, name)!r}; legal: {what}")


def _is_whole_number(value) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def key_fields(config: TrainConfig) -> dict:
    """The fields that decide phi: none that is replaced by a fingerprint or without effect."""
    unused = {*_SOURCES, *_HOUSEKEEPING}
    if config.modality == "text":
        unused |= set(MASKING_FIELDS) - {"noun_strategy", "span"}
    else:
        unused.add("noise")
    if config.lam == 0:
        unused |= set(MASKING_FIELDS)
    elif config.mask_source in ("true", "none"):
        unused |= {"tau", "cam_method", "cam_layer", "cam_target"}
        unused |= {"keep", "fill"} if config.mask_source == "none" else set()
    if config.loss != "contrastive":
        unused.add("logit_scale")
    values = {name: value for name, value in asdict(config).items() if name not in unused}
    floats = {f.name for f in fields(config) if "float" in str(f.type)}
    return {
        name: float(value) if name in floats and value is not None else value
        for name, value in values.items()
    }
