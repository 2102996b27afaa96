"""What an action does, as data: a handler returns effects, the rules check all, then commit all."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from world.inputs import RejectionCode


@dataclass(frozen=True, slots=True)
class Refusal:
    """The action can't be done now: a stable code and a sentence why."""

    code: RejectionCode
    reason: str


@dataclass(frozen=True, slots=True)
class Begin:
    """Let `entity` take up an activity, walking to a goal first (units; None: where it stands).

    `until` is the tick before which reflexes leave the choice alone. `target` 0 for nobody.
    """

    entity: int
    activity: str
    until: int
    goal: tuple[int, int] | None = None
    target: int = 0


@dataclass(frozen=True, slots=True)
class Need:
    """Add to one of hp, hunger, fatigue, fear, mood; the result is clamped to its bounds."""

    entity: int
    need: str
    amount: int


@dataclass(frozen=True, slots=True)
class Harm:
    """Take hp away; at 0 the victim goes down or dies. `by` is who did it, 0 for nobody."""

    entity: int
    amount: int
    by: int = 0


@dataclass(frozen=True, slots=True)
class Cooldown:
    """No further action of `entity` that needs a cooldown before `until`."""

    entity: int
    until: int


@dataclass(frozen=True, slots=True)
class Emit:
    """Tell everyone; `data` holds plain values only and stays under 2 KiB packed."""

    kind: str
    entity: int
    target: int = 0
    data: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Paint:
    """Write w*h tiles, row by row, at cell (x, y)."""

    x: int
    y: int
    w: int
    h: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Bear:
    """A new entity at a point in units; home and work are there unless given."""

    species: str
    x: int
    y: int
    name: str = ""
    group: int = 0
    player: bool = False
    home: tuple[int, int] | None = None
    work: tuple[int, int] | None = None
    persona_key: str = ""


@dataclass(frozen=True, slots=True)
class Remove:
    """Take an entity out of the world."""

    entity: int


@dataclass(frozen=True, slots=True)
class Order:
    """Give a group a tactic, until the given tick; `focus` is an entity or 0."""

    group: int
    tactic: str
    focus: int
    until: int


@dataclass(frozen=True, slots=True)
class SetGlobal:
    """Set a named number of the world, such as the weather."""

    key: str
    value: int


@dataclass(frozen=True, slots=True)
class Rename:
    """Give an entity a name; "" takes it away."""

    entity: int
    name: str


@dataclass(frozen=True, slots=True)
class Reset:
    """Drop what a being is about, so that it chooses anew; with `home`, it is carried there."""

    entity: int
    reason: str
    home: bool = False


@dataclass(frozen=True, slots=True)
class Attend:
    """Let an entity be lived in full until a tick, however far it is from players."""

    entity: int
    until: int


Effect = (
    Begin
    | Need
    | Harm
    | Cooldown
    | Emit
    | Paint
    | Bear
    | Remove
    | Order
    | SetGlobal
    | Rename
    | Reset
    | Attend
)
"""Everything that can happen to a world; plugins' actions use the same set."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """An action that may be done: its effects in order, and details for whoever proposed it."""

    effects: tuple[Effect, ...]
    detail: Mapping[str, Any] = field(default_factory=dict)
