"""Floor plans fit their walls, and every room can be walked to from the front door."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from world.generate import rooms
from world.tiles import Tile

edges = st.integers(rooms.LEAST, rooms.MOST)


@settings(max_examples=60, deadline=None)
@given(edges, edges, st.sampled_from(["valley", "cave"]), st.integers(0, 2**63 - 1))
def test_rooms_fill_their_plan_and_join_up(width: int, height: int, biome: str, seed: int) -> None:
    plan = rooms.floor_plan(width, height, biome, seed)
    assert plan.tiles.shape == (height, width)
    assert 1 <= len(plan.rooms) <= rooms.MOST_ROOMS
    covered = np.zeros((height, width), dtype=int)
    for number, room in enumerate(plan.rooms):
        assert room.index == number
        assert room.x >= 1 and room.x + room.width < width
        assert room.y >= 1 and room.y + room.height < height
        covered[room.y : room.y + room.height, room.x : room.x + room.width] += 1
        assert room.exits
        for feature in room.features:
            assert room.x <= feature.x < room.x + room.width
            assert room.y <= feature.y < room.y + room.height
    assert covered.max() == 1, "rooms don't overlap"
    floor = plan.tiles == Tile.FLOOR
    assert (covered <= floor).all()
    assert ndimage.label(floor)[1] == 1, "each room can be walked to"
    doors = [exit_ for room in plan.rooms for exit_ in room.exits if exit_.to == -1]
    assert len(doors) == 1 and doors[0].y == height - 1
    edge = np.ones((height, width), dtype=bool)
    edge[1:-1, 1:-1] = False
    assert int((floor & edge).sum()) == 1, "one door to the outside"


@given(st.integers(0, 10_000))
@settings(max_examples=30, deadline=None)
def test_a_door_between_rooms_is_known_on_both_sides(seed: int) -> None:
    plan = rooms.floor_plan(40, 30, "valley", seed)
    for room in plan.rooms:
        for exit_ in room.exits:
            if exit_.to >= 0:
                back = [e for e in plan.rooms[exit_.to].exits if (e.x, e.y) == (exit_.x, exit_.y)]
                assert [e.to for e in back] == [room.index]


def test_wild_lands_have_lairs_and_tame_lands_have_halls() -> None:
    assert rooms.floor_plan(20, 20, "cave", 1).rooms[0].use == "lair"
    assert rooms.floor_plan(20, 20, "valley", 1).rooms[0].use == "hall"


def test_a_plan_out_of_bounds_is_refused() -> None:
    with pytest.raises(ValueError, match="5 to 64"):
        rooms.floor_plan(4, 10, "valley", 1)
