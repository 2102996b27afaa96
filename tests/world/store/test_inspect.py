"""A folder tells what it holds, to people and to programs."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lmdb
import pytest

from world.errors import StorageError
from world.store import Store, TickRecord, describe

Opened = Callable[..., Store]
Record = Callable[..., TickRecord]
State = Callable[[int], dict[str, Any]]


def fill(store: Store, record: Record, state: State) -> None:
    store.checkpoint(state(0))
    for tick in range(1, 31):
        store.append(record(tick))
        store.put_turn(tick % 2, "ann", {"text": "x"})
        store.put_call({"prompt": "p"})
    store.checkpoint(state(30))
    store.flush()


def test_a_world_is_described_as_json(
    tmp_path: Path, opened: Opened, record: Record, state: State
) -> None:
    path = tmp_path / "w"
    store = opened(path)
    fill(store, record, state)
    store.close()
    told = json.loads(json.dumps(describe(path, verify=True)))
    assert told["layout"] == 1
    assert told["meta"]["scene"] == "valley"
    assert told["meta"]["epoch"] == 1
    assert told["journal"] == {"first": 1, "last": 30, "ticks": 30}
    assert [one["tick"] for one in told["checkpoints"]] == [0, 30]
    assert [one["hash"] for one in told["checkpoints"]] == [None, f"{record(30).hash:016x}"]
    assert told["conversations"] == {"pairs": 2, "turns": 30}
    assert told["calls"] == 30
    assert told["sizes"]["checkpoints"] == sum(one["bytes"] for one in told["checkpoints"])
    assert 0 < told["sizes"]["used"] <= told["sizes"]["database"]
    assert told["damage"] == []


def test_damage_is_told(tmp_path: Path, opened: Opened, record: Record, state: State) -> None:
    path = tmp_path / "w"
    store = opened(path)
    fill(store, record, state)
    first, second = store.checkpoints()
    store.close()
    file = path / "checkpoints" / second.name
    file.write_bytes(file.read_bytes()[:-1])
    assert describe(path)["damage"] == [
        f"{second.name} has {second.size - 1} bytes instead of {second.size}"
    ]
    (path / "checkpoints" / first.name).write_bytes(b"\0" * first.size)
    with lmdb.Environment(
        str(path / "world.mdb"), subdir=False, max_dbs=8, map_size=1 << 24
    ) as env:
        journal = env.open_db(b"journal")
        with env.begin(write=True, db=journal) as txn:
            txn.delete((17).to_bytes(8, "big"))
    assert len(describe(path)["damage"]) == 1
    told = describe(path, verify=True)["damage"]
    assert len(told) == 3
    assert told[0] == f"{first.name} is not as it was written"
    assert told[2] == "tick 17: missing from the journal"


def test_a_running_world_can_be_described_from_another_process(
    tmp_path: Path, opened: Opened, record: Record, state: State
) -> None:
    fill(opened(tmp_path / "w"), record, state)
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys; from world.store import describe; print(describe(sys.argv[1])['journal'])",
            str(tmp_path / "w"),
        ],
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stdout.strip() == "{'first': 1, 'last': 30, 'ticks': 30}"


def test_a_folder_without_a_world_is_no_description(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="holds no world"):
        describe(tmp_path)
