"""A failed actor comes back with its reference and its mailbox, within a budget, and it is told of."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pykka
import pytest

from actors.dispatch import Dispatcher, GreenActor
from actors.supervision import (
    Child,
    ChildGivenUp,
    ChildSpec,
    Incident,
    RestartPolicy,
    Root,
    Strategy,
    Supervisor,
    supervise,
)

WAIT = 20.0


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


class Stage:
    """A manual dispatcher on a hand-set clock, a supervisor and what its journal has heard."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.dispatcher = Dispatcher(workers=0, clock=self.clock)
        self.incidents: list[Incident] = []
        self.log: list[Any] = []
        self.boss = self.supervisor()

    def supervisor(self, **options: Any) -> pykka.ActorRef[Supervisor]:
        options.setdefault("journal", self.incidents.append)
        return self.dispatcher.start(Supervisor, "cast", **options)

    def child(
        self,
        key: str = "wolf",
        policy: RestartPolicy | None = None,
        kind: Callable[..., GreenActor] | None = None,
        boss: pykka.ActorRef[Supervisor] | None = None,
    ) -> pykka.ActorRef[Any]:
        kind = kind or Wolf
        spec = ChildSpec(key, lambda: kind(self.log, key), policy or RestartPolicy())
        return supervise(boss or self.boss, spec, self.dispatcher)

    def run(self, until: float | None = None) -> None:
        self.dispatcher.pump()
        if until is not None:
            self.clock.now = until
            self.dispatcher.pump()


class Wolf(GreenActor):
    def __init__(self, log: list[Any], name: str) -> None:
        super().__init__()
        self.log = log
        self.name = name

    def on_start(self) -> None:
        self.log.append((self.name, "start"))

    def on_failure(self, kind: Any, value: Any, trace: Any) -> None:
        self.log.append((self.name, "failure"))

    def on_receive(self, message: Any) -> Any:
        if message == "trap":
            raise ValueError("caught in a trap")
        self.log.append((self.name, message))
        return message


@pytest.fixture
def stage() -> Iterator[Stage]:
    stage = Stage()
    yield stage
    assert stage.dispatcher.close(WAIT) == 0


def test_a_failed_child_keeps_mailbox_and_reference_and_skips_the_poison(stage: Stage) -> None:
    ref = stage.child()
    for message in (1, "trap", 2, 3):
        ref.tell(message)
    stage.run()
    assert stage.log == [("wolf", "start"), ("wolf", 1), ("wolf", "failure")]
    ref.tell(4)
    stage.run(until=0.05)
    assert stage.log[3:] == [("wolf", m) for m in ("start", 2, 3, 4)]
    assert ref.is_alive()
    (incident,) = stage.incidents
    assert (incident.key, incident.kind, incident.phase) == ("wolf", "Wolf", "receive")
    assert (incident.action, incident.delay_s) == ("restart", 0.05)
    assert "caught in a trap" in incident.error
    assert incident.message == "'trap'"
    assert "on_receive" in incident.trace


def test_the_wait_doubles_up_to_its_bound(stage: Stage) -> None:
    policy = RestartPolicy(intensity=10, backoff_s=1.0, backoff_max_s=3.0, period_s=1000.0)
    ref = stage.child(policy=policy)
    for n in range(4):
        ref.tell("trap")
        stage.run(until=10.0 * (n + 1))
    assert [i.delay_s for i in stage.incidents] == [1.0, 2.0, 3.0, 3.0]


def test_old_failures_do_not_count_against_the_budget(stage: Stage) -> None:
    policy = RestartPolicy(intensity=1, period_s=5.0, backoff_s=0.1, rest_s=None)
    ref = stage.child(policy=policy)
    for n in range(5):
        ref.tell("trap")
        stage.run(until=10.0 * (n + 1))
    assert [i.action for i in stage.incidents] == ["restart"] * 5
    assert ref.is_alive()


def test_past_its_budget_a_child_rests_and_comes_back(stage: Stage) -> None:
    policy = RestartPolicy(intensity=2, period_s=100.0, backoff_s=0.1, rest_s=60.0)
    ref = stage.child(policy=policy)
    for n in range(3):
        ref.tell("trap")
        stage.run(until=1.0 + n)
    assert [i.action for i in stage.incidents] == ["restart", "restart", "rest"]
    ref.tell("patient")
    stage.run(until=50.0)
    assert ("wolf", "patient") not in stage.log
    stage.run(until=70.0)
    assert stage.log[-1] == ("wolf", "patient")


def test_past_its_budget_a_child_may_be_given_up_and_the_parent_is_told(stage: Stage) -> None:
    told: list[Any] = []

    class Parent(GreenActor):
        def on_receive(self, message: Any) -> None:
            told.append(message)

    boss = stage.supervisor(parent=stage.dispatcher.start(Parent))
    policy = RestartPolicy(intensity=0, rest_s=None)
    ref = stage.child(policy=policy, boss=boss)
    ref.tell("trap")
    waiting = ref.ask("anyone?", block=False)
    stage.run()
    with pytest.raises(pykka.ActorDeadError):
        waiting.get(timeout=WAIT)
    assert not ref.is_alive()
    assert pykka.ActorRegistry.get_by_urn(ref.actor_urn) is None
    (report,) = told
    assert isinstance(report, ChildGivenUp)
    assert report.incident.action == "give up"


def test_supervisors_pass_upwards_that_a_child_was_given_up(stage: Stage) -> None:
    above: list[Incident] = []
    top = stage.supervisor(journal=above.append)
    ref = stage.child(
        policy=RestartPolicy(intensity=0, rest_s=None), boss=stage.supervisor(parent=top)
    )
    ref.tell("trap")
    stage.run()
    assert [i.action for i in above] == ["give up"]


def test_an_on_start_that_raises_is_told_and_tried_again(stage: Stage) -> None:
    class Unlucky(Wolf):
        tries = 0

        def on_start(self) -> None:
            Unlucky.tries += 1
            if Unlucky.tries < 3:
                raise OSError("no den")

    ref = stage.child(kind=Unlucky)
    ref.tell("hello")
    stage.run(until=1.0)
    stage.run(until=2.0)
    assert [(i.phase, i.error) for i in stage.incidents] == [("start", "OSError: no den")] * 2
    assert stage.log == [("wolf", "hello")]


def test_a_factory_that_raises_is_told_and_tried_again(stage: Stage) -> None:
    makes = 0

    def make(log: list[Any], name: str) -> GreenActor:
        nonlocal makes
        makes += 1
        if makes == 2:
            raise OSError("no wolves left")
        return Wolf(log, name)

    ref = stage.child(kind=make)
    ref.tell("trap")
    ref.tell("after")
    stage.run(until=1.0)
    stage.run(until=2.0)
    assert [i.phase for i in stage.incidents] == ["receive", "create"]
    assert stage.log[-1] == ("wolf", "after")


def test_siblings_live_on_one_for_one(stage: Stage) -> None:
    first, second = stage.child("first"), stage.child("second")
    first.tell("trap")
    second.tell("howl")
    stage.run(until=1.0)
    assert stage.log.count(("first", "start")) == 2
    assert stage.log.count(("second", "start")) == 1


def test_rest_for_one_makes_the_younger_siblings_anew_in_order(stage: Stage) -> None:
    boss = stage.supervisor(strategy=Strategy.REST_FOR_ONE)
    refs = {key: stage.child(key, boss=boss) for key in ("a", "b", "c", "d")}
    stage.run()
    stage.log.clear()
    refs["b"].tell("trap")
    stage.run()
    refs["d"].tell("kept")
    stage.run(until=1.0)
    assert [e for e in stage.log if e[1] == "start"] == [(k, "start") for k in ("b", "c", "d")]
    assert ("d", "kept") in stage.log
    assert [i.action for i in stage.incidents] == ["restart", "with its elder", "with its elder"]


def test_a_stopped_child_is_forgotten(stage: Stage) -> None:
    ref = stage.child()
    assert stage.boss.proxy().keys().get() == ["wolf"]
    ref.stop()
    stage.run()
    assert stage.boss.proxy().keys().get() == []
    assert stage.incidents == []


def test_stopping_a_supervisor_stops_its_children_also_those_that_wait(stage: Stage) -> None:
    well, hurt = stage.child("well"), stage.child("hurt")
    hurt.tell("trap")
    stage.run()
    stage.boss.stop()
    stage.run()
    assert not well.is_alive()
    assert not hurt.is_alive()


def test_a_journal_that_fails_does_not_keep_a_child_down(stage: Stage) -> None:
    def journal(incident: Incident) -> None:
        raise OSError("out of ink")

    ref = stage.child(boss=stage.supervisor(journal=journal))
    ref.tell("trap")
    ref.tell("again")
    stage.run(until=1.0)
    assert stage.log[-1] == ("wolf", "again")


def test_a_supervisor_is_itself_restarted_and_still_knows_its_children(stage: Stage) -> None:
    children: dict[str, Child] = {}

    class Clumsy(Supervisor):
        def on_receive(self, message: Any) -> Any:
            if message == "trip":
                raise RuntimeError("tripped")
            return super().on_receive(message)

    middle = supervise(
        stage.boss,
        ChildSpec("middle", lambda: Clumsy("middle", children=children)),
        stage.dispatcher,
    )
    ref = stage.child(boss=middle)
    stage.run()
    ref.tell("trap")
    middle.tell("trip")
    stage.run(until=1.0)
    ref.tell("back")
    stage.run(until=2.0)
    assert stage.log[-1] == ("wolf", "back")
    ref.tell("trap")
    ref.tell("back again")
    stage.run(until=3.0)
    assert stage.log[-1] == ("wolf", "back again")


def test_a_child_whose_supervisor_is_gone_ends_like_any_pykka_actor(stage: Stage) -> None:
    ref = stage.dispatcher.launch(
        lambda: Wolf(stage.log, "orphan"), supervision=(stage.supervisor(), "orphan")
    )
    stage.run()
    supervisor = ref.actor_inbox.supervision[0]
    supervisor.stop()
    ref.tell("trap")
    stage.run()
    assert not ref.is_alive()


def test_supervision_holds_on_a_worker_thread() -> None:
    done = threading.Event()

    class Counter(GreenActor):
        def on_receive(self, message: Any) -> Any:
            if message % 10 == 5:
                raise ValueError(str(message))
            if message == 99:
                done.set()

    policy = RestartPolicy(intensity=1000, backoff_s=0.0)
    with Dispatcher(workers=1) as dispatcher:
        boss = dispatcher.start(Supervisor, "boss")
        ref = supervise(boss, ChildSpec("counter", Counter, policy), dispatcher)
        for n in range(100):
            ref.tell(n)
        assert done.wait(WAIT)
        counter = dispatcher.metrics()["Counter"]
        assert (counter.failures, counter.restarts, counter.alive) == (10, 10, 1)


def tree(stage: Stage, root: Root = Root.REST, **options: Any) -> tuple[Any, Any, Any, Any]:
    """boss (a root) > den > pack > two wolves, of which the first escalates on its second failure."""
    boss = stage.supervisor(root=root)
    den_policy = options.get("den", RestartPolicy(backoff_s=1.0))
    pack_policy = options.get("pack", RestartPolicy(backoff_s=1.0))

    def below(name: str) -> Supervisor:
        return Supervisor(name, journal=stage.incidents.append)

    den = supervise(boss, ChildSpec("den", lambda: below("den"), den_policy), stage.dispatcher)
    pack = supervise(den, ChildSpec("pack", lambda: below("pack"), pack_policy), stage.dispatcher)
    strict = RestartPolicy(intensity=1, backoff_s=0.1, period_s=1e6, escalate=True)
    wolf = stage.child("wolf", strict, boss=pack)
    mate = stage.child("mate", boss=pack)
    stage.run()
    stage.log.clear()
    return boss, den, (wolf, mate), pack


def live(stage: Stage, seconds: float) -> None:
    """Let time pass in small steps, so that a wait may follow upon a wait."""
    end = stage.clock.now + seconds
    while stage.clock.now < end:
        stage.run(until=stage.clock.now + 0.1)


def test_a_supervisor_past_a_childs_budget_fails_itself_and_all_below_start_anew(
    stage: Stage,
) -> None:
    _, _, (wolf, mate), pack = tree(stage)
    for message in ("trap", "trap", "later"):
        wolf.tell(message)
    mate.tell("hello")
    live(stage, 0.3)
    mate.tell("again")
    stage.run()
    live(stage, 2.5)
    actions = [(i.key, i.action) for i in stage.incidents]
    assert actions == [
        ("wolf", "restart"),
        ("wolf", "escalate"),
        ("pack", "restart"),
        ("mate", "with its supervisor"),
    ]
    assert "can't keep wolf up: ValueError: caught in a trap" in stage.incidents[2].error
    assert ("wolf", "later") in stage.log
    assert stage.log.count(("mate", "start")) == 1
    assert all(ref.is_alive() for ref in (wolf, mate, pack))
    assert pack.proxy().keys().get() == ["wolf", "mate"]


def test_failures_climb_three_levels_and_mailboxes_are_kept(stage: Stage) -> None:
    once = RestartPolicy(intensity=0, backoff_s=0.1, escalate=True)
    _, den, (wolf, mate), _ = tree(stage, pack=once)
    for message in ("trap", "trap", "later"):
        wolf.tell(message)
    live(stage, 0.2)
    mate.tell("kept")
    live(stage, 4.0)
    actions = [(i.key, i.action) for i in stage.incidents]
    assert ("wolf", "escalate") in actions
    assert ("pack", "escalate") in actions
    assert ("den", "restart") in actions
    assert stage.log.index(("wolf", "start")) < stage.log.index(("wolf", "later"))
    assert ("mate", "kept") in stage.log
    rows = stage.dispatcher.inspect(limit=100)["actors"]
    assert rows and all(row["state"] == "alive" for row in rows)
    wolf.tell("trap")
    live(stage, 2.0)
    assert stage.incidents[-1].action == "restart", "a restart from above gives a fresh budget"
    assert den.is_alive()


@pytest.mark.parametrize("root", Root)
def test_what_nobody_above_can_take_is_the_roots_to_decide(stage: Stage, root: Root) -> None:
    once = RestartPolicy(intensity=0, backoff_s=0.1, escalate=True)
    boss, den, (wolf, mate), pack = tree(stage, root, den=once, pack=once)
    for message in ("trap", "trap", "later"):
        wolf.tell(message)
    live(stage, 4.0)
    if root is Root.STOP:
        assert stage.incidents[-1].action == "stop"
        assert not any(ref.is_alive() for ref in (boss, den, pack, wolf, mate))
        return
    assert stage.incidents[-1].action == "rest"
    assert boss.is_alive()
    assert ("wolf", "later") not in stage.log
    live(stage, 64.0)
    assert ("wolf", "later") in stage.log
    assert all(ref.is_alive() for ref in (den, pack, wolf, mate))


class Clumsy(Supervisor):
    """Fails on the first report it gets."""

    fallen = False

    def died(self, message: Any) -> None:
        if not Clumsy.fallen:
            Clumsy.fallen = True
            raise RuntimeError("dropped it")
        super().died(message)


def test_a_report_that_its_supervisor_fails_on_leaves_no_child_waiting(stage: Stage) -> None:
    Clumsy.fallen = False
    spec = ChildSpec("pack", lambda: Clumsy("pack", journal=stage.incidents.append))
    pack = supervise(stage.boss, spec, stage.dispatcher)
    wolf = stage.child(boss=pack)
    wolf.tell("trap")
    wolf.tell("later")
    live(stage, 2.0)
    assert Clumsy.fallen
    assert ("wolf", "later") in stage.log
    assert pack.proxy().keys().get() == ["wolf"]


def test_a_child_whose_key_another_has_taken_is_ended_when_it_fails(stage: Stage) -> None:
    elder = stage.child()
    elder.tell("trap")
    elder.stop(block=False)
    younger = stage.child()
    stage.run()
    assert not elder.is_alive()
    assert stage.dispatcher.actors == 2
    assert [incident.action for incident in stage.incidents] == ["replaced"]
    younger.tell("trap")
    younger.tell(1)
    stage.run(until=1.0)
    assert stage.log[-2:] == [("wolf", "start"), ("wolf", 1)]


def test_a_child_that_waits_for_its_restart_when_its_key_is_taken_is_ended(stage: Stage) -> None:
    elder = stage.child()
    elder.tell("trap")
    stage.run()
    assert elder.is_alive()
    younger = stage.child()
    stage.run(until=1.0)
    assert not elder.is_alive()
    assert younger.is_alive()


def test_a_factory_may_start_a_helper_before_its_own_actor(stage: Stage) -> None:
    class Helped(Wolf):
        def __init__(self, log: list[Any], name: str) -> None:
            self.helper = Wolf.start(log, "helper")
            super().__init__(log, name)

    ref = stage.child(kind=Helped)
    ref.tell("trap")
    ref.tell(1)
    stage.run(until=1.0)
    assert stage.log[-1] == ("wolf", 1)
    assert stage.log.count(("helper", "start")) == 2


def test_a_factory_that_makes_another_kind_is_told_and_asked_again(stage: Stage) -> None:
    class Fox(Wolf):
        pass

    made: list[GreenActor] = []

    def factory() -> GreenActor:
        made.append((Fox if len(made) == 1 else Wolf)(stage.log, "wolf"))
        return made[-1]

    ref = supervise(stage.boss, ChildSpec("wolf", factory), stage.dispatcher)
    ref.tell("trap")
    ref.tell(1)
    stage.run(until=0.06)
    stage.run(until=1.0)
    assert [incident.phase for incident in stage.incidents] == ["receive", "create"]
    assert "made no new Wolf" in stage.incidents[1].error
    assert stage.log[-1] == ("wolf", 1)


def test_a_child_may_fail_more_often_than_two_can_be_doubled(stage: Stage) -> None:
    policy = RestartPolicy(intensity=5000, period_s=1e9, backoff_s=0.0)
    ref = stage.child(policy=policy)
    for _ in range(1100):
        ref.tell("trap")
    ref.tell("out")
    stage.run()
    assert stage.log[-1] == ("wolf", "out")


def test_a_child_comes_back_though_as_many_timers_are_pending_as_may_be() -> None:
    clock = Clock()
    with Dispatcher(workers=0, clock=clock, timers=3) as dispatcher:
        log: list[Any] = []
        boss = dispatcher.start(Supervisor, "cast")
        ref = supervise(boss, ChildSpec("wolf", lambda: Wolf(log, "wolf")), dispatcher)
        for _ in range(3):
            dispatcher.tell_after(1000.0, ref, "later")
        ref.tell("trap")
        ref.tell(1)
        dispatcher.pump()
        clock.now = 1.0
        dispatcher.pump()
        assert log[-1] == ("wolf", 1)
        assert boss.is_alive()
