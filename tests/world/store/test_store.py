"""A store gives back what it was handed, in order, and says what is durable."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from foundation.errors import LimitError
from world.errors import StorageError
from world.store import Reader, Store, StoreOptions, TickRecord, WorldMeta, record_of

Opened = Callable[..., Store]
Record = Callable[..., TickRecord]
State = Callable[[int], dict[str, Any]]


class Held:
    """Holds the storage thread inside an `on_synced` callback, as a slow disk would."""

    def __init__(self, store: Store) -> None:
        self.entered = threading.Event()
        self.go = threading.Event()
        self._undo = store.on_synced(self._hold)

    def _hold(self, tick: int) -> None:
        self.entered.set()
        assert self.go.wait(60)

    def release(self) -> None:
        self._undo()
        self.go.set()


def test_what_was_appended_is_there_after_closing_and_opening(
    tmp_path: Path, opened: Opened, record: Record, state: State, meta: WorldMeta
) -> None:
    store = opened(tmp_path / "w")
    store.checkpoint(state(0))
    for tick in range(1, 301):
        store.append(record(tick), timeout=30)
    store.close()

    store = opened(tmp_path / "w")
    recovery = store.recover()
    assert store.meta == meta
    assert recovery.state is not None
    assert recovery.state["tick"] == 0
    assert list(recovery.records) == [record(tick) for tick in range(1, 301)]
    assert (recovery.last_tick, recovery.warnings) == (300, ())
    assert (store.last_tick, store.synced_tick, store.lag()) == (300, 300, 0)


def test_a_tick_is_announced_only_when_a_reader_finds_it(
    tmp_path: Path, opened: Opened, record: Record
) -> None:
    store = opened(tmp_path / "w")
    announced: list[int] = []
    early: list[int] = []

    def hear(tick: int) -> None:
        head = store.reader.head()
        announced.append(tick)
        if head is None or head[0] < tick:
            early.append(tick)

    store.on_synced(hear)
    for tick in range(200):
        store.append(record(tick), timeout=30)
        if tick % 7 == 0:
            assert store.wait_synced(tick)
    store.flush()
    assert announced == sorted(set(announced))
    assert announced[-1] == 199
    assert early == []


def test_ticks_that_wait_for_the_disk_are_synced_as_one_group(
    tmp_path: Path, opened: Opened, record: Record
) -> None:
    store = opened(tmp_path / "w")
    told: list[int] = []
    store.on_synced(told.append)
    held = Held(store)
    store.append(record(1))
    assert held.entered.wait(30)
    groups = store.stats()["groups"]
    for tick in range(2, 52):
        store.append(record(tick))
    held.release()
    store.flush()
    assert store.stats()["groups"] == groups + 1
    assert store.stats()["largest_group"] == 50
    assert told == [1, 51]


def test_more_than_twenty_ticks_behind_is_called_overload_until_the_disk_catches_up(
    tmp_path: Path, opened: Opened, record: Record
) -> None:
    store = opened(tmp_path / "w")
    held = Held(store)
    store.append(record(1))
    assert held.entered.wait(30)
    for tick in range(2, 22):
        store.append(record(tick))
    assert (store.lag(), store.overloaded) == (20, False)
    store.append(record(22))
    assert (store.lag(), store.overloaded) == (21, True)
    assert store.lag(tick=5) == 4
    held.release()
    assert store.wait_synced(22)
    assert (store.lag(), store.overloaded) == (0, False)


def test_a_full_queue_refuses_the_record_and_takes_the_same_one_later(
    tmp_path: Path, opened: Opened, record: Record
) -> None:
    store = opened(tmp_path / "w", queue_jobs=5)
    held = Held(store)
    store.append(record(1))
    assert held.entered.wait(30)
    for tick in range(2, 7):
        store.append(record(tick))
    with pytest.raises(LimitError, match="behind"):
        store.append(record(7), timeout=0.01)
    with pytest.raises(LimitError):
        store.put_turn(1, "ann", {"text": "hello"})
    assert store.put_call({"prompt": "p"}) is False
    assert store.stats()["dropped_calls"] == 1
    held.release()
    store.append(record(7), timeout=30)
    store.close()
    with Reader.open(tmp_path / "w") as reader:
        assert [r.tick for r in reader.records(None)] == [1, 2, 3, 4, 5, 6, 7]


def test_a_listener_that_raises_stops_neither_storage_nor_the_other_listeners(
    tmp_path: Path, opened: Opened, record: Record
) -> None:
    store = opened(tmp_path / "w")

    def bad(tick: int) -> None:
        raise RuntimeError("listener")

    heard: list[int] = []
    store.on_synced(bad)
    store.on_synced(heard.append)
    store.append(record(1))
    store.append(record(2))
    store.flush()
    assert heard[-1] == 2
    assert int(store.stats()["callback_errors"]) >= 1
    assert store.error is None


@pytest.mark.parametrize("wrong", [1, 3, 5, 99])
def test_a_tick_out_of_order_is_refused_and_the_next_in_order_taken(
    tmp_path: Path, opened: Opened, record: Record, wrong: int
) -> None:
    store = opened(tmp_path / "w")
    for tick in (1, 2, 3):
        store.append(record(tick))
    with pytest.raises(StorageError, match=f"tick {wrong} doesn't follow tick 3"):
        store.append(record(wrong))
    store.append(record(4))
    store.flush()
    assert store.synced_tick == 4


def test_a_record_of_an_abandoned_epoch_is_refused(
    tmp_path: Path, opened: Opened, record: Record
) -> None:
    store = opened(tmp_path / "w")
    store.append(record(1))
    assert store.new_epoch() == 2
    with pytest.raises(StorageError, match="epoch 1"):
        store.append(record(2, epoch=1))
    store.append(record(2, epoch=2))
    store.close()
    assert opened(tmp_path / "w").epoch == 2


def test_a_record_that_cant_be_packed_is_refused_where_it_is_handed_over(
    tmp_path: Path, opened: Opened, record: Record
) -> None:
    store = opened(tmp_path / "w", record_bytes=4096)
    with pytest.raises(StorageError, match="tick 1"):
        store.append(TickRecord(1, 1, 5, inputs=(object(),)))
    with pytest.raises(StorageError, match="more than the 4096 allowed"):
        store.append(record(1, size=5000))
    store.append(record(1))
    store.flush()
    assert store.error is None


def test_loading_an_older_state_gives_up_what_came_after_it_in_a_new_epoch(
    tmp_path: Path, opened: Opened, record: Record, state: State
) -> None:
    store = opened(tmp_path / "w")
    store.checkpoint(state(0))
    for tick in range(1, 101):
        store.append(record(tick), timeout=30)
        if tick % 30 == 0:
            store.checkpoint(state(tick))
            store.flush()
        store.put_turn(4, "ann", {"tick": tick, "text": f"turn {tick}"})
    store.put_turn(4, "ann", {"text": "out of time"})
    recovery = store.recover(until=45)
    assert recovery.checkpoint is not None
    assert (recovery.checkpoint.tick, recovery.last_tick) == (30, 45)
    assert [r.tick for r in recovery.records] == list(range(31, 46))
    assert store.new_epoch(after_tick=45) == 2
    assert [info.tick for info in store.checkpoints()] == [0, 30]
    assert [t["text"] for t in store.turns(4, "ann", 3)] == ["turn 44", "turn 45", "out of time"]
    for tick in range(46, 60):
        store.append(record(tick, epoch=2))
    store.close()

    store = opened(tmp_path / "w")
    records = list(store.recover().records)
    assert [(r.tick, r.epoch) for r in records] == [
        *((tick, 1) for tick in range(31, 46)),
        *((tick, 2) for tick in range(46, 60)),
    ]
    kept = sorted(path.name for path in (tmp_path / "w" / "checkpoints").iterdir())
    assert kept == sorted(info.name for info in store.checkpoints())


def test_an_epoch_cant_begin_after_a_tick_that_is_not_in_the_journal(
    tmp_path: Path, opened: Opened, record: Record
) -> None:
    store = opened(tmp_path / "w")
    for tick in range(10, 20):
        store.append(record(tick))
    with pytest.raises(StorageError, match="tick 20 is still to come"):
        store.new_epoch(after_tick=20)
    with pytest.raises(StorageError, match="tick 5 is no longer in the journal"):
        store.new_epoch(after_tick=5)
    assert store.epoch == 1


def test_a_world_without_a_checkpoint_recovers_from_its_first_tick(
    tmp_path: Path, opened: Opened, record: Record
) -> None:
    store = opened(tmp_path / "w")
    assert store.recover().last_tick == -1
    for tick in range(1, 11):
        store.append(record(tick))
    store.flush()
    recovery = store.recover()
    assert recovery.state is None
    assert [r.tick for r in recovery.records] == list(range(1, 11))


def test_new_rules_are_noted_and_carried_by_later_checkpoints(
    tmp_path: Path, opened: Opened, state: State
) -> None:
    store = opened(tmp_path / "w")
    store.checkpoint(state(0))
    store.flush()
    store.update_meta(ruleset_digest="bb66", mod_versions={"wolves": "2.0"})
    store.close()
    store = opened(tmp_path / "w")
    assert store.meta.ruleset_digest == "bb66"
    assert store.meta.mod_versions == {"wolves": "2.0"}
    assert store.meta.scene == "valley"
    assert [info.ruleset_digest for info in store.checkpoints()] == ["aa55"]


def test_the_map_grows_under_a_growing_world_while_it_is_read(
    tmp_path: Path, opened: Opened, record: Record
) -> None:
    store = opened(tmp_path / "w", map_bytes=1 << 20)
    stop = threading.Event()
    wrong: list[str] = []

    def look() -> None:
        while not stop.is_set():
            try:
                head = store.reader.head()
                if head is not None and store.reader.link_at(head[0]) is None:
                    wrong.append(f"head {head[0]} without a record")
            except StorageError as error:
                wrong.append(str(error))

    looking = threading.Thread(target=look)
    looking.start()
    try:
        for tick in range(1, 301):
            store.append(record(tick, size=20_000), timeout=30)
        store.flush()
    finally:
        stop.set()
        looking.join()
    assert wrong == []
    assert int(store.stats()["map_growths"]) >= 2
    assert len(list(store.recover().records)) == 300


def test_a_world_at_its_bound_stops_confirming_says_why_and_keeps_what_it_confirmed(
    tmp_path: Path, opened: Opened, record: Record
) -> None:
    store = opened(tmp_path / "w", map_bytes=1 << 20, max_map_bytes=2 << 20, queue_jobs=4)
    told: list[int] = []
    store.on_synced(told.append)
    with pytest.raises(StorageError, match="bound of 2097152 bytes"):
        for tick in range(1, 1000):
            store.append(record(tick, size=20_000), timeout=30)
    assert store.overloaded
    assert store.error is not None
    with pytest.raises(StorageError, match="is the last kept"):
        store.close()
    store = opened(tmp_path / "w", map_bytes=8 << 20)
    assert store.last_tick == told[-1]
    assert [r.tick for r in store.recover().records] == list(range(1, told[-1] + 1))


def test_a_closed_store_refuses_and_closing_twice_does_nothing(
    tmp_path: Path, opened: Opened, record: Record
) -> None:
    store = opened(tmp_path / "w")
    store.close()
    store.close()
    with pytest.raises(StorageError, match="closed"):
        store.append(record(1))


def test_a_folder_without_a_world_is_named(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="holds no world"):
        Store.open(tmp_path / "nothing")
    assert not (tmp_path / "nothing").exists()
    with pytest.raises(StorageError, match="holds no world"):
        Reader.open(tmp_path / "nothing")


def test_a_folder_with_another_world_is_not_taken_for_a_new_one(
    tmp_path: Path, opened: Opened, meta: WorldMeta
) -> None:
    opened(tmp_path / "w").close()
    with pytest.raises(StorageError, match="seed 7, not 8"):
        Store.open(tmp_path / "w", create=meta.model_copy(update={"seed": 8}))
    opened(tmp_path / "w")


def test_a_database_that_is_no_database_is_refused(tmp_path: Path, meta: WorldMeta) -> None:
    (tmp_path / "w").mkdir()
    (tmp_path / "w" / "world.mdb").write_bytes(b"not a database" * 1000)
    with pytest.raises(StorageError, match="can't be opened"):
        Store.open(tmp_path / "w", create=meta)


def test_a_steps_result_becomes_its_record(record: Record) -> None:
    class Row:
        def __init__(self, *values: Any) -> None:
            self.values = values

        def pack(self) -> list[Any]:
            return list(self.values)

    class Result:
        tick = 9
        hash = 2**64 - 1
        inputs = (Row("wait", 3, "npc:3", 1, {}),)
        events = (Row(9, "slept", 3, 0, {}),)

    assert record_of(Result(), epoch=4) == TickRecord(
        9, 4, 2**64 - 1, (["wait", 3, "npc:3", 1, {}],), ([9, "slept", 3, 0, {}],)
    )


def test_the_defaults_keep_the_confirmations_within_two_ticks_at_twenty_a_second() -> None:
    assert StoreOptions().window_s <= 2 / 20
    assert StoreOptions().max_lag == 20


def test_a_checkpoint_is_of_the_moment_it_was_asked_for(
    tmp_path: Path, opened: Opened, state: State
) -> None:
    store = opened(tmp_path / "w")
    live = state(0)
    store.checkpoint(live)
    live["tiles"][:] = 9
    live["names"].append([1, "Bob"])
    store.flush()
    kept = store.load_checkpoint(0)
    assert np.array_equal(kept["tiles"], state(0)["tiles"])
    assert kept["names"] == [[0, "Ann"]]
