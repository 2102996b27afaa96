"""Calls asked before their time: handed to who asks the very same, and to nobody else."""

from __future__ import annotations

from dataclasses import replace

import pytest
from pydantic import Field

from foundation.strict import StrictModel
from models.ahead import AskingAhead, key_of
from models.errors import Cancelled, DeadlineExceeded, ModelError
from models.request import Handle, Listener, Message, ModelRequest, Reply


class Slow:
    """A backend that answers when it is told to."""

    name = "slow"

    def __init__(self) -> None:
        self.asked: list[tuple[ModelRequest, Listener]] = []
        self.cancelled: list[int] = []

    def submit(self, request: ModelRequest, listener: Listener) -> Handle:
        self.asked.append((request, listener))
        return _Handle(request, self)

    def answer(self, n: int, text: str = "Aye.") -> None:
        request, listener = self.asked[n]
        listener.on_text(request.id, text)
        listener.on_done(Reply(request.id, text, "slow"))

    def fail(self, n: int, error: ModelError) -> None:
        request, listener = self.asked[n]
        listener.on_error(request.id, error)

    def status(self) -> dict[str, object]:
        return {}

    def close(self) -> None:
        pass


class _Handle:
    def __init__(self, request: ModelRequest, backend: Slow) -> None:
        self.request = request
        self._backend = backend

    def cancel(self) -> None:
        self._backend.cancelled.append(self.request.id)


class Hears:
    def __init__(self) -> None:
        self.texts: list[tuple[int, str]] = []
        self.ends: list[Reply | ModelError] = []

    def on_text(self, request_id: int, text: str) -> None:
        self.texts.append((request_id, text))

    def on_done(self, reply: Reply) -> None:
        self.ends.append(reply)

    def on_error(self, request_id: int, error: ModelError) -> None:
        self.ends.append(error)


class Yes(StrictModel):
    yes: bool


class Number(StrictModel):
    number: int = Field(ge=0, le=9)


def request(text: str = "Well?", seed: int = 1) -> ModelRequest:
    return ModelRequest([Message(role="user", content=text)], "decide", seed=seed, asker="npc:1")


@pytest.mark.parametrize("answered", [False, True], ids=["under way", "answered"])
def test_who_asks_the_very_same_gets_the_answer_under_its_own_number(answered: bool) -> None:
    slow, hears = Slow(), Hears()
    ahead = AskingAhead(slow)
    kept = ahead.ask(request(), 10, 1)
    assert kept is not None
    assert ahead.under_way == 1
    if answered:
        slow.answer(0)
    mine = request()
    ahead.submit(mine, hears)
    if not answered:
        assert kept.reply is None
        slow.answer(0)
    # Whoever asked it ahead hears of it, too.
    assert kept.reply is not None
    assert kept.reply.text == "Aye."
    assert len(slow.asked) == 1
    assert hears.texts == [(mine.id, "Aye.")]
    assert [(end.request_id, end.text) for end in hears.ends] == [(mine.id, "Aye.")]  # type: ignore[union-attr]
    assert ahead.under_way == 0
    ahead.submit(request(), Hears())
    assert len(slow.asked) == 2


def test_whatever_differs_in_what_is_asked_is_another_call() -> None:
    plain = request()
    others = [
        request("Well now?"),
        request(seed=2),
        replace(plain, max_tokens=7),
        replace(plain, temperature=0.1),
        replace(plain, asker="npc:2"),
        replace(plain, adapter="villager"),
        replace(plain, epoch=2),
        replace(plain, messages=[Message(role="system", content="Well?")]),
        replace(plain, schema=Yes),
        replace(plain, schema=Number),
    ]
    assert len({key_of(r) for r in [plain, *others]}) == len(others) + 1
    assert key_of(plain) == key_of(request())


def test_a_call_that_failed_for_nobody_is_forgotten_and_for_its_claimant_asked_once_more() -> None:
    slow = Slow()
    ahead = AskingAhead(slow)
    ahead.ask(request(), 10, 1)
    slow.fail(0, DeadlineExceeded("late"))
    hears = Hears()
    ahead.submit(request(), hears)
    assert len(slow.asked) == 2
    slow.answer(1)

    ahead.ask(request("And?"), 10, 1)
    ahead.submit(request("And?"), hears)
    slow.fail(2, DeadlineExceeded("late"))
    assert len(slow.asked) == 4
    slow.answer(3, "No.")
    assert [end.text for end in hears.ends] == ["Aye.", "No."]  # type: ignore[union-attr]


def test_a_claimed_call_can_be_withdrawn() -> None:
    slow, hears = Slow(), Hears()
    ahead = AskingAhead(slow)
    ahead.ask(request(), 10, 1)
    ahead.submit(request(), hears).cancel()
    assert slow.cancelled == [slow.asked[0][0].id]
    slow.fail(0, Cancelled("withdrawn"))
    assert len(slow.asked) == 1
    assert isinstance(hears.ends[0], Cancelled)


def test_what_nobody_came_for_is_withdrawn_and_counted() -> None:
    slow = Slow()
    ahead = AskingAhead(slow, most=2)
    ahead.ask(request("one"), 10, 1)
    assert ahead.ask(request("one"), 10, 1) is ahead.ask(request("one"), 11, 2)
    ahead.ask(request("two"), 20, 1)
    assert ahead.full
    assert ahead.ask(request("three"), 20, 1) is None
    ahead.forget(9)
    assert slow.cancelled == []
    ahead.forget(10)
    assert slow.cancelled == [slow.asked[0][0].id]
    assert ahead.counts() == {"asked": 2, "claimed": 0, "in_vain": 1}
    assert not ahead.full


def test_a_guess_withdraws_what_others_would_ask_where_it_looked_and_nothing_else() -> None:
    slow = Slow()
    ahead = AskingAhead(slow)
    for n, tick in enumerate((10, 20, 30, 40)):
        ahead.ask(request(str(n)), tick, 1)
    ahead.ask(request("of another"), 20, 1)
    ahead.ask(replace(request("4"), asker="npc:2"), 20, 1)
    ahead.ask(request("2"), 30, 2)
    ahead.sweep(10, 30, {2}, {"npc:1"})
    gone = {
        request.messages[0]["content"] for request, _ in slow.asked if request.id in slow.cancelled
    }
    assert gone == {"1", "of another"}


def test_what_is_asked_ahead_comes_after_all_that_is_wanted_now() -> None:
    slow = Slow()
    ahead = AskingAhead(slow)
    ahead.ask(request("later"), 400, 1)
    ahead.submit(request("now"), Hears())
    later, now = (asked for asked, _ in slow.asked)
    assert (now.priority, now.wanted) < (later.priority, later.wanted)
    assert later.wanted == 400
