"""Choosing, taking up, spots and needs in compiled loops, against the same rules written over whole columns."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks import _plain
from plugins.manager import build_ruleset
from world.entities import INDEX, Columns
from world.kernels import choices, drift
from world.kernels.sight import SIGHT, clear
from world.kernels.spots import spots
from world.maths import TILE, Purpose, stream
from world.needs import BOUNDS
from world.tiles import WALKABLE, Tile

SIDE = 12
GROUNDS = (Tile.GRASS, Tile.GRASS, Tile.GRASS, Tile.GRASS, Tile.WALL)
REASONS = 5
seeds = st.integers(0, 2**32)
bodies = st.integers(1, 60)


def _columns(rng: np.random.Generator, n: int, **bounds: tuple[int, int]) -> Columns:
    columns = Columns(n)
    for entity in rng.choice(2**40, n, replace=False).tolist():
        columns.add(entity + 1, {})
    for name, (low, high) in bounds.items():
        columns.data[INDEX[name], :n] = rng.integers(low, high, n)
    return columns


def _twin(columns: Columns) -> Columns:
    return Columns.from_state(columns.get_state())


def _same(one: Columns, other: Columns) -> None:
    for name, column in INDEX.items():
        assert one.data[column, : one.high].tolist() == other.data[column, : one.high].tolist(), (
            name
        )


@settings(max_examples=80)
@given(seeds, bodies)
def test_the_best_of_all_scores_is_chosen_as_the_rules_over_columns_say(seed, n) -> None:
    rng = np.random.default_rng(seed)
    c = _columns(rng, n, intent=(-1, REASONS), left=(-1, REASONS), since=(0, 400))
    # Few different scores, so that many are equal; some beyond what counts.
    scores = rng.choice(np.array([-5, 0, 1, 40, 80, 150, 190, 999, 1000, 4000]), (REASONS, n))
    in_danger = rng.random(n) < 0.5
    rows = rng.permutation(n)
    out = np.empty(n, dtype=np.int64)
    choices.best(scores, rows, c.intent, c.left, c.since, in_danger, 400, 40, 150, 200, out)
    assert out.tolist() == _plain.best(scores, rows, c, in_danger, 400, 40, 150, 200).tolist()


@settings(max_examples=80)
@given(seeds, bodies, st.booleans(), st.integers(-1, 3))
def test_what_is_chosen_is_taken_up_as_the_rules_over_columns_say(seed, n, chases, choice) -> None:
    rng = np.random.default_rng(seed)
    spot = (0, 3)
    c = _columns(
        rng, n, x=spot, y=spot, way_x=spot, way_y=spot, goal_x=spot, goal_y=spot, pace=(0, 3), stuck=(0, 3),
        phase=(0, 100), target=(0, 3), action=(0, 3), intent=(-1, 3), left=(-1, 3), since=(0, 9),
    )  # fmt: skip
    other = _twin(c)
    rows = rng.permutation(n)[: 1 + n // 2]
    goal_x, goal_y, target = rng.integers(-2, 5, (3, rows.size))
    speed = rng.integers(-9, 500, rows.size)
    aim = (rows, goal_x, goal_y, target, speed, choice, 2, 40, chases, 77, 2, 2)
    choices.take_up(
        *aim, c.x, c.y, c.way_x, c.way_y, c.goal_x, c.goal_y, c.pace, c.stuck, c.phase,
        c.target, c.action, c.intent, c.left, c.since, c.action_until, c.next_decision,
    )  # fmt: skip
    _plain.take_up(other, *aim)
    _same(c, other)


@settings(max_examples=80)
@given(seeds, bodies, st.integers(0, 6 * TILE))
def test_bodies_make_for_the_spots_that_the_rules_over_columns_give(seed, n, spread) -> None:
    rng = np.random.default_rng(seed)
    tiles = rng.choice(np.array(GROUNDS, dtype=np.uint8), size=(SIDE, SIDE))
    most = SIDE * TILE - 1
    c = _columns(rng, n, x=(0, most + 1), y=(0, most + 1))
    rows = rng.permutation(n)
    x, y = rng.integers(0, most + 1, (2, n))
    era = rng.integers(0, 9, n)
    near = 8 * TILE
    expected = _plain.spots(c, rows, x, y, era, seed, spread, near, tiles, SIGHT)
    spots(
        rows, c.x, c.y, c.id, era, np.uint64(stream(seed, Purpose.WORKPLACE)), spread, near,
        most, most, tiles, WALKABLE, x, y,
    )  # fmt: skip
    assert (x.tolist(), y.tolist()) == tuple(found.tolist() for found in expected)


def test_a_spot_about_a_point_off_the_map_is_on_it() -> None:
    c = Columns(8)
    c.add(7, {"x": 10, "y": 10})
    tiles = np.full((SIDE, SIDE), Tile.GRASS, dtype=np.uint8)
    most = SIDE * TILE - 1
    for away in (-5000, 10**6):
        x, y = np.full((2, 1), away)
        spots(
            np.zeros(1, dtype=np.int64), c.x, c.y, c.id, np.zeros(1, dtype=np.int64), np.uint64(5),
            TILE, 99 * TILE, most, most, tiles, WALKABLE, x, y,
        )  # fmt: skip
        assert 0 <= x[0] <= most
        assert 0 <= y[0] <= most


@settings(max_examples=80)
@given(seeds, bodies)
def test_lines_are_clear_where_each_of_their_points_is(seed, n) -> None:
    rng = np.random.default_rng(seed)
    tiles = rng.choice(np.array(GROUNDS, dtype=np.uint8), size=(SIDE, SIDE))
    x, y, to_x, to_y = rng.integers(0, SIDE * TILE, (4, n))
    out = np.empty(n, dtype=np.bool_)
    clear(tiles, WALKABLE, x, y, to_x, to_y, out)
    assert out.tolist() == _plain.clear(tiles, x, y, to_x, to_y, SIGHT).tolist()


@pytest.fixture(scope="module")
def rules():
    return build_ruleset()


@settings(max_examples=80)
@given(seed=seeds, n=bodies)
def test_needs_change_as_the_rules_over_columns_say_and_are_told_where_they_do(
    rules, seed, n
) -> None:
    rng = np.random.default_rng(seed)
    tables, code = rules.tables, rules.activity_code
    low, full = rng.choice((0, 30, 90, 960)), (0, 1001)
    c = _columns(
        rng, n, species=(0, len(rules.species_list)), action=(0, len(rules.activities)), player=(0, 2),
        threat=(0, 2), hurt_at=(0, 900), downed_until=(-1, 1), max_hp=(1, 90), hp=(0, 90), hunger=full,
        fatigue=full, fear=full, mood=(-1000, 1001),
    )  # fmt: skip
    some = rng.random(n) < 0.4
    c.hunger[:n][some] = c.fatigue[:n][some] = low
    other = _twin(c)
    before = c.data[:, :n].copy()
    rows = rng.permutation(n)[: 1 + n // 2]
    at_it, tick = rng.random(rows.size) < 0.5, rng.integers(400, 1300, rows.size)
    told = np.empty(rows.size, dtype=np.uint8)
    drift.drift(
        rows, tick, at_it, c.species, c.action, c.player, c.threat, c.hurt_at, c.downed_until,
        c.max_hp, c.hunger, c.fatigue, c.fear, c.hp, c.mood, tables.hunger, tables.fatigue,
        tables.act_hunger, tables.act_fatigue, tables.act_fear, tables.act_mood,
        code["rest"], code["eat"], 400, 100, 40, BOUNDS, told,
    )  # fmt: skip
    fed, slept = _plain.drift(other, rows, tick, at_it, rules, 400, 100, 40)
    _same(c, other)
    changed = (c.data[:, :n] != before).any(axis=0)[rows]
    for flag, who in ((drift.CHANGED, changed), (drift.SATED, fed), (drift.RESTED, slept)):
        assert ((told & flag) != 0).tolist() == who.tolist()
