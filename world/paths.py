"""Ways through the map: exact integer distances to a goal cell, kept until the ground changes beside them.

What is kept of a goal are distances that are exact wherever they are known, and they are known
along every shortest way from a cell that was asked about. So a way is a pure function of map, start and
goal: what happens to be kept changes the time a step takes, never its result.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from world.entities import Ints
from world.kernels import sight, ways
from world.kernels.kinds import Known
from world.kernels.sight import SIGHT
from world.kernels.ways import AHEAD, NO_WAY
from world.tiles import COST, WALKABLE

__all__ = ["AHEAD", "NO_WAY", "SIGHT", "Paths", "clear"]

_LEAST, _MOST, _FIELDS = 64 * 2**20, 512 * 2**20, 256
_WARMED: Final = 2**16
"""Cells of the largest map whose ways are found before anybody walks them."""
_ROUNDS: Final = 2**30
MANY: Final = 4096
"""Changed cells past which nothing is kept, since looking through all that is would take longer than a tick."""
_NEVER: Final = 2**62
"""When a number under which nothing is kept was last asked for."""


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


_NOTHING: Final = _Field(0, 0, np.full((0, 0), NO_WAY, dtype=np.int32))


class Paths:
    """The ways over one map; past `budget` bytes the goals that were not asked for longest are dropped."""

    def __init__(self, nav: NDArray[np.uint8], budget: int | None = None) -> None:
        roomy = min(_MOST, max(_LEAST, _FIELDS * nav.size * 4))
        self.budget = roomy if budget is None else budget
        self.reset(nav)

    def reset(self, nav: NDArray[np.uint8]) -> None:
        """Forget all that is kept: the ground is now `nav` (uint8[height, width])."""
        self._width = int(nav.shape[1])
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
        self.forget()

    def forget(self) -> None:
        """Forget all ways that are kept; the ground is as it was."""
        self._fields: dict[int, _Field] = {}
        self.bytes = 0
        # Where kernels find them: see `Known`.
        self._slot = np.full(self._walk.size, -1, dtype=np.int32)
        self._boxes = np.zeros((0, 5), dtype=np.int64)
        self._goals = np.zeros(0, dtype=np.int64)
        self._used = np.zeros(0, dtype=np.int64)
        self._free: list[int] = []
        self._clock = 0

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
                self._drop(goal)
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
        out = np.empty((starts.size, AHEAD), dtype=np.int64)
        asks = np.arange(starts.size)
        while True:
            unknown = ways.follow_all(self.known(), starts, goals, asks, out)
            if not unknown:
                return out
            asks = asks[:unknown]
            self.find(starts[asks], goals[asks])

    def known(self) -> Known:
        """What is kept of ways, for kernels to read until the next that is found."""
        self._clock += 1
        return Known(
            self._width, self._steps, self._cost, self._island, self._slot, self._boxes,
            self._used, self._clock,
        )  # fmt: skip

    def find(self, starts: Ints, goals: Ints) -> None:
        """Find ways (from cells to cells, int64[n]) of which a kernel says that they aren't known.

        The last is kept at least until more are found.
        """
        for start, goal in zip(starts.tolist(), goals.tolist(), strict=True):
            there = start if self._walk[start] else int(ways.shore(self.known(), start))
            self._known(goal, there)

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
        kept = self._fields.get(goal, _NOTHING)
        y, x = divmod(start, self._width)
        if kept.at(x, y) != NO_WAY:
            self._used[self._slot[goal]] = self._clock
            return kept
        found = self._spread(goal, start, kept)
        self._keep(goal, found)
        return found

    def _spread(self, goal: int, start: int, kept: _Field = _NOTHING) -> _Field:
        """What is kept of the goal, and what a search from it finds."""
        if not self._mark.size or self._round >= _ROUNDS:
            self._reached = np.zeros(self._walk.size, dtype=np.int32)
            self._mark = np.zeros(self._walk.size, dtype=np.int32)
            self._round = 0
        self._round += 2
        found = ways.learn(
            self._cost, self._steps, self._width, goal, start, self._least, self._most_cost,
            self._reached, self._mark, self._round, kept.left, kept.top, kept.costs,
        )  # fmt: skip
        return _Field(*found)

    def _keep(self, goal: int, field: _Field) -> None:
        if goal in self._fields:
            self._drop(goal)
        if not self._free:
            self._make_room()
        slot = self._free.pop()
        self._clock += 1
        self._fields[goal] = field
        self._slot[goal], self._goals[slot], self._used[slot] = slot, goal, self._clock
        height, width = field.costs.shape
        address = field.costs.__array_interface__["data"][0]
        self._boxes[slot] = address, field.left, field.top, width, height
        self.bytes += field.costs.nbytes
        while self.bytes > self.budget and len(self._fields) > 1:
            self._drop(int(self._goals[np.argmin(self._used)]))

    def _make_room(self) -> None:
        used = self._used.size
        more = max(64, used)
        self._boxes = np.pad(self._boxes, ((0, more), (0, 0)))
        self._goals = np.pad(self._goals, (0, more))
        self._used = np.pad(self._used, (0, more), constant_values=_NEVER)
        self._free.extend(range(used + more - 1, used - 1, -1))

    def _drop(self, goal: int) -> None:
        self.bytes -= self._fields.pop(goal).costs.nbytes
        slot = int(self._slot[goal])
        self._slot[goal], self._used[slot] = -1, _NEVER
        self._free.append(slot)


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
    sight.clear(tiles, WALKABLE, x, y, to_x, to_y, free)
    return free
