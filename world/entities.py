"""Every entity as one column of numbers a property; rows are found by id and used again."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping
from itertools import repeat
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from world.errors import StateError

Ints = NDArray[np.int64]
Rows = NDArray[np.intp]

NEVER: Final = 2**62
"""A tick that does not come."""
MAX_ENTITIES: Final = 65_536

HOT: Final = ("x", "y", "way_x", "way_y", "goal_x", "goal_y", "pace", "stuck")
"""The columns that walking changes every tick; they are hashed apart from the others."""

COLUMNS: Final[dict[str, tuple[type[np.int64], int]]] = {
    name: (np.int64, default)
    for name, default in {
        **dict.fromkeys(HOT, 0),
        "id": 0,
        "species": 0,
        "faction": 0,
        "group": 0,
        "home_x": 0,
        "home_y": 0,
        "work_x": 0,
        "work_y": 0,
        "hp": 0,
        "max_hp": 0,
        "attack": 0,
        "defence": 0,
        "speed": 0,
        "reach": 0,
        "perception": 0,
        "hunger": 0,
        "fatigue": 0,
        "fear": 0,
        "mood": 0,
        "action": 0,
        "intent": -1,
        "left": -1,
        "since": 0,
        "target": 0,
        "action_until": 0,
        "next_decision": NEVER,
        "cooldown_until": 0,
        "born": 0,
        "died": -1,
        "downed_until": -1,
        "player": 0,
        "tactic": 0,
        "focus": 0,
        "order_until": 0,
        "place": -1,
        "threat": 0,
        "aggressor": 0,
        "hurt_at": 0,
        "phase": -1,
    }.items()
}
"""name -> (dtype, value of a free row). All are int64, so that no product overflows.

Units: positions 1/256 tile; needs 0..1000 and mood -1000..1000 thousandths; times in ticks.
`way` is the point walked to now, `goal` where the way leads; `pace` percent of speed, 0 for
standing; `stuck` counts failed steps. `action` indexes the ruleset's activities, `intent` its
considerations (-1: a mind's or client's choice), and `left` that which it gave up for it, at tick
`since`. `action_until`: reflexes leave the choice alone until then. `died` and `downed_until` are -1 for those on their feet. `place` indexes the world's
places (-1: in the open). `threat` is the hostile last seen, `aggressor` who struck last, at tick
`hurt_at`. `phase` (0..99) staggers the needs.
"""

NAMES: Final = tuple(COLUMNS)
INDEX: Final = {name: i for i, name in enumerate(NAMES)}
NEEDS: Final[dict[str, tuple[int, int]]] = {
    "hunger": (0, 1000),
    "fatigue": (0, 1000),
    "fear": (0, 1000),
    "mood": (-1000, 1000),
}
"""name -> (lowest, highest)."""


class Columns:
    """The columns; `columns.hp[row]`, rows by `row_of(id)`.

    Each attribute is an int64 view of length `capacity`; growing replaces the views, so take them
    anew each tick. Free rows have id 0 and are used again, lowest first.
    """

    id: Ints
    species: Ints
    faction: Ints
    group: Ints
    x: Ints
    y: Ints
    way_x: Ints
    way_y: Ints
    goal_x: Ints
    goal_y: Ints
    pace: Ints
    stuck: Ints
    home_x: Ints
    home_y: Ints
    work_x: Ints
    work_y: Ints
    hp: Ints
    max_hp: Ints
    attack: Ints
    defence: Ints
    speed: Ints
    reach: Ints
    perception: Ints
    hunger: Ints
    fatigue: Ints
    fear: Ints
    mood: Ints
    action: Ints
    intent: Ints
    left: Ints
    since: Ints
    target: Ints
    action_until: Ints
    next_decision: Ints
    cooldown_until: Ints
    born: Ints
    died: Ints
    downed_until: Ints
    player: Ints
    tactic: Ints
    focus: Ints
    order_until: Ints
    place: Ints
    threat: Ints
    aggressor: Ints
    hurt_at: Ints
    phase: Ints

    def __init__(self, capacity: int = 64) -> None:
        self._defaults = np.array([COLUMNS[n][1] for n in NAMES], dtype=np.int64)
        self._rows: dict[int, int] = {}
        self._free: list[int] = []
        self.high = 0
        self.data: Ints = np.empty((len(NAMES), 0), dtype=np.int64)
        self.capacity = 0
        self._allocate(max(1, min(capacity, MAX_ENTITIES)))

    def _allocate(self, capacity: int) -> None:
        data = np.empty((len(NAMES), capacity), dtype=np.int64)
        data[:] = self._defaults[:, None]
        if self.high:
            data[:, : self.high] = self.data[:, : self.high]
        self.data = data
        self.capacity = capacity
        shut = data.view()
        shut.setflags(write=False)
        self._shut = shut
        for i, name in enumerate(NAMES):
            setattr(self, name, data[i])

    def read_only(self) -> Columns:
        """The same numbers behind views that refuse writing; shares rows with this object."""
        twin = Columns.__new__(Columns)
        twin.__dict__.update(self.__dict__)
        twin.data = self._shut
        for i, name in enumerate(NAMES):
            setattr(twin, name, self._shut[i])
        return twin

    def __len__(self) -> int:
        return len(self._rows)

    def __contains__(self, entity: object) -> bool:
        return entity in self._rows

    def row_of(self, entity: int) -> int:
        """The row of an id, -1 if there is none."""
        return self._rows.get(entity, -1)

    def rows_of(self, entities: Ints) -> Rows:
        """The rows of many ids, -1 for the unknown; meant for few at a time."""
        found = map(self._rows.get, entities.tolist(), repeat(-1))
        return np.fromiter(found, dtype=np.intp, count=entities.size)

    def live_rows(self) -> Rows:
        """All rows in use, ascending."""
        return self.id[: self.high].nonzero()[0]

    def add(self, entity: int, values: Mapping[str, int]) -> int:
        """Take a row for a new id and return it; the columns not named keep their defaults.

        Raises ValueError for an id that is in use or out of 1..2**48-1, and when full.
        """
        if entity in self._rows or not 0 < entity < 2**48:
            raise ValueError(f"entity id {entity} is in use or out of range")
        if self._free:
            row = heapq.heappop(self._free)
        else:
            if self.high >= MAX_ENTITIES:
                raise ValueError(f"{MAX_ENTITIES} entities at most")
            if self.high == self.capacity:
                self._allocate(min(MAX_ENTITIES, self.capacity * 2))
            row = self.high
            self.high += 1
        self.data[:, row] = self._defaults
        self.data[INDEX["id"], row] = entity
        for name, value in values.items():
            self.data[INDEX[name], row] = value
        self._rows[entity] = row
        return row

    def remove(self, entity: int) -> int:
        """Free the row of an id and return it. Raises KeyError if there is none."""
        row = self._rows.pop(entity)
        self.data[:, row] = self._defaults
        heapq.heappush(self._free, row)
        return row

    def full(self) -> bool:
        """Whether no further entity fits."""
        return len(self._rows) >= MAX_ENTITIES

    def get_state(self) -> dict[str, Any]:
        """{"high": int, "columns": {name: int64[high]}}: rows and all, copied."""
        return as_state(self.data[:, : self.high].copy())

    def of(self, rows: Rows) -> Columns:
        """Other columns with what these rows hold, in rows of their own."""
        other = Columns(max(64, rows.size))
        other.high = int(rows.size)
        other.data[:, : rows.size] = self.data[:, rows]
        other._rows = {int(entity): row for row, entity in enumerate(self.id[rows])}
        return other

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Columns:
        """The inverse of `get_state`. Raises StateError naming the column that does not fit."""
        high = int(state["high"])
        stored: Mapping[str, Any] = state["columns"]
        if not 0 <= high <= MAX_ENTITIES:
            raise StateError(f"{high} rows, at most {MAX_ENTITIES} fit")
        columns = cls(max(64, high))
        columns.high = high
        for i, name in enumerate(NAMES):
            if name not in stored:
                continue
            values = np.asarray(stored[name])
            if values.shape != (high,) or values.dtype.kind not in "iu":
                raise StateError(f"column {name!r} is not {high} whole numbers")
            columns.data[i, :high] = values
        for row, entity in enumerate(columns.id[:high].tolist()):
            if entity:
                columns._rows[entity] = row
            else:
                columns._free.append(row)
        return columns


def as_state(data: Ints) -> dict[str, Any]:
    """What `Columns.from_state` takes, of int64[len(NAMES), rows]; the columns are views."""
    return {"high": data.shape[1], "columns": dict(zip(NAMES, data, strict=True))}


def scalar(columns: Columns, row: int, names: Iterable[str]) -> dict[str, int]:
    """Some columns of one row as Python numbers."""
    return {name: int(columns.data[INDEX[name], row]) for name in names}
