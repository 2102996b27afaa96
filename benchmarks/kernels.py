"""The world's compiled loops, each beside the same in plain numpy, over ten thousand beings of the crowded land.

A loop is worth its compiler where it is five times as fast or more. Both sides write the same numbers, which is
a row of its own.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any, Final

import numpy as np

from benchmarks import _plain
from benchmarks._crowded import SIDE as LAND
from benchmarks._crowded import crowded
from benchmarks._machine import machine
from plugins.manager import build_ruleset
from world.entities import INDEX
from world.hashing import _HALF_SALT, _HOT_INDEX, hot_hashes
from world.kernels.see import see
from world.kernels.stride import stride
from world.maths import TILE, Ints
from world.movement import bodies_of, ground_of
from world.paths import SIGHT, clear
from world.senses import MATES
from world.squares import SIDE, Squares
from world.state import State
from world.tiles import Tile
from world.view import FAR, NOBODY
from world.world import World

NPCS: Final = 10_000
ROUNDS: Final = 15
ENOUGH: Final = 5.0
FEW: Final = 500
"""So many decide, or are under way, in a tick of ten thousand by reflex."""

Answer = tuple[Any, ...]


def run(*, scale: float = 1.0, seed: int = 7) -> dict[str, Any]:
    """Time each loop by turns with numpy over all beings at once, in rounds of which the median counts.

    `scale` changes how many beings there are, and the land with them. Returns {bench, machine, beings, results}.
    """
    npcs = max(100, round(NPCS * scale))
    side = int(np.clip(LAND * np.sqrt(scale), 128, LAND))
    world = World(crowded(npcs, 0, seed, side), build_ruleset(), seed)
    beings = Beings(world, seed)
    results = []
    loops = {
        "stride: one tick's walk": (beings.strides, beings.plain_strides),
        "mixing: a hash of each one's hot columns": (beings.words, beings.plain_words),
        "cells: squares after one tick's walk": (beings.follows, beings.plain_follows),
        "see: nearest threat, foe and prey, mates": (beings.sees, beings.plain_sees),
        "sight: a line from each to its goal": (beings.clears, beings.plain_clears),
    }
    for what, (ours, theirs) in loops.items():
        timed, agreed = _raced(f"{what}, {beings.rows.size:,}", ours, theirs)
        results += [timed | {"at_least": ENOUGH}, agreed]
    beings.rows = beings.rows[:: max(1, beings.rows.size // FEW)]
    for what, (ours, theirs) in loops.items():
        if not what.startswith("cells"):  # all who live are always listed
            results.append(_raced(f"{what}, {beings.rows.size:,} of them", ours, theirs)[0])
    return {
        "bench": "kernels",
        "machine": machine(),
        "beings": int(beings.rows.size),
        "results": results,
    }


class Beings:
    """All who live in a world, each on its way to a place within twelve tiles; every deed begins from the same."""

    def __init__(self, world: World, seed: int) -> None:
        self.state: State = world._state
        c = self.c = self.state.columns
        self.tables = self.state.rules.tables
        alive = self.tables.alive[c.species] & (c.id != 0)
        self.rows: Ints = alive.nonzero()[0].astype(np.int64)
        rng = np.random.default_rng(seed)
        for to, at, most in (("x", c.x, self.state.max_x), ("y", c.y, self.state.max_y)):
            away = rng.integers(-9 * TILE, 9 * TILE, self.rows.size)
            c.data[INDEX[f"way_{to}"], self.rows] = np.clip(at[self.rows] + away, 0, most)
        c.pace[self.rows] = 100
        self._start = c.data.copy()
        self.here = alive
        self._squares = Squares(self.state.max_x, self.state.max_y)
        self._squares.follow(c, alive)
        self.order, self.first = self._plain_squares()
        stride_rows = np.zeros(self.rows.size, dtype=np.bool_)
        self._stride(stride_rows)
        self._walked = c.data.copy()
        self._reset()

    def _reset(self) -> None:
        self.c.data[...] = self._start

    def _stride(self, crossed: Any) -> None:
        everyone, once = np.arange(self.rows.size), np.ones(self.rows.size, dtype=np.int64)
        stride(self.rows, everyone, once, bodies_of(self.state), ground_of(self.state), crossed)

    def _moved(self) -> Answer:
        c = self.c
        return c.x.copy(), c.y.copy(), c.stuck.copy(), c.way_x.copy(), c.way_y.copy()

    def strides(self) -> tuple[float, Answer]:
        """Seconds, and where all are after it."""
        self._reset()
        began = time.perf_counter()
        crossed = np.zeros(self.rows.size, dtype=np.bool_)
        self._stride(crossed)
        return time.perf_counter() - began, (crossed, *self._moved())

    def plain_strides(self) -> tuple[float, Answer]:
        """The same by numpy."""
        self._reset()
        began = time.perf_counter()
        crossed = _plain.stride(self.c, self.rows, self.state.tiles)
        return time.perf_counter() - began, (crossed, *self._moved())

    def words(self) -> tuple[float, Answer]:
        """Seconds, and a word each."""
        return _timed(lambda: (hot_hashes(self.c, self.rows),))

    def plain_words(self) -> tuple[float, Answer]:
        """The same by numpy."""
        half = _HALF_SALT["hot"]
        return _timed(lambda: (_plain.words(self.c, self.rows, _HOT_INDEX, half),))

    def follows(self) -> tuple[float, Answer]:
        """Seconds to bring lists up to date after a tick, and who is in which square."""
        self._reset()
        self._squares.follow(self.c, self.here)
        self.c.data[...] = self._walked
        began = time.perf_counter()
        self._squares.follow(self.c, self.here)
        taken = time.perf_counter() - began
        listed: list[list[int]] = [[] for _ in range(self._squares.first.size)]
        for square, row in enumerate(self._squares.first.tolist()):
            while row >= 0:
                listed[square].append(row)
                row = int(self._squares.after[row])
        return taken, tuple(tuple(sorted(rows)) for rows in listed)

    def plain_follows(self) -> tuple[float, Answer]:
        """The same by sorting all anew."""
        self.c.data[...] = self._walked
        began = time.perf_counter()
        order, first = self._plain_squares()
        taken = time.perf_counter() - began
        parts = np.split(order, first[1:-1])
        return taken, tuple(tuple(part.tolist()) for part in parts)

    def _plain_squares(self) -> tuple[Ints, Ints]:
        squares = self._squares
        return _plain.squares(self.c, self.here.nonzero()[0], SIDE, squares.wide, squares.tall)

    def sees(self) -> tuple[float, Answer]:
        """Seconds for all to look around, and what each sees."""
        self._reset()
        squares, c, tables = self._squares, self.c, self.tables
        squares.follow(c, self.here)
        nearest = np.full((3, c.capacity), NOBODY, dtype=np.int64)
        distance = np.full((3, c.capacity), FAR, dtype=np.int64)
        threats, mates = (np.zeros(c.capacity, dtype=np.int64) for _ in range(2))
        tiles = self.state.tiles.view()
        tiles.setflags(write=False)
        began = time.perf_counter()
        see(
            self.rows, c.x, c.y, c.id, c.species, c.group, c.perception, tables.relations,
            tables.shuns_floors, tiles, int(Tile.FLOOR), MATES, SIDE, squares.wide,
            squares.tall, squares.first, squares.after, nearest, distance, threats, mates,
        )  # fmt: skip
        taken = time.perf_counter() - began
        rows = self.rows
        return taken, (nearest[:, rows], distance[:, rows], threats[rows], mates[rows])

    def plain_sees(self) -> tuple[float, Answer]:
        """The same by numpy, over squares sorted before."""
        self._reset()
        squares = self._squares
        return _timed(
            lambda: _plain.see(
                self.c, self.rows, self.order, self.first, self.tables, self.state.tiles,
                MATES, SIDE, squares.wide, squares.tall,
            )
        )  # fmt: skip

    def clears(self) -> tuple[float, Answer]:
        """Seconds for a line each, and which are clear."""
        self._reset()
        return _timed(lambda: (clear(self.state.tiles, *self._lines()),))

    def plain_clears(self) -> tuple[float, Answer]:
        """The same by numpy."""
        self._reset()
        return _timed(lambda: (_plain.clear(self.state.tiles, *self._lines(), SIGHT),))

    def _lines(self) -> tuple[Ints, Ints, Ints, Ints]:
        c, rows = self.c, self.rows
        return c.x[rows], c.y[rows], c.way_x[rows], c.way_y[rows]


def same(one: Answer, other: Answer) -> bool:
    """Whether both sides wrote the same numbers."""
    return len(one) == len(other) and all(map(np.array_equal, one, other))


def _raced(
    what: str,
    ours: Callable[[], tuple[float, Answer]],
    theirs: Callable[[], tuple[float, Answer]],
) -> list[dict[str, Any]]:
    times, agree = [], True
    for n in range(ROUNDS + 1):
        (mine, found), (other, expected) = ours(), theirs()
        agree &= same(found, expected)
        if n:  # the first compiles
            times.append((mine, other))
    mine, other = (statistics.median(side) * 1e3 for side in zip(*times, strict=True))
    return [
        {
            "metric": what,
            "unit": "ms",
            "value": float(f"{mine:.4g}"),
            "peer": f"numpy {np.__version__}",
            "peer_value": float(f"{other:.4g}"),
            "ratio": round(other / mine, 2),
        },
        {
            "metric": f"{what.split(':')[0]}: rounds in which both wrote the same",
            "unit": "share",
            "value": float(agree),
            "at_least": 1.0,
        },
    ]


def _timed(what: Callable[[], Answer]) -> tuple[float, Answer]:
    began = time.perf_counter()
    answer = what()
    return time.perf_counter() - began, answer
