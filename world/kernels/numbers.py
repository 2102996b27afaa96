"""Whole numbers divided and rooted by floats, which is quicker and, within stated bounds, exact on every CPU."""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from numba import njit

AT: Final = np.uint64
"""What indexes in a hot loop: a number that can't be negative, which a signed one would be looked at for each time."""


# numpy's division, since Python's looks at each divisor, which keeps a loop from becoming vectors.
@njit(cache=True, error_model="numpy")
def floor(whole: int, by: int) -> int:
    """`whole // by`, where `by` is not 0 and their sizes add up to less than 2**53.

    A true quotient that is no whole number is at least 1 / by below the next one, which is more than rounding adds.
    """
    return math.floor(np.float64(whole) / np.float64(by))


@njit(cache=True)
def root(square: int) -> int:
    """Whole square roots of 0..2**52, as `maths.isqrt` has them."""
    found = int(math.sqrt(np.float64(square)))
    if found * found > square:
        found -= 1
    if (found + 1) * (found + 1) <= square:
        found += 1
    return found
