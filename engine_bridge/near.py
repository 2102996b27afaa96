"""Who is in a client's sight and what changed there, in compiled loops.

All positions are sorted into stripes once a frame, and a few stripes are looked through for each client. What numpy would
do in a dozen calls is one call here that keeps the interpreter's lock: numpy lets go of it to sort and to search, and may
then wait for a whole turn of the other threads to have it back. Ids ascend; arrays refuse writing, so that each function
is compiled once.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

Positions = NDArray[np.int32]
Ids = NDArray[np.uint64]
Found = NDArray[np.int64]
Stripes = tuple[Found, Positions, Positions, Found, int, int]
"""first, x, y, order, low, wide: see `sort_into_stripes`."""

STRIPES: Final = 256


@njit(cache=True)
def sort_into_stripes(x: Positions, y: Positions) -> Stripes:
    """A counting sort of rows by `x` (`x`, `y`: int32[n] that refuse writing, as a frame's columns do).

    Returns (first, x, y, order, low, wide): first[s]:first[s + 1] are the places in x, y (both sorted) and order (the
    rows) of those in stripe s, whose x is at least low + s * wide and below low + (s + 1) * wide.
    """
    low, high = (int(x[0]), int(x[0])) if x.size else (0, 0)
    for row in range(x.size):
        low = min(low, int(x[row]))
        high = max(high, int(x[row]))
    wide = (high - low) // STRIPES + 1
    first = np.zeros(STRIPES + 1, dtype=np.int64)
    for row in range(x.size):
        first[(int(x[row]) - low) // wide + 1] += 1
    for stripe in range(STRIPES):
        first[stripe + 1] += first[stripe]
    order = np.empty(x.size, dtype=np.int64)
    sorted_x, sorted_y = np.empty(x.size, dtype=np.int32), np.empty(x.size, dtype=np.int32)
    filled = first[:-1].copy()
    for row in range(x.size):
        stripe = (int(x[row]) - low) // wide
        place = filled[stripe]
        order[place], sorted_x[place], sorted_y[place] = row, x[row], y[row]
        filled[stripe] += 1
    return first, sorted_x, sorted_y, order, low, wide


@njit(cache=True)
def find(ids: Ids, wanted: Any) -> int:
    """The place of an id; -1 where it isn't."""
    # Beside a signed number an unsigned one would be compared as a float.
    wanted = np.uint64(wanted)
    low, high = 0, ids.size
    while low < high:
        middle = (low + high) // 2
        if ids[middle] < wanted:
            low = middle + 1
        else:
            high = middle
    return low if low < ids.size and ids[low] == wanted else -1


@njit(cache=True)
def in_sight(
    body: int,
    radius: int,
    margin: int,
    most: int,
    seen: Ids,
    ids: Ids,
    columns: tuple[Positions, Positions],
    stripes: Stripes,
) -> Found:
    """The rows, ascending, within `radius` units of an id, and of those in `seen` within `margin` more; none where it isn't.

    Of more than `most` the nearest, itself first and then the lower row among equals. `columns` are x and y of all `ids`,
    `stripes` what `sort_into_stripes` made of them.
    """
    row = find(ids, body)
    if row < 0:
        return np.empty(0, dtype=np.int64)
    first, sorted_x, sorted_y, order, low, wide = stripes
    mine_x, mine_y = int(columns[0][row]), int(columns[1][row])
    reach = radius + margin
    rows = np.empty(256, dtype=np.int64)
    size = 0
    left = min(max(0, (mine_x - reach - low) // wide), STRIPES)
    right = max(min(STRIPES - 1, (mine_x + reach - low) // wide), left - 1)
    for at in range(first[left], first[right + 1]):
        dx, dy = int(sorted_x[at]) - mine_x, int(sorted_y[at]) - mine_y
        if dx > reach or dx < -reach or dy > reach or dy < -reach:
            continue
        away = dx * dx + dy * dy
        if away > reach * reach:
            continue
        if away > radius * radius and find(seen, ids[order[at]]) < 0:
            continue
        if size == rows.size:
            rows = np.append(rows, rows)
        rows[size] = order[at]
        size += 1
    found = np.sort(rows[:size])
    if size > most:
        far = np.empty(size, dtype=np.int64)
        for at in range(size):
            dx, dy = int(columns[0][found[at]]) - mine_x, int(columns[1][found[at]]) - mine_y
            far[at] = dx * dx + dy * dy if found[at] != row else -1
        found = np.sort(found[np.argsort(far, kind="mergesort")[:most]])
    return found


@njit(cache=True)
def common(before: Ids, now: Ids) -> tuple[Found, Found]:
    """The places, in both, of the ids that are in both."""
    most = min(before.size, now.size)
    old, new = np.empty(most, dtype=np.int64), np.empty(most, dtype=np.int64)
    size, i, j = 0, 0, 0
    while i < before.size and j < now.size:
        if before[i] == now[j]:
            old[size], new[size] = i, j
            size += 1
            i += 1
            j += 1
        elif before[i] < now[j]:
            i += 1
        else:
            j += 1
    return old[:size], new[:size]


@njit(cache=True)
def changed(before: NDArray[Any], now: NDArray[Any], old: Found, new: Found) -> Found:
    """Those of the places `new` in a column where it isn't what it was at the places `old`."""
    found = np.empty(new.size, dtype=np.int64)
    size = 0
    for at in range(new.size):
        if before[old[at]] != now[new[at]]:
            found[size] = new[at]
            size += 1
    return found[:size]


@njit(cache=True)
def witnessed(before: Ids, now: Ids, actors: Ids, targets: Ids) -> NDArray[np.bool_]:
    """For each event whether its actor or its target was or is in sight."""
    seen = np.empty(actors.size, dtype=np.bool_)
    for at in range(actors.size):
        seen[at] = (
            find(now, actors[at]) >= 0
            or find(now, targets[at]) >= 0
            or find(before, actors[at]) >= 0
            or find(before, targets[at]) >= 0
        )
    return seen


def shut(values: NDArray[Any]) -> NDArray[Any]:
    """The same values in an array that refuses writing."""
    view = values.view()
    view.setflags(write=False)
    return view


def rehearse(kinds: Iterable[np.dtype[Any]]) -> None:
    """Load all, or compile them on a machine's first start, so that no client waits for that; for columns of those types."""
    ids = shut(np.zeros(1, dtype=np.uint64))
    x = shut(np.zeros(1, dtype=np.int32))
    find(ids, 0)
    in_sight(0, 1, 1, 1, ids, ids, (x, x), sort_into_stripes(x, x))
    witnessed(ids, ids, ids, ids)
    old, new = common(ids, ids)
    for kind in kinds:
        column = shut(np.zeros(1, dtype=kind))
        changed(column, column, old, new)
