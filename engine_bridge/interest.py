"""Area of interest and delta encoding: which rows a client sees, and what changed since it last looked.

Rows are ascending by id. Columns go over the wire packed, little-endian, in the types of `WIRE`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from engine_bridge import near

if TYPE_CHECKING:
    from world.frame import Frame

WIRE: Final[Mapping[str, np.dtype[Any]]] = {
    "id": np.dtype("<u8"),
    "species": np.dtype("<u2"),
    "faction": np.dtype("<u2"),
    "x": np.dtype("<i4"),
    "y": np.dtype("<i4"),
    "hp": np.dtype("<i4"),
    "max_hp": np.dtype("<i4"),
    "action": np.dtype("<u2"),
    "mood": np.dtype("<i2"),
    "target": np.dtype("<u8"),
    "flags": np.dtype("u1"),
}
"""The columns that go over the wire, with their types there; nothing else does."""

PLAYER: Final = 1
DEAD: Final = 2
SPEAKS: Final = 4
DOWNED: Final = 8
"""Bits of the column `flags`."""

CHANGING: Final = tuple(name for name in WIRE if name != "id")
UNITS_A_TILE: Final = 256
_MARGIN: Final = 2 * UNITS_A_TILE

Rows = NDArray[np.intp]

NOBODY: Final = near.shut(np.empty(0, dtype=WIRE["id"]))


@dataclass(frozen=True)
class View:
    """Entities as one client sees them after a tick; each column has the type of `WIRE` and refuses writing."""

    tick: int
    epoch: int
    time: str
    columns: Mapping[str, NDArray[Any]]

    @property
    def ids(self) -> NDArray[np.uint64]:
        return self.columns["id"]

    def __len__(self) -> int:
        return int(self.columns["id"].size)

    def take(self, rows: Rows) -> View:
        """The view of some of the rows, given in ascending order."""
        columns = {name: column[rows] for name, column in self.columns.items()}
        for column in columns.values():
            column.setflags(write=False)
        return View(self.tick, self.epoch, self.time, columns)

    @cached_property
    def stripes(self) -> near.Stripes:
        """All positions by stripes; made once a frame, for all clients."""
        return near.sort_into_stripes(self.columns["x"], self.columns["y"])

    def row(self, entity: int) -> int | None:
        """The row of an entity, None when it isn't seen."""
        row = near.find(self.ids, entity)
        return row if row >= 0 else None


def view_of(frame: Frame) -> View:
    """The view of someone who sees everything. Copies nothing that is in the wire's types already."""
    columns = {
        name: near.shut(np.ascontiguousarray(getattr(frame, name), dtype=kind))
        for name, kind in WIRE.items()
    }
    ids = columns["id"]
    if ids.size > 1 and not bool(np.all(ids[:-1] < ids[1:])):
        order = np.argsort(ids, kind="stable")
        columns = {name: near.shut(column[order]) for name, column in columns.items()}
    return View(frame.tick, frame.epoch, frame.time_of_day, columns)


@dataclass(frozen=True, slots=True)
class Interest:
    """What a client wants to see: everything, or `radius` units around `body`.

    Who was seen stays in sight for two more tiles, so that nobody flickers at the edge. Of more than
    `most` in sight the nearest count, the lower id first among equals; the body itself always does.
    """

    body: int
    radius: int
    all: bool
    most: int

    def select(self, world: View, seen: View | None) -> View:
        """The part of `world` that this client sees, `seen` being what it saw before.

        Where the body is gone, nothing is in sight.
        """
        if self.all:
            return world
        rows = near.in_sight(
            self.body,
            self.radius,
            _MARGIN,
            self.most,
            NOBODY if seen is None else seen.ids,
            world.ids,
            (world.columns["x"], world.columns["y"]),
            world.stripes,
        )
        return world.take(rows)


def snapshot(view: View, names: Mapping[int, str], tiles: bytes) -> dict[str, Any]:
    """The body of a `snapshot` message."""
    return {
        "tick": view.tick,
        "epoch": view.epoch,
        "time": view.time,
        **pack_rows(view, names),
        "tiles": tiles,
    }


def delta(
    before: View, now: View, names: Mapping[int, str], renamed: Mapping[int, int]
) -> dict[str, Any]:
    """The body of a `delta` message: what turns `before` into `now`.

    `names` holds every name, `renamed` the tick of each entity's last change of name. A body with
    `tick` alone means that nothing changed.
    """
    out: dict[str, Any] = {"tick": now.tick}
    old_rows, new_rows = near.common(before.ids, now.ids)
    if old_rows.size < len(before):
        gone = np.ones(len(before), dtype=np.bool_)
        gone[old_rows] = False
        out["leave"] = before.ids[gone].tobytes()
    if new_rows.size < len(now):
        fresh = np.ones(len(now), dtype=np.bool_)
        fresh[new_rows] = False
        out["enter"] = pack_rows(now.take(np.flatnonzero(fresh)), names)
    change = _changes(before, now, old_rows, new_rows)
    if change:
        out["change"] = change
    if renamed:
        kept = set(now.ids[new_rows].tolist())
        given = {
            str(entity): names[entity]
            for entity, tick in renamed.items()
            if tick > before.tick and entity in kept and entity in names
        }
        if given:
            out["names"] = given
    if before.time != now.time:
        out["time"] = now.time
    return out


def pack_rows(view: View, names: Mapping[int, str]) -> dict[str, Any]:
    """Rows as packed columns with the names of those that have one."""
    known = {str(entity): names[entity] for entity in view.ids.tolist() if entity in names}
    packed: dict[str, Any] = {"n": len(view)}
    for name in WIRE:
        packed[name] = view.columns[name].tobytes()
    packed["names"] = known
    return packed


def _changes(
    before: View, now: View, old_rows: Rows, new_rows: Rows
) -> dict[str, dict[str, bytes]]:
    change: dict[str, dict[str, bytes]] = {}
    for name in CHANGING:
        column = now.columns[name]
        rows = near.changed(before.columns[name], column, old_rows, new_rows)
        if rows.size:
            change[name] = {"i": now.ids[rows].tobytes(), "v": column[rows].tobytes()}
    return change
