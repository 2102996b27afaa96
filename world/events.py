"""What happened in a tick, as plain data that is journalled and sent to clients."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

EVENT_DATA: Mapping[str, str] = {
    "spawned": "`species`, `name`, `player` and `born`: true for a player, and for one born in the world",
    "despawned": "",
    "died": "`by`: the killer's id, 0 for none",
    "downed": "`by`: who struck, 0 for none; `until`: the tick of recovery",
    "recovered": "",
    "attacked": "`damage`; `hp`: what is left of the target's",
    "said": "`text`; `heard_by`: ids, nearest first, at most 32",
    "used": "`species`: of the thing used",
    "moved_in": "`place`: the name of its new home",
    "tiles": "`x`, `y`, `w`, `h`: the rectangle that changed",
    "order": "`group`: its number; `tactic`",
    "ate": "",
    "slept": "",
    "fled": "",
    "threat": "`species`: whose; `distance`: in tiles",
    "calm": "",
    "dam_broken": "`x`, `y`, `w`, `h`: the tiles under water",
    "reset": "`reason`: why it was stuck; `home`: whether it was carried there",
    "time_of_day": "`name`: of the part of the day that begins",
}
"""What the data of each kind holds. Kinds of the core; plugins' actions may emit others."""

KINDS: tuple[str, ...] = tuple(EVENT_DATA)
"""The kinds the core emits."""


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened: who (`entity`), to whom (`target`, 0 for nobody), and details."""

    tick: int
    kind: str
    entity: int
    target: int = 0
    data: Mapping[str, Any] = field(default_factory=dict)

    def pack(self) -> list[Any]:
        """Plain values for msgpack: [tick, kind, entity, target, data]."""
        return [self.tick, self.kind, self.entity, self.target, dict(self.data)]

    @classmethod
    def unpack(cls, packed: list[Any]) -> Event:
        """The inverse of `pack`. Raises ValueError if the list was not made by it."""
        if len(packed) != 5 or not isinstance(packed[4], dict):
            raise ValueError("not a packed event")
        tick, kind, entity, target, data = packed
        return cls(tick, kind, entity, target, data)
