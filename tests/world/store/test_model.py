"""Whatever is done in whatever order, the store is what a list in memory would be."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from world.store import Store, StoreOptions, TickRecord, WorldMeta

KEEP = 2
OPTIONS = StoreOptions(keep_checkpoints=KEEP, turns_per_pair=4, slice_bytes=64, window_s=0.0)


class StoreAgainstList(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.path = Path(tempfile.mkdtemp(prefix="greenroom-model-"))
        self.store = self.open()
        self.records: dict[int, TickRecord] = {}
        self.checkpoints: list[tuple[int, int]] = []
        self.turns: dict[tuple[int, str], list[dict[str, Any]]] = {}
        self.tick = 0
        self.epoch = 1
        self.begun = False

    def open(self) -> Store:
        return Store.open(self.path, create=WorldMeta(scene="model", seed=1), options=OPTIONS)

    def teardown(self) -> None:
        self.store.close()
        shutil.rmtree(self.path)

    @rule(count=st.integers(1, 9), payload=st.binary(max_size=300))
    def append(self, count: int, payload: bytes) -> None:
        for _ in range(count):
            self.tick += 1
            record = TickRecord(self.tick, self.epoch, self.tick**5 % 2**64, ([payload],))
            self.store.append(record, timeout=30)
            self.records[self.tick] = record
        self.begun = True

    @rule(payload=st.binary(max_size=50))
    def checkpoint(self, payload: bytes) -> None:
        state = {"tick": self.tick, "a": np.frombuffer(payload, dtype=np.uint8)}
        self.store.checkpoint(state)
        self.store.flush()
        self.begun = True
        self.checkpoints = [one for one in self.checkpoints if one[0] != self.tick]
        self.checkpoints.append((self.tick, len(payload)))
        if len(self.checkpoints) > KEEP:
            del self.checkpoints[0]
            oldest = self.checkpoints[0][0]
            self.records = {t: r for t, r in self.records.items() if t > oldest}

    @rule(npc=st.integers(1, 2), player=st.sampled_from(["ann", "bob"]), text=st.text(max_size=9))
    def talk(self, npc: int, player: str, text: str) -> None:
        turn = {"text": text, "tick": self.tick}
        self.store.put_turn(npc, player, turn)
        kept = self.turns.setdefault((npc, player), [])
        kept.append(turn)
        del kept[:-4]

    @precondition(lambda self: self.begun)
    @rule(data=st.data())
    def load_older(self, data: st.DataObject) -> None:
        known = [*self.records, *(tick for tick, _ in self.checkpoints)]
        tick = data.draw(st.sampled_from(sorted(set(known))))
        self.epoch = self.store.new_epoch(after_tick=tick)
        self.tick = tick
        self.records = {t: r for t, r in self.records.items() if t <= tick}
        self.checkpoints = [one for one in self.checkpoints if one[0] <= tick]
        self.turns = {
            pair: [turn for turn in turns if turn["tick"] <= tick]
            for pair, turns in self.turns.items()
        }

    @rule()
    def close_and_open(self) -> None:
        self.store.close()
        self.store = self.open()

    @rule()
    def recover(self) -> None:
        self.store.flush()
        recovery = self.store.recover()
        start = -1
        if self.checkpoints:
            assert recovery.state is not None
            start, size = self.checkpoints[-1]
            assert (recovery.state["tick"], recovery.state["a"].size) == (start, size)
        else:
            assert recovery.state is None
        assert list(recovery.records) == [r for t, r in self.records.items() if t > start]

    @invariant()
    def numbers_agree(self) -> None:
        assert self.store.last_tick == (self.tick if self.begun else -1)
        assert self.store.epoch == self.epoch
        assert self.store.error is None
        assert [info.tick for info in self.store.checkpoints()] == [t for t, _ in self.checkpoints]
        for (npc, player), turns in self.turns.items():
            assert self.store.turns(npc, player, 9) == turns


StoreAgainstList.TestCase.settings = settings(
    max_examples=25,
    stateful_step_count=25,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
TestTheStore = StoreAgainstList.TestCase
