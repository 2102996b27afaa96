"""Hunger, fatigue, fear, mood and healing: a few of all beings at a time."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from world.entities import NEEDS, Ints, Rows
from world.events import Event
from world.kernels import drift as kernel
from world.ruleset import EAT, REST
from world.state import State

PERIOD: Final = 100
"""Ticks between two changes of one being's needs."""
STRIDE: Final = 4
"""Every so many ticks it is the turn of so many phases at once."""
_CALM: Final = 400
_SATED, _RESTED = 100, 40
BOUNDS: Final = np.array([NEEDS[n] for n in ("hunger", "fatigue", "fear", "mood")], dtype=np.int64)
"""int64[4, 2]: the lowest and highest of each."""


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
    c, tables, code = state.columns, state.rules.tables, state.rules.activity_code
    told = np.empty(rows.size, dtype=np.uint8)
    kernel.drift(
        rows, np.full(rows.size, tick, dtype=np.int64), at_it, c.species, c.action, c.player,
        c.threat, c.hurt_at, c.downed_until, c.max_hp, c.hunger, c.fatigue, c.fear, c.hp, c.mood,
        tables.hunger, tables.fatigue,
        tables.act_hunger, tables.act_fatigue, tables.act_fear, tables.act_mood,
        code[REST.name], code[EAT.name], _CALM, _SATED, _RESTED, BOUNDS, told,
    )  # fmt: skip
    # Things need nothing: what stays as it is isn't hashed anew.
    state.touch_cold(rows[(told & kernel.CHANGED) != 0])
    for kind, flag in (("ate", kernel.SATED), ("slept", kernel.RESTED)):
        ids = c.id[rows[(told & flag) != 0]].tolist()
        events.extend(Event(state.tick, kind, entity) for entity in ids)
