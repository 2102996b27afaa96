"""Which KV sequences hold which tokens, what may be shared, and what is evicted first.

The table mirrors what llama.cpp's unified KV memory holds: every sequence is a list of tokens, each
in a cell; a fork shares the cells of its source, and a cell is free when no sequence uses it any
more. So the sequences form a tree: adapter, world, faction, persona, moment. What was computed under
one LoRA adapter is wrong under another and is never shared with it.

A sequence whose request has ended stays for later ones until its cells or its id are needed. What a
later request has shared before is *proven*: it was worth keeping once. The tails that nobody shared
go first, oldest use first; a proven prefix lives longer the more tokens it would cost to read it
again, and is written to disk when it goes (see spill.py). An adapter that holds more than its part
of the cells gives first.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from models.llama.spill import Spill
from models.llama.tokens import common

_WORTH = 0.25
"""Age, in sequences taken or released, that each proven token makes up for."""
SPILL_LEAST = 96
"""Tokens of reading that a state on disk must save to be worth its way there and back."""


class Memory(Protocol):
    """The part of a context that the table drives."""

    def copy(self, source: int, target: int, length: int) -> None: ...

    def cut(self, sequence: int, length: int) -> None: ...

    def save(self, sequence: int) -> bytes:
        """The state of a sequence; b"" when it can't be had."""

    def load(self, sequence: int, state: bytes) -> bool:
        """Put a state into an empty sequence; False when it doesn't fit."""


@dataclass(slots=True)
class _Row:
    tokens: array[int] = field(default_factory=lambda: array("i"))
    cells: array[int] = field(default_factory=lambda: array("i"))
    adapter: str = ""
    proven: int = 0
    busy: bool = False
    used: int = 0


class SequenceTable:
    """All sequences of one context; `n_cells` tokens fit at once.

    With `shares` unset (recurrent models) nothing is reused. `spill` keeps what is evicted.
    """

    def __init__(
        self,
        memory: Memory,
        n_seq: int,
        n_cells: int,
        *,
        shares: bool = True,
        spill: Spill | None = None,
        spill_least: int = SPILL_LEAST,
    ) -> None:
        self._memory = memory
        self._rows = [_Row() for _ in range(n_seq)]
        self._references: NDArray[np.int32] = np.zeros(n_cells, dtype=np.int32)
        self._free = array("i", range(n_cells - 1, -1, -1))
        self._clock = 0
        self._shares = shares
        self._spill = Spill(0) if spill is None else spill
        self._spill_least = spill_least
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

    def cells_of(self) -> dict[str, int]:
        """Cells that each adapter's sequences hold, shared ones counted once for each holder."""
        held: Counter[str] = Counter()
        for row in self._rows:
            held[row.adapter] += len(row.cells)
        return {adapter: count for adapter, count in held.items() if count}

    def longest_prefix(self, tokens: NDArray[np.int32], adapter: str = "") -> tuple[int, int]:
        """(sequence, length) of the longest prefix of `tokens` held anywhere; (-1, 0) for none.

        The last token is never counted: it must be decoded again to give logits.
        """
        best, best_length = -1, 0
        if self._shares:
            for index, row in enumerate(self._rows):
                if row.adapter == adapter and len(row.tokens) > best_length:
                    length = min(common(row.tokens, tokens), len(tokens) - 1)
                    if length > best_length:
                        best, best_length = index, length
        return best, best_length

    def fits(self, tokens: NDArray[np.int32], extra: int, promised: int, adapter: str = "") -> bool:
        """Whether a request of `tokens` and `extra` more could start now, evicting what is idle.

        `promised` cells are set aside for the requests already under way.
        """
        source, length = self.longest_prefix(tokens, adapter)
        held: NDArray[np.bool_] = np.zeros(self.n_cells, dtype=np.bool_)
        for row in self._rows:
            if row.busy:
                held[np.frombuffer(row.cells, dtype=np.int32)] = True
        if length:
            held[np.frombuffer(self._rows[source].cells, dtype=np.int32, count=length)] = True
        needed = int(held.sum()) + len(tokens) - length + extra + promised
        return needed <= self.n_cells

    def acquire(self, tokens: NDArray[np.int32], adapter: str = "") -> tuple[int, int] | None:
        """Take a sequence for a request; it starts with the longest prefix held anywhere.

        Returns (sequence, reused length), or None when every sequence is busy. An idle source that
        would keep nothing beyond the prefix is extended in place, any other is forked.
        """
        self._restore(tokens, adapter)
        source, length = self.longest_prefix(tokens, adapter)
        if source >= 0:
            row = self._rows[source]
            row.proven = max(row.proven, length)
            if not row.busy and length == len(row.tokens):
                return self._take(source, adapter), length
        target = self._vacant(but=source)
        if target is None:
            if source < 0 or self._rows[source].busy:
                return None
            self.cut(source, length)
            return self._take(source, adapter), length
        if length:
            self._memory.copy(source, target, length)
            row, fork = self._rows[source], self._rows[target]
            fork.tokens = row.tokens[:length]
            fork.cells = row.cells[:length]
            self._references[np.frombuffer(fork.cells, dtype=np.int32)] += 1
            self._clock += 1
            row.used = self._clock
        return self._take(target, adapter), length

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
        row.proven = min(row.proven, length)
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
        """Evict what is idle until `cells` are free; False: not possible."""
        while len(self._free) < cells:
            victim = self._least_worth(tails=True)
            if victim is None:
                return False
            self._evict(*victim)
        return True

    def _take(self, sequence: int, adapter: str) -> int:
        row = self._rows[sequence]
        self._clock += 1
        row.busy, row.used, row.adapter = True, self._clock, adapter
        return sequence

    def _vacant(self, but: int) -> int | None:
        for index, row in enumerate(self._rows):
            if not row.busy and not row.tokens:
                return index
        victim = self._least_worth(tails=False, but=but)
        if victim is None:
            return None
        self._evict(*victim)
        return victim[0]

    def _least_worth(self, *, tails: bool, but: int = -1) -> tuple[int, int] | None:
        """(sequence, tokens it may keep) of the idle one whose loss costs least; None for none."""
        held = self.cells_of()
        share = self.n_cells / max(1, len(held))
        worst: tuple[float, int, int] | None = None
        for index, row in enumerate(self._rows):
            if row.busy or not row.tokens or index == but:
                continue
            keeps = row.proven if tails and row.proven < len(row.tokens) else 0
            score = row.used + (0.0 if keeps else _WORTH * row.proven)
            if len(held) > 1 and held[row.adapter] > share:
                score -= self.n_cells
            if worst is None or score < worst[0]:
                worst = (score, index, keeps)
        return None if worst is None else worst[1:]

    def _evict(self, sequence: int, keeps: int) -> None:
        row = self._rows[sequence]
        if not keeps:
            self._save(row, sequence)
            self.evicted += 1
        self.cut(sequence, keeps)

    # What is on disk

    def _save(self, row: _Row, sequence: int) -> None:
        alone = self._references[np.frombuffer(row.cells, dtype=np.int32, count=row.proven)] == 1
        if self._spill.open and int(alone.sum()) >= self._spill_least:
            self.cut(sequence, row.proven)
            state = self._memory.save(sequence)
            if state:
                self._spill.keep(row.adapter, row.tokens, state)

    def _restore(self, tokens: NDArray[np.int32], adapter: str) -> None:
        """Bring back a prefix from disk when it is much longer than what the memory still has."""
        if not self._shares or not len(self._spill):
            return
        number, length = self._spill.longest(tokens[:-1], adapter)
        if length < self.longest_prefix(tokens, adapter)[1] + self._spill_least:
            return
        # Read first: to make room may push this very state out.
        kept, state = self._spill.tokens(number)[:], self._spill.load(number)
        target = self._vacant(but=-1)
        if not state or target is None or not self.make_room(len(kept)):
            return
        if not self._memory.load(target, state):
            self._memory.cut(target, 0)
            return
        row = self._rows[target]
        self._clock += 1
        row.adapter, row.used = adapter, self._clock
        self.extend(target, kept)
