"""A tiny land lived for a few ticks, so that all that is compiled is there before a first tick counts."""

from __future__ import annotations

from typing import Final

import numpy as np

from world import frames, movement, needs, reflexes
from world.aims import at_home
from world.commit import Commit
from world.compiled import CompiledScene
from world.effects import Bear
from world.events import Event
from world.maths import TILE, compass
from world.paths import Paths, clear
from world.ruleset import Ruleset
from world.situations import situation
from world.state import State
from world.tiles import Tile
from world.view import View

_SIDE: Final = 16


def rehearse(rules: Ruleset) -> None:
    """Go through every kernel once: milliseconds when they are kept on disk, some seconds when not.

    Changes nothing but the time of later steps.
    """
    if not rules.species_names:
        return
    tiles = np.full((_SIDE, _SIDE), Tile.GRASS, dtype=np.uint8)
    tiles[4:12, 8] = Tile.WALL
    scene = CompiledScene("rehearsal", (_SIDE, _SIDE), tiles, {}, (), (), 1)
    state = State.empty(scene, rules, 1)
    view = View(state)
    events: list[Event] = []
    commit = Commit(state, view, events)
    minds = reflexes.Reflexes(state, view, commit)
    paths = Paths(state.nav)
    for n in range(4):
        commit.bear(Bear(rules.species_names[0], TILE * (4 + n), TILE * 8), 0, n, quiet=True)
    rows = state.columns.live_rows()
    state.tick = reflexes.DECIDE_EVERY
    state.write("next_decision", rows, state.tick)
    view.refresh()
    minds.decide()
    at_home(view, rows)
    compass(rows, rows)
    clear(
        state.tiles,
        *(getattr(state.columns, name)[rows] for name in ("x", "y", "goal_x", "goal_y")),
    )
    needs.change(state, rows, state.tick, np.ones(rows.size, dtype=np.bool_), events)
    state.write("goal_x", rows, TILE * 12)
    state.write("pace", rows, 100)
    movement.walk(state, paths, events)
    state.paint(4, 4, 1, 1, bytes([Tile.WALL]))
    paths.update(state.nav, state.refresh_nav())
    movement.leap(state, paths, rows, np.full(rows.size, 3, dtype=np.int64), events)
    frames.Frames(state).frame((), full=False)
    situation(state, view, int(state.columns.id[0]), TILE)
