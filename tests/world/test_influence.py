"""Who can influence whom: parts are far enough apart, and live alone as they live among all."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from world import influence
from world.compiled import CompiledScene, Spawn
from world.influence import fastest, parts, reach
from world.inputs import Input
from world.maths import TILE
from world.ruleset import Ruleset
from world.tiles import Tile
from world.world import World

WIDE = 300
KINDS = ("villager", "guard", "hunter", "wolf", "vampire", "deer", "sheep", "hare")
Beings = list[tuple[int, int, int, int]]
beings = st.lists(
    st.tuples(
        st.integers(0, len(KINDS) - 1),
        st.integers(1, WIDE - 2),
        st.integers(1, 62),
        st.integers(0, 2),
    ),
    min_size=1,
    max_size=24,
)


def land(those: Beings, ruleset: Ruleset) -> World:
    """A long strip of grass, so that many are out of each other's reach."""
    spawns = tuple(
        Spawn(KINDS[kind], x * TILE, y * TILE, group=group) for kind, x, y, group in those
    )
    tiles = np.full((64, WIDE), Tile.GRASS, dtype=np.uint8)
    return World(CompiledScene("strip", (WIDE, 64), tiles, {}, spawns, (), 5), ruleset, 5)


@given(those=beings, ticks=st.integers(0, 60))
@settings(max_examples=60)
def test_who_is_in_another_part_is_out_of_reach_for_as_long(
    rules: Ruleset, those: Beings, ticks: int
) -> None:
    world = land(those, rules)
    found = parts(world, ticks)
    c = world.columns
    everyone = np.sort(c.id[c.live_rows()])
    assert np.array_equal(np.sort(np.concatenate(found)), everyone)
    near = reach(rules) + 2 * ticks * fastest(rules)
    of = {int(entity): n for n, part in enumerate(found) for entity in part}
    for one in everyone.tolist():
        for other in everyone[everyone > one].tolist():
            a, b = c.row_of(one), c.row_of(other)
            d2 = (int(c.x[a]) - int(c.x[b])) ** 2 + (int(c.y[a]) - int(c.y[b])) ** 2
            mates = c.group[a] > 0 and c.group[a] == c.group[b]
            if d2 <= near * near or mates:
                assert of[one] == of[other]


@given(those=beings, begins=st.sampled_from([0, 3_000, 14_990]))
@settings(max_examples=25)
def test_a_part_lives_alone_as_it_lives_among_all(
    rules: Ruleset, those: Beings, begins: int
) -> None:
    state = land(those, rules).get_state()
    world = World.from_state(state | {"tick": begins}, rules)
    ticks = 20
    alone = [(ids, world.fork(ids)) for ids in parts(world, ticks)]
    for _ in range(ticks):
        world.step()
        for ids, part in alone:
            part.step()
            assert part.hash_of(ids) == world.hash_of(ids)
            seen = world.situation(int(ids[0]))
            assert part.situation(int(ids[0])) == seen


def test_far_away_herds_are_parts_of_their_own_and_one_pack_is_one_part(rules: Ruleset) -> None:
    world = land(
        [(5, 5, 30, 0), (5, 9, 30, 0), (5, 200, 30, 0), (3, 100, 30, 1), (3, 290, 30, 1)], rules
    )
    sizes = sorted(len(part) for part in parts(world, 20))
    assert sizes == [1, 2, 2]
    assert len(parts(world, 2_000)) == 1


def test_a_grid_that_would_have_too_many_cells_is_made_coarser_and_still_keeps_apart_rightly(
    rules: Ruleset, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = land([(5, x, y, 0) for x in (5, 9, 13, 280, 284, 288) for y in (5, 9, 13)], rules)
    fine = [set(part.tolist()) for part in parts(world, 20)]
    assert len(fine) == 2
    for most in (4, 1):
        monkeypatch.setattr(influence, "MOST_CELLS", most)
        coarse = [set(part.tolist()) for part in parts(world, 20)]
        assert all(any(part <= joined for joined in coarse) for part in fine)
    assert len(coarse) == 1


@pytest.mark.parametrize("whole", [True, False])
def test_a_fork_holds_those_it_was_given_and_leaves_the_world_as_it_is(
    make_world: Callable[..., Any], whole: bool
) -> None:
    world = make_world()
    for _ in range(30):
        world.step()
    c = world.columns
    ids = np.sort(c.id[c.live_rows()])
    some = ids if whole else ids[::2]
    before = world.full_hash()
    fork = world.fork(some)
    assert fork.hash() == fork.full_hash()
    assert (fork.hash() == world.hash()) == whole
    assert set(fork.names) == set(world.names) & set(some.tolist())
    assert fork.hash_of(ids) == world.hash_of(some)
    fork.step([Input("note", 0, "director", 1, {"text": "x"})])
    for _ in range(20):
        fork.step()
    assert world.full_hash() == world.hash() == before
