"""A conversation too long for its window loses whole messages on its way to the cloud, too."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from anthropic_server import Exchange, Stage, hang, refuse, say
from asking import Recorder, ask, request
from hypothesis import given
from hypothesis import strategies as st

from models.cloud.window import BYTES_A_TOKEN, MOST_COUNTS, Fitted, fit
from models.errors import Cancelled, RequestRefused
from models.request import Message, ModelRequest

pytest.importorskip("anthropic")


@pytest.fixture
def stage() -> Iterator[Stage]:
    made = Stage()
    yield made
    made.clear()


def talk(turns: int = 8, words: int = 20) -> list[Message]:
    """A system message, `turns` exchanges of twice `words` words, and a last line of `words`."""
    line = " ".join(["wolf"] * words)
    messages: list[Message] = [{"role": "system", "content": line}]
    for _ in range(turns):
        messages.append({"role": "user", "content": line})
        messages.append({"role": "assistant", "content": line})
    return [*messages, {"role": "user", "content": line}]


def long_talk(**fields: Any) -> ModelRequest:
    """18 messages of 20 words: 360 tokens as the server counts, 1,782 bytes."""
    fields.setdefault("max_tokens", 50)
    return ModelRequest(talk(), "speech", **fields)


def test_a_short_conversation_is_sent_whole_and_never_counted(stage: Stage) -> None:
    backend = stage(say("Well."))
    assert ask(backend, long_talk()).reply.dropped == ()
    assert len(stage.server.seen[0]["messages"]) == 17
    assert stage.server.counted == []


def test_one_that_fits_by_the_providers_count_is_sent_whole(stage: Stage) -> None:
    backend = stage(say("Well."))
    assert ask(backend, long_talk(window=410)).reply.dropped == ()
    assert len(stage.server.seen[0]["messages"]) == 17
    (counted,) = stage.server.counted
    assert counted["system"] == talk()[0]["content"]
    assert counted["messages"] == stage.server.seen[0]["messages"]
    assert backend.status()["counts"]["token_counts"] == 1


def test_a_full_window_is_trimmed_to_three_quarters_the_oldest_exchanges_first(
    stage: Stage,
) -> None:
    backend = stage(say("Well."))
    reply = ask(backend, long_talk(window=400)).reply
    # 360 tokens of 350: whole exchanges of 40 go until 262 or fewer are left.
    assert reply.dropped == (1, 2, 3, 4, 5, 6)
    assert len(stage.server.seen[0]["messages"]) == 11
    assert backend.status()["counts"]["trimmed"] == 1


def test_what_is_important_stays_longer_than_what_is_old(stage: Stage) -> None:
    weights = [9 if place in (1, 5) else 0 for place in range(18)]
    reply = ask(stage(say("Well.")), long_talk(window=400, importance=weights)).reply
    assert reply.dropped == (3, 4, 7, 8, 9, 10)


def test_a_provider_that_does_not_count_is_asked_once_and_the_estimate_serves(
    stage: Stage,
) -> None:
    backend = stage(say("Well."))
    stage.server.tokenizer = None
    reply = ask(backend, long_talk(window=800)).reply
    kept = [message for place, message in enumerate(talk()) if place not in reply.dropped]
    assert 0 < len(reply.dropped) < 16
    assert sum(len(each["content"]) for each in kept) <= 0.75 * 750 * BYTES_A_TOKEN
    assert len(stage.server.counted) == 1
    assert backend.status()["counts"]["token_counts_failed"] == 1


def test_a_provider_that_counts_slowly_costs_a_share_of_the_time_at_the_most(stage: Stage) -> None:
    backend = stage(say("Well."))
    held = threading.Event()

    def slow(body: dict[str, Any]) -> int:
        held.wait(20)
        return 360

    stage.server.tokenizer = slow
    reply = ask(backend, long_talk(window=800, deadline_s=2.0)).reply
    held.set()
    assert reply.dropped


def test_while_the_breaker_is_open_nothing_is_counted(stage: Stage) -> None:
    backend = stage(refuse(500, "api_error"), breaker_failures=1)
    ask(backend, request()).wait()
    ask(backend, long_talk(window=800)).wait()
    assert stage.server.counted == []


def test_what_must_stay_and_is_too_much_is_refused_before_it_costs(stage: Stage) -> None:
    backend = stage(say("Well."))
    assert isinstance(ask(backend, long_talk(window=50)).error, RequestRefused)
    error = ask(backend, ModelRequest(talk(0), "speech", max_tokens=50, window=50)).error
    assert isinstance(error, RequestRefused)
    assert "has 40 tokens, which leaves 10 of 50" in error.message
    assert stage.server.seen == []


def test_a_reply_gets_what_room_is_left(stage: Stage) -> None:
    ask(stage(say("Well.")), ModelRequest(talk(0), "speech", max_tokens=50, window=70)).wait()
    assert stage.server.seen[0]["max_tokens"] == 30


def test_no_more_calls_than_the_bound_are_under_way_together_and_all_are_answered(
    stage: Stage,
) -> None:
    lock = threading.Lock()
    now = most = 0
    full = threading.Event()

    def one(exchange: Exchange) -> None:
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
            if now == 3:
                full.set()
        full.wait(20)
        with lock:
            now -= 1
        say("Done.")(exchange)

    backend = stage(one, concurrent=3, waiting=20)
    asked = [ask(backend, request(f"{n}")) for n in range(12)]
    assert [each.reply.text for each in asked] == ["Done."] * 12
    status = backend.status()
    assert most == status["most_calling"] == status["concurrent_limit"] == 3
    assert (status["calling"], status["under_way"]) == (0, 0)


def test_one_that_is_withdrawn_makes_room_for_the_next(stage: Stage) -> None:
    backend = stage(hang, say("Mine."), concurrent=1)
    first = Recorder()
    handle = backend.submit(request(), first)
    while not stage.server.seen:
        threading.Event().wait(0.01)
    second = ask(backend, request())
    handle.cancel()
    assert isinstance(first.error, Cancelled)
    assert second.reply.text == "Mine."


def run(asked: ModelRequest, tokens_a_byte: float | None) -> tuple[Fitted, int]:
    """`fit` beside a provider of so many tokens a byte; what was fitted, and how often it was asked."""
    asks = 0

    async def count(messages: Sequence[Message]) -> int | None:
        nonlocal asks
        asks += 1
        return None if tokens_a_byte is None else measured(messages, tokens_a_byte)

    return asyncio.run(fit(asked, count)), asks


def measured(messages: Sequence[Message], tokens_a_byte: float) -> int:
    return sum(int(len(each["content"].encode()) * tokens_a_byte) + 3 for each in messages)


lines = st.text(alphabet="ab ßж狼", max_size=80)


@given(
    st.lists(st.tuples(lines, lines, st.integers(0, 3)), max_size=8),
    st.integers(20, 900),
    st.one_of(st.none(), st.floats(0.1, 0.9)),
)
def test_what_is_sent_fits_and_is_whole_messages_with_the_last_line(
    exchanges: list[tuple[str, str, int]], window: int, tokens_a_byte: float | None
) -> None:
    messages: list[Message] = [{"role": "system", "content": "You are Maud."}]
    weights = [0]
    for question, answer, weight in exchanges:
        messages += [
            {"role": "user", "content": question},
            {"role": "assistant", "content": answer},
        ]
        weights += [weight, 0]
    messages.append({"role": "user", "content": "Well?"})
    asked = ModelRequest(messages, "speech", max_tokens=10, window=window, importance=weights)
    try:
        fitted, asks = run(asked, tokens_a_byte)
    except RequestRefused:
        assert window < 200
        return
    assert asks <= MOST_COUNTS
    kept = [each for place, each in enumerate(messages) if place not in fitted.dropped]
    assert kept == list(fitted.messages)
    assert kept[0]["role"] == "system" and kept[-1]["content"] == "Well?"
    if tokens_a_byte is not None and asks < MOST_COUNTS:
        assert measured(kept, tokens_a_byte) + fitted.max_tokens <= window
