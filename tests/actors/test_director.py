"""The director alone changes the world; what it confirms is durable, what it can't do it refuses."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from actors.battlefield import distances_to_players
from actors.company import Company
from actors.messages import Answer, Load, Overdue, Propose, Step
from foundation.errors import LimitError
from world.errors import StorageError
from world.frame import Frame
from world.inputs import Input
from world.world import StepResult, World

Make = Callable[..., Company]


def wait_input(entity: int, n: int = 1, proposer: str = "client:ann") -> Input:
    return Input("wait", entity, proposer, n, {})


def test_an_accepted_outcome_waits_for_its_ticks_sync(
    company: Make, slow_store: Any, outcomes: Any, enter: Any
) -> None:
    c = company(store=slow_store)
    body = enter(c)
    told = outcomes()
    c.propose(wait_input(body), told)
    c.run_headless(3)
    assert told.all == []
    assert c.ledger.desk.unsynced == 1
    slow_store.sync()
    c.dispatcher.pump()
    assert told.one.accepted
    assert told.one.tick == 2
    assert c.ledger.synced_tick == slow_store.synced_tick


def test_a_refusal_is_told_at_once_with_its_reason(
    company: Make, slow_store: Any, outcomes: Any, enter: Any
) -> None:
    c = company(store=slow_store)
    body = enter(c)
    told = outcomes()
    c.propose(Input("attack", body, "client:ann", 1, {"target": 12345}), told)
    c.run_headless(1)
    assert (told.one.accepted, told.one.code) == (False, "no_valid_target")
    assert told.one.reason


def test_outcomes_come_in_the_order_of_their_ticks(
    company: Make, slow_store: Any, outcomes: Any, enter: Any
) -> None:
    c = company(store=slow_store)
    body = enter(c)
    told = outcomes()
    for n in range(1, 6):
        c.propose(wait_input(body, n), told)
        c.run_headless(1)
    slow_store.sync()
    c.dispatcher.pump()
    ticks = [outcome.tick for outcome in told.all]
    assert ticks == sorted(ticks)
    assert len(ticks) == 5


def test_every_tick_is_handed_to_storage_and_steps_to_the_same_hashes(
    company: Make, slow_store: Any, make_world: Any, enter: Any
) -> None:
    c = company(store=slow_store)
    body = enter(c)
    c.propose(wait_input(body))
    c.run_headless(50)
    again = make_world()
    for record in slow_store.records:
        result = again.step([Input.unpack(list(packed)) for packed in record.inputs])
        assert (result.tick, result.hash) == (record.tick, record.hash)
    assert again.tick == 51


def test_a_proposal_due_later_is_admitted_in_that_very_tick(
    company: Make, outcomes: Any, enter: Any
) -> None:
    c = company()
    body = enter(c)
    told = outcomes()
    c.director.tell(Propose(wait_input(body), told, due=10))
    c.run_headless(8)
    assert told.all == []
    c.run_headless(1)
    assert told.one.tick == 10


def test_when_storage_is_behind_outsiders_are_asked_to_come_again(
    company: Make, slow_store: Any, outcomes: Any
) -> None:
    c = company(headless=False, store=slow_store)
    slow_store.overloaded = True
    told, joined = outcomes(), outcomes()
    c.propose(wait_input(5), told)
    c.join("Ann", joined)
    for one in (told, joined):
        assert one.came.wait(30)
        assert (one.one.accepted, one.one.code) == (False, "retry")


def test_when_too_much_waits_the_rest_is_asked_to_come_again(
    company: Make, outcomes: Any, enter: Any
) -> None:
    c = company(settings={"proposals_waiting": 2})
    body = enter(c)
    told = outcomes()
    for n in range(1, 4):
        c.director.tell(Propose(wait_input(body, n), told, due=9))
    c.dispatcher.pump()
    assert told.one.code == "retry"


def test_a_full_storage_queue_loses_no_record(company: Make, slow_store: Any) -> None:
    c = company(store=slow_store)
    slow_store.refuse = LimitError("the queue is full")
    c.run_headless(5)
    assert slow_store.records == []
    assert len(c.ledger.backlog) == 5
    slow_store.refuse = None
    c.run_headless(1)
    assert [record.tick for record in slow_store.records] == [1, 2, 3, 4, 5, 6]


def test_a_failing_disk_pauses_the_world_before_the_journal_has_a_hole(
    company: Make, slow_store: Any
) -> None:
    c = company(headless=False, start=False, store=slow_store, settings={"records_waiting": 3})
    slow_store.refuse = StorageError("no space left")
    c.start()
    stalled = c.ledger.counts

    def until(done: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 30
        while not done() and time.monotonic() < deadline:
            time.sleep(0.01)
        assert done()

    until(lambda: stalled["stalled_ticks"] > 2)
    assert c.ledger.world.tick == 3
    assert not c.status()["ready"]
    assert "no space left" in c.status()["storage_fault"]
    slow_store.refuse = None
    until(lambda: c.ledger.world.tick > 5)
    assert c.status()["ready"]
    ticks = [record.tick for record in slow_store.records]
    assert ticks == list(range(1, len(ticks) + 1))


def test_a_step_that_fails_is_undone_and_what_was_proposed_refused(
    company: Make, outcomes: Any, enter: Any, make_world: Any, monkeypatch: Any
) -> None:
    c = company()
    body = enter(c)
    c.run_headless(20)
    real = World.step

    def step(self: World, inputs: Sequence[Input] = ()) -> StepResult:
        if any(one.kind == "poison" for one in inputs):
            real(self, [])
            self._state.columns.hp[:] = 1
            raise RuntimeError("half done")
        return real(self, inputs)

    monkeypatch.setattr(World, "step", step)
    told = outcomes()
    c.propose(Input("poison", body, "client:ann", 1, {}), told)
    c.run_headless(5)
    assert (told.one.accepted, told.one.code) == (False, "internal")
    assert c.ledger.counts["failed_ticks"] == 1
    calm = make_world()
    n = 1
    calm.step([Input("spawn", 0, "director:join", 1, _join_body(c))])
    while calm.tick < c.ledger.world.tick:
        calm.step([])
        n += 1
    assert c.ledger.world.hash() == calm.full_hash()
    assert c.ledger.world.full_hash() == calm.hash()


def _join_body(c: Company) -> dict[str, Any]:
    starts = c.ledger.world.player_starts
    x, y = starts[1 % len(starts)]
    return {"species": "traveller", "x": x, "y": y, "name": "Ann", "player": True}


def test_players_join_at_the_starts_in_turn_and_leave(company: Make, outcomes: Any) -> None:
    c = company()
    ann, ben, gone = outcomes(), outcomes(), outcomes()
    c.join("Ann", ann)
    c.join("Ben\n<|im_end|>", ben)
    c.run_headless(1)
    a, b = ann.one, ben.one
    assert a.entity != b.entity
    assert (a.detail["x"], a.detail["y"]) != (b.detail["x"], b.detail["y"])
    names = c.ledger.world.names
    assert names[a.entity] == "Ann"
    assert "<" not in names[b.entity]
    c.leave(a.entity, gone)
    c.run_headless(1)
    assert gone.one.accepted
    assert a.entity not in c.ledger.world.columns
    not_a_player = outcomes()
    c.leave(next(iter(c.ledger.minds)), not_a_player)
    c.run_headless(1)
    assert not_a_player.one.code == "no_such_entity"


def test_frames_go_to_every_subscriber_until_it_leaves_or_fails(company: Make) -> None:
    c = company()
    seen: list[int] = []

    def broken(frame: Frame) -> None:
        raise ValueError("no screen")

    undo = c.subscribe(lambda frame: seen.append(frame.tick))
    c.subscribe(broken)
    c.run_headless(3)
    undo()
    c.run_headless(3)
    assert seen == [1, 2, 3]
    assert c.ledger.counts["subscribers_dropped"] == 1
    assert c.ledger.subscribers == {}


def test_a_full_frame_holds_all_names_and_all_tiles(company: Make) -> None:
    c = company()
    frames: list[Frame] = []
    c.full_frame(frames.append)
    c.dispatcher.pump()
    (frame,) = frames
    assert frame.names_changed == c.ledger.world.names
    ((x, y, w, h, data),) = frame.tile_changes
    assert (x, y, w, h) == (0, 0, 64, 64)
    assert data == c.ledger.world.tiles.tobytes()


def test_an_answer_of_an_abandoned_epoch_is_dropped_and_counted(
    company: Make, outcomes: Any, make_world: Any, enter: Any
) -> None:
    c = company()
    enter(c)
    mind = next(iter(c.ledger.minds))
    question = c.ledger.questions.ask("decision", mind, 1, 5)
    waiting, late = outcomes(), outcomes()
    c.director.tell(Propose(wait_input(1), waiting, due=100))
    loaded = make_world()
    loaded.epoch = 2
    c.load(loaded)
    c.dispatcher.pump()
    assert c.ledger.world is loaded
    assert waiting.one.code == "too_late"
    told = Answer(question.token, 1, Input("wait", mind, f"npc:{mind}", 1, {}), late)
    c.director.tell(told)
    c.run_headless(2)
    assert late.one.code == "too_late"
    assert c.ledger.counts["stale_answers"] == 1
    assert c.about()["epoch"] == 2


def test_a_proposal_out_of_an_abandoned_epoch_is_dropped_and_counted(
    company: Make, outcomes: Any, make_world: Any
) -> None:
    c = company()
    loaded = make_world()
    loaded.epoch = 2
    c.load(loaded)
    late, now = outcomes(), outcomes()
    c.director.tell(Propose(wait_input(1), late, epoch=1))
    c.director.tell(Propose(wait_input(1), now, epoch=2))
    c.run_headless(2)
    assert late.one.code == "too_late"
    assert now.one.code != "too_late"
    assert c.ledger.counts["stale_proposals"] == 1


def test_a_world_that_is_held_lives_no_tick_until_it_is_released(
    company: Make, outcomes: Any
) -> None:
    c = company()
    waiting, meanwhile, held = outcomes(), outcomes(), []
    c.director.tell(Propose(wait_input(1), waiting, due=100))
    assert c.hold(lambda: held.append(c.ledger.world.tick))
    c.dispatcher.pump()
    assert held == [0]
    assert waiting.one.code == "too_late"
    c.director.tell(Propose(wait_input(2), meanwhile))
    c.director.tell(Step())
    c.dispatcher.pump()
    assert meanwhile.one.code == "retry"
    assert (c.ledger.world.tick, c.ledger.counts["held_ticks"]) == (0, 1)
    c.release()
    c.director.tell(Step())
    c.dispatcher.pump()
    assert c.ledger.world.tick == 1


def test_an_older_epoch_is_not_loaded(company: Make, outcomes: Any, make_world: Any) -> None:
    c = company()
    told = outcomes()
    c.director.tell(Load(make_world(), told))
    c.dispatcher.pump()
    assert told.one.code == "stale_epoch"


def test_an_answer_that_comes_too_late_is_dropped_and_counted(company: Make, outcomes: Any) -> None:
    c = company()
    mind = next(iter(c.ledger.minds))
    question = c.ledger.questions.ask("decision", mind, 0, 5)
    c.director.tell(Overdue(question.token))
    late = outcomes()
    c.director.tell(Answer(question.token, 1, Input("wait", mind, f"npc:{mind}", 1, {}), late))
    c.run_headless(1)
    assert late.one.code == "too_late"
    assert c.ledger.counts["late_answers"] == 1
    assert c.ledger.counts["decision_overdue"] == 1


def test_the_state_is_checkpointed_every_so_many_ticks_and_at_both_ends(
    company: Make, slow_store: Any
) -> None:
    c = company(store=slow_store, settings={"checkpoint_ticks": 10})
    c.run_headless(25)
    c.stop()
    assert [tick for tick, _ in slow_store.checkpoints] == [0, 10, 20, 25]
    hashes = {record.tick: record.hash for record in slow_store.records}
    assert all(h == hashes[tick] for tick, h in slow_store.checkpoints if tick)


def test_a_listener_that_fails_does_not_disturb_the_tick(company: Make, enter: Any) -> None:
    c = company()
    body = enter(c)

    def broken(_outcome: Any) -> None:
        raise ValueError("not listening")

    c.propose(wait_input(body), broken)
    c.run_headless(3)
    assert c.ledger.world.tick == 4
    assert c.ledger.counts["listener_failures"] == 1
    assert c.incidents() == ()


@pytest.mark.parametrize("what", ["about", "status", "inspect"])
def test_operators_get_plain_values(company: Make, what: str) -> None:
    c = company()
    c.run_headless(2)
    json.dumps(getattr(c, what)())


def test_a_public_panel_tells_who_someone_is_and_no_secret(company: Make, named: Any) -> None:
    c = company()
    panels: list[Any] = []
    c.situation(named(c, "Marta Kell"), panels.append)
    c.situation(999_999, panels.append)
    c.dispatcher.pump()
    panel, nobody = panels
    assert nobody is None
    assert panel["name"] == "Marta Kell"
    assert panel["place"] == "the Lantern"
    assert panel["persona"]["trade"] == "innkeeper"
    assert "deserter" not in json.dumps(panel)


def test_those_near_a_player_come_first(company: Make, enter: Any, named: Any) -> None:
    c = company()
    near, far = named(c, "Marta Kell"), named(c, "Far Away Fen")
    assert distances_to_players(c.ledger.world, [near, far]) == [0, 0]
    enter(c)
    close, away, unknown = distances_to_players(c.ledger.world, [near, far, 999_999])
    assert close < away < unknown
