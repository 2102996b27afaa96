"""When a first line may be answered from a cache, and what such an answer is bound to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.company import Company
from actors.opening import opening
from models.cache import SemanticCache
from models.cached import CachedBackend
from models.hashed import HashedEmbedder, embed
from models.prompts import SHIPPED, Panel, Persona, PromptBook, Turn
from models.request import ModelRequest, Preference
from models.scripted import ScriptedBackend

MARTA = Persona(
    name="Marta Kell",
    trade="innkeeper",
    place="Alderford",
    temper="warm",
    persona="Marta keeps the Lantern.",
    knows=("Tobin Ash is mending the bear traps.",),
)
DUSK = Panel(time="evening", mood="calm", place="the Lantern", near=("Ann", "Orla Finch", "deer"))
TURN = Turn(speaker="Ann", line="Good day.", reply="Good day to you.")


def scope(**changed: Any) -> str:
    values: dict[str, Any] = {
        "prompts": SHIPPED,
        "entity": 7,
        "persona": MARTA,
        "history": (),
        "panel": DUSK,
        "speaker": "Ann",
        "line": "What news of the wolves?",
    }
    return opening(**{**values, **changed}).scope


def panel(**changed: Any) -> Panel:
    return DUSK.model_copy(update=changed)


def test_once_a_turn_was_answered_the_model_is_asked() -> None:
    assert scope()
    assert scope(history=[(DUSK, TURN)]) == ""
    unanswered = TURN.model_copy(update={"reply": None})
    assert scope(history=[(DUSK, unanswered)]) == scope()


def test_strangers_share_a_scope_in_the_same_moment() -> None:
    assert scope(speaker="Bo", panel=panel(near=("deer", "Bo", "Orla Finch"))) == scope()


@pytest.mark.parametrize(
    "changed",
    [
        {"entity": 8},
        {"persona": MARTA.model_copy(update={"temper": "grim"})},
        {"persona": MARTA.model_copy(update={"knows": ()})},
        {"persona": MARTA.model_copy(update={"knows": (*MARTA.knows, "The mill burnt down.")})},
        {"persona": MARTA.model_copy(update={"layers": ("It is the third winter.",)})},
        {"panel": panel(time="night")},
        {"panel": panel(mood="afraid")},
        {"panel": panel(place="the mill")},
        {"panel": panel(near=("Ann", "Orla Finch"))},
        {"panel": panel(near=("Ann", "Ann", "Orla Finch", "deer"))},
        {"panel": panel(trouble=("a wolf",))},
        {"prompts": PromptBook({"npc_turn": '{{ panel.time }} {{ speaker }}: "{{ line }}"'})},
        {"prompts": PromptBook({"npc_system": "You are {{ who.name }}."})},
    ],
)
def test_an_answer_never_crosses_npc_knowledge_state_or_prompt(changed: dict[str, Any]) -> None:
    assert scope(**changed) not in ("", scope())


def test_a_name_that_the_npc_knows_has_a_scope_of_its_own() -> None:
    near = ("Orla Finch", "deer")
    stranger = scope(speaker="Bo", panel=panel(near=(*near, "Bo")))
    assert scope(speaker="Tobin", panel=panel(near=(*near, "Tobin"))) != stranger
    assert scope(speaker="Orla", panel=panel(near=(*near, "Orla"))) != stranger
    assert scope(speaker="李", panel=panel(near=("李", *near))) == stranger
    knows = MARTA.model_copy(update={"knows": (*MARTA.knows, "小李欠两个铜板。")})
    assert scope(persona=knows, speaker="李") != scope(persona=knows, speaker="王")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (
            "Have you seen the wolves that took my sheep from the meadow last night?",
            "Have you not seen the wolves that took my sheep from the meadow last night?",
        ),
        (
            "I will give you 10 coppers for a bed in your fine inn tonight, if you please",
            "I will give you 20 coppers for a bed in your fine inn tonight, if you please",
        ),
        (
            "I will give you ten coppers for a bed in your fine inn tonight, if you please",
            "I will give you six coppers for a bed in your fine inn tonight, if you please",
        ),
        (
            "Have you seen Ed on the long road between the mill and the market place today?",
            "Have you seen Jo on the long road between the mill and the market place today?",
        ),
    ],
)
def test_lines_that_a_word_turns_into_another_question_share_no_scope(one: str, other: str) -> None:
    vectors = embed([one, other])
    assert float(vectors[0] @ vectors[1]) > 0.93, "they would be near enough, or nearly"
    assert scope(line=one) != scope(line=other)


@pytest.mark.parametrize("line", ["what news of the wolves", "What news of the wolves?!"])
def test_ways_to_write_the_same_line_share_a_scope(line: str) -> None:
    assert scope(line=line) == scope()


@given(st.text(max_size=60), st.text(max_size=60))
def test_any_name_and_line_have_a_short_scope(speaker: str, line: str) -> None:
    found = scope(speaker=speaker, line=line)
    assert found.startswith("npc:7|") and len(found) < 64


class Counting(ScriptedBackend):
    """Counts what it is asked, and answers each time with another line."""

    def __init__(self) -> None:
        super().__init__(self._rule, name="house-1")
        self.requests: list[ModelRequest] = []

    def _rule(self, asked: ModelRequest) -> str:
        if asked.purpose == "speech":
            self.requests.append(asked)
        often = "many " * len(self.requests)
        return f"That makes {often}travellers who asked about them, and more will come yet."


def say(c: Company, heard: Any, body: int, npc: int, line: str) -> Any:
    listener = heard()
    c.say(body, npc, line, listener)
    c.run_headless(c.settings.speak_ticks + 2)
    assert listener.over.wait(10)
    return listener


@pytest.fixture
def cached() -> Any:
    embedder = HashedEmbedder()
    model = Counting()
    made = CachedBackend(model, embedder, SemanticCache())
    made.counting = model  # type: ignore[attr-defined]
    yield made
    made.close()
    embedder.close()


def test_strangers_who_ask_the_same_first_hear_the_same_streamed_and_friends_are_answered_anew(
    company: Callable[..., Company], heard: Any, enter: Any, named: Any, cached: Any
) -> None:
    c = company(backend=cached, settings={"cached_openings": True})
    npc = named(c, "Marta Kell")
    ann = enter(c, "Ann")
    first = say(c, heard, ann, npc, "What news of the wolves?")
    assert first.source == "house-1"
    again = say(c, heard, ann, npc, "What news of the wolves?")
    assert again.source == "house-1" and again.text != first.text
    assert [bool(asked.cache_scope) for asked in cached.counting.requests] == [True, False]
    c.leave(ann)
    c.run_headless(2)
    found = None
    # What Marta sees in the moment is part of the scope: someone may have walked by.
    for visitor in ("Bo", "Cai", "Dag", "Eve", "Flo", "Gus"):
        body = enter(c, visitor)
        found = say(c, heard, body, npc, "what news of the wolves")
        if found.source.startswith("cache: "):
            break
        c.leave(body)
        c.run_headless(2)
    assert found is not None and found.source == "cache: house-1"
    assert len(found.pieces) > 1
    assert "".join(found.pieces) == found.text


def test_who_speaks_chooses_backend_and_cache_and_never_the_scope(
    company: Callable[..., Company], heard: Any, enter: Any, named: Any, cached: Any
) -> None:
    c = company(backend=cached, settings={"cached_openings": True})
    npc = named(c, "Marta Kell")
    listener = heard()
    c.say(enter(c, "Ann"), npc, "What news?", listener, Preference("big", "refresh"))
    c.run_headless(c.settings.speak_ticks + 2)
    assert listener.over.wait(10)
    [asked] = cached.counting.requests
    assert (asked.backend, asked.cache) == ("big", "refresh")
    assert asked.cache_scope.startswith(f"npc:{npc}|")


def test_unless_asked_for_no_line_carries_a_scope(
    company: Callable[..., Company], heard: Any, enter: Any, named: Any, cached: Any
) -> None:
    c = company(backend=cached)
    say(c, heard, enter(c), named(c, "Marta Kell"), "What news of the wolves?")
    assert [asked.cache_scope for asked in cached.counting.requests] == [""]
    assert cached.status()["cache"]["misses"] == 0
