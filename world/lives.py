"""Beginnings and ends: bodies are buried, the knocked-out recover, the dead have successors."""

from __future__ import annotations

import numpy as np

from world.commit import Commit
from world.effects import Bear
from world.entities import NEVER
from world.events import Event
from world.maths import TILE
from world.state import State


def pass_on(state: State, commit: Commit) -> None:
    """Do what is due at this tick."""
    c = state.columns
    # Who is far is on its feet.
    rows = state.awake.rows()
    due = rows[c.next_decision[rows] <= state.tick]
    due = due[(c.died[due] >= 0) | (c.downed_until[due] >= 0)]
    for row in due[np.argsort(c.id[due])].tolist():
        if c.died[row] >= 0:
            commit.remove(int(c.id[row]))
        elif c.downed_until[row] <= state.tick:
            _recover(state, row, commit)
    for birth in state.due_births():
        _, species, home_x, home_y, work_x, work_y, group, follows = birth
        bear = Bear(
            species=state.rules.species_names[species],
            x=home_x,
            y=home_y,
            group=group,
            home=(home_x, home_y),
            work=(work_x, work_y),
        )
        if commit.check((bear,)) is None:
            entity = commit.bear(bear, follows, 0, quiet=True)
            data = {"species": bear.species, "name": "", "player": False, "born": True}
            commit.events.append(Event(state.tick, "spawned", entity, 0, data))


def _recover(state: State, row: int, commit: Commit) -> None:
    """Stand up again, at home, where others have carried it."""
    c = state.columns
    spot = commit.standable(int(c.home_x[row]), int(c.home_y[row]))
    x, y = spot or (int(c.x[row]), int(c.y[row]))
    player = bool(c.player[row])
    state.put(
        row,
        downed_until=-1,
        hp=int(c.max_hp[row]) if player else max(1, int(c.max_hp[row]) // 2),
        action=0,
        x=x, y=y, way_x=x, way_y=y, goal_x=x, goal_y=y,
        fear=min(int(c.fear[row]), 300),
        aggressor=0,
        place=int(state.place_grid[y // TILE, x // TILE]),
        next_decision=NEVER if player else state.tick + 1,
    )  # fmt: skip
    state.membership += 1
    commit.events.append(Event(state.tick, "recovered", int(c.id[row])))
