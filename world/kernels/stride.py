"""One tick's walk of many bodies: towards their waypoints, along walls, never onto blocked ground."""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

from world.kernels.kinds import Bools, Cells

_TILE: Final = 256
_MOST: Final = _TILE - 1


@njit(cache=True)
def _root(square: np.int64) -> np.int64:
    """Whole square roots of 0..2**52, as `maths.isqrt` has them."""
    root = np.int64(math.sqrt(np.float64(square)))
    if root * root > square:
        root -= 1
    if (root + 1) * (root + 1) <= square:
        root += 1
    return root


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
    for i in range(rows.size):
        row = rows[i]
        px, py = x[row], y[row]
        dx, dy = way_x[row] - px, way_y[row] - py
        distance = _root(dx * dx + dy * dy)
        ground = tiles[py // _TILE, px // _TILE]
        step = speed[row] * pace[row] // (50 * cost[ground])
        step = min(max(step, 1), _MOST, distance)
        if step == distance:
            nx, ny = way_x[row], way_y[row]
        else:
            half = distance >> 1
            nx = px + (dx * step + half) // distance
            ny = py + (dy * step + half) // distance
        if walkable[ground] and not walkable[tiles[ny // _TILE, nx // _TILE]]:
            stuck[row] += 1
            if nx != px and walkable[tiles[py // _TILE, nx // _TILE]]:
                ny = py
            elif ny != py and walkable[tiles[ny // _TILE, px // _TILE]]:
                nx = px
            else:
                nx, ny = px, py
                way_x[row], way_y[row] = px, py
        crossed[i] = nx // _TILE != px // _TILE or ny // _TILE != py // _TILE
        x[row], y[row] = nx, ny
