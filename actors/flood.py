"""Where water runs when a dam gives way: a spill over low ground, in the order it gets there."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from world.tiles import Tile

__all__ = ["Patch", "patches", "slices", "spill"]

Cell = tuple[int, int]
"""x, y."""
Patch = tuple[int, int, int, int]
"""x, y, w, h of a block of cells that go under together."""

REACH: Final = 56
"""Cells from the breach beyond which the water has spent itself."""

_HEIGHT: Final = {
    Tile.DEEP_WATER: 0,
    Tile.WATER: 0,
    Tile.MUD: 1,
    Tile.SAND: 1,
    Tile.FIELD: 2,
    Tile.ROAD: 4,
    Tile.GRASS: 4,
}
"""How high the ground stands; what is missing (walls, rock, hills, forest, bridges) stays dry."""
_STEPS: Final = ((0, -1), (-1, 0), (1, 0), (0, 1))


def spill(tiles: NDArray[np.uint8], breach: Sequence[Cell], volume: int) -> list[tuple[int, Cell]]:
    """Which dry cells go under, with the time the water takes to each.

    A priority flood: of all cells the water touches, the lowest is taken next, the nearest of
    equals; it spreads through standing water for free. `tiles` is uint8[height, width].

    Returns:
        (steps from the breach, cell), at most `volume`, nearest first; ties by y, then x.
    """
    height, width = tiles.shape
    seen = np.zeros(tiles.shape, dtype=np.bool_)
    queue: list[tuple[int, int, int, int]] = []

    def touch(level: int, steps: int, x: int, y: int) -> None:
        if not (0 <= x < width and 0 <= y < height) or seen[y, x] or steps > REACH:
            return
        ground = _HEIGHT.get(Tile(int(tiles[y, x])))
        if ground is None:
            return
        seen[y, x] = True
        heapq.heappush(queue, (max(level, ground), steps, y, x))

    for x, y in breach:
        touch(0, 0, x, y)
    wet: list[tuple[int, Cell]] = []
    while queue and len(wet) < volume:
        level, steps, y, x = heapq.heappop(queue)
        if _HEIGHT[Tile(int(tiles[y, x]))] > 0:
            wet.append((steps, (x, y)))
        for dx, dy in _STEPS:
            touch(level, steps + 1, x + dx, y + dy)
    return sorted(wet, key=lambda item: (item[0], item[1][1], item[1][0]))


def slices(wet: Sequence[tuple[int, Cell]], count: int) -> list[list[Cell]]:
    """The cells in at most `count` slices of about equal size, in the order the water comes."""
    cells = [cell for _, cell in wet]
    size = max(1, -(-len(cells) // max(1, count)))
    return [cells[start : start + size] for start in range(0, len(cells), size)]


def patches(cells: Sequence[Cell]) -> list[Patch]:
    """The same cells as blocks: runs along x, joined with equal runs beneath; disjoint and exact."""
    rows: dict[int, list[int]] = {}
    for x, y in cells:
        rows.setdefault(y, []).append(x)
    done: list[Patch] = []
    growing: dict[tuple[int, int], Patch] = {}
    for y in sorted(rows):
        runs = _runs(sorted(rows[y]))
        still: dict[tuple[int, int], Patch] = {}
        for x, w in runs:
            above = growing.pop((x, w), None)
            if above is not None and above[1] + above[3] == y:
                still[(x, w)] = (x, above[1], w, above[3] + 1)
            else:
                if above is not None:
                    done.append(above)
                still[(x, w)] = (x, y, w, 1)
        done += growing.values()
        growing = still
    done += growing.values()
    return sorted(done, key=lambda patch: (patch[1], patch[0]))


def _runs(xs: Sequence[int]) -> list[tuple[int, int]]:
    runs: list[tuple[int, int]] = []
    for x in xs:
        if runs and runs[-1][0] + runs[-1][1] == x:
            runs[-1] = (runs[-1][0], runs[-1][1] + 1)
        else:
            runs.append((x, 1))
    return runs
