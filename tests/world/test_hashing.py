"""A row's word is a pure function of the row: by its definition, one number after the other."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from world.entities import HOT, INDEX, NAMES, Columns
from world.hashing import cold_hashes, hot_hashes
from world.maths import MASK, mix

M1, M2 = 0xBF58476D1CE4E5B9, 0x94D049BB133111EB


def scrambled(word: int) -> int:
    word = word * M1 & MASK
    word = (word ^ word >> 29) * M2 & MASK
    return word ^ word >> 32


def word_of(columns: Columns, row: int, names: list[str], half: int) -> int:
    numbers = [(INDEX[name], int(columns.data[INDEX[name], row]) & MASK) for name in names]
    total = sum(scrambled(number ^ mix(0xC01D + k * 0x9E37)) for k, number in numbers) & MASK
    return mix(mix(int(columns.id[row]) ^ mix(half)) ^ total)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32), st.sampled_from([1, 2, 1023, 1024, 1025, 1600]))
def test_rows_hash_as_defined_whichever_rows_are_hashed_with_them(seed: int, n: int) -> None:
    rng = np.random.default_rng(seed)
    columns = Columns(2048)
    columns.data[...] = rng.integers(-(2**63), 2**63, columns.data.shape)
    rows = rng.permutation(columns.capacity)[:n]
    hot, cold = hot_hashes(columns, rows), cold_hashes(columns, rows)
    for i in {0, n // 2, n - 1}:
        row = int(rows[i])
        assert int(hot[i]) == word_of(columns, row, list(HOT), 0xA)
        assert int(cold[i]) == word_of(columns, row, [m for m in NAMES if m not in HOT], 0xB)


@pytest.mark.parametrize("hashes", [hot_hashes, cold_hashes])
def test_no_rows_have_no_words(hashes) -> None:
    assert hashes(Columns(64), np.zeros(0, dtype=np.intp)).size == 0
