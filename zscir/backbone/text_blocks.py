"""The blocks of a causal text tower, run so that no weight is copied.

``nn.MultiheadAttention`` puts the places of a text before its batch; on a CPU each of its projections then
copies its weights once for every place, half the time of a training step. These functions give the same
numbers without that, in a form that `zscir.backbone.same_prompt` can cut in two. Letters in shapes: B rows, n
tokens, W width, H heads.
"""

from __future__ import annotations

import torch.nn.functional as F
from open_clip.transformer import ResidualAttentionBlock
from torch import Tensor, nn


def has_usual_blocks(tower: nn.Module) -> bool:
    """Whether this module knows a text tower: causal, of open_clip's usual blocks."""
    return tower.attn_mask is not None and all(
        type(block) is ResidualAttentionBlock
        and type(block.attn) is nn.MultiheadAttention
        and block.attn.in_proj_weight is not None
        and not hasattr(block, "ln_1_kv")
        for block in tower.transformer.resblocks
    )


def run_blocks(tower: nn.Module, x: Tensor) -> Tensor:
    """Tokens [B, n, W] after all blocks of a tower that `has_usual_blocks`; none sees a later one."""
    for block in tower.transformer.resblocks:
        query, key, value = heads(block, x)
        x = after(block, x, F.scaled_dot_product_attention(query, key, value, is_causal=True))
    return x


def heads(block: ResidualAttentionBlock, x: Tensor) -> Tensor:
    """Queries, keys and values [3, B, H, n, W / H] of tokens [B, n, W]."""
    attention = block.attn
    projected = F.linear(block.ln_1(x), attention.in_proj_weight, attention.in_proj_bias)
    return projected.unflatten(-1, (3, attention.num_heads, -1)).permute(2, 0, 3, 1, 4)


def after(block: ResidualAttentionBlock, x: Tensor, seen: Tensor) -> Tensor:
    """Tokens [B, n, W] after the block, from those before it and what attention saw [B, H, n, W / H]."""
    x = x + block.ls_1(block.attn.out_proj(seen.transpose(1, 2).flatten(2)))
    return x + block.ls_2(block.mlp(block.ln_2(x)))
