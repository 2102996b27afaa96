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

from engine_bridge.near import Stripes, around, sort_into_stripes

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


@dataclass(frozen=True)
class View:
    """Entities as one client sees them after a tick; each column has the type of `WIRE`."""

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
        return View(
            self.tick,
            self.epoch,
            self.time,
            {name: column[rows] for name, column in self.columns.items()},
        )

    def holds(self, wanted: NDArray[np.uint64]) -> NDArray[np.bool_]:
        """For each of the wanted ids whether it is seen. A fraction of what `np.isin` takes."""
        ids = self.ids
        if not ids.size:
            return np.zeros(wanted.size, dtype=np.bool_)
        at = np.minimum(np.searchsorted(ids, wanted), ids.size - 1)
        found: NDArray[np.bool_] = ids[at] == wanted
        return found

    @cached_property
    def _stripes(self) -> Stripes:
        # Made once a frame, for all clients.
        return sort_into_stripes(_shut(self.columns["x"]), _shut(self.columns["y"]))

    def around(self, row: int, reach: int) -> tuple[Rows, NDArray[np.int64]]:
        """The rows within `reach` units of `row`, itself included, ascending, and their squared distances."""
        x, y = int(self.columns["x"][row]), int(self.columns["y"][row])
        rows, distance = around(x, y, reach, *self._stripes)
        ascending = np.argsort(rows)
        return rows[ascending], distance[ascending]

    def row(self, entity: int) -> int | None:
        """The row of an entity, None when it isn't seen."""
        row = int(np.searchsorted(self.ids, np.uint64(entity)))
        return row if row < len(self) and int(self.ids[row]) == entity else None


def view_of(frame: Frame) -> View:
    """The view of someone who sees everything. Copies nothing that is in the wire's types already."""
    columns = {
        name: np.ascontiguousarray(getattr(frame, name), dtype=kind) for name, kind in WIRE.items()
    }
    ids = columns["id"]
    if ids.size > 1 and not bool(np.all(ids[:-1] < ids[1:])):
        order = np.argsort(ids, kind="stable")
        columns = {name: column[order] for name, column in columns.items()}
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
        centre = world.row(self.body)
        if centre is None:
            return world.take(np.empty(0, dtype=np.intp))
        rows, distance = world.around(centre, self.radius + _MARGIN)
        near = distance <= self.radius**2
        if seen is not None and len(seen):
            edge = np.flatnonzero(~near)
            if edge.size:
                near[edge] = seen.holds(world.ids[rows[edge]])
        rows, distance = rows[near], distance[near]
        if rows.size > self.most:
            nearest = np.argsort(distance, kind="stable")[: self.most]
            rows = np.sort(rows[nearest])
        return world.take(rows)


def _shut(values: NDArray[np.int32]) -> NDArray[np.int32]:
    """The column as one that refuses writing, so that one compiled function serves all."""
    view = values.view()
    view.setflags(write=False)
    return view


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
    old_rows, new_rows = _common(before.ids, now.ids)
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


def _common(before: NDArray[np.uint64], now: NDArray[np.uint64]) -> tuple[Rows, Rows]:
    """Rows, in both, of the ids that are in both; two ascending arrays of unique ids."""
    if before.size == now.size and bool(np.array_equal(before, now)):
        rows = np.arange(before.size)
        return rows, rows
    _, old_rows, new_rows = np.intersect1d(before, now, assume_unique=True, return_indices=True)
    return old_rows, new_rows


def _changes(
    before: View, now: View, old_rows: Rows, new_rows: Rows
) -> dict[str, dict[str, bytes]]:
    whole = old_rows.size == len(before) == len(now)
    ids = now.ids if whole else now.ids[new_rows]
    change: dict[str, dict[str, bytes]] = {}
    for name in CHANGING:
        old, new = before.columns[name], now.columns[name]
        if not whole:
            old, new = old[old_rows], new[new_rows]
        changed = old != new
        if changed.any():
            change[name] = {"i": ids[changed].tobytes(), "v": new[changed].tobytes()}
    return change
