"""Shortest ways over the cells of a map: A* from the goal, and the steps that follow what it found.

All arrays are flat, a cell is y * width + x. A step goes to one of eight neighbours, a slanting one
only where both cells beside it can be walked; it takes (cost of here + cost of there) times 5, or 7
if it slants. Whole numbers only, so that what is found is the same on every CPU.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numba import carray, njit, types  # type: ignore[attr-defined]
from numba.extending import intrinsic

from world.kernels.kinds import Bools, Cells, Costs, Known, Masks

AHEAD: Final = 8
"""Cells of a way that are looked at together."""
NO_WAY: Final = -1
STRAIGHT: Final = 5
SLANT: Final = 7
STEPS_Y: Final = np.array([0, 1, 0, -1, 1, 1, -1, -1], dtype=np.int64)
STEPS_X: Final = np.array([1, 0, -1, 0, 1, -1, 1, -1], dtype=np.int64)
"""The eight steps; of equally short ways the one whose step comes first is taken."""


@intrinsic
def _pointer(typing: Any, address: Any) -> Any:
    """An address (int64) as one of int32 numbers: so that of many arrays each can be found by its number."""

    def make(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.inttoptr(arguments[0], context.get_value_type(signature.return_type))

    return types.CPointer(types.int32)(address), make  # type: ignore[no-untyped-call]


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
def learn(
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
    left: int,
    top: int,
    box: Costs,
) -> tuple[int, int, Costs]:
    """`spread`, and write what is settled into what is known of the goal: `box` (int32[rows, columns]) of the cells from (left, top).

    Returns left, top and the box, the same or a larger one; an empty one is of nothing known.
    """
    found = spread(cost, steps, width, goal, start, least, most, reached, mark, settled)
    to_left, to_top, to_right, to_bottom = found
    if box.size:
        to_left, to_right = min(to_left, left), max(to_right, left + box.shape[1] - 1)
        to_top, to_bottom = min(to_top, top), max(to_bottom, top + box.shape[0] - 1)
    tall, wide = to_bottom - to_top + 1, to_right - to_left + 1
    if box.shape[0] != tall or box.shape[1] != wide:
        whole = np.full((tall, wide), NO_WAY, dtype=np.int32)
        for row in range(box.shape[0]):
            for column in range(box.shape[1]):
                whole[top - to_top + row, left - to_left + column] = box[row, column]
        box = whole
    for y in range(found[1], found[3] + 1):
        for x in range(found[0], found[2] + 1):
            if mark[y * width + x] == settled:
                box[y - to_top, x - to_left] = reached[y * width + x]
    return to_left, to_top, box


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
def shore(known: Known, start: int) -> int:
    """The cell itself, or its first neighbour that can be walked where it can't be; NO_WAY if there is none."""
    if known.island[start]:
        return start
    height = known.island.size // known.width
    y, x = start // known.width, start % known.width
    for k in range(8):
        ny, nx = y + STEPS_Y[k], x + STEPS_X[k]
        if 0 <= ny < height and 0 <= nx < known.width and known.island[ny * known.width + nx]:
            return int(ny * known.width + nx)
    return NO_WAY


@njit(cache=True)
def follow(known: Known, start: int, goal: int, out: Cells) -> bool:
    """Write the next cells of the shortest way from `start` into `out`, nearest first; whether it is known.

    At the goal the way ends: it is repeated to the end of `out`. All are NO_WAY if there is none. A start on ground
    that can't be walked leads over its `shore`.
    """
    cell = shore(known, start)
    if cell == NO_WAY or known.island[cell] != known.island[goal]:
        out[:] = NO_WAY
        return True
    slot = known.slot[goal]
    if slot < 0:
        return False
    where = known.boxes[slot]
    left, top, wide, tall = where[1], where[2], where[3], where[4]
    box = carray(_pointer(where[0]), (tall, wide))  # type: ignore[call-arg]
    row, column = cell // known.width - top, cell % known.width - left
    if not (0 <= row < tall and 0 <= column < wide) or box[row, column] == NO_WAY:
        return False
    known.used[slot] = known.now
    first = 0
    if cell != start:
        out[0] = cell
        first = 1
    for k in range(first, out.size):
        if cell != goal:
            mask, paid = known.steps[cell], known.cost[cell]
            best, found = np.int64(2**31), cell
            for step in range(8):
                if not mask >> step & 1:
                    continue
                dy, dx = STEPS_Y[step], STEPS_X[step]
                to_row, to_column = row + dy, column + dx
                if not (0 <= to_row < tall and 0 <= to_column < wide):
                    continue
                ahead = box[to_row, to_column]
                if ahead == NO_WAY:
                    continue
                there = cell + dy * known.width + dx
                away = ahead + (paid + known.cost[there]) * (SLANT if dx and dy else STRAIGHT)
                if away < best:
                    best, found = away, there
            cell = found
            row, column = cell // known.width - top, cell % known.width - left
        out[k] = cell
    return True


@njit(cache=True)
def follow_all(known: Known, starts: Cells, goals: Cells, asks: Cells, out: Cells) -> int:
    """`follow` for those of many that `asks` lists: int64[n, cells] is written; how many are not known, listed anew."""
    unknown = 0
    for k in range(asks.size):
        i = asks[k]
        if not follow(known, starts[i], goals[i], out[i]):
            asks[unknown] = i
            unknown += 1
    return unknown
