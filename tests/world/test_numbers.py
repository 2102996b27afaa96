"""Division and roots by floats in compiled loops: exactly what whole numbers give."""

from __future__ import annotations

import math

from hypothesis import example, given
from hypothesis import strategies as st

from world.kernels.numbers import floor, root

WHOLE = st.integers(-(2**51), 2**51)


@given(WHOLE, st.integers(1, 2**51))
@example(-1, 2**51)
@example(2**51, 3)
@example(2**51 - 1, 2**26)
def test_a_floor_is_that_of_whole_numbers(whole: int, by: int) -> None:
    assert floor(whole, by) == whole // by


@given(st.integers(-(2**24), 2**24), st.integers(1, 2**24))
def test_just_below_a_whole_quotient_it_stays_below(quotient: int, by: int) -> None:
    assert floor(quotient * by - 1, by) == quotient - 1
    assert floor(quotient * by, by) == quotient


@given(st.integers(0, 2**26))
def test_a_root_is_that_of_whole_numbers(side: int) -> None:
    for square in (max(side * side - 1, 0), side * side, min(side * side + 1, 2**52)):
        assert root(square) == math.isqrt(square)
