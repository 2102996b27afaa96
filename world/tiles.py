"""The kinds of ground: what they are called, who can walk them, what a step costs, how they look."""

from __future__ import annotations

from enum import IntEnum

import numpy as np
from numpy.typing import NDArray


class Tile(IntEnum):
    """One map cell's ground; stored as uint8 in `tiles[y, x]`."""

    DEEP_WATER = 0
    WATER = 1
    SAND = 2
    GRASS = 3
    FIELD = 4
    FOREST = 5
    HILL = 6
    ROCK = 7
    ROAD = 8
    FLOOR = 9
    WALL = 10
    BRIDGE = 11
    RUIN = 12
    DAM = 13
    MUD = 14


KINDS = len(Tile)
"""How many kinds there are; a byte at or above this is no tile."""

BLOCKED = frozenset({Tile.DEEP_WATER, Tile.WATER, Tile.ROCK, Tile.WALL, Tile.DAM})


def _walkable() -> NDArray[np.bool_]:
    table = np.zeros(256, dtype=np.bool_)
    for tile in Tile:
        table[tile] = tile not in BLOCKED
    table.setflags(write=False)
    return table


def _cost() -> NDArray[np.int64]:
    slow = {Tile.SAND: 3, Tile.FOREST: 3, Tile.HILL: 3, Tile.RUIN: 3, Tile.MUD: 4, Tile.WATER: 4}
    slow[Tile.DEEP_WATER] = 4
    table = np.full(256, 2, dtype=np.int64)
    for tile, cost in slow.items():
        table[tile] = cost
    table.setflags(write=False)
    return table


WALKABLE = _walkable()
"""bool[256]: whether a body may step onto the tile. Bytes that are no tile are not walkable."""

COST = _cost()
"""int64[256]: time a step takes, in halves of a step on a road (2 = full speed, 4 = half speed)."""

COLOURS: dict[Tile, str] = {
    Tile.DEEP_WATER: "#20466b",
    Tile.WATER: "#3a76a8",
    Tile.SAND: "#d9c48f",
    Tile.GRASS: "#7fa650",
    Tile.FIELD: "#c9b458",
    Tile.FOREST: "#3f6b35",
    Tile.HILL: "#94905f",
    Tile.ROCK: "#7b7a78",
    Tile.ROAD: "#b59b75",
    Tile.FLOOR: "#a5754b",
    Tile.WALL: "#4e3d33",
    Tile.BRIDGE: "#8d6b45",
    Tile.RUIN: "#6b6570",
    Tile.DAM: "#5b5148",
    Tile.MUD: "#6f5a3c",
}
"""Map colours as "#rrggbb", one look for pictures, dashboard and clients."""
