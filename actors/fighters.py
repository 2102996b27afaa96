"""What a group's leader sees of a battle: plain data about both sides."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Fighter", "GroupView"]


@dataclass(frozen=True, slots=True)
class Fighter:
    """One member or foe in a group's view; position in units (256 a tile)."""

    id: int
    name: str
    species: str
    hp: int
    max_hp: int
    attack: int
    defence: int
    x: int
    y: int
    player: bool = False


@dataclass(frozen=True, slots=True)
class GroupView:
    """What a group's leader sees: its living members, foes nearest first, the ground beneath."""

    tick: int
    epoch: int
    group: int
    name: str
    species: str
    tactics: tuple[str, ...]
    leader: int
    members: tuple[Fighter, ...]
    foes: tuple[Fighter, ...]
    ground: str
