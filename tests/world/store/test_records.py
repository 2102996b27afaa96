"""What is packed comes back as it was, and what isn't whole is refused."""

from __future__ import annotations

from enum import IntEnum
from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from world.errors import StorageError
from world.store.records import GENESIS, CheckpointInfo, TickRecord, link_of

plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False)
    | st.text(max_size=20)
    | st.binary(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=4).map(tuple)
        | st.dictionaries(st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=12,
)
rows = st.lists(st.lists(plain, max_size=5), max_size=6).map(tuple)
records = st.builds(
    TickRecord,
    tick=st.integers(0, 2**63 - 1),
    epoch=st.integers(1, 2**31),
    hash=st.integers(0, 2**64 - 1),
    inputs=rows,
    events=rows,
)


@given(records)
def test_a_record_comes_back_as_it_was(record: TickRecord) -> None:
    assert TickRecord.unpack(record.pack()) == record


def test_lists_stay_lists_and_tuples_tuples() -> None:
    class Colour(IntEnum):
        RED = 3

    row = ["spawn", {"home": (1, 2), "path": [(3, 4), [5]], "colour": Colour.RED}]
    back = TickRecord.unpack(TickRecord(1, 1, 0, inputs=(row,)).pack())
    assert back.inputs == (["spawn", {"home": (1, 2), "path": [(3, 4), [5]], "colour": 3}],)


@given(records, st.data())
def test_a_record_cut_short_is_refused(record: TickRecord, data: st.DataObject) -> None:
    packed = record.pack()
    cut = data.draw(st.integers(0, len(packed) - 1))
    with pytest.raises(StorageError):
        TickRecord.unpack(packed[:cut])


@given(st.binary(max_size=64) | plain.map(lambda value: msgpack.packb(value)))
def test_bytes_that_are_no_record_are_refused_with_a_storage_error(data: bytes) -> None:
    try:
        record = TickRecord.unpack(data)
    except StorageError:
        return
    assert TickRecord.unpack(record.pack()) == record


@pytest.mark.parametrize(
    "numbers", [(-1, 1, 0), (0, -1, 0), (0, 1, -1), (0, 1, 2**64), (2**63, 1, 0)]
)
def test_numbers_out_of_range_are_refused(numbers: tuple[int, int, int]) -> None:
    with pytest.raises(StorageError, match="out of range"):
        TickRecord(*numbers).pack()


@pytest.mark.parametrize("bad", [2**64, object(), "\ud800"])
def test_what_msgpack_cant_say_is_refused_by_tick(bad: Any) -> None:
    with pytest.raises(StorageError, match="tick 5"):
        TickRecord(5, 1, 0, inputs=([bad],)).pack()


@given(
    st.builds(
        CheckpointInfo,
        tick=st.integers(0, 2**63),
        epoch=st.integers(1, 99),
        hash=st.none() | st.integers(0, 2**64 - 1),
        link=st.binary(min_size=8, max_size=8),
        name=st.text(max_size=30),
        size=st.integers(0, 2**40),
        digest=st.binary(min_size=32, max_size=32),
        ruleset_digest=st.text(max_size=32),
    )
)
def test_a_checkpoints_entry_comes_back_as_it_was(info: CheckpointInfo) -> None:
    assert CheckpointInfo.unpack(info.pack()) == info


@given(st.binary(), st.binary(), st.integers(0, 7))
def test_a_link_depends_on_the_payload_and_on_the_link_before(a: bytes, b: bytes, at: int) -> None:
    assert (link_of(GENESIS, a) == link_of(GENESIS, b)) == (a == b)
    other = bytearray(GENESIS)
    other[at] ^= 1
    assert link_of(GENESIS, a) != link_of(bytes(other), a)
