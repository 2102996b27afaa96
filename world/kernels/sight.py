"""Lines over the map: whether a straight one crosses ground that can't be walked."""

from __future__ import annotations

from typing import Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

from world.kernels.kinds import Bools, Cells

SAMPLES: Final = 48
"""Points that are looked at on a line."""
_TILE: Final = 256


@njit(cache=True)
def clear(
    tiles: NDArray[np.uint8],
    walkable: Bools,
    x: Cells,
    y: Cells,
    to_x: Cells,
    to_y: Cells,
    longest: int,
    out: Bools,
) -> None:
    """Write for each pair of points (in units) whether the line between them is free and short enough.

    `walkable` is bool[256] by tile; points lie on the map. The first point itself isn't looked at.
    """
    for i in range(x.size):
        dx, dy = to_x[i] - x[i], to_y[i] - y[i]
        out[i] = False
        if dx * dx + dy * dy > longest * longest:
            continue
        free = True
        for k in range(1, SAMPLES + 1):
            px = (x[i] + dx * k // SAMPLES) // _TILE
            py = (y[i] + dy * k // SAMPLES) // _TILE
            if not walkable[tiles[py, px]]:
                free = False
                break
        out[i] = free
