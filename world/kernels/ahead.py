"""Who has to be stepped together, and who holds them up: the search behind `world.influence`."""

from __future__ import annotations

import numpy as np
from numba import njit

from world.kernels.kinds import Bools, Cells

NOBODY = -1


@njit(cache=True)
def _panel(
    member: int,
    at: Cells,
    there: Bools,
    x: Cells,
    y: Cells,
    people: Bools,
    species: Cells,
    most: int,
    far: int,
) -> int:
    """How far the panel of `member` looks for who is around: to the `most`-th of those known at its block, `far` at most."""
    block = at[member]
    closest = np.full(most, far * far, dtype=np.int64)
    for other in range(at.size):
        if other == member or at[other] < block or not there[block, other]:
            continue
        if not people[species[other]]:
            continue
        dx, dy = x[block, other] - x[block, member], y[block, other] - y[block, member]
        away = dx * dx + dy * dy
        if away >= closest[most - 1]:
            continue
        i = most - 1
        while i > 0 and closest[i - 1] > away:
            closest[i] = closest[i - 1]
            i -= 1
        closest[i] = away
    return int(np.sqrt(closest[most - 1])) + 1


@njit(cache=True)
def unit(
    being: int,
    at: Cells,
    held: Bools,
    there: Bools,
    x: Cells,
    y: Cells,
    species: Cells,
    groups: Cells,
    reach: Cells,
    asks: Bools,
    told: Cells,
    people: Bools,
    most: int,
    panel: int,
    way: Cells,
    found: Cells,
    seen: Bools,
) -> tuple[int, int]:
    """Write into `found` who is to be stepped with `being`; returns how many, and who holds them up or NOBODY.

    `at`, `held`, `species`, `groups` have a number a being; `there`, `x`, `y`, `asks` are [blocks, beings]; `reach` is
    [species, species], -1 for never, and `told` is the same for who is asked; `people` and `way` go by species. A panel
    tells the nearest `most` of `people` within `panel` units. `seen` must be False all over, and is so again afterwards.
    """
    block = at[being]
    found[0] = being
    size, next_, blocker = 1, 0, NOBODY
    seen[being] = True
    while next_ < size and blocker == NOBODY:
        member = found[next_]
        next_ += 1
        if held[member]:
            blocker = member
            break
        asked = asks[block, member]
        near_by = 0
        if asked:
            near_by = _panel(member, at, there, x, y, people, species, most, panel)
        for other in range(at.size):
            b = at[other]
            if b > block or seen[other] or not there[b, other]:
                continue
            far = reach[species[member], species[other]]
            if asked:
                far = max(far, told[species[member], species[other]])
                if people[species[other]]:
                    far = max(far, near_by)
            near = groups[member] > 0 and groups[member] == groups[other]
            if far >= 0 and not near:
                # Both move while the block is lived, hence one way more than the lag for the other.
                far += (block - b + 1) * way[species[other]] + way[species[member]]
                dx, dy = x[b, other] - x[block, member], y[b, other] - y[block, member]
                near = dx * dx + dy * dy <= far * far
            if not near:
                continue
            if b < block or held[other]:
                blocker = other
                break
            seen[other] = True
            found[size] = other
            size += 1
    for i in range(size):
        seen[found[i]] = False
    return size, blocker
