"""Ways through the map: exact integer distances to a goal cell, kept until the ground changes.

A field is what Dijkstra's algorithm finds from the goal outward. scipy computes it in float64,
where sums of whole numbers this small are exact, so a field is a pure function of map and goal:
what happens to be kept changes the time a step takes, never its result.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.sparse.csgraph import dijkstra

from world.entities import Ints
from world.maths import TILE
from world.tiles import COST, WALKABLE

NO_WAY: Final = -1
_AHEAD: Final = 8
_STRAIGHT, _SLANT = 5, 7
_STEPS: Final = ((0, 1), (1, 0), (0, -1), (-1, 0), (1, 1), (1, -1), (-1, 1), (-1, -1))
_BUDGET: Final = 64 * 2**20
_SAMPLES: Final = 48
SIGHT: Final = 12 * TILE
"""How far a clear line is looked for before a field is asked."""


class Paths:
    """Distance fields over one map, the least recently used dropped when memory runs short."""

    def __init__(self, nav: NDArray[np.uint8]) -> None:
        self.limit = max(8, _BUDGET // (nav.size * 4))
        self.reset(nav)

    def reset(self, nav: NDArray[np.uint8]) -> None:
        """Forget all fields: the ground is now `nav` (uint8[height, width])."""
        self._height, self._width = nav.shape
        self._walk = WALKABLE[nav]
        self._nav = nav
        self._graph: csr_array | None = None
        self._fields: OrderedDict[int, tuple[int, NDArray[np.int32]]] = OrderedDict()

    def _edges(self) -> csr_array:
        height, width = self._height, self._width
        index = np.arange(height * width, dtype=np.int32).reshape(height, width)
        cost, walk = COST[self._nav], self._walk
        starts, ends, weights = [], [], []
        for dy, dx in _STEPS:
            y0, y1 = slice(max(0, -dy), height - max(0, dy)), slice(max(0, dy), height + min(0, dy))
            x0, x1 = slice(max(0, -dx), width - max(0, dx)), slice(max(0, dx), width + min(0, dx))
            free = walk[y0, x0] & walk[y1, x1]
            if dx and dy:
                free &= walk[y0, x1] & walk[y1, x0]
            starts.append(index[y0, x0][free])
            ends.append(index[y1, x1][free])
            length = _SLANT if dx and dy else _STRAIGHT
            weights.append(((cost[y0, x0] + cost[y1, x1])[free] * length).astype(np.float64))
        size = height * width
        return csr_array(
            (np.concatenate(weights), (np.concatenate(starts), np.concatenate(ends))),
            shape=(size, size),
        )

    def field(self, goal: int, start: int) -> NDArray[np.int32]:
        """int32 per cell: the cost of the way to `goal`, NO_WAY where unknown or none.

        The cell `start` is settled: NO_WAY there means that no way exists.
        """
        kept = self._fields.get(goal)
        if kept is not None:
            radius, distances = kept
            if radius == 0 or distances[start] != NO_WAY:
                self._fields.move_to_end(goal)
                return distances
        if self._graph is None:
            self._graph = self._edges()
        width = self._width
        apart = max(abs(goal % width - start % width), abs(goal // width - start // width))
        radius = 0 if kept is not None else (apart + 8) * 2 * 3 * 2 * _STRAIGHT
        while True:
            reach = dijkstra(self._graph, indices=goal, limit=float(radius) if radius else np.inf)
            distances = np.where(np.isfinite(reach), reach, NO_WAY).astype(np.int32)
            if radius == 0 or distances[start] != NO_WAY:
                break
            radius = 0
        self._fields[goal] = (radius, distances)
        self._fields.move_to_end(goal)
        while len(self._fields) > self.limit:
            self._fields.popitem(last=False)
        return distances

    def _step(self, distances: NDArray[np.int32], cell: int) -> int:
        """The neighbour that lies on the shortest way, or `cell` itself if none is nearer."""
        y, x = divmod(cell, self._width)
        here = int(distances[cell])
        best, found = (here if here != NO_WAY else 2**31), cell
        for dy, dx in _STEPS:
            ny, nx = y + dy, x + dx
            if not (0 <= ny < self._height and 0 <= nx < self._width):
                continue
            if dx and dy and here != NO_WAY and not (self._walk[y, nx] and self._walk[ny, x]):
                continue
            there = int(distances[ny * self._width + nx])
            if there != NO_WAY and there < best:
                best, found = there, ny * self._width + nx
        return found

    def ahead(self, start: int, goal: int) -> list[int]:
        """Up to 8 cells from `start` towards `goal`, nearest first; empty when there is no way.

        A start on ground that can't be walked leads to its best neighbour.
        """
        if not self._walk.flat[goal]:
            return []
        anchor = start
        if not self._walk.flat[start]:
            anchor = self._shore(start)
            if anchor < 0:
                return []
        distances = self.field(goal, anchor)
        if distances[anchor] == NO_WAY:
            return []
        cells = [] if anchor == start else [anchor]
        cell = anchor
        while len(cells) < _AHEAD and cell != goal:
            cell = self._step(distances, cell)
            cells.append(cell)
        return cells

    def _shore(self, start: int) -> int:
        y, x = divmod(start, self._width)
        for dy, dx in _STEPS:
            ny, nx = y + dy, x + dx
            if 0 <= ny < self._height and 0 <= nx < self._width and self._walk[ny, nx]:
                return int(ny * self._width + nx)
        return -1


_FRACTIONS: Final[Ints] = np.arange(1, _SAMPLES + 1, dtype=np.int64)


def clear(tiles: NDArray[np.uint8], x: Ints, y: Ints, to_x: Ints, to_y: Ints) -> NDArray[np.bool_]:
    """Whether the straight line from each point to its other crosses no blocked ground.

    Lines longer than SIGHT are not clear. Points lie on the map.
    """
    dx, dy = to_x - x, to_y - y
    px = x[:, None] + dx[:, None] * _FRACTIONS // _SAMPLES
    py = y[:, None] + dy[:, None] * _FRACTIONS // _SAMPLES
    free: NDArray[np.bool_] = WALKABLE[tiles[py // TILE, px // TILE]].all(axis=1)
    near = dx * dx + dy * dy <= SIGHT * SIGHT
    free &= near
    return free
