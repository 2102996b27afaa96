"""Hunger, fatigue, fear, mood and healing: a few of all beings at a time."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from world.entities import NEEDS, Ints, Rows
from world.events import Event
from world.maths import clip
from world.ruleset import EAT, REST
from world.state import State

PERIOD: Final = 100
"""Ticks between two changes of one being's needs."""
STRIDE: Final = 4
"""Every so many ticks it is the turn of so many phases at once."""
_CALM: Final = 400
_SATED, _RESTED = 100, 40


def drift(state: State, events: list[Event]) -> None:
    """Change the needs of those whose phase it is."""
    if state.tick % STRIDE:
        return
    c = state.columns
    turn = state.tick // STRIDE % (PERIOD // STRIDE)
    rows = state.awake.rows()
    rows = rows[c.phase[rows] // STRIDE == turn]
    rows = rows[c.died[rows] < 0]
    if rows.size:
        change(state, rows, state.tick, c.pace[rows] == 0, events)


def next_turn(phase: Ints, after: Ints) -> Ints:
    """The first tick after each of the given ones in which the needs of a phase (0..99) change."""
    first: Ints = after + 1 + (phase // STRIDE * STRIDE - after - 1) % PERIOD
    return first


def change(
    state: State, rows: Rows, tick: int | Ints, at_it: NDArray[np.bool_], events: list[Event]
) -> None:
    """Change the needs of the rows once, at a tick each; `at_it`: who stands and is at what it does."""
    c, tables = state.columns, state.rules.tables
    species, action = c.species[rows], c.action[rows]
    thinks = c.player[rows] == 0
    hunger = c.hunger[rows]
    fatigue = c.fatigue[rows]
    safe = (c.threat[rows] == 0) & (tick - c.hurt_at[rows] > _CALM)
    new_hunger = hunger + (tables.hunger[species] + tables.act_hunger[action] * at_it) * thinks
    new_fatigue = fatigue + (tables.fatigue[species] + tables.act_fatigue[action] * at_it) * thinks
    fear = c.fear[rows] + tables.act_fear[action] * at_it - 30 * safe
    max_hp = c.max_hp[rows]
    hp = c.hp[rows]
    resting = (action == state.rules.activity_code[REST.name]) & at_it
    healing = np.maximum(1, max_hp // 40) * np.where(resting, 3, 1) * safe
    down = c.downed_until[rows] >= 0
    hp = np.where(down, hp, np.minimum(max_hp, hp + healing))
    new_hunger = clip(new_hunger, *NEEDS["hunger"])
    new_fatigue = clip(new_fatigue, *NEEDS["fatigue"])
    fear = clip(fear, *NEEDS["fear"])
    content = 500 - new_hunger // 2 - new_fatigue // 3 - fear // 2 - 400 * (max_hp - hp) // max_hp
    mood = c.mood[rows] + (content - c.mood[rows]) // 8 + tables.act_mood[action] * at_it
    state.write("hunger", rows, new_hunger)
    state.write("fatigue", rows, new_fatigue)
    state.write("fear", rows, fear)
    state.write("hp", rows, hp)
    state.write("mood", rows, clip(mood, *NEEDS["mood"]))
    eats = action == state.rules.activity_code[EAT.name]
    fed = eats & (hunger >= _SATED) & (new_hunger < _SATED)
    slept = resting & (fatigue >= _RESTED) & (new_fatigue < _RESTED)
    for kind, who in (("ate", fed), ("slept", slept)):
        events.extend(Event(state.tick, kind, entity) for entity in c.id[rows[who]].tolist())
