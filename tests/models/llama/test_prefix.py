"""The sequence table agrees with a memory that simulates llama.cpp's cells, whatever is done to it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.llama.prefix import SequenceTable


class SimulatedMemory:
    """Unified cells as llama.cpp keeps them: a cell per decoded token, shared by sequences."""

    def __init__(self) -> None:
        self.cells: dict[int, list[object]] = {}

    def copy(self, source: int, target: int, length: int) -> None:
        assert not self.cells.get(target)
        self.cells[target] = self.cells[source][:length]

    def cut(self, sequence: int, length: int) -> None:
        del self.cells[sequence][length:]

    def decode(self, sequence: int, count: int) -> None:
        self.cells.setdefault(sequence, []).extend(object() for _ in range(count))

    @property
    def used(self) -> int:
        return len({id(cell) for cells in self.cells.values() for cell in cells})


def tokens(*values: int) -> np.ndarray:
    return np.array(values, dtype=np.int32)


def feed(table: SequenceTable, memory: SimulatedMemory, sequence: int, rest: np.ndarray) -> None:
    table.extend(sequence, rest.tolist())
    memory.decode(sequence, len(rest))


prompts = st.lists(st.integers(0, 2), min_size=1, max_size=12)


@settings(max_examples=60)
@given(st.lists(st.tuples(prompts, st.booleans()), max_size=30))
def test_the_table_always_knows_which_cells_are_free(work: list[tuple[list[int], bool]]) -> None:
    memory = SimulatedMemory()
    table = SequenceTable(memory, n_seq=4, n_cells=40)
    busy: list[int] = []
    for values, finishes in work:
        prompt = tokens(*values)
        if len(busy) == 4:
            table.release(busy.pop(0))
        taken = table.acquire(prompt)
        assert taken is not None
        sequence, reused = taken
        assert reused < len(prompt)
        assert table.length(sequence) == reused == len(memory.cells.get(sequence, []))
        while not table.make_room(len(prompt) - reused):
            table.release(busy.pop(0))
        feed(table, memory, sequence, prompt[reused:])
        busy.append(sequence)
        if finishes:
            busy.remove(sequence)
            table.release(sequence)
        assert table.free_cells == 40 - memory.used


def test_a_second_request_decodes_only_what_differs() -> None:
    memory = SimulatedMemory()
    table = SequenceTable(memory, n_seq=4, n_cells=100)
    first, reused = table.acquire(tokens(1, 2, 3, 4, 5)) or (-1, -1)
    assert reused == 0
    feed(table, memory, first, tokens(1, 2, 3, 4, 5))
    second, reused = table.acquire(tokens(1, 2, 3, 9)) or (-1, -1)
    assert (second != first, reused) == (True, 3)
    assert memory.used == 5


def test_the_last_token_is_always_decoded_again() -> None:
    memory = SimulatedMemory()
    table = SequenceTable(memory, n_seq=2, n_cells=10)
    sequence, _ = table.acquire(tokens(1, 2)) or (-1, -1)
    feed(table, memory, sequence, tokens(1, 2))
    table.release(sequence)
    assert table.acquire(tokens(1, 2)) == (1, 1)


def test_the_least_recently_used_prefix_goes_first() -> None:
    memory = SimulatedMemory()
    table = SequenceTable(memory, n_seq=3, n_cells=100)
    for start in (10, 20, 30):
        sequence, _ = table.acquire(tokens(start, 1)) or (-1, -1)
        feed(table, memory, sequence, tokens(start, 1))
        table.release(sequence)
    touched, _ = table.acquire(tokens(10, 1, 2)) or (-1, -1)
    feed(table, memory, touched, tokens(2))
    table.release(touched)
    table.acquire(tokens(40, 1))
    assert table.longest_prefix(tokens(20, 1, 5)) == (-1, 0)
    assert table.longest_prefix(tokens(10, 1, 5))[1] == 2
    assert table.evicted == 1


def test_no_sequence_is_given_when_all_are_busy() -> None:
    table = SequenceTable(SimulatedMemory(), n_seq=1, n_cells=10)
    assert table.acquire(tokens(1)) == (0, 0)
    assert table.acquire(tokens(2)) is None


def test_room_is_promised_only_where_idle_prefixes_can_make_it() -> None:
    memory = SimulatedMemory()
    table = SequenceTable(memory, n_seq=3, n_cells=10)
    sequence, _ = table.acquire(tokens(*range(6))) or (-1, -1)
    feed(table, memory, sequence, tokens(*range(6)))
    assert not table.fits(tokens(9, 9, 9, 9, 9), extra=0, promised=0)
    assert table.fits(tokens(0, 1, 2, 3, 9), extra=3, promised=0)
    table.release(sequence)
    assert table.fits(tokens(9, 9, 9, 9, 9), extra=5, promised=0)
    assert not table.fits(tokens(9, 9, 9, 9, 9), extra=5, promised=1)


def test_a_table_that_may_not_share_reuses_nothing() -> None:
    memory = SimulatedMemory()
    table = SequenceTable(memory, n_seq=2, n_cells=10, shares=False)
    sequence, _ = table.acquire(tokens(1, 2, 3)) or (-1, -1)
    feed(table, memory, sequence, tokens(1, 2, 3))
    table.release(sequence)
    taken = table.acquire(tokens(1, 2, 3))
    assert taken is not None
    assert taken[1] == 0


@pytest.mark.parametrize("length", [0, 3])
def test_cutting_frees_what_nobody_else_holds(length: int) -> None:
    memory = SimulatedMemory()
    table = SequenceTable(memory, n_seq=2, n_cells=10)
    sequence, _ = table.acquire(tokens(1, 2, 3, 4)) or (-1, -1)
    feed(table, memory, sequence, tokens(1, 2, 3, 4))
    table.cut(sequence, length)
    assert table.free_cells == 10 - length
