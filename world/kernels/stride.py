"""One tick's walk of many bodies: towards their waypoints, along walls, never onto blocked ground."""

from __future__ import annotations

from typing import Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

from world.kernels.kinds import Bools, Cells
from world.kernels.numbers import AT, floor, root

_SHIFT: Final = 8
"""A tile is two to the power of so many units."""
_MOST: Final = 2**_SHIFT - 1


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
        row = AT(rows[i])
        px, py = x[row], y[row]
        column, line = AT(px >> _SHIFT), AT(py >> _SHIFT)
        dx, dy = way_x[row] - px, way_y[row] - py
        distance = root(dx * dx + dy * dy)
        ground = tiles[line, column]
        step = floor(speed[row] * pace[row], 50 * cost[ground])
        step = min(max(step, 1), _MOST, distance)
        if step == distance:
            nx, ny = way_x[row], way_y[row]
        else:
            half = distance >> 1
            nx = px + floor(dx * step + half, distance)
            ny = py + floor(dy * step + half, distance)
        to_column, to_line = AT(nx >> _SHIFT), AT(ny >> _SHIFT)
        if to_column == column and to_line == line:
            crossed[i] = False
            x[row], y[row] = nx, ny
            continue
        if walkable[ground] and not walkable[tiles[to_line, to_column]]:
            stuck[row] += 1
            if nx != px and walkable[tiles[line, to_column]]:
                ny = py
            elif ny != py and walkable[tiles[to_line, column]]:
                nx = px
            else:
                nx, ny = px, py
                way_x[row], way_y[row] = px, py
        crossed[i] = AT(nx >> _SHIFT) != column or AT(ny >> _SHIFT) != line
        x[row], y[row] = nx, ny
