"""Who is near whom, as if each pair was measured."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from world import space


def _slow(x, y, rows, candidates, reach):
    out = []
    for row, far in zip(rows, reach, strict=True):
        seen = [
            ((int(x[row]) - int(x[o])) ** 2 + (int(y[row]) - int(y[o])) ** 2, at, int(o))
            for at, o in enumerate(candidates)
            if o != row
        ]
        seen = [s for s in seen if s[0] <= int(far) ** 2]
        best = min(seen) if seen else (space.FAR, 0, space.NOBODY)
        out.append((best[2], best[0], len(seen)))
    return out


@settings(max_examples=120, deadline=None)
@given(st.data(), st.sampled_from([3, 50_000, 1_000_000]))
def test_the_nearest_is_found_as_if_each_pair_was_measured(data, wide) -> None:
    n = data.draw(st.integers(1, 60))
    points = st.lists(st.integers(0, wide), min_size=n, max_size=n)
    x = np.array(data.draw(points), dtype=np.int64)
    y = np.array(data.draw(points), dtype=np.int64)
    some = st.lists(st.integers(0, n - 1), unique=True)
    rows = np.array(data.draw(some), dtype=np.intp)
    candidates = np.array(data.draw(some), dtype=np.intp)
    reach = np.array(
        data.draw(st.lists(st.integers(0, 20_000), min_size=rows.size, max_size=rows.size)),
        dtype=np.int64,
    )
    best, least, count = space.nearest(x, y, rows, candidates, reach)
    found = list(zip(best.tolist(), least.tolist(), count.tolist(), strict=True))
    assert found == _slow(x, y, rows, candidates, reach)
