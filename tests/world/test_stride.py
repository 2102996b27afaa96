"""Strides, against the same rules written over whole columns."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from world import maths
from world.kernels.kinds import Bodies, Ground
from world.kernels.stride import stride
from world.maths import TILE
from world.tiles import COST, WALKABLE, Tile

KINDS = (Tile.GRASS, Tile.ROAD, Tile.FOREST, Tile.MUD, Tile.WALL, Tile.WATER)
SIDE = 6


def _plain(x, y, way_x, way_y, speed, pace, stuck, tiles):
    dx, dy = way_x - x, way_y - y
    distance = maths.isqrt(dx * dx + dy * dy)
    ground = tiles[y // TILE, x // TILE]
    step = np.minimum(np.clip(speed * pace // (50 * COST[ground]), 1, TILE - 1), distance)
    whole = np.maximum(distance, 1)
    nx = np.where(step == distance, way_x, x + (dx * step + (whole >> 1)) // whole)
    ny = np.where(step == distance, way_y, y + (dy * step + (whole >> 1)) // whole)
    blocked = WALKABLE[ground] & ~WALKABLE[tiles[ny // TILE, nx // TILE]]
    free_x = WALKABLE[tiles[y // TILE, nx // TILE]] & (nx != x)
    free_y = WALKABLE[tiles[ny // TILE, x // TILE]] & (ny != y) & ~free_x
    held = blocked & ~free_x & ~free_y
    nx = np.where(blocked & ~free_x, x, nx)
    ny = np.where(blocked & ~free_y, y, ny)
    crossed = (nx // TILE != x // TILE) | (ny // TILE != y // TILE)
    stuck = np.where(crossed, 0, stuck + blocked)
    return nx, ny, np.where(held, x, way_x), np.where(held, y, way_y), stuck, crossed


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 200), st.sampled_from((1, 1, 3, 40)))
def test_bodies_stride_as_the_rules_over_columns_say(seed, n, most) -> None:
    """Tick by tick, until each has used its ticks or stands on its waypoint; who is not listed stays."""
    rng = np.random.default_rng(seed)
    tiles = rng.choice(np.array(KINDS, dtype=np.uint8), size=(SIDE, SIDE))
    x, y, way_x, way_y = rng.integers(0, SIDE * TILE, (4, n))
    near = rng.random(n) < 0.5
    way_x[near] = np.clip(x[near] + rng.integers(-9, 9, near.sum()), 0, SIDE * TILE - 1)
    speed, pace, stuck = rng.integers(0, 400, n), rng.integers(1, 400, n), rng.integers(0, 9, n)
    rows, left = rng.permutation(n), rng.integers(1, most + 1, n)
    on = np.flatnonzero(rng.random(n) < 0.9)
    columns = [x, y, way_x, way_y, stuck]
    expected = [*(column.copy() for column in columns), np.zeros(n, dtype=np.bool_)]
    used, walks = np.zeros(n, dtype=np.int64), np.isin(rows, rows[on])
    while walks.any():
        at = rows[walks]
        *moved, crossed = _plain(
            *(e[at] for e in expected[:4]), speed[at], pace[at], expected[4][at], tiles
        )
        for column, values in zip(expected, moved, strict=False):
            column[at] = values
        expected[5][at] |= crossed
        used += walks
        stands = (expected[0] == expected[2]) & (expected[1] == expected[3])
        walks &= (used < left) & ~stands[rows]
    crossed = np.zeros(n, dtype=np.bool_)
    before = left.copy()
    zeros = np.zeros(n, dtype=np.int64)
    bodies = Bodies(x, y, way_x, way_y, zeros, zeros, speed, pace, stuck)
    stride(rows, on, left, bodies, Ground(tiles, WALKABLE, COST), crossed)
    back = np.empty(n, dtype=np.bool_)
    back[rows] = crossed
    for found, meant in zip((*columns, back), expected, strict=True):
        assert found.tolist() == meant.tolist()
    assert left.tolist() == (before - used).tolist()
