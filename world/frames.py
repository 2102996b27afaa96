"""Makes the frames that watchers get: public columns only, as copies in the wire's own types."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from world import clock
from world.entities import INDEX, Rows
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
        changed = state.take_changed()
        if not self._columns or not self._same(changed):
            self._anew(changed)
        else:
            self._mend(changed)
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

    def _anew(self, changed: Rows) -> None:
        """Take out who left and put in who came, each where its id belongs; the others are mended."""
        c = self._state.columns
        still = np.flatnonzero(c.id[self._rows] == self._ids)
        fresh = c.id[: c.high] != 0
        fresh[self._rows[still]] = False
        came = np.flatnonzero(fresh)
        came = came[np.argsort(c.id[came])]
        at = np.searchsorted(self._ids[still], c.id[came])
        # Where each value comes from, found once for all columns.
        source, put = np.insert(still, at, 0), at + np.arange(at.size)

        def follow(kept: NDArray[Any], values: NDArray[Any]) -> NDArray[Any]:
            made = kept.take(source) if kept.size else np.zeros(source.size, dtype=kept.dtype)
            made[put] = values
            return made

        self._rows, self._ids = follow(self._rows, came), follow(self._ids, c.id[came])
        self._position = np.zeros(c.high, dtype=np.intp)
        self._position[self._rows] = np.arange(self._rows.size)
        for name, kind in _TYPES.items():
            kept = self._columns.get(name, np.zeros(0, dtype=kind))
            self._columns[name] = _shut(follow(kept, self._values(name, came)))
        self._columns["id"] = _shut(self._ids.astype(np.uint64))
        self._mend(changed)

    def _mend(self, changed: Rows) -> None:
        at = self._position[changed]
        for name in _TYPES:
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


def _shut(values: NDArray[Any]) -> NDArray[Any]:
    values.setflags(write=False)
    return values
