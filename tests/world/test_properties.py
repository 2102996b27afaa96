"""What must hold whatever happens: bounds, totality, order, hashes, and lives that go on alike."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from world.detail import KEY
from world.entities import COLUMNS, NEEDS
from world.inputs import Input
from world.maths import TILE
from world.tiles import WALKABLE, Tile
from world.world import NAV_INTERVAL, World

SLOW = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
KINDS = (
    "move", "attack", "use", "say", "wait", "flee", "rest", "work", "eat", "spawn", "despawn",
    "tiles", "order", "global", "note", "name", "attend",
)  # fmt: skip
PROPOSERS = ("director", "client:a", "npc:1", "group:1", "builder")
SPECIES = ("villager", "guard", "wolf", "vampire", "deer", "traveller", "well")

junk = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
    | st.binary(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=6,
)
coordinate = st.integers(-10, 70 * TILE)


@st.composite
def plausible(draw: st.DrawFn) -> tuple[str, int, str, int, dict[str, Any]]:
    """A kind, which entity (an index among the living), a proposer, n and a body that may well fit."""
    kind = draw(st.sampled_from(KINDS))
    who = st.integers(0, 20)
    bodies: dict[str, st.SearchStrategy[dict[str, Any]]] = {
        "move": st.fixed_dictionaries({"x": coordinate, "y": coordinate}),
        "attack": st.fixed_dictionaries({"target": who}),
        "use": st.fixed_dictionaries({"target": who}),
        "say": st.fixed_dictionaries({"to": who, "text": st.text(max_size=30)}),
        "flee": st.fixed_dictionaries({"from_": who}),
        "spawn": st.fixed_dictionaries(
            {"species": st.sampled_from(SPECIES), "x": coordinate, "y": coordinate},
            optional={"player": st.booleans(), "group": st.integers(0, 3), "name": st.text(max_size=9)},
        ),
        "tiles": st.integers(1, 4).flatmap(
            lambda w: st.fixed_dictionaries(
                {
                    "x": st.integers(0, 63), "y": st.integers(0, 63),
                    "w": st.just(w), "h": st.just(2),
                    "data": st.binary(min_size=2 * w, max_size=2 * w).map(
                        lambda b: bytes(v % 16 for v in b)
                    ),
                }
            )
        ),
        "order": st.fixed_dictionaries(
            {
                "group": st.integers(1, 3),
                "tactic": st.sampled_from(["focus", "flank", "surround", "hold", "protect", "retreat"]),
                "focus": who,
            }
        ),
        "global": st.fixed_dictionaries(
            {"key": st.sampled_from(["weather", "price", KEY]), "value": st.integers(-5, 5)}
        ),
        "note": st.fixed_dictionaries({"text": st.text(min_size=1, max_size=9)}),
        "name": st.fixed_dictionaries({"text": st.text(max_size=9)}),
        "attend": st.fixed_dictionaries({"ticks": st.integers(1, 90)}),
    }  # fmt: skip
    body = draw(bodies.get(kind, st.just({})))
    return kind, draw(who), draw(st.sampled_from(PROPOSERS)), draw(st.integers(0, 9)), body


hostile = st.builds(
    Input,
    kind=st.sampled_from(KINDS) | st.text(max_size=40) | junk,
    entity=st.integers() | junk,
    proposer=st.sampled_from(PROPOSERS) | st.text(max_size=70) | junk,
    n=st.integers() | junk,
    body=st.dictionaries(st.text(max_size=8), junk, max_size=4) | junk,
)


def aimed(world: World, drafts: list[tuple[str, int, str, int, dict[str, Any]]]) -> list[Input]:
    """Drafts with indices turned into ids of the living (0 stays 0)."""
    ids = [0, *world.columns.id[world.columns.live_rows()].tolist()]

    def real(index: int) -> int:
        return ids[index % len(ids)]

    inputs = []
    for kind, entity, proposer, n, body in drafts:
        swapped = {
            k: real(v) if k in ("target", "to", "from_", "focus") else v for k, v in body.items()
        }
        inputs.append(Input(kind, real(entity), proposer, n, swapped))
    return inputs


def assert_bounds(world: World) -> None:
    c = world.columns
    rows = c.live_rows()
    for need, (low, high) in NEEDS.items():
        values = getattr(c, need)[rows]
        assert ((values >= low) & (values <= high)).all(), need
    assert ((c.hp[rows] >= 0) & (c.hp[rows] <= c.max_hp[rows])).all()
    for x, y in (("x", "y"), ("goal_x", "goal_y"), ("way_x", "way_y"), ("home_x", "home_y")):
        assert ((getattr(c, x)[rows] >= 0) & (getattr(c, x)[rows] < world.width * TILE)).all()
        assert ((getattr(c, y)[rows] >= 0) & (getattr(c, y)[rows] < world.height * TILE)).all()
    assert ((c.hp[rows] > 0) | (c.died[rows] >= 0) | (c.downed_until[rows] >= 0)).all()
    assert ((c.died[rows] < 0) | (c.pace[rows] == 0)).all()
    assert ((c.action[rows] >= 0) & (c.action[rows] < len(world.ruleset.activities))).all()


def lived_in(world: World, strides: bool) -> World:
    """The same world, or one in which nobody is near for half a minute already."""
    if strides:
        world.step([Input("global", 0, "director", 0, {"key": KEY, "value": 12})])
        for _ in range(47):
            world.step()
        assert world.far.any()
    return world


steps = st.lists(st.lists(plausible(), max_size=4), min_size=1, max_size=12)


@SLOW
@given(steps, st.integers(1, 60), st.booleans())
def test_rules_never_leave_the_bounds_and_hashes_agree(make_world, steps, gap, strides) -> None:
    world = lived_in(make_world(), strides)
    for drafts in steps:
        result = world.step(aimed(world, drafts))
        assert result.hash == world.hash() == world.full_hash()
        assert_bounds(world)
        for _ in range(gap):
            world.step()
    assert world.hash() == world.full_hash()
    assert_bounds(world)
    assert not world.faults


@settings(SLOW, max_examples=150)
@given(st.lists(hostile, max_size=5))
def test_hostile_inputs_are_rejected_and_change_nothing(make_world, inputs) -> None:
    world, twin = make_world(), make_world()
    result, quiet = world.step(inputs), twin.step()
    assert len(result.accepted) + len(result.rejections) == len(inputs)
    if not result.accepted:
        assert result.hash == quiet.hash
        assert result.events == quiet.events


@SLOW
@given(st.lists(plausible(), max_size=8), st.booleans())
def test_rejected_inputs_leave_the_world_as_if_never_made(make_world, drafts, strides) -> None:
    world, twin = lived_in(make_world(), strides), lived_in(make_world(), strides)
    result = world.step(aimed(world, drafts))
    again = twin.step(result.inputs)
    assert again.rejections == ()
    assert again.hash == result.hash
    assert again.events == result.events


@SLOW
@given(st.lists(plausible(), max_size=8), st.randoms(use_true_random=False))
def test_the_order_inputs_are_handed_in_does_not_matter(make_world, drafts, random) -> None:
    world, twin = make_world(), make_world()
    inputs = aimed(world, drafts)
    shuffled = list(inputs)
    random.shuffle(shuffled)
    first, second = world.step(inputs), twin.step(shuffled)
    assert first.hash == second.hash
    assert first.inputs == second.inputs
    assert first.events == second.events


@settings(SLOW, max_examples=15)
@given(steps, st.integers(0, 200), st.booleans())
def test_a_restored_world_lives_on_hash_for_hash(make_world, steps, warmup, strides) -> None:
    world = lived_in(make_world(), strides)
    for _ in range(warmup):
        world.step()
    for drafts in steps:
        world.step(aimed(world, drafts))
    twin = World.from_state(world.get_state(), world.ruleset)
    assert twin.full_hash() == twin.hash() == world.hash()
    for i in range(120):
        ours, theirs = world.step(), twin.step()
        assert ours.hash == theirs.hash, i
        assert ours.events == theirs.events


def test_the_same_seed_lives_the_same_life(make_world) -> None:
    one, two = make_world(seed=5), make_world(seed=5)
    assert [one.step().hash for _ in range(500)] == [two.step().hash for _ in range(500)]


def test_another_seed_lives_another_life(make_world) -> None:
    one, two = make_world(seed=5), make_world(seed=6)
    assert one.hash() != two.hash()
    hashes = {w.step().hash for w in (one, two) for _ in range(100)}
    assert len(hashes) == 200


@settings(SLOW, max_examples=10)
@given(st.data())
def test_any_flipped_bit_of_any_column_changes_the_hash(make_world, data) -> None:
    world = make_world()
    for _ in range(40):
        world.step()
    truth = world.full_hash()
    columns = world._state.columns
    row = data.draw(st.sampled_from(columns.live_rows().tolist()))
    for name in COLUMNS:
        bit = np.int64(1) << np.int64(data.draw(st.integers(0, 62)))
        column = getattr(columns, name)
        column[row] ^= bit
        if name != "id" or column[row] != 0:
            assert world.full_hash() != truth, name
        column[row] ^= bit
    assert world.full_hash() == truth


@pytest.mark.parametrize("part", ["tiles", "nav", "names", "globals", "tick", "seed", "births"])
def test_every_other_part_of_the_state_is_hashed_too(make_world, part) -> None:
    world = make_world()
    truth = world.full_hash()
    state = world._state
    if part in ("tiles", "nav"):
        getattr(state, part)[3, 4] ^= 1
    elif part == "names":
        state.names[next(iter(state.names))] += "x"
    elif part == "globals":
        state.globals["weather"] = 1
    elif part == "births":
        state.births.append((1, 2, 3, 4, 5, 6, 7, 8))
    else:
        setattr(state, part, getattr(state, part) + 1)
    assert world.full_hash() != truth


def test_the_epoch_is_no_part_of_the_hash(make_world) -> None:
    world = make_world()
    before = world.hash()
    world.epoch = 9
    assert world.hash() == world.full_hash() == before
    assert world.get_state()["epoch"] == 9


def test_ground_that_changes_for_a_fork_leaves_the_ways_of_the_world_alone(
    make_world: Callable[..., World],
) -> None:
    world = make_world()
    fork, before = world.fork(), world._paths
    assert fork._paths is before
    fork._state.paint(8, 8, 3, 1, bytes([Tile.WALL] * 3))
    for _ in range(NAV_INTERVAL):
        fork.step()
        world.step()
    assert fork._paths is not before
    assert fork._detail.paths is fork._paths
    assert world._paths is world._detail.paths is before
    assert np.array_equal(before._walk, WALKABLE[world._state.nav].reshape(-1))
    assert not fork._paths._walk[8 * fork._state.width + 8]
