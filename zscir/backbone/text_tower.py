"""The blocks of a causal text tower: no weight is copied, and no work is done twice or without need.

``nn.MultiheadAttention`` puts the places of a text before its batch; on a CPU each of its projections then
copies its weights once for every place. `run_blocks` gives the same numbers without that.

`composed_ends` also knows what a pseudo-word can change. Under a causal mask the tokens before ``*`` (the
*prefix*) do not depend on it: they run without gradient, each once for all rows that begin alike, as all rows
of "a photo of *" do. The tokens from ``*`` to the end (the *suffix*) are packed one after the other, without
padding; in the last block only the end token asks. The result is the same.

Letters in shapes: B rows, n tokens, N packed tokens of all rows, S the longest suffix, P the longest prefix,
U different prefixes, W width, H heads, d = W / H.
"""

import torch
import torch.nn.functional as F
from open_clip.transformer import ResidualAttentionBlock
from torch import Tensor, nn

#: Rows whose attention runs at once, padded to the longest suffix among them.
GROUP = 32


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
        query, key, value = _heads(block, _projected(block, block.ln_1(x)))
        seen = F.scaled_dot_product_attention(query, key, value, is_causal=True)
        x = _after(block, x, seen.transpose(1, 2).flatten(2))
    return x


def composed_ends(tower: nn.Module, ids: Tensor, placeholder: int, pseudo_words: Tensor) -> Tensor:
    """End tokens [B, W] after all blocks, of texts in which pseudo-words stand for the ``*``.

    Args:
        tower: one that `has_usual_blocks`.
        ids: token ids [B, n], one ``*`` in each row; the end token has the highest.
        placeholder: token id of ``*``.
        pseudo_words: [B, W] on the tower's device; the gradient flows to them.
    """
    device, ids = pseudo_words.device, ids.cpu()
    star = (ids == placeholder).int().argmax(dim=1)
    lengths = ids.argmax(dim=1) + 1 - star
    order = (lengths * ids.shape[1] + star).argsort(stable=True)  # like lengths side by side
    ids, star, lengths = ids[order], star[order], lengths[order]
    with torch.no_grad():
        prefixes, which = _prefixes(tower, ids, star, device)
    size = GROUP if device.type == "cpu" else len(ids)
    parts = zip(star.split(size), lengths.split(size), which.split(size), strict=True)
    groups = [_Suffixes(*part, device) for part in parts]
    last = lengths.cumsum(dim=0) - 1
    first = last - lengths + 1
    rows = torch.repeat_interleave(lengths)  # [N]
    places = torch.arange(len(rows)) - (first - star)[rows]
    x = tower.token_embedding(ids[rows, places].to(device))  # [N, W]
    x = x.index_copy(0, first.to(device), pseudo_words[order.to(device)].to(x))
    x = x + tower.positional_embedding[places.to(device)]
    return _run_suffixes(tower, x, last.to(device), groups, prefixes)[order.argsort().to(device)]


def _run_suffixes(
    tower: nn.Module, x: Tensor, last: Tensor, groups: "list[_Suffixes]", prefixes: list[Tensor]
) -> Tensor:
    """Packed tokens [N, W] through all blocks; of the last block only the end tokens [B, W], at ``last``."""
    sizes, rows = [len(group.own) for group in groups], [len(group.slots) for group in groups]
    for block, before in zip(tower.transformer.resblocks, prefixes, strict=True):
        final = block is tower.transformer.resblocks[-1]
        h = block.ln_1(x)
        queries = _projected(block, h[last] if final else h, 0, 1).split(rows if final else sizes)
        own = _projected(block, h, 1, 3).split(sizes)
        parts = zip(groups, queries, own, strict=True)
        seen = [group.attend(block, query, keys, before, final) for group, query, keys in parts]
        x = _after(block, x[last] if final else x, torch.cat(seen))
    return x


class _Suffixes:
    """Rows of like length whose attention runs at once: their places, and what they see.

    Args:
        star: length of each row's prefix [B].
        lengths: of each row's suffix [B].
        which: number of each row's prefix [B].
        device: where the tower lives.
    """

    def __init__(self, star: Tensor, lengths: Tensor, which: Tensor, device: torch.device):
        self.longest_prefix, self.which = int(star.max()), which.to(device)
        count = torch.arange(int(lengths.max()))  # [S]
        last = lengths.cumsum(dim=0)[:, None] - 1
        # the packed token of each place [B, S]: where a row is shorter, its last one; and back [N]
        self.slots = torch.minimum(last - lengths[:, None] + 1 + count, last).to(device)
        self.own = (count < lengths[:, None]).flatten().nonzero().flatten().to(device)
        self.even = len(self.own) == self.slots.numel()
        prefix = torch.arange(self.longest_prefix) < star[:, None]  # [B, P]
        causal = (count <= count[:, None]).expand(len(star), -1, -1)  # [B, S, S]
        sees = torch.cat([prefix[:, None].expand(-1, len(count), -1), causal], dim=2)
        self.sees = sees[:, None].to(device)  # [B, 1, S, P + S]
        self.end_sees = sees[torch.arange(len(star)), lengths - 1][:, None, None].to(device)

    def attend(self, block: nn.Module, query: Tensor, own: Tensor, before: Tensor, final: bool) -> Tensor:
        """What packed queries [N, W], or those of the end tokens [B, W], see of prefix and suffix."""
        query = query[:, None] if final else self._padded(query)
        early = before[:, self.which, :, : self.longest_prefix]  # [2, B, H, P, d]
        own = _heads(block, self._padded(own))  # [2, B, H, S, d]
        key, value = [torch.cat(both, dim=2) for both in zip(early, own, strict=True)]
        mask = self.end_sees if final else self.sees
        seen = F.scaled_dot_product_attention(_heads(block, query)[0], key, value, attn_mask=mask)
        seen = seen.transpose(1, 2).flatten(2).flatten(0, 1)
        return seen if final or self.even else F.embedding(self.own, seen)

    def _padded(self, packed: Tensor) -> Tensor:
        """[B, S, k W] of packed [N, k W]."""
        return packed.unflatten(0, self.slots.shape) if self.even else F.embedding(self.slots, packed)


def _prefixes(
    tower: nn.Module, ids: Tensor, star: Tensor, device: torch.device
) -> tuple[list[Tensor], Tensor]:
    """Keys and values [2, U, H, P, d] of the different prefixes in each block; each row's prefix [B].

    A beginning that several prefixes have in common runs once: in order, it is new where it differs from that
    of the prefix before.
    """
    ids = ids[:, : int(star.max())]
    ids, which = ids.where(torch.arange(ids.shape[1]) < star[:, None], -1).unique(dim=0, return_inverse=True)
    new = torch.ones_like(ids, dtype=torch.bool)  # [U, P]
    new[1:] = (ids[1:] != ids[:-1]).cumsum(dim=1) > 0
    new &= ids >= 0
    numbers = new.flatten().cumsum(dim=0).unflatten(0, new.shape) - 1
    slots = numbers.where(new, 0).cummax(dim=0).values.to(device)  # packed token of each place
    own, (rows, places) = new.flatten().nonzero().flatten().to(device), new.nonzero(as_tuple=True)
    x = tower.token_embedding(ids[rows, places].to(device)) + tower.positional_embedding[places.to(device)]
    kept = []
    for block in tower.transformer.resblocks:
        h = block.ln_1(x)
        kept.append(_heads(block, F.embedding(slots, _projected(block, h, 1, 3))))
        if block is not tower.transformer.resblocks[-1]:
            query = _heads(block, F.embedding(slots, _projected(block, h, 0, 1)))[0]
            seen = F.scaled_dot_product_attention(query, *kept[-1], is_causal=True)
            x = _after(block, x, F.embedding(own, seen.transpose(1, 2).flatten(2).flatten(0, 1)))
    return kept, which


def _projected(block: ResidualAttentionBlock, h: Tensor, first: int = 0, stop: int = 3) -> Tensor:
    """Of queries (0), keys (1) and values (2) those from ``first`` to before ``stop``: [..., k W]."""
    part = slice(first * h.shape[-1], stop * h.shape[-1])
    return F.linear(h, block.attn.in_proj_weight[part], block.attn.in_proj_bias[part])


def _heads(block: ResidualAttentionBlock, projected: Tensor) -> Tensor:
    """[k, B, H, n, d] of [B, n, k W]."""
    return projected.unflatten(-1, (-1, block.attn.num_heads, block.attn.head_dim)).permute(2, 0, 3, 1, 4)


def _after(block: ResidualAttentionBlock, x: Tensor, seen: Tensor) -> Tensor:
    """Tokens [..., W] after the block, from those before it and what attention saw [..., W]."""
    x = x + block.ls_1(block.attn.out_proj(seen))
    return x + block.ls_2(block.mlp(block.ln_2(x)))
