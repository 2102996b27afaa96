"""A dispatcher's thread outlives whatever its actors, their messages and their timers throw at it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any
from unittest.mock import Mock

import pykka
import pytest

from actors.dispatch import Dispatcher, GreenActor
from actors.mailbox import MailboxSpec, Policy
from actors.supervision import ChildSpec, Supervisor, supervise
from foundation.errors import UsageError

WAIT = 20.0


class Echo(GreenActor):
    def on_receive(self, message: Any) -> Any:
        return message


@pytest.fixture
def threaded() -> Iterator[Dispatcher]:
    with Dispatcher(workers=1) as dispatcher:
        yield dispatcher
        assert dispatcher.start(Echo).ask("alive?", timeout=WAIT) == "alive?"


class Unshowable:
    def __repr__(self) -> str:
        raise RuntimeError("not to be shown")


class Unsayable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("not to be said")


def test_a_slow_message_that_has_every_attribute_is_named_by_its_type(threaded: Dispatcher) -> None:
    class Slow(GreenActor):
        def on_receive(self, message: Any) -> None:
            time.sleep(0.003)

    ref = threaded.start(Slow)
    ref.tell(Mock())
    ref.ask("over", timeout=WAIT)
    assert "Mock" in threaded.metrics()["Slow"].slow


@pytest.mark.parametrize("what", [Unshowable(), Unsayable()])
def test_a_failure_that_can_not_be_told_in_words_is_mended_all_the_same(
    threaded: Dispatcher, what: Any
) -> None:
    incidents: list[Any] = []

    class Touchy(GreenActor):
        def on_receive(self, message: Any) -> Any:
            if message == "well?":
                return "well"
            raise message if isinstance(message, Exception) else ValueError("don't")

    boss = threaded.start(Supervisor, "boss", journal=incidents.append)
    ref = supervise(boss, ChildSpec("touchy", Touchy), threaded)
    ref.tell(what)
    assert ref.ask("well?", timeout=WAIT) == "well"
    (incident,) = incidents
    assert incident.action == "restart"
    assert type(what).__name__ in incident.message + incident.error


@pytest.mark.parametrize("where", ["on_failure", "on_stop"])
def test_leaving_the_program_in_a_last_hook_ends_no_others_thread(
    threaded: Dispatcher, where: str
) -> None:
    class Leaving(GreenActor):
        def on_receive(self, message: Any) -> None:
            raise ValueError("now")

        def on_failure(self, *_what: Any) -> None:
            raise SystemExit

        def on_stop(self) -> None:
            raise SystemExit

    ref = threaded.start(Leaving)
    if where == "on_failure":
        ref.tell("fail")
    else:
        ref.stop(timeout=WAIT)
    assert ref.actor_stopped.wait(WAIT)
    # A stop of all actors may still be under way; the thread must be there after it.
    deadline = time.monotonic() + WAIT
    while threaded.actors and time.monotonic() < deadline:
        time.sleep(0.001)
    assert threaded.actors == 0


def test_who_asks_what_ends_all_actors_is_told_and_not_left_waiting() -> None:
    class Fatal(GreenActor):
        def on_receive(self, message: Any) -> None:
            raise SystemExit

    with (
        Dispatcher(workers=1) as dispatcher,
        pytest.raises(pykka.ActorDeadError, match="SystemExit"),
    ):
        dispatcher.start(Fatal).ask("go", timeout=WAIT)


def test_a_timer_further_off_than_a_system_can_sleep_is_waited_for_in_parts(
    threaded: Dispatcher,
) -> None:
    ref = threaded.start(Echo)
    far = threaded.tell_after(1e12, ref, "in thirty thousand years")
    time.sleep(0.02)
    assert ref.ask("meanwhile", timeout=WAIT) == "meanwhile"
    far.cancel()


@pytest.mark.parametrize("delay", [float("inf"), float("nan")])
def test_a_timer_that_would_never_ring_is_refused(threaded: Dispatcher, delay: float) -> None:
    with pytest.raises(UsageError, match="never rings"):
        threaded.tell_after(delay, threaded.start(Echo), "never")


def test_a_timer_withdrawn_while_those_due_with_it_are_told_is_not_told() -> None:
    now = [0.0]
    told: list[Any] = []
    with Dispatcher(workers=0, clock=lambda: now[0]) as dispatcher:

        class Log(GreenActor):
            def on_receive(self, message: Any) -> None:
                told.append(message)

        class Meddler:
            """In an actor's place: withdraws the next timer as another thread might, just now."""

            def tell(self, message: Any) -> None:
                later.cancel()

        dispatcher.tell_after(1.0, Meddler(), "first")  # type: ignore[arg-type]
        later = dispatcher.tell_after(1.0, dispatcher.start(Log), "second")
        now[0] = 2.0
        dispatcher.pump()
    assert told == []


def test_a_timed_message_that_a_mailbox_can_not_take_leaves_those_behind_it_alone() -> None:
    now = [0.0]
    told: list[Any] = []

    class Choosy(GreenActor):
        mailbox = MailboxSpec(limit=4, policy=Policy.LATEST, key=lambda message: message.kind)

    class Log(GreenActor):
        def on_receive(self, message: Any) -> None:
            told.append(message)

    with Dispatcher(workers=0, clock=lambda: now[0]) as dispatcher:
        dispatcher.tell_after(1.0, dispatcher.start(Choosy), "has no kind")
        dispatcher.tell_after(1.0, dispatcher.start(Log), "on time")
        now[0] = 2.0
        dispatcher.pump()
        assert told == ["on time"]
        assert dispatcher.dead_letters == 1


@pytest.mark.parametrize("sizes", [{"workers": -1}, {"batch": 0}, {"pool": 0}])
def test_a_dispatcher_that_could_never_do_its_work_is_refused(sizes: dict[str, Any]) -> None:
    before = threading.active_count()
    with pytest.raises(UsageError):
        Dispatcher(**sizes)
    assert threading.active_count() == before
