"""Copies whose memory is used again, and never under the eyes of somebody who still looks at one."""

from __future__ import annotations

import gc
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from world.buffers import KEPT, Buffers

MOST = 6
acts = st.lists(
    st.tuples(
        st.sampled_from(["copy", "drop", "row", "bytes"]),
        st.integers(0, 9),
        st.integers(0, MOST),
        st.integers(-(2**63), 2**63 - 1),
    ),
    max_size=40,
)


def address(values: NDArray[Any]) -> int:
    place: int = values.__array_interface__["data"][0]
    return place


@given(acts)
def test_what_is_held_stays_as_it_was_however_many_copies_follow(
    acts: list[tuple[str, int, int, int]],
) -> None:
    buffers = Buffers((3, MOST), np.dtype(np.int64))
    held: list[tuple[Any, NDArray[np.int64]]] = []
    for act, which, size, value in acts:
        if act == "copy":
            source = np.full((3, size), value, dtype=np.int64)
            source[1] //= 3
            held.append((buffers.copy(source), source.copy()))
            source[:] = 0
        elif not held:
            continue
        elif act == "drop":
            del held[which % len(held)]
        else:
            # Only a part is held from now on, as an array or as what is written to a file.
            view, was = held.pop(which % len(held))
            if act == "row" and isinstance(view, np.ndarray) and view.ndim == 2:
                view, was = view[1], was[1]
            elif isinstance(view, np.ndarray):
                view = np.ascontiguousarray(view).reshape(-1).view(np.uint8).data
            held.append((view, was))
        for view, was in held:
            assert bytes(view) == was.tobytes()


def test_the_memory_of_a_copy_that_nobody_holds_is_used_again() -> None:
    buffers = Buffers((2, 50), np.dtype(np.int64))
    source = np.arange(100, dtype=np.int64).reshape(2, 50)
    places = set()
    last = buffers.copy(source)
    for n in range(10):
        now = buffers.copy(source + n)
        places |= {address(last), address(now)}
        last = now
    assert len(places) == KEPT


def test_a_copy_can_never_be_written() -> None:
    copy = Buffers((4,), np.dtype(np.uint8)).copy(np.arange(4, dtype=np.uint8))
    with pytest.raises(ValueError, match="read-only"):
        copy[0] = 1
    with pytest.raises(ValueError, match="WRITEABLE"):
        copy.setflags(write=True)
    assert copy.base is not None
    with pytest.raises(ValueError, match="WRITEABLE"):
        copy.base.setflags(write=True)


def test_readers_who_are_late_cost_memory_only_as_long_as_they_read() -> None:
    buffers = Buffers((1000,), np.dtype(np.int64))
    late = [buffers.copy(np.full(1000, n)) for n in range(5)]
    assert [int(copy[7]) for copy in late] == [0, 1, 2, 3, 4]
    assert len({address(copy) for copy in late}) == 5
    late.clear()
    gc.collect()
    again = {address(buffers.copy(np.zeros(1000, dtype=np.int64))) for _ in range(5)}
    assert len(again) <= KEPT
