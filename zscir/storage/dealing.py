"""Parts of layers dealt out: processes that want the same layers make each part once between them.

    with Dealt([layer], count) as dealt:
        for index in dealt:
            layer.write(index, ...)

The processes of `torchrun` and ``accelerate launch``, workers of Dask, the same command started twice: who
works on the same layers takes part. A part is held by a lock while it is made. The system takes back the
locks of a process that is killed, and another process makes what is missing. After the loop all parts are
there, whoever made them, so nobody needs to wait anywhere else. Where the file system has no locks, some
parts may be made by several, with the same bytes.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack

from zscir.storage.locks import lock
from zscir.storage.shards import Layer

#: Number of a share, and how many there are; its parts are every so manieth.
Share = tuple[int, int]


def own_share() -> Share:
    """The share of this process, by the variables that torchrun and ``accelerate launch`` set.

    Raises:
        ValueError: one of them is no whole number.
    """
    named = {name: os.environ.get(name, usual) for name, usual in (("RANK", "0"), ("WORLD_SIZE", "1"))}
    for name, value in named.items():
        if not value.isdecimal():
            raise ValueError(f"{name} is {value!r}; legal: a number of processes, as torchrun sets it")
    return int(named["RANK"]), int(named["WORLD_SIZE"])


class Dealt:
    """The parts 0 to ``count`` - 1 that some of the layers lack, to be made one after the other.

    Args:
        layers: what the caller writes for each part.
        count: how many parts each of them has.
        share: only these parts; by default those of `own_share` first, then what the others have not begun.

    Attributes:
        layers: those that were not whole.
        own: the missing parts of the share.
        of: how many shares there are.
    """

    def __init__(self, layers: Sequence[Layer], count: int, share: Share | None = None):
        number, self.of = share or own_share()
        self.layers = [layer for layer in layers if not layer.is_whole]
        self.own = [index for index in range(number, count, self.of) if self._lacks(index)]
        others = [] if share else [index for index in range(count) if index % self.of != number]
        self._left, self._held = [*self.own, *others], {}

    def __enter__(self) -> "Dealt":
        return self

    def __exit__(self, *error: object) -> None:
        for index in list(self._held):
            self.release(index)

    def __iter__(self) -> Iterator[int]:
        for wait in (False, True):
            for index in self.take(wait):
                yield index
                self.release(index)

    def take(self, wait: bool) -> Iterator[int]:
        """Numbers of missing parts, each held by this process alone until `release`.

        Without ``wait`` parts that another process makes now are left for a second call, which waits until
        they are made, or takes over; who makes it must hold no part between two of its steps.
        """
        numbers, self._left = self._left, []
        for index in numbers:
            if not self._lacks(index):
                continue
            with ExitStack() as stack:
                folders = sorted({layer.parts for layer in self.layers})  # all in one order
                places = (folder.with_name(f"{folder.name}-{index}") for folder in folders)
                if any(stack.enter_context(lock(place, wait)) is False for place in places):
                    self._left.append(index)
                    continue
                if not self._lacks(index):  # another process was faster
                    continue
                self._held[index] = stack.pop_all()
            yield index

    def release(self, index: int) -> None:
        """Part ``index`` is written."""
        self._held.pop(index).close()

    def _lacks(self, index: int) -> bool:
        return not all(layer.has(index) for layer in self.layers)
