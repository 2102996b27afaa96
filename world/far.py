"""Who is lived in coarse strides, since when, and who is to be lived in full: a part of the state.

It stands beside the columns, not among them, and counts for nothing in the hash of a world in which all
are near: such worlds have the hashes and the saves that they always had.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from world import hashing, maths
from world.entities import Columns, Ints, Rows
from world.errors import StateError
from world.maths import MASK

NEAR: Final = -1
STIRRED: Final = -2
_SALT: Final = 0xFA2
_LIVED, _KEPT = 1, 2


class Far:
    """By row: `lived`, the last tick that a far one has lived; NEAR, or STIRRED, for who is lived tick by tick.

    STIRRED are those out of every player's range to whom something happens: they differ from the near in when they may
    decide. `kept` is the tick up to which somebody asked for one to be near, 0 for nobody. `count` is how many are not NEAR,
    `writes` how often `lived` was written.
    """

    def __init__(self, columns: Columns) -> None:
        self._columns = columns
        self.lived: Ints = np.full(columns.capacity, NEAR, dtype=np.int64)
        self.kept: Ints = np.zeros(columns.capacity, dtype=np.int64)
        self.count = 0
        self.writes = 0
        self._sum = 0

    def grown(self) -> None:
        """Follow the columns to their new capacity."""
        more = self._columns.capacity - self.lived.size
        if more > 0:
            self.lived = np.pad(self.lived, (0, more), constant_values=NEAR)
            self.kept = np.pad(self.kept, (0, more))

    def of(self, rows: Rows, columns: Columns) -> Far:
        """Another one for columns that hold these rows from row 0 on."""
        other = Far(columns)
        there = np.arange(rows.size)
        other.write(there, self.lived[rows])
        for row, until in enumerate(self.kept[rows].tolist()):
            if until:
                other.keep(row, until)
        return other

    def write(self, rows: Rows, lived: Ints | int) -> None:
        """Say up to which tick the rows (each at most once) have lived; NEAR makes them near."""
        self.writes += 1
        self._sum -= self._words(rows, _LIVED)
        self.count -= int(np.count_nonzero(self.lived[rows] != NEAR))
        self.lived[rows] = lived
        self.count += int(np.count_nonzero(self.lived[rows] != NEAR))
        self._sum += self._words(rows, _LIVED)

    def keep(self, row: int, until: int) -> None:
        """Let one be near until a tick; 0 lets go."""
        rows = np.array([row], dtype=np.intp)
        self._sum -= self._words(rows, _KEPT)
        self.kept[row] = until
        self._sum += self._words(rows, _KEPT)

    def removed(self, row: int) -> None:
        """Forget a row that is about to be freed."""
        self.write(np.array([row], dtype=np.intp), NEAR)
        self.keep(row, 0)

    def hash(self) -> int:
        """What it adds to the state's hash; 0 where nobody is far and nobody was asked for."""
        return self._sum & MASK

    def full_hash(self) -> int:
        """The same from nothing but the arrays."""
        rows = self._columns.live_rows()
        return (self._words(rows, _LIVED) + self._words(rows, _KEPT)) & MASK

    def _words(self, rows: Rows, what: int) -> int:
        values = self.lived[rows] + 1 if what == _LIVED else self.kept[rows]
        at = values.nonzero()[0]
        if not at.size:
            return 0
        return hashing.total(maths.keyed_array(_SALT, self._columns.id[rows[at]], values[at], what))

    @classmethod
    def from_state(cls, state: Mapping[str, Any] | None, columns: Columns) -> Far:
        """The inverse of `far_state`; None for a world in which all are near. Raises StateError."""
        far = cls(columns)
        if state is None:
            return far
        ids, lived, kept = (np.asarray(state[k], dtype=np.int64) for k in ("id", "lived", "kept"))
        rows = columns.rows_of(ids)
        if not (ids.shape == lived.shape == kept.shape) or (rows < 0).any():
            raise StateError("a saved state is damaged: somebody is far who is not there")
        far.lived[rows], far.kept[rows] = lived, kept
        far.count = int(np.count_nonzero(lived != NEAR))
        far._sum = far.full_hash()
        return far


def far_state(ids: Ints, lived: Ints, kept: Ints) -> dict[str, Ints]:
    """{"id", "lived", "kept"}, int64 each, by id, of those with anything to keep; from the same by row."""
    rows = ((lived != NEAR) | (kept != 0)).nonzero()[0]
    rows = rows[np.argsort(ids[rows])]
    return {"id": ids[rows], "lived": lived[rows], "kept": kept[rows]}
