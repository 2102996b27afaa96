"""Lines over the map: whether a straight one crosses ground that can't be walked."""

from __future__ import annotations

from typing import Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

from world.kernels.kinds import Bools, Cells

SAMPLES: Final = 48
"""Points that are looked at on a line."""
_SHIFT: Final = 8
"""A tile is two to the power of so many units."""
_FEW: Final = 25
"""Cells that are sooner looked at than the points of a line through them."""
SIGHT: Final = 12 << _SHIFT
"""How long a line may be, in units."""


@njit(cache=True)
def free(tiles: NDArray[np.uint8], walkable: Bools, x: int, y: int, to_x: int, to_y: int) -> bool:
    """Whether the line between two points (in units, on the map) is free and no longer than SIGHT.

    `walkable` is bool[256] by tile. The first point itself isn't looked at. The k-th point lies `(to_x - x) * k // SAMPLES` and as much of y away. All of them lie in the box between both ends,
    so that where that is small and all of it can be walked none need be looked at.
    """
    dx, dy = to_x - x, to_y - y
    if dx * dx + dy * dy > SIGHT * SIGHT:
        return False
    left, right = min(x, to_x) >> _SHIFT, max(x, to_x) >> _SHIFT
    top, bottom = min(y, to_y) >> _SHIFT, max(y, to_y) >> _SHIFT
    if (right - left + 1) * (bottom - top + 1) <= _FEW:
        open_ = True
        for row in range(top, bottom + 1):
            for column in range(left, right + 1):
                open_ &= walkable[tiles[row, column]]
        if open_:
            return True
    # From point to point by adding, since dividing for each is what took the time: a whole step, and a
    # unit more whenever the rests have grown to one.
    whole_x, whole_y = dx // SAMPLES, dy // SAMPLES
    rest_x, rest_y = dx - whole_x * SAMPLES, dy - whole_y * SAMPLES
    px, py = x, y
    over_x = over_y = 0
    for _ in range(SAMPLES):
        over_x += rest_x
        over_y += rest_y
        more_x, more_y = over_x >= SAMPLES, over_y >= SAMPLES
        over_x -= SAMPLES * more_x
        over_y -= SAMPLES * more_y
        px += whole_x + more_x
        py += whole_y + more_y
        if not walkable[tiles[py >> _SHIFT, px >> _SHIFT]]:
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
