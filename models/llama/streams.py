"""KV streams: each sequence has cells of its own, and those decoded together lie side by side.

In unified memory a token is masked against every cell in use, whoever holds it; in a stream only
against its own sequence's. On a CPU that halves the time of a step when personas are distinct.
llama.cpp decodes streams in one pass only where their numbers follow one another (llama-batch.cpp,
`split_equal`), so sequences keep their number here and move among llama.cpp's: those that are decoded
together, under one adapter, are brought side by side. A move carries the state of the cells in use
where that is much less than the stream; llama.cpp's own copy is whole, and waits for the next decode.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Part = tuple[int, int, Sequence[int], bool]
"""(sequence, first position, tokens, whether the last one's logits are wanted)"""


class Memory(Protocol):
    """The part of a context that streams drive, by llama.cpp's own sequence numbers."""

    def decode(self, parts: Sequence[Part]) -> NDArray[np.float32]: ...

    def first(self, sequence: int) -> int: ...

    def last(self, sequence: int) -> int: ...

    def carry(self, source: int, target: int) -> bool: ...

    def copy(self, source: int, target: int, length: int) -> None: ...

    def cut(self, sequence: int, length: int) -> None: ...

    def save(self, sequence: int) -> bytes: ...

    def load(self, sequence: int, state: bytes) -> bool: ...


class Streams:
    """`n` streams of a context made without unified memory, for `n` - 1 sequences; one is for moving.

    `whole`: states lack what later requests may need (layers with a sliding window), streams are copied.
    """

    def __init__(self, context: Memory, n: int, *, whole: bool = False) -> None:
        self._context = context
        self._whole = whole
        self._place = list(range(n - 1))
        self._holder = [*range(n - 1), -1]
        self._spare = n - 1
        self._filled = [False] * (n - 1)
        self._moving: set[int] = set()
        self.copies = 0

    def settle(self, cohorts: Sequence[Sequence[int]]) -> None:
        """Bring the sequences that are being served to the front, each cohort without a gap."""
        begin = 0
        for cohort in cohorts:
            end = begin + len(cohort)
            outside = [each for each in cohort if not begin <= self._place[each] < end]
            if outside:
                inside = set(cohort)
                gaps = [at for at in range(begin, end) if self._holder[at] not in inside]
                for sequence, place in zip(outside, gaps, strict=True):
                    self._bring(sequence, place)
            begin = end

    def place(self, sequence: int) -> int:
        """Which stream a sequence is in; batches must be in the order of their streams."""
        return self._place[sequence]

    def decode(self, parts: Sequence[Part]) -> NDArray[np.float32]:
        """As Context.decode."""
        self._moving.clear()
        placed: list[Part] = []
        for sequence, position, tokens, output in parts:
            self._filled[sequence] = True
            placed.append((self._place[sequence], position, tokens, output))
        return self._context.decode(placed)

    def first(self, sequence: int) -> int:
        """As Context.first."""
        return self._context.first(self._place[sequence])

    def last(self, sequence: int) -> int:
        """As Context.last."""
        return self._context.last(self._place[sequence])

    def copy(self, source: int, target: int, length: int) -> None:
        """Give `target` (empty) the first `length` tokens of `source`."""
        self._move(self._place[source], self._place[target])
        self._context.cut(self._place[target], length)
        self._filled[target] = True

    def cut(self, sequence: int, length: int) -> None:
        """Keep only the first `length` tokens of a sequence."""
        self._context.cut(self._place[sequence], length)
        self._filled[sequence] = self._filled[sequence] and length > 0

    def save(self, sequence: int) -> bytes:
        """The state of a sequence; b"" when it can't be had."""
        # llama.cpp copies streams when it next decodes; until then a target holds something else.
        place = self._place[sequence]
        return b"" if place in self._moving else self._context.save(place)

    def load(self, sequence: int, state: bytes) -> bool:
        """Put a state into an empty sequence; False when it doesn't fit."""
        place = self._place[sequence]
        if place in self._moving or not self._context.load(place, state):
            return False
        self._filled[sequence] = True
        return True

    def _bring(self, sequence: int, there: int) -> None:
        """Put a sequence into a stream; whoever was in it goes to the spare one, if they hold anything."""
        here, other = self._place[sequence], self._holder[there]
        refuge = here
        if other >= 0 and self._filled[other]:
            self._move(there, self._spare)
            refuge, self._spare = self._spare, here
        elif other < 0:
            self._spare = here
        if self._filled[sequence]:
            self._move(here, there)
        else:
            self._context.cut(there, 0)
        self._context.cut(here, 0)
        self._put(sequence, there)
        self._put(other, refuge)
        self._holder[self._spare] = -1

    def _put(self, sequence: int, place: int) -> None:
        if sequence >= 0:
            self._place[sequence] = place
            self._holder[place] = sequence

    def _move(self, source: int, target: int) -> None:
        self.copies += 1
        ordered = self._whole or not self._moving.isdisjoint((source, target))
        if ordered or not self._context.carry(source, target):
            self._context.copy(source, target, -1)
            self._moving |= {source, target}
