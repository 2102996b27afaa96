"""The graph that the world's walkers see, handed to other libraries: the same steps at the same costs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from world.kernels.ways import SLANT, STEPS_X, STEPS_Y, STRAIGHT
from world.tiles import COST, WALKABLE

Map = NDArray[np.uint8]


def steps(nav: Map) -> Iterator[tuple[int, int, NDArray[np.int32]]]:
    """For each of the eight directions (down, across): what the step into each cell costs, int32[height, width], 0 where it can't be taken."""
    walk, cost = WALKABLE[nav], COST[nav].astype(np.int32)
    height, width = nav.shape
    for dy, dx in zip(STEPS_Y.tolist(), STEPS_X.tolist(), strict=True):
        there = np.s_[max(0, dy) : height + min(0, dy), max(0, dx) : width + min(0, dx)]
        here = np.s_[max(0, -dy) : height + min(0, -dy), max(0, -dx) : width + min(0, -dx)]
        free = walk[there] & walk[here]
        length = STRAIGHT
        if dx and dy:
            length = SLANT
            # A slanting step needs both cells beside it: that of one row and that of the other.
            free &= walk[here[0], there[1]] & walk[there[0], here[1]]
        into = np.zeros(nav.shape, dtype=np.int32)
        into[there] = np.where(free, (cost[there] + cost[here]) * length, 0)
        yield dy, dx, into


def matrix(nav: Map) -> Any:
    """scipy's: a CSR matrix of float64[cells, cells], a step's cost from row to column."""
    width = nav.shape[1]
    into, out, costs = [], [], []
    for dy, dx, cost in steps(nav):
        cells = np.flatnonzero(cost)
        into.append(cells)
        out.append(cells - dy * width - dx)
        costs.append(cost.reshape(-1)[cells].astype(np.float64))
    whole = np.concatenate(costs), (np.concatenate(out), np.concatenate(into))
    return sparse.csr_matrix(whole, shape=(nav.size, nav.size))


def graph(nav: Map) -> Any:
    """tcod's: a graph for its compiled A*, with the tightest heuristic that is right. Raises ImportError without tcod."""
    import tcod.path

    made = tcod.path.CustomGraph(nav.shape)
    for dy, dx, cost in steps(nav):
        made.add_edge((dy, dx), 1, cost=cost)
    least = 2 * int(COST[nav].min())
    made.set_heuristic(cardinal=least * STRAIGHT, diagonal=least * SLANT)
    return made
