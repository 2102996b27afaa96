"""The way back: to the last whole step, from the last mark, without holding on to what came before it."""

from __future__ import annotations

import weakref
from typing import Any

import pytest

from actors.errors import ActorError
from actors.rewind import Rewind
from world.inputs import Input
from world.world import World


class Body(dict[str, Any]):
    """A body that can be watched."""


def lived(world: World, rewind: Rewind, ticks: int) -> list[weakref.ref[Body]]:
    bodies = []
    for _ in range(ticks):
        body = Body(text=f"tick {world.tick}")
        result = world.step([Input("note", 0, "director:note", world.tick, body)])
        assert len(result.inputs) == 1
        bodies.append(weakref.ref(body))
        rewind.stepped(result.inputs, result.hash)
    return bodies


def test_the_way_back_leads_to_the_last_whole_step_from_any_mark(world: World) -> None:
    rewind = Rewind(world)
    for ticks in (3, 0, 5):
        lived(world, rewind, ticks)
        assert len(rewind) == ticks
        assert rewind.world().full_hash() == world.full_hash()
        rewind.mark(world)
        assert rewind.world().full_hash() == world.full_hash()


def test_steps_that_lead_elsewhere_are_no_way_back(world: World) -> None:
    rewind = Rewind(world)
    result = world.step()
    rewind.stepped(result.inputs, result.hash ^ 1)
    with pytest.raises(ActorError, match="came out otherwise"):
        rewind.world()


def test_what_was_lived_before_the_mark_is_let_go_bit_by_bit(world: World) -> None:
    rewind = Rewind(world)
    before = lived(world, rewind, 10)
    rewind.mark(world)
    held = []
    for _ in range(5):
        lived(world, rewind, 1)
        held.append(sum(body() is not None for body in before))
    assert held == [8, 6, 4, 2, 0]
