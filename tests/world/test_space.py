"""Who is near whom, by brute force and by cells alike."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from world import space


def _slow(x, y, rows, candidates, reach):
    out = []
    for row, far in zip(rows, reach, strict=True):
        seen = [
            ((int(x[row]) - int(x[o])) ** 2 + (int(y[row]) - int(y[o])) ** 2, int(o))
            for o in candidates
            if o != row
        ]
        seen = [s for s in seen if s[0] <= int(far) ** 2]
        best = min(seen) if seen else (space.FAR, space.NOBODY)
        out.append((best[1], best[0], len(seen)))
    return out


@settings(max_examples=60, deadline=None)
@given(st.data(), st.booleans())
def test_the_nearest_is_found_as_if_each_pair_was_measured(data, many) -> None:
    n = data.draw(st.integers(1, 60))
    points = st.lists(st.integers(0, 50_000), min_size=n, max_size=n)
    x = np.array(data.draw(points), dtype=np.int64)
    y = np.array(data.draw(points), dtype=np.int64)
    rows = np.array(sorted(data.draw(st.sets(st.integers(0, n - 1)))), dtype=np.intp)
    candidates = np.array(sorted(data.draw(st.sets(st.integers(0, n - 1)))), dtype=np.intp)
    reach = np.array(
        data.draw(st.lists(st.integers(0, 20_000), min_size=rows.size, max_size=rows.size)),
        dtype=np.int64,
    )
    brute, space.BRUTE = space.BRUTE, 0 if many else space.BRUTE
    try:
        best, least, count = space.nearest(x, y, rows, candidates, reach)
    finally:
        space.BRUTE = brute
    found = list(zip(best.tolist(), least.tolist(), count.tolist(), strict=True))
    assert found == _slow(x, y, rows, candidates, reach)
