"""What two runs of tokens have in common."""

from __future__ import annotations

from array import array
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Tokens: TypeAlias = "array[int] | NDArray[np.int32]"
"""Anything with int32 tokens in a row in memory."""


def common(left: Tokens, right: Tokens) -> int:
    """How many tokens two runs share from the start."""
    size = min(len(left), len(right))
    if size == 0:
        return 0
    ours: NDArray[np.int32] = np.frombuffer(left, dtype=np.int32, count=size)
    theirs: NDArray[np.int32] = np.frombuffer(right, dtype=np.int32, count=size)
    different = ours != theirs
    first = int(different.argmax())
    return first if different[first] else size
