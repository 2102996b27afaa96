"""What happened in a tick, as plain data that is journalled and sent to clients."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

KINDS: tuple[str, ...] = (
    "spawned",
    "despawned",
    "died",
    "downed",
    "recovered",
    "attacked",
    "said",
    "used",
    "moved_in",
    "tiles",
    "order",
    "ate",
    "slept",
    "fled",
    "threat",
    "calm",
    "dam_broken",
    "time_of_day",
)
"""The kinds the core emits; plugins' actions may emit others.

Data by kind: spawned {species, name, player, born}; died {by}; downed {by, until};
attacked {damage, hp}; said {text, heard_by: ids, nearest first, at most 32}; used {species};
moved_in {place}; tiles {x, y, w, h}; order {group, tactic}; threat {species, distance in tiles};
time_of_day {name}. The others carry none.
"""


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
