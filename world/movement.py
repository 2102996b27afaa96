"""Walking: from waypoint to waypoint, along walls, never onto ground that can't be walked."""

from __future__ import annotations

from typing import Final

import numpy as np

from world import maths
from world.entities import Ints, Rows
from world.events import Event
from world.kernels import lead
from world.kernels import leap as kernel
from world.kernels.kinds import Bodies, Ground
from world.kernels.stride import stride
from world.maths import TILE, Purpose
from world.paths import Paths
from world.state import State
from world.tiles import COST, WALKABLE

MAX_STUCK: Final = 12
MAX_LED: Final = 48
"""Bodies that are told the way around something in one tick; of a crowd that waits, a quarter."""
MOST_LED: Final = 256
"""However many wait."""


def walk(state: State, paths: Paths, events: list[Event]) -> None:
    """Move every body that is under way by one tick's step."""
    c = state.columns
    rows = state.awake.rows()
    rows = rows[c.pace[rows] != 0]
    if not rows.size:
        return
    waiting = (c.x[rows] == c.way_x[rows]) & (c.y[rows] == c.way_y[rows])
    if waiting.any():
        some = _Walkers(state, paths, rows[waiting])
        some.plan(some.order)
        some.end()
        rows = rows[c.pace[rows] > 0]
        if not rows.size:
            return
    everyone, once = np.arange(rows.size), np.ones(rows.size, dtype=np.int64)
    crossed = np.zeros(rows.size, dtype=np.bool_)
    stride(rows, everyone, once, bodies_of(state), ground_of(state), crossed)
    state.touch_hot(rows)
    _notice_place(state, rows[crossed], events)


def leap(state: State, paths: Paths, rows: Rows, ticks: Ints, events: list[Event]) -> Ints:
    """Walk bodies on through `ticks` (int64, one each, at least 1) at once, step for step as `walk` would.

    Returns, a row, how many of the ticks it was under way before it stood: all of them if it still walks.
    Places are noticed where a leap ends.
    """
    c = state.columns
    at = (c.pace[rows] > 0).nonzero()[0]
    walked = rows[at]
    under_way = np.zeros(rows.size, dtype=np.int64)
    if walked.size:
        some = _Walkers(state, paths, walked)
        under_way[at] = ticks[at] - some.leap(ticks[at])
        some.end()
        _notice_place(state, walked, events)
    return under_way


def bodies_of(state: State) -> Bodies:
    """The columns that kernels of walking take."""
    c = state.columns
    return Bodies(c.x, c.y, c.way_x, c.way_y, c.goal_x, c.goal_y, c.speed, c.pace, c.stuck)


def ground_of(state: State) -> Ground:
    """The map that kernels of walking take."""
    return Ground(state.tiles, WALKABLE, COST)


class _Walkers:
    """Some bodies that are under way, in the order in which they are told their ways."""

    def __init__(self, state: State, paths: Paths, rows: Rows) -> None:
        c = state.columns
        self._state, self._paths, self._rows = state, paths, rows
        # Many set out in the tick in which all decide; the next ticks have less to do. The others stand for this
        # one; a draw decides, so that none stands for long.
        self.order: Ints = np.arange(rows.size)
        if rows.size > MAX_LED:
            turn = maths.keyed_array(state.seed, c.id[rows], state.tick, Purpose.WAY)
            self.order = np.argsort(turn)
        self._bodies, self._ground = bodies_of(state), ground_of(state)
        self._limits = MAX_STUCK, MAX_LED, MOST_LED
        self._outcome = np.full(rows.size, lead.WALKS, dtype=np.uint8)
        self._asks = np.empty(rows.size, dtype=np.int64)

    def plan(self, which: Ints) -> None:
        """Give the next waypoint to those (indices, in order) who stand on theirs; those at the goal stop."""
        self._find(
            lead.plan(
                self._rows, which, self._bodies, self._ground, self._paths.known(), self._limits,
                self._outcome, self._asks,
            )
        )  # fmt: skip

    def leap(self, ticks: Ints) -> Ints:
        """Walk on through `ticks`, one each; returns how many of them each had left when it stopped."""
        c, left = self._state.columns, ticks.copy()
        rows = self._rows[self.order]
        waiting = (c.x[rows] == c.way_x[rows]) & (c.y[rows] == c.way_y[rows])
        self.plan(self.order[waiting])
        many, crossed = rows.size, np.zeros(rows.size, dtype=np.bool_)
        while many:
            many, unknown = kernel.leap(
                self._rows, self.order[:many], left, self._bodies, self._ground,
                self._paths.known(), self._limits, self._outcome, self._asks, crossed,
            )  # fmt: skip
            self._find(unknown)
        return left

    def _find(self, unknown: int) -> None:
        """Find ways that are not known, until all who asked are led."""
        c, width = self._state.columns, self._state.width
        while unknown:
            asks = self._asks[:unknown]
            rows = self._rows[asks]
            starts = c.y[rows] // TILE * width + c.x[rows] // TILE
            self._paths.find(starts, c.goal_y[rows] // TILE * width + c.goal_x[rows] // TILE)
            unknown = lead.lead(
                self._rows, self._bodies, self._ground, self._paths.known(), self._outcome, asks
            )

    def end(self) -> None:
        """Write what follows for those who stopped; those who gave up look for something else to do in a second."""
        state, rows = self._state, self._rows
        state.touch_hot(rows)
        if not self._outcome.any():
            return
        player = state.columns.player[rows] == 1
        state.write("action", rows[player & (self._outcome != lead.WALKS)], 0)
        lost = rows[~player & (self._outcome == lead.GAVE_UP)]
        state.write("action_until", lost, 0)
        state.write("next_decision", lost, state.tick + 20)


def _notice_place(state: State, rows: Rows, events: list[Event]) -> None:
    """Write the place that each stands in now, and tell of those who speak or are played."""
    c = state.columns
    place = state.place_grid[c.y[rows] // TILE, c.x[rows] // TILE]
    moved = rows[place != c.place[rows]]
    if not moved.size:
        return
    place = place[place != c.place[rows]]
    state.write("place", moved, place)
    told = (place >= 0) & (state.rules.tables.speaks[c.species[moved]] | (c.player[moved] == 1))
    for row, index in zip(moved[told].tolist(), place[told].tolist(), strict=True):
        key = state.place_list[index].key
        events.append(Event(state.tick, "moved_in", int(c.id[row]), 0, {"place": key}))
