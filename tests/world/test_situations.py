"""The state panel: what one being knows of its moment, in plain English."""

from __future__ import annotations

import pytest

from world.inputs import Input
from world.maths import TILE
from world.world import World


def changed(world, who, entity, **columns):
    """The same world with some of one entity's columns set."""
    state = world.get_state()
    row = world.columns.row_of(entity)
    for name, value in columns.items():
        state["rows"]["columns"][name][row] = value
    return World.from_state(state, world.ruleset)


def test_a_panel_tells_time_place_company_and_needs(make_world, who):
    world = make_world()
    panel = world.situation(who(world, "Ada"))
    assert panel.name == "Ada"
    assert (panel.time, panel.hour) == ("dawn", 6)
    assert (panel.place, panel.place_key) == ("the cottage", "cottage")
    assert [n.name for n in panel.near][:2] == ["Ben", "Cat"]
    assert panel.near[0].distance == TILE
    assert panel.hp == panel.max_hp
    assert panel.alive
    assert not panel.player
    assert panel.trouble == ()


def test_near_is_bounded_sorted_and_without_things(make_world, at, who):
    world = make_world(
        at("well", 15, 22), *(at("hare", 15, 22 + i % 9, name=f"H{i}") for i in range(30))
    )
    panel = world.situation(who(world, "H0"))
    assert len(panel.near) == 16
    assert [n.distance for n in panel.near] == sorted(n.distance for n in panel.near)
    assert all(n.species == "hare" for n in panel.near)


@pytest.mark.parametrize(
    ("columns", "word"),
    [
        ({"hp": 5}, "hurt"),
        ({"fear": 700}, "afraid"),
        ({"hunger": 900}, "hungry"),
        ({"fatigue": 900}, "tired"),
        ({"mood": 500}, "glad"),
        ({"mood": 0}, "calm"),
        ({"mood": -200}, "worried"),
        ({"mood": -900}, "sad"),
    ],
)
def test_the_most_pressing_feeling_names_the_mood(make_world, who, columns, word):
    world = make_world()
    ada = who(world, "Ada")
    assert changed(world, who, ada, **columns).situation(ada).mood == word


@pytest.mark.parametrize(
    ("spawns", "trouble"),
    [
        ([("wolf", 16, 28)], "a wolf nearby"),
        ([("wolf", 16, 28), ("wolf", 17, 28)], "wolves nearby"),
        ([("wolf", 15, 44)], "a wolf at the field"),
        ([("wolf", 15, 44), ("wolf", 16, 44)], "wolves howl near the field"),
        ([("vampire", 15, 44)], "a vampire in the dark"),
        ([("vampire", 15, 26)], "a vampire nearby"),
        ([("deer", 15, 26)], None),
    ],
)
def test_trouble_names_beasts_by_number_and_place(make_world, at, who, spawns, trouble):
    world = make_world(at("villager", 15, 22, name="Ada"), *(at(*s) for s in spawns))
    assert world.situation(who(world, "Ada")).trouble == ((trouble,) if trouble else ())


def test_trouble_tells_of_fights_floods_and_the_wounded(make_world, at, who):
    world = make_world(
        at("villager", 15, 22, name="Ada"),
        at("guard", 15, 24, name="Dag"),
        at("villager", 15, 25, name="Ben"),
    )
    ada, dag, ben = (who(world, n) for n in ("Ada", "Dag", "Ben"))
    n = 0
    while world.columns.downed_until[world.columns.row_of(ben)] < 0:
        world.step([Input("attack", dag, "director", n, {"target": ben})])
        n += 1
        assert n < 1500
    world.step([Input("global", 0, "builder", 0, {"key": "flood", "value": 1})])
    assert world.situation(ada).trouble == (
        "Ben lies wounded at the green", "a fight at the green", "water rising",
    )  # fmt: skip
    assert world.situation(ben).downed


def test_the_open_country_is_named_by_its_ground(make_world, at, who):
    world = make_world(at("deer", 50, 20, name="Doe"), at("deer", 28, 50, name="Dee"))
    assert world.situation(who(world, "Doe")).place == "the forest"
    assert world.situation(who(world, "Dee")).place == "the meadows"


def test_nobody_has_no_situation(make_world):
    assert make_world().situation(12345) is None


def test_asking_changes_nothing(make_world, who):
    world, twin = make_world(), make_world()
    for _ in range(100):
        world.situation(who(world, "Ada"))
        world.frame()
        assert world.step().hash == twin.step().hash
