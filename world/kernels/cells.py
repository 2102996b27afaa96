"""Who stands in which square of the map: lists of rows, brought up to date as bodies move."""

from __future__ import annotations

from typing import Final

from numba import njit

from world.kernels.kinds import Bools, Cells, Links
from world.kernels.numbers import floor

NONE: Final = -1
"""The end of a list, and the square of a row that is in none."""


@njit(cache=True)
def follow(
    x: Cells,
    y: Cells,
    here: Bools,
    high: int,
    side: int,
    wide: int,
    tall: int,
    first: Links,
    after: Links,
    before: Links,
    square: Links,
) -> int:
    """Put the rows below `high` whose square changed into the lists of their new ones; returns how many.

    `here` is bool by row: whether it is listed at all. A square is `side` units wide; there are `wide` x
    `tall`. `first` holds the first row of each square's list, `after` and `before` its neighbours in it,
    `square` where it is listed (int32 each, NONE for nobody). The order within a list hangs on
    what happened before, so who reads one must not depend on it.
    """
    changed = 0
    for row in range(high):
        new = NONE
        if here[row]:
            across = min(max(floor(x[row], side), 0), wide - 1)
            down = min(max(floor(y[row], side), 0), tall - 1)
            new = down * wide + across
        old = square[row]
        if new == old:
            continue
        changed += 1
        if old != NONE:
            if before[row] != NONE:
                after[before[row]] = after[row]
            else:
                first[old] = after[row]
            if after[row] != NONE:
                before[after[row]] = before[row]
        square[row] = new
        before[row] = NONE
        after[row] = NONE
        if new != NONE:
            head = first[new]
            after[row] = head
            if head != NONE:
                before[head] = row
            first[new] = row
    return changed
