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
SIGHT: Final = 12 * _TILE
"""How long a line may be, in units."""


@njit(cache=True)
def free(tiles: NDArray[np.uint8], walkable: Bools, x: int, y: int, to_x: int, to_y: int) -> bool:
    """Whether the line between two points (in units, on the map) is free and no longer than SIGHT.

    `walkable` is bool[256] by tile. The first point itself isn't looked at.
    """
    dx, dy = to_x - x, to_y - y
    if dx * dx + dy * dy > SIGHT * SIGHT:
        return False
    for k in range(1, SAMPLES + 1):
        px = (x + dx * k // SAMPLES) // _TILE
        py = (y + dy * k // SAMPLES) // _TILE
        if not walkable[tiles[py, px]]:
            return False
    return True


@njit(cache=True)
def clear(
    tiles: NDArray[np.uint8],
    walkable: Bools,
    x: Cells,
    y: Cells,
    to_x: Cells,
    to_y: Cells,
    out: Bools,
) -> None:
    """Write for each pair of points whether the line between them is `free`."""
    for i in range(x.size):
        out[i] = free(tiles, walkable, x[i], y[i], to_x[i], to_y[i])
