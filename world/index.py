"""Who is on their feet, by species and group: found anew only when someone comes, goes or falls."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from world.entities import Ints, Rows
from world.state import State


class Index:
    """Answers from a cache that follows `State.membership`."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._at = -1

    def _fresh(self) -> None:
        state = self._state
        if self._at == state.membership:
            return
        self._at = state.membership
        c = state.columns
        n = c.high
        up = (c.id[:n] != 0) & (c.died[:n] < 0) & (c.downed_until[:n] < 0)
        self._up = up.nonzero()[0]
        self._species: dict[int, Rows] = {}
        self._unions: dict[bytes, Rows] = {}
        self._leaders: dict[int, int] | None = None
        self._members: dict[int, Rows] = {}

    def of_species(self, codes: NDArray[np.bool_]) -> Rows:
        """Rows on their feet of the species whose flag is set in `codes` (bool per species)."""
        self._fresh()
        key = codes.tobytes()
        found = self._unions.get(key)
        if found is None:
            found = self._up[codes[self._state.columns.species[self._up]]]
            self._unions[key] = found
        return found

    def members(self, group: int) -> Rows:
        """Rows on their feet of a group."""
        self._fresh()
        found = self._members.get(group)
        if found is None:
            found = self._up[self._state.columns.group[self._up] == group]
            self._members[group] = found
        return found

    def leader(self, group: int) -> int:
        """The row of who leads a group now: whom the scene named, or the lowest id; -1 for none."""
        self._fresh()
        if self._leaders is None:
            self._leaders = {}
        if group not in self._leaders:
            self._leaders[group] = self._find_leader(group)
        return self._leaders[group]

    def _find_leader(self, group: int) -> int:
        rows = self.members(group)
        if not group or not rows.size:
            return -1
        ids = self._state.columns.id[rows]
        info = self._state.groups.get(group)
        if info is not None and info.leader:
            for row, entity in zip(rows.tolist(), ids.tolist(), strict=True):
                if self._state.names.get(entity) == info.leader:
                    return int(row)
        return int(rows[int(np.argmin(ids))])

    def leaders(self, rows: Rows) -> Ints:
        """The leader's row for each row, -1 for loners."""
        groups = self._state.columns.group[rows].tolist()
        return np.fromiter((self.leader(g) for g in groups), dtype=np.int64, count=len(groups))
