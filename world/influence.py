"""Who can influence whom, and so who may be stepped while others lag behind: the out-of-order rule.

After AI Metropolis (arXiv 2411.03519). A being at block s may be stepped while another has only been
stepped to an earlier block b if the other is farther away than the reach of the two and the way it can go
in the blocks between. What was passed is read from versioned columns, so only reading counts.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from world.entities import Ints
from world.maths import TILE
from world.ruleset import Ruleset
from world.tiles import COST

__all__ = ["ANYONE", "DANGER", "Influence", "fastest", "reaches"]

ANYONE: Final = 20 * TILE
"""How far the state panel and the reflexes look at anyone, in units."""
DANGER: Final = 42 * TILE
"""How far they look at what threatens or hunts: 40 tiles, and the reach of a blow that is seen there."""


def reaches(ruleset: Ruleset) -> NDArray[np.int64]:
    """int64 [species, species], symmetric: within so many units one can influence the other in a tick."""
    tables = ruleset.tables
    sight = np.array([s.perception for s in ruleset.species_list], dtype=np.int64)
    reach = np.maximum(np.maximum(sight[:, None], sight[None, :]), ANYONE)
    danger = tables.threatens | tables.hostile | tables.eats
    return np.where(danger | danger.T, np.maximum(reach, DANGER), reach)


def fastest(ruleset: Ruleset) -> int:
    """The most units that a body goes in a tick, over all species, paces and grounds."""
    speed = max((s.speed for s in ruleset.species_list), default=0)
    pace = int(ruleset.tables.act_pace.max(initial=0))
    return min(TILE - 1, max(1, speed * pace // (50 * int(COST[COST > 0].min()))))


class Influence:
    """The rule over a run's positions at the beginnings of its blocks.

    Args:
        x, y: int [blocks, beings], units.
        species: int [beings]; present: bool [blocks, beings], who is in the world.
        groups: int [beings], 0 for none: a group shares leader and tactics, so it is one unit anywhere.
        reach: int64 [species, species], as `reaches` gives it.
        way: the most units a being goes in one block.
    """

    def __init__(
        self,
        x: Ints,
        y: Ints,
        species: Ints,
        present: NDArray[np.bool_],
        groups: Ints,
        reach: NDArray[np.int64],
        way: int,
    ) -> None:
        self._x, self._y = x.astype(np.int64), y.astype(np.int64)
        self._species, self._present, self._groups = species, present, groups
        self._reach, self._way = reach, way

    def near(self, being: int, block: int, at: Ints) -> NDArray[np.int64]:
        """Who has not passed `block` and may influence `being` in it, itself included.

        `at` is int64 [beings]: the block that each is to be stepped in next. Those at the same block have to
        be stepped with it, those at an earlier one before it.
        """
        behind = np.flatnonzero(at <= block)
        b = at[behind]
        dx = self._x[b, behind] - self._x[block, being]
        dy = self._y[b, behind] - self._y[block, being]
        # Both move while the block is lived, hence one way more than the lag for the other, one for it.
        far = self._reach[self._species[being], self._species[behind]]
        far = far + (block - b + 2) * self._way
        close = dx * dx + dy * dy <= far * far
        group = self._groups[being]
        if group:
            close |= self._groups[behind] == group
        return behind[(close & self._present[b, behind]) | (behind == being)]

    def unit(self, being: int, at: Ints, held: NDArray[np.bool_]) -> tuple[list[int], int]:
        """Who has to be stepped together with `being`, and who keeps them from it (-1: nobody).

        `held[i]`: being i may not be stepped in its block yet. The unit is whole only if nobody does.
        """
        block = int(at[being])
        waits = np.asarray(held, dtype=bool)
        members, seen, next_ = [being], np.zeros(at.size, dtype=bool), 0
        seen[being] = True
        if waits[being]:
            return members, being
        while next_ < len(members):
            near = self.near(members[next_], block, at)
            next_ += 1
            stops = near[(at[near] < block) | waits[near]]
            if stops.size:
                return members, int(stops[0])
            new = near[~seen[near]]
            seen[new] = True
            members += new.tolist()
        return members, -1
