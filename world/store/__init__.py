"""Where a world is kept: journal, checkpoints, conversations and model calls, in one folder a world."""

from __future__ import annotations

from world.store.checkpoints import CheckpointDamaged
from world.store.inspect import describe
from world.store.options import StoreOptions
from world.store.reader import Reader
from world.store.records import CheckpointInfo, JournalDamage, TickRecord, WorldMeta, record_of
from world.store.recovery import Recovery
from world.store.store import Store

__all__ = [
    "CheckpointDamaged",
    "CheckpointInfo",
    "JournalDamage",
    "Reader",
    "Recovery",
    "Store",
    "StoreOptions",
    "TickRecord",
    "WorldMeta",
    "describe",
    "record_of",
]
