"""Perception: what those who decide now see of threats, foes, prey and their own group."""

from __future__ import annotations

from typing import Final

import numpy as np

from world.entities import Rows
from world.index import Index
from world.maths import TILE
from world.space import nearest
from world.tiles import Tile
from world.view import FAR, NOBODY, View

MATES: Final = 14 * TILE
"""How close a member of the group must be to count on, in units."""


def perceive(view: View, index: Index, rows: Rows) -> None:
    """Fill `view.sense` for the rows."""
    sense, c, tables = view.sense, view.c, view.tables
    sense.mates[rows] = 0
    species = c.species[rows]
    for code in np.unique(species):
        mine = rows[species == code]
        reach = c.perception[mine]
        shuns = bool(tables.shuns_floors[code])
        for name, relation in (
            ("threat", tables.threatens[code]),
            ("foe", tables.hostile[code]),
            ("prey", tables.eats[code]),
        ):
            seen = getattr(sense, f"{name}_row"), getattr(sense, f"{name}_d2")
            seen[0][mine] = NOBODY
            seen[1][mine] = FAR
            if name == "threat":
                sense.foes[mine] = 0
            if not relation.any():
                continue
            others = index.of_species(relation)
            if shuns and name != "threat" and others.size:
                others = others[view.ground(c.x[others], c.y[others]) != Tile.FLOOR]
            found, d2, count = nearest(c.x, c.y, mine, others, reach)
            seen[0][mine] = found
            seen[1][mine] = d2
            if name == "threat":
                sense.foes[mine] = count
    _count_mates(view, index, rows)


def _count_mates(view: View, index: Index, rows: Rows) -> None:
    c = view.c
    group = c.group[rows]
    for number in np.unique(group[group > 0]):
        mine = rows[group == number]
        members = index.members(int(number))
        _, _, count = nearest(c.x, c.y, mine, members, np.full(mine.size, MATES))
        view.sense.mates[mine] = count
