"""How a group closes in: where each attacker goes while a tactic stands."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from world.entities import Ints, Rows
from world.maths import RING, TILE, clip, compass
from world.ruleset import TACTICS
from world.tiles import WALKABLE
from world.view import View

FOCUS, FLANK, SURROUND = (TACTICS.index(t) for t in ("focus", "flank", "surround"))
HOLD, PROTECT, RETREAT = (TACTICS.index(t) for t in ("hold", "protect", "retreat"))
_RING_RADIUS: Final = 5
_CLOSE: Final = 5 * TILE // 2
_RING: Final = _RING_RADIUS * TILE
_IN_PLACE: Final = 2 * TILE
_TURN: Final = 3
_FLANKS: Final = np.array([0, 4, 12, 3, 13, 5, 11, 8], dtype=np.int64)


def standing(view: View, rows: Rows) -> Ints:
    """The tactic each row follows now: the order while it stands, else its species' own first."""
    c = view.c
    ordered = (c.order_until[rows] > view.tick) & (c.tactic[rows] > 0)
    own = np.where(c.group[rows] > 0, view.own_tactic[c.species[rows]], 0)
    out: Ints = np.where(ordered, c.tactic[rows], own)
    return out


def approach(view: View, rows: Rows, victims: Rows) -> tuple[Ints, Ints]:
    """Points that attackers walk to on their way to their victims, by their tactic.

    Those close to the victim go straight for it; the others take their slot of the ring or the
    flank first, if it lies on ground that can be walked. `hold` stays where it is.
    """
    c = view.c
    x, y = c.x[victims].copy(), c.y[victims].copy()
    tactic = standing(view, rows)
    if not tactic.any():
        return x, y
    dx, dy = x - c.x[rows], y - c.y[rows]
    d2 = dx * dx + dy * dy
    far = d2 > _CLOSE * _CLOSE
    slot, count, front = _slots(view, rows, victims, dx, dy)
    ring = (tactic == SURROUND) & (count > 1)
    flank = (tactic == FLANK) & (slot > 0)
    if ring.any() or flank.any():
        slots = (front + 8 + slot * 16 // np.maximum(count, 1)) % 16
        beside = (front + 8 + _FLANKS[slot % len(_FLANKS)]) % 16
        here, there = compass(-dx, -dy), np.where(flank, beside, slots)
        side = _around(here, there)
        sx = x + RING[side, 0] * _RING_RADIUS
        sy = y + RING[side, 1] * _RING_RADIUS
        # Who runs in from its slot has it still: else the ring would call back whom it has let go. A slot that
        # nobody can stand on is not waited for.
        free = _free(view, sx, sy)
        ox, oy = sx - c.x[rows], sy - c.y[rows]
        sure = (side == there) & (ox * ox + oy * oy <= _IN_PLACE * _IN_PLACE)
        sure |= (np.abs(_turn(here, there)) <= 1) & (d2 <= _RING * _RING)
        placed = sure | ~far | ~free
        ready = _all_ready(victims, placed)
        waits = far & free & ((ring & ~ready) | (flank & ~placed))
        x, y = np.where(waits, sx, x), np.where(waits, sy, y)
    holds = tactic == HOLD
    x, y = np.where(holds, c.x[rows], x), np.where(holds, c.y[rows], y)
    return view.clamp(x, y)


def _free(view: View, x: Ints, y: Ints) -> NDArray[np.bool_]:
    """Whether points lie on the map, on ground that can be walked."""
    on_x, on_y = view.clamp(x, y)
    out: NDArray[np.bool_] = (on_x == x) & (on_y == y) & WALKABLE[view.ground(on_x, on_y)]
    return out


def _around(here: Ints, there: Ints) -> Ints:
    """The next bearing on the way round from one to another: three sixteenths of the circle at most."""
    return (here + clip(_turn(here, there), -_TURN, _TURN)) % 16


def _turn(here: Ints, there: Ints) -> Ints:
    """Sixteenths of the circle from one bearing to another, -8 to 7."""
    return (there - here + 8) % 16 - 8


def _slots(view: View, rows: Rows, victims: Rows, dx: Ints, dy: Ints) -> tuple[Ints, Ints, Ints]:
    """Each attacker's number among those after the same victim, how many, and the first's heading."""
    order = np.lexsort((view.c.id[rows], victims))
    ordered = victims[order]
    first = np.ones(rows.size, dtype=np.bool_)
    first[1:] = ordered[1:] != ordered[:-1]
    starts, which = first.nonzero()[0], first.cumsum() - 1
    slot = np.empty(rows.size, dtype=np.int64)
    count = np.empty(rows.size, dtype=np.int64)
    front = np.empty(rows.size, dtype=np.int64)
    slot[order] = np.arange(rows.size) - starts[which]
    count[order] = np.bincount(which)[which]
    front[order] = compass(dx[order[starts]], dy[order[starts]])[which]
    return slot, count, front


def _all_ready(victims: Rows, placed: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Whether two thirds of those after the same victim have taken their places."""
    unique, which = np.unique(victims, return_inverse=True)
    total = np.bincount(which, minlength=unique.size)
    there = np.bincount(which[placed], minlength=unique.size)
    out: NDArray[np.bool_] = (there * 3 >= total * 2)[which]
    return out
