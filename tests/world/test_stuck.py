"""Whoever is stuck is found, whoever is not is left alone, and a reset is an input like any other."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import greenroom.scenes
from world.compiled import Spawn
from world.inputs import Input
from world.maths import TILE
from world.ruleset import Ruleset
from world.scene import compile_scene, load
from world.stuck import HELD, LOOK_EVERY, UNMENDED, Found, Stuck
from world.tiles import Tile
from world.world import World

VALLEY = Path(greenroom.scenes.__path__[0]) / "valley"
MakeWorld = Callable[..., World]


def at(x: int, y: int) -> tuple[int, int]:
    return x * TILE + TILE // 2, y * TILE + TILE // 2


def look(world: World, stuck: Stuck, ticks: int, each: Callable[[], None]) -> list[Found]:
    """Live `ticks` ticks, with `each` called before every look."""
    found: list[Found] = []
    for _ in range(ticks):
        world.step()
        if world.tick % LOOK_EVERY == 0:
            each()
            found += stuck.look(world.view())
    return found


def only(world: World) -> int:
    (row,) = world.columns.live_rows().tolist()
    return int(row)


@pytest.fixture
def villager(make_world: MakeWorld) -> World:
    return make_world(Spawn("villager", *at(10, 10), "Tam", home="cottage", work="field"))


def test_one_who_wants_to_move_and_does_not_is_held(villager: World) -> None:
    c = villager._state.columns
    row = only(villager)
    x, y = int(c.x[row]), int(c.y[row])

    def hold() -> None:
        villager._state.put(row, x=x, y=y, goal_x=x + 9 * TILE, pace=60)

    found = look(villager, Stuck(), HELD + 3 * LOOK_EVERY, hold)
    assert [one.reason for one in found] == ["held"]
    assert found[0].entity == int(c.id[row])
    assert HELD <= found[0].ticks <= HELD + LOOK_EVERY


def test_a_need_at_its_bound_with_the_same_plan_for_long_is_starved(villager: World) -> None:
    row = only(villager)

    def starve() -> None:
        here = {
            name: int(villager._state.columns.data[i, row]) for i, name in enumerate(("x", "y"))
        }
        villager._state.put(
            row, hunger=1000, action=0, intent=0, goal_x=here["x"], goal_y=here["y"], pace=0,
            next_decision=villager.tick + 500,
        )  # fmt: skip

    found = look(villager, Stuck(), UNMENDED + 5 * LOOK_EVERY, starve)
    assert "starved" in [one.reason for one in found]
    assert all(one.ticks >= UNMENDED for one in found)


def test_a_choice_that_holds_for_ever_is_bound(villager: World) -> None:
    row = only(villager)
    code = villager.ruleset.activity_code["idle"]
    c = villager._state.columns
    here = {"goal_x": int(c.x[row]), "goal_y": int(c.y[row])}
    villager._state.put(
        row, action=code, intent=-1, action_until=10**6, next_decision=10**6, **here
    )
    found = look(villager, Stuck(), UNMENDED + 5 * LOOK_EVERY, lambda: None)
    assert [one.reason for one in found] == ["bound"]


def test_one_walled_in_all_day_is_rooted_and_carried_home(villager: World) -> None:
    row = only(villager)
    c = villager._state.columns
    x, y = at(25, 40)
    villager._state.put(row, x=x, y=y, way_x=x, way_y=y, goal_x=x, goal_y=y)
    walls = bytes([Tile.WALL] * 9)
    cells = bytearray(walls)
    cells[4] = Tile.GRASS
    around = {"x": 24, "y": 39, "w": 3, "h": 3, "data": bytes(cells)}
    assert villager.step([Input("tiles", 0, "test", 1, around)]).accepted
    found = look(villager, Stuck(), villager.day_ticks + 3 * LOOK_EVERY, lambda: None)
    assert "rooted" in [one.reason for one in found]
    entity = int(c.id[row])
    reset = Input("reset", entity, "director:watch", 1, {"reason": "rooted", "home": True})
    result = villager.step([reset])
    assert result.accepted
    assert (int(c.x[row]) // TILE, int(c.y[row]) // TILE) == (10, 10)
    assert [e.data["reason"] for e in result.events if e.kind == "reset"] == ["rooted"]
    assert villager.hash() == villager.full_hash()


def test_a_reset_frees_from_a_choice_and_reflexes_take_over(villager: World) -> None:
    row = only(villager)
    c = villager._state.columns
    entity = int(c.id[row])
    villager.step([Input("wait", entity, f"npc:{entity}", 1, {})])
    assert c.action_until[row] > villager.tick
    villager.step([Input("reset", entity, "director:watch", 1, {"reason": "bound"})])
    assert c.action_until[row] == 0
    for _ in range(8):
        villager.step()
    assert c.intent[row] >= 0


@pytest.mark.parametrize("proposer", ["client:ann", "npc:1", "group:1"])
def test_nobody_but_the_system_may_reset(villager: World, proposer: str) -> None:
    entity = int(villager.columns.id[only(villager)])
    result = villager.step([Input("reset", entity, proposer, 1, {"reason": "bound"})])
    assert [r.code for r in result.rejections] == ["not_yours"]


def test_players_and_the_dead_are_not_reset(make_world: MakeWorld) -> None:
    world = make_world(Spawn("villager", *at(10, 10), "Tam"))
    body = {"species": "traveller", "x": at(12, 22)[0], "y": at(12, 22)[1], "player": True}
    made = world.step([Input("spawn", 0, "director", 1, body)]).accepted[0].detail["entity"]
    reset = Input("reset", made, "director:watch", 1, {"reason": "held"})
    gone = Input("reset", 77, "director:watch", 2, {"reason": "held"})
    codes = {r.code for r in world.step([reset, gone]).rejections}
    assert codes == {"not_yours", "no_such_entity"}


def test_what_a_look_finds_does_not_hang_on_earlier_looks_of_another(villager: World) -> None:
    one, two = Stuck(), Stuck()
    code = villager.ruleset.activity_code["idle"]
    row = only(villager)
    c = villager._state.columns
    here = {"goal_x": int(c.x[row]), "goal_y": int(c.y[row])}
    villager._state.put(
        row, action=code, intent=-1, action_until=10**6, next_decision=10**6, **here
    )
    before = villager.hash()
    for _ in range(5):
        assert one.look(villager.view()) == two.look(villager.view())
    assert villager.hash() == before


def test_nobody_in_the_valley_is_taken_for_stuck(rules: Ruleset) -> None:
    world = World(compile_scene(load(VALLEY), rules.species_names, None, None), rules, 7)
    found = look(world, Stuck(), 6_000, lambda: None)
    assert found == []


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_nobody_in_the_valley_is_taken_for_stuck_in_ten_days(rules: Ruleset) -> None:
    world = World(compile_scene(load(VALLEY), rules.species_names, None, 200), rules, 7)
    assert np.count_nonzero(world.columns.id) > 200
    assert look(world, Stuck(), 240_000, lambda: None) == []
