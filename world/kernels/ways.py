"""Shortest ways over the cells of a map: A* from the goal, and the steps that follow what it found.

All arrays are flat, a cell is y * width + x. A step goes to one of eight neighbours, a slanting one
only where both cells beside it can be walked; it takes (cost of here + cost of there) times 5, or 7
if it slants. Whole numbers only, so that what is found is the same on every CPU.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numba import njit

from world.kernels.kinds import Bools, Cells, Costs, Masks

NO_WAY: Final = -1
STRAIGHT: Final = 5
SLANT: Final = 7
STEPS_Y: Final = np.array([0, 1, 0, -1, 1, 1, -1, -1], dtype=np.int64)
STEPS_X: Final = np.array([1, 0, -1, 0, 1, -1, 1, -1], dtype=np.int64)
"""The eight steps; of equally short ways the one whose step comes first is taken."""


@njit(cache=True)
def open_steps(walk: Bools, width: int, out: Masks) -> None:
    """Write which of the eight steps can be taken from each cell, a bit for each: uint8[cells].

    `walk` is bool[cells]; a cell that can't be walked itself has its steps, too, since a body may stand on it.
    """
    height = walk.size // width
    for cell in range(walk.size):
        y, x = cell // width, cell % width
        mask = 0
        for k in range(8):
            dy, dx = STEPS_Y[k], STEPS_X[k]
            ny, nx = y + dy, x + dx
            if ny < 0 or nx < 0 or ny >= height or nx >= width or not walk[ny * width + nx]:
                continue
            if dx and dy and not (walk[y * width + nx] and walk[ny * width + x]):
                continue
            mask |= 1 << k
        out[cell] = mask


@njit(cache=True)
def spread(
    cost: Costs,
    steps: Masks,
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

    `cost` int32[cells], `steps` as `open_steps` wrote them, `least` and `most` the smallest and the largest cost of
    all. `reached` and `mark` (int32[cells]) are written: where mark is `settled`, `reached` is exact, and so are all
    cells on every shortest way from there. `mark` must hold neither `settled` nor `settled - 1` before.
    A `start` of -1, or one that can't be reached, settles all that can be reached.
    Returns the box that holds the settled cells: left, top, right, bottom, all included.

    A* (Hart, Nilsson, Raphael 1968) with the octile distance, which never exceeds what is left and
    is consistent; it goes on until nothing is left that could be as short, so that ties are settled too.
    Costs are small whole numbers, so the open cells lie in a ring of buckets (Dial 1969) and none is sorted.
    """
    touched = settled - 1
    start_y, start_x = start // width, start % width
    # No step leads farther ahead than its own length and what the estimate grows by, which is no more.
    ring = 1
    while ring <= 4 * SLANT * most:
        ring *= 2
    head = np.full(ring, -1, dtype=np.int32)
    cells = np.empty(1024, dtype=np.int32)
    following = np.empty(1024, dtype=np.int32)
    free, used = np.int32(-1), 1
    waiting = 1
    now = np.int64(0)
    if start >= 0:
        far, near = abs(goal % width - start_x), abs(goal // width - start_y)
        if far < near:
            far, near = near, far
        now = np.int64(2 * least * (STRAIGHT * (far - near) + SLANT * near))
    cells[0], following[0] = goal, -1
    head[now & (ring - 1)] = 0
    reached[goal] = 0
    mark[goal] = touched
    left, top, right, bottom = goal % width, goal // width, goal % width, goal // width
    best = np.int64(2**31)
    while waiting:
        while head[now & (ring - 1)] < 0:
            now += 1
        if now > best:
            break
        at = head[now & (ring - 1)]
        head[now & (ring - 1)] = following[at]
        following[at] = free
        free = at
        waiting -= 1
        cell = int(cells[at])
        if mark[cell] == settled:
            continue
        mark[cell] = settled
        y, x = cell // width, cell % width
        left, right = min(left, x), max(right, x)
        top, bottom = min(top, y), max(bottom, y)
        if cell == start:
            best = now
        mask, here, paid = steps[cell], reached[cell], cost[cell]
        for k in range(8):
            if not mask >> k & 1:
                continue
            dy, dx = STEPS_Y[k], STEPS_X[k]
            there = cell + dy * width + dx
            seen = mark[there]
            if seen == settled:
                continue
            away = here + (paid + cost[there]) * (SLANT if dx and dy else STRAIGHT)
            if seen == touched and away >= reached[there]:
                continue
            reached[there] = away
            mark[there] = touched
            total = np.int64(away)
            if start >= 0:
                far, near = abs(x + dx - start_x), abs(y + dy - start_y)
                if far < near:
                    far, near = near, far
                total += 2 * least * (STRAIGHT * (far - near) + SLANT * near)
            if free >= 0:
                new = free
                free = following[new]
            else:
                if used == cells.size:
                    cells = np.append(cells, cells)
                    following = np.append(following, following)
                new = np.int32(used)
                used += 1
            cells[new] = there
            following[new] = head[total & (ring - 1)]
            head[total & (ring - 1)] = new
            waiting += 1
    return left, top, right, bottom


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
