"""What it would cost to forget a sequence: the tokens to be read again, by how long nobody asked for them."""

from __future__ import annotations

from array import array
from collections import Counter
from dataclasses import dataclass, field

GRAIN = 32
"""Prefixes are told apart by so many tokens, so that those who share one agree on where it ends."""
_HOPE = 0.25
"""What a token that nobody has shared yet is worth beside a proven one."""


@dataclass(slots=True)
class Row:
    """A sequence: what it holds, under which adapter, and how much of that was shared before."""

    tokens: array[int] = field(default_factory=lambda: array("i"))
    adapter: str = ""
    proven: int = 0
    proof: int = 0
    busy: bool = False
    used: int = 0


class Worth:
    """Knows which proven prefixes several sequences hold."""

    def __init__(self) -> None:
        self._proofs: Counter[tuple[str, int]] = Counter()

    def score(self, row: Row, keeps: int, clock: int) -> float:
        """What it may cost to forget all but the first `keeps` tokens of an idle sequence at `clock`."""
        keeps = max(keeps, self.held_elsewhere(row))
        proven = max(0, row.proven - keeps)
        unproven = max(0, len(row.tokens) - keeps - proven)
        return (proven + _HOPE * unproven) / (clock - row.used + 1)

    def held_elsewhere(self, row: Row) -> int:
        """How many of its first tokens others hold too, as far as that is known."""
        return _whole(row.proven) if self._proofs[row.adapter, row.proof] > 1 else 0

    def prove(self, row: Row, length: int, *, least: bool = False) -> None:
        """Note that its first `length` tokens were shared, or with `least` that no more than they are left."""
        if length == row.proven or (length > row.proven) is least:
            return
        if row.proven:
            self._proofs.subtract([(row.adapter, row.proof)])
            if not self._proofs[row.adapter, row.proof]:
                del self._proofs[row.adapter, row.proof]
        row.proven = length
        row.proof = digest(row.tokens, _whole(length))
        if length:
            self._proofs[row.adapter, row.proof] += 1


def digest(tokens: array[int], length: int) -> int:
    """What tells the first `length` tokens from others."""
    return hash(tokens[:length].tobytes())


def _whole(length: int) -> int:
    return length // GRAIN * GRAIN or length
