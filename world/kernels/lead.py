"""The next waypoint of bodies that stand on theirs: the goal in sight, or a cell of a way that is known."""

from __future__ import annotations

from typing import Final

import numpy as np
from numba import njit

from world.kernels.kinds import Bodies, Cells, Ground, Known, Masks
from world.kernels.numbers import AT
from world.kernels.sight import free
from world.kernels.stride import SHIFT
from world.kernels.ways import AHEAD, NO_WAY, follow

WALKS: Final = 0
THERE: Final = 1
GAVE_UP: Final = 2
_HALF: Final = 2 ** (SHIFT - 1)


@njit(cache=True)
def plan(
    rows: Cells,
    which: Cells,
    bodies: Bodies,
    ground: Ground,
    known: Known,
    limits: tuple[int, int, int],
    outcome: Masks,
    asks: Cells,
) -> int:
    """Give the next waypoint to those of `rows` that `which` (indices) lists; those at the goal stop.

    Only the first so many of those who don't see their goal are led; the others stand, that they may be next time. `limits`: the
    failed steps after which one gives up, and the least and the most who are led, a quarter of them otherwise. `outcome` is
    written (WALKS, THERE, GAVE_UP, by index), and `asks`, as long as `rows`: the indices of those whose way is not known. Returns how many those are.
    """
    around = 0
    for k in range(which.size):
        i = which[k]
        row = AT(rows[i])
        outcome[i] = WALKS
        x, y, goal_x, goal_y = bodies.x[row], bodies.y[row], bodies.goal_x[row], bodies.goal_y[row]
        if x == goal_x and y == goal_y:
            outcome[i] = THERE
            bodies.pace[row] = bodies.stuck[row] = 0
            continue
        stuck = bodies.stuck[row]
        beside = x >> SHIFT == goal_x >> SHIFT and y >> SHIFT == goal_y >> SHIFT
        if beside or (not stuck and free(ground.tiles, ground.walkable, x, y, goal_x, goal_y)):
            bodies.way_x[row], bodies.way_y[row] = goal_x, goal_y
            continue
        if stuck >= limits[0]:
            _give_up(bodies, row)
            outcome[i] = GAVE_UP
            continue
        bodies.way_x[row], bodies.way_y[row] = x, y
        asks[around] = i
        around += 1
    led = min(around, limits[2], max(limits[1], around // 4))
    return lead(rows, bodies, ground, known, outcome, asks[:led])


@njit(cache=True)
def lead(
    rows: Cells, bodies: Bodies, ground: Ground, known: Known, outcome: Masks, asks: Cells
) -> int:
    """Give the farthest of the next cells in sight, along their ways, to those of `rows` that `asks` (indices) lists.

    Where there is no way, or it leads nowhere, they give up. Returns how many ways are not known; they are listed anew.
    """
    cells = np.empty(AHEAD, dtype=np.int64)
    width, unknown = known.width, 0
    for k in range(asks.size):
        i = asks[k]
        row = AT(rows[i])
        x, y = bodies.x[row], bodies.y[row]
        start = (y >> SHIFT) * width + (x >> SHIFT)
        goal = (bodies.goal_y[row] >> SHIFT) * width + (bodies.goal_x[row] >> SHIFT)
        if not follow(known, start, goal, cells):
            asks[unknown] = i
            unknown += 1
            continue
        way_x, way_y = x, y
        if cells[0] != NO_WAY:
            best = 0 if bodies.stuck[row] else _farthest(ground, x, y, cells, width)
            way_x, way_y = _middle(cells[best], width)
            if way_x == x and way_y == y:
                way_x, way_y = _middle(cells[min(best + 1, AHEAD - 1)], width)
        if way_x == x and way_y == y:
            _give_up(bodies, row)
            outcome[i] = GAVE_UP
        else:
            bodies.way_x[row], bodies.way_y[row] = way_x, way_y
    return unknown


@njit(cache=True)
def _farthest(ground: Ground, x: int, y: int, cells: Cells, width: int) -> int:
    """The last of the cells whose middle is seen from a point; the first one if none is."""
    for k in range(AHEAD - 1, 0, -1):
        if k < AHEAD - 1 and cells[k] == cells[k + 1]:
            continue  # the end of a way, and not in sight
        to_x, to_y = _middle(cells[k], width)
        if free(ground.tiles, ground.walkable, x, y, to_x, to_y):
            return k
    return 0


@njit(cache=True)
def _middle(cell: int, width: int) -> tuple[int, int]:
    return (cell % width << SHIFT) + _HALF, (cell // width << SHIFT) + _HALF


@njit(cache=True)
def _give_up(bodies: Bodies, row: np.uint64) -> None:
    x, y = bodies.x[row], bodies.y[row]
    bodies.goal_x[row] = bodies.way_x[row] = x
    bodies.goal_y[row] = bodies.way_y[row] = y
    bodies.pace[row] = bodies.stuck[row] = 0
