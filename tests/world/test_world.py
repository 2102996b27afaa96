"""The world as its owner sees it: steps, frames, saved states, scenes that do not fit."""

from __future__ import annotations

import dataclasses

import msgpack
import numpy as np
import pytest

from world.compiled import Spawn
from world.errors import SceneError, StateError
from world.events import Event
from world.frame import FLAG_DOWNED, FLAG_PLAYER, FLAG_SPEAKS
from world.inputs import Input
from world.maths import TILE
from world.ruleset import Ruleset
from world.world import World


def test_ticks_count_from_one_and_time_is_told_when_it_turns(make_world):
    world = make_world()
    assert (world.tick, world.time_of_day) == (0, "dawn")
    told = []
    for i in range(1, 1_001):
        result = world.step()
        assert result.tick == world.tick == i
        told += [e.data["name"] for e in result.events if e.kind == "time_of_day"]
    assert told == ["morning"]


def test_inputs_and_events_survive_their_packing(make_world, who):
    world = make_world()
    ada = who(world, "Ada")
    inputs = [
        Input("say", ada, "director", 0, {"to": 0, "text": "Grüß dich ✨"}),
        Input("tiles", 0, "builder", 0, {"x": 1, "y": 1, "w": 1, "h": 1, "data": b"\x03"}),
    ]
    result = world.step(inputs)
    assert len(result.inputs) == 2
    for value in result.inputs:
        assert Input.unpack(msgpack.unpackb(msgpack.packb(value.pack()))) == value
    for event in result.events:
        assert Event.unpack(msgpack.unpackb(msgpack.packb(event.pack()))) == event
    for kind in (Input, Event):
        with pytest.raises(ValueError, match="not a packed"):
            kind.unpack([1, 2, 3])


def test_a_journal_replays_to_the_same_hashes(make_world, propose, who):
    world, again = make_world(), make_world()
    ada, journal = who(world, "Ada"), []
    for i in range(300):
        inputs = []
        if i % 50 == 7:
            inputs = [
                propose("spawn", 0, n=i, species="hare", x=3000, y=9000),
                propose("say", ada, n=i, to=0, text=f"tick {i}"),
                propose("attack", ada, n=i, target=12345),
            ]
        result = world.step(inputs)
        journal.append(([v.pack() for v in result.inputs], result.hash))
    for packed, hash_ in journal:
        result = again.step([Input.unpack(p) for p in packed])
        assert result.hash == hash_
        assert not result.rejections


def test_a_frame_shows_public_columns_in_order_of_id(make_world, who, propose):
    world = make_world()
    start = {"species": "traveller", "x": 15 * TILE, "y": 22 * TILE, "player": True}
    player = world.step([propose("spawn", 0, **start)]).accepted[0].detail["entity"]
    frame = world.frame()
    assert frame.tick == 1
    assert frame.hash == world.hash()
    assert (np.diff(frame.id.astype(np.int64)) > 0).all()
    assert frame.id.size == len(world.columns) == 14
    flags = dict(zip(frame.id.tolist(), frame.flags.tolist(), strict=True))
    assert flags[player] == FLAG_PLAYER | FLAG_SPEAKS
    assert flags[who(world, "Ada")] == FLAG_SPEAKS
    assert flags[who(world, "the well")] == 0
    at = frame.id.tolist().index(player)
    assert (frame.x[at], frame.y[at]) == (15 * TILE, 22 * TILE)
    assert world.ruleset.species_names[frame.species[at]] == "traveller"
    assert world.ruleset.faction_names[frame.faction[at]] == "travellers"
    assert {e.kind for e in frame.events} == {"spawned"}


def test_a_full_frame_holds_all_names_and_the_whole_map(make_world):
    world = make_world()
    world.step()
    assert world.frame().names_changed == {}
    full = world.frame(full=True)
    assert full.names_changed == world.names
    assert full.tile_changes == ((0, 0, 64, 64, world.tiles.tobytes()),)


def test_frames_are_copies_that_later_ticks_leave_alone(make_world):
    world = make_world()
    frame = world.frame()
    x = frame.x.copy()
    for _ in range(200):
        world.step()
    assert (frame.x == x).all()
    assert (world.frame().x != x).any()


def test_a_downed_player_is_flagged_and_stands_again(make_world, at, who, propose):
    world = make_world(at("wolf", 40, 40, name="Ash"))
    ash = who(world, "Ash")
    start = {"species": "traveller", "x": 40 * TILE, "y": 41 * TILE, "player": True}
    player = world.step([propose("spawn", 0, **start)]).accepted[0].detail["entity"]
    n = 0
    while not any(
        e.kind == "downed" for e in world.step([propose("attack", ash, n=n, target=player)]).events
    ):
        n += 1
        assert n < 2_000
    frame = world.frame()
    assert frame.flags[frame.id.tolist().index(player)] & FLAG_DOWNED
    world.step([propose("despawn", ash)])
    for _ in range(250):
        world.step()
    c = world.columns
    assert c.hp[c.row_of(player)] == c.max_hp[c.row_of(player)]


def test_a_scene_that_names_what_is_not_there_is_refused(make_world, rules, at):
    for wrong, why in (
        (at("dragon", 5, 5), "no species 'dragon'"),
        (at("deer", 5, 5, home="moon"), "no place 'moon'"),
        (Spawn("deer", -1, 5), "off the map"),
        (Spawn("deer", 2**20, 5), "off the map"),
    ):
        with pytest.raises(SceneError, match=why):
            make_world(wrong)


def test_a_saved_state_holds_plain_values_and_arrays_only(make_world):
    def plain(value):
        if isinstance(value, dict):
            return all(isinstance(k, str) and plain(v) for k, v in value.items())
        if isinstance(value, list):
            return all(plain(v) for v in value)
        return isinstance(value, (int, str, np.ndarray))

    assert plain(make_world().get_state())


def test_a_saved_state_is_a_copy(make_world):
    world = make_world()
    state = world.get_state()
    x = state["rows"]["columns"]["x"].copy()
    for _ in range(100):
        world.step()
    assert (state["rows"]["columns"]["x"] == x).all()
    assert state["tick"] == 0


@pytest.mark.parametrize(
    "damage",
    [
        lambda s: s.pop("tiles"),
        lambda s: s.update(layout=99),
        lambda s: s.update(places=[[1]]),
        lambda s: s.update(births=[[1, 2]]),
        lambda s: s.update(nav=np.zeros((2, 2), np.uint8)),
        lambda s: s.update(tiles=np.full((64, 64), 200, np.uint8)),
        lambda s: s["rows"]["columns"].update(hp=np.zeros(3)),
        lambda s: s.update(names=None),
    ],
)
def test_a_damaged_state_is_refused_by_name(make_world, rules, damage):
    state = make_world().get_state()
    damage(state)
    with pytest.raises(StateError):
        World.from_state(state, rules)


def test_a_state_moves_to_rules_with_more_species_in_another_order(make_world, rules):
    world = make_world()
    for _ in range(300):
        world.step()
    shuffled = Ruleset.build(
        [dataclasses.replace(rules.species["deer"], name="elk"), *reversed(rules.species_list)],
        rules.actions.values(),
        tuple(reversed(rules.considerations)),
    )
    moved = World.from_state(world.get_state(), shuffled)
    ours, theirs = world.columns, moved.columns
    for row in ours.live_rows():
        for column, names in (
            ("species", "species_names"), ("faction", "faction_names"), ("action", "activity_names"),
        ):  # fmt: skip
            was = getattr(rules, names)[getattr(ours, column)[row]]
            assert getattr(shuffled, names)[getattr(theirs, column)[row]] == was
    for _ in range(100):
        assert moved.step().hash == moved.full_hash()


def test_a_state_that_needs_a_lost_mod_says_which_species(make_world, rules):
    fewer = Ruleset.build(
        [s for s in rules.species_list if s.name != "wolf"],
        rules.actions.values(),
        rules.considerations,
    )
    with pytest.raises(StateError, match="'wolf'"):
        World.from_state(make_world().get_state(), fewer)


def test_warming_the_ways_changes_nothing(make_world):
    world, cold = make_world(), make_world()
    world.warm()
    assert [world.step().hash for _ in range(400)] == [cold.step().hash for _ in range(400)]


def test_walkers_find_the_new_way_when_the_bridge_is_gone_and_back(
    make_world, at, who, propose, middle
):
    world = make_world(at("guard", 28, 30, name="Dag"))
    dag = who(world, "Dag")
    x, y = middle(40, 30)

    def walk(ticks):
        for _ in range(ticks):
            world.step()
        c = world.columns
        return int(c.x[c.row_of(dag)]) // TILE

    gap = {"x": 32, "y": 30, "w": 3, "h": 1}
    world.step([propose("tiles", 0, **gap, data=b"\x01" * 3)])
    walk(120)
    world.step([propose("move", dag, n=1, x=x, y=y)])
    assert walk(300) < 32
    world.step([propose("tiles", 0, n=1, **gap, data=b"\x0b" * 3)])
    walk(120)
    world.step([propose("move", dag, n=2, x=x, y=y)])
    assert walk(300) >= 35


def test_whoever_stands_where_water_comes_wades_out(make_world, at, who, propose, middle):
    world = make_world(at("guard", 20, 40, name="Dag"))
    dag = who(world, "Dag")
    flood = {"x": 18, "y": 38, "w": 5, "h": 5, "data": b"\x01" * 25}
    x, y = middle(28, 40)
    world.step([propose("tiles", 0, **flood), propose("move", dag, x=x, y=y)])
    for _ in range(400):
        world.step()
    c = world.columns
    assert (c.x[c.row_of(dag)], c.y[c.row_of(dag)]) == (x, y)
