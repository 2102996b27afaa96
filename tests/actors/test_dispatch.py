"""The dispatcher is fair, heeds priorities, fires timers, finds deadlocks and counts what it does."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Iterator
from typing import Any

import pykka
import pytest

from actors.actor import ActorDied
from actors.blocking import Failed, Finished
from actors.dispatch import (
    Dispatcher,
    GreenActor,
    Level,
    default_dispatcher,
    receives,
    tell_first,
)
from actors.errors import (
    DispatcherClosed,
    MailboxFull,
    PoolFull,
    TooManyTimers,
    WouldDeadlock,
)
from actors.mailbox import MailboxSpec, Policy
from actors.reference import GreenRef
from actors.runqueue import PATIENCE
from actors.turns import ALIKE
from foundation.errors import LimitError, UsageError

WAIT = 20.0


class Scribe(GreenActor):
    """Writes everything it is told into a list that the test holds."""

    def __init__(self, log: list[Any], name: str = "") -> None:
        super().__init__()
        self.log = log
        self.name = name

    def on_receive(self, message: Any) -> Any:
        self.log.append((self.name, message) if self.name else message)
        return message


class Urgent(Scribe):
    level = Level.STEP


class Idle(Scribe):
    level = Level.BACKGROUND


@pytest.fixture
def manual() -> Iterator[Dispatcher]:
    with Dispatcher(workers=0) as dispatcher:
        yield dispatcher


@pytest.fixture
def threaded() -> Iterator[Dispatcher]:
    with Dispatcher(workers=1) as dispatcher:
        yield dispatcher


def test_nothing_runs_by_itself_in_manual_mode(manual: Dispatcher) -> None:
    log: list[Any] = []
    ref = manual.start(Scribe, log)
    ref.tell(1)
    assert log == []
    assert manual.pump() == 1
    assert log == [1]


def test_a_busy_actor_gives_way_after_its_batch() -> None:
    with Dispatcher(workers=0, batch=4) as dispatcher:
        log: list[Any] = []
        busy, other = dispatcher.start(Scribe, log, "busy"), dispatcher.start(Scribe, log, "other")
        for n in range(20):
            busy.tell(n)
        other.tell("x")
        dispatcher.pump()
        assert log.index(("other", "x")) == 4
        assert [m for who, m in log if who == "busy"] == list(range(20))


def test_an_actor_whose_messages_take_long_gives_way_before_its_batch_is_over() -> None:
    class Slow(Scribe):
        def on_receive(self, message: Any) -> Any:
            time.sleep(0.001)
            return super().on_receive(message)

    class Holds(GreenActor):
        def on_receive(self, message: threading.Event) -> None:
            message.wait(WAIT)

    with Dispatcher(workers=1, slow_ms=2.0, batch=64) as dispatcher:
        log: list[Any] = []
        told = threading.Event()
        dispatcher.start(Holds).tell(told)
        slow, other = dispatcher.start(Slow, log, "slow"), dispatcher.start(Scribe, log, "other")
        for n in range(32):
            slow.tell(n)
        other.tell("x")
        told.set()
        slow.stop(timeout=WAIT)
        assert 0 < log.index(("other", "x")) <= 4
        assert [m for who, m in log if who == "slow"] == list(range(32))


def test_a_more_urgent_actor_goes_first_and_cuts_a_turn_short(manual: Dispatcher) -> None:
    log: list[Any] = []
    urgent = manual.start(Urgent, log, "step")

    class Caller(Scribe):
        def on_receive(self, message: Any) -> Any:
            super().on_receive(message)
            if message == 0:
                urgent.tell("now")

    caller = manual.start(Caller, log, "caller")
    manual.pump()
    for n in range(3):
        caller.tell(n)
    manual.pump()
    assert log == [("caller", 0), ("step", "now"), ("caller", 1), ("caller", 2)]


def test_nobody_starves_below_a_flood_of_urgent_work() -> None:
    manual = Dispatcher(workers=0, batch=1)
    log: list[Any] = []

    class Flood(GreenActor):
        level = Level.STEP

        def on_receive(self, message: int) -> None:
            log.append(message)
            if message < 10 * PATIENCE * len(Level):
                self.actor_ref.tell(message + 1)

    idle = manual.start(Idle, log, "idle")
    flood = manual.start(Flood)
    manual.pump()
    idle.tell("at last")
    flood.tell(0)
    manual.pump()
    assert 0 < log.index(("idle", "at last")) <= PATIENCE * len(Level) + 1
    manual.close()


def test_a_flooding_actor_does_not_starve_its_equals() -> None:
    with Dispatcher(workers=0, batch=8) as dispatcher:
        log: list[Any] = []

        class Flood(Scribe):
            def on_receive(self, message: int) -> None:
                super().on_receive(message)
                if len(log) < 4_000:
                    for _ in range(2):
                        self.actor_ref.tell(message + 1)

        class Modest(Scribe):
            def on_receive(self, message: int) -> None:
                super().on_receive(message)
                if message < 20:
                    self.actor_ref.tell(message + 1)

        flood = dispatcher.start(Flood, log, "flood")
        modest = [dispatcher.start(Modest, log, f"modest {n}") for n in range(5)]
        for ref in (flood, *modest):
            ref.tell(0)
        dispatcher.pump()
        for n in range(5):
            at = [i for i, (who, _) in enumerate(log) if who == f"modest {n}"]
            assert len(at) == 21
            # Between two of its messages lies a turn of each of the others at the most.
            assert max(b - a for a, b in itertools.pairwise(at)) <= 5 * 8 + 1


def test_an_urgent_actor_that_needs_an_idle_ones_answer_is_not_kept_from_it_by_those_between() -> (
    None
):
    manual = Dispatcher(workers=0, batch=1)
    log: list[Any] = []

    class Between(GreenActor):
        level = Level.NORMAL

        def on_receive(self, message: int) -> None:
            log.append(message)
            if message < 10 * PATIENCE * len(Level):
                self.actor_ref.tell(message + 1)

    class Keeper(GreenActor):
        level = Level.BACKGROUND

        def on_receive(self, message: pykka.ActorRef[Any]) -> None:
            message.tell("the key")

    class Wants(GreenActor):
        level = Level.STEP

        def on_receive(self, message: Any) -> None:
            if message == "go":
                keeper.tell(self.actor_ref)
            else:
                log.append(message)

    keeper, between, wants = (manual.start(kind) for kind in (Keeper, Between, Wants))
    manual.pump()
    between.tell(0)
    wants.tell("go")
    manual.pump()
    assert 0 < log.index("the key") <= PATIENCE * len(Level) + 1
    manual.close()


def test_an_urgent_message_goes_before_those_already_queued(manual: Dispatcher) -> None:
    log: list[Any] = []
    ref = manual.start(Scribe, log)
    ref.tell("first")
    ref.tell("second")
    tell_first(ref, "urgent")
    manual.pump()
    assert log == ["urgent", "first", "second"]
    ref.stop()
    with pytest.raises(pykka.ActorDeadError):
        tell_first(ref, "late")


def test_every_message_of_many_threads_arrives_once_and_in_its_tellers_order(
    threaded: Dispatcher,
) -> None:
    log: list[Any] = []
    refs = [threaded.start(Scribe, log, str(n)) for n in range(10)]

    def tell(teller: int) -> None:
        for n in range(300):
            refs[n % 10].tell((teller, n))

    threads = [threading.Thread(target=tell, args=(t,)) for t in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT)
    for ref in refs:
        ref.stop(timeout=WAIT)
    assert len(log) == len(set(log)) == 1200
    for actor in range(10):
        for teller in range(4):
            mine = [n for who, (t, n) in log if who == str(actor) and t == teller]
            assert mine == sorted(mine)


def test_a_handler_that_waits_for_its_own_dispatcher_gets_an_error_naming_both(
    threaded: Dispatcher,
) -> None:
    class Waiter(GreenActor):
        def on_receive(self, message: pykka.ActorRef[Any]) -> Any:
            return message.ask("?")

    class WaitsForMap(GreenActor):
        def on_receive(self, message: pykka.ActorRef[Any]) -> Any:
            return message.ask("?", block=False).map(str).get(timeout=1)

    log: list[Any] = []
    scribe = threaded.start(Scribe, log)
    waiter = threaded.start(Waiter)
    for ref in (waiter, threaded.start(WaitsForMap)):
        with pytest.raises(WouldDeadlock) as caught:
            ref.ask(scribe, timeout=WAIT)
        assert caught.value.code == "would_deadlock"
        assert ref.actor_urn in caught.value.message
        assert scribe.actor_urn in caught.value.message
        assert ref.is_alive()


def test_a_handler_may_wait_for_an_actor_of_another_dispatcher(threaded: Dispatcher) -> None:
    class Waiter(GreenActor):
        def on_receive(self, message: pykka.ActorRef[Any]) -> Any:
            return message.ask("far", timeout=WAIT)

    with Dispatcher(workers=1) as other:
        log: list[Any] = []
        far = other.start(Scribe, log)
        assert threaded.start(Waiter).ask(far, timeout=WAIT) == "far"


@pytest.mark.parametrize("how", ["attribute", "call", "join", "stop", "get_all"])
@pytest.mark.parametrize("workers", [0, 1, 2])
def test_every_way_of_waiting_is_detected(how: str, workers: int) -> None:
    class Waiter(GreenActor):
        def on_receive(self, message: pykka.ActorRef[Any]) -> Any:
            proxy = message.proxy()
            if how == "attribute":
                return proxy.name.get(timeout=WAIT)
            if how == "call":
                return proxy.on_receive("x").get(timeout=WAIT)
            if how == "stop":
                return message.stop(timeout=WAIT)
            if how == "join":
                return proxy.name.join(proxy.log).get(timeout=WAIT)
            return pykka.get_all([proxy.name, proxy.log], timeout=WAIT)

    with Dispatcher(workers) as dispatcher:
        scribe, waiter = dispatcher.start(Scribe, [], "scribe"), dispatcher.start(Waiter)
        with pytest.raises(WouldDeadlock) as caught:
            waiter.ask(scribe, timeout=WAIT)
        for ref in (waiter, scribe):
            assert ref.actor_urn in caught.value.message


@pytest.mark.parametrize("workers", [0, 1])
def test_a_ring_of_waits_over_several_dispatchers_is_detected_and_named(workers: int) -> None:
    class Passes(GreenActor):
        def on_receive(self, message: list[pykka.ActorRef[Any]]) -> Any:
            return message[0].ask(message[1:], timeout=WAIT) if message else "the end"

    with Dispatcher(workers) as one, Dispatcher(workers) as two, Dispatcher(workers) as three:
        first, other = one.start(Passes), one.start(Passes)
        second, third = two.start(Passes), three.start(Passes)
        assert first.ask([second, third], timeout=WAIT) == "the end"
        for back in (first, other):
            with pytest.raises(WouldDeadlock) as caught:
                first.ask([second, third, back], timeout=WAIT)
            for ref in (first, second, third, back):
                assert ref.actor_urn in caught.value.message
        assert first.ask([third], timeout=WAIT) == "the end"


def test_a_free_thread_of_the_awaited_dispatcher_makes_a_wait_no_deadlock() -> None:
    class Passes(GreenActor):
        def on_receive(self, message: list[pykka.ActorRef[Any]]) -> Any:
            return message[0].ask(message[1:], timeout=WAIT) if message else "the end"

    with Dispatcher(2) as wide, Dispatcher(1) as narrow:
        first, other, far = wide.start(Passes), wide.start(Passes), narrow.start(Passes)
        assert first.ask([far, other], timeout=WAIT) == "the end"


def test_blocking_work_in_manual_mode_may_wait_for_an_actor(manual: Dispatcher) -> None:
    log: list[Any] = []
    scribe = manual.start(Scribe, log)
    manual.pump()
    manual.run_blocking(lambda: scribe.ask("?", timeout=WAIT), scribe, "asked")
    scribe.tell("before")
    manual.pump()
    assert log == ["before", "?", Finished("asked", "?")]


def test_a_handler_may_neither_pump_nor_close_its_dispatcher(manual: Dispatcher) -> None:
    class Meddler(GreenActor):
        def on_receive(self, message: str) -> Any:
            return getattr(manual, message)()

    ref = manual.start(Meddler)
    for what in ("pump", "close"):
        with pytest.raises(WouldDeadlock):
            ref.ask(what)


def test_only_a_manual_dispatcher_can_be_pumped(threaded: Dispatcher) -> None:
    with pytest.raises(UsageError, match="worker threads"):
        threaded.pump()


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_timers_tell_in_order_of_time_then_of_asking() -> None:
    clock = Clock()
    with Dispatcher(workers=0, clock=clock) as dispatcher:
        log: list[Any] = []
        ref = dispatcher.start(Scribe, log)
        dispatcher.tell_after(2.0, ref, "later")
        dispatcher.tell_after(1.0, ref, "soon")
        dispatcher.tell_after(1.0, ref, "soon too")
        dispatcher.tell_after(1.5, ref, "never").cancel()
        dispatcher.pump()
        assert log == []
        clock.now = 1.0
        dispatcher.pump()
        assert log == ["soon", "soon too"]
        clock.now = 9.0
        dispatcher.pump()
        assert log == ["soon", "soon too", "later"]


def test_a_sleeping_worker_wakes_for_a_timer(threaded: Dispatcher) -> None:
    rang = threading.Event()

    class Sleeper(GreenActor):
        def on_receive(self, message: Any) -> None:
            rang.set()

    threaded.tell_after(0.01, threaded.start(Sleeper), "ring")
    assert rang.wait(WAIT)


def test_timers_are_bounded_and_those_for_the_dead_are_counted() -> None:
    clock = Clock()
    with Dispatcher(workers=0, clock=clock, timers=2) as dispatcher:
        log: list[Any] = []
        ref = dispatcher.start(Scribe, log)
        first = dispatcher.tell_after(1.0, ref, 1)
        dispatcher.tell_after(1.0, ref, 2)
        with pytest.raises(TooManyTimers):
            dispatcher.tell_after(1.0, ref, 3)
        first.cancel()
        dispatcher.tell_after(1.0, ref, 4)
        ref.stop()
        clock.now = 2.0
        dispatcher.pump()
        assert log == []
        assert dispatcher.dead_letters == 2


@pytest.mark.parametrize("workers", [0, 1])
def test_blocking_work_comes_back_as_a_message(workers: int) -> None:
    done = threading.Event()
    log: list[Any] = []

    class Asker(GreenActor):
        def on_start(self) -> None:
            self._dispatcher.run_blocking(lambda: 6 * 7, self.actor_ref, "sum")
            self._dispatcher.run_blocking(lambda: 1 // 0, self.actor_ref, "bad")

        @receives(Finished)
        def finished(self, message: Finished) -> None:
            log.append((message.tag, message.value))
            self._check()

        @receives(Failed)
        def failed(self, message: Failed) -> None:
            log.append((message.tag, type(message.error)))
            self._check()

        def _check(self) -> None:
            if len(log) == 2:
                done.set()

    with Dispatcher(workers=workers) as dispatcher:
        dispatcher.start(Asker)
        if not workers:
            dispatcher.pump()
        assert done.wait(WAIT)
    assert sorted(log) == [("bad", ZeroDivisionError), ("sum", 42)]


def test_the_blocking_pool_is_bounded() -> None:
    gate = threading.Event()
    with Dispatcher(workers=1, pool=1, pool_limit=1) as dispatcher:
        log: list[Any] = []
        ref = dispatcher.start(Scribe, log)
        for tag in ("runs", "waits"):
            dispatcher.run_blocking(lambda: gate.wait(WAIT), ref, tag)
        with pytest.raises(PoolFull) as caught:
            dispatcher.run_blocking(lambda: None, ref, "too much")
        assert isinstance(caught.value, LimitError)
        gate.set()


def test_a_handler_over_the_bound_is_named_in_the_metrics() -> None:
    class Sluggard(GreenActor):
        def on_receive(self, message: Any) -> None:
            return None

        def dawdle(self) -> None:
            threading.Event().wait(0.005)

    with Dispatcher(workers=0, slow_ms=2.0) as dispatcher:
        ref = dispatcher.start(Sluggard)
        ref.tell("quick")
        ref.proxy().dawdle().get()
        kind = dispatcher.metrics()["Sluggard"]
        assert set(kind.slow) == {"dawdle"}
        assert kind.slow["dawdle"].count == 1
        assert kind.longest_handler == "dawdle"
        assert kind.longest_ms >= 5
        assert kind.handled == 2
        assert kind.alive == 1


def test_a_slow_message_among_brief_ones_of_its_type_is_named_though_they_are_timed_as_one(
    manual: Dispatcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = reads = 0

    def clock() -> int:
        nonlocal reads
        reads += 1
        return now

    class Sluggard(GreenActor):
        def on_receive(self, message: str | int) -> None:
            nonlocal now
            now += 5_000_000 if message == "slow" else 1_000

    monkeypatch.setattr(time, "perf_counter_ns", clock)
    ref = manual.start(Sluggard)
    for n in range(60):
        ref.tell("slow" if n in (20, 40) else "brief")
    for n in range(2):
        ref.tell(n)
    assert manual.pump() == 62
    kind = manual.metrics()["Sluggard"]
    assert {name: slow.count for name, slow in kind.slow.items()} == {"str": 2}
    assert kind.longest_handler == "str"
    assert 5 <= kind.longest_ms < 5 + ALIKE * 0.001
    assert kind.longest_ms == kind.slow["str"].longest_ms
    assert reads < 62 / 2


def test_metrics_keep_what_dead_actors_did(manual: Dispatcher) -> None:
    log: list[Any] = []

    class Breaks(Scribe):
        def on_receive(self, message: Any) -> Any:
            raise ValueError("worn out")

    refs = [manual.start(Scribe, log) for _ in range(3)]
    for n in range(5):
        refs[0].tell(n)
    manual.start(Breaks, log).tell("x")
    manual.pump()
    for ref in refs:
        ref.stop()
    scribes, breaks = manual.metrics()["Scribe"], manual.metrics()["Breaks"]
    assert (scribes.alive, scribes.handled, scribes.depth_max) == (0, 8, 5)
    assert (breaks.alive, breaks.failures) == (0, 1)
    assert breaks.last_error == "ValueError: worn out"


def test_a_new_instance_moves_in_behind_the_same_reference_and_mailbox(manual: Dispatcher) -> None:
    log: list[Any] = []
    reports: list[ActorDied] = []

    class Boss(GreenActor):
        @receives(ActorDied)
        def died(self, message: ActorDied) -> None:
            reports.append(message)

    class Fragile(Scribe):
        def __init__(self, log: list[Any]) -> None:
            super().__init__(log)
            self._me = self.actor_ref
            self.seen = 0

        def on_start(self) -> None:
            self.log.append("start")

        def on_receive(self, message: Any) -> Any:
            if message == "poison":
                raise ValueError("bad apple")
            self.seen += 1
            return super().on_receive((message, self.seen, self._me is self.actor_ref))

    boss = manual.start(Boss)
    ref = manual.launch(lambda: Fragile(log), supervision=(boss, "apple"))
    for message in ("a", "poison", "b"):
        ref.tell(message)
    manual.pump()
    assert log == ["start", ("a", 1, True)]
    (report,) = reports
    assert (report.key, report.phase, report.kind) == ("apple", "receive", "Fragile")
    assert "bad apple" in report.error
    assert "poison" in report.message
    assert ref.is_alive()
    ref.tell("c")
    manual.revive(ref, lambda: Fragile(log))
    assert ref.ask("d") == ("d", 3, True)
    assert log[2:] == ["start", ("b", 1, True), ("c", 2, True), ("d", 3, True)]
    assert pykka.ActorRegistry.get_by_urn(ref.actor_urn) is ref
    assert ref.proxy().seen.get() == 3
    assert manual.metrics()["Fragile"].restarts == 1


@pytest.mark.parametrize("order", ["first started first", "last started first"])
def test_stopping_many_actors_one_by_one_does_not_search_the_registry_for_each(
    manual: Dispatcher, monkeypatch: pytest.MonkeyPatch, order: str
) -> None:
    class Compared:
        compared = 0

        def __eq__(self, other: object) -> bool:
            Compared.compared += 1
            return self is other

        __hash__ = object.__hash__

    class Ref(Compared, GreenRef[Any]):
        pass

    monkeypatch.setattr("actors.actor.GreenRef", Ref)
    before = pykka.ActorRegistry.get_all()
    refs = [manual.start(Scribe, []) for _ in range(300)]
    assert pykka.ActorRegistry.get_all() == before + refs
    Compared.compared = 0
    for ref in refs if order == "first started first" else reversed(refs):
        ref.stop()
    assert Compared.compared <= 4 * len(refs)
    assert pykka.ActorRegistry.get_all() == before
    assert not any(ref.is_alive() for ref in refs)


def test_stopping_all_goes_from_the_last_started_to_the_first(manual: Dispatcher) -> None:
    log: list[Any] = []

    class Leaves(Scribe):
        def on_stop(self) -> None:
            log.append(self.name)

    for n in range(50):
        manual.start(Leaves, log, str(n))
    manual.pump()
    assert manual.stop_all() == 0
    assert log == [str(n) for n in reversed(range(50))]
    assert not pykka.ActorRegistry.get_by_class(Leaves)


def test_a_closed_dispatcher_has_no_living_actors_and_starts_none() -> None:
    dispatcher = Dispatcher(workers=1)
    log: list[Any] = []
    refs = [dispatcher.start(Scribe, log) for _ in range(20)]
    assert dispatcher.close(WAIT) == 0
    assert not any(ref.is_alive() for ref in refs)
    with pytest.raises(DispatcherClosed):
        dispatcher.start(Scribe, log)


def test_without_a_dispatcher_named_an_actor_runs_on_the_processs_own() -> None:
    log: list[Any] = []
    ref = Scribe.start(log)
    try:
        assert ref.ask("x", timeout=WAIT) == "x"
        assert ref.actor_inbox.dispatcher is default_dispatcher()
    finally:
        ref.stop(timeout=WAIT)


def test_an_actor_started_by_a_handler_shares_its_dispatcher(threaded: Dispatcher) -> None:
    class Parent(GreenActor):
        def on_receive(self, message: list[Any]) -> Any:
            return Scribe.start(message)

    child = threaded.start(Parent).ask([], timeout=WAIT)
    assert child.actor_inbox.dispatcher is threaded


def bounded(limit: int, policy: Policy, **more: Any) -> type[Scribe]:
    class Bounded(Scribe):
        mailbox = MailboxSpec(limit=limit, policy=policy, **more)

    return Bounded


def test_a_full_mailbox_rejects_with_a_typed_error_but_takes_a_stop(manual: Dispatcher) -> None:
    log: list[Any] = []
    ref = manual.start(bounded(2, Policy.REJECT), log)
    ref.tell(1)
    ref.tell(2)
    with pytest.raises(MailboxFull) as caught:
        ref.tell(3)
    assert caught.value.code == "mailbox_full"
    assert caught.value.retryable
    assert isinstance(caught.value, LimitError)
    with pytest.raises(MailboxFull):
        ref.ask(4, block=False)
    assert ref.stop() is True
    assert log == [1, 2]
    assert manual.metrics()["Bounded"].rejected == 2


def test_a_mailbox_may_drop_its_oldest_message_and_tells_who_waits_for_it(
    manual: Dispatcher,
) -> None:
    log: list[Any] = []
    ref = manual.start(bounded(2, Policy.DROP_OLDEST), log)
    asked = ref.ask("old", block=False)
    ref.tell(2)
    ref.tell(3)
    with pytest.raises(MailboxFull, match="dropped"):
        asked.get()
    ref.stop(block=False)
    ref.tell(4)
    manual.pump()
    assert log == [3]
    assert not ref.is_alive()
    assert manual.metrics()["Bounded"].dropped == 2


def test_a_mailbox_may_keep_only_the_latest_of_a_kind(manual: Dispatcher) -> None:
    log: list[Any] = []
    spec = bounded(3, Policy.LATEST, key=lambda m: "state" if isinstance(m, int) else None)
    ref = manual.start(spec, log)
    for message in (1, "a", 2, "b", 3):
        ref.tell(message)
    with pytest.raises(MailboxFull):
        ref.tell("c")
    manual.pump()
    assert log == [3, "a", "b"]
    ref.tell(4)
    manual.pump()
    assert log == [3, "a", "b", 4]
    assert manual.metrics()["Bounded"].dropped == 2


def test_a_mailbox_of_the_latest_needs_no_key_for_stops_and_proxies(manual: Dispatcher) -> None:
    class Board(Scribe):
        mailbox = MailboxSpec(limit=2, policy=Policy.LATEST, key=lambda message: message["what"])

        def ring(self) -> str:
            return "rung"

    log: list[Any] = []
    ref = manual.start(Board, log)
    ref.proxy().ring.defer()
    assert ref.proxy().ring().get(timeout=WAIT) == "rung"
    ref.tell({"what": "weather"})
    ref.proxy().stop().get(timeout=WAIT)
    assert log == [{"what": "weather"}]
    manual.pump()
    assert not ref.is_alive()


def test_a_message_changed_while_it_waits_leaves_no_key_behind(manual: Dispatcher) -> None:
    class Board(Scribe):
        mailbox = MailboxSpec(limit=2, policy=Policy.LATEST, key=lambda message: message["what"])

    log: list[Any] = []
    ref = manual.start(Board, log)
    changing = {"what": "weather"}
    ref.tell(changing)
    changing["what"] = "news"
    manual.pump()
    ref.tell({"what": "weather", "is": "fine"})
    manual.pump()
    assert log == [{"what": "news"}, {"what": "weather", "is": "fine"}]


def test_an_outside_thread_may_wait_for_room(threaded: Dispatcher) -> None:
    gate, entered = threading.Event(), threading.Event()
    log: list[Any] = []

    class Slow(Scribe):
        mailbox = MailboxSpec(limit=1, policy=Policy.BLOCK, block_s=WAIT)

        def on_receive(self, message: Any) -> Any:
            entered.set()
            gate.wait(WAIT)
            return super().on_receive(message)

    ref = threaded.start(Slow, log)
    ref.tell(0)
    assert entered.wait(WAIT)
    ref.tell(1)
    told = threading.Event()

    def tell() -> None:
        ref.tell(2)
        told.set()

    thread = threading.Thread(target=tell)
    thread.start()
    assert not told.is_set()
    gate.set()
    assert told.wait(WAIT)
    thread.join(WAIT)
    ref.stop(timeout=WAIT)
    assert log == [0, 1, 2]


def test_a_handler_never_waits_for_room_and_an_outside_thread_not_forever(
    threaded: Dispatcher,
) -> None:
    gate, entered = threading.Event(), threading.Event()

    class Slow(GreenActor):
        mailbox = MailboxSpec(limit=1, policy=Policy.BLOCK, block_s=0.01)

        def on_receive(self, message: Any) -> Any:
            entered.set()
            gate.wait(WAIT)

    ref = threaded.start(Slow)
    ref.tell(0)
    assert entered.wait(WAIT)
    ref.tell(1)
    with pytest.raises(MailboxFull):
        ref.tell(2)
    gate.set()

    class Filler(GreenActor):
        def on_receive(self, message: pykka.ActorRef[Any]) -> str:
            try:
                for n in range(5):
                    message.tell(n)
            except MailboxFull:
                return "refused"
            return "took all"

    assert threaded.start(Filler).ask(ref, timeout=WAIT) == "refused"


def test_no_dispatcher_stands_still_for_room_in_anothers_mailbox(threaded: Dispatcher) -> None:
    gate, entered = threading.Event(), threading.Event()

    class Slow(GreenActor):
        mailbox = MailboxSpec(limit=1, policy=Policy.BLOCK, block_s=2 * WAIT)

        def on_receive(self, message: Any) -> Any:
            entered.set()
            gate.wait(2 * WAIT)

    class Teller(GreenActor):
        def on_receive(self, message: Any) -> str:
            try:
                ref.tell("more")
            except MailboxFull:
                return "refused"
            return "taken"

    with Dispatcher(workers=1) as other:
        ref = other.start(Slow)
        ref.tell("first")
        assert entered.wait(WAIT)
        ref.tell("second")
        teller = threaded.start(Teller)
        assert teller.ask("go", timeout=WAIT) == "refused"
        threaded.tell_after(0.0, ref, "timed")
        assert teller.ask("and on", timeout=WAIT) == "refused"
        gate.set()


def test_depth_counts_the_deepest_a_mailbox_has_been(manual: Dispatcher) -> None:
    log: list[Any] = []
    ref = manual.start(Scribe, log)
    for n in range(7):
        ref.tell(n)
    manual.pump()
    ref.tell(8)
    assert manual.metrics()["Scribe"].depth_max == 7
    assert manual.metrics()["Scribe"].queued == 1
