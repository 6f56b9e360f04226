"""Weight files of the backbone: build the model they belong to, read, check and write them.

A folder of weights holds ``open_clip_config.json`` and one weights file; `zscir.backbone.load_backbone`
reads it.
"""

from __future__ import annotations

import hashlib
import json
import zipfile
from copy import deepcopy
from pathlib import Path

import open_clip
import torch
from safetensors.torch import save_file
from torch import nn

from zscir.storage.whole import written_whole

CONFIG_FILE = "open_clip_config.json"
POCKET_WEIGHTS = Path(__file__).parents[1] / "pocket" / "weights"
# Looked for in this order: ours, then the names that open_clip and the model hub use.
WEIGHT_FILES = (
    "pocket.safetensors",
    "open_clip_model.safetensors",
    "open_clip_pytorch_model.bin",
    "model.safetensors",
)


def build_model(model_cfg: dict, seed: int = 0) -> nn.Module:
    """An open_clip model with seeded random weights, float32, from open_clip's ``model_cfg`` dict.

    Raises:
        ValueError: the text tower is not one that pseudo-words can be put into (a hub text model, CoCa,
            or pooling elsewhere than at the end token).
    """
    cfg = deepcopy(model_cfg)
    text = cfg["text_cfg"]
    foreign = [key for key in ("hf_model_name", "hf_tokenizer_name", "embed_cls") if text.get(key)]
    if foreign or "multimodal_cfg" in cfg or text.get("pool_type", "argmax") != "argmax":
        raise ValueError(
            "the text tower must be CLIP's own (byte-pair tokenizer, pooled at the end token), "
            f"got text_cfg {text}"
        )
    if cfg["vision_cfg"].get("timm_model_name"):
        cfg["vision_cfg"]["timm_model_pretrained"] = False
    model_class = open_clip.CustomTextCLIP if cfg.pop("custom_text", False) else open_clip.CLIP
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return model_class(**cfg)


def load_weights(model: nn.Module, path: Path) -> None:
    """Load a weights file into ``model`` (strict); half precision becomes the model's float32.

    Understood is what open_clip reads: safetensors, a PyTorch state dict, OpenAI's TorchScript archives.
    """
    open_clip.load_checkpoint(model, str(path), weights_only=not is_torchscript(path))


def read_folder(folder: Path) -> tuple[dict, Path]:
    """Config dict and path of the weights file of a local folder.

    Raises:
        FileNotFoundError: the config or the weights file is missing; the message says what to do.
        ValueError: the weights file is not the one that the config was written with (cut short, mixed up).
    """
    weights = next((folder / name for name in WEIGHT_FILES if (folder / name).is_file()), None)
    if weights is None or not (folder / CONFIG_FILE).is_file():
        made = f"run `python -m pretraining.pretrain --out {folder}` in the repository to make them"
        hint = made if folder == POCKET_WEIGHTS else "check the folder"
        raise FileNotFoundError(f"{folder} needs {CONFIG_FILE} and one of {', '.join(WEIGHT_FILES)}: {hint}")
    config = json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8"))
    if "model_cfg" not in config:
        raise ValueError(f"{folder / CONFIG_FILE} has no 'model_cfg', only {sorted(config)}")
    expected = config.get("weights_sha256")
    if expected is not None and expected != _sha256(weights):
        raise ValueError(
            f"{weights} is not the file that {CONFIG_FILE} was written with; fetch or save both again"
        )
    return config, weights


def read_architecture(name: str, pretrained: str | None) -> tuple[dict, Path | None]:
    """Config dict of an open_clip architecture and path of its weights (downloaded if need be; None: random).

    Raises:
        ValueError: ``pretrained`` is neither a tag of this architecture, nor a file, nor "random".
    """
    config = {"model_cfg": open_clip.get_model_config(name), "preprocess_cfg": {}}
    if pretrained == "random":
        return config, None
    tag = open_clip.get_pretrained_cfg(name, pretrained) if pretrained else {}
    if tag:
        weights, quick_gelu = Path(open_clip.download_pretrained(tag)), tag.get("quick_gelu", False)
        config["preprocess_cfg"] = {key: value for key, value in tag.items() if key in ("mean", "std")}
        config["preprocess_cfg"] |= {k: tag[k] for k in ("interpolation", "resize_mode") if tag.get(k)}
    elif pretrained and Path(pretrained).expanduser().is_file():
        weights = Path(pretrained).expanduser()
        quick_gelu = is_torchscript(weights)  # the form in which OpenAI published its weights
    else:
        tags = open_clip.list_pretrained_tags_by_model(name)
        raise ValueError(
            f"pretrained for {name} must be one of {tags}, a weights file, or 'random', got {pretrained!r}"
        )
    if quick_gelu:
        config["model_cfg"]["quick_gelu"] = True
    return config, weights


def save_backbone(model: nn.Module, config: dict, folder: str | Path) -> Path:
    """Write ``model`` to ``folder`` as half-precision safetensors with its config; both whole or not at all.

    Args:
        model: an open_clip model.
        config: open_clip's "model_cfg" and "preprocess_cfg", optionally "cam_layers" (module paths),
            "cam_method" and "cam_target"; other entries, such as how it was trained, are kept.
        folder: created when missing; an older pair of files in it is replaced.

    Raises:
        ValueError: the config lacks an entry, names no module as CAM layer, or a weight is too large for
            float16.
    """
    if missing := {"model_cfg", "preprocess_cfg"} - set(config):
        raise ValueError(f"config needs 'model_cfg' and 'preprocess_cfg', missing: {sorted(missing)}")
    for layer in cam_layers_of(model, config):
        check_layer(model, layer)
    state = {key: value.detach().cpu().half().contiguous() for key, value in model.state_dict().items()}
    if broken := [key for key, value in state.items() if not value.isfinite().all()]:
        raise ValueError(f"weights too large for float16, or not finite: {broken}")
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with written_whole(folder / CONFIG_FILE) as text, written_whole(folder / WEIGHT_FILES[0]) as weights:
        save_file(state, weights)
        record = {**config, "weights_sha256": _sha256(weights)}
        text.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    return folder


def weights_hash(model: nn.Module) -> str:
    """SHA-256 over all names, types and values of the model's state, hexadecimal."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).numpy())
    return digest.hexdigest()


def cam_layers_of(model: nn.Module, config: dict) -> tuple[str, ...]:
    """The config's own "cam_layers", else the default layer of the image tower, else none."""
    default = default_cam_layer(model)
    return tuple(config.get("cam_layers") or ([default] if default else []))


def default_cam_layer(model: nn.Module) -> str:
    """Usual layer for class-activation maps, as a module path; "" when there is no usual one.

    The first norm of the last block for Vision Transformers, the last stage for convolutional towers.
    """
    visual = model.visual
    modules = dict(visual.named_children())
    if "transformer" in modules:
        return f"visual.transformer.resblocks.{len(visual.transformer.resblocks) - 1}.ln_1"
    if "layer4" in modules:
        return "visual.layer4"
    trunk = modules.get("trunk")
    if hasattr(trunk, "blocks") and hasattr(trunk.blocks[-1], "norm1"):
        return f"visual.trunk.blocks.{len(trunk.blocks) - 1}.norm1"
    if hasattr(trunk, "stages"):
        return f"visual.trunk.stages.{len(trunk.stages) - 1}"
    return ""


def check_layer(model: nn.Module, layer: str) -> None:
    """Raise ValueError unless ``layer`` is the path of a module of the image tower."""
    names = [name for name, _ in model.named_modules() if name.startswith("visual.")]
    if layer not in names:
        likely = [name for name in names if name.endswith((".ln_1", ".norm1"))] or names[:20]
        raise ValueError(f"layer must be a module of the image tower such as {likely}, got {layer!r}")


def is_torchscript(path: Path) -> bool:
    """Whether a weights file is a TorchScript archive."""
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any("/code/" in name for name in archive.namelist())


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
