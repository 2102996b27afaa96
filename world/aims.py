"""Aims and measures that considerations are made of; pure functions over rows."""

from __future__ import annotations

from typing import Final

import numpy as np

from world import maths
from world.entities import Ints, Rows
from world.kernels.spots import spots
from world.maths import TILE, Purpose
from world.ruleset import Aim
from world.tiles import WALKABLE
from world.view import FAR, View

NIGHT_STARTS: Final = 21
NIGHT_ENDS: Final = 5
_NEAR_BY: Final = 12 * TILE


def flat(rows: Rows, score: int) -> Ints:
    """The same score for all."""
    return np.full(rows.size, score, dtype=np.int64)


def nobody(rows: Rows) -> Ints:
    """No target for all."""
    return np.zeros(rows.size, dtype=np.int64)


def is_night(view: View) -> bool:
    """Between nine in the evening and five."""
    return view.hour >= NIGHT_STARTS or view.hour < NIGHT_ENDS


def stay(view: View, rows: Rows) -> Aim:
    """Where it stands."""
    return Aim(view.c.x[rows].copy(), view.c.y[rows].copy(), nobody(rows))


def near_point(view: View, rows: Rows, x: Ints, y: Ints, spread: int, era: int | Ints = 0) -> Aim:
    """A spot in sight of a point, within `spread` units, the same for a whole `era`.

    Where a wall is in between it is the point itself. Those who are far aim for the point itself: their ways to it are then one way.
    """
    c = view.c
    x, y = np.array(x, dtype=np.int64), np.array(y, dtype=np.int64)
    eras = np.full(rows.size, era, dtype=np.int64)
    start = np.uint64(maths.stream(view.seed, Purpose.WORKPLACE))
    spots(
        rows, c.x, c.y, c.id, eras, start, spread, _NEAR_BY, view.max_x, view.max_y,
        view.tiles, WALKABLE, x, y,
    )  # fmt: skip
    return Aim(x, y, nobody(rows))


def at_home(view: View, rows: Rows, spread: int = TILE // 2) -> Aim:
    """Home, each at its own spot of it."""
    return near_point(view, rows, view.c.home_x[rows], view.c.home_y[rows], spread)


def roam_near(view: View, rows: Rows, radius: int, era_ticks: int) -> Aim:
    """A random walkable point within `radius` of home, another each era; home if it is none."""
    c = view.c
    era = view.era(rows, era_ticks)
    draw = view.roll(rows, Purpose.ROAM, era)
    x, y = view.clamp(
        c.home_x[rows] + maths.below(draw, 2 * radius + 1) - radius,
        c.home_y[rows] + maths.below(maths.mix_array(draw), 2 * radius + 1) - radius,
    )
    fits = WALKABLE[view.ground(x, y)]
    return Aim(np.where(fits, x, c.home_x[rows]), np.where(fits, y, c.home_y[rows]), nobody(rows))


def chase(view: View, rows: Rows, others: Ints) -> Aim:
    """Go for others (rows; NOBODY stays where it stands)."""
    c = view.c
    some = others >= 0
    at = np.maximum(others, 0)
    return Aim(
        np.where(some, c.x[at], c.x[rows]),
        np.where(some, c.y[at], c.y[rows]),
        ids(view, others),
    )


def ids(view: View, others: Ints) -> Ints:
    return np.where(others >= 0, view.c.id[np.maximum(others, 0)], 0)


def root(view: View, d2: Ints) -> Ints:
    return maths.isqrt(np.minimum(d2, 2**40))


def closeness(view: View, rows: Rows, d2: Ints) -> Ints:
    """0 at the edge of perception or beyond, 1000 at touching distance."""
    reach = np.maximum(view.c.perception[rows], 1)
    out: Ints = np.where(d2 < FAR, (reach - np.minimum(root(view, d2), reach)) * 1000 // reach, 0)
    return out


def health(view: View, rows: Rows) -> Ints:
    return view.c.hp[rows] * 1000 // np.maximum(view.c.max_hp[rows], 1)
