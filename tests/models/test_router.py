"""The ladder: who is asked, when the next one is, and what a listener never hears."""

from __future__ import annotations

import time
from typing import Annotated

import pytest
from asking import Recorder, ask, request
from pydantic import Field

from foundation.strict import StrictModel
from models.errors import (
    BudgetExceeded,
    Cancelled,
    DeadlineExceeded,
    ModelError,
    ModelFileError,
    ModelUnavailable,
    RateLimited,
    RequestRefused,
    SafetyRefusal,
)
from models.request import WINDOW, Handle, Listener, ModelRequest, Reply
from models.router import Router, Rung
from models.scripted import ScriptedBackend


def answering(text: str) -> ScriptedBackend:
    return ScriptedBackend(lambda _request: text, name=text)


def failing(error: ModelError) -> ScriptedBackend:
    return ScriptedBackend(lambda _request: error, name="failing")


class Manual:
    """A backend that does only what the test says."""

    name = "manual"

    def __init__(self) -> None:
        self.asked: list[tuple[ModelRequest, Listener]] = []
        self.cancelled: list[int] = []
        self.closed = False

    def submit(self, request: ModelRequest, listener: Listener) -> Handle:
        self.asked.append((request, listener))
        manual = self

        class OneHandle:
            def __init__(self) -> None:
                self.request = request

            def cancel(self) -> None:
                manual.cancelled.append(request.id)
                listener.on_error(request.id, Cancelled("withdrawn"))

        return OneHandle()

    def status(self) -> dict[str, object]:
        return {"name": self.name}

    def close(self) -> None:
        self.closed = True


def test_the_first_rung_answers_and_the_others_are_not_asked() -> None:
    below = Manual()
    reply = ask(Router([answering("above"), below]), request()).reply
    assert (reply.text, reply.source) == ("above", "above")
    assert below.asked == []


@pytest.mark.parametrize(
    "error",
    [
        ModelUnavailable("down"),
        BudgetExceeded("spent"),
        RateLimited("slower", retry_after_s=3),
        RequestRefused("too long"),
        ModelFileError("broken"),
        SafetyRefusal("no"),
        DeadlineExceeded("late"),
        ModelError("nonsense"),
    ],
)
def test_whatever_a_rung_fails_with_the_next_answers(error: ModelError) -> None:
    router = Router([Rung("cloud", failing(error)), Rung("local", answering("below"))])
    recorder = ask(router, request())
    assert recorder.reply.text == "below"
    assert router.status()["counts"] == {
        "cloud.asked": 1,
        f"cloud.failed.{error.code}": 1,
        "local.asked": 1,
        "local.answered": 1,
    }
    assert recorder.after_end == []


def test_the_last_error_is_told_when_no_rung_answers() -> None:
    last = ModelUnavailable("the last one is down")
    router = Router([failing(RateLimited("slower")), failing(last)])
    assert ask(router, request()).error is last


def test_a_purpose_takes_its_own_route() -> None:
    router = Router(
        [Rung("local", answering("local")), Rung("cloud", answering("cloud"))],
        routes={"speech": ("cloud", "local"), "silence": ()},
    )
    assert ask(router, request()).reply.text == "cloud"
    other = ModelRequest(request().messages, "decide")
    assert ask(router, other).reply.text == "local"
    silent = ModelRequest(request().messages, "silence")
    assert isinstance(ask(router, silent).error, ModelUnavailable)


def test_a_purpose_without_a_route_takes_the_default() -> None:
    router = Router(
        [Rung("cloud", answering("cloud")), Rung("local", answering("local"))],
        routes={"plan": ("cloud", "local")},
        default=("local",),
    )
    assert ask(router, request()).reply.text == "local"
    assert ask(router, ModelRequest(request().messages, "plan")).reply.text == "cloud"
    with pytest.raises(ValueError, match="any other"):
        Router([], default=("nowhere",))


def test_no_second_voice_goes_on_with_a_sentence_begun() -> None:
    above, below = Manual(), answering("below")
    recorder = ask(Router([above, below]), request())
    asked, listener = above.asked[0]
    listener.on_text(asked.id, "Well, I ")
    listener.on_error(asked.id, ModelUnavailable("it died"))
    assert recorder.error.message == "it died"
    assert recorder.pieces == ["Well, I "]


class Yes(StrictModel):
    yes: bool
    word: Annotated[str, Field(max_length=8, pattern="^[a-z]*$")]


def test_a_structured_reply_is_held_back_until_it_is_whole() -> None:
    above = Manual()
    router = Router([above, ScriptedBackend()])
    recorder = ask(router, request(schema=Yes))
    asked, listener = above.asked[0]
    listener.on_text(asked.id, '{"yes":tr')
    listener.on_error(asked.id, ModelUnavailable("it died"))
    assert isinstance(recorder.reply.parsed, Yes)
    assert "".join(recorder.pieces) == recorder.reply.text


def test_a_hanging_rung_leaves_time_for_the_next() -> None:
    slow = ScriptedBackend(lambda _request: "late", latency_s=60.0)
    router = Router([slow, answering("in time")], patience=0.05)
    recorder = ask(router, request(deadline_s=8.0))
    assert recorder.reply.text == "in time"
    assert recorder.reply.total_s >= 0.39


def test_no_rung_is_asked_when_no_time_is_left() -> None:
    above, below = Manual(), Manual()
    recorder = ask(Router([above, below]), request(deadline_s=1.0))
    asked, listener = above.asked[0]
    assert asked.deadline_s <= 0.6
    time.sleep(1.0)
    listener.on_error(asked.id, DeadlineExceeded("late"))
    assert isinstance(recorder.error, DeadlineExceeded)
    assert below.asked == []


def test_withdrawing_reaches_the_rung_and_asks_no_other() -> None:
    above, below = Manual(), Manual()
    recorder = Recorder()
    handle = Router([above, below]).submit(request(), recorder)
    handle.cancel()
    assert isinstance(recorder.error, Cancelled)
    assert above.cancelled == [handle.request.id]
    assert below.asked == []


def test_withdrawing_reaches_the_rung_that_followed_one_which_refused_at_once() -> None:
    class Refusing(Manual):
        def submit(self, request: ModelRequest, listener: Listener) -> Handle:
            handle = super().submit(request, listener)
            listener.on_error(request.id, BudgetExceeded("nothing is left"))
            return handle

    above, below = Refusing(), Manual()
    recorder = Recorder()
    asked = request()
    Router([above, below]).submit(asked, recorder).cancel()
    assert (above.cancelled, below.cancelled) == ([], [asked.id])
    assert isinstance(recorder.error, Cancelled)


def test_a_rung_that_ends_twice_is_heard_once() -> None:
    above = Manual()
    recorder = ask(Router([above]), request())
    asked, listener = above.asked[0]
    listener.on_done(Reply(asked.id, "once", "manual"))
    listener.on_error(asked.id, ModelUnavailable("and again"))
    assert (len(recorder.replies), recorder.errors) == (1, [])


def test_closing_closes_every_rung_and_refuses() -> None:
    rungs = [Manual(), Manual()]
    router = Router(rungs)
    router.close()
    assert all(rung.closed for rung in rungs)
    assert isinstance(ask(router, request()).error, ModelUnavailable)


def test_wrong_routes_and_labels_are_refused() -> None:
    with pytest.raises(ValueError, match="unknown rungs"):
        Router([Manual()], routes={"speech": ("nowhere",)})
    with pytest.raises(ValueError, match="same label"):
        Router([Rung("a", Manual()), Rung("a", Manual())])
    with pytest.raises(ValueError, match="patience"):
        Router([], patience=0)


def test_a_route_is_switched_while_a_request_goes_on_as_it_began() -> None:
    first, second = Manual(), answering("second")
    router = Router([Rung("a", first), Rung("b", second)])
    under_way = Recorder()
    router.submit(request(), under_way)
    router.switch(None, ["b"])
    assert ask(router, request()).reply.text == "second"
    begun, listener = first.asked[0]
    listener.on_done(Reply(begun.id, "first", "a"))
    assert under_way.reply.text == "first"
    router.switch("speech", ["b", "a"])
    assert [rung.label for rung in router.ladder("speech")] == ["b", "a"]
    assert router.status()["routes"] == {"": ["b"], "speech": ["b", "a"]}
    with pytest.raises(ValueError, match="unknown rungs: \\['c'\\]"):
        router.switch(None, ["c"])
    assert [rung.label for rung in router.ladder("any")] == ["b"]


def test_a_request_may_name_the_rung_it_wants_first() -> None:
    router = Router([Rung("a", answering("a")), Rung("b", answering("b"))], default=["a"])
    assert ask(router, request(backend="b")).reply.text == "b"
    assert ask(router, request(backend="gone")).reply.text == "a"
    down = Router([Rung("a", answering("a")), Rung("b", failing(ModelUnavailable("down")))])
    assert ask(down, request(backend="b")).reply.text == "a"


def test_rungs_come_and_go_while_it_runs() -> None:
    router = Router([Rung("a", answering("a"))])
    router.add(Rung("b", answering("b")))
    assert ask(router, request()).reply.text == "a"
    router.switch(None, ["b", "a"])
    assert ask(router, request()).reply.text == "b"
    with pytest.raises(ValueError, match="already"):
        router.add(Rung("b", answering("b")))
    router.remove("b").close()
    assert ask(router, request()).reply.text == "a"
    with pytest.raises(ValueError, match="no rung"):
        router.remove("b")


def test_a_rung_that_is_off_is_not_asked_even_by_name_and_keeps_its_place() -> None:
    router = Router([Rung("a", answering("a")), Rung("b", answering("b"))])
    router.enable("a", False)
    assert ask(router, request()).reply.text == "b"
    assert ask(router, request(backend="a")).reply.text == "b"
    assert router.status()["off"] == ["a"]
    assert router.name == "b"
    router.enable("b", False)
    assert isinstance(ask(router, request()).error, ModelUnavailable)
    assert router.status()["answering"] == {"": ""}
    router.enable("a", True)
    assert ask(router, request()).reply.text == "a"
    with pytest.raises(ValueError, match="no rung 'c'"):
        router.enable("c", False)


def test_a_rung_is_never_asked_for_what_it_may_not_be() -> None:
    cloud = Manual()
    router = Router([Rung("cloud", cloud, frozenset({"plan"})), Rung("local", answering("local"))])
    assert router.order == ("local",)
    assert ask(router, request(backend="cloud")).reply.text == "local"
    for purpose, labels in ((None, ["local", "cloud"]), ("speech", ["cloud"])):
        with pytest.raises(ValueError, match="asked for plan alone"):
            router.switch(purpose, labels)
    assert cloud.asked == []
    router.switch("plan", ["cloud", "local"])
    ask(router, ModelRequest(request().messages, "plan"))
    assert len(cloud.asked) == 1
    assert router.status()["only"] == {"cloud": ["plan"]}


def test_a_route_names_each_rung_once_and_a_purpose_can_go_back_to_the_order_of_all() -> None:
    router = Router([Rung("a", answering("a")), Rung("b", answering("b"))])
    with pytest.raises(ValueError, match="twice"):
        router.switch(None, ["a", "b", "a"])
    router.switch("speech", ["b"])
    assert router.status()["answering"] == {"": "a", "speech": "b"}
    router.unroute("speech")
    assert ask(router, request()).reply.text == "a"
    with pytest.raises(ValueError, match="no route of its own"):
        router.unroute("speech")


def test_who_answers_now_is_the_first_that_is_ready() -> None:
    class Loading(Manual):
        def status(self) -> dict[str, object]:
            return {"state": "starting"}

    router = Router([Rung("a", Loading()), Rung("b", answering("b"))])
    assert router.status()["answering"] == {"": "b"}


def test_nothing_is_left_of_a_rung_that_was_removed() -> None:
    router = Router(
        [Rung("a", answering("a")), Rung("b", answering("b"))],
        routes={"speech": ["a", "b"], "plan": ["a"], "silence": []},
    )
    ask(router, request()).wait()
    router.enable("a", False)
    router.remove("a")
    status = router.status()
    assert status["routes"] == {"": ["b"], "speech": ["b"], "silence": []}
    assert (status["counts"], status["off"], set(status["timings"])) == ({}, [], {"b"})
    router.add(Rung("a", answering("again")))
    assert ask(router, request()).reply.text == "b"
    assert ask(router, request(backend="a")).reply.text == "again"


def test_what_a_closed_rung_had_not_begun_to_say_the_next_one_says() -> None:
    above = Manual()
    router = Router([Rung("above", above), Rung("below", answering("below"))])
    silent, begun = Recorder(), Recorder()
    for listener in (silent, begun):
        router.submit(request(), listener)
    asked, told = above.asked[1]
    told.on_text(asked.id, "Well, ")
    router.remove("above")
    for question, told in above.asked:
        told.on_error(question.id, Cancelled("the engine is shutting down"))
    assert silent.reply.text == "below"
    assert isinstance(begun.error, Cancelled)


def test_times_are_kept_by_rung_class_and_purpose() -> None:
    above = Manual()
    router = Router([Rung("a", above)])
    recorder = ask(router, request())
    asked, listener = above.asked[0]
    listener.on_done(
        Reply(asked.id, "x", "m", completion_tokens=11, first_token_s=0.25, total_s=0.75)
    )
    recorder.wait()
    told = router.status()["timings"]["a"]
    assert told["first_token_s"]["speech"]["sum"] == 0.25
    assert told["token_s"]["speech"]["sum"] == pytest.approx(0.05)
    assert told["request_s"]["speech"]["sum"] == 0.75


def test_a_request_that_leaves_its_window_to_the_rung_has_that_of_the_one_that_answers() -> None:
    windows: list[int] = []

    def note(asked: ModelRequest) -> str | ModelError:
        windows.append(asked.window)
        return ModelUnavailable("down") if len(windows) < 3 else "Good day."

    rungs = [
        Rung(label, ScriptedBackend(note), window=window)
        for label, window in (("small", 700), ("big", 9000), ("any", 0))
    ]
    router = Router(rungs)
    assert ask(router, request("Hello.", window=0)).reply.text == "Good day."
    assert windows == [700, 9000, WINDOW]
    assert router.status()["windows"] == {"small": 700, "big": 9000, "any": WINDOW}
    ask(router, request("Hello.", window=1234)).wait()
    assert windows[3:] == [1234]
