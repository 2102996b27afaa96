"""Who is stuck: bodies whose place or plan has not changed for longer than their needs allow.

A look reads columns and changes nothing; what is remembered between two looks is no part of the
world. Whoever looks decides what to do, and does it by an input.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from world.entities import NEVER, Ints, Rows
from world.maths import TILE
from world.view import View

__all__ = ["LOOK_EVERY", "Found", "Stuck"]

LOOK_EVERY: Final = 100
"""Ticks between two looks that the bounds below are made for; needs change once in as many."""
HELD: Final = 400
"""Ticks in which even the slowest body, of one unit a tick, crosses a tile."""
UNMENDED: Final = 3000
"""Ticks beyond any one activity: a choice binds for 1,200 at most, wounds are nursed for 2,400."""
_ROOT: Final = 2 * TILE
_APART: Final = 4 * TILE


@dataclass(frozen=True, slots=True)
class Found:
    """Somebody stuck, for how many ticks, and why.

    "held": under way to a goal more than a tile off, and not a tile from where it was for `HELD`
    ticks. "starved": hungry or tired to the bound, with something in its repertoire that would mend
    it, no danger, and the same activity, goal and place for `UNMENDED` ticks. "bound": a choice by a
    mind or client that has held as long, in the same place. "rooted": within two tiles for a whole
    day, though its home and its work are more than four apart.
    """

    entity: int
    reason: str
    ticks: int


class Stuck:
    """Remembers, by row, since when a body's place and plan are what they are."""

    def __init__(self) -> None:
        self._id: Ints = np.zeros(0, dtype=np.int64)

    def _fit(self, n: int) -> None:
        old = self._id.size
        if n <= old:
            return
        size = max(64, n, 2 * old)

        def grown(name: str) -> Ints:
            out = np.zeros(size, dtype=np.int64)
            if old:
                out[:old] = getattr(self, name)
            return out

        for name in ("_x", "_y", "_held", "_rx", "_ry", "_rooted", "_plan", "_bound", "_starved"):
            setattr(self, name, grown(name))
        self._id = grown("_id")

    def look(self, view: View) -> list[Found]:
        """Whoever is stuck now, by id; each is told once and then watched from anew.

        `view` is of the world after a step. Costs some forty passes over the columns of those who live.
        """
        c, tick, tables = view.c, view.tick, view.tables
        n = c.high
        self._fit(n)
        rows = np.flatnonzero(tables.alive[c.species[:n]] & (c.id[:n] != 0))
        ids, x, y = c.id[rows], c.x[rows], c.y[rows]
        watched = (c.died[rows] < 0) & (c.downed_until[rows] < 0) & (c.player[rows] == 0)
        watched &= (c.speed[rows] > 0) & (c.next_decision[rows] < NEVER)
        anew = (self._id[rows] != ids) | ~watched
        self._id[rows] = ids
        calm = c.threat[rows] == 0

        # held: a tile's distance from the anchor frees, and so does standing still
        goal_x, goal_y = c.goal_x[rows], c.goal_y[rows]
        going = (c.pace[rows] > 0) & ~_within(goal_x - x, goal_y - y, TILE)
        free = anew | ~going | ~_within(x - self._x[rows], y - self._y[rows], TILE)
        self._set(rows[free], view, "_x", "_y", "_held")
        # rooted: danger holds people indoors, and is no fault of theirs
        near = _within(x - self._rx[rows], y - self._ry[rows], _ROOT)
        home_x, home_y = c.home_x[rows], c.home_y[rows]
        lives = ~_within(home_x - c.work_x[rows], home_y - c.work_y[rows], _APART)
        self._set(rows[anew | ~near | ~calm | ~lives], view, "_rx", "_ry", "_rooted")
        # bound and starved: the plan is what it does and where to
        intent = c.intent[rows]
        plan = (c.action[rows] * 1024 + intent + 1) * 2**40 + (goal_y // TILE) * 2**20
        plan += goal_x // TILE
        changed = anew | (plan != self._plan[rows]) | ~calm | ~near
        self._plan[rows] = plan
        self._bound[rows[changed | (intent >= 0)]] = tick
        self._starved[rows[changed | ~self._worn(view, rows)]] = tick

        found: list[Found] = []
        told = np.zeros(rows.size, dtype=np.bool_)
        for reason, since, most in (
            ("held", self._held, HELD),
            ("starved", self._starved, UNMENDED),
            ("bound", self._bound, UNMENDED),
            ("rooted", self._rooted, view.day_ticks),
        ):
            age = tick - since[rows]
            over = (age >= most) & ~told
            told |= over
            found += [Found(int(ids[at]), reason, int(age[at])) for at in np.flatnonzero(over)]
        self._id[rows[told]] = 0
        return sorted(found, key=lambda one: one.entity)

    def _set(self, rows: Rows, view: View, ax: str, ay: str, since: str) -> None:
        getattr(self, ax)[rows] = view.c.x[rows]
        getattr(self, ay)[rows] = view.c.y[rows]
        getattr(self, since)[rows] = view.tick

    _x: Ints
    _y: Ints
    _held: Ints
    _rx: Ints
    _ry: Ints
    _rooted: Ints
    _plan: Ints
    _bound: Ints
    _starved: Ints

    def _worn(self, view: View, rows: Rows) -> NDArray[np.bool_]:
        """Who has a need at its bound that something in its repertoire would mend."""
        c, tables = view.c, view.tables
        species = c.species[rows]
        out = np.zeros(rows.size, dtype=np.bool_)
        for need, mends in ((c.hunger, tables.act_hunger), (c.fatigue, tables.act_fatigue)):
            helps = mends[tables.consideration_activity] < 0
            can: NDArray[np.bool_] = np.logical_or.reduce(tables.uses & helps[None, :], axis=1)
            out |= (need[rows] >= 1000) & can[species]
        return out


def _within(dx: Ints, dy: Ints, reach: int) -> NDArray[np.bool_]:
    out: NDArray[np.bool_] = dx * dx + dy * dy <= reach * reach
    return out
