"""What was announced as synced survives `kill -9` at any instant, and the world goes on."""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import crash_writer
import numpy as np
import pytest
from forking import ROOT, Victims, victims_of

from world.store import Store


@pytest.fixture
def victims() -> Iterator[Victims]:
    with victims_of(crash_writer.__file__) as found:
        yield found


def run_and_kill(victims: Victims, path: Path, after_s: float) -> int:
    """Let a child write for a moment, kill it; the last tick it announced, -1 if none."""
    said = victims.kill_at_work(str(path), after_s)
    return max((int(words[1]) for words in said if words[0] == "synced"), default=-1)


def check(path: Path, announced: int) -> int:
    """All announced is there, without a gap, and every checkpoint is whole; the last tick kept."""
    with Store.open(path) as store:
        assert store.last_tick >= announced
        recovery = store.recover()
        assert recovery.warnings == ()
        kept = store.checkpoints()
        names = {file.name for file in (path / "checkpoints").iterdir()}
        assert names == {info.name for info in kept}
        for info in kept:
            state = store.reader.load(info)
            wanted = crash_writer.state_of_tick(info.tick)
            assert state["tick"] == info.tick
            assert state["names"] == list(wanted["names"])
            for name, values in wanted["rows"]["columns"].items():
                assert np.array_equal(state["rows"]["columns"][name], values)
        records = list(store.reader.records(kept[0] if kept else None))
        first = kept[0].tick + 1 if kept else 1
        assert [r.tick for r in records] == list(range(first, store.last_tick + 1))
        assert records == [crash_writer.record_of_tick(r.tick) for r in records]
        tail = list(recovery.records)
        start = recovery.checkpoint.tick if recovery.checkpoint else 0
        assert [r.tick for r in tail] == list(range(start + 1, store.last_tick + 1))
        return store.last_tick


def kill_often(victims: Victims, path: Path, times: int, seed: int) -> None:
    chance = random.Random(seed)
    announced = last = -1
    progressed = died_before_it_began = 0
    for _ in range(times):
        heard = run_and_kill(victims, path, chance.choice((0.02, 0.1, 0.3)) * chance.random())
        assert heard == -1 or heard > announced
        announced = max(announced, heard)
        if not (path / "world.mdb").exists():
            died_before_it_began += 1
            continue
        try:
            now = check(path, announced)
        except Exception as error:
            assert announced == -1, f"after tick {announced} was announced: {error!r}"
            assert "holds no world" in str(error)
            died_before_it_began += 1
            continue
        assert now >= last
        progressed += now > last
        last = now
    assert progressed > times // 4
    assert died_before_it_began < times // 2
    assert last > 10 * times


def test_twenty_kills_at_random_instants_lose_nothing_that_was_announced(
    tmp_path: Path, victims: Victims
) -> None:
    kill_often(victims, tmp_path / "w", times=20, seed=20)


@pytest.mark.soak
@pytest.mark.timeout(900)
def test_a_hundred_kills_at_random_instants_lose_nothing_that_was_announced(
    tmp_path: Path, victims: Victims
) -> None:
    kill_often(victims, tmp_path / "w", times=100, seed=100)


def test_a_full_disk_is_told_waited_for_and_gone_on_from(tmp_path: Path) -> None:
    """A file-size limit stands in for the full disk: the kernel refuses the writes all the same."""
    program = """
import resource, sys, time
from world.store import Store, StoreOptions, TickRecord, WorldMeta

store = Store.open(sys.argv[1], create=WorldMeta(scene="full", seed=1))
tick = 0
def run(n):
    global tick
    for _ in range(n):
        tick += 1
        store.append(TickRecord(tick, 1, tick, ([b"." * 10_000],)), timeout=60)

run(50)
store.flush()
limit, ceiling = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (600_000, ceiling))
run(50)
while store.error is None:
    time.sleep(0.01)
print("stalled", store.overloaded, store.synced_tick, "takes no writes" in str(store.error))
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, ceiling))
store.flush()
print("goes on", store.overloaded, store.synced_tick, store.error)
run(5)
store.close()
with Store.open(sys.argv[1]) as again:
    print("kept", [r.tick for r in again.recover().records] == list(range(1, 106)))
"""
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "w")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "stalled True 50 True",
        "goes on False 100 None",
        "kept True",
    ]
