"""Where far ones are lived in strides, minds near players are asked, and stay near until they have answered."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from actors.company import Company
from models.scripted import ScriptedBackend
from world.detail import KEY
from world.inputs import Input
from world.world import World

Make = Callable[..., Company]

AT_ONCE = {"turn_ticks": 0}
"""All minds turn to the new part of the day in the tick in which it begins."""


def test_a_far_mind_is_asked_nothing_and_a_near_one_is_attended_to(
    company: Make, slow_store: Any, enter: Any, named: Any, make_world: Callable[..., World]
) -> None:
    made = make_world()
    # Ten ticks before the morning, which gives every mind something to think about.
    start = made.get_state() | {"tick": 980}
    c = company(
        world=World.from_state(start, made.ruleset),
        store=slow_store,
        backend=ScriptedBackend(inline=True),
        settings=AT_ONCE,
    )
    c.propose(Input("global", 0, "app:detail", 0, {"key": KEY, "value": 8}))
    enter(c)
    c.run_headless(80)
    packed = [one for record in slow_store.records for one in record.inputs]
    attended = {entity for kind, entity, *_ in packed if kind == "attend"}
    marta, fen = named(c, "Marta Kell"), named(c, "Far Away Fen")
    assert marta in attended
    assert fen not in attended
    assert not c.ledger.world.is_far(marta)
    assert c.ledger.world.is_far(fen)
    again = World.from_state(start, made.ruleset)
    hashes = [again.step([Input.unpack(one) for one in r.inputs]).hash for r in slow_store.records]
    assert hashes == [record.hash for record in slow_store.records]


def test_where_all_are_lived_in_full_nobody_is_attended_to(
    company: Make, slow_store: Any, enter: Any, make_world: Callable[..., World]
) -> None:
    made = make_world()
    world = World.from_state(made.get_state() | {"tick": 980}, made.ruleset)
    c = company(
        world=world, store=slow_store, backend=ScriptedBackend(inline=True), settings=AT_ONCE
    )
    enter(c)
    c.run_headless(80)
    assert c.mind_counts.decisions > 0
    assert not [one for r in slow_store.records for one in r.inputs if one[0] == "attend"]
