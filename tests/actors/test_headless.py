"""The same seed lives the same life, whatever the threads do; live, the metronome keeps count."""

from __future__ import annotations

import hashlib
import random
import threading
import time
from collections.abc import Callable
from typing import Any

import pykka
import pytest

from actors.actor import GreenActor, receives
from actors.choices import DecisionReply
from actors.company import Company
from actors.dispatch import Dispatcher
from actors.messages import Propose, Step
from actors.metronome import Metronome
from actors.pace import Pace
from actors.plans import OrdersReply
from actors.right_of_way import RightOfWay
from foundation.errors import LimitError, UsageError
from models.prompts import Decision, Orders
from models.request import Handle, Listener, ModelRequest, Reply
from models.scripted import digest
from world.inputs import Input

Make = Callable[..., Company]


class Erratic:
    """Answers purely, but after random real delays and on many threads."""

    name = "erratic"

    def __init__(self, jitter: int) -> None:
        self._random = random.Random(jitter)
        self.asked = 0

    def submit(self, request: ModelRequest, listener: Listener) -> Handle:
        self.asked += 1
        delay = self._random.random() * 0.01
        timer = threading.Timer(delay, self._answer, (request, listener))
        timer.start()

        class Under:
            def __init__(self) -> None:
                self.request = request

            def cancel(self) -> None:
                return None

        return Under()

    def _answer(self, request: ModelRequest, listener: Listener) -> None:
        chance = digest(request)
        parsed: Any = None
        asked = request.schema or Reply
        if issubclass(asked, DecisionReply):
            verbs = ("work", "rest", "wait", "flee", "eat")
            parsed = Decision(action=verbs[chance % 5], target="none", reason="so")
        elif issubclass(asked, OrdersReply):
            tactics = ("focus", "flank", "surround", "hold")
            parsed = Orders(tactic=tactics[chance % 4], focus="none", reason="so")
        text = parsed.model_dump_json() if parsed else f"I say {chance % 1000}."
        listener.on_text(request.id, text)
        listener.on_done(Reply(request.id, text, self.name, parsed=parsed))

    def status(self) -> dict[str, object]:
        return {}

    def close(self) -> None:
        return None


def life(company: Make, heard: Any, enter: Any, named: Any, jitter: int) -> tuple[str, int, int]:
    """300 ticks with a fight, two players and talk; a digest of all hashes and events."""
    backend = Erratic(jitter)
    c = company(backend=backend)
    seen = hashlib.sha256()

    def watch(frame: Any) -> None:
        packed = [event.pack() for event in frame.events]
        seen.update(f"{frame.tick} {frame.hash} {packed}".encode())

    c.subscribe(watch)
    ann, ben = enter(c), enter(c, "Ben")
    marta, orla = named(c, "Marta Kell"), named(c, "Orla Finch")
    world = c.ledger.world
    listeners = []

    def script(w: Any) -> None:
        if w.tick % 17 == 0:
            for body, npc in ((ann, marta), (ben, marta), (ben, orla)):
                listeners.append(heard())
                c.say(body, npc, f"What of tick {w.tick}?", listeners[-1])
        if w.tick in (20, 40):
            row = world.columns.row_of(marta)
            spot = {"x": int(world.columns.x[row]) + 1500, "y": int(world.columns.y[row])}
            body = {"species": "wolf", "group": 1, **spot}
            c.director.tell(Propose(Input("spawn", 0, "test", w.tick, body)))

    c.run_headless(300, script)
    c.run_headless(c.settings.speak_ticks + 1)
    assert all(listener.ends == 1 for listener in listeners)
    assert c.mind_counts.model_lines > 10
    assert c.mind_counts.decisions > 0
    assert c.coordinator_mind.model_plans > 0
    assert c.ledger.counts["late_answers"] == 0
    return seen.hexdigest(), c.ledger.world.hash(), backend.asked


def test_two_runs_of_one_seed_are_equal_though_answers_come_at_random(
    company: Make, heard: Any, enter: Any, named: Any
) -> None:
    first = life(company, heard, enter, named, jitter=1)
    second = life(company, heard, enter, named, jitter=2)
    assert first == second


def test_an_answer_is_admitted_at_its_virtual_latency_and_never_earlier(
    company: Make, heard: Any, enter: Any, named: Any
) -> None:
    c = company(backend=Erratic(3))
    body, npc = enter(c), named(c, "Marta Kell")
    said: list[int] = []
    c.subscribe(
        lambda frame: said.extend(
            frame.tick for e in frame.events if e.kind == "said" and e.entity == npc
        )
    )
    c.say(body, npc, "When?", heard())
    c.run_headless(1)
    asked = c.ledger.world.tick
    c.run_headless(c.settings.speak_ticks + 5)
    assert said == [asked + c.settings.speak_ticks]


def test_a_mind_that_never_answers_costs_patience_and_the_run_goes_on(
    company: Make, heard: Any, enter: Any, named: Any
) -> None:
    class Silent(Erratic):
        def _answer(self, request: ModelRequest, listener: Listener) -> None:
            return None

    c = company(backend=Silent(1), settings={"patience_s": 0.05})
    body, npc = enter(c), named(c, "Marta Kell")
    listener = heard()
    c.say(body, npc, "Hello?", listener)
    c.run_headless(c.settings.speak_ticks + 5)
    assert listener.source == "reflex"
    assert c.ledger.world.tick == c.settings.speak_ticks + 6


def test_a_headless_run_can_be_ended_early_and_a_live_company_not_run(company: Make) -> None:
    c = company()
    assert c.run_headless(100, lambda world: world.tick < 10) == 10
    live = company(headless=False)
    with pytest.raises(UsageError):
        live.run_headless(1)
    with pytest.raises(UsageError):
        live.start()


class Beaten(GreenActor):
    def __init__(self, log: list[float]) -> None:
        super().__init__()
        self.log = log

    @receives(Step)
    def step(self, message: Step) -> None:
        self.log.append(message.due)


def test_a_step_still_under_way_is_a_missed_tick_not_a_queued_one() -> None:
    log: list[float] = []
    with Dispatcher(workers=0) as dispatcher:
        pace = Pace(0.05)
        ref = dispatcher.start(Beaten, log)
        metronome = Metronome(ref, pace, RightOfWay())
        assert metronome.beat(1.0)
        assert metronome.beat(1.05)
        assert metronome.beat(1.1)
        dispatcher.pump()
        metronome.stepped()
        assert metronome.beat(1.15)
        dispatcher.pump()
        assert log == [1.0, 1.15]
        assert pace.snapshot().missed == 2
        ref.stop()
        metronome.stepped()
        assert not metronome.beat(1.2)


def test_a_step_has_the_right_of_way_from_when_it_is_due_and_leaves_it_when_nobody_lives_it() -> (
    None
):
    way = RightOfWay()
    with Dispatcher(workers=0) as dispatcher:
        ref = dispatcher.start(Beaten, [])
        metronome = Metronome(ref, Pace(0.05), way)
        assert way._free.is_set()
        assert metronome.beat(1.0)
        assert not way._free.is_set()
        dispatcher.pump()
        way.release()
        metronome.stepped()
        assert metronome.beat(1.05)
        ref.stop()
        # The director has gone with a step on its way, and then without one.
        assert not metronome.beat(1.1)
        assert way._free.is_set()
        metronome.stepped()
        assert not metronome.beat(1.15)
        assert way._free.is_set()


def test_a_held_up_process_goes_on_from_now_and_counts_what_it_missed() -> None:
    now = [0.0]
    beats: list[float] = []
    pace = Pace(0.05)

    def sleep(seconds: float) -> bool:
        beats.append(now[0])
        now[0] += 1.0 if len(beats) == 3 else seconds
        metronome.stepped()
        return len(beats) == 6

    log: list[float] = []
    with Dispatcher(workers=1) as dispatcher:
        ref = dispatcher.start(Beaten, log)
        metronome = Metronome(ref, pace, RightOfWay(), clock=lambda: now[0], sleep=sleep)
        metronome._run()
        ref.stop(timeout=20)
    assert pace.snapshot().missed in (18, 19, 20)
    assert len(log) == 6
    assert log == sorted(log)


def test_lateness_and_misses_are_counted() -> None:
    pace = Pace(0.05)
    for late in (0.0, 0.001, 0.002, 0.2):
        pace.stepped(late, 0.003)
    told = pace.snapshot()
    assert (told.steps, told.missed) == (4, 1)
    assert told.late_max_ms == pytest.approx(200)
    assert told.late_p50_ms == pytest.approx(2)
    assert told.took_p99_ms == pytest.approx(3)


def test_a_live_company_ticks_by_itself_and_stops(company: Make) -> None:
    c = company(headless=False)
    ticks: list[int] = []
    enough = threading.Event()

    def watch(frame: Any) -> None:
        ticks.append(frame.tick)
        if len(ticks) >= 5:
            enough.set()

    c.subscribe(watch)
    assert enough.wait(30)
    c.stop()
    after = c.ledger.world.tick
    time.sleep(0.15)
    assert c.ledger.world.tick == after
    assert ticks == list(range(ticks[0], ticks[0] + len(ticks)))
    assert not any(ref.is_alive() for ref in pykka.ActorRegistry.get_all() if ref is c.director)


def test_a_run_whose_storage_takes_no_more_says_so(company: Make, slow_store: Any) -> None:
    c = company(store=slow_store, settings={"records_waiting": 2, "patience_s": 0.1})
    slow_store.refuse = LimitError("storage is 2400 writes behind", "try again later")
    with pytest.raises(UsageError, match=r"tick 3 .* storage takes no more, 2 ticks wait"):
        c.run_headless(5)
    slow_store.refuse = None
    c.run_headless(2)
    assert [record.tick for record in slow_store.records] == [1, 2, 3, 4]
