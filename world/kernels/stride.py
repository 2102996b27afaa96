"""The walk of many bodies: towards their waypoints, along walls, never onto blocked ground."""

from __future__ import annotations

from typing import Final

import numpy as np
from numba import njit

from world.kernels.kinds import Bodies, Bools, Cells, Ground
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
    rows: Cells, on: Cells, left: Cells, bodies: Bodies, ground: Ground, crossed: Bools
) -> None:
    """Walk those of `rows` that `on` (indices) lists until each stands on its waypoint or its `left` ticks are used.

    At least one tick is taken, so that one who waits for a way waits that long. By index, `left` (int64) is counted down, and
    `crossed` becomes True for who comes into another cell, where failed steps are forgotten.
    Where a step is blocked, the part of it along x or else y that is free is kept and `stuck` goes up; where
    none is, the body stands and where it stands is its waypoint. Who wades through blocked ground goes on.
    """
    tiles, walkable, cost = ground
    # A block walks tick by tick, its numbers gathered before: what is reckoned from them has no index, and becomes vectors.
    who = np.empty(_BLOCK, dtype=np.int64)
    at_x, at_y = np.empty(_BLOCK, dtype=np.int64), np.empty(_BLOCK, dtype=np.int64)
    way_x, way_y = np.empty(_BLOCK, dtype=np.int64), np.empty(_BLOCK, dtype=np.int64)
    fast, drag = np.empty(_BLOCK, dtype=np.int64), np.empty(_BLOCK, dtype=np.int64)
    ahead_x, ahead_y = np.empty(_BLOCK, dtype=np.int64), np.empty(_BLOCK, dtype=np.int64)
    for start in range(0, on.size, _BLOCK):
        many = min(_BLOCK, on.size - start)
        for k in range(many):
            who[k] = on[start + k]
            row = AT(rows[AT(who[k])])
            at_x[k], at_y[k] = bodies.x[row], bodies.y[row]
            way_x[k], way_y[k] = bodies.way_x[row], bodies.way_y[row]
            fast[k] = bodies.speed[row] * bodies.pace[row]
            drag[k] = 50 * cost[tiles[AT(at_y[k] >> SHIFT), AT(at_x[k] >> SHIFT)]]
        while many:
            for k in range(many):
                ahead_x[k], ahead_y[k] = towards(
                    way_x[k] - at_x[k], way_y[k] - at_y[k], fast[k], drag[k]
                )
            walking = 0
            for k in range(many):
                i = AT(who[k])
                px, py = at_x[k], at_y[k]
                nx, ny, to_x, to_y, slow = (
                    px + ahead_x[k],
                    py + ahead_y[k],
                    way_x[k],
                    way_y[k],
                    drag[k],
                )
                column, line = AT(px >> SHIFT), AT(py >> SHIFT)
                to_column, to_line = AT(nx >> SHIFT), AT(ny >> SHIFT)
                if to_column != column or to_line != line:
                    row = AT(rows[i])
                    if walkable[tiles[line, column]] and not walkable[tiles[to_line, to_column]]:
                        bodies.stuck[row] += 1
                        free_x = walkable[tiles[line, to_column]]
                        free_y = walkable[tiles[to_line, column]]
                        nx, ny, stands = along(px, py, nx, ny, free_x, free_y)
                        if stands:
                            to_x, to_y = px, py
                            bodies.way_x[row], bodies.way_y[row] = px, py
                        to_column, to_line = AT(nx >> SHIFT), AT(ny >> SHIFT)
                    if to_column != column or to_line != line:
                        crossed[i] = True
                        bodies.stuck[row] = 0
                        slow = 50 * cost[tiles[to_line, to_column]]
                left[i] -= 1
                if left[i] <= 0 or (nx == to_x and ny == to_y):
                    row = AT(rows[i])
                    bodies.x[row], bodies.y[row] = nx, ny
                    continue
                who[walking], fast[walking], drag[walking] = who[k], fast[k], slow
                at_x[walking], at_y[walking] = nx, ny
                way_x[walking], way_y[walking] = to_x, to_y
                walking += 1
            many = walking
