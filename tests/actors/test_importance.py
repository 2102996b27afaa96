"""Turns that bind or name outweigh talk, and talk outweighs manners."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.importance import BINDING, MANNERS, NAMING, TALK, importance, weights
from models.context import overflow
from models.prompts import SHIPPED, Panel, Persona, Turn

NOON = Panel(time="noon", mood="calm", place="the Lantern")
MARTA = Persona(name="Marta Kell", trade="innkeeper", place="Alderford", temper="warm")


def turn(line: str, reply: str = "So it is.") -> Turn:
    return Turn(speaker="Ann", line=line, reply=reply)


@pytest.mark.parametrize(
    "line",
    [
        "I promise I'll be back before dusk.",
        "You have my word.",
        "I'll give you five coppers for the lot.",
        "Then it's a deal.",
        "I still owe you for the stew",
        "Hand it over or else!",
        "I'll burn this inn down.",
        "Here is a little something for you, a gift.",
        "Your brother was wounded at the ford",
        "the wolves killed two of my sheep",
    ],
)
def test_promises_bargains_threats_gifts_and_harm_weigh_most(line: str) -> None:
    assert importance(turn(line), NOON, "Marta Kell") == BINDING


def test_what_the_npc_itself_promised_weighs_as_much() -> None:
    made = turn("Is there a room left?", "There is. I'll keep it for you until dark.")
    assert importance(made, NOON) == BINDING


def test_a_turn_in_which_the_npc_lay_hurt_weighs_most() -> None:
    hurt = NOON.model_copy(update={"mood": "hurt"})
    assert importance(turn("Well met."), hurt) == BINDING


@pytest.mark.parametrize(
    "line",
    ["my name is ann", "I'm Ann, from the coast.", "have you seen Tobin?", "the road to Oakhaven"],
)
def test_names_that_it_was_told_weigh_more_than_talk(line: str) -> None:
    assert importance(turn(line), NOON, "Marta Kell") == NAMING


@pytest.mark.parametrize("line", ["Обещаю вернуть долг", "我明天回来", "Ça va ?", "42"])
def test_a_line_in_letters_that_it_can_not_read_is_talk_and_no_greeting(line: str) -> None:
    assert importance(turn(line, reply="Да."), NOON, "Marta Kell") == TALK


@pytest.mark.parametrize(
    "line", ["Hello!", "Good morning to you, Marta.", "Thanks, and farewell.", "yes", "...", ""]
)
def test_manners_weigh_nothing(line: str) -> None:
    answered = turn(line, "Good day to you, Ann of Oakhaven.")
    assert importance(answered, NOON, "Marta Kell") == MANNERS


@pytest.mark.parametrize("line", ["what is the stew today?", "Where can I sleep?"])
def test_everything_else_is_talk(line: str) -> None:
    assert importance(turn(line, "Ask at the mill. Piet knows."), NOON, "Marta Kell") == TALK


turns = st.lists(st.builds(turn, st.text(max_size=300), st.text(min_size=1, max_size=400)))


@given(turns)
def test_every_message_of_a_prompt_has_a_weight_and_a_turns_two_have_the_same(
    said: list[Turn],
) -> None:
    history = [(NOON, each) for each in said if each.reply][:64]
    given_weights = weights(history, MARTA.name)
    messages = SHIPPED.speech(MARTA, history, NOON, "Ann", "Good day.")
    assert len(given_weights) == len(messages)
    assert given_weights[1:-1:2] == given_weights[2:-1:2]
    assert set(given_weights) <= {MANNERS, TALK, NAMING, BINDING}


def test_in_a_small_window_a_promise_outlives_the_chatter_that_came_after_it() -> None:
    lines = ["I promise to bring your ring back.", *["hello again"] * 6, "what is the stew today?"]
    history = [(NOON, turn(line)) for line in lines]
    messages = SHIPPED.speech(MARTA, history, NOON, "Ann", "Have you a room?")
    roles = [message["role"] for message in messages]
    gone = overflow(roles, [10] * len(messages), 100, weights(history, MARTA.name))
    kept = [messages[place]["content"] for place in range(len(messages)) if place not in gone]
    assert any("promise" in content for content in kept)
    assert any("stew" in content for content in kept)
    assert gone and all("hello" in messages[place]["content"] for place in gone[::2])
