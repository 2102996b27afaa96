"""Who is in a client's reach: all positions sorted into stripes once a frame, a few stripes looked through for each client."""

from __future__ import annotations

from typing import Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

Positions = NDArray[np.int32]
Found = NDArray[np.int64]
Stripes = tuple[Found, Positions, Positions, Found, int, int]
"""first, x, y, order, low, wide: see `sort_into_stripes`."""

STRIPES: Final = 256


@njit(cache=True)
def sort_into_stripes(x: Positions, y: Positions) -> Stripes:
    """A counting sort of rows by `x` (`x`, `y`: int32[n] that refuse writing, as a frame's columns do).

    Returns (first, x, y, order, low, wide): first[s]:first[s + 1] are the places in x, y (both sorted) and order (the
    rows) of those in stripe s, whose x is at least low + s * wide and below low + (s + 1) * wide.
    """
    low, high = (int(x[0]), int(x[0])) if x.size else (0, 0)
    for row in range(x.size):
        low = min(low, int(x[row]))
        high = max(high, int(x[row]))
    wide = (high - low) // STRIPES + 1
    first = np.zeros(STRIPES + 1, dtype=np.int64)
    for row in range(x.size):
        first[(int(x[row]) - low) // wide + 1] += 1
    for stripe in range(STRIPES):
        first[stripe + 1] += first[stripe]
    order = np.empty(x.size, dtype=np.int64)
    sorted_x, sorted_y = np.empty(x.size, dtype=np.int32), np.empty(x.size, dtype=np.int32)
    filled = first[:-1].copy()
    for row in range(x.size):
        stripe = (int(x[row]) - low) // wide
        place = filled[stripe]
        order[place], sorted_x[place], sorted_y[place] = row, x[row], y[row]
        filled[stripe] += 1
    return first, sorted_x, sorted_y, order, low, wide


@njit(cache=True)
def around(
    mine_x: int,
    mine_y: int,
    reach: int,
    first: Found,
    x: Positions,
    y: Positions,
    order: Found,
    low: int,
    wide: int,
) -> tuple[Found, Found]:
    """The rows within `reach` units of a point, in no order, and their squared distances.

    The last six are what `sort_into_stripes` gave.
    """
    found = np.empty(256, dtype=np.int64)
    distance = np.empty(256, dtype=np.int64)
    size = 0
    left = min(max(0, (mine_x - reach - low) // wide), STRIPES)
    right = max(min(STRIPES - 1, (mine_x + reach - low) // wide), left - 1)
    for at in range(first[left], first[right + 1]):
        dx, dy = np.int64(x[at]) - mine_x, np.int64(y[at]) - mine_y
        if dx > reach or dx < -reach or dy > reach or dy < -reach:
            continue
        away = dx * dx + dy * dy
        if away > reach * reach:
            continue
        if size == found.size:
            found = np.append(found, found)
            distance = np.append(distance, distance)
        found[size] = order[at]
        distance[size] = away
        size += 1
    return found[:size], distance[:size]


def rehearse() -> None:
    """Load both, or compile them on a machine's first start, so that no client waits for that."""
    nobody = np.zeros(1, dtype=np.int32)
    nobody.setflags(write=False)
    around(0, 0, 1, *sort_into_stripes(nobody, nobody))
