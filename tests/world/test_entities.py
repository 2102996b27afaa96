"""Columns: rows found by id, used again in a fixed order, kept and restored."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from world.entities import COLUMNS, MAX_ENTITIES, Columns
from world.errors import StateError

STEPS = st.lists(st.tuples(st.booleans(), st.integers(1, 40)), max_size=120)


@given(STEPS)
def test_rows_follow_any_coming_and_going(steps: list[tuple[bool, int]]) -> None:
    columns, model = Columns(4), {}
    for arrives, entity in steps:
        if arrives and entity not in model:
            columns.add(entity, {"hp": entity * 3})
            model[entity] = entity * 3
        elif not arrives and entity in model:
            columns.remove(entity)
            del model[entity]
    assert len(columns) == len(model)
    assert sorted(columns.id[columns.live_rows()].tolist()) == sorted(model)
    for entity, hp in model.items():
        assert columns.hp[columns.row_of(entity)] == hp
    twin = Columns.from_state(columns.get_state())
    for entity in [e for e in range(1, 60) if e not in model][:5]:
        assert twin.add(entity, {}) == columns.add(entity, {})


def test_the_lowest_free_row_is_used_first() -> None:
    columns = Columns()
    for entity in (10, 11, 12, 13):
        columns.add(entity, {})
    columns.remove(12)
    columns.remove(10)
    assert columns.add(99, {}) == 0
    assert columns.add(98, {}) == 2
    assert columns.add(97, {}) == 4


def test_growing_keeps_all_values() -> None:
    columns = Columns(1)
    for entity in range(1, 301):
        columns.add(entity, {"x": entity, "mood": -entity})
    assert columns.capacity >= 300
    assert all(columns.x[columns.row_of(e)] == e for e in range(1, 301))
    assert all(columns.mood[columns.row_of(e)] == -e for e in range(1, 301))


def test_a_removed_row_leaves_nothing_behind() -> None:
    columns = Columns()
    row = columns.add(5, dict.fromkeys((n for n in COLUMNS if n != "id"), 77))
    columns.remove(5)
    assert columns.row_of(5) == -1
    assert {n: int(getattr(columns, n)[row]) for n in COLUMNS} == {
        n: default for n, (_, default) in COLUMNS.items()
    }


def test_ids_are_taken_once_and_kept_in_range() -> None:
    columns = Columns()
    columns.add(7, {})
    for unfit in (7, 0, -1, 2**48):
        with pytest.raises(ValueError, match="in use or out of range"):
            columns.add(unfit, {})


def test_a_full_table_says_so() -> None:
    columns = Columns(MAX_ENTITIES)
    for entity in range(1, MAX_ENTITIES + 1):
        columns.add(entity, {})
    assert columns.full()
    with pytest.raises(ValueError, match="at most"):
        columns.add(MAX_ENTITIES + 1, {})


def test_read_only_columns_share_values_and_refuse_writing() -> None:
    columns = Columns()
    row = columns.add(3, {"hp": 9})
    shut = columns.read_only()
    columns.hp[row] = 8
    assert shut.hp[shut.row_of(3)] == 8
    with pytest.raises(ValueError, match="read-only"):
        shut.hp[row] = 1


def test_a_damaged_column_is_named() -> None:
    state = Columns().get_state()
    state["high"] = 3
    with pytest.raises(StateError, match="column 'x'"):
        Columns.from_state(state)
    state = Columns().get_state()
    state["columns"]["hp"] = np.zeros(0)
    with pytest.raises(StateError, match="column 'hp'"):
        Columns.from_state(state)
