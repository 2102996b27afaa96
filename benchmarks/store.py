"""How many durable writes a second the store takes, beside one synced transaction each; how soon a tick is acknowledged.

And what a checkpoint of fifty thousand entities takes of the tick it is made in, beside msgpack of the same state.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import lmdb
import msgpack
import numpy as np

from actors.journal import AHEAD
from actors.rewind import Rewind
from benchmarks._crowded import SIDE, crowded
from plugins.manager import build_ruleset
from world.entities import NAMES
from world.moment import Moment
from world.reflexes import DECIDE_EVERY
from world.store import Store, TickRecord, WorldMeta, record_of
from world.store.checkpoints import freezing
from world.world import World

VALUE_BYTES = 200
SINGLE = 2_000
GROUPED = 100_000
GROUP = 1_000
ROUNDS = 5
TICKS = 20_000
INPUTS = 32
"""What a busy tick of a live world holds: each is a write that somebody waits for."""
HZ = 20
LIVE_TICKS = 400
"""Ticks of the live run: 20 s, of which the slowest 4 lie above the p99."""
LIVE_BYTES = 4_000
"""A live tick's record: some thirty inputs and events."""
CHECKPOINT_BYTES = 2_000_000
CHECKPOINT_EVERY = 100
NPCS, ENTITIES = 10_000, 50_000
MOMENTS = 25
BETWEEN = AHEAD
"""Ticks between two of those checkpoints, in which thousands walk; in a live world they are thirty times as many."""
LONGEST_SHARE_MS = 5.0
LONGEST_SLICE_MS = 5.0


def run(folder: str | Path | None = None, *, scale: float = 1.0) -> dict[str, Any]:
    """Measure in `folder` (default: the working folder, whose disk is then measured); all on one disk.

    Returns {bench, machine, results: [{metric, unit, value, peer, peer_value, ratio, at_least | at_most}]}.
    Rates are of writes that are synced when the clock stops: in rounds by turns with the peer, of which
    the median counts. The times to acknowledgement are of a run at 20 Hz, which checkpoints meanwhile.
    `scale` shortens or lengthens the run.
    """
    with tempfile.TemporaryDirectory(prefix=".bench-store-", dir=folder or Path.cwd()) as name:
        at = Path(name)
        singles, grouped, ticks, busy = [], [], [], []
        for n in range(ROUNDS):
            singles.append(_single(at / f"single-{n}", max(100, int(SINGLE * scale) // ROUNDS)))
            grouped.append(_groups(at / f"grouped-{n}", max(GROUP, int(GROUPED * scale) // ROUNDS)))
            count = max(500, int(TICKS * scale) // ROUNDS)
            ticks.append(_ticks(at / f"ticks-{n}", count, 1))
            busy.append(_ticks(at / f"busy-{n}", count, INPUTS))
        waits = _acknowledged(at / "live", max(60, int(LIVE_TICKS * scale)))
        shares = _shares(at / "crowd", min(1.0, scale))
    single = statistics.median(singles)
    return {
        "bench": "store",
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores,"
        f" Python {platform.python_version()}, LMDB {'.'.join(map(str, lmdb.version()))}",
        "results": [
            _rate(
                f"durable puts of {VALUE_BYTES} bytes, {GROUP} a transaction, by LMDB alone",
                statistics.median(grouped),
                single,
                30,
            ),
            _rate(
                f"durable inputs of {VALUE_BYTES} bytes through Store.append, {INPUTS} a tick",
                statistics.median(busy),
                single,
                30,
            ),
            _rate(
                f"durable inputs of {VALUE_BYTES} bytes through Store.append, a tick each",
                statistics.median(ticks),
                single,
            ),
            _wait("p50", waits[len(waits) // 2]),
            _wait("p99", _p99(waits), at_most=100.0),
            *_share_rows(shares),
        ],
    }


def _rate(
    metric: str, value: float, peer_value: float, at_least: float | None = None
) -> dict[str, Any]:
    row = {
        "metric": metric,
        "unit": "1/s",
        "value": round(value),
        "peer": "LMDB, one synced transaction a put",
        "peer_value": round(peer_value),
        "ratio": round(value / peer_value, 2),
    }
    return row if at_least is None else {**row, "at_least": at_least}


def _alone(metric: str, milliseconds: float, at_most: float | None = None) -> dict[str, Any]:
    row: dict[str, Any] = {
        "metric": metric,
        "unit": "ms",
        "value": round(milliseconds, 2),
        "peer": None,
        "peer_value": None,
        "ratio": None,
    }
    return row if at_most is None else {**row, "at_most": at_most}


def _wait(which: str, seconds: float, at_most: float | None = None) -> dict[str, Any]:
    metric = f"{which} from a tick's commit to its acknowledgement at {HZ} Hz"
    return _alone(metric, seconds * 1e3, at_most)


@contextmanager
def _environment(path: Path) -> Iterator[lmdb.Environment]:
    path.mkdir()
    with lmdb.Environment(str(path), map_size=1 << 30) as env:
        yield env


def _single(path: Path, count: int) -> float:
    value = os.urandom(VALUE_BYTES)
    with _environment(path) as env:
        started = time.perf_counter()
        for n in range(count):
            with env.begin(write=True) as txn:
                txn.put(n.to_bytes(8, "big"), value, append=True)
        return count / (time.perf_counter() - started)


def _groups(path: Path, count: int) -> float:
    value = os.urandom(VALUE_BYTES)
    with _environment(path) as env:
        started = time.perf_counter()
        for first in range(0, count, GROUP):
            with env.begin(write=True) as txn:
                for n in range(first, min(first + GROUP, count)):
                    txn.put(n.to_bytes(8, "big"), value, append=True)
        return count / (time.perf_counter() - started)


def _ticks(path: Path, count: int, inputs: int) -> float:
    """Inputs a second that are durable, `inputs` of them in each of `count` ticks."""
    pad = os.urandom(VALUE_BYTES - 45)
    records = [
        TickRecord(
            tick,
            1,
            tick,
            tuple(["move", 1, f"npc:{n}", tick, {"data": pad}] for n in range(inputs)),
        )
        for tick in range(1, count + 1)
    ]
    with Store.open(path, create=WorldMeta(scene="bench", seed=1)) as store:
        started = time.perf_counter()
        for record in records:
            store.append(record, timeout=60)
        if not store.wait_synced(count, timeout=300):
            raise RuntimeError("the store did not catch up")
        return count * inputs / (time.perf_counter() - started)


def _acknowledged(path: Path, count: int) -> list[float]:
    """Seconds from handing each tick of a live run over to the call that says it is durable, sorted."""
    pad = os.urandom(LIVE_BYTES - 45)
    state = np.frombuffer(os.urandom(CHECKPOINT_BYTES), dtype=np.int64)
    committed: list[float] = []
    told: list[float] = []

    def acknowledge(tick: int) -> None:
        now = time.perf_counter()
        told.extend(now for _ in range(len(told), tick))

    with Store.open(path, create=WorldMeta(scene="bench", seed=1)) as store:
        store.on_synced(acknowledge)
        due = time.perf_counter()
        for tick in range(1, count + 1):
            due += 1 / HZ
            time.sleep(max(0.0, due - time.perf_counter()))
            committed.append(time.perf_counter())
            store.append(TickRecord(tick, 1, tick, (["move", 1, "npc:1", tick, {"data": pad}],)))
            if tick % CHECKPOINT_EVERY == 0:
                store.checkpoint({"tick": tick, "columns": state})
        store.flush()
    if len(told) != count:
        raise RuntimeError(f"{len(told)} of {count} ticks were acknowledged")
    return sorted(after - before for before, after in zip(committed, told, strict=True))


@dataclass(slots=True)
class Shares:
    """Milliseconds on a core, a checkpoint each: of the tick's thread, the same by msgpack, of storage at a stretch."""

    entities: int = 0
    ours: list[float] = field(default_factory=list)
    ahead: list[float] = field(default_factory=list)
    packed: list[float] = field(default_factory=list)
    slices: list[float] = field(default_factory=list)


def _shares(path: Path, scale: float) -> Shares:
    """Live a crowded land and checkpoint it as the director does; by turns pack the same state with msgpack at once.

    All who move have a name and a persona. What storage makes of a moment is made here a second time, to see
    its slices.
    """
    npcs = max(20, int(NPCS * scale))
    scene = crowded(npcs, int(ENTITIES * scale) - npcs, side=max(128, int(SIDE * scale**0.5)))
    named = (
        replace(spawn, name=f"{spawn.species} {n}", persona_key=f"p{n}") if n < npcs else spawn
        for n, spawn in enumerate(scene.spawns)
    )
    world = World(replace(scene, spawns=tuple(named)), build_ruleset(), 7)
    world.warm()
    found = Shares(len(world.columns))
    for _ in range(2 * DECIDE_EVERY):
        world.step()
    with Store.open(path, create=WorldMeta(scene="crowded", seed=7)) as store, _swept():
        rewind = Rewind(world)
        store.checkpoint(rewind.mark(world), state_hash=world.hash())
        for _ in range(MOMENTS):
            store.flush()
            for left in range(BETWEEN, -1, -1):
                began = time.thread_time()
                if left < BETWEEN:
                    world.copy_ahead(left + 1)
                found.ahead.append((time.thread_time() - began) * 1e3)
                result = world.step()
                rewind.stepped((), result.hash)
                store.append(record_of(result, 1), timeout=60)
            began = time.thread_time()
            store.checkpoint(rewind.mark(world), state_hash=result.hash)
            found.ours.append((time.thread_time() - began) * 1e3)
            store.flush()
            gc.collect()
            began = time.thread_time()
            msgpack.packb(_uncopied(world), default=_packed)
            found.packed.append((time.thread_time() - began) * 1e3)
            found.slices += _slices(world.moment())
    return found


@contextmanager
def _swept() -> Iterator[None]:
    """Let nothing be collected but when it is asked for, as a server does between steps."""
    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        gc.unfreeze()


def _uncopied(world: World) -> dict[str, Any]:
    """The state for one who packs it at once: nothing has to be copied before."""
    columns = world.columns
    return {
        "tick": world.tick,
        "columns": {name: getattr(columns, name)[: columns.high] for name in NAMES},
        "tiles": world.tiles,
        "names": world.names,
        "personas": world.personas,
        "globals": world.globals,
        "places": [[p.key, p.name, p.x, p.y, p.radius, p.kind] for p in world.places.values()],
        "groups": [[n, g.name, g.species, g.leader] for n, g in world.groups.items()],
    }


def _packed(value: Any) -> Any:
    """What msgpack is told of an array: its kind, its shape and its memory, of which it takes what is in it."""
    return [value.dtype.str, value.shape, value.data.cast("B")]


def _slices(moment: Moment) -> list[float]:
    """Milliseconds on a core of each piece of work between two pauses."""
    took = []
    work = freezing(moment.state())
    ended = False
    while not ended:
        began = time.thread_time()
        ended = next(work, True) is True
        took.append((time.thread_time() - began) * 1e3)
    return took


def _p99(ascending: list[float]) -> float:
    return ascending[-1 - len(ascending) // 100]


def _share_rows(shares: Shares) -> list[dict[str, Any]]:
    who = f"{shares.entities:,} entities"
    ours, packed = statistics.median(shares.ours), statistics.median(shares.packed)
    ahead, slices = sorted(shares.ahead), sorted(shares.slices)
    return [
        {
            "metric": f"a checkpoint of {who}: its share of its tick",
            "unit": "ms",
            "value": round(ours, 2),
            "peer": "msgpack of the same state, in the tick",
            "peer_value": round(packed, 2),
            "ratio": round(packed / ours, 2),
            "at_least": 5,
        },
        _alone(f"... the longest of {len(shares.ours)}", max(shares.ours), LONGEST_SHARE_MS),
        # Of so many the longest tells of the machine: a host that stands still is counted to who was at work.
        _alone("... a share of its copy, in each tick before, p99", _p99(ahead), LONGEST_SHARE_MS),
        _alone(f"... the longest of {len(ahead):,}", ahead[-1]),
        _alone("... a slice of storage's work, p99", _p99(slices), LONGEST_SLICE_MS),
        _alone(f"... the longest of {len(slices):,}", slices[-1]),
    ]


def main() -> None:
    """Print the measurement, as a table or with `--json`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--folder", help="where to write; its disk is measured")
    arguments = parser.parse_args()
    found = run(arguments.folder)
    if arguments.json:
        print(json.dumps(found, indent=2))
        return
    for one in found["results"]:
        beside = f", ratio {one['ratio']} to {one['peer_value']}" if one["peer"] else ""
        print(f"{one['metric']}: {one['value']} {one['unit']}{beside}")


if __name__ == "__main__":
    main()
