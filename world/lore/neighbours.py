"""Who lies near whom: for each row of a segment some of its nearest rows, for a search to step along.

Trees alone need to look at half of all sentence vectors to find 95 % of ten neighbours, since in
hundreds of dimensions a plane that parts some neighbours from the query goes through every place.
Neighbours of what the trees have found first bring in the rest.

The rows are parted into cells around centroids (spherical k-means over a sample); a row is compared
with all rows of the cells nearest to its own. So the work grows with the rows, not with their square.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]
Rows = NDArray[np.int64]

CELL_ROWS = 500
COMPARED = 6000
"""Each row is compared with about so many."""
SAMPLED_A_CELL = 40
ROUNDS = 6
BLOCK = 512


def nearest_rows(vectors: Vectors, count: int, seed: int) -> NDArray[np.int32]:
    """int32[rows, count]: rows near each row of the unit vectors, in no order, none its own.

    Where there are not so many other rows, `count` is as many as there are; a row alone is its own
    neighbour. About 4 of 5 are among the true nearest.
    """
    rows = len(vectors)
    if rows == 1:
        return np.zeros((1, 1), dtype=np.int32)
    count = min(count, rows - 1)
    chance = np.random.default_rng(seed)
    centres, cell = _cells(vectors, chance)
    members = _members(cell, len(centres))
    found = np.empty((rows, count), dtype=np.int32)
    for own, mine in enumerate(members):
        if len(mine) == 0:
            continue
        others = _compared(centres, members, own, chance)
        beside = vectors[others]
        for first in range(0, len(mine), BLOCK):
            block = mine[first : first + BLOCK]
            cosines = vectors[block] @ beside.T
            cosines[block[:, None] == others[None, :]] = -2.0
            best = np.argpartition(cosines, len(others) - count, axis=1)[:, len(others) - count :]
            found[block] = others[best]
    return found


def _cells(vectors: Vectors, chance: np.random.Generator) -> tuple[Vectors, Rows]:
    """Centroids, float32[cells, dims], and the cell of each row."""
    rows = len(vectors)
    cells = max(1, rows // CELL_ROWS)
    chosen = chance.choice(rows, min(rows, SAMPLED_A_CELL * cells), replace=False)
    sample = np.asarray(vectors[np.sort(chosen)])
    centres = sample[chance.choice(len(sample), cells, replace=False)].copy()
    for _ in range(ROUNDS):
        for n, mine in enumerate(_members(_nearest(sample, centres), cells)):
            total = sample[mine].sum(axis=0)
            length = np.linalg.norm(total)
            if length > 0:
                centres[n] = total / length
    return centres, _nearest(vectors, centres)


def _nearest(vectors: Vectors, centres: Vectors) -> Rows:
    return np.concatenate(
        [
            (vectors[first : first + BLOCK] @ centres.T).argmax(axis=1)
            for first in range(0, len(vectors), BLOCK)
        ]
    )


def _members(cell: Rows, cells: int) -> list[Rows]:
    order = np.argsort(cell, kind="stable")
    bounds = np.searchsorted(cell[order], np.arange(cells + 1))
    return [order[a:b] for a, b in zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True)]


def _compared(centres: Vectors, members: list[Rows], own: int, chance: np.random.Generator) -> Rows:
    """The rows of the nearest cells, own one first, up to a bound; a cell past it gives a sample."""
    taken: list[Rows] = []
    room = COMPARED
    cosines = centres @ centres[own]
    cosines[own] = 2.0
    for n in np.argsort(-cosines).tolist():
        here = members[n]
        if len(here) > 2 * COMPARED:
            here = chance.choice(here, 2 * COMPARED, replace=False)
        taken.append(here)
        room -= len(here)
        if room <= 0:
            break
    return np.concatenate(taken)
