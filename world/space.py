"""Who is near whom: exact squared distances to the nearest of many."""

from __future__ import annotations

from typing import Final

import numpy as np

from world.entities import Ints, Rows
from world.kernels import near
from world.kernels.near import FAR, NOBODY
from world.maths import TILE

__all__ = ["FAR", "NOBODY", "nearest"]

_LEAST_CELL: Final = 8 * TILE
_MOST_CELLS: Final = 2**20


def nearest(x: Ints, y: Ints, rows: Rows, candidates: Rows, reach: Ints) -> tuple[Ints, Ints, Ints]:
    """For each of `rows`: the nearest candidate within `reach` units, how far, and how many.

    `x`, `y` are whole columns, `reach` is one number a row. Returns int64 arrays of rows' length: the candidate's row or NOBODY, the squared
    distance or FAR, and the count. Nobody is near itself. Ties go to the candidate that is named first.
    """
    size = rows.size
    best = np.full(size, NOBODY, dtype=np.int64)
    least = np.full(size, FAR, dtype=np.int64)
    count = np.zeros(size, dtype=np.int64)
    if size and candidates.size:
        cell = max(_LEAST_CELL, int(reach.max()) // 2)
        while (int(x.max()) // cell + 1) * (int(y.max()) // cell + 1) > _MOST_CELLS:
            cell *= 2
        near.nearest(
            x, y, rows.astype(np.int64), candidates.astype(np.int64), reach.astype(np.int64),
            cell, best, least, count,
        )  # fmt: skip
    return best, least, count
