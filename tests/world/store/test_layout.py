"""Older layouts are brought forward after a backup, newer ones refused by name, one process a world."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lmdb
import msgpack
import pytest

from world.errors import NewerLayout, StorageError, WorldBusy
from world.store import Reader, Store, TickRecord, WorldMeta
from world.store.checkpoints import freeze, write
from world.store.layout import LAYOUT, back_up, open_env

Opened = Callable[..., Store]
Record = Callable[..., TickRecord]
State = Callable[[int], dict[str, Any]]


def set_layout(path: Path, layout: int) -> None:
    with lmdb.Environment(
        str(path / "world.mdb"), subdir=False, max_dbs=8, map_size=1 << 24
    ) as env:
        meta = env.open_db(b"meta")
        with env.begin(write=True, db=meta) as txn:
            txn.put(b"layout", layout.to_bytes(4, "big"))


def make_layout_0(
    path: Path, record: Record, state: State, ticks: range, checkpoints: tuple[int, ...]
) -> None:
    """A world as layout 0 had it: bare payloads, no head, no epoch in the meta, no links."""
    folder = path / "checkpoints"
    folder.mkdir(parents=True)
    entries: dict[int, bytes] = {}
    for tick in checkpoints:
        digests: list[bytes] = []
        frozen = freeze(state(tick))
        for _ in write(folder / f"{tick}.ckpt", frozen, 1 << 20, digests.append):
            pass
        told = record(tick).hash if tick in ticks else None
        entries[tick] = msgpack.packb([1, told, f"{tick}.ckpt", frozen.size, digests[0]])
    with lmdb.Environment(
        str(path / "world.mdb"), subdir=False, max_dbs=8, map_size=1 << 24
    ) as env:
        meta, journal, index, talk = (
            env.open_db(name) for name in (b"meta", b"journal", b"checkpoints", b"conversations")
        )
        assert talk is not None
        with env.begin(write=True) as txn:
            told_meta = {"scene": "valley", "seed": 7, "npcs": 40, "ruleset_digest": "aa55"}
            txn.put(b"world", json.dumps(told_meta).encode(), db=meta)
            for tick in ticks:
                txn.put(tick.to_bytes(8, "big"), record(tick).pack(), db=journal)
            for tick, data in entries.items():
                txn.put(tick.to_bytes(8, "big"), data, db=index)


def test_a_newer_layout_is_refused_by_name_and_left_as_it_is(
    tmp_path: Path, opened: Opened
) -> None:
    opened(tmp_path / "w").close()
    set_layout(tmp_path / "w", LAYOUT + 6)
    before = (tmp_path / "w" / "world.mdb").read_bytes()
    for open_it in (Store.open, Reader.open):
        with pytest.raises(NewerLayout, match=f"layout {LAYOUT + 6}.*up to layout {LAYOUT}"):
            open_it(tmp_path / "w")
    assert (tmp_path / "w" / "world.mdb").read_bytes() == before
    set_layout(tmp_path / "w", LAYOUT)
    opened(tmp_path / "w")


@pytest.mark.parametrize(
    ("ticks", "checkpoints"),
    [
        (range(1, 60), (0, 20, 40)),
        (range(21, 60), (20, 40)),
        (range(1, 600), (0,)),
        (range(1, 8), ()),
        (range(0, 0), (0,)),
        (range(31, 41), (30, 40)),
    ],
)
def test_layout_0_is_brought_forward_after_a_backup_and_goes_on(
    tmp_path: Path,
    opened: Opened,
    record: Record,
    state: State,
    ticks: range,
    checkpoints: tuple[int, ...],
) -> None:
    path = tmp_path / "w"
    make_layout_0(path, record, state, ticks, checkpoints)
    shutil.copytree(path, tmp_path / "was")
    store = opened(path)
    assert store.migrated_from == path / "backups" / "layout-0"
    assert (store.epoch, store.meta.scene, store.meta.npcs) == (1, "valley", 40)
    assert [info.tick for info in store.checkpoints()] == list(checkpoints)
    for info in store.checkpoints():
        assert store.reader.load(info)["tick"] == info.tick
        wanted = [record(tick) for tick in ticks if tick > info.tick]
        assert list(store.reader.records(info)) == wanted
    last = max([*ticks, *checkpoints])
    assert store.last_tick == last
    store.append(record(last + 1))
    store.flush()
    assert [r.tick for r in store.recover().records][-1:] == [last + 1]
    store.close()
    assert opened(path).migrated_from is None


def test_the_backup_of_a_migration_is_the_world_as_it_was(
    tmp_path: Path, opened: Opened, record: Record, state: State
) -> None:
    path = tmp_path / "w"
    make_layout_0(path, record, state, range(1, 30), (0, 20))
    opened(path).close()
    backup = path / "backups" / "layout-0"
    assert sorted(p.name for p in (backup / "checkpoints").iterdir()) == ["0.ckpt", "20.ckpt"]
    with lmdb.Environment(
        str(backup / "world.mdb"), subdir=False, max_dbs=8, readonly=True, lock=False
    ) as env:
        journal = env.open_db(b"journal", create=False)
        with env.begin(db=journal) as txn:
            kept = [TickRecord.unpack(value) for _, value in txn.cursor()]
    assert kept == [record(tick) for tick in range(1, 30)]
    restored = tmp_path / "restored"
    shutil.copytree(backup, restored)
    assert opened(restored).recover().last_tick == 29


def test_a_backup_broken_off_is_made_anew_and_older_backups_stay(
    tmp_path: Path, record: Record, state: State
) -> None:
    path = tmp_path / "w"
    make_layout_0(path, record, state, range(1, 5), (0,))
    (path / "backups" / ".unfinished").mkdir(parents=True)
    (path / "backups" / ".unfinished" / "world.mdb").write_bytes(b"half")
    env = open_env(path, map_bytes=1 << 24)
    try:
        names = [back_up(path, env, 0).name for _ in range(3)]
    finally:
        env.close()
    assert names == ["layout-0", "layout-0-2", "layout-0-3"]
    assert sorted(p.name for p in (path / "backups").iterdir()) == names


def test_an_older_layout_is_not_brought_forward_by_a_reader(
    tmp_path: Path, record: Record, state: State
) -> None:
    make_layout_0(tmp_path / "w", record, state, range(1, 5), (0,))
    with pytest.raises(StorageError, match="older storage layout 0"):
        Reader.open(tmp_path / "w")


def test_a_second_opener_in_this_process_is_told_the_world_is_busy(
    tmp_path: Path, opened: Opened, meta: WorldMeta
) -> None:
    store = opened(tmp_path / "w")
    with pytest.raises(WorldBusy, match=str(os.getpid())):
        Store.open(tmp_path / "w", create=meta)
    store.close()
    opened(tmp_path / "w")


def test_a_second_process_is_told_the_world_is_busy_but_may_read(
    tmp_path: Path, opened: Opened, record: Record
) -> None:
    store = opened(tmp_path / "w")
    for tick in range(1, 6):
        store.append(record(tick))
    store.flush()
    script = """
import sys
from world.errors import WorldBusy
from world.store import Reader, Store
try:
    Store.open(sys.argv[1])
except WorldBusy as error:
    print(error.message)
with Reader.open(sys.argv[1]) as reader:
    print([r.tick for r in reader.records(None)])
"""
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "w")],
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    busy, ticks = done.stdout.splitlines()
    assert busy.endswith(f"is held by another Greenroom (process {os.getpid()})")
    assert ticks == "[1, 2, 3, 4, 5]"


@pytest.mark.parametrize("empty", [True, False])
def test_checkpoints_whose_database_is_lost_are_not_swept_for_a_new_world(
    tmp_path: Path, opened: Opened, record: Record, state: State, meta: WorldMeta, empty: bool
) -> None:
    path = tmp_path / "world"
    with opened(path) as store:
        for tick in range(3):
            store.append(record(tick))
        store.checkpoint(state(2))
        store.flush()
    kept = sorted((path / "checkpoints").iterdir())
    assert kept
    (path / "world.mdb").unlink()
    if empty:
        (path / "world.mdb").touch()
        with pytest.raises(StorageError, match="is empty"):
            Reader.open(path)
    for _ in range(2):
        with pytest.raises(StorageError, match="is gone"):
            Store.open(path, create=meta)
    assert sorted((path / "checkpoints").iterdir()) == kept


OPEN_ALL = """
import shutil, sys
from pathlib import Path
from foundation.errors import GreenroomError
from world.store import Store
from world.store.inspect import describe

whole, cut, how = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
size = (whole / "world.mdb").stat().st_size
for pages in range(2, size // 4096):
    shutil.rmtree(cut, ignore_errors=True)
    shutil.copytree(whole, cut)
    with (cut / "world.mdb").open("r+b") as file:
        file.truncate(4096 * pages)
    try:
        if how == "to read":
            describe(cut, verify=True)
        else:
            with Store.open(cut) as store:
                store.recover()
    except GreenroomError as error:
        print(pages, error.code, error.message)
    else:
        print(pages, "whole enough")
"""


@pytest.mark.skipif(os.name == "nt", reason="another kind of map")
@pytest.mark.parametrize("how", ["to read", "to write"])
def test_a_file_cut_short_is_an_error_and_not_the_end_of_the_process(
    tmp_path: Path, opened: Opened, record: Record, state: State, how: str
) -> None:
    with opened(tmp_path / "whole") as store:
        for tick in range(40):
            store.append(record(tick, size=300))
            if tick % 20 == 0:
                store.checkpoint(state(tick))
    done = subprocess.run(
        [sys.executable, "-c", OPEN_ALL, str(tmp_path / "whole"), str(tmp_path / "cut"), how],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    told = done.stdout.splitlines()
    assert len(told) > 5
    assert sum("storage" in line for line in told) > len(told) // 2
