"""Makes the frames that watchers get: public columns only, as copies in the wire's own types."""

from __future__ import annotations

from itertools import pairwise
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from world import clock
from world.entities import HOT, INDEX, Ints, Rows
from world.events import Event
from world.frame import FLAG_DEAD, FLAG_DOWNED, FLAG_PLAYER, FLAG_SPEAKS, Frame, TileChange
from world.state import State

_TYPES: Final[dict[str, type[np.integer[Any]]]] = {
    "species": np.uint16,
    "faction": np.uint16,
    "x": np.int32,
    "y": np.int32,
    "hp": np.int32,
    "max_hp": np.int32,
    "action": np.uint16,
    "mood": np.int16,
    "target": np.uint64,
    "flags": np.uint8,
}
_HOT: Final = tuple(name for name in _TYPES if name in HOT)
_COLD: Final = tuple(name for name in _TYPES if name not in HOT)


class Frames:
    """Follows a `State`: a frame costs what changed since the one before.

    Frames share the columns in which nothing changed between them, so their arrays refuse writing.
    """

    def __init__(self, state: State) -> None:
        self._state = state
        self._rows: Rows = np.zeros(0, dtype=np.intp)
        self._ids = np.zeros(0, dtype=np.int64)
        self._position = np.zeros(0, dtype=np.intp)
        self._columns: dict[str, NDArray[Any]] = {}

    def frame(self, events: tuple[Event, ...], full: bool) -> Frame:
        """The state after the last step; with `full`, all names and the whole map as one change."""
        state = self._state
        state_hash = state.hash()
        walked, changed = state.take_changed()
        if not self._columns or not self._same(changed):
            self._anew()
        self._mend(_HOT, walked)
        self._mend(_COLD, changed)
        tiles: tuple[TileChange, ...] = tuple(state.tile_changes)
        if full:
            tiles = ((0, 0, state.width, state.height, state.tiles.tobytes()),)
        return Frame(
            tick=state.tick,
            epoch=state.epoch,
            hash=state_hash,
            time_of_day=clock.time_of_day(state.tick, state.day_ticks),
            names_changed=dict(state.names if full else state.names_changed),
            events=events,
            tile_changes=tiles,
            **self._columns,
        )

    def _same(self, changed: Rows) -> bool:
        """Whether those who are there are those who were."""
        if self._rows.size != len(self._state.columns):
            return False
        known = changed[changed < self._position.size]
        if known.size < changed.size:
            return False
        at = self._position[known]
        return bool(np.array_equal(self._ids[at], self._state.columns.id[known]))

    def _anew(self) -> None:
        """Take out who left and put in who came, each where its id belongs."""
        c = self._state.columns
        known = np.zeros(c.high, dtype=np.int64)
        known[self._rows] = self._ids
        others = np.flatnonzero(c.id[: c.high] != known)
        gone = np.sort(self._position[others[known[others] != 0]])
        came = others[c.id[others] != 0]
        came = came[np.argsort(c.id[came])]
        pieces = parts(gone, np.searchsorted(self._ids, c.id[came]), self._ids.size)

        def follow(kept: NDArray[Any], values: NDArray[Any]) -> NDArray[Any]:
            return _shut(np.concatenate([(values if new else kept)[part] for new, part in pieces]))

        self._rows, self._ids = follow(self._rows, came), follow(self._ids, c.id[came])
        self._position = np.zeros(c.high, dtype=np.intp)
        self._position[self._rows] = np.arange(self._rows.size)
        for name, kind in _TYPES.items():
            kept = self._columns.get(name, np.zeros(0, dtype=kind))
            self._columns[name] = follow(kept, self._values(name, came))
        self._columns["id"] = _shut(self._ids.astype(np.uint64))

    def _mend(self, names: tuple[str, ...], changed: Rows) -> None:
        at = self._position[changed]
        for name in names:
            kept, new = self._columns[name], self._values(name, changed)
            if (kept[at] != new).any():
                mended = kept.copy()
                mended[at] = new
                self._columns[name] = _shut(mended)

    def _values(self, name: str, rows: Rows) -> NDArray[Any]:
        c = self._state.columns
        if name != "flags":
            values: NDArray[Any] = c.data[INDEX[name]][rows].astype(_TYPES[name])
            return values
        flags: NDArray[np.int64] = (
            FLAG_PLAYER * (c.player[rows] == 1)
            + FLAG_DEAD * (c.died[rows] >= 0)
            + FLAG_SPEAKS * self._state.rules.tables.speaks[c.species[rows]]
            + FLAG_DOWNED * (c.downed_until[rows] >= 0)
        )
        shown: NDArray[np.uint8] = flags.astype(np.uint8)
        return shown


def parts(gone: Ints, at: Ints, size: int) -> list[tuple[bool, slice]]:
    """Which slices follow each other where some of `size` elements leave and others come: (whether of those who come, slice).

    `gone` (each once) and `at`, where each newcomer is put before, ascend. A few slices are copied several times as
    fast as elements picked one by one.
    """
    firsts = np.flatnonzero(np.diff(at, prepend=-1)).tolist()
    turns: list[tuple[int, slice | None]] = [
        (int(at[first]), slice(first, last)) for first, last in pairwise([*firsts, at.size])
    ]
    turns += [(lost, None) for lost in gone.tolist()]
    found, read = [], 0
    for upto, come in sorted(turns, key=lambda turn: (turn[0], turn[1] is None)):
        found.append((False, slice(read, upto)))
        read = upto
        if come is None:
            read += 1
        else:
            found.append((True, come))
    return [*found, (False, slice(read, size))]


def _shut(values: NDArray[Any]) -> NDArray[Any]:
    values.setflags(write=False)
    return values
