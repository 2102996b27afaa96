"""Many ticks' walk at once, for those whom nobody watches: the very steps of `stride`, one body after the other."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from world.kernels.kinds import Bools, Cells
from world.kernels.numbers import AT
from world.kernels.stride import SHIFT, along, towards


@njit(cache=True)
def leap(
    rows: Cells,
    left: Cells,
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
) -> None:
    """Walk each of `rows` until it stands on its waypoint or its `left` ticks (int64 a row, counted down) are used.

    At least one tick is taken, so that one who waits for a way waits that long. The others are as for `stride`.
    """
    for i in range(rows.size):
        row = AT(rows[i])
        fast = speed[row] * pace[row]
        while left[i] > 0:
            px, py = x[row], y[row]
            column, line = AT(px >> SHIFT), AT(py >> SHIFT)
            ground = tiles[line, column]
            ahead_x, ahead_y = towards(way_x[row] - px, way_y[row] - py, fast, 50 * cost[ground])
            nx, ny = px + ahead_x, py + ahead_y
            to_column, to_line = AT(nx >> SHIFT), AT(ny >> SHIFT)
            if walkable[ground] and not walkable[tiles[to_line, to_column]]:
                stuck[row] += 1
                free_x, free_y = walkable[tiles[line, to_column]], walkable[tiles[to_line, column]]
                nx, ny, stands = along(px, py, nx, ny, free_x, free_y)
                if stands:
                    way_x[row], way_y[row] = px, py
            x[row], y[row] = nx, ny
            left[i] -= 1
            if AT(nx >> SHIFT) != column or AT(ny >> SHIFT) != line:
                stuck[row] = 0
            if nx == way_x[row] and ny == way_y[row]:
                break
