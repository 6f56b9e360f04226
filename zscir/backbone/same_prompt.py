"""The text tower on one prompt with many pseudo-words, without repeating what they share.

In "a photo of *" all rows have the same tokens up to the ``*``, and under a causal mask none of them sees the
pseudo-word. So start, "a", "photo" and "of" run once, and each row runs its ``*`` and its end: 2 tokens in
place of 6, with the same result. Letters in shapes: B rows, P shared tokens, S own tokens, W width, H heads.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from open_clip.transformer import ResidualAttentionBlock
from torch import Tensor, nn

from zscir.backbone.clip import Backbone
from zscir.backbone.text_blocks import after, heads


def encode_same_prompt(backbone: Backbone, ids: Tensor, pseudo_words: Tensor) -> Tensor:
    """Features [B, D], as ``Backbone.compose_tokens`` gives them for ``ids`` repeated B times.

    Args:
        backbone: one whose text tower `has_usual_blocks`.
        ids: token ids [L] of one prompt with one ``*``, from ``backbone.tokenize``.
        pseudo_words: [B, W]; the gradient flows to them.
    """
    tower, count = backbone.text_tower, len(pseudo_words)
    length = int(ids.argmax()) + 1
    star = int((ids == backbone.placeholder_id).nonzero()[0])
    x = tower.token_embedding(ids[:length].to(backbone.device)) + tower.positional_embedding[:length]
    word = pseudo_words.to(x) + tower.positional_embedding[star]
    shared = x[None, :star]  # [1, P, W]
    own = torch.cat([word[:, None], x[star + 1 :].expand(count, -1, -1)], dim=1)  # [B, S, W]
    with backbone.autocast():
        for block in tower.transformer.resblocks:
            shared, own = _block(block, shared, own)
        x = tower.ln_final(own[:, -1])  # [B, W]
        project = tower.text_projection
        if project is not None:
            x = project(x) if isinstance(project, nn.Linear) else x @ project  # [B, D]
    return F.normalize(x.float(), dim=-1)


def _block(block: ResidualAttentionBlock, shared: Tensor, own: Tensor) -> tuple[Tensor, Tensor]:
    """One block on shared [1, P, W] and own [B, S, W] tokens; the own ones see both."""
    before, query = heads(block, shared), heads(block, own)  # [3, 1, H, P, W / H], [3, B, H, S, W / H]
    both = [torch.cat([a.expand(len(own), -1, -1, -1), b], dim=2) for a, b in zip(before, query, strict=True)]
    sees = torch.ones(own.shape[1], both[1].shape[2], dtype=torch.bool, device=own.device)
    sees = sees.tril(shared.shape[1])
    first = F.scaled_dot_product_attention(*before, is_causal=True)
    second = F.scaled_dot_product_attention(query[0], both[1], both[2], attn_mask=sees)
    return after(block, shared, first), after(block, own, second)
