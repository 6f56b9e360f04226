"""One training in one process or in many, by the same lines of code.

    torchrun --nproc_per_node 2 -m zscir train --backbone ViT-L-14 --pretrained openai --pairs /data/cc3m

Every process holds phi, and knows every feature of the batch; what is shared out is the costly part, the
text tower. The rows of a batch are dealt out in order, as evenly as they go: of 5 rows, two processes take 3
and 2. No row is dropped or repeated. The text features are gathered, each process computes the loss of the
whole batch, and the gradients of the parts are added up: the training is that of one process, up to rounding.
The masked pairs are made by all of them, too: `zscir.storage.dealing`.
"""

import os
from typing import Any

import torch
from torch import Tensor

from zscir.backbone import Backbone
from zscir.storage.dealing import own_share


class Processes:
    """Who else trains. Alone (not started by torchrun or ``accelerate launch``), every method is trivial.

    Attributes:
        count: number of processes.
        index: this one's number; 0 writes files and prints.
        device: where this process should work, such as "cuda:1"; None alone (the backbone decides).
    """

    def __init__(self):
        self.count, self.index, self.device = own_share()[1], 0, None
        if self.count > 1:
            import accelerate

            if not torch.distributed.is_initialized():
                _meet()
            self._state = accelerate.Accelerator(cpu=not torch.cuda.is_available())
            self._utils = accelerate.utils
            self.count, self.index = self._state.num_processes, self._state.process_index
            self.device = str(self._state.device)

    @property
    def first(self) -> bool:
        """Whether this process writes and prints."""
        return self.index == 0

    def part(self, rows: int) -> slice:
        """Which of so many rows are this process's own."""
        size, left = divmod(rows, self.count)
        start = self.index * size + min(self.index, left)
        return slice(start, start + size + (self.index < left))

    def gather(self, own: Tensor, rows: int) -> Tensor:
        """All [rows, D] of which ``own`` is this process's `part`; gradient flows to that part alone."""
        if self.count == 1:
            return own
        part, most = self.part(rows), -(-rows // self.count)
        padded = torch.zeros(most, *own.shape[1:], dtype=own.dtype, device=own.device)
        padded[: len(own)] = own.detach()
        parts = self._utils.gather(padded).split(most)
        sizes = [rows // self.count + (number < rows % self.count) for number in range(self.count)]
        full = torch.cat([dealt[:size] for dealt, size in zip(parts, sizes, strict=True)])
        return torch.cat([full[: part.start], own, full[part.stop :]])

    def add_gradients(self, parameters: list[Tensor]) -> None:
        """Each gradient becomes the sum of all processes' gradients."""
        for parameter in parameters if self.count > 1 else ():
            parameter.grad.copy_(self._utils.reduce(parameter.grad, reduction="sum"))

    def wait(self) -> None:
        """Until all processes are here."""
        if self.count > 1:
            self._state.wait_for_everyone()

    def agree(self, value: Any) -> Any:
        """The first process's value, in all."""
        return value if self.count == 1 else self._utils.broadcast_object_list([value], from_process=0)[0]


def _meet() -> None:
    """The processes find each other through a store of addresses.

    The store of torchrun outlives its restarts; each start has a part of its own, or it calls on the dead.
    """
    store, rank, count = next(torch.distributed.rendezvous("env://"))
    store = torch.distributed.PrefixStore(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0"), store)
    kind = "nccl" if torch.cuda.is_available() else "gloo"
    torch.distributed.init_process_group(kind, store=store, rank=rank, world_size=count)


class SharedTower:
    """A backbone whose text tower encodes this process's rows only; the losses take it for a backbone."""

    def __init__(self, backbone: Backbone, processes: Processes):
        self.backbone, self.processes, self.logit_scale = backbone, processes, backbone.logit_scale

    def compose_tokens(self, ids: Tensor, pseudo_words: Tensor) -> Tensor:
        """Features [B, D] of all rows, as ``Backbone.compose_tokens``, of which it encodes its own part."""
        part = self.processes.part(len(ids))
        if part.stop == part.start:
            own = pseudo_words.new_zeros(0, self.backbone.dim)
        else:
            own = self.backbone.compose_tokens(ids[part], pseudo_words[part])
        return self.processes.gather(own, len(ids))
