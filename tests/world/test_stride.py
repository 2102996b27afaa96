"""Strides, against the same rules written over whole columns."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from world import maths
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
    return nx, ny, np.where(held, x, way_x), np.where(held, y, way_y), stuck + blocked, crossed


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 200))
def test_bodies_stride_as_the_rules_over_columns_say(seed, n) -> None:
    rng = np.random.default_rng(seed)
    tiles = rng.choice(np.array(KINDS, dtype=np.uint8), size=(SIDE, SIDE))
    x, y, way_x, way_y = rng.integers(0, SIDE * TILE, (4, n))
    near = rng.random(n) < 0.5
    way_x[near] = np.clip(x[near] + rng.integers(-9, 9, near.sum()), 0, SIDE * TILE - 1)
    speed, pace, stuck = rng.integers(0, 400, n), rng.integers(1, 400, n), rng.integers(0, 9, n)
    expected = _plain(x, y, way_x, way_y, speed, pace, stuck, tiles)
    crossed = np.zeros(n, dtype=np.bool_)
    rows = rng.permutation(n)
    stride(rows, x, y, way_x, way_y, speed, pace, stuck, tiles, WALKABLE, COST, crossed)
    back = np.empty(n, dtype=np.bool_)
    back[rows] = crossed
    for found, meant in zip((x, y, way_x, way_y, stuck, back), expected, strict=True):
        assert found.tolist() == meant.tolist()
