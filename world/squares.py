"""The map in squares, each with a list of who stands in it: what perception looks through."""

from __future__ import annotations

from typing import Final

import numpy as np

from world.entities import Columns
from world.kernels import cells
from world.kernels.kinds import Bools
from world.maths import TILE

SIDE: Final = 8 * TILE


class Squares:
    """Lists of rows by square. `follow` brings them up to date, at the cost of those that moved on."""

    def __init__(self, max_x: int, max_y: int) -> None:
        self.wide, self.tall = max_x // SIDE + 1, max_y // SIDE + 1
        self.first = np.full(self.wide * self.tall, cells.NONE, dtype=np.int32)
        self.after = np.zeros(0, dtype=np.int32)
        self.before = np.zeros(0, dtype=np.int32)
        self.square = np.zeros(0, dtype=np.int32)

    def follow(self, columns: Columns, here: Bools) -> int:
        """List the rows whose flag is set in `here` (bool[capacity]) where they stand now.

        Returns how many changed their square, came or went.
        """
        more = columns.capacity - self.square.size
        if more > 0:
            end = (0, more)
            self.after = np.pad(self.after, end, constant_values=cells.NONE)
            self.before = np.pad(self.before, end, constant_values=cells.NONE)
            self.square = np.pad(self.square, end, constant_values=cells.NONE)
        return cells.follow(
            columns.x, columns.y, here, columns.high, SIDE, self.wide, self.tall,
            self.first, self.after, self.before, self.square,
        )  # fmt: skip
