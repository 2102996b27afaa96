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
from world.kernels import choices, drift
from world.kernels.see import see
from world.kernels.spots import spots as find_spots
from world.kernels.stride import stride
from world.maths import TILE, Ints, Purpose, stream
from world.movement import bodies_of, ground_of
from world.needs import BOUNDS
from world.paths import SIGHT, clear
from world.senses import MATES
from world.squares import SIDE, Squares
from world.state import State
from world.tiles import WALKABLE, Tile
from world.view import FAR, NOBODY
from world.world import World

NPCS: Final = 10_000
ROUNDS: Final = 15
ENOUGH: Final = 5.0
FEW: Final = 500
"""So many decide, or are under way, in a tick of ten thousand by reflex."""

UNBOUND: Final = ("choices", "take_up", "drift")
"""Loops that gain less than that, and are told all the same: in a tick each stands for dozens of calls over few rows."""
_SPREAD, _NEAR = 2 * TILE, 12 * TILE
_WEIGHTS: Final = (1200, 40, 150, 200)
"""The tick, and what keeps to a choice: see `kernels.choices.best`."""
_LIMITS: Final = (400, 100, 40)
"""Ticks until one is calm; where hunger and fatigue end."""

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
        "spots: a spot about each one's waypoint": (beings.spots, beings.plain_spots),
        "choices: the best of six for each": (beings.chooses, beings.plain_chooses),
        "take_up: what each has chosen": (beings.takes_up, beings.plain_takes_up),
        "drift: a change of each one's needs": (beings.drifts, beings.plain_drifts),
    }
    for what, (ours, theirs) in loops.items():
        timed, agreed = _raced(f"{what}, {beings.rows.size:,}", ours, theirs)
        results += [timed if what.startswith(UNBOUND) else timed | {"at_least": ENOUGH}, agreed]
    beings.rows = beings.rows[:: max(1, beings.rows.size // FEW)].copy()
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
        few = np.array([0, 0, 40, 150, 500, 1000])
        self.scores, self.danger, self.at_it = (
            rng.choice(few, (few.size, self.rows.size)),
            rng.random(self.rows.size) < 0.2,
            rng.random(self.rows.size) < 0.7,
        )
        for name, low, high in (
            ("intent", -1, few.size),
            ("left", -1, few.size),
            ("hunger", 0, 900),
        ):
            c.data[INDEX[name], self.rows] = rng.integers(low, high, self.rows.size)
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
            squares.tall, squares.first, squares.after, squares.square, nearest, distance, threats, mates,
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

    def spots(self) -> tuple[float, Answer]:
        """Seconds to find each a spot, and where they are."""
        self._reset()
        c, rows, state = self.c, self.rows, self.state
        start = np.uint64(stream(state.seed, Purpose.WORKPLACE))
        began = time.perf_counter()
        x, y = c.way_x[rows], c.way_y[rows]
        find_spots(
            rows, c.x, c.y, c.id, c.phase[rows], start, _SPREAD, _NEAR, state.max_x, state.max_y,
            state.tiles, WALKABLE, x, y,
        )  # fmt: skip
        return time.perf_counter() - began, (x, y)

    def plain_spots(self) -> tuple[float, Answer]:
        """The same by numpy."""
        self._reset()
        c, rows, state = self.c, self.rows, self.state
        return _timed(
            lambda: _plain.spots(
                c, rows, c.way_x[rows], c.way_y[rows], c.phase[rows], state.seed, _SPREAD, _NEAR,
                state.tiles, SIGHT,
            )
        )  # fmt: skip

    def chooses(self) -> tuple[float, Answer]:
        """Seconds to find what is worth most to each, and what that is."""
        c, rows = self.c, self.rows
        scores, danger = self.scores[:, : rows.size].copy(), self.danger[: rows.size]
        began = time.perf_counter()
        out = np.empty(rows.size, dtype=np.int64)
        choices.best(scores, rows, c.intent, c.left, c.since, danger, *_WEIGHTS, out)
        return time.perf_counter() - began, (out,)

    def plain_chooses(self) -> tuple[float, Answer]:
        """The same by numpy."""
        c, rows = self.c, self.rows
        scores, danger = self.scores[:, : rows.size].copy(), self.danger[: rows.size]
        return _timed(lambda: (_plain.best(scores, rows, c, danger, *_WEIGHTS),))

    def takes_up(self) -> tuple[float, Answer]:
        """Seconds for each to do as it has chosen, and how all are after it."""
        self._reset()
        c, state = self.c, self.state
        aim = self._aim()
        began = time.perf_counter()
        choices.take_up(
            self.rows, *aim, state.max_x, state.max_y,
            c.x, c.y, c.way_x, c.way_y, c.goal_x, c.goal_y, c.pace, c.stuck, c.phase, c.target,
            c.action, c.intent, c.left, c.since, c.action_until, c.next_decision,
        )  # fmt: skip
        return time.perf_counter() - began, (c.data.copy(),)

    def plain_takes_up(self) -> tuple[float, Answer]:
        """The same by numpy."""
        self._reset()
        aim, state = self._aim(), self.state
        began = time.perf_counter()
        _plain.take_up(self.c, self.rows, *aim, state.max_x, state.max_y)
        return time.perf_counter() - began, (self.c.data.copy(),)

    def _aim(self) -> tuple[Ints, Ints, Ints, Ints, int, int, int, bool, int]:
        c, rows = self.c, self.rows
        pace = np.full(rows.size, 60, dtype=np.int64)
        return c.way_x[rows], c.way_y[rows], c.threat[rows], pace, 1, 7, 40, True, 1200

    def drifts(self) -> tuple[float, Answer]:
        """Seconds for one change of needs, and how all are after it."""
        self._reset()
        c, rules, at_it = self.c, self.state.rules, self.at_it[: self.rows.size]
        t, code = rules.tables, rules.activity_code
        tick = np.full(self.rows.size, 1200)
        began = time.perf_counter()
        told = np.empty(self.rows.size, dtype=np.uint8)
        drift.drift(
            self.rows, tick, at_it, c.species, c.action, c.player, c.threat, c.hurt_at,
            c.downed_until, c.max_hp, c.hunger, c.fatigue, c.fear, c.hp, c.mood, t.hunger,
            t.fatigue, t.act_hunger, t.act_fatigue, t.act_fear, t.act_mood, code["rest"],
            code["eat"], *_LIMITS, BOUNDS, told,
        )  # fmt: skip
        fed, slept = (told & drift.SATED) != 0, (told & drift.RESTED) != 0
        return time.perf_counter() - began, (fed, slept, c.data.copy())

    def plain_drifts(self) -> tuple[float, Answer]:
        """The same by numpy."""
        self._reset()
        tick, at_it = np.full(self.rows.size, 1200), self.at_it[: self.rows.size]
        took, told = _timed(
            lambda: _plain.drift(self.c, self.rows, tick, at_it, self.state.rules, *_LIMITS)
        )
        return took, (*told, self.c.data.copy())

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
