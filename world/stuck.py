"""Who is stuck: bodies whose place or plan has not changed for longer than their needs allow.

A look reads columns and changes nothing; what is remembered between two looks is no part of the
world. Whoever looks decides what to do, and does it by an input.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from world.entities import NEVER, Ints
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

        `view` is of the world after a step. Costs some forty passes over the columns.
        """
        c, tick, tables = view.c, view.tick, view.tables
        n = c.high
        self._fit(n)
        ids, x, y, species = c.id[:n], c.x[:n], c.y[:n], c.species[:n]
        watched = (ids != 0) & (c.died[:n] < 0) & (c.downed_until[:n] < 0) & (c.player[:n] == 0)
        watched &= tables.alive[species] & (c.speed[:n] > 0) & (c.next_decision[:n] < NEVER)
        anew = (self._id[:n] != ids) | ~watched
        self._id[:n] = ids
        calm = c.threat[:n] == 0

        # held: a tile's distance from the anchor frees, and so does standing still
        goal_x, goal_y = c.goal_x[:n], c.goal_y[:n]
        going = (c.pace[:n] > 0) & ~_within(goal_x - x, goal_y - y, TILE)
        free = anew | ~going | ~_within(x - self._x[:n], y - self._y[:n], TILE)
        self._set(free, tick, x, y, "_x", "_y", "_held")
        # rooted: danger holds people indoors, and is no fault of theirs
        near = _within(x - self._rx[:n], y - self._ry[:n], _ROOT)
        lives = ~_within(c.home_x[:n] - c.work_x[:n], c.home_y[:n] - c.work_y[:n], _APART)
        self._set(anew | ~near | ~calm | ~lives, tick, x, y, "_rx", "_ry", "_rooted")
        # bound and starved: the plan is what it does and where to
        plan = (c.action[:n] * 1024 + c.intent[:n] + 1) * 2**40 + (goal_y // TILE) * 2**20
        plan += goal_x // TILE
        changed = anew | (plan != self._plan[:n]) | ~calm | ~near
        self._plan[:n] = plan
        self._bound[:n] = np.where(changed | (c.intent[:n] >= 0), tick, self._bound[:n])
        worn = self._worn(view, n)
        self._starved[:n] = np.where(changed | ~worn, tick, self._starved[:n])

        found: list[Found] = []
        told = np.zeros(n, dtype=np.bool_)
        for reason, since, most in (
            ("held", self._held, HELD),
            ("starved", self._starved, UNMENDED),
            ("bound", self._bound, UNMENDED),
            ("rooted", self._rooted, view.day_ticks),
        ):
            age = tick - since[:n]
            over = (age >= most) & ~told
            told |= over
            found += [Found(int(ids[row]), reason, int(age[row])) for row in np.flatnonzero(over)]
        self._id[:n][told] = 0
        return sorted(found, key=lambda one: one.entity)

    def _set(
        self, where: NDArray[np.bool_], tick: int, x: Ints, y: Ints, ax: str, ay: str, since: str
    ) -> None:
        n = x.size
        for name, value in ((ax, x), (ay, y)):
            anchor = getattr(self, name)
            anchor[:n] = np.where(where, value, anchor[:n])
        ticks = getattr(self, since)
        ticks[:n] = np.where(where, tick, ticks[:n])

    _x: Ints
    _y: Ints
    _held: Ints
    _rx: Ints
    _ry: Ints
    _rooted: Ints
    _plan: Ints
    _bound: Ints
    _starved: Ints

    def _worn(self, view: View, n: int) -> NDArray[np.bool_]:
        """Who has a need at its bound that something in its repertoire would mend."""
        c, tables = view.c, view.tables
        species = c.species[:n]
        out = np.zeros(n, dtype=np.bool_)
        for need, mends in ((c.hunger, tables.act_hunger), (c.fatigue, tables.act_fatigue)):
            helps = mends[tables.consideration_activity] < 0
            can: NDArray[np.bool_] = np.logical_or.reduce(tables.uses & helps[None, :], axis=1)
            out |= (need[:n] >= 1000) & can[species]
        return out


def _within(dx: Ints, dy: Ints, reach: int) -> NDArray[np.bool_]:
    out: NDArray[np.bool_] = dx * dx + dy * dy <= reach * reach
    return out
