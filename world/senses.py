"""Perception: what those who decide now see of threats, foes, prey and their own group."""

from __future__ import annotations

from typing import Final

from world.entities import Rows
from world.index import Index
from world.kernels.see import see
from world.maths import TILE
from world.squares import SIDE
from world.tiles import Tile
from world.view import FAR, NOBODY, View

MATES: Final = 14 * TILE
"""How close a member of the group must be to count on, in units."""


def perceive(view: View, index: Index, rows: Rows) -> None:
    """Fill `view.sense` for the rows."""
    sense, c, tables = view.sense, view.c, view.tables
    squares = index.squares()
    sense.nearest[:, rows] = NOBODY
    sense.distance[:, rows] = FAR
    sense.foes[rows] = 0
    sense.mates[rows] = 0
    see(
        rows, c.x, c.y, c.id, c.species, c.group, c.perception,
        tables.relations, tables.shuns_floors, view.tiles, int(Tile.FLOOR),
        MATES, SIDE, squares.wide, squares.tall, squares.first, squares.after, squares.square,
        sense.nearest, sense.distance, sense.foes, sense.mates,
    )  # fmt: skip
