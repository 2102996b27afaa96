"""Propose, then commit or reject with a reason: every word of the vocabulary and every refusal."""

from __future__ import annotations

import numpy as np
import pytest

from world.actions import EARSHOT
from world.inputs import Accepted, Input, Rejection
from world.maths import TILE
from world.paths import NO_WAY
from world.tiles import Tile
from world.world import NAV_INTERVAL


def one(result) -> Accepted | Rejection:
    """The outcome of the only input."""
    assert len(result.accepted) + len(result.rejections) == 1
    return (result.accepted + result.rejections)[0]


@pytest.fixture
def stage(make_world, at, who):
    """A player between a villager, a wolf and a well, all close; a deer far away."""
    world = make_world(
        at("villager", 16, 22, name="Ada"),
        at("deer", 60, 60, name="Doe"),
        at("well", 14, 22, name="the well"),
        at("hare", 15, 23, name="Hop"),
    )
    place = {"species": "traveller", "x": 15 * TILE + 128, "y": 22 * TILE + 128}
    spawn = Input("spawn", 0, "director", 0, {**place, "name": "Pia", "player": True})
    player = one(world.step([spawn])).detail["entity"]
    ids = {name: who(world, name) for name in ("Ada", "Doe", "the well", "Hop")}
    return world, player, ids


def test_a_player_walks_to_a_point_and_stops_there(stage, propose, middle) -> None:
    world, player, _ = stage
    x, y = middle(22, 26)
    assert isinstance(one(world.step([propose("move", player, x=x, y=y)])), Accepted)
    for _ in range(200):
        world.step()
    c = world.columns
    row = c.row_of(player)
    assert (c.x[row], c.y[row], c.pace[row]) == (x, y, 0)


def test_nobody_but_the_player_moves_the_players_body(stage) -> None:
    world, player, _ = stage
    c = world.columns
    before = int(c.x[c.row_of(player)]), int(c.y[c.row_of(player)])
    for _ in range(600):
        world.step()
    c = world.columns
    assert (int(c.x[c.row_of(player)]), int(c.y[c.row_of(player)])) == before


def test_an_attack_hurts_and_cools_down(stage, propose) -> None:
    world, player, ids = stage
    first = world.step([propose("attack", player, target=ids["Hop"])])
    hurt = one(first).detail["damage"]
    assert hurt >= 1
    attacked = [e for e in first.events if e.kind == "attacked"]
    assert [(e.entity, e.target, e.data["damage"]) for e in attacked] == [
        (player, ids["Hop"], hurt)
    ]
    refused = one(world.step([propose("attack", player, n=1, target=ids["Hop"])]))
    assert isinstance(refused, Rejection)
    assert refused.code in ("cooling_down", "no_valid_target")


def test_speech_is_heard_by_those_in_earshot(stage, propose) -> None:
    world, player, ids = stage
    result = world.step([propose("say", player, to=ids["Ada"], text="Hello, Ada")])
    said = next(e for e in result.events if e.kind == "said")
    assert said.data["text"] == "Hello, Ada"
    assert said.data["heard_by"] == [ids["Ada"]]
    assert said.target == ids["Ada"]


@pytest.mark.parametrize(
    ("need", "thing"),
    [("fatigue", "well"), ("fear", "hearth"), ("mood", "shrine"), ("hunger", "food")],
)
def test_things_do_good(make_world, at, propose, who, need, thing) -> None:
    world = make_world(at("villager", 16, 22, name="Ada"), at(thing, 17, 22))
    ada, it = who(world, "Ada"), who(world, thing)
    twin = make_world(at("villager", 16, 22, name="Ada"), at(thing, 17, 22))
    assert isinstance(one(world.step([propose("use", ada, target=it)])), Accepted)
    twin.step()
    row = world.columns.row_of(ada)
    used, unused = (int(getattr(w.columns, need)[row]) for w in (world, twin))
    assert (used > unused) if need == "mood" else (used < unused or unused == 0)


def test_the_lever_breaks_the_dam_once(make_world, at, propose, who) -> None:
    world = make_world(at("villager", 30, 9, name="Ada"), at("dam_lever", 30, 8))
    ada, lever = who(world, "Ada"), who(world, "dam_lever")
    result = world.step([propose("use", ada, target=lever)])
    assert {e.kind for e in result.events} >= {"used", "dam_broken", "tiles"}
    assert (world.tiles[8, 32:35] == Tile.MUD).all()
    assert not (world.tiles == Tile.DAM).any()
    assert world.globals["dam_broken"] == 1
    for _ in range(10):
        world.step()
    again = one(world.step([propose("use", ada, n=1, target=lever)]))
    assert again.code == "no_valid_target"


def test_painting_changes_the_map_and_tells(stage, propose) -> None:
    world, _, _ = stage
    data = bytes([Tile.WATER] * 6)
    result = world.step([propose("tiles", 0, x=40, y=50, w=3, h=2, data=data)])
    assert (world.tiles[50:52, 40:43] == Tile.WATER).all()
    assert world.frame().tile_changes == ((40, 50, 3, 2, data),)
    assert [e.data for e in result.events if e.kind == "tiles"] == [
        {"x": 40, "y": 50, "w": 3, "h": 2}
    ]


def test_path_finding_sees_painted_ground_at_its_next_look_and_the_hash_keeps_up(
    stage, propose
) -> None:
    world, _, _ = stage
    world.step([propose("tiles", 0, x=40, y=50, w=3, h=2, data=bytes([Tile.WATER] * 6))])
    cell = 50 * world.width + 41
    assert world._paths.cost(cell - 3, cell) != NO_WAY
    while world.tick % NAV_INTERVAL:
        world.step()
    assert world._paths.cost(cell - 3, cell) == NO_WAY
    assert np.array_equal(world._state.nav, world.tiles)
    assert world.hash() == world.full_hash()


def test_an_order_reaches_the_whole_group_for_its_time(make_world, propose, who) -> None:
    world = make_world()
    result = world.step([propose("order", 0, group=1, tactic="retreat", ticks=50)])
    c = world.columns
    wolves = c.group[: c.high] == 1
    assert (c.tactic[: c.high][wolves] == 6).all()
    assert (c.order_until[: c.high][wolves] == 51).all()
    assert [e.data for e in result.events if e.kind == "order"] == [
        {"group": 1, "tactic": "retreat"}
    ]


def test_globals_and_names_are_set_and_notes_change_nothing(stage, propose) -> None:
    world, _, ids = stage
    world.step([propose("global", 0, key="weather", value=3)])
    world.step([propose("name", ids["Doe"], text="Bambi")])
    assert world.globals["weather"] == 3
    assert world.names[ids["Doe"]] == "Bambi"
    assert world.frame().names_changed == {ids["Doe"]: "Bambi"}


def test_despawned_entities_are_gone(stage, propose) -> None:
    world, _, ids = stage
    result = world.step([propose("despawn", ids["Doe"])])
    assert [e.kind for e in result.events if e.entity == ids["Doe"]] == ["despawned"]
    assert ids["Doe"] not in world.columns
    assert ids["Doe"] not in world.names
    assert one(world.step([propose("despawn", ids["Doe"])])).code == "no_such_entity"


REFUSED = [
    ("dance", {}, "unknown_action"),
    ("move", {"x": 5}, "bad_body"),
    ("move", {"x": 5.0, "y": 5}, "bad_body"),
    ("move", {"x": True, "y": 5}, "bad_body"),
    ("move", {"x": 5, "y": 5, "z": 5}, "bad_body"),
    ("move", {"x": -1, "y": 5}, "bad_body"),
    ("move", {"x": 2**19, "y": 5}, "blocked"),
    ("attack", {"target": 12345}, "no_valid_target"),
    ("attack", {"target": "Doe"}, "out_of_range"),
    ("attack", {"target": "the well"}, "no_valid_target"),
    ("attack", {"target": "self"}, "no_valid_target"),
    ("use", {"target": "Ada"}, "no_valid_target"),
    ("use", {"target": 0}, "bad_body"),
    ("say", {"to": "Doe", "text": "hi"}, "out_of_range"),
    ("say", {"to": 999, "text": "hi"}, "no_valid_target"),
    ("say", {"to": 0, "text": ""}, "bad_body"),
    ("say", {"to": 0, "text": "x" * 401}, "bad_body"),
    ("say", {"to": 0, "text": "a\x00b"}, "bad_body"),
    ("say", {"to": 0, "text": "\ud800"}, "bad_body"),
    ("flee", {"from_": 999}, "no_valid_target"),
]


@pytest.mark.parametrize(("kind", "body", "code"), REFUSED)
def test_what_cannot_be_done_is_refused_with_its_code(stage, kind, body, code) -> None:
    world, player, ids = stage
    known = {**ids, "self": player}
    body = {k: known.get(v, v) if k in ("target", "to") else v for k, v in body.items()}
    refused = one(world.step([Input(kind, player, "client:pia", 1, body)]))
    assert isinstance(refused, Rejection)
    assert refused.code == code
    assert refused.reason


SYSTEM_REFUSED = [
    ("spawn", {"species": "dragon", "x": 1, "y": 1}, "blocked"),
    ("spawn", {"species": "deer", "x": 2**19, "y": 1}, "blocked"),
    ("spawn", {"species": "deer", "x": 1}, "bad_body"),
    ("tiles", {"x": 63, "y": 0, "w": 2, "h": 1, "data": b"\3\3"}, "blocked"),
    ("tiles", {"x": 0, "y": 0, "w": 2, "h": 2, "data": b"\3"}, "blocked"),
    ("tiles", {"x": 0, "y": 0, "w": 1, "h": 1, "data": b"\xff"}, "blocked"),
    ("tiles", {"x": 0, "y": 0, "w": 1, "h": 1, "data": "3"}, "bad_body"),
    ("order", {"group": 77, "tactic": "hold"}, "no_valid_target"),
    ("order", {"group": 1, "tactic": "dance"}, "bad_body"),
    ("global", {"key": "Weather!", "value": 1}, "bad_body"),
    ("global", {"key": "weather", "value": 2**60}, "bad_body"),
    ("despawn", {}, "no_such_entity"),
    ("name", {"text": "Nobody"}, "no_such_entity"),
]


@pytest.mark.parametrize(("kind", "body", "code"), SYSTEM_REFUSED)
def test_system_kinds_are_checked_as_strictly(make_world, kind, body, code) -> None:
    world = make_world()
    refused = one(world.step([Input(kind, 0, "director", 0, body)]))
    assert isinstance(refused, Rejection)
    assert refused.code == code


@pytest.mark.parametrize("kind", ["spawn", "despawn", "tiles", "order", "global", "note", "name"])
@pytest.mark.parametrize("proposer", ["client:pia", "npc:5"])
def test_clients_and_minds_cannot_use_system_kinds(make_world, kind, proposer) -> None:
    bodies = {
        "spawn": {"species": "deer", "x": 1, "y": 1},
        "tiles": {"x": 0, "y": 0, "w": 1, "h": 1, "data": b"\3"},
        "order": {"group": 1, "tactic": "hold"},
        "global": {"key": "k", "value": 1},
        "note": {"text": "late"},
        "name": {"text": "Bob"},
    }
    world = make_world()
    refused = one(world.step([Input(kind, 0, proposer, 0, bodies.get(kind, {}))]))
    assert refused.code == "not_yours"


def test_each_acts_for_its_own_only(make_world, propose, who) -> None:
    world = make_world()
    ada, ben, ash = (who(world, n) for n in ("Ada", "Ben", "Ash"))
    for proposer, entity in ((f"npc:{ben}", ada), ("client:x", ada), ("group:2", ash)):
        refused = one(world.step([propose("wait", entity, proposer=proposer)]))
        assert refused.code == "not_yours"
    for proposer, entity in ((f"npc:{ada}", ada), ("group:1", ash), ("director", ben)):
        assert isinstance(one(world.step([propose("wait", entity, proposer=proposer)])), Accepted)
    order = {"tactic": "hold"}
    assert one(world.step([propose("order", 0, proposer="group:2", group=1, **order)])).code == (
        "not_yours"
    )
    own = propose("order", 0, proposer="group:1", group=1, **order)
    assert isinstance(one(world.step([own])), Accepted)


def test_the_fallen_and_things_do_not_act(make_world, at, propose, who) -> None:
    world = make_world(
        at("hare", 15, 23, name="Hop"), at("guard", 15, 24, name="Dag"), at("well", 3, 3)
    )
    hop, dag, well = who(world, "Hop"), who(world, "Dag"), who(world, "well")
    n = 0
    while world.columns.died[world.columns.row_of(hop)] < 0:
        world.step([propose("attack", dag, n=n, target=hop)])
        n += 1
        assert n < 2000
    assert one(world.step([propose("wait", hop)])).code == "dead"
    assert one(world.step([propose("attack", dag, n=n, target=hop)])).code == "no_valid_target"
    assert one(world.step([propose("wait", well)])).code == "no_such_entity"


def test_speech_reaches_at_most_thirty_two_and_the_one_addressed(
    make_world, at, propose, who
) -> None:
    crowd = [at("villager", 15, 22, name=f"V{i}") for i in range(40)]
    world = make_world(
        at("villager", 15, 22, name="Ada"), at("villager", 20, 22, name="Far"), *crowd
    )
    ada, far = who(world, "Ada"), who(world, "Far")
    assert 5 * TILE < EARSHOT
    result = world.step([propose("say", ada, to=far, text="You there!")])
    said = next(e for e in result.events if e.kind == "said")
    assert len(said.data["heard_by"]) == 32
    assert far in said.data["heard_by"]


def test_new_bodies_stand_on_walkable_ground(make_world, propose) -> None:
    world = make_world()
    wall = {"x": 7 * TILE, "y": 7 * TILE}
    done = one(world.step([propose("spawn", 0, species="traveller", player=True, **wall)]))
    assert isinstance(done, Accepted)
    assert world.view().walkable(done.detail["x"], done.detail["y"])


def test_the_same_moment_can_bear_many_with_ids_of_their_own(make_world, propose) -> None:
    world = make_world()
    spawns = [propose("spawn", 0, n=i, species="hare", x=2560, y=6000) for i in range(50)]
    ids = {a.detail["entity"] for a in world.step(spawns).accepted}
    assert len(ids) == 50
    twins = [propose("spawn", 0, n=0, species="hare", x=2560 + i, y=6000) for i in range(5)]
    assert len({a.detail["entity"] for a in world.step(twins).accepted}) == 5


def test_columns_handed_out_refuse_writing(make_world) -> None:
    world = make_world()
    with pytest.raises(ValueError, match="read-only"):
        world.columns.hp[0] = 1
    with pytest.raises(ValueError, match="read-only"):
        world.tiles[0, 0] = 1
    assert isinstance(world.columns.hp, np.ndarray)
