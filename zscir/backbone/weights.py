"""Weight files of the backbone: build the model they belong to, read, check and write them.

A folder of weights holds ``open_clip_config.json`` and one weights file; `zscir.backbone.load_backbone`
reads it.
"""

import argparse
import hashlib
import json
import re
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from copy import deepcopy
from pathlib import Path

import open_clip
import torch
from open_clip.convert import convert_state_dict
from open_clip.model import convert_to_custom_text_state_dict, resize_pos_embed, resize_text_pos_embed
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from zscir.storage.artifacts import archive_damage
from zscir.storage.contents import content_hash
from zscir.storage.whole import written_whole

CONFIG_FILE = "open_clip_config.json"
POCKET_WEIGHTS = Path(__file__).parents[1] / "pocket" / "weights"
#: Bytes by which a file of torch may grow when it is unpacked: only TorchScript's code is compressed.
_SLACK = 2**24
#: How files begin that are no weights, and what they are.
_NO_WEIGHTS = {
    b"version https://git-lfs": "a Git-LFS pointer (`git lfs pull` fetches the file)",
    b"<": "a web page",
    b"": "empty",
}
#: Where training checkpoints keep their weights.
_WRAPPERS = ("state_dict", "model_state_dict", "model", "module")
_OPENAI_SIZES = ("input_resolution", "context_length", "vocab_size")
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
    if missing := {"embed_dim", "vision_cfg", "text_cfg"} - set(cfg):
        raise ValueError(f"model_cfg describes no CLIP: it lacks {sorted(missing)}")
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
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return model_class(**cfg)
    except (TypeError, ValueError, AttributeError, AssertionError) as error:
        raise ValueError(f"model_cfg describes no CLIP ({error}), got {model_cfg}") from error


def read_weights(path: Path) -> tuple[dict[str, Tensor], bool, str]:
    """Tensors of a weights file by name, whether it has OpenAI's form (archive, or sizes), and a note.

    Its kind is known by its bytes, not by its ending. Understood are safetensors, a PyTorch state dict, alone
    or anywhere in a training checkpoint, and OpenAI's TorchScript archives. What trainers put before every
    name is cut off. The note says which weights were taken of several, such as averages beside the others.

    Raises:
        ValueError: the file is empty, cut short, a page, a pointer or anything else than weights, or a weight
            is no finite number.
    """
    with path.open("rb") as file:
        head = file.read(64)
    for start, what in _NO_WEIGHTS.items():
        if head.removeprefix(b"\xef\xbb\xbf").lstrip().lower().startswith(start) and (start or not head):
            raise ValueError(f"{path} is {what}, not weights")
    archive = is_torchscript(path)
    if archive and _runs_code(path):
        raise ValueError(f"{path} holds code that runs when it is loaded, save its state dict alone")
    try:
        with warnings.catch_warnings(action="ignore"), torch.serialization.safe_globals([argparse.Namespace]):
            if head[8:9] == b"{":  # after the length of its header
                content = load_file(path)
            elif archive:
                content = torch.jit.load(path, map_location="cpu").state_dict()
            else:
                with path.open("rb") as file:  # of a path the ending would decide
                    content = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # damaged bytes can raise anything, with advice that nobody should follow
        more = re.search(r"GLOBAL (\S+)", str(error))
        why = f": it holds code ({more[1]}), save its state dict alone" if more else ""
        raise ValueError(f"{path} is cut short, or no weights file ({type(error).__name__}){why}") from None
    if head[:2] == b"PK" and (trouble := archive_damage(path)):
        raise ValueError(f"{path} is damaged: {trouble}; fetch it again")
    found = list(_states(content, ""))
    if not found:
        entries = list(content)[:8] if isinstance(content, Mapping) else type(content).__name__
        raise ValueError(f"{path} holds no weights by name; its entries are {entries}")
    found = [entry for entry in found if "logit_scale" in entry[1]] or found
    (place, state), *others = found
    sizes = [state.pop(key) for key in _OPENAI_SIZES if key in state]
    note = f"weights of {place!r}, not {', '.join(repr(other) for other, _ in others)}" if others else ""
    _check_tensors(path, state)
    return state, bool(sizes) or archive, note


def _states(content: object, place: str) -> Iterator[tuple[str, dict]]:
    """Place and entries, without what stands before every name, of every set of weights in a file's content.

    One with a ``logit_scale``, as each CLIP has, or else nothing but tensors. The usual places come first.
    """
    if not isinstance(content, Mapping) or not all(isinstance(key, str) for key in content):
        return
    scales = [key for key in content if f".{key}".endswith(".logit_scale")]
    prefixes = sorted({key.removesuffix("logit_scale") for key in scales}, key=len)
    if not scales and content and all(isinstance(value, Tensor) for value in content.values()):
        prefixes = [""]
    for prefix in prefixes:
        state = {key.removeprefix(prefix): value for key, value in content.items() if key.startswith(prefix)}
        yield (
            (place + prefix).rstrip("."),
            state | {key: content[key] for key in _OPENAI_SIZES if key in content},
        )
    if not prefixes:
        for key in sorted(content, key=lambda key: key not in _WRAPPERS):
            yield from _states(content[key], f"{place}{key}.")


def _check_tensors(path: Path, state: dict[str, Tensor]) -> None:
    """ValueError for entries that are no tensors, or not of finite numbers."""

    def is_plain(value: object) -> bool:
        dense = isinstance(value, Tensor) and value.layout == torch.strided
        return dense and not value.is_meta and not value.is_complex()

    if others := [key for key, value in state.items() if not is_plain(value)]:
        raise ValueError(f"{path} holds no weights by name: no plain tensors are {others[:8]}")
    if broken := [key for key, value in state.items() if not value.float().isfinite().all()]:
        raise ValueError(f"{path} has weights that are not finite: {', '.join(broken[:8])}")


def load_weights(model: nn.Module, state: dict[str, Tensor], path: Path) -> str:
    """Load what `read_weights` gave into ``model`` (strict); half precision becomes the model's float32.

    Returns:
        Which position embeddings were resized to those of the architecture, in words; or "".

    Raises:
        ValueError: the weights of ``path`` are those of another architecture.
    """
    try:
        state = convert_state_dict(model, dict(state))
        if "positional_embedding" in state and not hasattr(model, "positional_embedding"):
            state = convert_to_custom_text_state_dict(state)
        for key in ("logit_scale", "logit_bias"):  # a number, or one of one
            if key in state and getattr(model, key, None) is not None:
                state[key] = state[key].reshape(getattr(model, key).shape)
        if getattr(model, "logit_bias", None) is not None:
            state.setdefault("logit_bias", torch.zeros_like(state["logit_scale"]))
        whole = [key for key, value in model.state_dict().items() if value.is_floating_point()]
        if whole := [key for key in whole if key in state and not state[key].is_floating_point()]:
            raise ValueError(f"{path} holds integers where weights belong: {', '.join(whole[:8])}")
        places = {key: value.float() for key, value in state.items() if key.endswith("positional_embedding")}
        state |= places
        resize_pos_embed(state, model)
        resize_text_pos_embed(state, model)
        model.load_state_dict(state)
    except (RuntimeError, KeyError, AssertionError, AttributeError, NotImplementedError) as error:
        said = " ".join(str(error).split())[:300]
        raise ValueError(f"{path} holds weights of another architecture: {said}") from error
    changes = ((key, len(value), len(state[key])) for key, value in places.items())
    return ", ".join(f"{key} resized from {old} to {new}" for key, old, new in changes if old != new)


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
    try:
        config = json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8-sig"))
    except ValueError as error:
        raise ValueError(f"{folder / CONFIG_FILE} is no JSON: {error}") from error
    if not isinstance(config, dict) or not isinstance(config.get("model_cfg"), dict):
        raise ValueError(f"{folder / CONFIG_FILE} has no 'model_cfg', only {sorted(config)}")
    expected = config.get("weights_sha256")
    if expected is not None and expected != content_hash(weights):
        raise ValueError(
            f"{weights} is not the file that {CONFIG_FILE} was written with; fetch or save both again"
        )
    return config, weights


def read_architecture(name: str, pretrained: str | None) -> tuple[dict, dict | Path | None]:
    """Config dict of an open_clip architecture and its weights: a tag's settings, a file, or None (random).

    Raises:
        ValueError: ``pretrained`` is neither a tag of this architecture, nor a file, nor "random"; or
            FileNotFoundError, where it is a path.
    """
    config = {"model_cfg": open_clip.get_model_config(name), "preprocess_cfg": {}}
    if pretrained == "random":
        return config, None
    if tag := open_clip.get_pretrained_cfg(name, pretrained) if pretrained else {}:
        config["preprocess_cfg"] = _preprocessing(tag)
        config["model_cfg"] |= {"quick_gelu": True} if tag.get("quick_gelu", False) else {}
        return config, tag
    if pretrained and (file := Path(pretrained).expanduser()).is_file():
        return config, file
    tags = ", ".join(open_clip.list_pretrained_tags_by_model(name))
    kind = ValueError if Path(str(pretrained)).name == str(pretrained) else FileNotFoundError
    raise kind(f"pretrained is {pretrained!r}; legal for {name}: {tags}, a weights file, random")


def assume(config: dict, name: str, openai: bool, quick_gelu: bool | None = None) -> str:
    """Fill in what a weights file does not tell, activation and preprocessing; in words, with the reason.

    Args:
        config: as `read_architecture` gives it; changed.
        name: the architecture.
        openai: whether the file has OpenAI's form (`read_weights`).
        quick_gelu: the activation, where the caller knows it.
    """
    known = [open_clip.get_pretrained_cfg(name, tag) for tag in open_clip.list_pretrained_tags_by_model(name)]
    own, why = bool(config["model_cfg"].get("quick_gelu")), "as the architecture"
    if quick_gelu is not None:
        own, why = quick_gelu, "as asked"
    elif not own and openai:
        own, why = True, "as OpenAI's files"
    elif not own and known and all(tag.get("quick_gelu") for tag in known):
        own, why = True, "as every published tag"
    if own != bool(config["model_cfg"].get("quick_gelu")):
        config["model_cfg"]["quick_gelu"] = own
    ways = [_preprocessing(tag) for tag in known] or [{}]
    shared = all(way == ways[0] for way in ways) and bool(known) and not openai
    config["preprocess_cfg"] = ways[0] if shared else {}
    said = "every published tag" if shared else "OpenAI's"
    return f"{'QuickGELU' if own else 'GELU'}, {why}; preprocessing as {said}"


def _preprocessing(tag: dict) -> dict:
    """What a published tag says of preprocessing."""
    return {key: tag[key] for key in ("mean", "std", "interpolation", "resize_mode") if tag.get(key)}


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
        record = {**config, "weights_sha256": content_hash(weights)}
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
    """Whether a weights file is a TorchScript archive. Raises ValueError as `zip_entries`."""
    return any("/code/" in entry.filename for entry in zip_entries(path))


def zip_entries(path: Path) -> list[zipfile.ZipInfo]:
    """What a zip holds, such as torch writes; of any other file nothing.

    Raises:
        ValueError: unpacked it would be far larger than the file, which no file of torch is.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
    except Exception:  # damaged bytes can raise anything
        return []
    packed, unpacked = path.stat().st_size, sum(entry.file_size for entry in entries)
    if unpacked > 2 * packed + _SLACK:
        raise ValueError(
            f"{path} has {packed:,} bytes and unpacked {unpacked:,}; legal: a file that torch wrote"
        )
    return entries


def _runs_code(path: Path) -> bool:
    """Whether loading a TorchScript archive would run code of its own; of a damaged one, False."""
    try:
        with zipfile.ZipFile(path) as archive:
            code = [name for name in archive.namelist() if "/code/" in name and name.endswith(".py")]
            return any(b"__setstate__" in archive.read(name) for name in code)
    except Exception:  # damaged bytes can raise anything
        return False
