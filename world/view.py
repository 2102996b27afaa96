"""What rules, reflexes and plugins may read of a world: everything, and nothing to write."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from world import clock, maths
from world.entities import Columns, Ints, Rows
from world.index import Index
from world.kernels import near
from world.maths import TILE, Words, clip
from world.ruleset import TACTICS, Ruleset, Tables
from world.squares import SIDE
from world.state import State
from world.tiles import WALKABLE, Tile

NOBODY: Final = -1
FAR: Final = 2**62


class Senses:
    """What the rows that decide now perceive; arrays of the columns' capacity, indexed by row.

    Only rows that decide in this tick hold fresh values. `*_row` is a row or NOBODY, `*_d2` the
    squared distance in units or FAR. `threat`: the nearest that would harm it. `foe`: the nearest
    it is hostile to. `prey`: the nearest it eats. `mates`: of its group, on their feet, close by.
    `foes`: how many that would harm it. `nearest` and `distance` are the rows and squares of all three.
    Of two as near the lower id is the nearest.
    """

    def __init__(self, capacity: int) -> None:
        self.nearest = np.full((3, capacity), NOBODY, dtype=np.int64)
        self.distance = np.full((3, capacity), FAR, dtype=np.int64)
        self.threat_row, self.foe_row, self.prey_row = self.nearest
        self.threat_d2, self.foe_d2, self.prey_d2 = self.distance
        self.mates = np.zeros(capacity, dtype=np.int64)
        self.foes = np.zeros(capacity, dtype=np.int64)


class View:
    """A world to be read. All arrays refuse writing.

    `c` are the columns (int64, by row), `tiles` uint8[height, width], `tick` the tick being made; `place_x`, `place_y`
    (int64) tell where the `places` are.
    """

    def __init__(self, state: State) -> None:
        self._state = state
        self.rules: Ruleset = state.rules
        self.tables: Tables = state.rules.tables
        self.seed = state.seed
        self.day_ticks = state.day_ticks
        self.places = state.place_list
        self.place_x = np.array([place.x for place in self.places], dtype=np.int64)
        self.place_y = np.array([place.y for place in self.places], dtype=np.int64)
        for where in (self.place_x, self.place_y):
            where.setflags(write=False)
        self.width, self.height = state.width, state.height
        self.max_x, self.max_y = state.max_x, state.max_y
        self.place_kinds = _by_kind(state)
        self.index = Index(state)
        self.own_tactic = np.array(
            [TACTICS.index(s.tactics[0]) if s.tactics else 0 for s in state.rules.species_list],
            dtype=np.int64,
        )
        self.refresh()

    def refresh(self) -> None:
        """Follow the state: new capacity, new tick."""
        state = self._state
        columns = state.columns
        self.tick = state.tick
        if not hasattr(self, "c") or self.c.capacity != columns.capacity:
            self.c: Columns = columns.read_only()
            self.sense = Senses(columns.capacity)
        self.c.high = columns.high
        self.tiles: NDArray[np.uint8] = state.tiles.view()
        self.tiles.setflags(write=False)
        self.minute = clock.minute(self.tick, self.day_ticks)
        self.hour = self.minute // 60
        self.day = clock.day(self.tick, self.day_ticks)

    def row(self, entity: int) -> int:
        """The row of an id, -1 if there is none."""
        return self.c.row_of(entity)

    def id(self, row: int) -> int:
        """The id in a row."""
        return int(self.c.id[row])

    def name(self, entity: int) -> str:
        """The entity's name; its species when it has none."""
        name = self._state.names.get(entity)
        if name:
            return name
        row = self.row(entity)
        return self.rules.species_names[int(self.c.species[row])] if row >= 0 else "nobody"

    def on_feet(self, row: int) -> bool:
        """Alive and not knocked out."""
        return self._state.on_feet(row)

    def roll(self, rows: Rows, purpose: int, era: int | Ints | None = None) -> Words:
        """uint64 draws for the entities in the rows; `era`, one or one each, replaces the tick."""
        return maths.keyed_array(
            self.seed, self.c.id[rows], self.tick if era is None else era, purpose
        )

    def era(self, rows: Rows, ticks: int) -> Ints:
        """How many spans of `ticks` each has lived; they turn at different moments for each."""
        out: Ints = (self.tick + self.c.phase[rows] * ticks // 100) // ticks
        return out

    def roll_one(self, entity: int, purpose: int) -> int:
        """One 64-bit draw."""
        return maths.keyed(self.seed, entity, self.tick, purpose)

    def leaders(self, rows: Rows) -> Ints:
        """The row of each one's group leader (perhaps itself), -1 for loners."""
        return self.index.leaders(rows)

    def ground(self, xs: Ints, ys: Ints) -> NDArray[np.uint8]:
        """The tile under each point; points must lie on the map."""
        out: NDArray[np.uint8] = self.tiles[ys // TILE, xs // TILE]
        return out

    def indoors(self, rows: Rows) -> NDArray[np.bool_]:
        """Whether each stands on a floor."""
        inside: NDArray[np.bool_] = self.ground(self.c.x[rows], self.c.y[rows]) == Tile.FLOOR
        return inside

    def clamp(self, xs: Ints, ys: Ints) -> tuple[Ints, Ints]:
        """The nearest points on the map."""
        return clip(xs, 0, self.max_x), clip(ys, 0, self.max_y)

    def walkable(self, x: int, y: int) -> bool:
        """Whether the point is on the map and on ground that can be walked."""
        inside = 0 <= x <= self.max_x and 0 <= y <= self.max_y
        return inside and bool(WALKABLE[self.tiles[y // TILE, x // TILE]])

    def standable(self, x: int, y: int, reach: int = 8) -> tuple[int, int] | None:
        """The point itself, or the middle of the nearest walkable cell within `reach` cells."""
        if self.walkable(x, y):
            return x, y
        cx, cy = x // TILE, y // TILE
        best: tuple[int, int, int] | None = None
        for ny in range(max(0, cy - reach), min(self.height, cy + reach + 1)):
            for nx in range(max(0, cx - reach), min(self.width, cx + reach + 1)):
                if WALKABLE[self.tiles[ny, nx]]:
                    found = ((nx - cx) ** 2 + (ny - cy) ** 2, ny, nx)
                    if best is None or found < best:
                        best = found
        if best is None:
            return None
        return best[2] * TILE + TILE // 2, best[1] * TILE + TILE // 2

    def within(self, row: int, reach: int) -> tuple[Rows, Ints]:
        """The rows in use within `reach` units of a row, without it, and their squared distances (int64[n]).

        Nearest first, the lower id first among equals.
        """
        c, all_ = self.c, self.index.everyone()
        rows, d2 = near.within(
            c.x, c.y, row, reach, SIDE, all_.wide, all_.tall, all_.first, all_.after
        )
        order = np.lexsort((c.id[rows], d2))
        return rows[order], d2[order]

    def distance2(self, row: int, other: int) -> int:
        """The squared distance between two rows, in units."""
        dx = int(self.c.x[row]) - int(self.c.x[other])
        dy = int(self.c.y[row]) - int(self.c.y[other])
        return dx * dx + dy * dy


def _by_kind(state: State) -> dict[str, tuple[int, ...]]:
    kinds: dict[str, list[int]] = {}
    for i, place in enumerate(state.place_list):
        kinds.setdefault(place.kind, []).append(i)
    return {kind: tuple(indices) for kind, indices in kinds.items()}
