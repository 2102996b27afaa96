"""A scene made ready to live: what `World` starts from. Plain frozen data, no files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

MAX_COMMON: Final = 1200
"""Characters of a text of common knowledge, since every prompt begins with it."""


@dataclass(frozen=True, slots=True)
class Place:
    """A named spot; `x`, `y`, `radius` in units (256 a tile).

    `kind` is free text the reflexes may look for: "inn", "market", "shrine", "house", "den",
    "castle", "pasture" …
    """

    key: str
    name: str
    x: int
    y: int
    radius: int
    kind: str


@dataclass(frozen=True, slots=True)
class Spawn:
    """One entity that the world begins with; position in units, `home` and `work` place keys."""

    species: str
    x: int
    y: int
    name: str = ""
    home: str = ""
    work: str = ""
    group: int = 0
    persona_key: str = ""


@dataclass(frozen=True, slots=True)
class GroupInfo:
    """A pack, coven or watch; `leader` is the name of the member who leads, "" for none."""

    name: str
    species: str
    leader: str = ""


@dataclass(frozen=True, slots=True)
class Secret:
    """What a villager tells only to those trusted enough; `trust` in thousandths."""

    text: str
    trust: int


@dataclass(frozen=True, slots=True)
class Relation:
    """How one persona stands to another; `feeling` -1000..1000."""

    to: str
    kind: str
    feeling: int


@dataclass(frozen=True, slots=True)
class PersonaCard:
    """Who a speaking character is."""

    key: str
    name: str
    trade: str
    place: str
    temper: str
    persona: str
    knows: tuple[str, ...] = ()
    secret: Secret | None = None
    relations: tuple[Relation, ...] = ()


@dataclass(frozen=True, slots=True)
class CommonKnowledge:
    """What everyone knows, and how they are: `world` everyone in it, `groups` a group's, by its number.

    It is told to minds and is no part of the world's state; what not all of them know has no place here.
    """

    world: str = ""
    groups: Mapping[int, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class CompiledScene:
    """Everything a world starts from; a pure function of scene file, species and seed.

    `size` is (width, height) in cells, `tiles` uint8[height, width], `player_starts` points in
    units, `day_ticks` the length of a game day.
    """

    name: str
    size: tuple[int, int]
    tiles: NDArray[np.uint8]
    places: Mapping[str, Place]
    spawns: tuple[Spawn, ...]
    player_starts: tuple[tuple[int, int], ...]
    seed: int
    day_ticks: int = 24_000
    groups: Mapping[int, GroupInfo] = field(default_factory=dict)
    personas: Mapping[str, PersonaCard] = field(default_factory=dict)
    common: CommonKnowledge = field(default_factory=CommonKnowledge)
