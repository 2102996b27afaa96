"""How many durable writes a second the store takes, beside one synced transaction each; how soon a tick is acknowledged."""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lmdb
import numpy as np

from world.store import Store, TickRecord, WorldMeta

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
            _wait("p99", waits[-1 - len(waits) // 100], at_most=100.0),
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


def _wait(which: str, seconds: float, at_most: float | None = None) -> dict[str, Any]:
    row: dict[str, Any] = {
        "metric": f"{which} from a tick's commit to its acknowledgement at {HZ} Hz",
        "unit": "ms",
        "value": round(seconds * 1e3, 2),
        "peer": None,
        "peer_value": None,
        "ratio": None,
    }
    return row if at_most is None else {**row, "at_most": at_most}


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
        beside = f", {one['ratio']} times {one['peer_value']}/s" if one["peer"] else ""
        print(f"{one['metric']}: {one['value']} {one['unit']}{beside}")


if __name__ == "__main__":
    main()
