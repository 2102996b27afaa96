"""A conversation is bounded by its window: what binds outlives chatter, and its beginning rarely moves."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest

from actors import conversation
from actors.conversation import MAX_TURNS, Conversations
from actors.importance import weights
from models.context import overflow
from models.llama.host import _check
from models.prompts import SHIPPED, Panel, Persona, Turn
from models.request import Handle, Listener, Message, ModelRequest, Reply

HERE = Panel(time="noon", mood="calm", place="the Lantern")
WINDOW = 16_384


def chatter(n: int) -> Turn:
    return Turn(
        speaker="Ann", line=f"The rain came down in the valley {n} times.", reply="So it did."
    )


PROMISE = Turn(speaker="Ann", line="I promise to bring your ring back.", reply="I count on it.")


class Counting:
    """A backend that counts a token for every four characters and trims as the engine does."""

    name = "counting"

    def __init__(self) -> None:
        self.asked: list[Any] = []
        self.read: list[list[Message]] = []
        self.most = 0

    def submit(self, request: ModelRequest, listener: Listener) -> Handle:
        counts = [8 + len(message["content"]) // 4 for message in request.messages]
        roles = [message["role"] for message in request.messages]
        assert len(request.importance) == len(roles)
        gone = overflow(roles, counts, WINDOW - request.max_tokens, request.importance)
        kept = [at for at in range(len(roles)) if at not in gone]
        self.most = max(self.most, sum(counts[at] for at in kept))
        self.read.append([request.messages[at] for at in kept])
        dish = ("stew", "bread")[len(self.read) % 2]
        text = (
            f"Well, that makes {len(self.read)} of them. " + f"The {dish} is good, they say. " * 10
        )
        if request.purpose == "speech":
            listener.on_done(Reply(request.id, text.strip(), self.name, dropped=gone))
        handle: Any = self
        return handle

    def cancel(self) -> None:
        return None

    def status(self) -> dict[str, object]:
        return {}

    def close(self) -> None:
        return None


def test_a_promise_is_still_in_a_full_window_after_150_exchanges_of_chatter(
    company: Callable[..., Any], heard: Any, enter: Any, named: Any
) -> None:
    model = Counting()
    c = company(backend=model, settings={"speak_ticks": 1, "patience_s": 0.01, "decisions": 1})
    body, npc = enter(c), named(c, "Marta Kell")
    prompts: list[list[Message]] = []
    for n in range(151):
        line = f"The rain came down in the valley {n} times, and then it stopped. " * 4
        listener = heard()
        c.say(body, npc, line if n else PROMISE.line, listener)
        c.run_headless(3)
        assert listener.source == model.name, listener.rejected
        prompts.append(model.read[-1])
    assert model.most > 0.9 * WINDOW, "the window was filled"
    last = [message["content"] for message in prompts[-1]]
    assert any("I promise to bring your ring back" in content for content in last)
    assert len(last) > 2 * 64, "and it is the window that bounds it, not a count"
    moved = sum(later[: len(earlier)] != earlier for earlier, later in itertools.pairwise(prompts))
    assert 1 <= moved <= 4, "its beginning is read again only when it was trimmed"


def test_one_turn_too_many_lets_a_block_go_and_keeps_what_binds() -> None:
    kept = Conversations()
    kept.remember(1, "Ann", HERE, PROMISE, 0, "x", "Marta Kell")
    for n in range(1, MAX_TURNS):
        kept.remember(1, "Ann", HERE, chatter(n), n, "x", "Marta Kell")
    assert [turn for _, turn in kept.recall(1, "Ann")][:2] == [PROMISE, chatter(1)]
    kept.remember(1, "Ann", HERE, chatter(MAX_TURNS), MAX_TURNS, "x", "Marta Kell")
    turns = [turn for _, turn in kept.recall(1, "Ann")]
    assert len(turns) == MAX_TURNS * 3 // 4
    assert turns[:2] == [PROMISE, chatter(MAX_TURNS + 2 - len(turns))]
    assert turns[-1] == chatter(MAX_TURNS)
    beginning = turns
    for n in range(100):
        kept.remember(1, "Ann", HERE, chatter(1000 + n), n, "x", "Marta Kell")
        now = [turn for _, turn in kept.recall(1, "Ann")]
        assert now[: len(beginning)] == beginning, "and none goes for a long while after"
        beginning = now


def test_the_longest_conversation_is_no_more_than_an_engine_takes() -> None:
    far = "x" * 999
    panel = Panel(time=far, mood=far, place=far, near=(far,) * 9, trouble=(far,) * 9)
    turn = Turn(speaker=far, line=far, reply=far)
    everyone = Persona(
        name="M" * 64,
        trade="t" * 64,
        place="p" * 64,
        temper="t" * 64,
        persona="p" * 480,
        knows=("k" * 240,) * 12,
    )
    history = [(panel, turn)] * MAX_TURNS
    messages = SHIPPED.speech(everyone, history, panel, far, far)
    assert len(messages) == 2 * MAX_TURNS + 2 == len(weights(history, everyone.name))
    _check(ModelRequest(messages, "speech", importance=weights(history, everyone.name)))


def test_an_npcs_own_name_makes_a_line_no_more_important() -> None:
    kept = Conversations()
    for n in range(MAX_TURNS + 1):
        line = "Good day, Marta!" if n == 3 else f"It rains, friend, {n} times."
        turn = Turn(speaker="Ann", line=line, reply="So it does.")
        kept.remember(1, "Ann", HERE, turn, n, "x", "Marta Kell")
    assert all("Marta" not in turn.line for _, turn in kept.recall(1, "Ann"))


def test_the_turns_of_all_pairs_together_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conversation, "MAX_KEPT", 20)
    kept = Conversations()
    for npc in range(5):
        for n in range(6):
            kept.remember(npc, "Ann", HERE, chatter(n), n, "x")
    kept.trim(4, "Ann", kept.recall(4, "Ann")[:2])
    assert kept.status() == {"pairs": 3, "turns": 16, "let_go": 0, "failures": 0}
    assert not kept.recall(0, "Ann") and len(kept.recall(2, "Ann")) == 6
    kept.forget(2)
    assert kept.status()["turns"] == 10
