"""Ways through the map: exact integer distances to a goal cell, kept until the ground changes.

A field is what Dijkstra's algorithm finds from the goal outward. scipy computes it in float64,
where sums of whole numbers this small are exact, so a field is a pure function of map and goal:
what happens to be kept changes the time a step takes, never its result.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.sparse.csgraph import dijkstra

from world.entities import Ints
from world.maths import TILE
from world.tiles import COST, WALKABLE

NO_WAY: Final = -1
AHEAD: Final = 8
_BATCH: Final = 16
_PER_CELL: Final = 30
_STRAIGHT, _SLANT = 5, 7
_STEPS: Final = ((0, 1), (1, 0), (0, -1), (-1, 0), (1, 1), (1, -1), (-1, 1), (-1, -1))
_LEAST, _MOST, _FIELDS = 64 * 2**20, 512 * 2**20, 256
_SAMPLES: Final = 48
SIGHT: Final = 12 * TILE
"""How far a clear line is looked for before a field is asked."""


@dataclass(slots=True)
class _Field:
    """Distances out to `radius` (0: everywhere), kept for the box they fill, and steps looked up."""

    radius: int
    left: int
    top: int
    distances: NDArray[np.int32]
    steps: dict[int, int] = field(default_factory=dict)

    def at(self, x: int, y: int) -> int:
        """The cost of the way from a cell, NO_WAY where unknown or none."""
        row, column = y - self.top, x - self.left
        height, width = self.distances.shape
        if 0 <= row < height and 0 <= column < width:
            return int(self.distances[row, column])
        return NO_WAY


class Paths:
    """Distance fields over one map; past `budget` bytes the least recently used are dropped."""

    def __init__(self, nav: NDArray[np.uint8], budget: int | None = None) -> None:
        roomy = min(_MOST, max(_LEAST, _FIELDS * nav.size * 4))
        self.budget = roomy if budget is None else budget
        self.reset(nav)

    def reset(self, nav: NDArray[np.uint8]) -> None:
        """Forget all fields: the ground is now `nav` (uint8[height, width])."""
        self._height, self._width = nav.shape
        self._walk = WALKABLE[nav]
        self._nav = nav
        self._graph: csr_array | None = None
        self._fields: OrderedDict[int, _Field] = OrderedDict()
        self.bytes = 0

    def _edges(self) -> csr_array:
        if self._graph is None:
            self._graph = self._make_edges()
        return self._graph

    def _make_edges(self) -> csr_array:
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

    def cost(self, start: int, goal: int) -> int:
        """The cost of the shortest way between two cells, NO_WAY if there is none."""
        y, x = divmod(start, self._width)
        return self._kept(goal, start).at(x, y)

    def warm(self, goals: list[int]) -> None:
        """Find the whole fields of many goals at once; it saves time later, and changes nothing."""
        most = max(1, self.budget // (self._nav.size * 4) * 3 // 4)
        fresh = [g for g in goals if g not in self._fields and self._walk.flat[g]][:most]
        for at in range(0, len(fresh), _BATCH):
            part = fresh[at : at + _BATCH]
            for goal, reach in zip(part, dijkstra(self._edges(), indices=part), strict=True):
                self._keep(goal, self._field(0, reach))

    def _field(self, radius: int, reach: NDArray[np.float64]) -> _Field:
        known = np.isfinite(reach)
        whole = np.where(known, reach, NO_WAY).astype(np.int32).reshape(self._nav.shape)
        if not radius:
            return _Field(0, 0, 0, whole)
        ys, xs = np.divmod(known.nonzero()[0], self._width)
        top, left = int(ys.min()), int(xs.min())
        box = whole[top : int(ys.max()) + 1, left : int(xs.max()) + 1]
        return _Field(radius, left, top, box.copy())

    def _keep(self, goal: int, field: _Field) -> None:
        old = self._fields.pop(goal, None)
        self._fields[goal] = field
        self.bytes += field.distances.nbytes - (old.distances.nbytes if old else 0)
        while self.bytes > self.budget and len(self._fields) > 1:
            _, dropped = self._fields.popitem(last=False)
            self.bytes -= dropped.distances.nbytes

    def _kept(self, goal: int, start: int) -> _Field:
        kept = self._fields.get(goal)
        width = self._width
        y, x = divmod(start, width)
        if kept is not None and (kept.radius == 0 or kept.at(x, y) != NO_WAY):
            self._fields.move_to_end(goal)
            return kept
        apart = max(abs(goal % width - x), abs(goal // width - y))
        radius = (apart + 4) * _PER_CELL
        if kept is not None:
            radius = max(radius, kept.radius * 3)
        everywhere = (self._height + width) * _PER_CELL
        while True:
            limit = float(radius) if radius < everywhere else np.inf
            reach = dijkstra(self._edges(), indices=goal, limit=limit)
            if radius >= everywhere or np.isfinite(reach[start]):
                break
            radius *= 3
        found = self._field(0 if radius >= everywhere else radius, reach)
        self._keep(goal, found)
        return found

    def _step(self, field: _Field, cell: int) -> int:
        """The next cell of the shortest way, or `cell` itself at the goal; the first of equals."""
        known = field.steps.get(cell)
        if known is not None:
            return known
        y, x = divmod(cell, self._width)
        cost = int(COST[self._nav[y, x]])
        best, found = 2**31, cell
        for dy, dx in _STEPS:
            ny, nx = y + dy, x + dx
            if not (0 <= ny < self._height and 0 <= nx < self._width):
                continue
            there = field.at(nx, ny)
            if there == NO_WAY:
                continue
            if dx and dy and not (self._walk[y, nx] and self._walk[ny, x]):
                continue
            length = _SLANT if dx and dy else _STRAIGHT
            there += (cost + int(COST[self._nav[ny, nx]])) * length
            if there < best:
                best, found = there, ny * self._width + nx
        field.steps[cell] = found
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
        field = self._kept(goal, anchor)
        if field.at(anchor % self._width, anchor // self._width) == NO_WAY:
            return []
        cells = [] if anchor == start else [anchor]
        cell = anchor
        while len(cells) < AHEAD and cell != goal:
            cell = self._step(field, cell)
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
