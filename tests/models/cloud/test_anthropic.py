"""Claude behind the model face, against a server that speaks the API's shapes, good and bad."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Annotated, Any, Literal

import pytest
from anthropic_server import (
    FAST,
    PRICE,
    Act,
    Stage,
    break_off,
    cut,
    end,
    hang,
    refuse,
    say,
    start,
    think_and_say,
)
from asking import Recorder, ask, request
from pydantic import Field

from foundation.strict import StrictModel
from models.budget import Budgeted, Ledger, Limits
from models.errors import (
    BudgetExceeded,
    Cancelled,
    DeadlineExceeded,
    ModelError,
    ModelUnavailable,
    RateLimited,
    RequestRefused,
    SafetyRefusal,
)
from models.request import ModelRequest
from models.router import Router
from models.scripted import ScriptedBackend

pytest.importorskip("anthropic")


@pytest.fixture
def stage() -> Iterator[Stage]:
    made = Stage()
    yield made
    made.clear()


def test_a_reply_is_streamed_counted_and_charged(stage: Stage) -> None:
    backend = stage(say("The mill", " is haun", "ted. "))
    recorder = ask(backend, request("What news?", max_tokens=50, stop=["\n\n"]))
    reply = recorder.reply
    assert reply.text == "".join(recorder.pieces) == "The mill is haunted."
    assert len(recorder.pieces) == 3
    assert (reply.prompt_tokens, reply.completion_tokens, reply.finish) == (25, 15, "stop")
    assert reply.cost_usd == pytest.approx((25 * 3 + 15 * 15) / 1e6)
    assert reply.source == "claude-test (Anthropic)"
    assert stage.server.seen == [
        {
            "model": "claude-test",
            "max_tokens": 50,
            "system": "You are a baker.",
            "messages": [{"role": "user", "content": "What news?"}],
            "stop_sequences": ["\n\n"],
            "thinking": {"type": "disabled"},
            "stream": True,
        }
    ]
    assert stage.server.headers[0]["authorization"] == "Bearer test-key"


class Orders(StrictModel):
    tactic: Literal["flank", "hold"]
    focus: Annotated[str, Field(max_length=20)]


def test_a_structured_reply_is_asked_for_by_its_schema_and_checked_like_any(stage: Stage) -> None:
    backend = stage(say("", '{"tactic": "fl', 'ank", "focus": "Orla"}'))
    recorder = ask(backend, request(schema=Orders, max_tokens=200))
    assert recorder.reply.parsed == Orders(tactic="flank", focus="Orla")
    assert recorder.pieces == ['{"tactic":"flank","focus":"Orla"}']
    asked = stage.server.seen[0]["output_config"]["format"]
    assert asked["type"] == "json_schema"
    assert asked["schema"]["properties"]["tactic"] == {"enum": ["flank", "hold"]}
    assert asked["schema"]["properties"]["focus"]["type"] == "string"
    assert asked["schema"]["additionalProperties"] is False
    assert "pattern" not in str(asked["schema"])
    assert not {"tools", "tool_choice"} & set(stage.server.seen[0])


def test_what_a_model_thinks_is_no_part_of_its_reply(stage: Stage) -> None:
    recorder = ask(stage(think_and_say("Wolves fear fire.", "Flank ", "them.")), request())
    assert recorder.reply.text == "Flank them."
    backend = stage(think_and_say("{", '{"tactic": "hold", "focus": "Orla"}'))
    recorder = ask(backend, request(schema=Orders, max_tokens=200))
    assert recorder.reply.parsed == Orders(tactic="hold", focus="Orla")


@pytest.mark.parametrize(
    ("act", "fault"),
    [
        (say('{"tactic": "dance", "focus": "x"}'), "tactic"),
        (say('{"tactic": "hold"}'), "focus"),
        (say("{"), "no Orders"),
        (say("I would flank."), "no Orders"),
        (say('{"tactic": "hold', stop_reason="max_tokens"), "ran out of tokens"),
    ],
)
def test_a_structured_reply_that_does_not_fit_is_an_error(
    stage: Stage, act: Act, fault: str
) -> None:
    recorder = ask(stage(act), request(schema=Orders, max_tokens=200))
    assert fault in recorder.error.message
    assert recorder.pieces == []


def test_running_out_of_tokens_is_told_as_length(stage: Stage) -> None:
    assert ask(stage(say("Well", stop_reason="max_tokens")), request()).reply.finish == "length"


def test_a_refusal_is_an_error_of_its_own(stage: Stage) -> None:
    recorder = ask(stage(say(stop_reason="refusal")), request())
    assert isinstance(recorder.error, SafetyRefusal)
    assert len(stage.server.seen) == 1


@pytest.mark.parametrize(
    "act",
    [
        refuse(429, "rate_limit_error", retry_after="0.01"),
        refuse(529, "overloaded_error"),
        refuse(500, "api_error"),
        refuse(503, "api_error"),
        cut,
    ],
    ids=["429", "529", "500", "503", "cut"],
)
def test_a_passing_fault_is_tried_again_until_it_passes(stage: Stage, act: Act) -> None:
    backend = stage(act, act, say("At last."))
    assert ask(backend, request()).reply.text == "At last."
    assert len(stage.server.seen) == 3
    assert backend.status()["counts"]["retried"] == 2


@pytest.mark.parametrize(
    ("act", "kind"),
    [
        (refuse(429, "rate_limit_error"), RateLimited),
        (refuse(529, "overloaded_error"), RateLimited),
        (refuse(500, "api_error"), ModelUnavailable),
        (cut, ModelUnavailable),
    ],
    ids=["429", "529", "500", "cut"],
)
def test_a_lasting_fault_is_told_after_three_attempts(
    stage: Stage, act: Act, kind: type[ModelError]
) -> None:
    error = ask(stage(act), request()).error
    assert type(error) is kind
    assert error.retryable
    assert len(stage.server.seen) == 3


@pytest.mark.parametrize(
    ("status", "kind", "expected"),
    [
        (400, "invalid_request_error", RequestRefused),
        (401, "authentication_error", ModelUnavailable),
        (403, "permission_error", ModelUnavailable),
        (404, "not_found_error", RequestRefused),
        (413, "request_too_large", RequestRefused),
    ],
)
def test_what_would_fail_again_is_not_tried_again(
    stage: Stage, status: int, kind: str, expected: type[ModelError]
) -> None:
    error = ask(stage(refuse(status, kind, "because of reasons")), request()).error
    assert type(error) is expected
    assert not error.retryable
    assert "because of reasons" in error.message
    assert len(stage.server.seen) == 1


def test_retry_after_is_kept(stage: Stage) -> None:
    backend = stage(refuse(429, "rate_limit_error", retry_after="0.4"), say("Now."))
    assert ask(backend, request()).reply.text == "Now."
    assert stage.server.times[1] - stage.server.times[0] >= 0.4


def test_a_wait_beyond_the_deadline_is_told_at_once(stage: Stage) -> None:
    backend = stage(refuse(429, "rate_limit_error", retry_after="60"), say("Too late."))
    recorder = ask(backend, request(deadline_s=5.0))
    error = recorder.error
    assert isinstance(error, RateLimited)
    assert error.retry_after_s == 60.0
    assert len(stage.server.seen) == 1


@pytest.mark.parametrize("how", ["cut", "end", "garbage", "overloaded"])
def test_a_reply_that_breaks_off_is_told_and_never_paid_twice(stage: Stage, how: str) -> None:
    recorder = ask(stage(break_off("Well, I ", how=how)), request())
    error = recorder.error
    assert type(error) is ModelError
    assert "broke off" in error.message or "no reply" in error.message
    assert recorder.pieces == ["Well, I"]
    assert len(stage.server.seen) == 1


def test_a_stalled_reply_is_given_up(stage: Stage) -> None:
    recorder = ask(stage(break_off("Well", how="hang"), stall_s=0.2), request())
    assert "broke off" in recorder.error.message


def test_a_service_that_never_answers_is_left_at_the_deadline(stage: Stage) -> None:
    assert isinstance(ask(stage(hang), request(deadline_s=0.2)).error, DeadlineExceeded)


def test_an_event_of_another_shape_is_an_error_and_an_unknown_one_is_not(stage: Stage) -> None:
    def strange(exchange: Any) -> None:
        exchange.open_stream()
        exchange.send([start(), ("novelty", {"type": "novelty", "x": 1})])
        exchange.send([("content_block_delta", {"type": "content_block_delta"})])
        exchange.end_stream()

    assert "no reply" in ask(stage(strange), request()).error.message

    def novel(exchange: Any) -> None:
        exchange.open_stream()
        exchange.send([start(), ("novelty", {"type": "novelty", "x": 1}), *end()])
        exchange.end_stream()

    assert ask(stage(novel), request()).reply.text == ""


def test_nobody_there_is_told_with_the_reason(stage: Stage) -> None:
    backend = stage(say("x"))
    stage.server.close()
    error = ask(backend, request()).error
    assert isinstance(error, ModelUnavailable)
    assert "can't be reached" in error.message


def test_after_five_failures_nothing_is_sent_until_it_has_rested(stage: Stage) -> None:
    backend = stage(
        *[refuse(500, "api_error")] * 5,
        say("Better."),
        breaker_rest_s=2.0,
        retry=replace(FAST, attempts=1),
    )
    for _ in range(5):
        assert isinstance(ask(backend, request()).error, ModelUnavailable)
    refused = ask(backend, request()).error
    assert "5 times in a row" in refused.message
    assert (len(stage.server.seen), backend.status()["breaker"]) == (5, "open")
    time.sleep(2.05)
    assert ask(backend, request()).reply.text == "Better."
    assert backend.status()["breaker"] == "closed"


def test_calls_beyond_the_rate_wait_or_are_refused(stage: Stage) -> None:
    backend = stage(say("x"), per_minute=120, concurrent=1)
    assert ask(backend, request()).reply
    assert ask(backend, request()).reply
    assert stage.server.times[1] - stage.server.times[0] > 0.3
    error = ask(backend, request(deadline_s=0.1)).error
    assert isinstance(error, RateLimited | DeadlineExceeded)
    assert len(stage.server.seen) == 2


def test_withdrawing_ends_it_at_once(stage: Stage) -> None:
    backend = stage(break_off("Well", how="hang"))
    recorder = Recorder()
    handle = backend.submit(request(), recorder)
    assert recorder.spoke.wait(20)
    handle.cancel()
    assert isinstance(recorder.error, Cancelled)
    handle.cancel()
    assert recorder.after_end == []
    assert backend.status()["under_way"] == 0


def test_too_many_at_once_are_refused(stage: Stage) -> None:
    backend = stage(hang, concurrent=1, waiting=1)
    waiting = [ask(backend, request()) for _ in range(2)]
    assert isinstance(ask(backend, request()).error, RequestRefused)
    backend.close()
    assert all(isinstance(recorder.error, Cancelled) for recorder in waiting)
    assert isinstance(ask(backend, request()).error, ModelUnavailable)


def test_a_request_without_a_user_message_is_refused(stage: Stage) -> None:
    only_system = ModelRequest([{"role": "system", "content": "x"}], "speech")
    assert isinstance(ask(stage(say("x")), only_system).error, RequestRefused)
    assert stage.server.seen == []


@pytest.mark.parametrize("act", [refuse(529, "overloaded_error"), cut, say(stop_reason="refusal")])
def test_the_ladder_goes_down_when_the_cloud_cannot(stage: Stage, act: Act) -> None:
    router = Router([stage(act), ScriptedBackend(lambda _: "From below.")])
    assert ask(router, request()).reply.text == "From below."


def test_a_bill_never_passes_its_limit_whatever_fails(stage: Stage) -> None:
    bill: list[float] = []

    def billed(act: Act, output_tokens: int) -> Act:
        def charging(exchange: Any) -> None:
            bill.append(PRICE.cost(25, output_tokens))
            act(exchange)

        return charging

    # A reply that breaks off may cost all the tokens it was allowed.
    acts = [
        billed(say("fine", output_tokens=40), 40),
        billed(break_off("w", how="cut"), 100),
        refuse(500, "api_error"),
        billed(say(stop_reason="refusal", output_tokens=15), 15),
        billed(break_off("w", how="garbage"), 100),
    ]
    guarded = Budgeted(
        stage(*acts * 8, breaker_failures=1000), Ledger(Limits(usd_total=0.02)), PRICE
    )
    errors: list[ModelError] = []
    for _ in range(30):
        recorder = ask(guarded, request(max_tokens=100))
        recorder.wait()
        errors += recorder.errors
    assert isinstance(errors[-1], BudgetExceeded)
    assert 0.01 < sum(bill) <= 0.02


def test_off_is_zero_calls(stage: Stage) -> None:
    guarded = Budgeted(stage(say("x")), Ledger(off=True), PRICE)
    assert isinstance(ask(guarded, request()).error, BudgetExceeded)
    assert stage.server.seen == []
