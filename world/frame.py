"""What leaves the world after a step: the frame for those who watch, the situation for a mind."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from world.events import Event

FLAG_PLAYER: Final = 1
FLAG_DEAD: Final = 2
FLAG_SPEAKS: Final = 4
FLAG_DOWNED: Final = 8

TileChange = tuple[int, int, int, int, bytes]
"""x, y, w, h in cells and w*h tile bytes, row by row."""


@dataclass(frozen=True, slots=True)
class Frame:
    """An immutable copy of the public columns after a tick; rows in ascending order of `id`.

    `x`, `y` are in units (256 a tile). `action` indexes `Ruleset.activity_names`, `species`
    `Ruleset.species_names`, `faction` `Ruleset.faction_names`. `flags` joins FLAG_PLAYER,
    FLAG_DEAD, FLAG_SPEAKS and FLAG_DOWNED. `names_changed` holds names given since the tick
    before; a frame asked for with `full=True` holds all names, and all tiles as one change.
    """

    tick: int
    epoch: int
    hash: int
    time_of_day: str
    id: NDArray[np.uint64]
    species: NDArray[np.uint16]
    faction: NDArray[np.uint16]
    x: NDArray[np.int32]
    y: NDArray[np.int32]
    hp: NDArray[np.int32]
    max_hp: NDArray[np.int32]
    action: NDArray[np.uint16]
    mood: NDArray[np.int16]
    target: NDArray[np.uint64]
    flags: NDArray[np.uint8]
    names_changed: Mapping[int, str]
    events: tuple[Event, ...]
    tile_changes: tuple[TileChange, ...]


@dataclass(frozen=True, slots=True)
class Near:
    """Someone close by; `distance` in units.

    `hostile`: would harm the one whose situation it is. `down`: knocked out, so no danger and no target.
    """

    id: int
    name: str
    species: str
    distance: int
    hostile: bool = False
    down: bool = False


@dataclass(frozen=True, slots=True)
class Situation:
    """What one entity can know of its own moment, in words and plain numbers.

    Needs are thousandths; `mood` and `trouble` are plain English for prompts and panels.
    `group` is 0 for loners; `near` is nearest first and bounded.
    """

    tick: int
    epoch: int
    entity: int
    name: str
    species: str
    time: str
    hour: int
    place: str
    place_key: str
    mood: str
    mood_value: int
    action: str
    near: tuple[Near, ...]
    trouble: tuple[str, ...]
    hp: int
    max_hp: int
    hunger: int
    fatigue: int
    fear: int
    x: int
    y: int
    group: int
    group_name: str
    target: int
    threat: int
    player: bool
    alive: bool
    downed: bool
