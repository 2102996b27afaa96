"""Who can influence whom: parts of a world that live for a while as if the others were not there.

After the rule of AI Metropolis (arXiv 2411.03519): two beings may be lived apart for some ticks if the distance
between them is more than one can perceive or reach, and the way that both can go in these ticks. What holds for all
at once (the time of day, the map, named numbers) is the same in every part; whoever changes it, changes it for all.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from world.dangers import OUT_OF_SIGHT
from world.entities import Ints
from world.maths import TILE
from world.ruleset import Ruleset
from world.tiles import COST
from world.world import World

__all__ = ["REACH", "fastest", "parts", "reach"]

REACH: Final = 42 * TILE
"""How far, in units, anyone looks at anyone: panels tell of trouble within 40 tiles, and it may be at arm's length of another one."""
CELL: Final = 4 * TILE
"""The grid's cells: who shares one is in one part, so that a crowd costs no more than the ground it covers."""
MOST_CELLS: Final = 8192
"""With more in use the grid is made coarser: it joins more, and takes no more memory."""


def reach(ruleset: Ruleset) -> int:
    """Within so many units one can influence another in a tick, whoever they are."""
    return max(REACH, *(s.perception + OUT_OF_SIGHT for s in ruleset.species_list), 0)


def fastest(ruleset: Ruleset) -> int:
    """The most units that anybody goes in a tick, over all species, paces and grounds."""
    speed = max((s.speed for s in ruleset.species_list), default=0)
    pace = int(ruleset.tables.act_pace.max(initial=100))
    return min(TILE - 1, max(1, speed * pace // (50 * int(COST[COST > 0].min()))))


def parts(world: World, ticks: int) -> list[Ints]:
    """All beings of a world, as parts of which none can influence another one within so many ticks.

    Each is int64 ids, ascending; the parts by their lowest id. Members of a group are in one part, since they share leader and
    orders wherever they are.
    """
    columns = world.columns
    rows = columns.live_rows()
    if not rows.size:
        return []
    ids, groups = columns.id[rows].copy(), columns.group[rows]
    size = CELL // 2
    found = np.zeros((MOST_CELLS + 1, 2), dtype=np.int64)
    while len(found) > MOST_CELLS:
        size *= 2
        cells = np.stack([columns.x[rows] // size, columns.y[rows] // size], axis=1)
        found, cell = np.unique(cells, axis=0, return_inverse=True)
    cell = cell.reshape(-1)
    # Two who are nearer than that stand in cells whose corners are at most one diagonal nearer yet.
    near = reach(world.ruleset) + 2 * ticks * fastest(world.ruleset)
    pairs = np.concatenate(
        [
            _pairs(found, near / size + 1.5),
            _mates(cell, groups),
            _tied(cell, ids, columns.target[rows]),
            _tied(cell, ids, columns.aggressor[rows]),
        ]
    )
    graph = coo_array(
        (np.ones(len(pairs), dtype=np.int8), (pairs[:, 0], pairs[:, 1])),
        shape=(len(found), len(found)),
    )
    _, label = connected_components(graph, directed=False)
    of = label[cell]
    order = np.lexsort((ids, of))
    cuts = np.flatnonzero(np.diff(of[order])) + 1
    return sorted(np.split(ids[order], cuts), key=lambda part: int(part[0]))


def _pairs(cells: Ints, within: float) -> Ints:
    pairs: Ints = cKDTree(cells).query_pairs(within, output_type="ndarray").astype(np.int64)
    return pairs.reshape(-1, 2)


def _mates(cell: Ints, groups: Ints) -> Ints:
    """Each member of a group with its first."""
    members = np.flatnonzero(groups > 0)
    _, first, of = np.unique(groups[members], return_index=True, return_inverse=True)
    return np.stack([cell[members], cell[members[first]][of.reshape(-1)]], axis=1)


def _tied(cell: Ints, ids: Ints, whom: Ints) -> Ints:
    """Each one who is after somebody with whom."""
    order = np.argsort(ids)
    at = np.searchsorted(ids, whom, sorter=order).clip(max=ids.size - 1)
    other = order[at]
    tied = np.flatnonzero(ids[other] == whom)
    return np.stack([cell[tied], cell[other[tied]]], axis=1)
