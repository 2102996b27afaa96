"""Writes a world as fast as it can and announces what is synced, until it is killed.

An order (`forking.py`) is a folder. The child writes `synced N` for each announced tick.
"""

from __future__ import annotations

from typing import Any, NoReturn

import numpy as np
from forking import announce, fork_for_each_line

from world.store import Store, StoreOptions, TickRecord, WorldMeta

CHECKPOINT_EVERY = 15
ROWS = 6000


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


def state_of_tick(tick: int) -> dict[str, Any]:
    """The one state this tick can have."""
    return {"tick": tick, "x": np.arange(ROWS, dtype=np.int64) * tick, "names": [[tick, "Ann"]]}


def write_until_killed(path: str) -> NoReturn:
    options = StoreOptions(keep_checkpoints=3, slice_bytes=8192, window_s=0.001)
    store = Store.open(path, create=WorldMeta(scene="crash", seed=1), options=options)
    store.on_synced(lambda tick: announce("synced", tick))
    tick = store.last_tick
    if tick < 0:
        store.checkpoint(state_of_tick(0))
        tick = 0
    while True:
        tick += 1
        store.append(record_of_tick(tick), timeout=60)
        if tick % CHECKPOINT_EVERY == 0:
            store.checkpoint(state_of_tick(tick))
        if store.overloaded:
            store.wait_synced(tick - 10)


if __name__ == "__main__":
    fork_for_each_line(write_until_killed)
