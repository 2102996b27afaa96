"""Ways through the map: exact integer distances to a goal cell, kept until the ground changes beside them.

What is kept of a goal are distances that are exact wherever they are known, and they are known
along every shortest way from a cell that was asked about. So a way is a pure function of map, start and
goal: what happens to be kept changes the time a step takes, never its result.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from world.entities import Ints
from world.kernels import sight, ways
from world.kernels.ways import NO_WAY
from world.maths import TILE
from world.tiles import COST, WALKABLE

__all__ = ["AHEAD", "NO_WAY", "SIGHT", "Paths", "clear"]

AHEAD: Final = 8
_LEAST, _MOST, _FIELDS = 64 * 2**20, 512 * 2**20, 256
_WARMED: Final = 2**16
"""Cells of the largest map whose ways are found before anybody walks them."""
_ROUNDS: Final = 2**30
MANY: Final = 4096
"""Changed cells past which nothing is kept, since looking through all that is would take longer than a tick."""
SIGHT: Final = 12 * TILE
"""How far a clear line is looked for before a field is asked."""


@dataclass(frozen=True, slots=True)
class _Field:
    """What is known of a goal: the cost from each cell of a box, NO_WAY where it is not known."""

    left: int
    top: int
    costs: NDArray[np.int32]

    def at(self, x: int, y: int) -> int:
        row, column = y - self.top, x - self.left
        height, width = self.costs.shape
        if 0 <= row < height and 0 <= column < width:
            return int(self.costs[row, column])
        return NO_WAY

    @property
    def right(self) -> int:
        return self.left + int(self.costs.shape[1])

    @property
    def bottom(self) -> int:
        return self.top + int(self.costs.shape[0])

    def joined(self, other: _Field) -> _Field:
        """Both in one box; where both know a cost it is the same."""
        left, top = min(self.left, other.left), min(self.top, other.top)
        right, bottom = max(self.right, other.right), max(self.bottom, other.bottom)
        if (left, top, right, bottom) == (self.left, self.top, self.right, self.bottom):
            self._learn(other)
            return self
        whole = np.full((bottom - top, right - left), NO_WAY, dtype=np.int32)
        both = _Field(left, top, whole)
        both._learn(self)
        both._learn(other)
        return both

    def _learn(self, other: _Field) -> None:
        y, x = other.top - self.top, other.left - self.left
        height, width = other.costs.shape
        inside = self.costs[y : y + height, x : x + width]
        np.maximum(inside, other.costs, out=inside)


class Paths:
    """The ways over one map; past `budget` bytes the goals that were not asked for longest are dropped."""

    def __init__(self, nav: NDArray[np.uint8], budget: int | None = None) -> None:
        roomy = min(_MOST, max(_LEAST, _FIELDS * nav.size * 4))
        self.budget = roomy if budget is None else budget
        self.reset(nav)

    def reset(self, nav: NDArray[np.uint8]) -> None:
        """Forget all that is kept: the ground is now `nav` (uint8[height, width])."""
        self._height, self._width = nav.shape
        walk = WALKABLE[nav]
        self._walk = np.ascontiguousarray(walk.reshape(-1))
        self._cost = COST[nav].astype(np.int32).reshape(-1)
        self._steps = np.zeros(nav.size, dtype=np.uint8)
        ways.open_steps(self._walk, self._width, self._steps)
        costs = COST[nav]
        self._least, self._most_cost = int(costs.min()), int(costs.max())
        self._island = _islands(walk)
        self._reached = np.zeros(0, dtype=np.int32)
        self._mark = np.zeros(0, dtype=np.int32)
        self._round = 0
        self._fields: OrderedDict[int, _Field] = OrderedDict()
        self.bytes = 0

    def update(self, nav: NDArray[np.uint8], cells: Ints) -> int:
        """The ground of `cells` (flat, int64[n]) is now that of `nav`: forget the goals whose ways that may change.

        Returns how many were forgotten; all of them where more than MANY cells changed. What is kept gives the
        answers that a new `Paths` of the map would give.

        Why the others can be kept: the search for a start settled every cell through which a way no longer than the
        best could lead. A way that has become as short leaves those cells somewhere, and where it first does the
        step itself must have changed, or the search would have taken it; then what changed lies beside the
        last settled cell. A way that has become longer, or is none any more, was among settled cells.
        """
        tiles = nav.reshape(-1)[cells]
        walk, cost = WALKABLE[tiles], COST[tiles].astype(np.int32)
        opened = walk != self._walk[cells]
        matters = opened | (walk & (cost != self._cost[cells]))
        kept = len(self._fields)
        if np.count_nonzero(matters) > MANY:
            self.reset(nav)
            return kept
        self._walk[cells], self._cost[cells] = walk, cost
        if opened.any():
            self._island = _islands(self._walk.reshape(nav.shape))
            ways.open_steps(self._walk, self._width, self._steps)
        least, cells = int(self._cost.min()), cells[matters]
        # The search counted on no cell being cheaper than the cheapest there was.
        cheaper, self._least = least < self._least, least
        self._most_cost = int(self._cost.max())
        for goal, field in list(self._fields.items()):
            if cheaper or ways.touches(field.costs, field.left, field.top, self._width, cells):
                self.bytes -= self._fields.pop(goal).costs.nbytes
        return kept - len(self._fields)

    def cost(self, start: int, goal: int) -> int:
        """The cost of the shortest way between two cells, NO_WAY if there is none."""
        if not self._joined(start, goal):
            return NO_WAY
        y, x = divmod(start, self._width)
        return self._known(goal, start).at(x, y)

    def ahead(self, starts: Ints, goals: Ints) -> Ints:
        """The next cells of the shortest way from each start to its goal.

        `starts` and `goals` are cells, int64[n]. Returns int64[n, AHEAD], nearest first, the last
        one repeated where the way ends, and a row of NO_WAY where there is none. A start on ground
        that can't be walked leads over its first neighbour that can.
        """
        out = np.full((starts.size, AHEAD), NO_WAY, dtype=np.int64)
        for i, (start, goal) in enumerate(zip(starts.tolist(), goals.tolist(), strict=True)):
            anchor = start if self._walk[start] else self._shore(start)
            if anchor < 0 or not self._joined(anchor, goal):
                continue
            row = out[i]
            if anchor != start:
                row[0] = anchor
                row = row[1:]
            field = self._known(goal, anchor)
            ways.follow(
                field.costs, field.left, field.top, self._cost, self._walk, self._width,
                anchor, goal, row,
            )  # fmt: skip
        return out

    def warm(self, goals: list[int]) -> None:
        """Find the ways to many goals from everywhere, if the map is small; it saves time later."""
        most = self.budget // (self._walk.size * 4) * 3 // 4
        if self._walk.size <= _WARMED:
            for goal in [g for g in goals if self._walk[g]][:most]:
                self._keep(goal, self._spread(goal, -1))

    # -- finding -------------------------------------------------------------------------------

    def _joined(self, start: int, goal: int) -> bool:
        return bool(self._island[start] and self._island[start] == self._island[goal])

    def _known(self, goal: int, start: int) -> _Field:
        """What is kept of the goal, with `start` (of its island) among it."""
        kept = self._fields.get(goal)
        y, x = divmod(start, self._width)
        if kept is not None and kept.at(x, y) != NO_WAY:
            self._fields.move_to_end(goal)
            return kept
        found = self._spread(goal, start)
        if kept is not None:
            found = kept.joined(found)
        self._keep(goal, found)
        return found

    def _spread(self, goal: int, start: int) -> _Field:
        if not self._mark.size or self._round >= _ROUNDS:
            self._reached = np.zeros(self._walk.size, dtype=np.int32)
            self._mark = np.zeros(self._walk.size, dtype=np.int32)
            self._round = 0
        self._round += 2
        left, top, right, bottom = ways.spread(
            self._cost, self._steps, self._width, goal, start, self._least, self._most_cost,
            self._reached, self._mark, self._round,
        )  # fmt: skip
        box = np.full((bottom - top + 1, right - left + 1), NO_WAY, dtype=np.int32)
        ways.cut(self._reached, self._mark, self._round, self._width, box, left, top)
        return _Field(left, top, box)

    def _keep(self, goal: int, field: _Field) -> None:
        old = self._fields.pop(goal, None)
        self._fields[goal] = field
        self.bytes += field.costs.nbytes - (old.costs.nbytes if old else 0)
        while self.bytes > self.budget and len(self._fields) > 1:
            _, dropped = self._fields.popitem(last=False)
            self.bytes -= dropped.costs.nbytes

    def _shore(self, start: int) -> int:
        y, x = divmod(start, self._width)
        for dy, dx in zip(ways.STEPS_Y.tolist(), ways.STEPS_X.tolist(), strict=True):
            ny, nx = y + dy, x + dx
            if 0 <= ny < self._height and 0 <= nx < self._width:
                there = int(ny * self._width + nx)
                if self._walk[there]:
                    return there
        return NO_WAY


def _islands(walk: NDArray[np.bool_]) -> NDArray[np.int32]:
    """A number for each cell (flat), the same for those that can reach one another; 0 for blocked ones."""
    # A slanting step needs both straight ones beside it, so straight neighbours tell islands apart.
    numbers: NDArray[np.int32] = ndimage.label(walk, output=np.int32)[0]
    return numbers.reshape(-1)


def clear(tiles: NDArray[np.uint8], x: Ints, y: Ints, to_x: Ints, to_y: Ints) -> NDArray[np.bool_]:
    """Whether the straight line from each point to its other crosses no blocked ground.

    Lines longer than SIGHT are not clear. Points lie on the map.
    """
    free = np.zeros(x.size, dtype=np.bool_)
    # Compiled once, for maps that refuse writing.
    tiles = tiles.view()
    tiles.setflags(write=False)
    sight.clear(tiles, WALKABLE, x, y, to_x, to_y, SIGHT, free)
    return free
