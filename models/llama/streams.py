"""KV streams: each sequence has cells of its own, and those decoded together lie side by side.

In unified memory a token is masked against every cell in use, whoever holds it; in a stream only
against its own sequence's. On a CPU that halves the time of a step when personas are distinct.
llama.cpp decodes streams in one pass only where their numbers follow one another (llama-batch.cpp,
`split_equal`), so sequences keep their number here and move among llama.cpp's: whoever is decoded
is brought to the front. A move copies a stream, which takes about as long as decoding a token.
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

    def copy(self, source: int, target: int, length: int) -> None: ...

    def cut(self, sequence: int, length: int) -> None: ...

    def save(self, sequence: int) -> bytes: ...

    def load(self, sequence: int, state: bytes) -> bool: ...


class Streams:
    """`n` streams of a context made without unified memory, for `n` - 1 sequences; one is for moving."""

    def __init__(self, context: Memory, n: int) -> None:
        self._context = context
        self._place = list(range(n - 1))
        self._holder = list(range(n - 1))
        self._spare = n - 1
        self._filled = [False] * (n - 1)
        self._moving: set[int] = set()
        self.copies = 0

    def settle(self, busy: Sequence[int]) -> None:
        """Bring the sequences that are being served to the front, so that no gap is among them."""
        count = len(busy)
        outside = [sequence for sequence in busy if self._place[sequence] >= count]
        if not outside:
            return
        inside = set(busy)
        gaps = [place for place in range(count) if self._holder[place] not in inside]
        for sequence, place in zip(outside, gaps, strict=True):
            self._exchange(sequence, self._holder[place])

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

    def _exchange(self, one: int, other: int) -> None:
        here, there = self._place[one], self._place[other]
        match self._filled[one], self._filled[other]:
            case True, True:
                self._move(here, self._spare)
                self._move(there, here)
                self._move(self._spare, there)
            case True, False:
                self._move(here, there)
                self._context.cut(here, 0)
            case False, True:
                self._move(there, here)
                self._context.cut(there, 0)
        self._place[one], self._place[other] = there, here
        self._holder[here], self._holder[there] = other, one

    def _move(self, source: int, target: int) -> None:
        self._context.copy(source, target, -1)
        self._moving |= {source, target}
        self.copies += 1
