"""A checkpoint is written whole or not at all, and every byte of it is checked."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from world.errors import StorageError
from world.moment import Table
from world.store import CheckpointDamaged, Reader, Store, TickRecord
from world.store.checkpoints import SLICE_ITEMS, freeze, freezing, read, write

Opened = Callable[..., Store]
Record = Callable[..., TickRecord]
State = Callable[[int], dict[str, Any]]

arrays = hnp.arrays(
    dtype=st.sampled_from(["u1", "i1", "i2", "i4", "i8", "u8", "f4", "f8", "?", ">i4", ">u8"]),
    shape=hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=5),
)
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False)
    | st.text(max_size=12)
    | st.binary(max_size=12)
    | arrays,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=4).map(tuple)
        | st.dictionaries(st.text(max_size=6) | st.integers(0, 99), inner, max_size=4)
    ),
    max_leaves=12,
)


def same(a: Any, b: Any) -> bool:
    if isinstance(a, np.ndarray):
        return (
            isinstance(b, np.ndarray)
            and a.shape == b.shape
            and a.dtype == b.dtype.newbyteorder(a.dtype.byteorder)
            and a.astype(a.dtype.newbyteorder("<")).tobytes() == b.tobytes()
        )
    if type(a) is not type(b):
        return False
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
    return bool(a == b)


def written(path: Path, state: dict[str, Any], slice_bytes: int = 100) -> tuple[int, bytes]:
    digests: list[bytes] = []
    path.unlink(missing_ok=True)
    frozen = freeze(state)
    for _ in write(path, frozen, slice_bytes, digests.append):
        assert not path.exists()
    return frozen.size, digests[0]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(st.dictionaries(st.text(max_size=6), values, max_size=5), st.integers(64, 400))
def test_a_state_comes_back_as_it_was(
    tmp_path: Path, state: dict[str, Any], slice_bytes: int
) -> None:
    size, digest = written(tmp_path / "c", state, slice_bytes)
    assert (tmp_path / "c").stat().st_size == size
    assert same(state, read(tmp_path / "c", size=size, digest=digest))


def test_arrays_that_come_back_can_be_written(tmp_path: Path) -> None:
    size, digest = written(tmp_path / "c", {"a": np.zeros(3, dtype=np.int32)})
    state = read(tmp_path / "c", size=size, digest=digest)
    state["a"][1] = 5
    assert state["a"].tolist() == [0, 5, 0]


@pytest.mark.parametrize(
    ("state", "where"),
    [
        ({"a": {"b": [1, {2}]}}, r"state\['a'\]\['b'\]\[1\] is a set"),
        ({"a": np.array([object()])}, r"state\['a'\] is an array of object"),
        ({"a": 2**64}, r"state\['a'\] is an integer of more than 64 bits"),
        ({"a": {1.5: 1}}, r"state\['a'\] has the key 1.5"),
    ],
)
def test_a_state_that_cant_be_kept_is_refused_by_its_key(state: dict[str, Any], where: str) -> None:
    with pytest.raises(StorageError, match=where):
        freeze(state)


def test_a_long_list_is_packed_in_slices_and_is_the_same_list(tmp_path: Path) -> None:
    count = 3 * SLICE_ITEMS + 1
    rows = [[n, f"name {n}", np.arange(2)] for n in range(count)]
    table = Table(range(count), lambda n: [n, f"name {n}"])
    size, digest = written(tmp_path / "c", {"tick": 1, "rows": rows, "table": table}, 10_000)
    state = read(tmp_path / "c", size=size, digest=digest)
    assert same(state["rows"], rows)
    assert state["table"] == [[n, f"name {n}"] for n in range(count)]
    assert len(list(freezing({"tick": 1, "table": table}))) == 4


def test_what_cant_be_kept_is_named_in_any_slice() -> None:
    rows: list[Any] = [[n] for n in range(2 * SLICE_ITEMS)]
    rows[SLICE_ITEMS + 3] = {4}
    with pytest.raises(StorageError, match=rf"state\['a'\]\[{SLICE_ITEMS}:\]\[3\] is a set"):
        freeze({"a": rows})


def test_writing_given_up_half_way_leaves_nothing_behind(tmp_path: Path) -> None:
    work = write(tmp_path / "c", freeze({"a": np.zeros(5000)}), 1000, lambda digest: None)
    next(work)
    next(work)
    assert [path.name for path in tmp_path.iterdir()] == ["c.tmp"]
    work.close()
    assert list(tmp_path.iterdir()) == []


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(st.data())
def test_one_flipped_bit_anywhere_is_found(tmp_path: Path, data: st.DataObject) -> None:
    path = tmp_path / "c"
    size, digest = written(path, {"tick": 3, "a": np.arange(20)})
    whole = bytearray(path.read_bytes())
    at = data.draw(st.integers(0, len(whole) * 8 - 1))
    whole[at // 8] ^= 1 << (at % 8)
    path.write_bytes(bytes(whole))
    with pytest.raises(CheckpointDamaged):
        read(path, size=size, digest=digest)


def test_another_whole_checkpoint_in_its_place_is_found(tmp_path: Path) -> None:
    size, digest = written(tmp_path / "a", {"tick": 3})
    written(tmp_path / "b", {"tick": 4})
    (tmp_path / "b").replace(tmp_path / "a")
    with pytest.raises(CheckpointDamaged, match="not as it was written"):
        read(tmp_path / "a", size=size, digest=digest)


def run(store: Store, record: Record, state: State, ticks: range, every: int = 10) -> None:
    for tick in ticks:
        store.append(record(tick), timeout=30)
        if tick % every == 0:
            store.checkpoint(state(tick))
            store.flush()
    store.flush()


@pytest.mark.parametrize("damage", ["truncate", "flip", "remove", "empty"])
def test_a_damaged_checkpoint_is_passed_over_for_the_one_before(
    tmp_path: Path, opened: Opened, record: Record, state: State, damage: str
) -> None:
    store = opened(tmp_path / "w")
    run(store, record, state, range(1, 36))
    newest = store.path / "checkpoints" / store.checkpoints()[-1].name
    store.close()
    whole = newest.read_bytes()
    match damage:
        case "truncate":
            newest.write_bytes(whole[:-7])
        case "flip":
            newest.write_bytes(whole[:40] + bytes([whole[40] ^ 8]) + whole[41:])
        case "remove":
            newest.unlink()
        case _:
            newest.write_bytes(b"")
    recovery = opened(tmp_path / "w").recover()
    assert recovery.checkpoint is not None
    assert recovery.checkpoint.tick == 20
    assert recovery.state is not None
    assert same(state(20), recovery.state)
    assert list(recovery.records) == [record(tick) for tick in range(21, 36)]
    assert len(recovery.warnings) == 1
    assert "checkpoint of tick 30 was passed over" in recovery.warnings[0]


def test_without_a_whole_checkpoint_the_journal_is_stepped_from_the_first_tick(
    tmp_path: Path, opened: Opened, record: Record, state: State
) -> None:
    store = opened(tmp_path / "w")
    run(store, record, state, range(1, 26))
    for file in (store.path / "checkpoints").iterdir():
        file.write_bytes(b"x")
    recovery = store.recover()
    assert recovery.state is None
    assert list(recovery.records) == [record(tick) for tick in range(1, 26)]
    assert len(recovery.warnings) == 2


def test_without_a_whole_checkpoint_and_with_a_trimmed_journal_recovery_is_refused(
    tmp_path: Path, opened: Opened, record: Record, state: State
) -> None:
    store = opened(tmp_path / "w", keep_checkpoints=1)
    run(store, record, state, range(1, 26))
    for file in (store.path / "checkpoints").iterdir():
        file.write_bytes(b"x")
    with pytest.raises(StorageError, match="no whole checkpoint"):
        store.recover()


def test_only_the_last_checkpoints_and_the_journal_behind_them_are_kept(
    tmp_path: Path, opened: Opened, record: Record, state: State
) -> None:
    store = opened(tmp_path / "w", keep_checkpoints=3)
    store.checkpoint(state(0))
    run(store, record, state, range(1, 98))
    assert [info.tick for info in store.checkpoints()] == [70, 80, 90]
    assert len(list((store.path / "checkpoints").iterdir())) == 3
    assert store.reader.first_tick() == 71
    for info in store.checkpoints():
        ticks = [r.tick for r in store.reader.records(info)]
        assert ticks == list(range(info.tick + 1, 98))
    store.close()
    run(opened(tmp_path / "w", keep_checkpoints=3), record, state, range(98, 131))
    with pytest.raises(StorageError, match="already open"):
        Reader.open(tmp_path / "w")


def test_a_journal_longer_than_one_slice_is_trimmed_to_the_oldest_checkpoint(
    tmp_path: Path, opened: Opened, record: Record, state: State
) -> None:
    store = opened(tmp_path / "w", keep_checkpoints=1)
    for tick in range(1, 4501):
        store.append(record(tick), timeout=30)
    store.checkpoint(state(4500))
    store.flush()
    assert store.reader.first_tick() == 1  # nothing was let go yet: the journal is whole
    run(store, record, state, range(4501, 4511))
    assert store.reader.first_tick() is None
    run(store, record, state, range(4511, 4516))
    assert store.reader.first_tick() == 4511


def test_the_first_checkpoint_is_never_skipped_however_fast_others_follow(
    tmp_path: Path, opened: Opened, record: Record, state: State
) -> None:
    store = opened(tmp_path / "w", slice_bytes=64)
    store.checkpoint(state(0))
    for tick in range(1, 30):
        store.append(record(tick))
        store.checkpoint(state(tick))
    store.flush()
    ticks = [info.tick for info in store.checkpoints()]
    stats = store.stats()
    assert ticks[-1] == 29
    assert int(stats["checkpoints_written"]) + int(stats["checkpoints_skipped"]) == 30
    if int(stats["checkpoints_written"]) <= 4:
        assert ticks[0] == 0


def test_a_checkpoint_of_another_tick_than_the_last_is_refused(
    tmp_path: Path, opened: Opened, record: Record, state: State
) -> None:
    store = opened(tmp_path / "w")
    run(store, record, state, range(1, 4))
    for tick in (2, 4):
        with pytest.raises(StorageError, match=f"of tick {tick}, but tick 3"):
            store.checkpoint(state(tick))
    with pytest.raises(StorageError, match="needs its tick"):
        store.checkpoint({"rows": 1})


def test_a_second_checkpoint_of_a_tick_takes_the_place_of_the_first(
    tmp_path: Path, opened: Opened, record: Record, state: State
) -> None:
    store = opened(tmp_path / "w")
    run(store, record, state, range(1, 11))
    store.checkpoint(state(10) | {"again": True})
    store.flush()
    assert [info.tick for info in store.checkpoints()] == [10]
    assert store.load_checkpoint(10)["again"] is True
    assert len(list((store.path / "checkpoints").iterdir())) == 1


def test_files_no_entry_names_are_swept_when_the_world_is_opened(
    tmp_path: Path, opened: Opened, record: Record, state: State
) -> None:
    store = opened(tmp_path / "w")
    run(store, record, state, range(1, 11))
    store.close()
    folder = tmp_path / "w" / "checkpoints"
    (folder / "0000000000000099-1.ckpt.tmp").write_bytes(b"half")
    (folder / "0000000000000099-1.ckpt").write_bytes(b"never entered")
    store = opened(tmp_path / "w")
    assert [path.name for path in folder.iterdir()] == [store.checkpoints()[0].name]


def test_a_checkpoint_that_cant_be_written_is_counted_and_ticks_go_on(
    tmp_path: Path, opened: Opened, record: Record, state: State
) -> None:
    store = opened(tmp_path / "w")
    run(store, record, state, range(1, 11))
    folder = tmp_path / "w" / "checkpoints"
    folder.rename(tmp_path / "elsewhere")
    run(store, record, state, range(11, 21))
    assert store.stats()["checkpoint_errors"] == 1
    assert "No such file" in str(store.stats()["last_checkpoint_error"])
    assert store.error is None
    (tmp_path / "elsewhere").rename(folder)
    run(store, record, state, range(21, 31))
    assert [info.tick for info in store.checkpoints()] == [10, 30]
    assert store.synced_tick == 30
