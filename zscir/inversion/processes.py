"""One training in one process or in many, by the same lines of code.

    torchrun --nproc_per_node 2 -m zscir train --backbone ViT-L-14 --pretrained openai --pairs /data/cc3m

Every process holds phi, and knows every feature of the batch; what is shared out is the costly part, the
text tower. The rows of a batch are dealt out in order, as evenly as they go: of 5 rows, two processes take 3
and 2. No row is dropped or repeated. The text features are gathered, each process computes the loss of the
whole batch, and the gradients of the parts are added up: the training is that of one process, up to rounding.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import torch
from torch import Tensor

from zscir.backbone import Backbone


class Processes:
    """Who else trains. Alone (not started by torchrun or ``accelerate launch``), every method is trivial.

    Attributes:
        count: number of processes.
        index: this one's number; 0 writes files and prints.
        device: where this process should work, such as "cuda:1"; None alone (the backbone decides).
    """

    def __init__(self):
        self.count, self.index, self.device = int(os.environ.get("WORLD_SIZE", "1")), 0, None
        if self.count > 1:
            from accelerate import Accelerator
            from accelerate.utils import InitProcessGroupKwargs

            patient = InitProcessGroupKwargs(timeout=timedelta(days=7))  # while the first makes masked pairs
            accelerator = Accelerator(cpu=not torch.cuda.is_available(), kwargs_handlers=[patient])
            self.count, self.index = accelerator.num_processes, accelerator.process_index
            self.device = str(accelerator.device)

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
        from accelerate.utils import gather

        part, most = self.part(rows), -(-rows // self.count)
        padded = torch.zeros(most, *own.shape[1:], dtype=own.dtype, device=own.device)
        padded[: len(own)] = own.detach()
        parts = gather(padded).split(most)
        sizes = [rows // self.count + (number < rows % self.count) for number in range(self.count)]
        full = torch.cat([one[:size] for one, size in zip(parts, sizes, strict=True)])
        return torch.cat([full[: part.start], own, full[part.stop :]])

    def add_gradients(self, parameters: list[Tensor]) -> None:
        """Each gradient becomes the sum of all processes' gradients."""
        if self.count > 1:
            from accelerate.utils import reduce

            for parameter in parameters:
                parameter.grad.copy_(reduce(parameter.grad, reduction="sum"))

    def first_then_all(self, work: Callable[[], Any]) -> Any:
        """The result of ``work``, which the first process does before the others (who find it stored)."""
        if self.count > 1 and not self.first:
            self.wait()
        result = work()
        if self.count > 1 and self.first:
            self.wait()
        return result

    def wait(self) -> None:
        """Until all processes are here."""
        if self.count > 1:
            from accelerate.utils import wait_for_everyone

            wait_for_everyone()

    def agree(self, value: Any) -> Any:
        """The first process's value, in all."""
        if self.count == 1:
            return value
        from accelerate.utils import broadcast_object_list

        return broadcast_object_list([value], from_process=0)[0]


class SharedTower:
    """A backbone whose text tower encodes this process's rows only; the losses take it for a backbone.

    ``logit_scale`` is the backbone's own unless another is given.
    """

    def __init__(self, backbone: Backbone, processes: Processes, logit_scale: float | None = None):
        self.backbone, self.processes = backbone, processes
        self.logit_scale = backbone.logit_scale if logit_scale is None else logit_scale

    def compose_tokens(self, ids: Tensor, pseudo_words: Tensor) -> Tensor:
        """Features [B, D] of all rows, as ``Backbone.compose_tokens``, of which it encodes its own part."""
        part = self.processes.part(len(ids))
        if part.stop == part.start:
            own = pseudo_words.new_zeros(0, self.backbone.dim)
        else:
            own = self.backbone.compose_tokens(ids[part], pseudo_words[part])
        return self.processes.gather(own, len(ids))
