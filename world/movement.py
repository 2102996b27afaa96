"""Walking: from waypoint to waypoint, along walls, never onto ground that can't be walked."""

from __future__ import annotations

from typing import Final

import numpy as np

from world import maths
from world.entities import Ints, Rows
from world.events import Event
from world.kernels import leap as kernel
from world.kernels.stride import stride
from world.maths import TILE, Purpose
from world.paths import AHEAD, NO_WAY, Paths, clear
from world.state import State
from world.tiles import COST, WALKABLE

MAX_STUCK: Final = 12
MAX_LED: Final = 48
"""Bodies that are told the way around something in one tick; of a crowd that waits, a quarter."""
MOST_LED: Final = 256
"""However many wait."""
_HALF: Final = TILE // 2


def walk(state: State, paths: Paths, events: list[Event]) -> None:
    """Move every body that is under way by one tick's step."""
    c = state.columns
    rows = (c.pace[: c.high] != 0).nonzero()[0]
    if state.far.count:
        rows = rows[state.far.lived[rows] < 0]
    if not rows.size:
        return
    waiting = (c.x[rows] == c.way_x[rows]) & (c.y[rows] == c.way_y[rows])
    if waiting.any():
        _plan(state, paths, rows[waiting])
        rows = rows[c.pace[rows] > 0]
        if not rows.size:
            return
    crossed = np.zeros(rows.size, dtype=np.bool_)
    stride(
        rows.astype(np.int64), c.x, c.y, c.way_x, c.way_y, c.speed, c.pace, c.stuck,
        state.tiles, WALKABLE, COST, crossed,
    )  # fmt: skip
    state.touch_hot(rows)
    if crossed.any():
        _enter(state, rows[crossed], events)


def leap(state: State, paths: Paths, rows: Rows, ticks: Ints, events: list[Event]) -> Ints:
    """Walk bodies on through `ticks` (int64, one each, at least 1) at once, step for step as `walk` would.

    Returns, a row, how many of the ticks it was under way before it stood: all of them if it still walks.
    Places are noticed where a leap ends.
    """
    c = state.columns
    under_way = np.where(c.pace[rows] > 0, ticks, 0)
    at = under_way.nonzero()[0]
    left = ticks[at]
    walked = rows[at]
    while at.size:
        body = rows[at]
        waiting = (c.x[body] == c.way_x[body]) & (c.y[body] == c.way_y[body])
        if waiting.any():
            _plan(state, paths, body[waiting])
            stands = c.pace[body] == 0
            under_way[at[stands]] -= left[stands]
            at, left = at[~stands], left[~stands]
            body = rows[at]
        kernel.leap(
            body.astype(np.int64), left, c.x, c.y, c.way_x, c.way_y, c.speed, c.pace, c.stuck,
            state.tiles, WALKABLE, COST,
        )  # fmt: skip
        at, left = at[left > 0], left[left > 0]
    if walked.size:
        state.touch_hot(walked)
        _notice_place(state, walked, events)
    return under_way


def _plan(state: State, paths: Paths, rows: Rows) -> None:
    """Give the next waypoint to bodies that stand on theirs; those at the goal stop."""
    c = state.columns
    x, y, gx, gy = c.x[rows], c.y[rows], c.goal_x[rows], c.goal_y[rows]
    there = (x == gx) & (y == gy)
    state.touch_hot(rows)
    _stop(state, rows[there])
    rest = ~there
    if not rest.any():
        return
    rows, x, y, gx, gy = rows[rest], x[rest], y[rest], gx[rest], gy[rest]
    lost = c.stuck[rows] >= MAX_STUCK
    straight = clear(state.tiles, x, y, gx, gy) & (c.stuck[rows] == 0)
    straight |= (x // TILE == gx // TILE) & (y // TILE == gy // TILE)
    c.way_x[rows] = np.where(straight, gx, x)
    c.way_y[rows] = np.where(straight, gy, y)
    _give_up(state, rows[lost & ~straight])
    around = rows[~straight & ~lost]
    most = min(MOST_LED, max(MAX_LED, around.size // 4))
    if around.size > most:
        # Many set out in the tick in which all decide; the next ticks have less to do. The others stand for this
        # one; a draw decides, so that none stands for long.
        turn = maths.keyed_array(state.seed, c.id[around], state.tick, Purpose.WAY)
        around = around[np.argsort(turn)[:most]]
    if around.size:
        _follow(state, paths, around)


def _follow(state: State, paths: Paths, rows: Rows) -> None:
    """Give waypoints along the field of each one's goal: the farthest of the next cells in sight."""
    c, width = state.columns, state.width
    starts = c.y[rows] // TILE * width + c.x[rows] // TILE
    goals = c.goal_y[rows] // TILE * width + c.goal_x[rows] // TILE
    cells_ahead = paths.ahead(starts, goals)
    lost = cells_ahead[:, 0] == NO_WAY
    _give_up(state, rows[lost])
    rows, cells_ahead = rows[~lost], cells_ahead[~lost]
    if not rows.size:
        return
    spot_x = cells_ahead % width * TILE + _HALF
    spot_y = cells_ahead // width * TILE + _HALF
    x, y = np.repeat(c.x[rows], AHEAD), np.repeat(c.y[rows], AHEAD)
    seen = clear(state.tiles, x, y, spot_x.reshape(-1), spot_y.reshape(-1)).reshape(-1, AHEAD)
    seen[c.stuck[rows] > 0] = False
    last = AHEAD - 1 - np.argmax(seen[:, ::-1], axis=1)
    best = np.where(seen.any(axis=1), last, 0)
    line = np.arange(rows.size)
    same = (spot_x[line, best] == c.x[rows]) & (spot_y[line, best] == c.y[rows])
    best = np.where(same, np.minimum(best + 1, AHEAD - 1), best)
    c.way_x[rows] = spot_x[line, best]
    c.way_y[rows] = spot_y[line, best]
    held = (c.way_x[rows] == c.x[rows]) & (c.way_y[rows] == c.y[rows])
    _give_up(state, rows[held])


def _stop(state: State, rows: Rows) -> None:
    if not rows.size:
        return
    c = state.columns
    c.pace[rows] = 0
    c.stuck[rows] = 0
    players = rows[c.player[rows] == 1]
    if players.size:
        state.write("action", players, 0)


def _give_up(state: State, rows: Rows) -> None:
    """Let bodies stand where they are; they look for something else to do in a second."""
    if not rows.size:
        return
    c = state.columns
    c.goal_x[rows] = c.way_x[rows] = c.x[rows]
    c.goal_y[rows] = c.way_y[rows] = c.y[rows]
    c.pace[rows] = 0
    c.stuck[rows] = 0
    state.touch_hot(rows)
    played = c.player[rows] == 1
    state.write("action", rows[played], 0)
    state.write("action_until", rows[~played], 0)
    state.write("next_decision", rows[~played], state.tick + 20)


def _enter(state: State, rows: Rows, events: list[Event]) -> None:
    """Bodies that crossed into another cell: their luck with walls is forgotten, places noticed."""
    state.columns.stuck[rows] = 0
    _notice_place(state, rows, events)


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
