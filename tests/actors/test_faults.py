"""Every kind of actor may crash: it comes back, nothing waiting is lost, and the game goes on."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from actors.actor import GreenActor
from actors.company import Company
from actors.coordinator import Coordinator
from actors.director import Director
from actors.messages import Propose
from actors.monster_group import GroupActor
from actors.npc import NpcActor
from actors.pipeline import Pipeline
from actors.supervision import Supervisor
from actors.terrain_builder import TerrainBuilder
from models.scripted import ScriptedBackend
from world.content import ContentRequest
from world.inputs import Input
from world.replay import replay
from world.ruleset import Ruleset
from world.store.records import WorldMeta
from world.store.store import Store
from world.world import World

Make = Callable[..., Company]
KINDS = (Director, NpcActor, GroupActor, Coordinator, TerrainBuilder, Pipeline, Supervisor)


class Poison:
    """What no actor can stomach."""


@pytest.fixture
def fragile(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes every actor fail on poison."""
    for kind in KINDS:
        receive = kind.on_receive

        def on_receive(
            self: GreenActor, message: Any, receive: Callable[..., Any] = receive
        ) -> Any:
            if isinstance(message, Poison):
                raise RuntimeError("poisoned")
            return receive(self, message)

        monkeypatch.setattr(kind, "on_receive", on_receive)


def refs_of(c: Company) -> dict[type, Any]:
    return {
        Director: c.director,
        NpcActor: next(iter(c.ledger.minds.values())),
        GroupActor: c.ledger.groups[1],
        Coordinator: c.ledger.coordinator,
        TerrainBuilder: c.ledger.builder,
        Pipeline: c._pipeline,
        Supervisor: c._middle["minds"],
    }


@pytest.mark.usefixtures("fragile")
@pytest.mark.parametrize("kind", KINDS)
def test_a_crashed_actor_comes_back_and_the_game_goes_on(
    company: Make, kind: type[GreenActor], heard: Any, enter: Any, named: Any
) -> None:
    c = company()
    body = enter(c)
    ref = refs_of(c)[kind]
    ref.tell(Poison())
    c.dispatcher.pump()
    assert ref.is_alive()
    c.run_headless(30)
    assert refs_of(c)[kind] is ref
    assert c.dispatcher.metrics()[kind.__name__].restarts == 1
    (incident,) = c.incidents()
    assert (incident.kind, incident.action) == (kind.__name__, "restart")
    assert "Poison" in incident.message
    listener = heard()
    c.say(body, named(c, "Marta Kell"), "Still there?", listener)
    c.run_headless(c.settings.speak_ticks + 3)
    assert listener.text
    assert c.ledger.world.hash() == c.ledger.world.full_hash()


@pytest.mark.usefixtures("fragile")
def test_what_waits_in_a_crashed_directors_mailbox_is_done_after(
    company: Make, outcomes: Any, enter: Any
) -> None:
    c = company()
    body = enter(c)
    told = outcomes()
    for n in range(1, 4):
        c.propose(Input("wait", body, "client:ann", n, {}), told)
        c.director.tell(Poison())
    c.run_headless(40)
    assert [outcome.accepted for outcome in told.all] == [True] * 3
    assert c.dispatcher.metrics()["Director"].restarts == 3


@pytest.mark.usefixtures("fragile")
def test_a_restart_is_journalled_as_a_note(company: Make, slow_store: Any) -> None:
    c = company(store=slow_store)
    next(iter(c.ledger.minds.values())).tell(Poison())
    c.run_headless(3)
    notes = [
        packed[4]["text"]
        for record in slow_store.records
        for packed in record.inputs
        if packed[0] == "note"
    ]
    assert len(notes) == 1
    assert "poisoned" in notes[0]


@pytest.mark.usefixtures("fragile")
def test_everyone_may_crash_at_once_live(
    company: Make, heard: Any, outcomes: Any, named: Any
) -> None:
    c = company(headless=False)
    joined = outcomes()
    c.join("Ann", joined)
    assert joined.came.wait(30)
    everyone = [*c.ledger.minds.values(), *refs_of(c).values()]
    for ref in everyone:
        ref.tell(Poison())
    listener = heard()
    c.say(joined.one.entity, named(c, "Marta Kell"), "All well?", listener)
    assert listener.over.wait(30)
    assert listener.text
    ticked = threading.Event()
    c.subscribe(lambda frame: ticked.set())
    assert ticked.wait(30)
    assert all(ref.is_alive() for ref in everyone)


@pytest.mark.usefixtures("fragile")
def test_an_npc_that_crashes_while_a_model_thinks_still_answers(
    company: Make, heard: Any, enter: Any, named: Any
) -> None:
    backend = ScriptedBackend(latency_s=30.0)
    c = company(backend=backend)
    body, npc = enter(c), named(c, "Marta Kell")
    listener = heard()
    c.say(body, npc, "Are you thinking?", listener)
    c.run_headless(1)
    c.dispatcher.pump()
    c.ledger.minds[npc].tell(Poison())
    c.run_headless(c.settings.speak_ticks + 1)
    assert listener.source == "reflex"
    backend.close()


@pytest.mark.usefixtures("fragile")
def test_an_npc_that_keeps_crashing_rests_and_others_speak_on(
    company: Make, heard: Any, enter: Any, named: Any
) -> None:
    c = company()
    body, npc = enter(c), named(c, "Marta Kell")
    for _ in range(8):
        c.ledger.minds[npc].tell(Poison())
    c.run_headless(400)
    assert "rest" in [incident.action for incident in c.incidents()]
    resting, well = heard(), heard()
    c.say(body, named(c, "Orla Finch"), "And you?", well)
    c.say(body, npc, "Sleeping?", resting)
    c.run_headless(20 * 12)
    assert well.text
    assert resting.text


def test_a_real_store_keeps_what_was_confirmed_and_replays_to_the_same_hashes(
    company: Make,
    tmp_path: Path,
    ruleset: Ruleset,
    make_world: Any,
    heard: Any,
    named: Any,
    outcomes: Any,
) -> None:
    meta = WorldMeta(scene="meadow", seed=7, ruleset_digest=ruleset.digest())
    with Store.open(tmp_path / "w", create=meta) as store:
        c = company(headless=False, store=store, settings={"checkpoint_ticks": 20})
        joined, told, listener = outcomes(), outcomes(), heard()
        c.join("Ann", joined)
        assert joined.came.wait(30)
        body, npc = joined.one.entity, named(c, "Marta Kell")
        c.propose(Input("wait", body, "client:ann", 1, {}), told)
        assert told.came.wait(30)
        assert told.one.tick <= store.synced_tick
        c.say(body, npc, "What does a bed cost?", listener)
        assert listener.over.wait(30)
        turns = store.turns(npc, "Ann")
        assert turns[-1]["turn"]["reply"] == listener.text
        c.stop()
        store.flush()
        final, tick = c.ledger.world.hash(), c.ledger.world.tick
        assert store.synced_tick == tick
    result = replay(
        tmp_path / "w", ruleset, start=lambda _meta: make_world(), load=World.from_state
    )
    assert result.first_difference is None, result.reason
    assert (result.last_tick, result.final_hash) == (tick, final)


def test_stopping_tells_everyone_who_still_waits(
    company: Make, slow_store: Any, heard: Any, outcomes: Any, enter: Any, named: Any
) -> None:
    backend = ScriptedBackend(latency_s=30.0)
    c = company(store=slow_store, backend=backend)
    body = enter(c)
    accepted, later, listener = outcomes(), outcomes(), heard()
    c.propose(Input("wait", body, "client:ann", 1, {}), accepted)
    c.director.tell(Propose(Input("wait", body, "client:ann", 2, {}), later, due=1000))
    c.say(body, named(c, "Marta Kell"), "Quick!", listener)
    c.run_headless(1)
    c.dispatcher.pump()
    c.stop(0.2)
    backend.close()
    assert listener.ends == 1
    assert accepted.one.code == "retry"
    assert later.one.code == "retry"
    assert c.dispatcher.actors == 0
    refused = outcomes()
    c.propose(Input("wait", body, "client:ann", 3, {}), refused)
    assert refused.one.code == "retry"


def test_content_asked_of_a_stopped_company_is_refused(company: Make) -> None:
    c = company()
    c.stop()
    told: list[Any] = []

    class Listener:
        def on_progress(self, *step: Any) -> None:
            told.append(step)

        def on_done(self, response: Any) -> None:
            told.append(response)

        def on_rejected(self, code: str, reason: str) -> None:
            told.append(code)

    c.content(ContentRequest(seed=1, size=16).model_dump(), Listener())
    assert told == ["retry"]
