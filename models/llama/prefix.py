"""Which KV sequences hold which tokens, what may be shared, and what is evicted first.

The table mirrors what llama.cpp's KV memory holds: every sequence is a list of tokens, each in a cell
(cells.py counts those); a fork has the first cells of its source, shared or copied. So the sequences
form a tree: adapter, world, faction, persona, moment. What was computed under one LoRA adapter is
wrong under another and is never shared with it.

A sequence whose request has ended stays for later ones until its cells or its id are needed. What a
later request has shared before is *proven*: it was worth keeping once. The tails that nobody shared
go first, oldest use first, be it the one that the new request would fork from; a proven prefix lives
longer the more tokens it would cost to read it again, and is written to disk when it goes (see
spill.py). An adapter that holds more than its part of the cells gives first. What many askers share is
pinned, within bounds, and goes last (see pins.py).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from models.llama.cells import Cells
from models.llama.pins import Pins, Prefix
from models.llama.spill import Spill
from models.llama.tokens import common
from models.llama.worth import Row, Worth, digest

SPILL_LEAST = 96
"""Tokens of reading that a state on disk must save to be worth its way there and back."""


class Memory(Protocol):
    """The part of a context that the table drives."""

    def place(self, sequence: int) -> int:
        """Where a sequence is; those that are decoded are brought to the front."""

    def first(self, sequence: int) -> int:
        """The first position that a sequence still holds in all layers."""

    def copy(self, source: int, target: int, length: int) -> None: ...

    def cut(self, sequence: int, length: int) -> None: ...

    def save(self, sequence: int) -> bytes:
        """The state of a sequence; b"" when it can't be had."""

    def load(self, sequence: int, state: bytes) -> bool:
        """Put a state into an empty sequence; False when it doesn't fit."""


class SequenceTable:
    """All sequences of one context, whose cells are counted by `cells`.

    With `shares` unset (recurrent models) nothing is reused; `sliding` is the window of layers that
    look back no further, 0 for none. `spill` keeps what is evicted, `pins` knows what goes last.
    """

    def __init__(
        self,
        memory: Memory,
        n_seq: int,
        cells: Cells,
        *,
        shares: bool = True,
        sliding: int = 0,
        spill: Spill | None = None,
        spill_least: int = SPILL_LEAST,
    ) -> None:
        self._memory = memory
        self._rows = [Row() for _ in range(n_seq)]
        self._cells = cells
        self._worth = Worth()
        # What has left a sliding window is in a sequence's list and can't be gone on from.
        pinnable = n_seq if shares and not sliding else 0
        self.pins = Pins(pinnable, cells.total)
        self._clock = 0
        self._shares = shares
        self._sliding = sliding
        self._spill = Spill(0) if spill is None else spill
        self._spill_least = spill_least
        self.evicted = 0

    @property
    def n_cells(self) -> int:
        """All cells."""
        return self._cells.total

    @property
    def free_cells(self) -> int:
        """Cells that no sequence uses."""
        return self._cells.free

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
            held[row.adapter] += len(row.tokens)
        return {adapter: count for adapter, count in held.items() if count}

    def longest_prefix(self, tokens: NDArray[np.int32], adapter: str = "") -> tuple[int, int]:
        """(sequence, length) of the longest prefix of `tokens` held anywhere; (-1, 0) for none.

        The last token is never counted: it must be decoded again to give logits.
        """
        holders, length = self._holders(tokens, adapter)
        return (holders[0] if holders else -1), length

    def fits(
        self,
        tokens: NDArray[np.int32],
        extra: int,
        promised: int,
        adapter: str = "",
        without: Collection[int] = (),
    ) -> bool:
        """Whether a request of `tokens` and `extra` more could start now, evicting what is idle.

        `promised` cells are set aside for the requests already under way; the sequences `without` which
        it is asked count as idle.
        """
        busy = [index for index, row in enumerate(self._rows) if row.busy and index not in without]
        wanted = len(tokens) + extra + promised
        return self._cells.takes(wanted, lambda: self.longest_prefix(tokens, adapter), busy)

    def acquire(
        self, tokens: NDArray[np.int32], adapter: str = "", asker: str = ""
    ) -> tuple[int, int] | None:
        """Take a sequence for a request of `asker`; it starts with the longest prefix held anywhere.

        Returns (sequence, reused length), or None when every sequence is busy. An idle source that
        would keep nothing beyond the prefix is extended in place, any other is forked.
        """
        holders, length = self._holders(tokens, adapter)
        if self._restore(tokens, adapter, length):
            holders, length = self._holders(tokens, adapter)
        idle = [holder for holder in holders if not self._rows[holder].busy]
        source = self._cheapest(idle, length)
        if idle and length == len(self._rows[source].tokens):
            self._worth.prove(self._rows[source], length)
            self._note(source, length, asker)
            return self._take(source, adapter), length
        target = self._vacant(but=source, length=length)
        if target is None:
            return None
        if length and target != source:
            source = holders[0] if source < 0 else source
            self._memory.copy(source, target, length)
            self._cells.share(source, target, length)
            self._rows[target].tokens = self._rows[source].tokens[:length]
            self._clock += 1
            self._rows[source].used = self._clock
        self._take(target, adapter)
        for holder in {source, target} if length else ():
            self._worth.prove(self._rows[holder], length)
        self._note(target, length, asker)
        return target, length

    def _note(self, sequence: int, length: int, asker: str) -> None:
        row = self._rows[sequence]
        self.pins.note(row.tokens, length, row.adapter, asker, sequence)

    def _reaches_back(self, index: int, length: int) -> bool:
        """Whether the layers with a sliding window still hold what the token at `length` looks back at.

        llama.cpp gives the cells that have left the window to others (llama-kv-cache.cpp, find_slot).
        """
        return not self._sliding or self._memory.first(index) <= max(0, length - self._sliding)

    def _cheapest(self, idle: Sequence[int], length: int) -> int:
        """Which of the holders of a prefix loses least when cut there, of equals the one in front; -1 for none."""
        scores = [self._score(holder, length) for holder in idle]
        if not idle:
            return -1
        least = min(scores) + self._cells.cost_of_a_copy
        near = [holder for holder, score in zip(idle, scores, strict=True) if score <= least]
        return min(near, key=self._memory.place)

    def _holders(self, tokens: NDArray[np.int32], adapter: str) -> tuple[list[int], int]:
        """The sequences that hold the longest prefix of `tokens`, and its length; ([], 0) for none."""
        holders: list[int] = []
        best = self._cells.least_shared
        for index, row in enumerate(self._rows if self._shares else ()):
            # One look at the token that would make it as long as the best so far spares most rows.
            if (
                row.adapter == adapter
                and len(row.tokens) >= best < len(tokens)
                and row.tokens[best - 1] == tokens[best - 1]
            ):
                length = min(common(row.tokens, tokens), len(tokens) - 1)
                if length >= best and not self._reaches_back(index, length):
                    continue
                if length > best:
                    holders, best = [], length
                if length == best:
                    holders.append(index)
        return holders, best if holders else 0

    def extend(self, sequence: int, tokens: Iterable[int]) -> None:
        """Note that tokens were decoded into a sequence. There must be room (`make_room`)."""
        row = self._rows[sequence]
        before = len(row.tokens)
        row.tokens.extend(tokens)
        self._cells.add(sequence, len(row.tokens) - before)

    def release(self, sequence: int) -> None:
        """The request ended; the sequence stays as a prefix until it is evicted."""
        row = self._rows[sequence]
        self._clock += 1
        row.busy, row.used = False, self._clock

    def cut(self, sequence: int, length: int) -> None:
        """Forget all but the first `length` tokens of a sequence."""
        row = self._rows[sequence]
        self._worth.prove(row, length, least=True)
        if length >= len(row.tokens):
            return
        self._memory.cut(sequence, length)
        self._cells.drop(sequence, length)
        del row.tokens[length:]
        self.pins.lost(sequence, length, self._holder)

    def make_room(self, cells: int) -> bool:
        """Evict what is idle until `cells` are free; False: not possible."""
        while self._cells.free < cells:
            victim = self._least_worth(self.pins.floors(), tails=True)
            victim = victim or self._least_worth({}, tails=True)
            if victim is None:
                return False
            self._evict(*victim)
        return True

    def _take(self, sequence: int, adapter: str) -> int:
        row = self._rows[sequence]
        self._clock += 1
        row.busy, row.used, row.adapter = True, self._clock, adapter
        return sequence

    def _vacant(self, but: int = -1, length: int = 0) -> int | None:
        """A sequence that can be had, emptied; or `but`, cut at `length`, if that loses least."""
        for index, row in enumerate(self._rows):
            if not row.busy and not row.tokens:
                return index
        floors = self.pins.floors()
        victim = self._least_worth(floors, tails=False, but=but)
        if but >= 0 and not self._rows[but].busy:
            pinned = length < floors.get(but, 0)
            if victim is None or (
                not pinned
                and self._score(but, length) <= self._score(victim[0]) + self._cells.cost_of_a_copy
            ):
                victim = but, length
        victim = victim or self._least_worth({}, tails=False)
        if victim is None:
            return None
        self._evict(*victim)
        return victim[0]

    def _score(self, index: int, keeps: int = 0) -> float:
        return self._worth.score(self._rows[index], keeps, self._clock)

    def _holder(self, prefix: Prefix) -> int:
        """A sequence that holds a prefix; -1 for none."""
        for index, row in enumerate(self._rows):
            if (
                row.adapter == prefix.adapter
                and len(row.tokens) >= prefix.length
                and digest(row.tokens, prefix.length) == prefix.digest
            ):
                return index
        return -1

    def _least_worth(
        self, floors: dict[int, int], *, tails: bool, but: int = -1
    ) -> tuple[int, int] | None:
        """(sequence, tokens it may keep) of the idle one whose loss costs least; None for none.

        Nothing below its `floors` is lost; with `tails` what was proven is kept where there is more.
        """
        held = self.cells_of()
        share = self.n_cells / max(1, len(held))
        worst: tuple[float, int, int] | None = None
        for index, row in enumerate(self._rows):
            if row.busy or not row.tokens or index == but:
                continue
            keeps = row.proven if tails and row.proven < len(row.tokens) else 0
            if keeps < floors.get(index, 0):
                keeps = floors[index]
                if not tails or keeps >= len(row.tokens):
                    continue
            score = self._score(index, keeps)
            if len(held) > 1 and held[row.adapter] > share:
                score -= self._cells.total
            if worst is None or score < worst[0]:
                worst = (score, index, keeps)
        return None if worst is None else worst[1:]

    def _evict(self, sequence: int, keeps: int) -> None:
        row = self._rows[sequence]
        if keeps < max(row.proven, 1):
            self._save(row, sequence)
            self.evicted += 1
        self.cut(sequence, keeps)

    # What is on disk

    def _save(self, row: Row, sequence: int) -> None:
        alone = row.proven - self._worth.held_elsewhere(row)
        if self._spill.open and alone >= self._spill_least:
            self.cut(sequence, row.proven)
            state = self._memory.save(sequence)
            if state:
                self._spill.keep(row.adapter, row.tokens, state)

    def _restore(self, tokens: NDArray[np.int32], adapter: str, held: int) -> bool:
        """Bring back a prefix from disk when it is much longer than the `held` tokens there are.

        Returns whether the table may have changed.
        """
        if not self._shares or not len(self._spill):
            return False
        number, length = self._spill.longest(tokens[:-1], adapter)
        if length < held + self._spill_least:
            return False
        # Read first: to make room may push this very state out.
        kept, state = self._spill.tokens(number)[:], self._spill.load(number)
        target = self._vacant()
        if not state or target is None or not self.make_room(len(kept)):
            return True
        if not self._memory.load(target, state):
            self._memory.cut(target, 0)
            return True
        row = self._rows[target]
        self._clock += 1
        row.adapter, row.used = adapter, self._clock
        self.extend(target, kept)
        return True
