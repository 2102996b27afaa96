"""Where each of many bodies goes that makes for somewhere about a point: a spot of its own, drawn and looked at."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from world.kernels.kinds import Bools, Cells
from world.kernels.mixing import mix
from world.kernels.sight import free

_K1 = np.uint64(0xBF58476D1CE4E5B9)
_K2 = np.uint64(0x94D049BB133111EB)
_S32 = np.uint64(32)


@njit(cache=True)
def draw(start: np.uint64, entity: int, era: int) -> np.uint64:
    """`maths.keyed` for one entity; `start` is what seed and purpose are scrambled to."""
    return mix(mix(start ^ (np.uint64(era) * _K1)) ^ (np.uint64(entity) * _K2))


@njit(cache=True)
def below(word: np.uint64, bound: np.uint64) -> np.int64:
    """`maths.below` for one draw."""
    return np.int64(((word >> _S32) * bound) >> _S32)


@njit(cache=True)
def spots(
    rows: Cells,
    from_x: Cells,
    from_y: Cells,
    identity: Cells,
    era: Cells,
    start: np.uint64,
    spread: int,
    near: int,
    max_x: int,
    max_y: int,
    tiles: NDArray[np.uint8],
    walkable: Bools,
    x: Cells,
    y: Cells,
) -> None:
    """Move each point (x, y), one for each of `rows`, to the spot about it that its body makes for.

    That is drawn from `spread` units around it, by `start`, `identity` and `era` (one for each of `rows`). A point only comes onto
    the map (up to `max_x`, `max_y`) for bodies that are `near` units away or farther, and where the line to its spot
    is not free. `from_x`, `from_y`, `identity` are columns; all lengths are in units.
    """
    bound = np.uint64(2 * spread + 1)
    for i in range(rows.size):
        row = rows[i]
        at_x, at_y = min(max(x[i], 0), max_x), min(max(y[i], 0), max_y)
        x[i], y[i] = at_x, at_y
        dx, dy = at_x - from_x[row], at_y - from_y[row]
        if dx * dx + dy * dy >= near * near:
            continue
        word = draw(start, identity[row], era[i])
        to_x = min(max(at_x + below(word, bound) - spread, 0), max_x)
        to_y = min(max(at_y + below(mix(word), bound) - spread, 0), max_y)
        if free(tiles, walkable, at_x, at_y, to_x, to_y):
            x[i], y[i] = to_x, to_y
