"""Walking by compiled loops, against the same rules written out plainly, a body at a time."""

from __future__ import annotations

import heapq

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plugins.manager import build_ruleset
from world import maths, movement
from world.compiled import CompiledScene
from world.entities import HOT
from world.kernels.ways import AHEAD, STEPS_X, STEPS_Y
from world.maths import TILE, Purpose
from world.paths import SIGHT, Paths
from world.ruleset import Ruleset
from world.state import State
from world.tiles import COST, WALKABLE, Tile

KINDS = (*[Tile.GRASS] * 4, Tile.FOREST, Tile.MUD, Tile.WALL, Tile.WATER)
FEW, MOST = 2, 3
SEED = 5
COMPARED = (*HOT, "next_decision", "action_until", "action", "place")


@pytest.fixture(scope="module")
def ruleset() -> Ruleset:
    return build_ruleset()


@pytest.fixture(autouse=True)
def few_are_led(monkeypatch) -> None:
    monkeypatch.setattr(movement, "MAX_LED", FEW)
    monkeypatch.setattr(movement, "MOST_LED", MOST)


@st.composite
def lands(draw):
    """The map that path-finding sees, walls built since, and bodies: from where, to where, how stuck, how fast."""
    height, width = draw(st.integers(2, 14)), draw(st.integers(2, 14))
    cells = st.lists(st.sampled_from(KINDS), min_size=height * width, max_size=height * width)
    nav = np.array(draw(cells), dtype=np.uint8).reshape(height, width)
    walls = draw(st.lists(st.integers(0, nav.size - 1), max_size=2))
    x, y = st.integers(0, width * TILE - 1), st.integers(0, height * TILE - 1)
    middle = st.integers(0, 13).map(lambda n: n * TILE + TILE // 2)
    x, y = (
        x | middle.filter(lambda n: n < width * TILE),
        y | middle.filter(lambda n: n < height * TILE),
    )
    stuck = st.sampled_from((0, 0, 0, 0, 1, 11, 12))
    body = st.tuples(x, y, x, y, stuck, st.integers(1, 120), st.booleans(), st.booleans())
    return nav, walls, draw(st.lists(body, min_size=1, max_size=12))


def _state(ruleset, nav, walls, bodies) -> State:
    height, width = nav.shape
    scene = CompiledScene("land", (width, height), nav, {}, (), (), 1)
    state = State.empty(scene, ruleset, SEED)
    for cell in walls:
        state.paint(cell % width, cell // width, 1, 1, bytes([Tile.WALL]))
    for n, (x, y, goal_x, goal_y, stuck, speed, waits, player) in enumerate(bodies):
        way = (x, y) if waits else (goal_x, goal_y)
        state.add(
            n + 1,
            {
                "x": x, "y": y, "goal_x": goal_x, "goal_y": goal_y, "way_x": way[0], "way_y": way[1],
                "pace": 100, "speed": speed, "stuck": stuck, "action": 1, "action_until": 9,
                "player": int(player),
            },
        )  # fmt: skip
    state.tick = 4
    return state


class _Plain:
    """The rules of walking as they are told, over one dictionary a body."""

    def __init__(self, state: State) -> None:
        c = state.columns
        names = (*COMPARED, "id", "speed", "player")
        self.bodies = [{n: int(getattr(c, n)[row]) for n in names} for row in range(c.high)]
        self.tiles, self.nav, self.tick = state.tiles, state.nav, state.tick
        self.width = state.width

    def walkable(self, x: int, y: int) -> bool:
        return bool(WALKABLE[self.tiles[y // TILE, x // TILE]])

    def sees(self, b, x: int, y: int) -> bool:
        dx, dy = x - b["x"], y - b["y"]
        return dx * dx + dy * dy <= SIGHT * SIGHT and all(
            self.walkable(b["x"] + dx * k // 48, b["y"] + dy * k // 48) for k in range(1, 49)
        )

    def plan(self, waiting) -> None:
        around = []
        for b in waiting:
            here, goal = (b["x"], b["y"]), (b["goal_x"], b["goal_y"])
            same_tile = all(a // TILE == g // TILE for a, g in zip(here, goal, strict=True))
            if here == goal:
                b["pace"] = b["stuck"] = 0
                if b["player"]:
                    b["action"] = 0
            elif same_tile or (b["stuck"] == 0 and self.sees(b, *goal)):
                b["way_x"], b["way_y"] = goal
            elif b["stuck"] >= movement.MAX_STUCK:
                self.give_up(b)
            else:
                b["way_x"], b["way_y"] = here
                around.append(b)
        around.sort(key=lambda b: maths.keyed(SEED, b["id"], self.tick, Purpose.WAY))
        for b in around[: min(MOST, max(FEW, len(around) // 4))]:
            self.lead(b)

    def lead(self, b) -> None:
        cells = self.next_cells(b)
        spots = [
            (cell % self.width * TILE + 128, cell // self.width * TILE + 128) for cell in cells
        ]
        if not spots:
            return self.give_up(b)
        seen = [k for k, spot in enumerate(spots) if b["stuck"] == 0 and self.sees(b, *spot)]
        best = seen[-1] if seen else 0
        if spots[best] == (b["x"], b["y"]):
            best = min(best + 1, AHEAD - 1)
        b["way_x"], b["way_y"] = spots[best]
        if spots[best] == (b["x"], b["y"]):
            self.give_up(b)
        return None

    def give_up(self, b) -> None:
        b["goal_x"] = b["way_x"] = b["x"]
        b["goal_y"] = b["way_y"] = b["y"]
        b["pace"] = b["stuck"] = 0
        if b["player"]:
            b["action"] = 0
        else:
            b["action_until"], b["next_decision"] = 0, self.tick + 20

    def neighbours(self, cell: int):
        """(cell, length) of the steps from a cell, in their order."""
        height, width = self.nav.shape
        y, x = divmod(cell, width)
        for dy, dx in zip(STEPS_Y.tolist(), STEPS_X.tolist(), strict=True):
            ny, nx = y + dy, x + dx
            if 0 <= ny < height and 0 <= nx < width and WALKABLE[self.nav[ny, nx]]:
                slant = bool(dx and dy)
                if not slant or (WALKABLE[self.nav[y, nx]] and WALKABLE[self.nav[ny, x]]):
                    cost = int(COST[self.nav[y, x]] + COST[self.nav[ny, nx]])
                    yield ny * width + nx, cost * (7 if slant else 5)

    def costs(self, goal: int) -> dict[int, int]:
        best, heap = {goal: 0}, [(0, goal)]
        while heap:
            cost, cell = heapq.heappop(heap)
            for there, step in self.neighbours(cell) if cost == best[cell] else ():
                if cost + step < best.get(there, 2**31):
                    best[there] = cost + step
                    heapq.heappush(heap, (cost + step, there))
        return best

    def next_cells(self, b) -> list[int]:
        width = self.nav.shape[1]
        cell = b["y"] // TILE * width + b["x"] // TILE
        goal = b["goal_y"] // TILE * width + b["goal_x"] // TILE
        cells = []
        if not WALKABLE[self.nav.reshape(-1)[cell]]:
            y, x = divmod(cell, width)
            spots = [
                (y + dy, x + dx) for dy, dx in zip(STEPS_Y.tolist(), STEPS_X.tolist(), strict=True)
            ]
            shore = [
                (ny, nx)
                for ny, nx in spots
                if 0 <= ny < self.nav.shape[0] and 0 <= nx < width and WALKABLE[self.nav[ny, nx]]
            ]
            if not shore:
                return []
            cell = shore[0][0] * width + shore[0][1]
            cells = [cell]
        if not WALKABLE[self.nav.reshape(-1)[goal]]:
            return []
        costs = self.costs(goal)
        if cell not in costs:
            return []
        while len(cells) < AHEAD:
            if cell != goal:
                steps = [
                    (costs[t] + step, n, t) for n, (t, step) in enumerate(self.neighbours(cell))
                ]
                cell = min(steps)[2]
            cells.append(cell)
        return cells

    def step(self, b) -> None:
        dx, dy = b["way_x"] - b["x"], b["way_y"] - b["y"]
        distance = int(maths.isqrt(np.array([dx * dx + dy * dy]))[0])
        ground = self.tiles[b["y"] // TILE, b["x"] // TILE]
        pace = b["speed"] * b["pace"] // (50 * int(COST[ground]))
        step = min(max(pace, 1), TILE - 1, distance)
        x, y = b["way_x"], b["way_y"]
        if step < distance:
            x = b["x"] + (dx * step + distance // 2) // distance
            y = b["y"] + (dy * step + distance // 2) // distance
        if WALKABLE[ground] and not self.walkable(x, y):
            b["stuck"] += 1
            if x != b["x"] and self.walkable(x, b["y"]):
                y = b["y"]
            elif y != b["y"] and self.walkable(b["x"], y):
                x = b["x"]
            else:
                x, y = b["x"], b["y"]
                b["way_x"], b["way_y"] = x, y
        if (x // TILE, y // TILE) != (b["x"] // TILE, b["y"] // TILE):
            b["stuck"] = 0
        b["x"], b["y"] = x, y

    def walk(self) -> None:
        walking = [b for b in self.bodies if b["pace"]]
        self.plan([b for b in walking if _waits(b)])
        for b in walking:
            if b["pace"]:
                self.step(b)

    def leap(self, ticks: list[int]) -> list[int]:
        """As the stride of `movement.leap`: who waits is led, then each walks to its waypoint, and so on."""
        left = {b["id"]: n for b, n in zip(self.bodies, ticks, strict=True) if b["pace"]}
        while any(left.values()):
            walking = [b for b in self.bodies if b["pace"] and left.get(b["id"])]
            if not walking:
                break
            self.plan([b for b in walking if _waits(b)])
            for b in walking:
                while b["pace"] and left[b["id"]]:
                    self.step(b)
                    left[b["id"]] -= 1
                    if _waits(b):
                        break
        return [n - left.get(b["id"], n) for b, n in zip(self.bodies, ticks, strict=True)]


def _waits(b) -> bool:
    return (b["x"], b["y"]) == (b["way_x"], b["way_y"])


def _differences(state: State, plain: _Plain) -> list[tuple[str, int, int, int]]:
    return [
        (name, row, int(getattr(state.columns, name)[row]), b[name])
        for row, b in enumerate(plain.bodies)
        for name in COMPARED
        if int(getattr(state.columns, name)[row]) != b[name]
    ]


@settings(max_examples=60, deadline=None)
@given(land=lands(), budget=st.sampled_from((None, 100)))
def test_a_tick_s_walk_and_ways_are_those_of_the_plain_rules(ruleset, land, budget) -> None:
    state = _state(ruleset, *land)
    plain, paths = _Plain(state), Paths(state.nav, budget)
    for _ in range(25):
        movement.walk(state, paths, [])
        plain.walk()
        assert _differences(state, plain) == []
        state.tick += 1
        plain.tick += 1


@settings(max_examples=60, deadline=None)
@given(land=lands(), budget=st.sampled_from((None, 100)), data=st.data())
def test_a_stride_and_its_ways_are_those_of_the_plain_rules(ruleset, land, budget, data) -> None:
    state = _state(ruleset, *land)
    plain, paths = _Plain(state), Paths(state.nav, budget)
    rows = np.arange(state.columns.high)
    for _ in range(2):
        ticks = data.draw(st.lists(st.integers(1, 60), min_size=rows.size, max_size=rows.size))
        under_way = movement.leap(state, paths, rows, np.array(ticks), [])
        assert under_way.tolist() == plain.leap(ticks)
        assert _differences(state, plain) == []
        assert state.hash() == state.full_hash()


@pytest.mark.parametrize("ticks", [1, 40])
def test_who_asks_a_way_is_led_by_draw_and_no_more_than_so_many_at_once(ruleset, ticks) -> None:
    """Twelve stand before a wall with one gap: a tick leads three of them, a stride all, a round each tick."""
    nav = np.full((20, 20), Tile.GRASS, dtype=np.uint8)
    nav[10, :19] = Tile.WALL
    bodies = [(n * TILE + 128, 300, 300, 19 * TILE, 0, 60, True, False) for n in range(12)]
    state = _state(ruleset, nav, [], bodies)
    plain, paths = _Plain(state), Paths(nav)
    movement.leap(state, paths, np.arange(12), np.full(12, ticks), [])
    plain.leap([ticks] * 12)
    assert _differences(state, plain) == []
    c = state.columns
    moved = (c.x[:12] != np.arange(12) * TILE + 128) | (c.y[:12] != 300)
    assert int(moved.sum()) == (MOST if ticks == 1 else 12)
