"""What leaves a frame and what comes into it moves nothing else."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from world.frames import parts


@settings(max_examples=100)
@given(st.integers(0, 2**32), st.integers(0, 30))
def test_slices_put_together_hold_whom_stayed_and_came_in_their_order(seed, n) -> None:
    rng = np.random.default_rng(seed)
    ids = np.sort(rng.permutation(100)[:n]) * 2
    gone = np.sort(rng.permutation(n)[: rng.integers(0, n + 1)])
    came = np.sort(rng.permutation(100)[: rng.integers(0, 12)]) * 2 + 1
    pieces = parts(gone, np.searchsorted(ids, came), n)
    made = np.concatenate([(came if new else ids)[part] for new, part in pieces])
    assert made.tolist() == sorted({*np.delete(ids, gone).tolist(), *came.tolist()})


def test_all_who_come_to_nobody_come_in_one_slice() -> None:
    pieces = parts(np.zeros(0, dtype=np.int64), np.zeros(500, dtype=np.int64), 0)
    assert [part for new, part in pieces if new] == [slice(0, 500)]
