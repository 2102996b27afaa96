"""What each of many bodies sees around it: nearest threat, foe and prey, and how many stand by it."""

from __future__ import annotations

from typing import Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

from world.kernels.cells import NONE
from world.kernels.kinds import Bools, Cells, Links

THREAT, FOE, PREY = 0, 1, 2
TILE: Final = 256


@njit(cache=True)
def see(
    rows: Cells,
    x: Cells,
    y: Cells,
    identity: Cells,
    species: Cells,
    group: Cells,
    reach: Cells,
    relations: NDArray[np.bool_],
    shuns: Bools,
    tiles: NDArray[np.uint8],
    floor: int,
    close: int,
    side: int,
    wide: int,
    tall: int,
    first: Links,
    after: Links,
    nearest: Cells,
    distance: Cells,
    threats: Cells,
    mates: Cells,
) -> None:
    """Look around from each of `rows` over the lists that `cells.follow` keeps.

    `relations` is bool[3, species, species]: whether one kind fears, fights or eats the other. A kind
    that `shuns` floors does not see as foe or prey who stands on the tile `floor`. `reach` is int64 by row,
    `close` how near a member of the group counts, both in units. Written by row: `nearest` int64[3, rows] and the squared
    `distance` (left alone where nobody is seen), `threats` and `mates` how many. Of two as near the
    lower id is the nearest.
    """
    for i in range(rows.size):
        row = rows[i]
        kind, own = species[row], group[row]
        far = reach[row]
        far2, close2 = far * far, np.int64(close) * close
        most = max(far, np.int64(close)) if own > 0 else far
        left = min(max((x[row] - most) // side, 0), wide - 1)
        right = min(max((x[row] + most) // side, 0), wide - 1)
        top = min(max((y[row] - most) // side, 0), tall - 1)
        bottom = min(max((y[row] + most) // side, 0), tall - 1)
        for down in range(top, bottom + 1):
            for across in range(left, right + 1):
                other = first[down * wide + across]
                while other != NONE:
                    dx, dy = x[other] - x[row], y[other] - y[row]
                    away = dx * dx + dy * dy
                    if other != row:
                        if own > 0 and group[other] == own and away <= close2:
                            mates[row] += 1
                        if away <= far2:
                            for k in range(3):
                                if not relations[k, kind, species[other]]:
                                    continue
                                if k == THREAT:
                                    threats[row] += 1
                                elif shuns[kind]:
                                    ground = tiles[y[other] // TILE, x[other] // TILE]
                                    if ground == floor:
                                        continue
                                best = nearest[k, row]
                                if away < distance[k, row] or (
                                    away == distance[k, row]
                                    and best >= 0
                                    and identity[other] < identity[best]
                                ):
                                    nearest[k, row] = other
                                    distance[k, row] = away
                    other = after[other]
