"""Lives, keeps, branches and loads a world as fast as it can, and announces each, until it is killed.

An order (`forking.py`) is `FOLDER SEED`. The child writes a line

    started EPOCH TICK          it has opened the world
    synced EPOCH TICK           the tick is durable
    keeping NAME EPOCH TICK     before a snapshot, with the last tick announced
    kept NAME EPOCH TICK        it is there
    branching NAME EPOCH TICK   before a branch into FOLDER.branches/NAME
    branched NAME EPOCH TICK    it is there
    loading NAME                before a load
    loaded NAME EPOCH TICK      it is the world now
"""

from __future__ import annotations

import os
import random
import shutil
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from forking import announce, fork_for_each_line

from foundation.errors import UsageError
from world.store import Reader, Store, StoreOptions, TickRecord, WorldMeta
from world.store.snapshots import find

CHECKPOINT_EVERY = 15
NAMES = ("ann", "ben", "cid")
BRANCHES = 4
NPC, PLAYER = 7, "ann"


def record_of(tick: int, epoch: int) -> TickRecord:
    """The one record this tick can have in this epoch."""
    pad = bytes([tick % 251]) * (tick * 7919 % 3000)
    return TickRecord(
        tick=tick,
        epoch=epoch,
        hash=(tick * 0x9E3779B97F4A7C15 + epoch) % 2**64,
        inputs=(["move", tick % 50, "player:ann", tick, {"x": tick}],),
        events=([tick, "said", 1, 2, {"pad": pad}],),
    )


def state_of(tick: int, epoch: int) -> dict[str, Any]:
    """The one state this tick can have in this epoch."""
    return {"tick": tick, "epoch": epoch, "x": np.arange(4000, dtype=np.int64) * tick + epoch}


class Life:
    """One process's life of the world: a thread that lives ticks, and one that keeps and loads."""

    def __init__(self, folder: str, seed: int) -> None:
        self.chance = random.Random(seed)
        self.branches = Path(folder + ".branches")
        self.branches.mkdir(exist_ok=True)
        options = StoreOptions(keep_checkpoints=3, slice_bytes=8192, window_s=0.001)
        meta = WorldMeta(scene="crash", seed=1)
        self.store = Store.open(folder, create=meta, options=options)
        self.stepping = threading.Lock()
        self.synced = self.store.synced_tick
        if self.store.last_tick < 0:
            self.store.checkpoint(state_of(0, 1))
            self.store.flush()
            self.synced = 0
        else:
            self.store.new_epoch()
        self.store.on_synced(self._synced)
        announce("started", self.store.epoch, self.store.last_tick)

    def _synced(self, tick: int) -> None:
        # Told on the storage thread, which never tells of one epoch while another is loaded.
        self.synced = tick
        announce("synced", self.store.epoch, tick)

    def live(self) -> NoReturn:
        while True:
            with self.stepping:
                tick, epoch = self.store.last_tick + 1, self.store.epoch
                self.store.append(record_of(tick, epoch), timeout=60)
                if tick % 3 == 0:
                    self.store.put_turn(NPC, PLAYER, {"tick": tick, "epoch": epoch})
                if tick % CHECKPOINT_EVERY == 0:
                    self.store.checkpoint(state_of(tick, epoch))
                if self.store.overloaded:
                    self.store.wait_synced(tick - 10)

    def keep(self) -> NoReturn:
        while True:
            name = self.chance.choice(NAMES)
            deed = self.chance.choice((self.snapshot, self.snapshot, self.branch, self.load))
            with suppress(UsageError):  # of that name there is none yet
                deed(name)

    def snapshot(self, name: str) -> None:
        announce("keeping", name, self.store.epoch, self.synced)
        card = self.store.snapshots.take(name, 1, replace=True)
        announce("kept", name, card.epoch, card.tick)

    def branch(self, name: str) -> None:
        there = sorted(self.branches.glob("[a-z]*"))
        if len(there) >= BRANCHES:
            shutil.rmtree(self.branches / ".gone", ignore_errors=True)
            shutil.rmtree(there[0].rename(self.branches / ".gone"))
        name = f"{name}{self.chance.randrange(10**9)}"
        announce("branching", name, self.store.epoch, self.synced)
        made = self.store.branch(self.branches / name)
        announce("branched", name, made.epoch, made.tick)

    def load(self, name: str) -> None:
        with self.stepping, Reader.open(find(self.store.path, name)) as reader:
            announce("loading", name)
            epoch = self.store.load(reader)
            self.synced = self.store.last_tick
            announce("loaded", name, epoch, self.store.last_tick)


def work_until_killed(line: str) -> NoReturn:
    folder, seed = line.split()
    life = Life(folder, int(seed))

    def live() -> None:
        try:
            life.live()
        except BaseException:
            os._exit(3)

    threading.Thread(target=live, daemon=True).start()
    try:
        life.keep()
    except BaseException as error:
        announce("failed", repr(error).replace(" ", "_"))
        os._exit(4)


if __name__ == "__main__":
    fork_for_each_line(work_until_killed)
