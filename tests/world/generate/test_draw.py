"""Chance for generation is keyed, bounded and even."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from world.generate.draw import Draw, key_of, mix, mix_array

seeds = st.integers(0, 2**63 - 1)


@given(seeds, st.integers(1, 2**40))
def test_a_draw_stays_below_its_bound(seed: int, bound: int) -> None:
    draw = Draw(seed, "bound")
    assert all(0 <= draw.below(bound) < bound for _ in range(20))


@given(seeds)
def test_the_same_purpose_draws_the_same_and_another_draws_otherwise(seed: int) -> None:
    first = [Draw(seed, "roof", 3).bits() for _ in range(1)] + [Draw(seed, "roof", 3).bits()]
    assert first[0] == first[1]
    assert Draw(seed, "roof", 4).bits() != first[0]
    assert Draw(seed, "door", 3).bits() != first[0]


@given(st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=50))
def test_arrays_and_single_words_are_mixed_alike(values: list[int]) -> None:
    mixed = mix_array(np.array(values, dtype=np.uint64))
    assert mixed.tolist() == [mix(value) for value in values]


def test_the_order_of_a_keys_parts_counts() -> None:
    assert key_of(1, 2, 3) != key_of(1, 3, 2)
    assert key_of(1, "a", "b") != key_of(1, "ab")


def test_draws_are_spread_evenly() -> None:
    draw = Draw(5, "even")
    counts = Counter(draw.below(10) for _ in range(10_000))
    assert all(850 < counts[n] < 1_150 for n in range(10))


def test_weights_are_kept() -> None:
    draw = Draw(5, "weights")
    counts = Counter(draw.weighted((("rare", 1), ("common", 9))) for _ in range(5_000))
    assert 380 < counts["rare"] < 620


@given(seeds, st.lists(st.integers(), max_size=30, unique=True), st.integers(0, 40))
def test_some_draws_without_putting_back(seed: int, items: list[int], count: int) -> None:
    taken = Draw(seed, "some").some(items, count)
    assert len(taken) == min(count, len(items))
    assert len(set(taken)) == len(taken) and set(taken) <= set(items)


def test_nothing_can_be_drawn_below_one() -> None:
    with pytest.raises(ValueError, match="below 0"):
        Draw(1).below(0)
