"""The local engine on real llama.cpp: batching, reuse, streaming, grammar, order, limits."""

from __future__ import annotations

import json
import math
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from asking import Recorder, ask, chat, request
from pydantic import Field

from foundation.strict import StrictModel
from models import grammar
from models.errors import (
    Cancelled,
    DeadlineExceeded,
    ModelUnavailable,
    RequestRefused,
)
from models.llama.settings import EngineSettings
from models.request import Message, ModelRequest, Priority

pytestmark = pytest.mark.engine

Factory = Callable[..., Path]
Hosts = Callable[..., Any]

EXACT = EngineSettings(threads=1, n_ctx=2048, n_seq=16, n_parallel=16, exact=True)
"""Random weights make near ties, which the rounding of a shared batch could turn over."""


@pytest.mark.parametrize("vocab", ["bpe", "spm"])
def test_eight_at_once_say_what_each_says_alone(
    gguf_factory: Factory, host_factory: Hosts, vocab: str
) -> None:
    lines = [f"{'Tell me of the wolf. ' * (n % 3)}Question {n}?" for n in range(8)]
    questions = [
        request(line, system=f"You are {n}.", max_tokens=48) for n, line in enumerate(lines)
    ]
    host = host_factory(gguf_factory(vocab=vocab), settings=EXACT)
    alone = [ask(host, question).reply.text for question in questions]
    fresh = host_factory(gguf_factory(vocab=vocab), settings=EXACT)
    together = [ask(fresh, question) for question in questions]
    assert [recorder.reply.text for recorder in together] == alone
    assert len(set(alone)) == 8


def test_the_pieces_join_to_the_reply(gguf_factory: Factory, host_factory: Hosts) -> None:
    recorder = ask(host_factory(gguf_factory()), request(max_tokens=60, temperature=1.0, seed=4))
    reply = recorder.reply
    assert "".join(recorder.pieces) == reply.text
    assert len(recorder.pieces) > 5
    assert (reply.finish, reply.completion_tokens) == ("length", 60)
    assert reply.source == "random (llama.cpp)"
    assert 0.0 < reply.first_token_s <= reply.total_s
    assert recorder.after_end == []


def test_a_persona_is_read_once_and_the_reply_is_the_same(
    gguf_factory: Factory, host_factory: Hosts
) -> None:
    persona = "You are Maud, baker of Alderford. You know that the mill is haunted. " * 4
    host = host_factory(gguf_factory(), settings=EXACT)
    first = ask(host, request("Good day!", system=persona, max_tokens=20)).reply
    second = ask(host, request("Where is the inn?", system=persona, max_tokens=20)).reply
    again = ask(host, request("Where is the inn?", system=persona, max_tokens=20)).reply
    assert first.cached_tokens == 0
    assert second.cached_tokens > 200
    assert again.cached_tokens == again.prompt_tokens - 1
    assert again.text == second.text
    unshared = host_factory(gguf_factory(), settings=EXACT)
    alone = ask(unshared, request("Where is the inn?", system=persona, max_tokens=20)).reply
    assert (alone.cached_tokens, alone.text) == (0, second.text)


def test_many_who_share_a_persona_read_it_once_even_when_they_come_together(
    gguf_factory: Factory, host_factory: Hosts
) -> None:
    persona = "You are Maud, baker of Alderford. You know that the mill is haunted. " * 4
    host = host_factory(gguf_factory())
    recorders = [ask(host, request(f"Line {n}", system=persona, max_tokens=8)) for n in range(8)]
    replies = [recorder.reply for recorder in recorders]
    assert sum(reply.cached_tokens == 0 for reply in replies) == 1
    assert sum(reply.cached_tokens > 200 for reply in replies) == 7


def test_the_next_turn_of_a_conversation_reuses_the_last(
    gguf_factory: Factory, host_factory: Hosts
) -> None:
    host = host_factory(gguf_factory())
    talk: list[Message] = chat("Good day!")
    first = ask(host, ModelRequest(talk, "speech", max_tokens=12, temperature=0.0)).reply
    talk += [
        {"role": "assistant", "content": first.text},
        {"role": "user", "content": "And the wolf?"},
    ]
    second = ask(host, ModelRequest(talk, "speech", max_tokens=12, temperature=0.0)).reply
    assert second.cached_tokens >= first.prompt_tokens


def test_a_seed_repeats_a_reply_and_another_changes_it(
    gguf_factory: Factory, host_factory: Hosts
) -> None:
    host = host_factory(gguf_factory(sharpness=2.0))

    def say(seed: int) -> str:
        return ask(host, request(temperature=1.0, seed=seed, max_tokens=24)).reply.text  # type: ignore[no-any-return]

    assert say(1) == say(1)
    assert len({say(seed) for seed in range(6)}) == 6


class Decision(StrictModel):
    action: Literal["rest", "work", "flee", "attack"]
    target: Annotated[str, Field(max_length=16, pattern="^[A-Za-z ]*$")]
    reason: Annotated[str, Field(max_length=40, pattern="^[A-Za-z ,]*$")]


class Step(StrictModel):
    place: Literal["mill", "inn", "Brew & Bröt"]
    minutes: int = Field(ge=-3, le=120)


class Plan(StrictModel):
    steps: list[Step] = Field(max_length=3)
    mood: Annotated[str, Field(max_length=6)]
    hurry: bool
    leader: Step | None
    corner: tuple[Annotated[int, Field(ge=0, le=63)], Annotated[int, Field(ge=0, le=63)]]


class Nod(StrictModel):
    yes: bool


@pytest.mark.parametrize("vocab", ["bpe", "spm"])
def test_a_hundred_structured_replies_are_valid_with_random_weights(
    gguf_factory: Factory, host_factory: Hosts, vocab: str
) -> None:
    host = host_factory(gguf_factory(vocab=vocab, sharpness=2.0))
    schemas = [Decision, Plan, Nod]
    recorders = [
        ask(
            host,
            request(
                f"Decide {n}.",
                schema=schemas[n % 3],
                max_tokens=grammar.longest_tokens(schemas[n % 3]),
                temperature=(0.0, 0.7, 2.0)[n // 3 % 3],
                seed=n,
            ),
        )
        for n in range(50)
    ]
    texts = set()
    for n, recorder in enumerate(recorders):
        reply = recorder.reply
        assert isinstance(reply.parsed, schemas[n % 3])
        assert schemas[n % 3].model_validate_json(reply.text) == reply.parsed
        compact = json.dumps(json.loads(reply.text), ensure_ascii=False, separators=(",", ":"))
        assert reply.text.replace("-0,", "0,").replace("-0}", "0}") == compact
        assert "".join(recorder.pieces) == reply.text
        assert reply.finish == "stop"
        texts.add(reply.text)
    assert len(texts) > 25


def test_a_schema_that_might_not_fit_is_refused(gguf_factory: Factory, host_factory: Hosts) -> None:
    error = ask(host_factory(gguf_factory()), request(schema=Decision, max_tokens=30)).error
    assert isinstance(error, RequestRefused)
    assert "longest Decision" in error.message


class Said(StrictModel):
    word: Literal["the mill"]


def test_a_stop_string_does_not_cut_a_structured_reply(
    gguf_factory: Factory, host_factory: Hosts
) -> None:
    asked = request(schema=Said, max_tokens=grammar.longest_tokens(Said), stop=("the",))
    assert ask(host_factory(gguf_factory()), asked).reply.parsed == Said(word="the mill")


def test_a_stop_string_ends_the_reply_and_is_not_shown(
    gguf_factory: Factory, host_factory: Hosts
) -> None:
    host = host_factory(gguf_factory())
    whole = ask(host, request(max_tokens=60)).reply.text
    stop = next(
        whole[at : at + 3]
        for at in range(20, 40)
        if whole.isascii() or whole[at : at + 3].isascii()
    )
    recorder = ask(host, request(max_tokens=60, stop=[stop]))
    assert recorder.reply.text == whole[: whole.index(stop)].rstrip()
    assert recorder.reply.finish == "stop"
    assert "".join(recorder.pieces) == recorder.reply.text


def test_the_models_own_end_ends_the_reply(gguf_factory: Factory, host_factory: Hosts) -> None:
    host = host_factory(gguf_factory(end_bias=4.0))
    replies = [
        ask(host, request(f"{n}?", temperature=1.0, seed=n, max_tokens=300)).reply
        for n in range(12)
    ]
    ended = [reply for reply in replies if reply.finish == "stop"]
    assert ended
    assert all(reply.completion_tokens < 300 and "<|" not in reply.text for reply in ended)


def test_cancelling_ends_it_at_once_and_frees_its_place(
    gguf_factory: Factory, host_factory: Hosts
) -> None:
    settings = EngineSettings(threads=1, n_ctx=2048, n_seq=1, n_parallel=1)
    host = host_factory(gguf_factory(), settings=settings)
    recorder = Recorder()
    handle = host.submit(request(max_tokens=1900), recorder)
    assert recorder.spoke.wait(20)
    handle.cancel()
    handle.cancel()
    assert isinstance(recorder.error, Cancelled)
    assert ask(host, request("Next", max_tokens=4)).reply.completion_tokens == 4
    handle.cancel()
    assert recorder.after_end == []


def test_what_was_withdrawn_may_be_asked_again_and_hears_nothing_of_the_first_time(
    gguf_factory: Factory, host_factory: Hosts
) -> None:
    # Slow enough that a step is nearly always under way when the request is withdrawn.
    slow = gguf_factory(width=512, layers=8, heads=8, hidden=1536)
    host = host_factory(slow)
    expected = ask(host, request(max_tokens=12)).reply.text
    question = request(max_tokens=12)
    for _ in range(5):
        first = Recorder()
        handle = host.submit(question, first)
        assert first.spoke.wait(20)
        handle.cancel()
        assert isinstance(first.error, Cancelled)
        again = ask(host, question)
        handle.cancel()
        assert again.reply.text == expected


def test_a_listener_may_cancel_from_within(gguf_factory: Factory, host_factory: Hosts) -> None:
    host = host_factory(gguf_factory())

    class Impatient(Recorder):
        def on_text(self, request_id: int, text: str) -> None:
            super().on_text(request_id, text)
            handles[0].cancel()

    handles: list[Any] = []
    recorder = Impatient()
    ready = threading.Event()
    slow = request(max_tokens=1900)
    handles.append(host.submit(slow, recorder))
    ready.set()
    assert isinstance(recorder.error, Cancelled)


def test_what_is_late_is_told_so(gguf_factory: Factory, host_factory: Hosts) -> None:
    settings = EngineSettings(threads=1, n_ctx=8192, n_seq=1, n_parallel=1)
    host = host_factory(gguf_factory(context=8192), settings=settings)
    busy = ask(host, request(max_tokens=8000))
    late = ask(host, request(max_tokens=4, deadline_s=0.05))
    assert isinstance(late.error, DeadlineExceeded)
    assert not busy.ended.is_set()
    long = ask(host, request(max_tokens=8000, deadline_s=0.1, priority=Priority.SPEECH))
    assert isinstance(long.error, DeadlineExceeded)


def engine_figure(host: Any, name: str, least: int) -> int:
    """A figure of the engine's status, which is told every half second, once it is high enough."""
    end = time.monotonic() + 20.0
    while (figure := host.status()["engine"].get(name, 0)) < least:
        assert time.monotonic() < end, f"{name} stayed at {figure}"
        time.sleep(0.02)
    return int(figure)


def test_the_urgent_overtake_the_others_who_finish_later_unchanged(
    gguf_factory: Factory, host_factory: Hosts
) -> None:
    settings = EngineSettings(threads=1, n_ctx=4096, n_seq=4, n_parallel=2, exact=True)
    host = host_factory(gguf_factory(), settings=settings)
    dreams = [
        request(f"{n}: dream", system=f"{n} sleeps.", max_tokens=700, priority=Priority.OFFSTAGE)
        for n in range(4)
    ]
    patient = [ask(host, dream) for dream in dreams]
    assert patient[0].spoke.wait(20)
    assert patient[1].spoke.wait(20)
    urgent = ask(host, request("Help!", max_tokens=4, priority=Priority.SPEECH)).reply
    assert all(recorder.reply.total_s > urgent.total_s for recorder in patient)
    assert engine_figure(host, "preempted", 1) >= 1
    texts = [recorder.reply.text for recorder in patient]
    assert [ask(host, replace(dream, seed=1)).reply.text for dream in dreams] == texts


def test_more_than_memory_holds_take_turns_and_all_are_answered(
    gguf_factory: Factory, host_factory: Hosts
) -> None:
    settings = EngineSettings(threads=1, n_ctx=512, n_seq=8, n_parallel=8, exact=True)
    host = host_factory(gguf_factory(), settings=settings)
    questions = [request(f"{n}?", system=f"{n} is a number.", max_tokens=200) for n in range(8)]
    crowded = [ask(host, question) for question in questions]
    texts = [recorder.reply.text for recorder in crowded]
    assert engine_figure(host, "preempted", 1) >= 1
    roomy = host_factory(gguf_factory(), settings=EXACT)
    assert [ask(roomy, question).reply.text for question in questions] == texts


def test_a_full_queue_refuses_the_least_urgent_newest(
    gguf_factory: Factory, host_factory: Hosts
) -> None:
    settings = EngineSettings(threads=1, n_ctx=2048, n_seq=1, n_parallel=1, queue=2)
    host = host_factory(gguf_factory(), settings=settings)
    running = ask(host, request(max_tokens=1500, priority=Priority.SPEECH))
    assert running.spoke.wait(20)
    first = ask(host, request("1", max_tokens=2, priority=Priority.NEAR))
    second = ask(host, request("2", max_tokens=2, priority=Priority.OFFSTAGE))
    urgent = ask(host, request("3", max_tokens=2, priority=Priority.BATTLE))
    error = second.error
    assert isinstance(error, RequestRefused)
    assert "2 requests are waiting" in error.message
    assert urgent.reply.completion_tokens == 2
    assert first.reply.completion_tokens == 2


def test_a_prompt_that_leaves_no_room_is_refused_with_the_limit(
    gguf_factory: Factory, host_factory: Hosts
) -> None:
    host = host_factory(gguf_factory(context=256), n_ctx=2048)
    error = ask(host, request("word " * 400)).error
    assert isinstance(error, RequestRefused)
    assert "256" in error.message
    longish = ask(host, request("word " * 30, max_tokens=5000)).reply
    assert longish.prompt_tokens + longish.completion_tokens == 256
    assert longish.finish == "length"


@pytest.mark.parametrize(
    ("question", "fault"),
    [
        (ModelRequest([], "speech"), "no messages"),
        (request(max_tokens=0), "max_tokens is 0"),
        (request("x" * 1_000_001), "1000017 characters"),
        (request(stop=["a"] * 17), "17 stop strings"),
        (request(temperature=math.nan), "temperature nan"),
        (request(top_p=-0.1), "top_p -0.1"),
        (request(deadline_s=math.inf), "deadline_s is inf"),
        (request(stop=["a" * 20_000_000]), "20000000 characters"),
        (request(priority=7), "the priority is 7"),
        (request(logprobs=20, max_tokens=1 << 16, window=1 << 16), "1376256 log-probabilities"),
    ],
    ids=[
        "nothing",
        "no tokens",
        "too much",
        "stops",
        "temperature",
        "top_p",
        "deadline",
        "a long stop",
        "no class",
        "logprobs",
    ],
)
def test_what_cannot_be_asked_is_refused(
    gguf_factory: Factory, host_factory: Hosts, question: ModelRequest, fault: str
) -> None:
    error = ask(host_factory(gguf_factory()), question).error
    assert isinstance(error, RequestRefused)
    assert fault in error.message


def test_strange_text_and_seeds_are_taken(gguf_factory: Factory, host_factory: Hosts) -> None:
    host = host_factory(gguf_factory())
    for seed in (-1, 2**80):
        question = request("a\ud800b\0c\U0010ffff", seed=seed, temperature=1.0, max_tokens=3)
        assert ask(host, question).reply.completion_tokens == 3


def test_a_listener_that_raises_harms_nobody_else(
    gguf_factory: Factory, host_factory: Hosts
) -> None:
    class Clumsy(Recorder):
        def on_text(self, request_id: int, text: str) -> None:
            raise RuntimeError("clumsy")

    host = host_factory(gguf_factory())
    clumsy = Clumsy()
    host.submit(request(max_tokens=5), clumsy)
    assert ask(host, request(max_tokens=5)).reply.completion_tokens == 5
    assert clumsy.reply.completion_tokens == 5
    assert host.status()["listener_faults"] > 0


def test_closing_cancels_what_is_under_way_and_refuses_the_rest(
    gguf_factory: Factory, host_factory: Hosts
) -> None:
    host = host_factory(gguf_factory())
    recorder = ask(host, request(max_tokens=1900))
    assert recorder.spoke.wait(20)
    host.close()
    assert isinstance(recorder.error, Cancelled)
    assert host.state == "closed"
    host.close()
    refused = Recorder()
    host.submit(request(), refused)
    assert isinstance(refused.error, ModelUnavailable)


def test_a_thread_can_stand_in_for_the_process_when_debugging(
    gguf_factory: Factory, host_factory: Hosts
) -> None:
    in_process = host_factory(gguf_factory())
    on_thread = host_factory(gguf_factory(), mode="thread")
    question = request(max_tokens=20)
    assert ask(on_thread, question).reply.text == ask(in_process, question).reply.text
