"""Makes the frame that watchers get: public columns only, as copies in the wire's own types."""

from __future__ import annotations

import numpy as np

from world import clock
from world.events import Event
from world.frame import FLAG_DEAD, FLAG_DOWNED, FLAG_PLAYER, FLAG_SPEAKS, Frame, TileChange
from world.state import State


def frame(state: State, events: tuple[Event, ...], full: bool) -> Frame:
    """The state after the last step; with `full`, all names and the whole map as one change."""
    c = state.columns
    rows = c.live_rows()
    rows = rows[np.argsort(c.id[rows], kind="stable")]
    flags = (
        FLAG_PLAYER * (c.player[rows] == 1)
        + FLAG_DEAD * (c.died[rows] >= 0)
        + FLAG_SPEAKS * state.rules.tables.speaks[c.species[rows]]
        + FLAG_DOWNED * (c.downed_until[rows] >= 0)
    )
    tiles: tuple[TileChange, ...] = tuple(state.tile_changes)
    if full:
        tiles = ((0, 0, state.width, state.height, state.tiles.tobytes()),)
    return Frame(
        tick=state.tick,
        epoch=state.epoch,
        hash=state.hash(),
        time_of_day=clock.time_of_day(state.tick, state.day_ticks),
        id=c.id[rows].astype(np.uint64),
        species=c.species[rows].astype(np.uint16),
        faction=c.faction[rows].astype(np.uint16),
        x=c.x[rows].astype(np.int32),
        y=c.y[rows].astype(np.int32),
        hp=c.hp[rows].astype(np.int32),
        max_hp=c.max_hp[rows].astype(np.int32),
        action=c.action[rows].astype(np.uint16),
        mood=c.mood[rows].astype(np.int16),
        target=c.target[rows].astype(np.uint64),
        flags=flags.astype(np.uint8),
        names_changed=dict(state.names if full else state.names_changed),
        events=events,
        tile_changes=tiles,
    )
