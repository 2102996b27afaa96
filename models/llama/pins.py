"""Prefixes that many askers share: a world's, a faction's, a template's. They stay while anything else can go.

Those who share a prefix may all be silent for a while, and then others have pushed it out that were
asked for more lately; it is the costliest to lose, since everybody's prompt begins with it. So one that
`ASKERS` different askers went on from is pinned: one sequence that holds it, its keeper, gives it up only
when nothing else is left to evict. Pins take at most one of `SEQUENCES` sequences and of `CELLS` cells;
when they would take more, the one that was used longest ago is a prefix like any other again.
"""

from __future__ import annotations

from array import array
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

from models.llama.worth import GRAIN, digest

ASKERS = 4
SEQUENCES = 8
CELLS = 4
_KNOWN = 256


@dataclass(slots=True)
class Prefix:
    """The beginning of some prompts, and who asked with it; `keeper` is -1 while it is not pinned."""

    adapter: str
    digest: int
    length: int
    askers: set[str] = field(default_factory=set)
    keeper: int = -1


class Pins:
    """The pinned prefixes of a table of so many sequences and cells; the last 256 used may become some."""

    def __init__(self, sequences: int, cells: int) -> None:
        self._most = sequences // SEQUENCES
        self._most_cells = cells // CELLS
        self._known: OrderedDict[tuple[str, int], Prefix] = OrderedDict()

    @property
    def count(self) -> int:
        """Prefixes that are pinned."""
        return sum(prefix.keeper >= 0 for prefix in self._known.values())

    @property
    def cells(self) -> int:
        """Tokens of them, nested ones counted once."""
        return sum(self.floors().values())

    def floors(self) -> dict[int, int]:
        """How many of its first tokens each keeper must hold on to."""
        floors: dict[int, int] = {}
        for prefix in self._known.values():
            if prefix.keeper >= 0:
                floors[prefix.keeper] = max(floors.get(prefix.keeper, 0), prefix.length)
        return floors

    def note(
        self, tokens: array[int], length: int, adapter: str, asker: str, sequence: int
    ) -> None:
        """A request of `asker` goes on from the first `length` tokens, which `sequence` holds."""
        whole = length // GRAIN * GRAIN
        if not self._most or not whole:
            return
        lengths = {each.length for each in self._known.values() if each.length < whole}
        used: list[Prefix] = []
        # The longest first, so that of those used together the shortest, which most share, goes last.
        for each in sorted({*lengths, whole}, reverse=True):
            key = adapter, digest(tokens, each)
            if each == whole and key not in self._known:
                self._known[key] = Prefix(adapter, key[1], whole)
            if key in self._known:
                self._known.move_to_end(key)
                used.append(self._known[key])
        shared: list[Prefix] = []
        for prefix in used:
            if len(prefix.askers) < ASKERS:
                prefix.askers.add(asker)
            if len(prefix.askers) == ASKERS and prefix.length <= self._most_cells:
                shared.append(prefix)
        if shared:
            # Whoever keeps the longest keeps the others with it.
            keeper = shared[0].keeper if shared[0].keeper >= 0 else sequence
            for prefix in shared:
                prefix.keeper = keeper
        self._bound()

    def lost(self, sequence: int, length: int, other: Callable[[Prefix], int]) -> None:
        """A sequence has only its first `length` tokens left; `other` finds one that holds a prefix, or -1."""
        for prefix in self._known.values():
            if prefix.keeper == sequence and prefix.length > length:
                prefix.keeper = other(prefix)

    def _bound(self) -> None:
        while len(self._known) > _KNOWN:
            self._known.popitem(last=False)
        floors = self.floors()
        while len(floors) > self._most or sum(floors.values()) > self._most_cells:
            least = next(each for each in self._known.values() if each.keeper >= 0)
            least.keeper = -1
            least.askers.clear()
            floors = self.floors()
