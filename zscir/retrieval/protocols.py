"""The choices between a benchmark and a number, each with a name: prompt, cleaning, preprocessing, method.

    >>> compose_prompt(clean_caption("Is red. ", "strip"), "searle")
    'a photo of * that Is red'

Papers differ in them, and a score means little without them; `zscir.retrieval.evaluate` takes them by these
names and stores them with the result.
"""

import re
from collections.abc import Callable

import torch
import torch.nn.functional as F
from PIL import Image, ImageOps
from torch import Tensor

from zscir.storage.checks import SHARE, chosen
from zscir.storage.pictures import check_pixels

#: image: the reference alone; text: the relative caption alone; image+text (also "sum"): the normalised sum
#: of both features; slerp: spherical interpolation between them; inversion: the prompt with the reference's
#: pseudo-word
METHODS = ("image", "text", "image+text", "slerp", "inversion")
_SAME = {"sum": "image+text"}
#: Pic2Word's prompt (Saito et al., CVPR 2023), the paper's too, and SEARLE's (Baldrati et al., ICCV 2023),
#: which LinCIR (Gu et al., CVPR 2024) uses as well
PROMPTS = {"pic2word": "a photo of * , {caption}", "searle": "a photo of * that {caption}"}
TARGET_RATIO = 1.25
_NOISE = re.compile(r"[.!\"()*#:;~]")
_MOST_WORDS = 30


#: none: as in the file; strip: without ".?, " at both ends (SEARLE and LinCIR, for FashionIQ); lower: lower
#: case, punctuation to spaces, at most 30 words (CoVR)
CLEANINGS: dict[str, Callable[[str], str]] = {
    "none": lambda caption: caption,
    "strip": lambda caption: caption.strip(".?, "),
    "lower": lambda caption: " ".join(_NOISE.sub(" ", caption.lower()).split()[:_MOST_WORDS]),
}


def target_pad(image: Image.Image, ratio: float = TARGET_RATIO) -> Image.Image:
    """A long image with black bars at its longer sides, until its sides are as 1 to ``ratio``.

    The centre crop that follows then loses less of it. An image that is square enough is returned as it is.
    CLIP4Cir (Baldrati et al., CVPR Workshops 2022) and SEARLE encode images so, with a ratio of 1.25.

    >>> target_pad(Image.new("RGB", (200, 100))).size
    (200, 160)
    >>> target_pad(Image.new("RGB", (110, 100))).size
    (110, 100)
    """
    longer, shorter = max(image.size), min(image.size)
    if longer / shorter < ratio:
        return image
    side = longer / ratio
    across, down = (max(int((side - length) / 2), 0) for length in image.size)
    check_pixels(image.width + 2 * across, image.height + 2 * down, "an image with black bars (targetpad)")
    return ImageOps.expand(image, (across, down, across, down))


#: clip: the backbone's own (shortest side resized, centre crop); targetpad: `target_pad`, then the same
PREPROCESSINGS: dict[str, Callable[[Image.Image], Image.Image]] = {
    "clip": lambda image: image,
    "targetpad": target_pad,
}


def compose_prompt(caption: str, style: str = "pic2word") -> str:
    """The prompt of a relative caption, with ``*`` where the pseudo-word goes.

    Args:
        caption: the relative caption; a ``*`` of its own becomes a space.
        style: "pic2word", "searle", or a template with one ``*`` and one ``{caption}``.

    Raises:
        ValueError: the style is neither a known name nor such a template.

    >>> compose_prompt("is red")
    'a photo of * , is red'
    >>> compose_prompt("has 5* written on it", "the * which {caption}")
    'the * which has 5  written on it'
    """
    template = PROMPTS.get(str(style), str(style))
    if template.count("*") != 1 or template.count("{caption}") != 1:
        known = ", ".join(map(repr, PROMPTS))
        raise ValueError(
            f"prompt style {style!r} is not one of {known} nor a template with one '*' and one '{{caption}}'"
        )
    return template.replace("{caption}", caption.replace("*", " "))


def clean_caption(caption: str, cleaning: str = "none") -> str:
    """A relative caption in the form that is encoded.

    Args:
        caption: as the benchmark's file has it.
        cleaning: a name in `CLEANINGS`.

    Raises:
        ValueError: another name.

    >>> clean_caption(" Is RED, with (short) sleeves. ", "lower")
    'is red, with short sleeves'
    """
    return CLEANINGS[chosen("cleaning", cleaning, CLEANINGS)](caption)


def check_preprocessing(name: str) -> str:
    """``name`` when it is one of `PREPROCESSINGS`. Raises ValueError with the legal names otherwise."""
    return chosen("preprocessing", name, PREPROCESSINGS)


def method_name(method: str) -> str:
    """A method's name in `METHODS` ("sum" is "image+text"). Raises ValueError with the legal names."""
    return chosen("method", _SAME.get(method, method), METHODS)


def slerp(start: Tensor, end: Tensor, weight: float) -> Tensor:
    """Points on the great circles between unit rows: ``start`` at weight 0, ``end`` at weight 1.

    Args:
        start, end: unit rows [B, D].
        weight: from 0 to 1. Between (nearly) equal or opposite rows it is the normalised straight line.

    Raises:
        ValueError: a weight outside 0 to 1.

    >>> slerp(torch.eye(2)[:1], torch.eye(2)[1:], 1 / 3)
    tensor([[0.8660, 0.5000]])
    """
    if not SHARE.test(weight):
        raise ValueError(f"weight={weight!r} is not a number from 0 to 1")
    angle = torch.arccos((start * end).sum(dim=-1, keepdim=True).clamp(-1, 1))  # [B, 1]
    sine = torch.sin(angle)
    flat = sine < 1e-6
    sine = torch.where(flat, torch.ones_like(sine), sine)
    a = torch.where(flat, torch.full_like(sine, 1 - weight), torch.sin((1 - weight) * angle) / sine)
    b = torch.where(flat, torch.full_like(sine, weight), torch.sin(weight * angle) / sine)
    return F.normalize(a * start + b * end, dim=-1)
