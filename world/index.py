"""Who is on their feet, by species and group: found anew only when someone comes, goes or falls."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from world.entities import Ints, Rows
from world.squares import Squares
from world.state import State


class Index:
    """Answers from a cache that follows `State.membership`. All rows come in the order of their ids."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._at = -1
        self._squares = Squares(state.max_x, state.max_y)
        self._everyone = Squares(state.max_x, state.max_y)
        self._stood = (-1, -1)
        self._minded = np.any(state.rules.tables.relations, axis=(0, 1))

    def _fresh(self) -> None:
        state = self._state
        if self._at == state.membership:
            return
        self._at = state.membership
        c = state.columns
        n = c.high
        up = (c.id[:n] != 0) & (c.died[:n] < 0) & (c.downed_until[:n] < 0)
        self._up = up.nonzero()[0]
        self._used = c.id != 0
        self._here = np.zeros(c.capacity, dtype=np.bool_)
        self._here[:n] = up & (self._minded[c.species[:n]] | (c.group[:n] > 0))
        self._unions: dict[bytes, Rows] = {}
        grouped = (up & (c.group[:n] > 0)).nonzero()[0]
        self._grouped = grouped[np.lexsort((c.id[grouped], c.group[grouped]))]
        self._groups = c.group[self._grouped]
        self._numbers, first = np.unique(self._groups, return_index=True)
        self._leaders = self._grouped[first]
        for at, group in enumerate(self._numbers.tolist() if state.groups else ()):
            info = state.groups.get(group)
            if info is not None and info.leader:
                self._leaders[at] = self._named(group, info.leader)

    def squares(self) -> Squares:
        """Where all stand who are anybody's threat, foe, prey or mate, as of now."""
        self._fresh()
        self._squares.follow(self._state.columns, self._here)
        return self._squares

    def everyone(self) -> Squares:
        """Where all stand that there is, things and the dead too, as of now; followed only when somebody moved."""
        self._fresh()
        state = self._state
        if self._stood != (state.membership, state.moves):
            self._stood = (state.membership, state.moves)
            self._everyone.follow(state.columns, self._used)
        return self._everyone

    def of_species(self, codes: NDArray[np.bool_]) -> Rows:
        """Rows on their feet of the species whose flag is set in `codes` (bool per species)."""
        self._fresh()
        key = codes.tobytes()
        found = self._unions.get(key)
        if found is None:
            c = self._state.columns
            found = self._up[codes[c.species[self._up]]]
            found = found[np.argsort(c.id[found])]
            self._unions[key] = found
        return found

    def members(self, group: int) -> Rows:
        """Rows on their feet of a group."""
        self._fresh()
        return self._members(group)

    def _members(self, group: int) -> Rows:
        first, last = np.searchsorted(self._groups, (group, group + 1))
        found: Rows = self._grouped[first:last]
        return found

    def _named(self, group: int, name: str) -> int:
        """The row of the first of a group's members with a name; of its first member if none has it."""
        rows = self._members(group)
        for row, entity in zip(rows.tolist(), self._state.columns.id[rows].tolist(), strict=True):
            if self._state.names.get(entity) == name:
                return int(row)
        return int(rows[0])

    def leader(self, group: int) -> int:
        """The row of who leads a group now: whom the scene named, or the lowest id; -1 for none."""
        return int(self._led(np.array([group], dtype=np.int64))[0])

    def leaders(self, rows: Rows) -> Ints:
        """The leader's row for each row, -1 for loners."""
        return self._led(self._state.columns.group[rows])

    def _led(self, groups: Ints) -> Ints:
        self._fresh()
        at = np.searchsorted(self._numbers, groups)
        out = np.full(groups.size, -1, dtype=np.int64)
        known = (at < self._numbers.size).nonzero()[0]
        known = known[self._numbers[at[known]] == groups[known]]
        out[known] = self._leaders[at[known]]
        return out
