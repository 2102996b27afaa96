"""Streams hold what the table says they hold, wherever they were moved, and are decoded side by side."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from models.llama.cells import OwnCells
from models.llama.prefix import SequenceTable
from models.llama.spill import Spill
from models.llama.streams import Part, Streams

EACH = 12


class SimulatedStreams:
    """Streams as llama.cpp keeps them: whole ones are copied, and not before the next decode.

    States of at most `most` tokens are carried at once.
    """

    def __init__(self, n: int, most: int = EACH) -> None:
        self.most = most
        self.cells: list[list[tuple[int, str]]] = [[] for _ in range(n)]
        self.lengths = [0] * n
        self.ordered: list[tuple[int, int]] = []
        self.adapter = ""

    def decode(self, parts: Sequence[Part]) -> NDArray[np.float32]:
        for source, target in self.ordered:
            self.cells[target] = list(self.cells[source])
        self.ordered.clear()
        for stream, position, tokens, _ in parts:
            assert position == self.lengths[stream]
            self.cells[stream][position:] = [(token, self.adapter) for token in tokens]
            self.lengths[stream] += len(tokens)
        return np.zeros((0, 1), dtype=np.float32)

    def carry(self, source: int, target: int) -> bool:
        if self.lengths[source] > self.most:
            return False
        assert all(target not in pair for pair in self.ordered)
        assert all(source != arriving for _, arriving in self.ordered)
        self.cells[target] = self.holds(source)
        self.lengths[target] = self.lengths[source]
        return True

    def copy(self, source: int, target: int, length: int) -> None:
        assert length == -1
        self.ordered.append((source, target))
        self.lengths[target] = self.lengths[source]

    def first(self, sequence: int) -> int:
        return 0

    def cut(self, sequence: int, length: int) -> None:
        self.lengths[sequence] = min(self.lengths[sequence], length)

    def save(self, sequence: int) -> bytes:
        return repr(self.cells[sequence][: self.lengths[sequence]]).encode()

    def load(self, sequence: int, state: bytes) -> bool:
        assert self.lengths[sequence] == 0
        self.cells[sequence] = eval(state)
        self.lengths[sequence] = len(self.cells[sequence])
        return True

    def holds(self, stream: int) -> list[tuple[int, str]]:
        return self.cells[stream][: self.lengths[stream]]


def decode(streams: Streams, table: SequenceTable, batch: list[tuple[int, list[int]]]) -> None:
    parts = [(sequence, table.length(sequence), rest, True) for sequence, rest in batch]
    streams.decode(sorted(parts, key=lambda part: streams.place(part[0])))
    for sequence, rest in batch:
        table.extend(sequence, rest)


prompts = st.lists(st.integers(0, 2), min_size=1, max_size=EACH)
asked = st.tuples(prompts, st.sampled_from(["", "wolf"]), st.integers(0, 3))


@settings(max_examples=150)
@given(
    st.lists(asked, max_size=40),
    st.sampled_from([0, 99_999]),
    st.sampled_from([0, 4, EACH]),
    st.booleans(),
)
def test_a_stream_holds_what_was_decoded_into_its_sequence_and_the_busy_ones_have_no_gap(
    work: list[tuple[list[int], str, int]], spill: int, carried: int, whole: bool
) -> None:
    memory = SimulatedStreams(5, carried)
    streams = Streams(memory, 5, whole=whole)
    cells = OwnCells(4, EACH, least_shared=1)
    table = SequenceTable(streams, 4, cells, spill=Spill(spill), spill_least=2)
    busy: dict[int, tuple[list[int], str]] = {}
    for values, adapter, ends in work:
        for sequence in list(busy)[: max(ends, len(busy) - 3)]:
            del busy[sequence]
            table.release(sequence)
        taken = table.acquire(np.array(values, dtype=np.int32), adapter)
        assert taken is not None
        sequence, reused = taken
        busy[sequence] = (values, adapter)
        streams.settle([list(busy)])
        assert sorted(map(streams.place, busy)) == list(range(len(busy)))
        memory.adapter = adapter
        decode(streams, table, [(sequence, values[reused:])])
        for each, (held, under) in busy.items():
            assert memory.holds(streams.place(each)) == [(value, under) for value in held]


def test_a_fork_leaves_its_source_as_it_was() -> None:
    memory = SimulatedStreams(4)
    streams = Streams(memory, 4)
    table = SequenceTable(streams, 3, OwnCells(3, EACH, least_shared=1))
    first, _ = table.acquire(np.array([1, 2, 3, 4], dtype=np.int32)) or (-1, -1)
    decode(streams, table, [(first, [1, 2, 3, 4])])
    second, reused = table.acquire(np.array([1, 2, 9], dtype=np.int32)) or (-1, -1)
    assert (reused, streams.copies) == (2, 1)
    streams.settle([[first, second]])
    decode(streams, table, [(second, [9]), (first, [5])])
    assert memory.holds(streams.place(first)) == [(v, "") for v in (1, 2, 3, 4, 5)]
    assert memory.holds(streams.place(second)) == [(v, "") for v in (1, 2, 9)]


def test_who_is_in_front_already_is_not_moved() -> None:
    streams = Streams(SimulatedStreams(9), 9)
    streams.settle([[1, 0, 2]])
    assert (streams.copies, [streams.place(each) for each in (0, 1, 2)]) == (0, [0, 1, 2])


def test_each_cohort_has_its_places_side_by_side() -> None:
    streams = Streams(SimulatedStreams(13), 13)
    wolves, people = [0, 3, 6, 9], [1, 2, 4, 5, 7]
    for cohorts in ([people, wolves], [people[1:], wolves], [people[1:], [*wolves, 8]]):
        streams.settle(cohorts)
        begin = 0
        for cohort in cohorts:
            places = sorted(map(streams.place, cohort))
            assert places == list(range(begin, begin + len(cohort)))
            begin += len(cohort)


def test_two_that_hold_something_change_places_through_the_spare_stream() -> None:
    memory = SimulatedStreams(4, most=0)
    streams = Streams(memory, 4)
    streams.decode([(0, 0, [1], False), (2, 0, [3, 3], False)])
    streams.settle([[2]])
    assert (streams.place(2), streams.place(0), streams.copies) == (0, 3, 2)
    streams.decode([(2, 2, [4], False)])
    assert [token for token, _ in memory.holds(0)] == [3, 3, 4]
    assert [token for token, _ in memory.holds(3)] == [1]
    streams.settle([[0]])
    assert (streams.place(0), streams.place(2), streams.copies) == (0, 2, 4)


def test_what_is_being_moved_is_neither_saved_nor_loaded_over() -> None:
    memory = SimulatedStreams(4, most=0)
    streams = Streams(memory, 4)
    streams.decode([(0, 0, [1, 2], False)])
    streams.copy(0, 1, 1)
    assert streams.save(1) == b""
    streams.cut(1, 0)
    assert not streams.load(1, b"[(7, '')]")
    streams.decode([(0, 2, [3], False)])
    assert streams.load(1, b"[(7, '')]")
    assert streams.save(1) == b"[(7, '')]"
