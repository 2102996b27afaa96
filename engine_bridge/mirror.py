"""The watched world as a client keeps it: snapshots and deltas applied, one object an entity."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from engine_bridge.errors import ProtocolError
from engine_bridge.interest import DEAD, PLAYER, SPEAKS, WIRE


@dataclass(slots=True)
class Entity:
    """One entity in sight. `x`, `y` are in units of 1/256 tile; `flags` joins PLAYER, DEAD, …"""

    id: int
    species: int
    faction: int
    x: int
    y: int
    hp: int
    max_hp: int
    action: int
    mood: int
    target: int
    flags: int
    name: str = ""

    @property
    def player(self) -> bool:
        return bool(self.flags & PLAYER)

    @property
    def dead(self) -> bool:
        return bool(self.flags & DEAD)

    @property
    def speaks(self) -> bool:
        return bool(self.flags & SPEAKS)


class Mirror:
    """What a client has been told of the world.

    `tiles` holds `width * height` tile values, row by row. Raises `ProtocolError` when a message
    doesn't fit: columns of different lengths, a change to someone who isn't in sight.
    """

    def __init__(self, width: int, height: int) -> None:
        self.width = width
        self.height = height
        self.tick = 0
        self.epoch = 0
        self.time = ""
        self.entities: dict[int, Entity] = {}
        self.tiles = bytearray(width * height)

    def snapshot(self, d: Mapping[str, Any]) -> None:
        """Forget everything and take the state of a `snapshot`."""
        if len(d["tiles"]) != self.width * self.height:
            raise ProtocolError("bad_message", "snapshot: tiles don't cover the map")
        self.entities = {entity.id: entity for entity in _rows(d)}
        self.tiles = bytearray(d["tiles"])
        self.tick, self.epoch, self.time = d["tick"], d["epoch"], d["time"]

    def delta(self, d: Mapping[str, Any]) -> None:
        """Apply a `delta` to the state that the message before it left."""
        for entity in _unpack("id", d.get("leave", b"")):
            if self.entities.pop(entity, None) is None:
                raise ProtocolError("bad_message", f"delta: {entity} leaves but wasn't in sight")
        if "enter" in d:
            for fresh in _rows(d["enter"]):
                self.entities[fresh.id] = fresh
        for column, packed in d.get("change", {}).items():
            if column not in WIRE or column == "id":
                raise ProtocolError("bad_message", f"delta: no column {column!r} changes")
            ids, values = _unpack("id", packed["i"]), _unpack(column, packed["v"])
            if len(ids) != len(values):
                raise ProtocolError("bad_message", f"delta: {column} has {len(values)} values")
            for entity, value in zip(ids, values, strict=True):
                setattr(self._known(entity), column, value)
        for text, name in d.get("names", {}).items():
            self._known(int(text)).name = name
        self.tick = d["tick"]
        self.time = d.get("time", self.time)

    def patch(self, d: Mapping[str, Any]) -> None:
        """Apply a `tiles` message."""
        x, y, w, h, data = d["x"], d["y"], d["w"], d["h"], d["data"]
        inside = 0 <= x <= x + w <= self.width and 0 <= y <= y + h <= self.height
        if not inside or len(data) != w * h:
            raise ProtocolError("bad_message", "tiles: the rectangle doesn't fit the map")
        for row in range(h):
            start = (y + row) * self.width + x
            self.tiles[start : start + w] = data[row * w : (row + 1) * w]

    def _known(self, entity: int) -> Entity:
        found = self.entities.get(entity)
        if found is None:
            raise ProtocolError("bad_message", f"delta: {entity} changes but isn't in sight")
        return found


def _unpack(column: str, data: bytes) -> list[int]:
    kind = WIRE[column]
    if len(data) % kind.itemsize:
        raise ProtocolError("bad_message", f"{column}: {len(data)} bytes are no whole rows")
    values: list[int] = np.frombuffer(data, dtype=kind).tolist()
    return values


def _rows(d: Mapping[str, Any]) -> Iterator[Entity]:
    columns = [_unpack(name, d[name]) for name in WIRE]
    if any(len(column) != d["n"] for column in columns):
        raise ProtocolError("bad_message", "packed columns of different lengths")
    names = d["names"]
    for values in zip(*columns, strict=True):
        entity = Entity(*values)
        entity.name = names.get(str(entity.id), "")
        yield entity
