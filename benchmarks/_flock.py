"""Birds that flock on a torus, acting one after another in a new random order each step: rules, kernel, reference.

The rules are those written down in JuliaDynamics/ABMFrameworksComparison (Flocking, commit 553c394). They
ask for 64-bit floats, so this stands with the benchmarks and not in the world, whose state is whole numbers;
how it goes about it is the world's way: lists by square that follow who moved, and draws by key.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

from world import maths
from world.kernels.kinds import Cells
from world.kernels.mixing import mix

Floats = NDArray[np.float64]

STEPS: Final = 100
_ORDER: Final = maths.Purpose.PLUGIN + 1
_BIRTH: Final = maths.Purpose.PLUGIN + 2
_TICK, _ENTITY = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_S32 = np.uint64(32)
_ROOM: Final = 16
"""Birds for which there is room in a square at first."""


@dataclass(frozen=True, slots=True)
class Rules:
    """How many birds fly where, how far they see, and what turns them. Lengths in the space's own unit."""

    birds: int
    side: float
    sight: float
    cohere: float = 0.03
    separate: float = 0.015
    match: float = 0.05
    apart: float = 1.0
    speed: float = 1.0


SMALL: Final = Rules(birds=200, side=100.0, sight=5.0)
LARGE: Final = Rules(birds=400, side=150.0, sight=15.0)


@dataclass(slots=True)
class Flock:
    """Where the birds are and where they head: `x`, `y` in 0..side, (`vx`, `vy`) of length 1, float64[birds]."""

    rules: Rules
    seed: int
    x: Floats
    y: Floats
    vx: Floats
    vy: Floats
    step: int = 0

    @classmethod
    def born(cls, rules: Rules, seed: int) -> Flock:
        """Birds spread evenly, each heading somewhere; a pure function of rules and seed."""
        x, y, vx, vy = (_uniform(seed, rules.birds, k) for k in range(4))
        vx, vy = 2 * vx - 1, 2 * vy - 1
        length = np.sqrt(vx * vx + vy * vy)
        return cls(rules, seed, rules.side * x, rules.side * y, vx / length, vy / length)

    def fly(self, steps: int = STEPS) -> None:
        """Live so many steps."""
        r = self.rules
        across = int(r.side / r.sight) if r.side >= 3 * r.sight else 1
        _fly(
            self.x, self.y, self.vx, self.vy, self.step, steps, _key(self.seed), r.side, r.sight,
            r.cohere, r.separate, r.match, r.apart, r.speed, across,
        )  # fmt: skip
        self.step += steps

    def order_of(self, step: int) -> list[int]:
        """In which order the birds act in a step, counted from 0."""
        order = np.arange(self.rules.birds)
        _shuffle(order, _key(self.seed), step)
        return order.tolist()


def alignment(vx: Floats, vy: Floats) -> float:
    """The length of the mean heading: 0 where all fly their own way, 1 where all fly one way."""
    return float(np.hypot(vx.mean(), vy.mean()))


def step_slowly(flock: Flock) -> None:
    """One step in plain Python, every bird looking at every other: what the kernel is held to."""
    r = flock.rules
    for me in flock.order_of(flock.step):
        seen, pull, push, drift = 0, [0.0, 0.0], [0.0, 0.0], [0.0, 0.0]
        for other in range(r.birds):
            dx = _shortest(flock.x[other] - flock.x[me], r.side)
            dy = _shortest(flock.y[other] - flock.y[me], r.side)
            away = math.sqrt(dx * dx + dy * dy)
            if other == me or away > r.sight:
                continue
            seen += 1
            pull = [pull[0] + dx, pull[1] + dy]
            drift = [drift[0] + flock.vx[other], drift[1] + flock.vy[other]]
            if away < r.apart:
                push = [push[0] - dx, push[1] - dy]
        turn = [
            (pull[k] * r.cohere + push[k] * r.separate + drift[k] * r.match) / max(seen, 1)
            for k in range(2)
        ]
        vx, vy = flock.vx[me] + turn[0], flock.vy[me] + turn[1]
        length = math.sqrt(vx * vx + vy * vy)
        flock.vx[me], flock.vy[me] = vx / length, vy / length
        flock.x[me] = (flock.x[me] + flock.vx[me] * r.speed) % r.side
        flock.y[me] = (flock.y[me] + flock.vy[me] * r.speed) % r.side
    flock.step += 1


def farthest(a: Sequence[Floats], b: Sequence[Floats], side: float) -> float:
    """The longest way on the torus from a bird of one flock (x, y) to the same bird of the other."""
    apart = [np.abs(one - other) for one, other in zip(a, b, strict=True)]
    dx, dy = (np.minimum(d, side - d) for d in apart)
    return float(np.hypot(dx, dy).max())


def _shortest(difference: float, side: float) -> float:
    return difference - side * round(difference / side)


def _uniform(seed: int, count: int, which: int) -> Floats:
    words = maths.keyed_array(seed, np.arange(count), which, _BIRTH)
    out: Floats = (words >> np.uint64(11)).astype(np.float64) * 2.0**-53
    return out


def _key(seed: int) -> np.uint64:
    return np.uint64(maths.mix(seed + maths._GOLDEN * (_ORDER + 1)))


@njit(cache=True)
def _shuffle(order: Cells, key: np.uint64, step: int) -> None:
    """Put 0..n-1 into the order of a step (Fisher and Yates), each draw as `maths.keyed` makes it."""
    moment = mix(key ^ (np.uint64(step) * _TICK))
    for i in range(order.size):
        order[i] = i
    for i in range(order.size - 1, 0, -1):
        word = mix(moment ^ (np.uint64(i) * _ENTITY))
        j = np.int64(((word >> _S32) * np.uint64(i + 1)) >> _S32)
        order[i], order[j] = order[j], order[i]


@njit(cache=True)
def _fly(
    x: Floats,
    y: Floats,
    vx: Floats,
    vy: Floats,
    begin: int,
    steps: int,
    key: np.uint64,
    side: float,
    sight: float,
    cohere: float,
    separate: float,
    match: float,
    apart: float,
    speed: float,
    across: int,
) -> None:
    """Live `steps` steps in place. What is in each of `across` x `across` squares lies together, and follows who moves.

    A bird looks through its own square and the eight around it, so a square is no smaller than a sight, or
    there is only one. What it sees is added up by weights of 0 and 1, since a branch would be guessed wrong
    every other time; it sees itself, too, which is taken off again.
    """
    birds = x.size
    around = np.int64(1 if across >= 3 else 0)
    scale = across / side
    sight2, apart2 = sight * sight, apart * apart
    half = side / 2
    size = np.zeros(across * across, dtype=np.int64)
    who = np.empty((across * across, _ROOM), dtype=np.int64)
    box = np.empty((across * across, _ROOM, 4), dtype=np.float64)
    column, row = np.empty(birds, dtype=np.int64), np.empty(birds, dtype=np.int64)
    slot = np.empty(birds, dtype=np.int64)
    for me in range(birds):
        column[me], row[me] = _square(x[me], scale, across), _square(y[me], scale, across)
        square = row[me] * across + column[me]
        if size[square] == who.shape[1]:
            who, box = _roomier(who, box)
        slot[me] = size[square]
        who[square, slot[me]] = me
        _fill(box[square, slot[me]], x[me], y[me], vx[me], vy[me])
        size[square] += 1
    order = np.empty(birds, dtype=np.int64)
    for step in range(begin, begin + steps):
        _shuffle(order, key, step)
        for i in range(birds):
            me = order[i]
            px, py, hx, hy = x[me], y[me], vx[me], vy[me]
            seen = pull_x = pull_y = push_x = push_y = drift_x = drift_y = 0.0
            for down in range(row[me] - around, row[me] + around + 1):
                r, shift_y = _around(down, across, side)
                for over in range(column[me] - around, column[me] + around + 1):
                    c, shift_x = _around(over, across, side)
                    square = r * across + c
                    for k in range(size[square]):
                        dx, dy = box[square, k, 0] - px, box[square, k, 1] - py
                        if around:
                            dx, dy = dx + shift_x, dy + shift_y
                        else:
                            dx, dy = _shorter(dx, side, half), _shorter(dy, side, half)
                        away = dx * dx + dy * dy
                        sees = 1.0 if away <= sight2 else 0.0
                        shuns = 1.0 if away < apart2 else 0.0
                        seen += sees
                        pull_x += dx * sees
                        pull_y += dy * sees
                        drift_x += box[square, k, 2] * sees
                        drift_y += box[square, k, 3] * sees
                        push_x -= dx * shuns
                        push_y -= dy * shuns
            many = 1 / max(seen - 1, 1.0)
            turn_x = pull_x * cohere + push_x * separate + (drift_x - hx) * match
            turn_y = pull_y * cohere + push_y * separate + (drift_y - hy) * match
            hx, hy = hx + turn_x * many, hy + turn_y * many
            length = 1 / math.sqrt(hx * hx + hy * hy)
            hx, hy = hx * length, hy * length
            px, py = _wrap(px + hx * speed, side), _wrap(py + hy * speed, side)
            x[me], y[me], vx[me], vy[me] = px, py, hx, hy
            c, r = _square(px, scale, across), _square(py, scale, across)
            old, new = row[me] * across + column[me], r * across + c
            if new != old:
                # The last of the square it leaves takes its slot.
                size[old] -= 1
                last = who[old, size[old]]
                who[old, slot[me]] = last
                box[old, slot[me]] = box[old, size[old]]
                slot[last] = slot[me]
                if size[new] == who.shape[1]:
                    who, box = _roomier(who, box)
                column[me], row[me], slot[me] = c, r, size[new]
                who[new, slot[me]] = me
                size[new] += 1
            _fill(box[new, slot[me]], px, py, hx, hy)


@njit(cache=True)
def _around(at: int, across: int, side: float) -> tuple[int, float]:
    """A row or column of squares beyond the edge: which one it is, and how much farther on it lies."""
    if at < 0:
        return at + across, -side
    if at >= across:
        return at - across, side
    return at, 0.0


@njit(cache=True)
def _shorter(difference: float, side: float, half: float) -> float:
    if difference > half:
        return difference - side
    return difference + side if difference < -half else difference


@njit(cache=True)
def _square(at: float, scale: float, across: int) -> int:
    return min(int(at * scale), across - 1)


@njit(cache=True)
def _wrap(at: float, side: float) -> float:
    if at < 0.0:
        at += side
    elif at >= side:
        at -= side
    # What is less below 0 than the side can tell ends at the side itself.
    return 0.0 if at >= side else at


@njit(cache=True)
def _fill(slot: Floats, x: float, y: float, vx: float, vy: float) -> None:
    slot[0], slot[1], slot[2], slot[3] = x, y, vx, vy


@njit(cache=True)
def _roomier(who: Cells, box: Floats) -> tuple[Cells, Floats]:
    """The same with twice the room in each square."""
    squares, room = who.shape
    more_who = np.empty((squares, 2 * room), dtype=np.int64)
    more_box = np.empty((squares, 2 * room, 4), dtype=np.float64)
    more_who[:, :room] = who
    more_box[:, :room] = box
    return more_who, more_box
