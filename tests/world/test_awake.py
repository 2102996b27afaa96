"""Who may do something is kept from tick to tick, and is whoever a look at all rows would find."""

from __future__ import annotations

import numpy as np

from world import detail
from world.effects import Begin
from world.entities import NEVER
from world.inputs import Input
from world.world import World


def _found(world: World) -> tuple[set[int], set[int]]:
    """By a look at all rows: who must be counted in, and who of them is lived tick by tick."""
    c, lived = world._state.columns, world._state.far.lived
    does = (c.phase >= 0) | (c.player != 0) | (c.pace != 0) | (c.target != 0)
    rows = ((c.id != 0) & (does | (c.next_decision < NEVER))).nonzero()[0]
    return set(rows.tolist()), set(rows[lived[rows] < 0].tolist())


def test_nobody_is_missed_who_comes_goes_wakes_or_falls_asleep(make_world, at) -> None:
    folk = [at(("villager", "sheep", "food", "wolf")[n % 4], 8 + n, 30) for n in range(20)]
    world = make_world(*folk)
    rng = np.random.default_rng(3)
    value = {"key": detail.KEY, "value": 12}
    counts = set()
    for n in range(400):
        c = world.columns
        ids = c.id[c.id != 0].tolist()
        inputs = [Input("global", 0, "director:detail", n, value)] if n == 20 else []
        if n % 9 == 0:
            body = {"species": ("food", "hare", "traveller")[n % 3], "x": 4000, "y": 6000}
            inputs.append(Input("spawn", 0, "director:s", n, body | {"player": n % 3 == 2}))
        if n % 13 == 0:
            inputs.append(Input("despawn", ids[int(rng.integers(len(ids)))], "director:d", n, {}))
        world.step(inputs)
        all_found, awake_found = _found(world)
        awake = world._state.awake
        assert awake_found <= set(awake.rows().tolist())
        assert all_found <= set(awake.all().tolist())
        assert (world._state.far.lived[awake.rows()] < 0).all()
        assert (np.diff(awake.rows()) > 0).all()
        counts.add(awake.rows().size)
        assert awake.all().size < (world.columns.id != 0).sum()
        if n % 100 == 50:
            world = (World.from_state(world.get_state(), world.ruleset), world.fork())[n // 100 % 2]
    assert len(counts) > 5


def test_a_thing_that_is_given_something_to_do_is_counted_in(make_world, at) -> None:
    world = make_world(at("food", 10, 30), at("villager", 12, 30))
    awake = world._state.awake
    assert awake.rows().tolist() == [1]
    goal = (20 * 256, 30 * 256)
    begin = Begin(int(world.columns.id[0]), "move", until=99, goal=goal)
    world._commit.write((begin,), 0, 0)
    assert awake.rows().tolist() == [0, 1]
    world.step()
    assert world.columns.pace[0] > 0
