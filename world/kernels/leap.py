"""Many ticks' walk at once, for those whom nobody watches, from waypoint to waypoint."""

from __future__ import annotations

from numba import njit

from world.kernels.kinds import Bodies, Bools, Cells, Ground, Known, Masks
from world.kernels.lead import WALKS, plan
from world.kernels.stride import stride


@njit(cache=True)
def leap(
    rows: Cells,
    on: Cells,
    left: Cells,
    bodies: Bodies,
    ground: Ground,
    known: Known,
    limits: tuple[int, int, int],
    outcome: Masks,
    asks: Cells,
    crossed: Bools,
) -> tuple[int, int]:
    """Walk those of `rows` that `on` (indices) lists from waypoint to waypoint until their `left` ticks are used.

    `left` (int64, a row) is counted down; who stops, or gives up, keeps what is left. The others are as for `lead.plan`.
    Goes on until all are done, or until somebody's way is not known. Returns how many walk on, first in `on`, and
    how many ways are not known, listed in `asks`: these must be led before it is called again for the others.
    """
    many = on.size
    while many:
        many = _first(on[:many], left, outcome)
        stride(rows, on[:many], left, bodies, ground, crossed)
        many = _first(on[:many], left, outcome)
        unknown = plan(rows, on[:many], bodies, ground, known, limits, outcome, asks)
        if unknown:
            return many, unknown
    return 0, 0


@njit(cache=True)
def _first(on: Cells, left: Cells, outcome: Masks) -> int:
    """Bring those who walk on to the front, in their order; returns how many they are."""
    many = 0
    for k in range(on.size):
        if left[on[k]] and outcome[on[k]] == WALKS:
            on[many] = on[k]
            many += 1
    return many
