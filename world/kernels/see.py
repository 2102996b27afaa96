"""What each of many bodies sees around it: nearest threat, foe and prey, and how many stand by it."""

from __future__ import annotations

from typing import Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

from world.kernels.cells import NONE
from world.kernels.kinds import Bools, Cells, Links, Words
from world.kernels.numbers import AT
from world.kernels.numbers import floor as floored

THREAT, FOE, PREY = 0, 1, 2
TILE: Final = 256
_BITS: Final = 32


@njit(cache=True)
def kind_mark(species: int) -> np.uint64:
    """A bit of the lower half for a species; some share one."""
    return np.uint64(1) << np.uint64(species % _BITS)


@njit(cache=True)
def group_mark(group: int) -> np.uint64:
    """A bit of the upper half for a group, none for loners; some share one."""
    return np.uint64(group > 0) << np.uint64(_BITS + group % _BITS)


@njit(cache=True)
def who(species: Cells, group: Cells, square: Links, squares: int) -> Words:
    """The marks of all who stand in each of so many squares, joined: uint64[squares]."""
    out = np.zeros(squares, dtype=np.uint64)
    for row in range(square.size):
        if square[row] != NONE:
            out[AT(square[row])] |= kind_mark(species[row]) | group_mark(group[row])
    return out


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
    square: Links,
    nearest: Cells,
    distance: Cells,
    threats: Cells,
    mates: Cells,
) -> None:
    """Look around from each of `rows` over the lists that `cells.follow` keeps; `square` tells where each row is listed.

    `relations` is bool[3, species, species]: whether one kind fears, fights or eats the other. A kind
    that `shuns` floors does not see as foe or prey who stands on the tile `floor`. `reach` is int64 by row,
    `close` how near a member of the group counts, both in units. Written by row: `nearest` int64[3, rows] and the squared
    `distance` (left alone where nobody is seen), `threats` and `mates` how many. Of two as near the
    lower id is the nearest.
    """
    kinds = relations.shape[1]
    # All three relations of one kind to another in the bits of one number.
    minds = np.zeros((kinds, kinds), dtype=np.uint8)
    for k in range(3):
        for one in range(kinds):
            for other in range(kinds):
                if relations[k, one, other]:
                    minds[one, other] |= np.uint8(1 << k)
    # Most squares hold nobody that concerns a being, which their marks tell without going through their lists.
    marked = who(species, group, square, wide * tall)
    concerns = np.zeros(kinds, dtype=np.uint64)
    for one in range(kinds):
        for other in range(kinds):
            if minds[one, other]:
                concerns[one] |= kind_mark(other)
    for i in range(rows.size):
        row = AT(rows[i])
        kind, own = species[row], group[row]
        mine_x, mine_y, mine = x[row], y[row], minds[AT(kind)]
        far = reach[row]
        most = max(far, np.int64(close)) if own > 0 else far
        concern = concerns[AT(kind)] | group_mark(own)
        far2, close2, most2 = far * far, np.int64(close) * close, most * most
        left = min(max(floored(mine_x - most, side), 0), wide - 1)
        right = min(max(floored(mine_x + most, side), 0), wide - 1)
        top = min(max(floored(mine_y - most, side), 0), tall - 1)
        bottom = min(max(floored(mine_y + most, side), 0), tall - 1)
        for down in range(top, bottom + 1):
            for here in range(down * wide + left, down * wide + right + 1):
                if not marked[AT(here)] & concern:
                    continue
                follower = first[AT(here)]
                while follower != NONE:
                    seen = AT(follower)
                    follower = after[seen]
                    dx, dy = x[seen] - mine_x, y[seen] - mine_y
                    away = dx * dx + dy * dy
                    if away > most2 or seen == row:
                        continue
                    if own > 0 and away <= close2 and group[seen] == own:
                        mates[row] += 1
                    if away > far2:
                        continue
                    what = mine[AT(species[seen])]
                    for k in range(3):
                        if not what >> k & 1:
                            continue
                        if k == THREAT:
                            threats[row] += 1
                        elif shuns[kind] and tiles[y[seen] // TILE, x[seen] // TILE] == floor:
                            continue
                        best = nearest[k, row]
                        if away < distance[k, row] or (
                            away == distance[k, row]
                            and best >= 0
                            and identity[seen] < identity[best]
                        ):
                            nearest[k, row] = seen
                            distance[k, row] = away
