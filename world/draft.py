"""The next copy of columns and names, made bit by bit in the ticks before it is needed, so that the last tick has little to do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from world.buffers import Buffer
from world.entities import HOT, INDEX, NAMES, Ints

SETTLE: Final = 4
"""Ticks before the last in which all has been copied once, and only what was touched since is copied again."""
_FEW: Final = 8
"""Where fewer than one row of so many was touched, rows are copied one by one; else all from the first to the last."""
_ID: Final = INDEX["id"]
_HALVES: Final = (slice(0, len(HOT)), slice(len(HOT), len(NAMES)))
"""The columns that walking changes, and the others."""

Texts: TypeAlias = Mapping[int, str]


class Draft:
    """A copy under way; where the columns are given more room, it is of no use any more.

    Whoever writes rows has to `touch` them before the next `advance` or `finish`, and to write `names` and `personas` here,
    too. Copying texts takes as long as copying columns, since each one's count of references is far from the others.
    """

    def __init__(self, buffer: Buffer) -> None:
        self._buffer = buffer
        self._stale = np.zeros((len(_HALVES), buffer.memory.shape[1]), dtype=np.bool_)
        self._at = 0
        self.names: dict[int, str] = {}
        self.personas: dict[int, str] = {}

    @property
    def shape(self) -> tuple[int, ...]:
        """Of all that the columns have room for."""
        shape: tuple[int, ...] = self._buffer.memory.shape
        return shape

    def touch(self, hot: NDArray[np.bool_], cold: NDArray[np.bool_]) -> None:
        """Say by a flag a row which were written: in the hot columns, and in the others."""
        self._stale[0] |= hot
        self._stale[1] |= cold

    def touch_row(self, row: int) -> None:
        """Say that all of one row was written."""
        self._stale[:, row] = True

    def advance(self, data: Ints, names: Texts, personas: Texts, left: int) -> None:
        """Copy a share of int64[columns, rows] and of the texts of who is there; the copy is needed in `left` ticks."""
        high = data.shape[1]
        if self._at < high:
            rows = -(-(high - self._at) // max(1, left - SETTLE))
            some = self._go_on(data, self._at + rows)
            ids = data[_ID, some].tolist()
            self.names.update((e, names[e]) for e in ids if e in names)
            self.personas.update((e, personas[e]) for e in ids if e in personas)
        else:
            self._mend(data)

    def finish(
        self, data: Ints, names: Texts, personas: Texts
    ) -> tuple[Ints, dict[int, str], dict[int, str]]:
        """The whole copy, the columns as `Buffer.lend` gives them."""
        self._go_on(data, data.shape[1])
        self._mend(data)
        copy: Ints = self._buffer.lend(data.shape)
        return copy, _all(self.names, names), _all(self.personas, personas)

    def _go_on(self, data: Ints, end: int) -> slice:
        some = slice(self._at, min(end, data.shape[1]))
        self._buffer.memory[:, some] = data[:, some]
        self._stale[:, some] = False
        self._at = some.stop
        return some

    def _mend(self, data: Ints) -> None:
        for stale, half in zip(self._stale, _HALVES, strict=True):
            rows = stale.nonzero()[0]
            if not rows.size:
                continue
            to, of = self._buffer.memory[half], data[half]
            all_there = slice(int(rows[0]), int(rows[-1]) + 1)
            if rows.size * _FEW > all_there.stop - all_there.start:
                to[:, all_there] = of[:, all_there]
            else:
                for line, values in zip(to, of, strict=True):
                    line[rows] = values.take(rows)
            stale[all_there] = False


def _all(kept: dict[int, str], texts: Texts) -> dict[int, str]:
    """What was kept is part of the texts; all of them where it is not yet the whole."""
    return kept if len(kept) == len(texts) else dict(texts)
