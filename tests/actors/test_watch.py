"""A mind that is stuck or repeats itself is reset, by an input that is journalled and replayed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from actors.company import Company
from actors.messages import Propose
from actors.watch import REFUSED, REPEATED
from models.scripted import ScriptedBackend
from world.events import Event
from world.inputs import Input
from world.stuck import HELD, LOOK_EVERY
from world.world import World

Make = Callable[..., Company]


def resets(store: Any) -> list[tuple[int, str]]:
    return [
        (packed[1], packed[4]["reason"])
        for record in store.records
        for packed in record.inputs
        if packed[0] == "reset"
    ]


def test_a_body_that_is_held_is_reset(company: Make, slow_store: Any, named: Any) -> None:
    # A mod's activity that walks on the spot: the goal is far and no step is made.
    c = company(store=slow_store)
    npc = named(c, "Far Away Fen")
    state = c.ledger.world._state
    row = state.columns.row_of(npc)
    x, y = int(state.columns.x[row]), int(state.columns.y[row])

    def hold(world: World) -> None:
        if world.tick % LOOK_EVERY == LOOK_EVERY - 1:
            state.put(row, x=x, y=y, goal_x=x - 2000, pace=60, way_x=x - 2000, way_y=y)

    state.put(row, speed=1)
    c.run_headless(HELD + 3 * LOOK_EVERY, hold)
    assert resets(slow_store) == [(npc, "held")]
    assert c.status()["resets"] == {"held": 1}
    assert c.ledger.watch.last[0].entity == npc


def test_the_same_refused_proposal_resets_the_mind_and_the_replay_resets_it_too(
    company: Make, slow_store: Any, named: Any
) -> None:
    c = company(store=slow_store)
    npc = named(c, "Marta Kell")
    again = World.from_state(c.ledger.world.get_state(), c.ledger.world.ruleset)
    for n in range(1, REFUSED + 1):
        c.director.tell(Propose(Input("attack", npc, f"npc:{npc}", n, {"target": 12345})))
        c.run_headless(1)
    c.run_headless(2)
    assert resets(slow_store) == [(npc, "refused")]
    assert any(event.kind == "reset" for event in again_until_the_reset(again, slow_store))
    # Every hash that was journalled comes again, by the journal alone.
    assert again.hash() == c.ledger.world.hash()


def again_until_the_reset(again: World, store: Any) -> tuple[Event, ...]:
    """The events of the last tick with a reset; all ticks are stepped and compared."""
    told: tuple[Event, ...] = ()
    for record in store.records:
        result = again.step([Input.unpack(one) for one in record.inputs])
        assert (result.tick, result.hash) == (record.tick, record.hash)
        if any(one.kind == "reset" for one in result.inputs):
            told = result.events
    return told


def test_different_refusals_or_a_success_between_them_reset_nobody(
    company: Make, slow_store: Any, named: Any
) -> None:
    c = company(store=slow_store)
    npc = named(c, "Marta Kell")
    for n in range(1, 4 * REFUSED):
        kind, body = ("wait", {}) if n % REFUSED == 0 else ("attack", {"target": 12345})
        c.director.tell(Propose(Input(kind, npc, f"npc:{npc}", n, body)))
        c.run_headless(1)
    for n in range(50, 50 + REFUSED * 2):
        body = {"target": 10_000 + n}
        c.director.tell(Propose(Input("attack", npc, f"npc:{npc}", n, body)))
        c.run_headless(1)
    assert resets(slow_store) == []


def test_a_mind_that_says_the_same_every_time_is_reset_and_begins_anew(
    company: Make, slow_store: Any, heard: Any, enter: Any, named: Any
) -> None:
    backend = ScriptedBackend(lambda request: "The same old song.", inline=True)
    c = company(store=slow_store, backend=backend)
    body, npc = enter(c), named(c, "Marta Kell")
    for n in range(1, REPEATED + 1):
        said = Input("say", npc, f"npc:{npc}", 1000 + n, {"to": body, "text": "The same old song."})
        c.director.tell(Propose(said))
        c.run_headless(1)
    c.run_headless(2)
    assert resets(slow_store) == [(npc, "repeating")]
    assert c.conversations.recall(npc, "Ann") == []
