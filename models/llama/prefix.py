"""Which KV sequences hold which tokens, what may be shared, and what is evicted first.

The table mirrors what llama.cpp's unified KV memory holds: every sequence is a list of tokens, each
in a cell; a fork shares the cells of its source, and a cell is free when no sequence uses it any
more. A sequence whose request has ended stays as a prefix for later ones until its cells or its id
are needed: least recently used goes first.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray


class Memory(Protocol):
    """The part of a context that the table drives."""

    def copy(self, source: int, target: int, length: int) -> None: ...

    def cut(self, sequence: int, length: int) -> None: ...


@dataclass(slots=True)
class _Row:
    tokens: array[int] = field(default_factory=lambda: array("i"))
    cells: array[int] = field(default_factory=lambda: array("i"))
    busy: bool = False
    used: int = 0


Tokens: TypeAlias = "array[int] | NDArray[np.int32]"
"""Anything with int32 tokens in a row in memory."""


def common(left: Tokens, right: Tokens) -> int:
    """How many tokens two lists share from the start."""
    size = min(len(left), len(right))
    if size == 0:
        return 0
    ours: NDArray[np.int32] = np.frombuffer(left, dtype=np.int32, count=size)
    theirs: NDArray[np.int32] = np.frombuffer(right, dtype=np.int32, count=size)
    different = ours != theirs
    first = int(different.argmax())
    return first if different[first] else size


class SequenceTable:
    """All sequences of one context; `n_cells` tokens fit at once.

    With `shares` unset (recurrent models) nothing is reused.
    """

    def __init__(self, memory: Memory, n_seq: int, n_cells: int, *, shares: bool = True) -> None:
        self._memory = memory
        self._rows = [_Row() for _ in range(n_seq)]
        self._references: NDArray[np.int32] = np.zeros(n_cells, dtype=np.int32)
        self._free = array("i", range(n_cells - 1, -1, -1))
        self._clock = 0
        self._shares = shares
        self.n_cells = n_cells
        self.evicted = 0

    @property
    def free_cells(self) -> int:
        """Cells that no sequence uses."""
        return len(self._free)

    @property
    def kept(self) -> int:
        """Idle sequences kept for reuse."""
        return sum(1 for row in self._rows if not row.busy and row.tokens)

    def length(self, sequence: int) -> int:
        """How many tokens a sequence holds."""
        return len(self._rows[sequence].tokens)

    def longest_prefix(self, tokens: NDArray[np.int32]) -> tuple[int, int]:
        """(sequence, length) of the longest prefix of `tokens` held anywhere; (-1, 0) for none.

        The last token is never counted: it must be decoded again to give logits.
        """
        best, best_length = -1, 0
        if self._shares:
            for index, row in enumerate(self._rows):
                if len(row.tokens) > best_length:
                    length = min(common(row.tokens, tokens), len(tokens) - 1)
                    if length > best_length:
                        best, best_length = index, length
        return best, best_length

    def fits(self, tokens: NDArray[np.int32], extra: int, promised: int) -> bool:
        """Whether a request of `tokens` and `extra` more could start now, evicting what is idle.

        `promised` cells are set aside for the requests already under way.
        """
        source, length = self.longest_prefix(tokens)
        held: NDArray[np.bool_] = np.zeros(self.n_cells, dtype=np.bool_)
        for row in self._rows:
            if row.busy:
                held[np.frombuffer(row.cells, dtype=np.int32)] = True
        if length:
            held[np.frombuffer(self._rows[source].cells, dtype=np.int32, count=length)] = True
        needed = int(held.sum()) + len(tokens) - length + extra + promised
        return needed <= self.n_cells

    def acquire(self, tokens: NDArray[np.int32]) -> tuple[int, int] | None:
        """Take a sequence for a request; it starts with the longest prefix held anywhere.

        Returns (sequence, reused length), or None when every sequence is busy. An idle source that
        would keep nothing beyond the prefix is extended in place, any other is forked.
        """
        source, length = self.longest_prefix(tokens)
        if source >= 0:
            row = self._rows[source]
            if not row.busy and length == len(row.tokens):
                return self._take(source), length
        target = self._vacant(but=source)
        if target is None:
            if source < 0 or self._rows[source].busy:
                return None
            self.cut(source, length)
            return self._take(source), length
        if length:
            self._memory.copy(source, target, length)
            row, fork = self._rows[source], self._rows[target]
            fork.tokens = row.tokens[:length]
            fork.cells = row.cells[:length]
            self._references[np.frombuffer(fork.cells, dtype=np.int32)] += 1
            self._clock += 1
            row.used = self._clock
        return self._take(target), length

    def extend(self, sequence: int, tokens: Iterable[int]) -> None:
        """Note that tokens were decoded into a sequence. There must be room (`make_room`)."""
        row = self._rows[sequence]
        for token in tokens:
            cell = self._free.pop()
            self._references[cell] = 1
            row.tokens.append(token)
            row.cells.append(cell)

    def release(self, sequence: int) -> None:
        """The request ended; the sequence stays as a prefix until it is evicted."""
        row = self._rows[sequence]
        self._clock += 1
        row.busy, row.used = False, self._clock

    def cut(self, sequence: int, length: int) -> None:
        """Forget all but the first `length` tokens of a sequence."""
        row = self._rows[sequence]
        if length >= len(row.tokens):
            return
        self._memory.cut(sequence, length)
        for cell in row.cells[length:]:
            self._references[cell] -= 1
            if self._references[cell] == 0:
                self._free.append(cell)
        del row.tokens[length:]
        del row.cells[length:]

    def make_room(self, cells: int) -> bool:
        """Evict idle sequences, oldest use first, until `cells` are free; False: not possible."""
        while len(self._free) < cells:
            victim = self._oldest()
            if victim is None:
                return False
            self._evict(victim)
        return True

    def _take(self, sequence: int) -> int:
        row = self._rows[sequence]
        self._clock += 1
        row.busy, row.used = True, self._clock
        return sequence

    def _vacant(self, but: int) -> int | None:
        for index, row in enumerate(self._rows):
            if not row.busy and not row.tokens:
                return index
        victim = self._oldest(but)
        if victim is not None:
            self._evict(victim)
        return victim

    def _oldest(self, but: int = -1) -> int | None:
        idle = [
            (row.used, index)
            for index, row in enumerate(self._rows)
            if not row.busy and row.tokens and index != but
        ]
        return min(idle)[1] if idle else None

    def _evict(self, sequence: int) -> None:
        self.cut(sequence, 0)
        self.evicted += 1
