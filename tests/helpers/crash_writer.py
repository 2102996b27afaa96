"""Writes a world as fast as it can and announces what is synced, until it is killed.

An order (`forking.py`) is a folder. The child writes `synced N` for each announced tick.
"""

from __future__ import annotations

from typing import Any, NoReturn

import numpy as np
from forking import announce, fork_for_each_line

from world.buffers import Buffers
from world.entities import NAMES
from world.far import NEAR
from world.moment import Moment
from world.store import Store, StoreOptions, TickRecord, WorldMeta

CHECKPOINT_EVERY = 15
ROWS = 130
NAMED = 700
"""More than are packed in one go."""


def record_of_tick(tick: int) -> TickRecord:
    """The one record this tick can have, of a size that varies from tick to tick."""
    pad = bytes([tick % 251]) * (tick * 7919 % 3000)
    return TickRecord(
        tick=tick,
        epoch=1,
        hash=tick * 0x9E3779B97F4A7C15 % 2**64,
        inputs=(["move", tick % 50, "player:ann", tick, {"x": tick}],),
        events=([tick, "said", 1, 2, {"pad": pad}],),
    )


def moment_of_tick(tick: int, buffers: Buffers) -> Moment:
    """The one state this tick can have, in memory that other ticks' states had before and will have again."""
    columns = np.arange(len(NAMES) * ROWS, dtype=np.int64).reshape(len(NAMES), ROWS) * tick
    none, ground = np.zeros(ROWS, dtype=np.int64), np.full((3, 3), tick % 15, dtype=np.uint8)
    return Moment(
        tick=tick,
        plain={"tick": tick},
        columns=buffers.copy(columns),
        lived=none + NEAR,
        kept=none,
        tiles=ground,
        nav=ground,
        names={n: f"name {n} at {tick}" for n in range(NAMED)},
        personas={},
        births=(),
        places=(),
        groups={},
    )


def state_of_tick(tick: int) -> dict[str, Any]:
    """The same, as it is to be read again."""
    return moment_of_tick(tick, new_buffers()).state()


def new_buffers() -> Buffers:
    return Buffers((len(NAMES), ROWS), np.dtype(np.int64))


def write_until_killed(path: str) -> NoReturn:
    options = StoreOptions(keep_checkpoints=3, slice_bytes=8192, window_s=0.001)
    store = Store.open(path, create=WorldMeta(scene="crash", seed=1), options=options)
    store.on_synced(lambda tick: announce("synced", tick))
    buffers = new_buffers()
    tick = store.last_tick
    if tick < 0:
        store.checkpoint(moment_of_tick(0, buffers))
        tick = 0
    while True:
        tick += 1
        store.append(record_of_tick(tick), timeout=60)
        if tick % CHECKPOINT_EVERY == 0:
            store.checkpoint(moment_of_tick(tick, buffers))
        if store.overloaded:
            store.wait_synced(tick - 10)


if __name__ == "__main__":
    fork_for_each_line(write_until_killed)
