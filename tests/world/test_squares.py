"""What everyone sees through the squares is what measuring each pair finds, whoever moved before."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from world.entities import Columns
from world.inputs import Input
from world.kernels.see import see
from world.maths import TILE
from world.squares import SIDE, Squares
from world.tiles import Tile

WIDTH = 40
CLOSE = 9 * TILE
KINDS = 40
"""More than there are bits for them, and so with groups."""
GROUPS = (0, 0, 0, 1, 2, 33, 34)
NOBODY, FAR = -1, 2**62


def _columns(rng: np.random.Generator, n: int) -> Columns:
    columns = Columns(8)
    for entity in rng.permutation(np.arange(1, n + 1)).tolist():
        columns.add(entity, {"species": int(rng.integers(KINDS)), "group": int(rng.choice(GROUPS))})
    columns.perception[: columns.high] = rng.integers(0, 15 * TILE, columns.high)
    return columns


def _move(rng: np.random.Generator, columns: Columns) -> None:
    n = columns.high
    some = rng.random(n) < 0.6
    # Few different numbers, so that many are as near as others.
    columns.x[:n][some] = rng.integers(0, WIDTH // 4, some.sum()) * 4 * TILE
    columns.y[:n][some] = rng.integers(0, WIDTH // 4, some.sum()) * 4 * TILE


def _plain(columns, here, row, relations, shuns, tiles):
    c, own = columns, int(columns.species[row])
    best = [(FAR, 0, NOBODY)] * 3
    threats = mates = 0
    for other in range(c.high):
        if not here[other] or other == row:
            continue
        d2 = int((c.x[other] - c.x[row]) ** 2 + (c.y[other] - c.y[row]) ** 2)
        if c.group[row] and c.group[other] == c.group[row] and d2 <= CLOSE * CLOSE:
            mates += 1
        if d2 > int(c.perception[row]) ** 2:
            continue
        floored = tiles[c.y[other] // TILE, c.x[other] // TILE] == Tile.FLOOR
        for k in range(3):
            if relations[k, own, c.species[other]] and not (k and shuns[own] and floored):
                best[k] = min(best[k], (d2, int(c.id[other]), other))
                threats += k == 0
    return [b[2] for b in best], [b[0] for b in best], threats, mates


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 40))
def test_the_squares_show_whom_measuring_each_pair_finds(seed, n) -> None:
    rng = np.random.default_rng(seed)
    columns = _columns(rng, n)
    relations = rng.random((3, KINDS, KINDS)) < rng.choice((0.02, 0.1, 0.4))
    shuns = rng.random(KINDS) < 0.5
    tiles = rng.choice(np.array([Tile.GRASS, Tile.FLOOR], dtype=np.uint8), size=(WIDTH, WIDTH))
    squares = Squares(WIDTH * TILE - 1, WIDTH * TILE - 1)
    for _ in range(3):
        _move(rng, columns)
        here = rng.random(columns.capacity) < 0.8
        squares.follow(columns, here)
        assert squares.follow(columns, here) == 0
        rows = rng.permutation(columns.high)
        nearest = np.full((3, columns.capacity), NOBODY)
        distance = np.full((3, columns.capacity), FAR)
        threats, mates = np.zeros((2, columns.capacity), dtype=np.int64)
        shut = columns.read_only()
        see(
            rows, shut.x, shut.y, shut.id, shut.species, shut.group, shut.perception,
            relations, shuns, tiles, int(Tile.FLOOR), CLOSE, SIDE, squares.wide, squares.tall,
            squares.first, squares.after, squares.square, nearest, distance, threats, mates,
        )  # fmt: skip
        for row in rows.tolist():
            found = nearest[:, row].tolist(), distance[:, row].tolist(), threats[row], mates[row]
            assert found == _plain(columns, here, row, relations, shuns, tiles)


def test_who_is_within_reach_is_found_wherever_all_have_gone(make_world, at) -> None:
    world = make_world(*(at("villager", 8 + n % 12, 12 + n // 12) for n in range(60)))
    ids = sorted(world.columns.id[world.columns.id > 0].tolist())

    def reached(row: int, reach: int) -> list[tuple[int, int, int]]:
        c = world.columns
        d2 = (c.x - c.x[row]) ** 2 + (c.y - c.y[row]) ** 2
        rows = ((c.id > 0) & (d2 <= reach * reach)).nonzero()[0]
        return sorted((int(d2[r]), int(c.id[r]), int(r)) for r in rows if r != row)

    for tick in range(80):
        inputs = [Input("reset", ids[tick % 60], "t", tick, {"reason": "held", "home": True})]
        if tick % 5 == 1:
            inputs.append(Input("despawn", ids[tick % 60], "t", tick, {}))
        if tick % 5 == 2:
            body = {"species": "deer", "x": 5000, "y": 5000, "name": "", "player": False}
            inputs.append(Input("spawn", 0, "t", tick, body))
        world.step(inputs)
        rows = world.columns.live_rows().tolist()
        for row in (rows[0], rows[tick % len(rows)], rows[-1]):
            for reach in (TILE, 9 * TILE, 100 * TILE):
                found, d2 = world.view().within(row, reach)
                told = [
                    (int(d), int(world.columns.id[r]), int(r))
                    for r, d in zip(found, d2, strict=True)
                ]
                assert told == reached(row, reach)
