"""Many ticks' walk at once, for those whom nobody watches: the very steps of `stride`, one body after the other."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from world.kernels.kinds import Bools, Cells
from world.kernels.stride import stride


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
    one = np.empty(1, dtype=np.int64)
    crossed = np.zeros(1, dtype=np.bool_)
    for i in range(rows.size):
        row = rows[i]
        one[0] = row
        while left[i] > 0:
            stride(one, x, y, way_x, way_y, speed, pace, stuck, tiles, walkable, cost, crossed)
            left[i] -= 1
            if crossed[0]:
                stuck[row] = 0
            if x[row] == way_x[row] and y[row] == way_y[row]:
                break
