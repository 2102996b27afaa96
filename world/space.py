"""Who is near whom: exact squared distances, by brute force for few and by cells for many."""

from __future__ import annotations

from typing import Final

import numpy as np

from world.entities import Ints, Rows

NOBODY: Final = -1
FAR: Final = 2**62
BRUTE = 50_000
"""Pairs up to which all distances are taken at once."""


def nearest(x: Ints, y: Ints, rows: Rows, candidates: Rows, reach: Ints) -> tuple[Ints, Ints, Ints]:
    """For each of `rows`: the nearest candidate within `reach` units, how far, and how many.

    `x`, `y` are whole columns, `reach` is one number a row. Returns int64 arrays of rows' length: the candidate's row or NOBODY, the squared
    distance or FAR, and the count. Nobody is near itself. Ties go to the lower row.
    """
    size = rows.size
    best = np.full(size, NOBODY, dtype=np.int64)
    least = np.full(size, FAR, dtype=np.int64)
    count = np.zeros(size, dtype=np.int64)
    if not size or not candidates.size:
        return best, least, count
    if size * candidates.size <= BRUTE:
        return _brute(x, y, rows, candidates, reach)
    low_x = int(min(x[rows].min(), x[candidates].min()))
    low_y = int(min(y[rows].min(), y[candidates].min()))
    cell = max(1, int(reach.max()))
    own_x, own_y = (x[rows] - low_x) // cell, (y[rows] - low_y) // cell
    their_x, their_y = (x[candidates] - low_x) // cell, (y[candidates] - low_y) // cell
    keys = own_x * 2**24 + own_y
    for key in np.unique(keys):
        at = np.flatnonzero(keys == key)
        cx, cy = key // 2**24, key % 2**24
        close = (np.abs(their_x - cx) <= 1) & (np.abs(their_y - cy) <= 1)
        found = candidates[close]
        if found.size:
            best[at], least[at], count[at] = _brute(x, y, rows[at], found, reach[at])
    return best, least, count


def _brute(x: Ints, y: Ints, rows: Rows, candidates: Rows, reach: Ints) -> tuple[Ints, Ints, Ints]:
    dx = x[rows][:, None] - x[candidates]
    dy = y[rows][:, None] - y[candidates]
    d2 = dx * dx + dy * dy
    seen = d2 <= (reach * reach)[:, None]
    seen &= rows[:, None] != candidates
    d2 = np.where(seen, d2, FAR)
    at = np.argmin(d2, axis=1)
    least = d2[np.arange(rows.size), at]
    best = np.where(least < FAR, candidates[at], NOBODY).astype(np.int64)
    return best, least, seen.sum(axis=1)
