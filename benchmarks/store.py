"""How many durable ticks a second the store takes, beside one synced transaction a write."""

from __future__ import annotations

import argparse
import json
import os
import platform
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lmdb

from world.store import Store, TickRecord, WorldMeta

VALUE_BYTES = 200
SINGLE = 2_000
GROUPED = 100_000
GROUP = 1_000
TICKS = 20_000


def run(folder: str | Path | None = None, *, scale: float = 1.0) -> dict[str, Any]:
    """Measure in `folder` (default: the working folder, whose disk is then measured); all on one disk.

    Returns {bench, machine, results: [{metric, unit, value, peer, peer_value, ratio, at_least}]}.
    Rates are of writes that are synced when the clock stops. `scale` shortens or lengthens the run.
    """
    with tempfile.TemporaryDirectory(prefix=".bench-store-", dir=folder or Path.cwd()) as name:
        at = Path(name)
        # the peer is measured before and after, so that a disk that warms up favours neither
        before = _single(at / "single-1", max(100, int(SINGLE * scale) // 2))
        grouped = _groups(at / "grouped", max(GROUP, int(GROUPED * scale)))
        ticks = _ticks(at / "ticks", max(500, int(TICKS * scale)))
        after = _single(at / "single-2", max(100, int(SINGLE * scale) // 2))
    single = 2 / (1 / before + 1 / after)
    return {
        "bench": "store",
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores,"
        f" Python {platform.python_version()}, LMDB {'.'.join(map(str, lmdb.version()))}",
        "results": [
            _result(
                f"durable puts of {VALUE_BYTES} bytes, {GROUP} a transaction", grouped, single, 5
            ),
            _result(f"durable ticks of {VALUE_BYTES} bytes through Store.append", ticks, single, 5),
        ],
    }


def _result(metric: str, value: float, peer_value: float, at_least: float) -> dict[str, Any]:
    return {
        "metric": metric,
        "unit": "1/s",
        "value": round(value),
        "peer": "LMDB, one synced transaction a put",
        "peer_value": round(peer_value),
        "ratio": round(value / peer_value, 2),
        "at_least": at_least,
    }


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


def _ticks(path: Path, count: int) -> float:
    pad = os.urandom(VALUE_BYTES - 45)
    records = [
        TickRecord(tick, 1, tick, (["move", 1, "npc:1", tick, {"data": pad}],))
        for tick in range(1, count + 1)
    ]
    with Store.open(path, create=WorldMeta(scene="bench", seed=1)) as store:
        started = time.perf_counter()
        for record in records:
            store.append(record, timeout=60)
        if not store.wait_synced(count, timeout=300):
            raise RuntimeError("the store did not catch up")
        return count / (time.perf_counter() - started)


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
        print(f"{one['metric']}: {one['value']}/s, {one['ratio']} times {one['peer_value']}/s")


if __name__ == "__main__":
    main()
