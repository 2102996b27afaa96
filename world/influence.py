"""Who can influence whom, and so who may be stepped while others lag behind: the out-of-order rule.

After AI Metropolis (arXiv 2411.03519): by distance, speed and how far each perceives. A being at block s may be
stepped while another has only been stepped to an earlier block b if the other is farther away than the reach
of the two and the way it can go in the blocks between. What was passed is read from versioned columns, so only
reading counts: a body whose kind neither fears, fights nor eats another's heeds nothing of it, except when its
mind is asked, whose panel tells who is around. What a panel tells of wounds and fights farther off is
left out of the rule: who asks ahead by it has to compare, and ask again where the panel came out otherwise.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from world.entities import Ints
from world.kernels import ahead
from world.maths import TILE
from world.ruleset import Ruleset
from world.situations import MAX_NEAR
from world.tiles import COST

__all__ = ["BEASTS", "ORDERED", "PANEL", "Influence", "fastest", "reaches", "told"]

PANEL: Final = 16 * TILE
"""How far the panel of who is asked looks for who is around, in units; it names the `MAX_NEAR` nearest."""
BEASTS: Final = 40 * TILE
"""How far it looks for what threatens."""
ORDERED: Final = 42 * TILE
"""How far a kind that fights in groups follows whom an order names: 40 tiles, and the reach of a blow."""
_STRUCK: Final = 12 * TILE
"""How far who was struck looks for who did it."""


def reaches(ruleset: Ruleset) -> NDArray[np.int64]:
    """int64 [reader, read]: within so many units the one kind's reflexes heed the other in a tick; -1: nowhere."""
    tables, kinds = ruleset.tables, ruleset.species_list
    sight = np.array([max(s.perception, _STRUCK) for s in kinds], dtype=np.int64)[:, None]
    blow = np.array([s.reach + TILE for s in kinds], dtype=np.int64)[None, :]
    ordered = np.array([bool(s.tactics) for s in kinds])[:, None]
    seeks = tables.hostile | tables.eats
    reach = np.where(seeks | tables.threatens, sight, -1)
    reach = np.where(seeks & ordered, ORDERED, reach)
    return np.where(seeks.T, np.maximum(reach, blow), reach)


def told(ruleset: Ruleset) -> NDArray[np.int64]:
    """int64 [reader, read]: within so many units a panel tells of another kind wherever it is; -1: nowhere."""
    return np.where(ruleset.tables.threatens, BEASTS, -1)


def fastest(ruleset: Ruleset) -> NDArray[np.int64]:
    """int64 [species]: the most units that each goes in a tick, over all paces and grounds."""
    pace = int(ruleset.tables.act_pace.max(initial=0))
    ground = int(COST[COST > 0].min())
    most = [s.speed * pace // (50 * ground) for s in ruleset.species_list]
    return np.clip(np.array(most, dtype=np.int64), 0, TILE - 1)


class Influence:
    """The rule over a run's positions at the beginnings of its blocks.

    Args:
        x, y: int [blocks, beings], units.
        species: int [beings]; present: bool [blocks, beings], who is in the world.
        groups: int [beings], 0 for none: a group shares leader and tactics, so it is one unit anywhere.
        asks: bool [blocks, beings], whose mind is asked in the block.
        ruleset: whose kinds they are.
        every: ticks of a block.
    """

    def __init__(
        self,
        x: Ints,
        y: Ints,
        species: Ints,
        present: NDArray[np.bool_],
        groups: Ints,
        asks: NDArray[np.bool_],
        ruleset: Ruleset,
        every: int,
    ) -> None:
        self._x, self._y = x.astype(np.int64), y.astype(np.int64)
        self._species, self._groups = species.astype(np.int64), groups.astype(np.int64)
        self._present, self._asks = present, asks
        self._reach, self._told = reaches(ruleset), told(ruleset)
        self._way = fastest(ruleset) * every
        self._living = ruleset.tables.alive
        self._found = np.zeros(species.size, dtype=np.int64)
        self._seen = np.zeros(species.size, dtype=np.bool_)

    def unit(self, being: int, at: Ints, held: NDArray[np.bool_]) -> tuple[list[int], int]:
        """Who has to be stepped together with `being`, and who keeps them from it (-1: nobody).

        `at` is int64 [beings], the block that each is to be stepped in next; `held[i]`: being i may not be stepped
        in its block yet. Those at the same block have to be stepped with it, those at an earlier one
        before it. The unit is whole only if nobody keeps it.
        """
        size, blocker = ahead.unit(
            being, at, held, self._present, self._x, self._y, self._species, self._groups,
            self._reach, self._asks, self._told, self._living, MAX_NEAR, PANEL, self._way,
            self._found, self._seen,
        )  # fmt: skip
        return self._found[:size].tolist(), int(blocker)
