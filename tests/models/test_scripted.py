"""The scripted backend: the same question always gets the same answer, and it says what it is."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal

import pytest
from asking import Recorder, ask, request
from pydantic import Field

from foundation.strict import StrictModel
from models.errors import Cancelled, DeadlineExceeded, ModelError, ModelUnavailable, RequestRefused
from models.scripted import ScriptedBackend


class Place(StrEnum):
    INN = "inn"
    MILL = "mill"


class Choice(StrictModel):
    place: Place
    count: int = Field(ge=2, le=9)
    names: list[Annotated[str, Field(min_length=5, max_length=6)]] = Field(
        min_length=1, max_length=3
    )
    at: tuple[bool, Literal["x"]] | None


class Numbered(StrictModel):
    code: Annotated[str, Field(max_length=4, pattern="^[0-9]{4}$")]


def test_the_same_question_gets_the_same_answer_in_every_run() -> None:
    first, second = ScriptedBackend(), ScriptedBackend()
    for schema in (None, Choice):
        question = {"schema": schema, "seed": 5, "max_tokens": 400}
        one, two = ask(first, request(**question)).reply, ask(second, request(**question)).reply
        assert (one.text, one.parsed) == (two.text, two.parsed)
        assert "no model" in one.source


def test_known_replies_do_not_change_between_versions() -> None:
    assert ask(ScriptedBackend(), request("Is the mill haunted?")).reply.text == (
        'So it is. You said "Is the mill haunted?".'
    )


def test_seeds_and_lines_make_a_difference() -> None:
    backend = ScriptedBackend()
    assert len({ask(backend, request(seed=seed)).reply.text for seed in range(20)}) > 3
    made = [ask(backend, request(schema=Choice, seed=n, max_tokens=400)).reply for n in range(30)]
    assert all(isinstance(reply.parsed, Choice) for reply in made)
    assert len({reply.text for reply in made}) > 10


def test_replies_are_streamed_word_by_word() -> None:
    recorder = ask(ScriptedBackend(lambda _: "It is  late."), request())
    assert recorder.reply.text == "It is  late."
    assert recorder.pieces == ["It ", "is ", " ", "late."]


def test_a_rule_may_answer_with_an_instance_or_an_error() -> None:
    made = Numbered(code="0042")
    assert ask(ScriptedBackend(lambda _: made), request(schema=Numbered)).reply.parsed == made
    error = ModelError("as told")
    assert ask(ScriptedBackend(lambda _: error), request()).error is error


def test_a_schema_it_cannot_fill_needs_a_rule() -> None:
    error = ask(ScriptedBackend(), request(schema=Numbered)).error
    assert isinstance(error, RequestRefused)
    assert "give it a rule" in error.hint


def test_latency_deadline_and_withdrawal() -> None:
    slow = ScriptedBackend(latency_s=30.0)
    assert isinstance(ask(slow, request(deadline_s=0.05)).error, DeadlineExceeded)
    recorder = Recorder()
    handle = slow.submit(request(deadline_s=60.0), recorder)
    handle.cancel()
    assert isinstance(recorder.error, Cancelled)
    handle.cancel()
    assert recorder.after_end == []


def test_answers_come_in_the_order_asked() -> None:
    heard: list[int] = []

    class Noting(Recorder):
        def on_done(self, reply: object) -> None:
            heard.append(reply.request_id)  # type: ignore[attr-defined]
            super().on_done(reply)  # type: ignore[arg-type]

    backend = ScriptedBackend(latency_s=0.02)
    questions = [request(f"{n}") for n in range(20)]
    recorders = [Noting() for _ in questions]
    for question, recorder in zip(questions, recorders, strict=True):
        backend.submit(question, recorder)
    for recorder in recorders:
        recorder.wait()
    assert heard == [question.id for question in questions]


@pytest.mark.parametrize("latency_s", [0.0, 30.0])
def test_closing_ends_what_waits(latency_s: float) -> None:
    backend = ScriptedBackend(latency_s=latency_s)
    waiting = [ask(backend, request()) for _ in range(3)]
    backend.close()
    for recorder in waiting:
        recorder.wait()
        assert recorder.replies or isinstance(recorder.errors[0], Cancelled)
    assert isinstance(ask(backend, request()).error, ModelUnavailable)
