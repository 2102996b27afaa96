"""`kill -9` in the middle of steps, checkpoints, snapshots, branches and loads: no half of a thing."""

from __future__ import annotations

import random
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import crash_saver
import numpy as np
import pytest
from forking import Said, Victims, victims_of

from world.store import Reader, Store
from world.store.snapshots import list_snapshots


@pytest.fixture
def victims() -> Iterator[Victims]:
    with victims_of(crash_saver.__file__) as found:
        yield found


def check_whole(reader: Reader) -> int:
    """Every record and checkpoint is the one its tick and epoch can have; the last tick."""
    kept = reader.checkpoints()
    # killed before the first checkpoint, the journal still begins with the first tick
    records = {record.tick: record for record in reader.records(kept[0] if kept else None)}
    for record in records.values():
        assert record == crash_saver.record_of(record.tick, record.epoch)
    epochs = [record.epoch for _, record in sorted(records.items())]
    assert epochs == sorted(epochs)
    for info in kept:
        state, wanted = reader.load(info), crash_saver.state_of(info.tick, info.epoch)
        assert state["epoch"] == info.epoch
        assert np.array_equal(state["x"], wanted["x"])
        if info.tick in records:
            assert info.epoch == records[info.tick].epoch
    last = reader.end()[0]
    for _, turn in reader.turns(crash_saver.NPC, crash_saver.PLAYER, 1000):
        # memories tell of nothing that the world has not lived
        assert turn["tick"] <= last
        if turn["tick"] in records:
            assert turn["epoch"] == records[turn["tick"]].epoch
    return last


def check(path: Path, said: Said, done: Counter[str]) -> None:
    """Nothing acknowledged is lost and everything that is there is whole."""
    durable: dict[int, int] = {}  # the last tick announced, by epoch
    kept: dict[str, int] = {}  # what a snapshot must hold at the least
    branched: dict[str, int] = {}
    asked: dict[str, int] = {}
    loading = ""
    for what, *rest in said:
        match what, rest:
            case (("started" | "synced"), [epoch, tick]):
                durable[int(epoch)] = int(tick)
            case (("keeping" | "branching"), [name, _, tick]):
                asked[name] = int(tick)
            case "kept", [name, _, tick]:
                assert int(tick) >= asked[name]
                kept[name] = int(tick)
            case "branched", [name, _, tick]:
                assert int(tick) >= asked[name]
                branched[name] = int(tick)
            case "loading", [name]:
                loading = name
            case "loaded", [name, epoch, tick]:
                loading = ""
                durable[int(epoch)] = int(tick)
        done[what] += 1
    deeds = [what for what, *_ in said if what not in ("synced", "started", "pid", "gone")]
    in_flight = deeds[-1] if deeds and deeds[-1].endswith("ing") else "steps"
    done[f"killed in {in_flight}"] += 1
    with Store.open(path) as store:
        last = check_whole(store.reader)
        announced = max(durable, default=0)
        if loading and store.epoch > announced:
            done["loads done but not told"] += 1
        else:
            assert store.epoch >= announced
            assert last >= durable.get(store.epoch, -1), "what was acknowledged is gone"
        names = {file.name for file in (path / "checkpoints").iterdir()}
        assert names == {info.name for info in store.checkpoints()}
        folder = path / "snapshots"
        cards = {card.name: card for card in list_snapshots(path)}
        there = [one.name for one in folder.iterdir()] if folder.is_dir() else []
        assert sorted(one.split(".")[0] for one in there) == sorted(cards)
        assert set(kept) <= set(cards)
    for name, card in cards.items():
        with Reader.open(next(folder.glob(f"{name}.*"))) as reader:
            assert check_whole(reader) == card.tick
    for made in path.with_name(path.name + ".branches").glob("[a-z]*"):
        with Reader.open(made) as reader:
            tick = check_whole(reader)
            identity = reader.identity()
            assert identity is not None
            assert identity.tick == tick == branched.get(made.name, tick)
            assert identity.parent


def kill_often(victims: Victims, path: Path, times: int, seed: int) -> Counter[str]:
    chance = random.Random(seed)
    done: Counter[str] = Counter()
    for n in range(times):
        after = chance.choice((0.02, 0.2, 0.6)) * chance.random()
        begins = "started" if after > 0.05 else "pid"
        said = victims.kill_at_work(f"{path} {seed * 1000 + n}", after, begins)
        if not (path / "world.mdb").exists():
            continue
        try:
            check(path, said, done)
        except Exception as error:
            if done["synced"] or "holds no world" not in str(error):
                raise AssertionError(f"kill {n} of seed {seed}, after {said[-5:]}") from error
    return done


def test_ten_kills_amid_snapshots_branches_and_loads_leave_no_half_of_a_thing(
    tmp_path: Path, victims: Victims
) -> None:
    done = kill_often(victims, tmp_path / "w", times=10, seed=3)
    assert min(done["kept"], done["branched"], done["loaded"]) > 2, done
    assert done["synced"] > 50


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_a_hundred_kills_amid_snapshots_branches_and_loads(
    tmp_path: Path, victims: Victims
) -> None:
    done = kill_often(victims, tmp_path / "w", times=100, seed=4)
    print(dict(done))
    assert min(done[f"killed in {what}"] for what in ("keeping", "branching", "loading")) > 2, done


def test_a_copy_broken_off_is_swept_when_the_world_is_opened(tmp_path: Path, opened: Any) -> None:
    store = opened(tmp_path / "w")
    store.checkpoint({"tick": 0})
    store.flush()
    store.snapshots.take("one", 1)
    store.snapshots.take("one", 2, replace=True)
    store.close()
    folder = tmp_path / "w" / "snapshots"
    shutil.copytree(folder / "one.2", folder / "one.1")  # killed before the older was removed
    (folder / ".one.3.unfinished").mkdir()
    (folder / ".two.1.gone").mkdir()
    store = opened(tmp_path / "w")
    assert [one.name for one in folder.iterdir()] == ["one.2"]
    assert [card.made for card in store.snapshots.list()] == [2]
