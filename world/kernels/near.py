"""Who is near whom: the nearest of many points for each of many, by cells."""

from __future__ import annotations

import numpy as np
from numba import njit

from world.kernels.kinds import Cells, Links

NOBODY = -1
FAR = 2**62


@njit(cache=True)
def nearest(
    x: Cells,
    y: Cells,
    rows: Cells,
    candidates: Cells,
    reach: Cells,
    cell: int,
    best: Cells,
    least: Cells,
    count: Cells,
) -> None:
    """Write for each of `rows` its nearest candidate within `reach` units, how far it is, and how many are.

    `x`, `y` are whole columns of coordinates from 0; `reach` has a number for each of `rows`; `cell` is the side
    of the squares that the candidates are sorted into. `best` gets the candidate's row or NOBODY, `least` the
    squared distance or FAR. Nobody is near itself; of two as near the one that `candidates` names first counts.
    """
    wide = high = np.int64(0)
    for i in range(candidates.size):
        wide = max(wide, x[candidates[i]] // cell)
        high = max(high, y[candidates[i]] // cell)
    wide += 1
    high += 1
    # A counting sort: the candidates of square s are those of order[first[s]:first[s + 1]], in their own order.
    first = np.zeros(wide * high + 1, dtype=np.int64)
    for i in range(candidates.size):
        at = candidates[i]
        first[y[at] // cell * wide + x[at] // cell + 1] += 1
    for s in range(wide * high):
        first[s + 1] += first[s]
    order = np.empty(candidates.size, dtype=np.int64)
    filled = first[:-1].copy()
    for i in range(candidates.size):
        at = candidates[i]
        s = y[at] // cell * wide + x[at] // cell
        order[filled[s]] = i
        filled[s] += 1
    for i in range(rows.size):
        row = rows[i]
        far = reach[i]
        mine_x, mine_y = x[row], y[row]
        found, closest, seen = np.int64(-1), np.int64(FAR), np.int64(0)
        left, right = max(0, mine_x - far) // cell, min(wide - 1, (mine_x + far) // cell)
        top, bottom = max(0, mine_y - far) // cell, min(high - 1, (mine_y + far) // cell)
        if left > right:
            bottom = top - 1  # all are west of what it reaches
        for square_y in range(top, bottom + 1):
            # Squares beside each other lie beside each other in the order, too.
            for k in range(first[square_y * wide + left], first[square_y * wide + right + 1]):
                j = order[k]
                other = candidates[j]
                if other == row:
                    continue
                dx, dy = x[other] - mine_x, y[other] - mine_y
                away = dx * dx + dy * dy
                if away > far * far:
                    continue
                seen += 1
                if away < closest or (away == closest and j < found):
                    found, closest = j, away
        best[i] = candidates[found] if found >= 0 else NOBODY
        least[i] = closest
        count[i] = seen


@njit(cache=True)
def within(
    x: Cells,
    y: Cells,
    row: int,
    reach: int,
    side: int,
    wide: int,
    tall: int,
    first: Links,
    after: Links,
) -> tuple[Cells, Cells]:
    """The rows within `reach` units of `row`, without it, and their squared distances, over the lists that `cells.follow` keeps."""
    found = np.empty(64, dtype=np.int64)
    distance = np.empty(64, dtype=np.int64)
    size = 0
    mine_x, mine_y = x[row], y[row]
    left, right = max(0, (mine_x - reach) // side), min(wide - 1, (mine_x + reach) // side)
    top, bottom = max(0, (mine_y - reach) // side), min(tall - 1, (mine_y + reach) // side)
    for down in range(top, bottom + 1):
        for across in range(left, right + 1):
            other = np.int64(first[down * wide + across])
            while other != NOBODY:
                dx, dy = x[other] - mine_x, y[other] - mine_y
                away = dx * dx + dy * dy
                if away <= reach * reach and other != row:
                    if size == found.size:
                        found = np.append(found, found)
                        distance = np.append(distance, distance)
                    found[size] = other
                    distance[size] = away
                    size += 1
                other = np.int64(after[other])
    return found[:size], distance[:size]
