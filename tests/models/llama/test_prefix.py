"""The sequence table agrees with a memory that simulates llama.cpp's cells, whatever is done to it."""

from __future__ import annotations

import json
from array import array

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.llama.cells import OwnCells, SharedCells
from models.llama.prefix import SequenceTable
from models.llama.spill import Spill


class SimulatedMemory:
    """Unified cells as llama.cpp keeps them: a cell per decoded token, shared by sequences."""

    def __init__(self) -> None:
        self.cells: dict[int, list[tuple[int, str, object]]] = {}

    def place(self, sequence: int) -> int:
        return sequence

    def first(self, sequence: int) -> int:
        return 0

    def copy(self, source: int, target: int, length: int) -> None:
        assert not self.cells.get(target)
        self.cells[target] = self.cells[source][:length]

    def cut(self, sequence: int, length: int) -> None:
        del self.cells.setdefault(sequence, [])[length:]

    def save(self, sequence: int) -> bytes:
        return json.dumps([cell[:2] for cell in self.cells[sequence]]).encode()

    def load(self, sequence: int, state: bytes) -> bool:
        assert not self.cells.get(sequence)
        self.cells[sequence] = [(token, adapter, object()) for token, adapter in json.loads(state)]
        return True

    def decode(self, sequence: int, values: list[int], adapter: str = "") -> None:
        self.cells.setdefault(sequence, []).extend((v, adapter, object()) for v in values)

    def holds(self, sequence: int) -> list[tuple[int, str]]:
        return [cell[:2] for cell in self.cells.get(sequence, [])]

    @property
    def used(self) -> int:
        return len({id(cell[2]) for cells in self.cells.values() for cell in cells})


def tokens(*values: int) -> np.ndarray:
    return np.array(values, dtype=np.int32)


def feed(table: SequenceTable, memory: SimulatedMemory, sequence: int, rest: np.ndarray) -> None:
    table.extend(sequence, rest.tolist())
    memory.decode(sequence, rest.tolist())


prompts = st.lists(st.integers(0, 2), min_size=1, max_size=12)
adapters = st.sampled_from(["", "wolf", "elf"])


@settings(max_examples=150)
@given(st.lists(st.tuples(prompts, adapters, st.booleans()), max_size=40), st.sampled_from([0, 99]))
def test_what_is_reused_is_what_was_decoded_under_this_adapter_and_free_cells_are_known(
    work: list[tuple[list[int], str, bool]], spill: int
) -> None:
    memory = SimulatedMemory()
    table = SequenceTable(
        memory, n_seq=4, cells=SharedCells(4, 40), spill=Spill(spill * spill), spill_least=2
    )
    busy: list[int] = []
    for values, adapter, finishes in work:
        prompt = tokens(*values)
        if len(busy) == 4:
            table.release(busy.pop(0))
        taken = table.acquire(prompt, adapter)
        assert taken is not None
        sequence, reused = taken
        assert reused < len(prompt)
        assert table.length(sequence) == reused
        assert memory.holds(sequence) == [(value, adapter) for value in values[:reused]]
        while not table.make_room(len(prompt) - reused):
            table.release(busy.pop(0))
        table.extend(sequence, prompt[reused:].tolist())
        memory.decode(sequence, prompt[reused:].tolist(), adapter)
        busy.append(sequence)
        if finishes:
            busy.remove(sequence)
            table.release(sequence)
        assert table.free_cells == 40 - memory.used


def test_a_second_request_decodes_only_what_differs() -> None:
    memory = SimulatedMemory()
    table = SequenceTable(memory, n_seq=4, cells=SharedCells(4, 100))
    first, reused = table.acquire(tokens(1, 2, 3, 4, 5)) or (-1, -1)
    assert reused == 0
    feed(table, memory, first, tokens(1, 2, 3, 4, 5))
    second, reused = table.acquire(tokens(1, 2, 3, 9)) or (-1, -1)
    assert (second != first, reused) == (True, 3)
    assert memory.used == 5


def test_the_last_token_is_always_decoded_again() -> None:
    memory = SimulatedMemory()
    table = SequenceTable(memory, n_seq=2, cells=SharedCells(2, 10))
    sequence, _ = table.acquire(tokens(1, 2)) or (-1, -1)
    feed(table, memory, sequence, tokens(1, 2))
    table.release(sequence)
    assert table.acquire(tokens(1, 2)) == (1, 1)


def test_the_least_recently_used_prefix_goes_first() -> None:
    memory = SimulatedMemory()
    table = SequenceTable(memory, n_seq=3, cells=SharedCells(3, 100))
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
    table = SequenceTable(SimulatedMemory(), n_seq=1, cells=SharedCells(1, 10))
    assert table.acquire(tokens(1)) == (0, 0)
    assert table.acquire(tokens(2)) is None


def test_room_is_promised_only_where_idle_prefixes_can_make_it() -> None:
    memory = SimulatedMemory()
    table = SequenceTable(memory, n_seq=3, cells=SharedCells(3, 10))
    sequence, _ = table.acquire(tokens(*range(6))) or (-1, -1)
    feed(table, memory, sequence, tokens(*range(6)))
    assert not table.fits(tokens(9, 9, 9, 9, 9), extra=0, promised=0)
    assert table.fits(tokens(0, 1, 2, 3, 9), extra=3, promised=0)
    table.release(sequence)
    assert table.fits(tokens(9, 9, 9, 9, 9), extra=5, promised=0)
    assert not table.fits(tokens(9, 9, 9, 9, 9), extra=5, promised=1)


def test_a_table_that_may_not_share_reuses_nothing() -> None:
    memory = SimulatedMemory()
    table = SequenceTable(memory, n_seq=2, cells=SharedCells(2, 10), shares=False)
    sequence, _ = table.acquire(tokens(1, 2, 3)) or (-1, -1)
    feed(table, memory, sequence, tokens(1, 2, 3))
    table.release(sequence)
    taken = table.acquire(tokens(1, 2, 3))
    assert taken is not None
    assert taken[1] == 0


@pytest.mark.parametrize("length", [0, 3])
def test_cutting_frees_what_nobody_else_holds(length: int) -> None:
    memory = SimulatedMemory()
    table = SequenceTable(memory, n_seq=2, cells=SharedCells(2, 10))
    sequence, _ = table.acquire(tokens(1, 2, 3, 4)) or (-1, -1)
    feed(table, memory, sequence, tokens(1, 2, 3, 4))
    table.cut(sequence, length)
    assert table.free_cells == 10 - length


def told(table: SequenceTable, memory: SimulatedMemory, *values: int, asker: str = "") -> int:
    """Serve one request from beginning to end; returns how much of it was reused."""
    sequence, reused = table.acquire(tokens(*values), asker=asker) or (-1, -1)
    table.make_room(len(values) - reused)
    feed(table, memory, sequence, tokens(*values)[reused:])
    table.release(sequence)
    return reused


def test_tails_that_nobody_shared_go_before_a_prefix_that_was_shared() -> None:
    memory = SimulatedMemory()
    table = SequenceTable(memory, n_seq=8, cells=SharedCells(8, 150))
    persona = list(range(100, 200))
    for moment in range(3):
        told(table, memory, *persona, moment, moment, moment)
    for stranger in range(10):
        told(table, memory, *([50 + stranger] * 20))
    assert table.evicted > 0
    assert told(table, memory, *persona, 9) == 100


def test_an_adapter_that_holds_more_than_its_part_gives_first() -> None:
    memory = SimulatedMemory()
    table = SequenceTable(memory, n_seq=8, cells=SharedCells(8, 40))
    few, _ = table.acquire(tokens(1, 2, 3), "elf") or (-1, -1)
    feed(table, memory, few, tokens(1, 2, 3))
    table.release(few)
    for start in range(10, 80, 10):
        sequence, _ = table.acquire(tokens(*range(start, start + 6)), "wolf") or (-1, -1)
        table.make_room(6)
        feed(table, memory, sequence, tokens(*range(start, start + 6)))
        table.release(sequence)
    assert table.longest_prefix(tokens(1, 2, 3, 4), "elf")[1] == 3


@pytest.mark.parametrize("own", [False, True])
def test_a_persona_that_one_sequence_holds_outlives_one_that_many_hold(own: bool) -> None:
    memory = SimulatedMemory()
    cells = OwnCells(6, 200, least_shared=1) if own else SharedCells(6, 1200)
    table = SequenceTable(memory, n_seq=6, cells=cells)
    many, one = list(range(100, 200)), list(range(300, 400))
    told(table, memory, *one, 1)
    told(table, memory, *one, 2)
    for line in range(4):
        told(table, memory, *many, line, line)
    for stranger in range(3):
        told(table, memory, *([50 + stranger] * 20))
    assert table.evicted > 0
    assert told(table, memory, *one, 9) == 100
    assert told(table, memory, *many, 9) == 100


def test_sixty_people_with_a_stream_each_are_read_once_however_often_they_are_asked() -> None:
    memory = SimulatedMemory()
    table = SequenceTable(memory, n_seq=64, cells=OwnCells(64, 200, least_shared=1))
    for turn in range(5):
        for person in range(60):
            reused = told(table, memory, *range(1000 * person, 1000 * person + 90), turn, *[7] * 20)
            assert reused == (90 if turn else 0)


@pytest.mark.parametrize("own", [False, True])
@pytest.mark.parametrize("askers", [1, 5])
def test_what_many_askers_share_outlives_their_silence(own: bool, askers: int) -> None:
    memory = SimulatedMemory()
    cells = OwnCells(8, 200, least_shared=1) if own else SharedCells(8, 1600)
    table = SequenceTable(memory, n_seq=8, cells=cells)
    world = list(range(100, 164))
    for villager in range(6):
        told(table, memory, *world, *[villager] * 8, asker=str(villager % askers))
    assert (table.pins.count, table.pins.cells) == ((1, 64) if askers > 1 else (0, 0))
    for stranger in range(40):
        for line in range(2):
            told(table, memory, *range(1000 * stranger, 1000 * stranger + 150), line)
    assert table.evicted > 0
    assert told(table, memory, *world, 9, 9) == (64 if askers > 1 else 0)


@pytest.mark.parametrize("own", [False, True])
def test_a_pinned_prefix_goes_when_nothing_else_can(own: bool) -> None:
    memory = SimulatedMemory()
    cells = OwnCells(8, 64, least_shared=1) if own else SharedCells(8, 512)
    table = SequenceTable(memory, n_seq=8, cells=cells)
    world = list(range(100, 132))
    for villager in range(6):
        told(table, memory, *world, villager, asker=str(villager))
    assert table.pins.count == 1
    for stranger in range(8):
        prompt = tokens(*range(1000 * stranger, 1000 * stranger + 64))
        sequence, _ = table.acquire(prompt) or (-1, -1)
        assert table.make_room(64)
        feed(table, memory, sequence, prompt)
    assert (table.pins.count, table.free_cells) == (0, 0)


lines = st.tuples(
    st.lists(st.integers(0, 1), min_size=1, max_size=4), st.integers(0, 5), st.booleans()
)


@settings(max_examples=100)
@given(st.lists(lines, max_size=60), st.booleans())
def test_pins_are_held_and_bounded_and_change_nothing_of_what_is_reused(
    work: list[tuple[list[int], int, bool]], own: bool
) -> None:
    memory = SimulatedMemory()
    cells = OwnCells(16, 140, least_shared=1) if own else SharedCells(16, 700)
    total = cells.total
    table = SequenceTable(memory, n_seq=16, cells=cells, spill=Spill(99_999), spill_least=40)
    busy: list[int] = []
    for blocks, asker, finishes in work:
        prompt = tokens(*(block for block in blocks for _ in range(32)), asker, 7)
        while len(busy) > 3:
            table.release(busy.pop(0))
        sequence, reused = table.acquire(prompt, asker=str(asker)) or (-1, -1)
        assert memory.holds(sequence) == [(value, "") for value in prompt[:reused].tolist()]
        assert table.make_room(len(prompt) - reused)
        feed(table, memory, sequence, prompt[reused:])
        busy.append(sequence)
        if finishes:
            table.release(busy.pop())
        for keeper, length in table.pins.floors().items():
            assert table.length(keeper) >= length
        assert len(table.pins.floors()) <= 2
        assert table.pins.cells <= total // 4
        assert own or table.free_cells == total - memory.used


def test_a_proven_prefix_comes_back_from_disk() -> None:
    memory = SimulatedMemory()
    spill = Spill(100_000)
    table = SequenceTable(memory, n_seq=3, cells=SharedCells(3, 40), spill=spill, spill_least=8)
    persona = list(range(100, 120))
    told(table, memory, *persona, 1)
    told(table, memory, *persona, 2)
    for stranger in range(12):
        told(table, memory, *range(1000 * stranger, 1000 * stranger + 30))
    assert table.longest_prefix(tokens(*persona, 3))[1] == 0
    assert (len(spill), spill.saved) == (1, 1)
    assert told(table, memory, *persona, 3) == 20
    assert spill.restored == 1


def test_states_on_disk_are_bounded_and_the_oldest_go_first() -> None:
    spill = Spill(100)
    for start in (10, 20, 30):
        spill.keep("", array("i", range(start, start + 5)), bytes(40))
    assert (len(spill), spill.bytes) == (2, 80)
    assert spill.longest(tokens(*range(10, 15)), "") == (0, 0)
    assert spill.longest(tokens(*range(30, 35)), "")[1] == 5
    assert spill.longest(tokens(*range(30, 35)), "wolf") == (0, 0)
    spill.keep("", array("i", [1, 2, 3]), bytes(101))
    assert len(spill) == 2


def test_a_stream_is_not_copied_for_the_few_tokens_that_all_templates_begin_with() -> None:
    memory = SimulatedMemory()
    table = SequenceTable(memory, n_seq=4, cells=OwnCells(4, 200))
    assert told(table, memory, *range(5), *range(100, 160)) == 0
    assert told(table, memory, *range(5), *range(300, 360)) == 0
    assert told(table, memory, *range(5), *range(100, 120), 7, 8) == 25
