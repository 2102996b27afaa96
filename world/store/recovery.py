"""Where a world goes on after a stop: the newest whole checkpoint, and the records after it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from world.errors import StorageError
from world.store.checkpoints import CheckpointDamaged
from world.store.reader import Reader
from world.store.records import CheckpointInfo, TickRecord


@dataclass(frozen=True, slots=True)
class Recovery:
    """Where a world stands: step `records` on `state` and it is as it was at `last_tick`.

    `state` is None when there is no checkpoint to start from: make the world anew from scene and
    seed. `records` is read as it is consumed and raises `JournalDamage` at a damaged tick.
    """

    state: dict[str, Any] | None
    records: Iterator[TickRecord]
    checkpoint: CheckpointInfo | None
    last_tick: int
    warnings: tuple[str, ...] = ()


def recover(reader: Reader, last_tick: int, until: int | None) -> Recovery:
    """See `Store.recover`; `last_tick` is told in the result."""
    warnings: list[str] = []
    kept = [info for info in reader.checkpoints() if until is None or info.tick <= until]
    for info in reversed(kept):
        try:
            state = reader.load(info)
        except CheckpointDamaged as error:
            warnings.append(f"the checkpoint of tick {info.tick} was passed over: {error.message}")
            continue
        return Recovery(state, reader.records(info, until), info, last_tick, tuple(warnings))
    if (kept or reader.head() is not None) and not reader.begins_at_first():
        raise StorageError(
            "; ".join(
                [f"{reader.path}: no whole checkpoint, and the journal begins too late", *warnings]
            ),
            "restore a backup of the folder",
        )
    return Recovery(None, reader.records(None, until), None, last_tick, tuple(warnings))
