"""The frozen CLIP that everything else looks through: load it; encode images, texts and composed prompts.

    backbone = load_backbone("pocket")                          # the small one that is shipped
    backbone = load_backbone("ViT-L-14", pretrained="openai")   # the paper's
    backbone.encode_composed(["a photo of * , at night"], pseudo_words)

A composed prompt holds one ``*``; its word embedding is replaced by a pseudo-word before the text tower runs.
Letters in shapes: B rows, L tokens, W token width, D joint width, S image side.
"""

import contextlib
import difflib
import platform
import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np
import open_clip
import torch
import torch.nn.functional as F
from open_clip.transform import PreprocessCfg, image_transform_v2, merge_preprocess_dict
from PIL import Image
from torch import Tensor, nn

from zscir.backbone.text_tower import composed_ends, has_usual_blocks, run_blocks
from zscir.backbone.weights import (
    POCKET_WEIGHTS,
    assume,
    build_model,
    cam_layers_of,
    load_weights,
    read_architecture,
    read_folder,
    read_weights,
    weights_hash,
)
from zscir.storage import fingerprint
from zscir.storage.checks import check, chosen, one_of
from zscir.storage.pictures import resized_middle

PLACEHOLDER = "*"
PRECISIONS = ("fp32", "bf16")
TEXT_BATCH = 256
TEXT_PART = 64


@dataclass(eq=False)
class Backbone:
    """A CLIP with frozen weights (eval mode, no gradient in any weight) and all that depends on it.

    Attributes:
        name: what it was loaded by.
        model: ``open_clip.CLIP`` or ``CustomTextCLIP``, float32.
        tokenizer: open_clip's byte-pair tokenizer.
        transform: PIL image -> pixels, as the weights were trained.
        device: where the model lives and where results are returned.
        image_size: side of the square input, in pixels.
        mean, std: the normalisation of each colour channel, in [0, 1] units.
        dim: width of the joint space. token_width: width of a word embedding.
        context_length: longest text, in tokens with start and end.
        fingerprint: 16 characters over weights, architecture, preprocessing, CAM layer and precision.
        cam_layers: module paths whose activations give the class-activation maps (the maps of several are
            averaged); empty when unknown.
        cam_method, cam_target: how `zscir.regions.noun_cams` makes maps unless told otherwise.
        precision: "fp32", or "bf16" (both towers run under autocast; results are float32 either way).
        assumed: what a weights file did not tell, activation and preprocessing, and what was taken; or "".
    """

    name: str
    model: nn.Module = field(repr=False)
    tokenizer: open_clip.SimpleTokenizer = field(repr=False)
    transform: Callable = field(repr=False)
    device: torch.device
    image_size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    dim: int
    token_width: int
    context_length: int
    fingerprint: str
    cam_layers: tuple[str, ...]
    cam_method: str
    cam_target: str
    precision: str = "fp32"
    assumed: str = ""

    @property
    def logit_scale(self) -> float:
        """Factor on cosine similarities that the backbone was trained with (the inverse temperature)."""
        return float(self.model.logit_scale.exp())

    @property
    def placeholder_id(self) -> int:
        """Token id of ``*``."""
        return self.tokenizer.encode(PLACEHOLDER)[0]

    @property
    def text_tower(self) -> nn.Module:
        """The module that owns the text tower's parts: the model itself, or its ``text``."""
        return getattr(self.model, "text", self.model)

    def autocast(self) -> contextlib.AbstractContextManager:
        """Context in which a tower runs: bfloat16 autocast for ``precision="bf16"``, else nothing."""
        if self.precision == "fp32":
            return contextlib.nullcontext()
        return torch.autocast(self.device.type, dtype=torch.bfloat16)

    def preprocess(self, image: Image.Image) -> Tensor:
        """Pixels [3, S, S] float32: to RGB, shortest side resized, centre cropped, normalised.

        Resizing mode and interpolation (bicubic for CLIP) are those the weights were trained with.
        """
        image, resize = image.convert("RGB"), self.transform.transforms[0]
        if isinstance(getattr(resize, "size", None), int):  # by its shorter side
            image = resized_middle(image, resize.size, Image.Resampling[resize.interpolation.name])
        return self.transform(image)

    def preprocess_mask(self, mask: np.ndarray) -> Tensor:
        """A label map [height, width] bool, resized and cropped as its image: [S, S] bool."""
        pixels = self.preprocess(Image.fromarray(mask.astype(np.uint8) * 255))[0]
        return pixels * self.std[0] + self.mean[0] > 0.5

    @torch.no_grad()
    def encode_images(self, pixels: Tensor, *, unit: bool = True) -> Tensor:
        """Features [B, D] float32 of preprocessed pixels [B, 3, S, S]; of length 1 if ``unit``, else raw."""
        size = (3, self.image_size, self.image_size)
        if pixels.ndim != 4 or tuple(pixels.shape[1:]) != size:
            raise ValueError(
                f"pixels must have shape [B, {size[0]}, {size[1]}, {size[2]}], got {list(pixels.shape)}"
            )
        with self.autocast():
            features = self.model.visual(pixels.to(self.device))
        features = (features[0] if isinstance(features, tuple) else features).float()
        return F.normalize(features, dim=-1) if unit else features

    @torch.no_grad()
    def encode_texts(self, texts: Sequence[str]) -> Tensor:
        """Text features [B, D], float32, rows of length 1; ``*`` is an ordinary token here."""
        ids = self.tokenize(texts)
        chunks = [self._encode_ids(chunk) for chunk in ids.split(TEXT_BATCH)] if len(ids) else []
        return torch.cat(chunks) if chunks else torch.zeros(0, self.dim, device=self.device)

    def encode_composed(self, texts: Sequence[str], pseudo_words: Tensor) -> Tensor:
        """Features [B, D] of texts in which the one ``*`` of each row stands for its pseudo-word [B, W].

        Differentiable in ``pseudo_words``. The ``*`` may stand anywhere, at its own place in every row.

        Raises:
            ValueError: a text without ``*`` or with several; it is named.
        """
        if wrong := [text for text in texts if text.count(PLACEHOLDER) != 1]:
            raise ValueError(f"every text needs exactly one '*', got {wrong[0]!r}")
        return self.compose_tokens(self.tokenize(texts), pseudo_words)

    def tokenize(self, texts: Sequence[str]) -> Tensor:
        """Token ids [B, L] int64 on the CPU, L the longest of the batch (at most ``context_length``).

        Every ``*`` is set apart as a word of its own, so "*," and "* ," are the same. A causal text tower
        needs no padding after the end token; towers without causal mask get the full ``context_length``.
        Too long texts are cut, the end token stays, and one warning counts them.

        Raises:
            ValueError: ``texts`` is one string; or a cut would lose the ``*``.
        """
        if isinstance(texts, str):
            raise ValueError(f"texts must be a list of strings, got the one string {texts!r}")
        room = self.context_length - 2
        bodies = [self.tokenizer.encode(text.replace(PLACEHOLDER, f" {PLACEHOLDER} ")) for text in texts]
        too_long = [i for i, body in enumerate(bodies) if len(body) > room]
        for i in too_long:
            if self.placeholder_id in bodies[i][room:]:
                raise ValueError(
                    f"the '*' lies beyond the {self.context_length} tokens that fit: {texts[i]!r}"
                )
        if too_long:
            warnings.warn(f"{len(too_long)} texts cut to {self.context_length} tokens", stacklevel=2)
        longest = max((min(len(body), room) for body in bodies), default=0) + 2
        ids = torch.zeros(len(bodies), longest if self._causal else self.context_length, dtype=torch.long)
        for row, body in zip(ids, bodies, strict=True):
            tokens = [self.tokenizer.sot_token_id, *body[:room], self.tokenizer.eot_token_id]
            row[: len(tokens)] = torch.tensor(tokens)
        return ids

    def compose_tokens(self, ids: Tensor, pseudo_words: Tensor) -> Tensor:
        """Features [B, D] of ids [B, L] (from `tokenize`) whose ``*`` stands for pseudo_words [B, W].

        The differentiable core of `encode_composed`; padding that no row of the batch needs is cut off.

        Raises:
            ValueError: a row without ``*`` or with several, or a wrong shape of ``pseudo_words``.
        """
        if tuple(pseudo_words.shape) != (len(ids), self.token_width):
            expected = [len(ids), self.token_width]
            raise ValueError(f"pseudo_words must have shape {expected}, got {list(pseudo_words.shape)}")
        wrong = ((ids == self.placeholder_id).sum(dim=1) != 1).nonzero().flatten().tolist()
        if wrong:
            body = [i for i in ids[wrong[0]].tolist() if 0 < i < self.tokenizer.sot_token_id]
            raise ValueError(
                f"every text needs exactly one '*', row {wrong[0]} is {self.tokenizer.decode(body)!r}"
            )
        return self._encode_ids(ids, pseudo_words)

    @property
    def _causal(self) -> bool:
        return self.text_tower.attn_mask is not None

    def _encode_ids(self, ids: Tensor, pseudo_words: Tensor | None = None) -> Tensor:
        """Features [B, D]; a large batch runs in parts of like length, each as short as it may be."""
        size = TEXT_PART if self.device.type == "cpu" else 4 * TEXT_PART  # a GPU wants more at once
        if pseudo_words is not None and has_usual_blocks(self.text_tower):
            size *= 4  # without padding
        if not self._causal or len(ids) < 2 * size:
            return self._encode_part(ids, pseudo_words)
        order = ids.argmax(dim=1).argsort(stable=True)  # by the place of the end token
        parts = []
        for rows in order.split(size):
            words = None if pseudo_words is None else pseudo_words[rows.to(pseudo_words.device)]
            parts.append(self._encode_part(ids[rows], words))
        return torch.cat(parts)[order.argsort().to(self.device)]

    def _encode_part(self, ids: Tensor, pseudo_words: Tensor | None) -> Tensor:
        tower = self.text_tower
        with self.autocast():
            if pseudo_words is not None and has_usual_blocks(tower):
                x = composed_ends(tower, ids, self.placeholder_id, pseudo_words.to(self.device))
            else:
                x = self._ends(ids, pseudo_words)
            x = tower.ln_final(x)  # [B, W]
            project = tower.text_projection
            if project is not None:
                x = project(x) if isinstance(project, nn.Linear) else x @ project  # [B, D]
        return F.normalize(x.float(), dim=-1)

    def _ends(self, ids: Tensor, pseudo_words: Tensor | None) -> Tensor:
        """End tokens [B, W] after all blocks, of whole texts."""
        tower = self.text_tower
        end = ids.argmax(dim=1)  # [B]: the end token has the highest id
        length = int(end.max()) + 1 if self._causal else ids.shape[1]
        ids, end = ids[:, :length].to(self.device), end.to(self.device)
        x = tower.token_embedding(ids)  # [B, L, W]
        if pseudo_words is not None:
            x = torch.where((ids == self.placeholder_id)[..., None], pseudo_words.to(x)[:, None], x)
        x = x + tower.positional_embedding[:length]
        if has_usual_blocks(tower):
            x = run_blocks(tower, x)
        else:
            mask = tower.attn_mask[:length, :length] if self._causal else None
            x = tower.transformer(x, attn_mask=mask)
        return x[torch.arange(len(x), device=x.device), end]


def load_backbone(
    name: str = "pocket",
    pretrained: str | None = None,
    device: str | None = None,
    precision: str = "fp32",
    quick_gelu: bool | None = None,
) -> Backbone:
    """A frozen CLIP by name.

    Args:
        name: "pocket" (shipped with the package); a folder with ``open_clip_config.json`` and weights; or an
            open_clip architecture such as "ViT-L-14".
        pretrained: for architectures only: an open_clip tag, a weights file, or "random" (seeded, for tests).
            A tag knows its activation and preprocessing. For a file both are assumed: those that all
            published tags of the architecture share, QuickGELU also for files in OpenAI's form; what was
            assumed stands in ``assumed`` and in every protocol.
        device: "cpu", "cuda", ...; by default the GPU when there is one.
        precision: "fp32", or "bf16" for autocast on devices that compute in bfloat16.
        quick_gelu: the activation of a weights file's towers, QuickGELU or GELU, where it is known.

    Raises:
        FileNotFoundError: the folder or its files are missing.
        ValueError: an unknown name, tag or precision, "bf16" where it would be emulated, a text tower we
            cannot compose prompts in, or a file that holds no weights, damaged ones or another tower's.
    """
    check("quick_gelu", quick_gelu, one_of(None, True, False))
    name, assumed = str(name), ""
    config, weights = find_backbone(name, pretrained, device, precision)
    if isinstance(weights, dict):
        weights = Path(open_clip.download_pretrained(weights))
    state, openai, *notes = ({}, False) if weights is None else read_weights(weights)
    if pretrained and weights == Path(pretrained).expanduser():
        assumed = assume(config, name.replace("/", "-"), openai, quick_gelu)
    elif quick_gelu is not None:
        raise ValueError(f"quick_gelu must be None where no weights file is named, got {quick_gelu!r}")
    try:
        model = build_model(config["model_cfg"])
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error
    if weights is not None:
        notes.append(load_weights(model, state, weights))
    made = make_backbone(name, model, config, device=device, precision=precision)
    return replace(made, assumed="; ".join(filter(None, [assumed, *notes])))


def find_backbone(
    name: str, pretrained: str | None = None, device: str | None = None, precision: str = "fp32"
) -> tuple[dict, dict | Path | None]:
    """Config dict and weights (see `read_architecture`) of a backbone; arguments as `load_backbone`.

    So bad names are refused early; nothing is loaded or downloaded.

    >>> find_backbone("poket")
    Traceback (most recent call last):
    ...
    ValueError: backbone is 'poket'; legal: pocket, a folder, open_clip's (near: pocket)

    Raises:
        FileNotFoundError, ValueError: as `load_backbone`, but for what the weights file holds.
    """
    chosen("precision", precision, PRECISIONS)
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    if precision == "bf16" and not has_bf16(torch.device(device)):
        raise ValueError(
            f"precision is 'bf16', but this {device} has no bfloat16: emulated, it is about ten times slower "
            "than fp32; legal here: fp32"
        )
    name, pretrained = str(name), None if pretrained is None else str(pretrained)
    if name.replace("/", "-") in (known := open_clip.list_models()):
        return read_architecture(name.replace("/", "-"), pretrained)
    folder = POCKET_WEIGHTS if name == "pocket" else Path(name).expanduser()
    if name != "pocket" and not folder.is_dir():
        near = ", ".join(difflib.get_close_matches(name, ["pocket", *known], cutoff=0.4)) or "none"
        kind = ValueError if Path(name).name == name else FileNotFoundError
        raise kind(f"backbone is {name!r}; legal: pocket, a folder, open_clip's (near: {near})")
    if pretrained is not None:
        raise ValueError(f"pretrained must be None for {name!r}, which has its weights, got {pretrained!r}")
    return read_folder(folder)


def has_bf16(device: torch.device) -> bool:
    """Whether a device computes in bfloat16 itself, as torch says; elsewhere it is slow emulation."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type != "cpu":
        return True  # torch has no question for it
    if not (torch.backends.mkldnn.is_available() and torch.ops.mkldnn._is_mkldnn_bf16_supported()):
        return False
    if platform.machine().lower() not in ("x86_64", "amd64"):
        return True
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()


def make_backbone(
    name: str, model: nn.Module, config: dict, *, device: str | None = None, precision: str = "fp32"
) -> Backbone:
    """Freeze ``model`` (in place) and wrap it. ``config``: see `save_backbone`."""
    device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    model = model.float().to(device).eval().requires_grad_(False)
    size = getattr(model.visual, "image_size", config["model_cfg"]["vision_cfg"].get("image_size", 224))
    width, height = size if isinstance(size, (tuple, list)) else (size, size)
    if width != height:
        raise ValueError(f"image_size must be square, got {size}")
    preprocess = merge_preprocess_dict(asdict(PreprocessCfg()), config.get("preprocess_cfg", {}))
    preprocess = PreprocessCfg(**{**preprocess, "size": width})
    if wrong := {
        key: value for key in ("mean", "std") if np.shape(value := getattr(preprocess, key)) != (3,)
    }:
        raise ValueError(f"preprocess_cfg of {name} needs three numbers, got {wrong}")
    tower = getattr(model, "text", model)
    tokenizer_cfg = config["model_cfg"]["text_cfg"].get("tokenizer_kwargs", {})
    cam_layers = cam_layers_of(model, config)
    identity = (weights_hash(model), config["model_cfg"], asdict(preprocess), cam_layers, precision)
    return Backbone(
        name=name,
        model=model,
        tokenizer=open_clip.SimpleTokenizer(context_length=tower.context_length, **tokenizer_cfg),
        transform=image_transform_v2(preprocess, is_train=False),
        device=device,
        image_size=width,
        mean=tuple(preprocess.mean),
        std=tuple(preprocess.std),
        dim=config["model_cfg"]["embed_dim"],
        token_width=tower.token_embedding.embedding_dim,
        context_length=tower.context_length,
        fingerprint=fingerprint(*identity),
        cam_layers=cam_layers,
        cam_method=config.get("cam_method", "gradcam"),
        cam_target=config.get("cam_target", "cosine"),
        precision=precision,
    )
