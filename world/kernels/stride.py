"""One tick's walk of many bodies: towards their waypoints, along walls, never onto blocked ground."""

from __future__ import annotations

from typing import Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

from world.kernels.kinds import Bools, Cells
from world.kernels.numbers import AT, floor, root

SHIFT: Final = 8
"""A tile is two to the power of so many units."""
_MOST: Final = 2**SHIFT - 1
_BLOCK: Final = 64


@njit(cache=True)
def towards(dx: int, dy: int, speed: int, drag: int) -> tuple[int, int]:
    """How far a body goes in a tick, in units, whose waypoint lies (dx, dy) away; `drag` is never 0.

    It goes `speed // drag` units, one at least and less than a tile, or to its waypoint if that is nearer.
    """
    distance = root(dx * dx + dy * dy)
    step = min(max(floor(speed, drag), 1), _MOST, distance)
    half, whole = distance >> 1, max(distance, 1)
    part_x, part_y = floor(dx * step + half, whole), floor(dy * step + half, whole)
    arrives = step == distance
    return dx if arrives else part_x, dy if arrives else part_y


@njit(cache=True)
def along(px: int, py: int, nx: int, ny: int, free_x: bool, free_y: bool) -> tuple[int, int, bool]:
    """Where a body ends that was to go from (px, py) to (nx, ny), which is blocked, and whether it stands.

    It keeps the part of its step along x, or else y, that goes somewhere and is free.
    """
    if nx != px and free_x:
        return nx, py, False
    if ny != py and free_y:
        return px, ny, False
    return px, py, True


@njit(cache=True)
def stride(
    rows: Cells,
    x: Cells,
    y: Cells,
    way_x: Cells,
    way_y: Cells,
    speed: Cells,
    pace: Cells,
    stuck: Cells,
    tiles: NDArray[np.uint8],
    walkable: Bools,
    cost: Cells,
    crossed: Bools,
) -> None:
    """Move each of `rows` and write, for each, whether it `crossed` into another cell.

    All but `crossed` are columns, in units; `tiles` uint8[height, width], `walkable` and `cost` by tile.
    Where a step is blocked, the part of it along x or else y that is free is kept and `stuck` goes up; where
    none is, the body stands and where it stands is its waypoint. Who wades through blocked ground goes on.
    """
    # A block's numbers are gathered first: what is reckoned from them has no index, and becomes vectors.
    ahead_x, ahead_y = np.empty(_BLOCK, dtype=np.int64), np.empty(_BLOCK, dtype=np.int64)
    fast, drag = np.empty(_BLOCK, dtype=np.int64), np.empty(_BLOCK, dtype=np.int64)
    for start in range(0, rows.size, _BLOCK):
        some = rows[start : start + _BLOCK]
        for i in range(some.size):
            row = AT(some[i])
            px, py = x[row], y[row]
            ahead_x[i], ahead_y[i] = way_x[row] - px, way_y[row] - py
            fast[i] = speed[row] * pace[row]
            drag[i] = 50 * cost[tiles[AT(py >> SHIFT), AT(px >> SHIFT)]]
        for i in range(some.size):
            ahead_x[i], ahead_y[i] = towards(ahead_x[i], ahead_y[i], fast[i], drag[i])
        for i in range(some.size):
            row = AT(some[i])
            px, py = x[row], y[row]
            nx, ny = px + ahead_x[i], py + ahead_y[i]
            column, line = AT(px >> SHIFT), AT(py >> SHIFT)
            to_column, to_line = AT(nx >> SHIFT), AT(ny >> SHIFT)
            if to_column == column and to_line == line:
                crossed[start + i] = False
                x[row], y[row] = nx, ny
                continue
            if walkable[tiles[line, column]] and not walkable[tiles[to_line, to_column]]:
                stuck[row] += 1
                free_x, free_y = walkable[tiles[line, to_column]], walkable[tiles[to_line, column]]
                nx, ny, stands = along(px, py, nx, ny, free_x, free_y)
                if stands:
                    way_x[row], way_y[row] = px, py
            crossed[start + i] = AT(nx >> SHIFT) != column or AT(ny >> SHIFT) != line
            x[row], y[row] = nx, ny
