"""An image tower that keeps in a patch what the patch shows: how it starts, and what it pays for looking far.

A Vision Transformer as small as the pocket's learns to gather the whole picture in every patch, and then no
map of its patches says where a thing is. Two measures keep it local, both while it is trained only; what
comes out is an ordinary open_clip model:

* `start_local`: positions start as waves in two dimensions and the attention as a comparison of them, so at
  first every patch looks around itself (after the mimetic start of Trockman and Kolter, 2023);
* `image_tokens`: runs the tower and also returns how far its patches look, on average; the training adds it
  to its loss.

Letters in shapes: B pictures, P patches of a whole picture, n kept patches, W width, D joint width.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional


@torch.no_grad()
def start_local(visual: nn.Module, sharpness: float = 1.2) -> None:
    """Change a fresh open_clip image tower in place, so that every patch first looks around itself."""
    width, (rows, columns) = visual.conv1.out_channels, visual.grid_size
    pixels = visual.conv1.weight[0].numel()
    amplitude = 1.4 * float(visual.conv1.weight.std()) * math.sqrt(pixels)  # that of an embedded patch
    visual.positional_embedding[1:] = amplitude * waves(rows, columns, width, _heads(visual))
    for block in visual.transformer.resblocks:
        compare = block.attn.in_proj_weight[: 2 * width]  # queries, then keys
        compare *= 0.3
        compare[:width] += sharpness * torch.eye(width)
        compare[width:] += torch.eye(width)


def waves(rows: int, columns: int, width: int, heads: int) -> Tensor:
    """Positions [rows * columns, width] as sines and cosines; each head gets long and short waves."""
    y, x = (axis.flatten()[:, None].float() for axis in _axes(rows, columns))
    lengths = torch.logspace(math.log10(5), math.log10(4 * max(rows, columns)), width // 4)
    turns = 2 * math.pi / lengths
    parts = torch.stack([(y * turns).sin(), (y * turns).cos(), (x * turns).sin(), (x * turns).cos()], dim=-1)
    spread = torch.arange(width // 4).view(-1, heads).T.flatten()
    return parts[:, spread].flatten(1)


def image_tokens(
    visual: nn.Module, pixels: Tensor, kept: Tensor | None = None, reach: float = 4.0
) -> tuple[Tensor, Tensor, Tensor]:
    """Run the tower of pool type "avg" and see how far its patches look.

    Args:
        visual: open_clip's ``VisionTransformer``.
        pixels: [B, 3, S, S], normalised.
        kept: [B, n] int64, the patches to run on (all when None); the others are left out, as FLIP does.
        reach: distance, in patches, from which on looking counts in full.

    Returns:
        Pooled features [B, D] and patch features [B, n, D], neither normalised, and a scalar in [0, 1]: the
        attention of patches to patches, weighted with (distance / reach) squared, at most 1, on average over
        blocks, heads and patches. Attention to the class token counts in full.
    """
    x = visual._embeds(pixels)  # [B, 1 + P, W], the class token first
    if kept is None:
        kept = torch.arange(x.shape[1] - 1, device=x.device).expand(len(x), -1)
    else:
        chosen = functional.pad(kept + 1, (1, 0))  # [B, 1 + n]
        x = x.gather(1, chosen[..., None].expand(-1, -1, x.shape[2]))
    cost = _cost(kept, visual.grid_size, reach)  # [B, 1 + n, 1 + n]
    far = []
    for block in visual.transformer.resblocks:
        gathered, attention = _attend(block.attn, block.ln_1(x))
        far.append((attention * cost[:, None]).sum(dim=3)[:, :, 1:].mean())
        x = x + gathered
        x = x + block.mlp(block.ln_2(x))
    patches = visual.ln_post(x)[:, 1:]
    return patches.mean(dim=1) @ visual.proj, patches @ visual.proj, torch.stack(far).mean()


def _attend(attention: nn.MultiheadAttention, x: Tensor) -> tuple[Tensor, Tensor]:
    """Output [B, T, W] of a self-attention and its weights [B, heads, T, T], float32."""
    size, tokens, width = x.shape
    mixed = functional.linear(x, attention.in_proj_weight, attention.in_proj_bias)
    query, key, value = mixed.view(size, tokens, 3, attention.num_heads, -1).permute(2, 0, 3, 1, 4)
    weights = (query @ key.transpose(2, 3) * query.shape[3] ** -0.5).float().softmax(dim=3)
    gathered = (weights.to(value.dtype) @ value).transpose(1, 2).reshape(size, tokens, width)
    return attention.out_proj(gathered), weights


def _cost(kept: Tensor, grid: tuple[int, int], reach: float) -> Tensor:
    """What it costs each token to look at each other: [B, 1 + n, 1 + n], the class token first."""
    place = torch.stack([kept // grid[1], kept % grid[1]], dim=2).float()
    size, count = kept.shape
    cost = torch.ones(size, 1 + count, 1 + count, device=kept.device)
    cost[:, 1:, 1:] = (torch.cdist(place, place) / reach).clamp(max=1).square()
    cost[:, 0] = 0
    return cost


def _axes(rows: int, columns: int) -> tuple[Tensor, Tensor]:
    return torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")


def _heads(visual: nn.Module) -> int:
    return visual.transformer.resblocks[0].attn.num_heads
