"""Ways through the map: shortest, around walls, the same whatever is kept."""

from __future__ import annotations

import heapq

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from world.paths import AHEAD, NO_WAY, SIGHT, Paths, clear
from world.tiles import COST, WALKABLE, Tile

KINDS = (Tile.GRASS, Tile.GRASS, Tile.FOREST, Tile.MUD, Tile.WALL, Tile.WATER)


def ahead(paths: Paths, start: int, goal: int) -> list[int]:
    """One way; empty where there is none."""
    (cells,) = paths.ahead(np.array([start]), np.array([goal])).tolist()
    assert len(cells) == AHEAD
    return [] if cells[0] == NO_WAY else cells


def _slow(nav: np.ndarray, goal: int) -> dict[int, int]:
    """Dijkstra's algorithm with a heap, cell by cell."""
    height, width = nav.shape
    best = {goal: 0}
    heap = [(0, goal)]
    while heap:
        cost, cell = heapq.heappop(heap)
        if cost > best[cell]:
            continue
        y, x = divmod(cell, width)
        for dy in (-1, 0, 1):
            for dx in (-1, 0, 1):
                ny, nx = y + dy, x + dx
                if not (dx or dy) or not (0 <= ny < height and 0 <= nx < width):
                    continue
                if not WALKABLE[nav[ny, nx]]:
                    continue
                if dx and dy and not (WALKABLE[nav[y, nx]] and WALKABLE[nav[ny, x]]):
                    continue
                step = int(COST[nav[y, x]] + COST[nav[ny, nx]]) * (7 if dx and dy else 5)
                there = ny * width + nx
                if cost + step < best.get(there, 2**31):
                    best[there] = cost + step
                    heapq.heappush(heap, (cost + step, there))
    return best


@st.composite
def maps(draw) -> np.ndarray:
    height, width = draw(st.integers(2, 12)), draw(st.integers(2, 12))
    cells = st.lists(st.sampled_from(KINDS), min_size=height * width, max_size=height * width)
    return np.array(draw(cells), dtype=np.uint8).reshape(height, width)


@settings(max_examples=80, deadline=None)
@given(maps(), st.data())
def test_distances_are_the_shortest_and_ways_follow_them(nav, data) -> None:
    free = np.flatnonzero(WALKABLE[nav].reshape(-1)).tolist()
    if not free:
        return
    goal, start = data.draw(st.sampled_from(free)), data.draw(st.sampled_from(free))
    truth = _slow(nav, goal)
    paths = Paths(nav)
    assert paths.cost(start, goal) == truth.get(start, NO_WAY)
    if start not in truth:
        assert ahead(paths, start, goal) == []
        return
    cell, walked = start, 0
    while cell != goal:
        for step in ahead(paths, cell, goal):
            if cell == goal:
                break
            y, x = divmod(cell, nav.shape[1])
            ny, nx = divmod(step, nav.shape[1])
            slant = abs(ny - y) + abs(nx - x) == 2
            walked += int(COST[nav[y, x]] + COST[nav[ny, nx]]) * (7 if slant else 5)
            cell = step
    assert walked == truth[start]


@settings(max_examples=40, deadline=None)
@given(maps(), st.data())
def test_what_was_asked_before_changes_no_answer(nav, data) -> None:
    free = np.flatnonzero(WALKABLE[nav].reshape(-1)).tolist()
    if not free:
        return
    pick = st.sampled_from(free)
    asked = data.draw(st.lists(st.tuples(pick, pick), max_size=10))
    start, goal = data.draw(pick), data.draw(pick)
    seasoned = Paths(nav, budget=200)
    for a, b in asked:
        ahead(seasoned, a, b)
    warmed = Paths(nav)
    warmed.warm([goal])
    expected = ahead(Paths(nav), start, goal)
    assert ahead(seasoned, start, goal) == expected
    assert ahead(warmed, start, goal) == expected


edits = st.lists(
    st.tuples(st.integers(0, 11), st.integers(0, 11), st.sampled_from(tuple(set(KINDS)))),
    min_size=1,
    max_size=4,
)


@settings(max_examples=80, deadline=None)
@given(maps(), st.lists(edits, min_size=1, max_size=4), st.data())
def test_ways_kept_over_changed_ground_are_those_of_a_new_look(nav, rounds, data) -> None:
    pick = st.integers(0, nav.size - 1)
    kept = Paths(nav)
    for changes in rounds:
        for start, goal in data.draw(st.lists(st.tuples(pick, pick), max_size=6)):
            ahead(kept, start, goal)
        old = nav.copy()
        for x, y, tile in changes:
            nav[y % nav.shape[0], x % nav.shape[1]] = tile
        kept.update(nav, np.flatnonzero(old != nav))
        fresh = Paths(nav)
        everywhere = np.arange(nav.size)
        for goal in (*kept._fields, data.draw(pick)):
            goals = np.full(nav.size, goal)
            assert [kept.cost(start, goal) for start in range(nav.size)] == [
                fresh.cost(start, goal) for start in range(nav.size)
            ]
            assert np.array_equal(kept.ahead(everywhere, goals), fresh.ahead(everywhere, goals))
        assert kept.bytes == sum(f.costs.nbytes for f in kept._fields.values())


def test_only_ways_that_pass_by_changed_ground_are_forgotten() -> None:
    nav = np.full((60, 60), Tile.GRASS, dtype=np.uint8)
    paths = Paths(nav)
    for row in (5, 30, 55):
        ahead(paths, row * 60 + 2, row * 60 + 50)
    nav[30, 20] = Tile.WALL
    assert paths.update(nav, np.array([30 * 60 + 20])) == 1
    assert sorted(paths._fields) == [5 * 60 + 50, 55 * 60 + 50]
    assert paths.cost(30 * 60 + 2, 30 * 60 + 50) == 46 * 20 + 2 * 28
    nav[45, 45] = Tile.FIELD
    assert paths.update(nav, np.array([45 * 60 + 45])) == 0  # it is walked as grass is
    assert paths.update(nav, np.array([], dtype=np.int64)) == 0


def test_ground_cheaper_than_any_before_forgets_all_ways() -> None:
    nav = np.full((40, 40), Tile.MUD, dtype=np.uint8)
    paths = Paths(nav)
    ahead(paths, 41, 45)
    nav[30] = Tile.ROAD
    assert paths.update(nav, np.arange(30 * 40, 31 * 40)) == 1


def test_a_map_that_changed_all_over_is_looked_at_anew() -> None:
    nav = np.full((100, 100), Tile.GRASS, dtype=np.uint8)
    paths = Paths(nav)
    ahead(paths, 0, 99)
    nav[50:] = Tile.MUD
    assert paths.update(nav, np.arange(5000, 10_000)) == 1
    assert paths.cost(5000, 5001) == 40


def test_kept_fields_stay_within_the_budget() -> None:
    paths = Paths(np.full((20, 20), Tile.GRASS, dtype=np.uint8), budget=8_000)
    for goal in range(50):
        ahead(paths, 399, goal)
        assert paths.bytes <= 8_000
    paths.warm(list(range(400)))
    assert 0 < paths.bytes <= 8_000


def test_past_the_budget_the_goals_not_asked_for_longest_are_dropped() -> None:
    paths = Paths(np.full((20, 20), Tile.GRASS, dtype=np.uint8))
    for goal in (0, 19, 380):
        ahead(paths, 210, goal)
    paths.budget = paths.bytes
    ahead(paths, 210, 0)
    ahead(paths, 210, 399)
    assert set(paths._fields) >= {0, 399}
    assert 19 not in paths._fields


def test_nobody_walks_to_a_wall_and_the_stranded_find_the_shore() -> None:
    nav = np.full((5, 5), Tile.GRASS, dtype=np.uint8)
    nav[2, 2] = Tile.WALL
    nav[0, 0] = Tile.WATER
    paths = Paths(nav)
    assert ahead(paths, 0, 12) == []
    assert ahead(paths, 0, 24)[0] in (1, 5, 6)


def test_many_are_led_at_once_as_each_alone() -> None:
    rng = np.random.default_rng(5)
    nav = rng.choice(np.array(KINDS, dtype=np.uint8), size=(60, 90))
    starts, goals = rng.integers(0, nav.size, 300), rng.integers(0, nav.size, 300)
    goals[:100] = goals[0]
    together = Paths(nav).ahead(starts, goals)
    alone = [Paths(nav).ahead(starts[i : i + 1], goals[i : i + 1])[0] for i in range(300)]
    assert np.array_equal(together, alone)
    assert 30 < (together[:, 0] == NO_WAY).sum() < 270


def test_a_way_across_a_map_looks_at_little_beside_it() -> None:
    nav = np.full((300, 300), Tile.GRASS, dtype=np.uint8)
    paths = Paths(nav)
    cells = ahead(paths, 150 * 300 + 20, 150 * 300 + 280)
    assert cells == [150 * 300 + 21 + k for k in range(AHEAD)]
    assert paths.bytes < 300 * 300


@settings(max_examples=60, deadline=None)
@given(maps(), st.lists(st.tuples(*[st.integers(0, 2**16)] * 4), min_size=1, max_size=8))
def test_a_line_is_clear_where_every_point_of_it_is(nav, lines) -> None:
    height, width = nav.shape
    x, y, to_x, to_y = (np.array(column) for column in zip(*lines, strict=True))
    x, to_x = x % (width * 256), to_x % (width * 256)
    y, to_y = y % (height * 256), to_y % (height * 256)
    expected = []
    for a, b, c, d in zip(x.tolist(), y.tolist(), to_x.tolist(), to_y.tolist(), strict=True):
        spots = [(a + (c - a) * k // 48, b + (d - b) * k // 48) for k in range(1, 49)]
        free = all(WALKABLE[nav[py // 256, px // 256]] for px, py in spots)
        expected.append(free and (c - a) ** 2 + (d - b) ** 2 <= SIGHT * SIGHT)
    assert clear(nav, x, y, to_x, to_y).tolist() == expected


def test_a_line_through_a_wall_is_not_clear() -> None:
    tiles = np.full((8, 8), Tile.GRASS, dtype=np.uint8)
    tiles[:, 4] = Tile.WALL
    a, b = np.array([256, 256]), np.array([256, 256])
    to_x, to_y = np.array([256 * 7, 256 * 3]), np.array([256, 256 * 7])
    assert clear(tiles, a, b, to_x, to_y).tolist() == [False, True]
