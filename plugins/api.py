"""All that a mod imports: protocols and data to describe species, actions and reasons to act.

::

    from plugins.api import Species, hookimpl

    @hookimpl
    def greenroom_species():
        return [Species("goat", "wildlife", speed=40, considerations=("graze", "bolt", "idle"))]
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pluggy

from foundation.strict import StrictModel
from world.actions import Coordinate, Id, IdOrNone, Text, Word
from world.aims import (
    at_home,
    chase,
    closeness,
    flat,
    health,
    is_night,
    near_point,
    nobody,
    roam_near,
    stay,
)
from world.effects import (
    Attend,
    Bear,
    Begin,
    Cooldown,
    Effect,
    Emit,
    Harm,
    Need,
    Order,
    Outcome,
    Paint,
    Refusal,
    Remove,
    Rename,
    Reset,
    SetGlobal,
)
from world.maths import RING, TILE, Purpose, below, isqrt
from world.ruleset import (
    ATTACK,
    EAT,
    FLEE,
    GATHER,
    HUNT,
    IDLE,
    MOVE,
    PATROL,
    REST,
    WANDER,
    WORK,
    ActionSpec,
    Activity,
    Aim,
    Consideration,
    Ints,
    Rows,
    Species,
)
from world.space import FAR, NOBODY, nearest
from world.tiles import WALKABLE, Tile
from world.view import View

PROJECT = "greenroom"
hookimpl = pluggy.HookimplMarker(PROJECT)
"""Marks the functions of a plugin that answer a hook."""


MAX_SCALE = 16.0
"""Of an adapter: beyond, a model says nothing that makes sense."""


@dataclass(frozen=True, slots=True)
class AdapterFile:
    """A LoRA adapter, as GGUF, under which the members of a species speak and decide.

    `model` is the local model it was trained for, by the name and version in its GGUF
    ("greenroom-house 4"); with any other model it is left alone. `scale` multiplies what the adapter adds.
    Raises ValueError for a scale beyond MAX_SCALE or that is no number: each answer under it would fail.
    """

    species: str
    path: Path
    model: str
    scale: float = 1.0

    def __post_init__(self) -> None:
        if not abs(self.scale) <= MAX_SCALE:
            raise ValueError(
                f"the adapter for {self.species!r} has the scale {self.scale}: give one up to {MAX_SCALE}"
            )


__all__ = [
    "ATTACK",
    "EAT",
    "FAR",
    "FLEE",
    "GATHER",
    "HUNT",
    "IDLE",
    "MOVE",
    "NOBODY",
    "PATROL",
    "PROJECT",
    "REST",
    "RING",
    "TILE",
    "WALKABLE",
    "WANDER",
    "WORK",
    "ActionSpec",
    "Activity",
    "AdapterFile",
    "Aim",
    "Attend",
    "Bear",
    "Begin",
    "Consideration",
    "Cooldown",
    "Coordinate",
    "Effect",
    "Emit",
    "Harm",
    "Id",
    "IdOrNone",
    "Ints",
    "Need",
    "Order",
    "Outcome",
    "Paint",
    "Purpose",
    "Refusal",
    "Remove",
    "Rename",
    "Reset",
    "Rows",
    "SetGlobal",
    "Species",
    "StrictModel",
    "Text",
    "Tile",
    "View",
    "Word",
    "at_home",
    "below",
    "chase",
    "closeness",
    "flat",
    "health",
    "hookimpl",
    "is_night",
    "isqrt",
    "near_point",
    "nearest",
    "nobody",
    "roam_near",
    "stay",
]
