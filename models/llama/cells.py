"""Who holds which cells of the KV memory: shared by all sequences, or each sequence its own."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


class Cells(Protocol):
    """Counts the cells of `n` sequences, of one token each, as llama.cpp gives them out."""

    cost_of_a_copy: float
    """What it takes to give a sequence another's prefix, on the scale of what it costs to lose one."""
    least_shared: int
    """Tokens that a prefix must have to be worth that."""

    @property
    def total(self) -> int:
        """All cells."""

    @property
    def free(self) -> int:
        """Cells that no sequence uses."""

    def add(self, sequence: int, count: int) -> None:
        """Tokens were decoded into a sequence."""

    def share(self, source: int, target: int, length: int) -> None:
        """A sequence without cells got the first `length` tokens of another."""

    def drop(self, sequence: int, length: int) -> None:
        """All but the first `length` tokens of a sequence were forgotten."""

    def claim(self, length: int) -> int:
        """Cells that a sequence of `length` tokens may keep from others."""

    def takes(
        self, wanted: int, prefix: Callable[[], tuple[int, int]], busy: Sequence[int]
    ) -> bool:
        """Whether a request can have `wanted` cells when of all others only `busy` stay.

        `prefix` tells (sequence, length) of what it reuses, which counts towards them.
        """


class SharedCells:
    """Unified memory: a sequence made from another shares its cells until it decodes its own."""

    cost_of_a_copy = 0.0
    least_shared = 1

    def __init__(self, sequences: int, total: int) -> None:
        self.total = total
        self._held = [array("i") for _ in range(sequences)]
        self._references: NDArray[np.int32] = np.zeros(total, dtype=np.int32)
        self._free = array("i", range(total - 1, -1, -1))

    @property
    def free(self) -> int:
        return len(self._free)

    def add(self, sequence: int, count: int) -> None:
        held = self._held[sequence]
        for _ in range(count):
            cell = self._free.pop()
            self._references[cell] = 1
            held.append(cell)

    def share(self, source: int, target: int, length: int) -> None:
        self._held[target] = self._held[source][:length]
        self._references[self._view(target, length)] += 1

    def drop(self, sequence: int, length: int) -> None:
        held = self._held[sequence]
        for cell in held[length:]:
            self._references[cell] -= 1
            if self._references[cell] == 0:
                self._free.append(cell)
        del held[length:]

    def claim(self, length: int) -> int:
        return length

    def takes(
        self, wanted: int, prefix: Callable[[], tuple[int, int]], busy: Sequence[int]
    ) -> bool:
        source, length = prefix()
        held: NDArray[np.bool_] = np.zeros(self.total, dtype=np.bool_)
        for sequence in busy:
            held[self._view(sequence, -1)] = True
        if length:
            held[self._view(source, length)] = True
        return int(held.sum()) + wanted - length <= self.total

    def _view(self, sequence: int, count: int) -> NDArray[np.int32]:
        return np.frombuffer(self._held[sequence], dtype=np.int32, count=count)


class OwnCells:
    """Streams: every sequence has `each` cells that nobody else uses; to share is to copy.

    A copy is of a whole stream, however short the prefix, so that a few tokens are sooner read again.
    """

    cost_of_a_copy = 2.0

    def __init__(self, sequences: int, each: int, *, least_shared: int = 8) -> None:
        self.least_shared = least_shared
        self.total = sequences * each
        self.free = self.total
        self._each = each
        self._lengths = [0] * sequences

    def add(self, sequence: int, count: int) -> None:
        self._set(sequence, self._lengths[sequence] + count)

    def share(self, source: int, target: int, length: int) -> None:
        self._set(target, length)

    def drop(self, sequence: int, length: int) -> None:
        self._set(sequence, min(self._lengths[sequence], length))

    def claim(self, length: int) -> int:
        return self._each

    def takes(
        self, wanted: int, prefix: Callable[[], tuple[int, int]], busy: Sequence[int]
    ) -> bool:
        # What it needs lies within its own cells, since no conversation is longer than `each`.
        return True

    def _set(self, sequence: int, length: int) -> None:
        if length > self._each:
            raise ValueError(f"a sequence of {self._each} cells can't hold {length} tokens")
        self.free += self._lengths[sequence] - length
        self._lengths[sequence] = length
