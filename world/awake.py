"""Who may do something in a tick, kept from tick to tick: fifty thousand rows hold mostly things."""

from __future__ import annotations

from typing import Final

import numpy as np

from world.entities import NEVER, Columns, Rows
from world.far import Far
from world.kernels.kinds import Bools

DEEDS: Final = frozenset({"pace", "target", "next_decision"})
"""The columns of which one at least is not as it began in whoever does something."""


class Awake:
    """The rows of those who live or were ever given something to do; no part of the state, only a shorter way to it."""

    def __init__(self, columns: Columns, far: Far) -> None:
        self._columns, self._far = columns, far
        self._stirs: Bools = np.zeros(columns.capacity, dtype=np.bool_)
        self._stirs[columns.live_rows()] = self._do_things(columns.live_rows())
        self._all: Rows = self._stirs.nonzero()[0]
        self._rows: Rows = self._all
        self._as_of = -1

    def all(self) -> Rows:
        """The far, too; ascending."""
        return self._all

    def rows(self) -> Rows:
        """Those who are lived tick by tick, ascending."""
        far = self._far
        if self._as_of != far.writes:
            self._as_of = far.writes
            self._rows = self._all
            if far.count:
                self._rows = self._all[far.lived[self._all] < 0]
        return self._rows

    def stir(self, rows: Rows | int) -> None:
        """Count rows in, since something was written that may give them something to do."""
        if not np.all(self._stirs[rows]):
            self._write(rows, True)

    def come(self, row: int) -> None:
        """Count a new row in, if it is no thing."""
        c = self._columns
        more = c.capacity - self._stirs.size
        if more > 0:
            self._stirs = np.pad(self._stirs, (0, more))
        if self._do_things(row):
            self._write(row, True)

    def gone(self, row: int) -> None:
        """Count a row out that is about to be freed."""
        if self._stirs[row]:
            self._write(row, False)

    def _do_things(self, rows: Rows | int) -> Bools:
        c = self._columns
        does = (c.phase[rows] >= 0) | (c.player[rows] != 0) | (c.next_decision[rows] < NEVER)
        out: Bools = does | (c.pace[rows] != 0) | (c.target[rows] != 0)
        return out

    def _write(self, rows: Rows | int, stirs: bool) -> None:
        self._stirs[rows] = stirs
        self._all, self._as_of = self._stirs.nonzero()[0], -1
