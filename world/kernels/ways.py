"""Shortest ways over the cells of a map: A* from the goal, and the steps that follow what it found.

All arrays are flat, a cell is y * width + x. A step goes to one of eight neighbours, a slanting one
only where both cells beside it can be walked; it takes (cost of here + cost of there) times 5, or 7
if it slants. Whole numbers only, so that what is found is the same on every CPU.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numba import njit

from world.kernels.kinds import Bools, Cells, Costs

NO_WAY: Final = -1
STRAIGHT: Final = 5
SLANT: Final = 7
STEPS_Y: Final = np.array([0, 1, 0, -1, 1, 1, -1, -1], dtype=np.int64)
STEPS_X: Final = np.array([1, 0, -1, 0, 1, -1, 1, -1], dtype=np.int64)
"""The eight steps; of equally short ways the one whose step comes first is taken."""


@njit(cache=True)
def spread(
    cost: Costs,
    walk: Bools,
    width: int,
    goal: int,
    start: int,
    least: int,
    most: int,
    reached: Costs,
    mark: Costs,
    settled: int,
) -> tuple[int, int, int, int]:
    """Find what each cell that a shortest way from `start` could touch is away from `goal`.

    `cost` int32[cells], `walk` bool[cells], `least` and `most` the smallest and largest cost of all. `reached` and `mark`
    (int32[cells]) are written: where mark is `settled`, `reached` is exact, and so are all cells on
    every shortest way from there. `mark` must hold neither `settled` nor `settled - 1` before.
    A `start` of -1, or one that can't be reached, settles all that can be reached.
    Returns the box that holds the settled cells: left, top, right, bottom, all included.

    A* (Hart, Nilsson, Raphael 1968) with the octile distance, which never exceeds what is left and
    is consistent; it goes on until nothing is left that could be as short, so that ties are settled too.
    What waits lies in a ring of buckets, one for each total (Dial 1969): totals never go down, and a step
    adds its cost and what the estimate grows at most, which is no more than its cost again.
    """
    height = cost.size // width
    touched = settled - 1
    start_y, start_x = max(start, 0) // width, max(start, 0) % width
    ring = 1
    while ring <= 4 * SLANT * most:
        ring *= 2
    first = np.full(ring, -1, dtype=np.int64)
    after = np.empty(1024, dtype=np.int64)
    waits = np.empty(1024, dtype=np.int64)
    used, free, waiting = 1, -1, 1
    total = _estimate(goal % width - start_x, goal // width - start_y, least) if start >= 0 else 0
    first[total & (ring - 1)], after[0], waits[0] = 0, -1, goal
    reached[goal] = 0
    mark[goal] = touched
    left, top, right, bottom = goal % width, goal // width, goal % width, goal // width
    best = 2**31
    while waiting:
        slot = total & (ring - 1)
        entry = first[slot]
        if entry < 0:
            total += 1
            if total > best:
                break
            continue
        first[slot] = after[entry]
        cell = waits[entry]
        after[entry] = free
        free = entry
        waiting -= 1
        if mark[cell] == settled:
            continue
        mark[cell] = settled
        y, x = cell // width, cell % width
        left, right = min(left, x), max(right, x)
        top, bottom = min(top, y), max(bottom, y)
        if cell == start:
            best = total
        for k in range(8):
            dy, dx = STEPS_Y[k], STEPS_X[k]
            ny, nx = y + dy, x + dx
            if ny < 0 or nx < 0 or ny >= height or nx >= width:
                continue
            there = ny * width + nx
            if not walk[there] or mark[there] == settled:
                continue
            if dx and dy and not (walk[y * width + nx] and walk[ny * width + x]):
                continue
            length = SLANT if dx and dy else STRAIGHT
            away = reached[cell] + (cost[cell] + cost[there]) * length
            if mark[there] == touched and away >= reached[there]:
                continue
            reached[there] = away
            mark[there] = touched
            whole = int(away)
            if start >= 0:
                whole += _estimate(nx - start_x, ny - start_y, least)
            if free >= 0:
                entry = free
                free = after[entry]
            else:
                if used == waits.size:
                    after, waits = np.append(after, after), np.append(waits, waits)
                entry = used
                used += 1
            slot = whole & (ring - 1)
            waits[entry], after[entry] = there, first[slot]
            first[slot] = entry
            waiting += 1
    return left, top, right, bottom


@njit(cache=True)
def _estimate(dx: int, dy: int, least: int) -> int:
    """What a way of so many cells costs at least."""
    far, near = abs(dx), abs(dy)
    if far < near:
        far, near = near, far
    return 2 * least * (STRAIGHT * (far - near) + SLANT * near)


@njit(cache=True)
def cut(
    reached: Costs, mark: Costs, settled: int, width: int, box: Costs, left: int, top: int
) -> None:
    """Copy what is settled into `box` (int32[rows, columns]), whose first cell is (left, top)."""
    for row in range(box.shape[0]):
        first = (top + row) * width + left
        for column in range(box.shape[1]):
            if mark[first + column] == settled:
                box[row, column] = reached[first + column]


@njit(cache=True)
def touches(box: Costs, left: int, top: int, width: int, cells: Cells) -> bool:
    """Whether one of the `cells`, or one of the eight around it, is known in `box` (int32[rows, columns])."""
    for i in range(cells.size):
        row, column = cells[i] // width - top, cells[i] % width - left
        for y in range(max(row - 1, 0), min(row + 2, box.shape[0])):
            for x in range(max(column - 1, 0), min(column + 2, box.shape[1])):
                if box[y, x] != NO_WAY:
                    return True
    return False


@njit(cache=True)
def follow(
    box: Costs,
    left: int,
    top: int,
    cost: Costs,
    walk: Bools,
    width: int,
    start: int,
    goal: int,
    out: Cells,
) -> None:
    """Write the next cells of the shortest way from a settled `start`, nearest first, into `out`.

    At the goal the way ends: it is repeated to the end of `out`.
    """
    cell = start
    for k in range(out.size):
        if cell != goal:
            y, x = cell // width, cell % width
            best, found = np.int64(2**31), cell
            for step in range(8):
                dy, dx = STEPS_Y[step], STEPS_X[step]
                row, column = y + dy - top, x + dx - left
                if row < 0 or column < 0 or row >= box.shape[0] or column >= box.shape[1]:
                    continue
                if box[row, column] == NO_WAY:
                    continue
                if dx and dy and not (walk[y * width + x + dx] and walk[(y + dy) * width + x]):
                    continue
                there = (y + dy) * width + x + dx
                length = SLANT if dx and dy else STRAIGHT
                away = box[row, column] + (cost[cell] + cost[there]) * length
                if away < best:
                    best, found = away, there
            cell = found
        out[k] = cell
