"""What Pykka promises of an actor holds for a thread-per-actor Pykka actor and for ours alike."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pykka
import pytest

from actors.dispatch import Dispatcher, GreenActor

WAIT = 20.0
Kind = Callable[[type], Callable[..., pykka.ActorRef[Any]]]


@pytest.fixture(params=["pykka thread", "one worker", "two workers", "manual"])
def make(request: pytest.FixtureRequest) -> Iterator[Kind]:
    """Turns a mixin into an actor class of the kind under test and gives its `start`."""
    if request.param == "pykka thread":
        yield lambda mixin: type(mixin.__name__, (mixin, pykka.ThreadingActor), {}).start
        pykka.ActorRegistry.stop_all(timeout=WAIT)
        return
    workers = {"one worker": 1, "two workers": 2, "manual": 0}[request.param]
    dispatcher = Dispatcher(workers)

    def of(mixin: type) -> Callable[..., pykka.ActorRef[Any]]:
        kind = type(mixin.__name__, (mixin, GreenActor), {})
        return lambda *args, **kwargs: dispatcher.start(kind, *args, **kwargs)

    yield of
    assert dispatcher.close(WAIT) == 0


@pykka.traversable
class Lute:
    strings = 6

    def play(self, tune: str) -> str:
        return f"plays {tune}"


class Bard:
    lute = Lute()

    def __init__(self, log: list[str] | None = None) -> None:
        super().__init__()
        self.log = log if log is not None else []
        self.mood = "merry"
        self.stopped = threading.Event()
        self.failed = threading.Event()

    def on_start(self) -> None:
        self.log.append("start")

    def on_stop(self) -> None:
        self.log.append("stop")
        self.stopped.set()

    def on_failure(self, kind: Any, value: Any, trace: Any) -> None:
        self.log.append(f"failure {kind.__name__} {value}")
        self.failed.set()

    def on_receive(self, message: Any) -> Any:
        if message == "boom":
            raise ValueError("a string broke")
        self.log.append(message)
        return f"heard {message}"

    def sing(self, what: str, loud: bool = False) -> str:
        return what.upper() if loud else what

    def trip(self) -> None:
        raise LookupError("no such song")


def test_on_start_runs_before_the_first_message_and_messages_keep_their_order(make: Kind) -> None:
    log: list[str] = []
    ref = make(Bard)(log)
    for n in range(100):
        ref.tell(n)
    ref.ask("end", timeout=WAIT)
    assert log == ["start", *range(100), "end"]


def test_ask_answers_with_what_the_handler_returns(make: Kind) -> None:
    ref = make(Bard)()
    assert ref.ask("news", timeout=WAIT) == "heard news"
    future = ref.ask("more", block=False)
    assert future.get(timeout=WAIT) == "heard more"
    assert future.get(timeout=WAIT) == "heard more"


def test_an_exception_goes_to_the_asker_and_the_actor_lives_on(make: Kind) -> None:
    ref = make(Bard)()
    with pytest.raises(ValueError, match="a string broke"):
        ref.ask("boom", timeout=WAIT)
    assert ref.is_alive()
    assert ref.ask("again", timeout=WAIT) == "heard again"


def test_an_exception_nobody_waits_for_calls_on_failure_and_ends_the_actor(make: Kind) -> None:
    log: list[str] = []
    ref = make(Bard)(log)
    proxy = ref.proxy()
    failed = proxy.failed.get(timeout=WAIT)
    ref.tell("boom")
    late = None
    try:
        late = ref.ask("late", block=False)
        late.get(timeout=WAIT)
    except pykka.ActorDeadError:
        pass
    assert failed.wait(WAIT)
    assert log[-1] == "failure ValueError a string broke"
    assert not ref.is_alive()
    assert ref not in pykka.ActorRegistry.get_all()
    with pytest.raises(pykka.ActorDeadError):
        ref.tell("hello?")


def test_stop_handles_what_came_before_and_refuses_what_came_after(make: Kind) -> None:
    log: list[str] = []
    ref = make(Bard)(log)
    before = ref.ask("before", block=False)
    stopping = ref.stop(block=False)
    assert before.get(timeout=WAIT) == "heard before"
    assert stopping.get(timeout=WAIT) is True
    assert log == ["start", "before", "stop"]
    assert not ref.is_alive()
    assert ref.stop(timeout=WAIT) is False
    with pytest.raises(pykka.ActorDeadError):
        ref.ask("after", timeout=WAIT)
    with pytest.raises(pykka.ActorDeadError):
        ref.proxy()


def test_an_actor_can_stop_itself(make: Kind) -> None:
    class Quitter(Bard):
        def on_receive(self, message: Any) -> Any:
            self.stop()
            return "bye"

    ref = make(Quitter)()
    stopped = ref.proxy().stopped.get(timeout=WAIT)
    assert ref.ask("go", timeout=WAIT) == "bye"
    assert stopped.wait(WAIT)


def test_messages_behind_a_stop_get_actor_dead_errors(make: Kind) -> None:
    class Slow(Bard):
        def on_receive(self, message: Any) -> Any:
            if message == "queue":
                self.stop()
                return self.actor_ref.ask("behind", block=False)
            return super().on_receive(message)

    ref = make(Slow)()
    behind = ref.ask("queue", timeout=WAIT)
    with pytest.raises(pykka.ActorDeadError, match="stopped before handling"):
        behind.get(timeout=WAIT)


def test_an_actor_whose_on_start_raises_is_not_alive(make: Kind) -> None:
    class Stillborn(Bard):
        def on_start(self) -> None:
            raise RuntimeError("no voice")

    ref = make(Stillborn)()
    with pytest.raises(pykka.ActorDeadError):
        ref.ask("hello", timeout=WAIT)
    assert not ref.is_alive()
    assert ref not in pykka.ActorRegistry.get_all()


def test_a_proxy_reads_writes_calls_and_traverses(make: Kind) -> None:
    ref = make(Bard)()
    proxy = ref.proxy()
    assert proxy.mood.get(timeout=WAIT) == "merry"
    proxy.mood = "sour"
    assert proxy.mood.get(timeout=WAIT) == "sour"
    assert proxy.sing("hey", loud=True).get(timeout=WAIT) == "HEY"
    assert proxy.lute.strings.get(timeout=WAIT) == 6
    assert proxy.lute.play("a jig").get(timeout=WAIT) == "plays a jig"
    with pytest.raises(LookupError, match="no such song"):
        proxy.trip().get(timeout=WAIT)
    with pytest.raises(AttributeError):
        _ = proxy.nothing
    assert proxy == ref.proxy()


def test_a_deferred_call_that_raises_calls_on_failure(make: Kind) -> None:
    ref = make(Bard)()
    proxy = ref.proxy()
    failed = proxy.failed.get(timeout=WAIT)
    proxy.trip.defer()
    assert ref.stop(timeout=WAIT) in (True, False)
    assert failed.wait(WAIT)


def test_futures_map_filter_join_reduce_and_gather(make: Kind) -> None:
    proxy = make(Bard)().proxy()
    one, two = proxy.sing("a"), proxy.sing("b")
    assert one.map(str.upper).get(timeout=WAIT) == "A"
    assert one.join(two).get(timeout=WAIT) == ["a", "b"]
    letters = proxy.sing("abc")
    assert letters.filter(lambda c: c > "a").get(timeout=WAIT) == ["b", "c"]
    assert letters.reduce(lambda x, y: y + x).get(timeout=WAIT) == "cba"
    assert list(pykka.get_all([one, two], timeout=WAIT)) == ["a", "b"]


def test_a_future_can_be_awaited(make: Kind) -> None:
    proxy = make(Bard)().proxy()

    async def ask() -> str:
        return await proxy.sing("la")

    assert asyncio.run(ask()) == "la"


def test_an_answer_that_does_not_come_in_time_times_out(make: Kind) -> None:
    gate = threading.Event()

    class Thinker(pykka.ThreadingActor):
        def on_receive(self, message: Any) -> Any:
            gate.wait(WAIT)

    class Asker(Bard):
        def on_receive(self, message: Any) -> Any:
            return message.ask("?", block=False)

    thinker = Thinker.start()
    try:
        slow = make(Asker)().ask(thinker, timeout=WAIT)
        with pytest.raises(pykka.Timeout):
            slow.get(timeout=0.01)
    finally:
        gate.set()
        thinker.stop(timeout=WAIT)


def test_the_registry_finds_and_tells_living_actors(make: Kind) -> None:
    log: list[str] = []
    start = make(Bard)
    ref, other = start(log), start(log)
    registry = pykka.ActorRegistry
    assert registry.get_by_urn(ref.actor_urn) is ref
    assert {ref, other} <= set(registry.get_by_class(ref.actor_class))
    assert {ref, other} <= set(registry.get_by_class_name("Bard"))
    registry.broadcast("all", target_class=ref.actor_class)
    ref.ask("x", timeout=WAIT)
    other.ask("x", timeout=WAIT)
    assert log.count("all") == 2
    registry.stop_all(timeout=WAIT)
    assert not ref.is_alive()
    assert not other.is_alive()
    assert registry.get_by_class_name("Bard") == []


def test_an_exception_that_is_no_error_stops_all_actors(
    make: Kind, request: pytest.FixtureRequest
) -> None:
    class Fatal(Bard):
        def on_receive(self, message: Any) -> Any:
            raise KeyboardInterrupt

    start = make(Bard)
    bystander = start()
    stopped = bystander.proxy().stopped.get(timeout=WAIT)
    fatal = make(Fatal)()
    fatal.tell("now")
    if "manual" in request.node.name:
        with pytest.raises(KeyboardInterrupt):
            bystander.ask("x", timeout=WAIT)
        bystander.stop(timeout=WAIT)
    assert stopped.wait(WAIT)
    assert not bystander.is_alive()


def test_a_message_without_a_handler_is_logged(
    make: Kind, caplog: pytest.LogCaptureFixture
) -> None:
    class Plain:
        pass

    ref = make(Plain)()
    assert ref.ask({"odd": 1}, timeout=WAIT) is None
    assert "Unexpected message received" in caplog.text


def test_an_actor_whose_reference_nobody_keeps_goes_on(make: Kind) -> None:
    log: list[str] = []
    done = threading.Event()

    class Lonely(Bard):
        def on_receive(self, message: Any) -> Any:
            if message:
                self.actor_ref.tell(message - 1)
            else:
                done.set()

    make(Lonely)(log).tell(50)
    witness = make(Bard)()
    for _ in range(100):
        witness.ask("x", timeout=WAIT)
        if done.wait(0.001):
            break
    assert done.wait(WAIT)
