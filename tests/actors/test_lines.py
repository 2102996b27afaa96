"""What a model says is checked like what a client says; what a reflex says fits who says it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.lines import MAX_LINE, check, persona_of, reflex_line, whole_sentences
from world.compiled import PersonaCard, Secret
from world.frame import Situation
from world.ruleset import Species

CARD = PersonaCard(
    key="elsa",
    name="Elsa Wren",
    trade="healer",
    place="Alderford",
    temper="quiet",
    persona="Elsa gathers herbs.",
    knows=(
        "Yarrow stops bleeding and willow bark eases fever.",
        "A healing draught costs four coppers.",
        "Two shepherds came to her pale and cold.",
    ),
    secret=Secret("She gives Lady Isaura a sleeping draught.", 800),
)
SPECIES = Species("villager", "village", speaks=True, reflex_lines=("Good day.", "I have work."))


def situation(**more: object) -> Situation:
    values: dict[str, object] = {
        "tick": 1, "epoch": 1, "entity": 9, "name": "Elsa Wren", "species": "villager",
        "time": "noon", "hour": 12, "place": "the mill", "place_key": "mill", "mood": "calm",
        "mood_value": 0, "action": "work", "near": (), "trouble": (), "hp": 10, "max_hp": 10,
        "hunger": 0, "fatigue": 0, "fear": 0, "x": 0, "y": 0, "group": 0, "group_name": "",
        "target": 0, "threat": 0, "player": False, "alive": True, "downed": False,
    }  # fmt: skip
    return Situation(**{**values, **more})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("said", "text", "fault"),
    [
        ("Good day to you.", "Good day to you.", ""),
        ("  'Good day.'  ", "Good day.", ""),
        ("assistant: Good day.", "Good day.", ""),
        ("Good\nday.", "Good day.", ""),
        ("Good day.<|im_end|>rest", "Good day.", "marker"),
        ("Good day</s>", "", "marker"),
        ("I am an AI and cannot.", "", "character"),
        ("My system prompt says so.", "", "character"),
        ("?!", "", "empty"),
        ("", "", "empty"),
    ],
)
def test_a_line_is_cleaned_cut_or_refused(said: str, text: str, fault: str) -> None:
    checked = check(said, None)
    assert (checked.text, checked.fault) == (text, fault)


def test_an_unfinished_line_keeps_its_whole_sentences() -> None:
    assert check("One. Two! And thr", None, whole=False).text == "One. Two!"
    assert check("And thr", None, whole=False) == check("And thr", None, whole=False)
    assert check("And thr", None, whole=False).text == ""
    assert whole_sentences('He said "no." Then') == 'He said "no."'


def test_the_last_answer_word_for_word_is_a_repetition() -> None:
    assert check("Ask, at the mill!", "Ask at the mill.").fault == "repeated"
    assert check("Ask at the inn.", "Ask at the mill.").text


@given(st.text(max_size=900), st.none() | st.text(max_size=50), st.booleans())
def test_what_passes_can_be_said_in_the_world(text: str, before: str | None, whole: bool) -> None:
    line = check(text, before, whole=whole).text
    assert len(line) <= MAX_LINE
    assert line == line.strip()
    assert "<|" not in line
    assert not any(ord(c) < 32 for c in line)


def test_the_prompts_persona_leaves_the_secret_out() -> None:
    assert "sleeping draught" not in repr(persona_of(CARD))


def test_a_reflex_tells_a_fact_that_is_asked_for() -> None:
    line = reflex_line(CARD, SPECIES, situation(), "What do you sell for a fever?", None)
    assert line == "Yarrow stops bleeding and willow bark eases fever."
    line = reflex_line(CARD, SPECIES, situation(), "How much is a healing draught?", None)
    assert line == "A healing draught costs four coppers."


def test_a_reflex_never_tells_the_secret_nor_speaks_of_itself_as_another() -> None:
    for text in ("Lady Isaura?", "sleeping draught", "shepherds pale cold"):
        line = reflex_line(CARD, SPECIES, situation(), text, None)
        assert "Isaura" not in line
        assert "her" not in line.split()


def test_a_reflex_has_manners_and_fits_the_moment() -> None:
    assert "Elsa Wren" in reflex_line(CARD, SPECIES, situation(), "Who are you?", None)
    assert "evening" in reflex_line(CARD, SPECIES, situation(time="night"), "hello", None)
    assert "behind" in reflex_line(CARD, SPECIES, situation(threat=5), "hello", None)


@given(st.text(max_size=300), st.integers(1, 50))
def test_a_reflex_always_says_something_short_and_new(text: str, entity: int) -> None:
    here = situation(entity=entity)
    first = reflex_line(CARD, SPECIES, here, text, None)
    second = reflex_line(CARD, SPECIES, here, text, first)
    assert 0 < len(first) <= MAX_LINE
    assert second != first
    assert reflex_line(CARD, SPECIES, here, text, None) == first


def test_a_species_without_lines_still_answers() -> None:
    assert reflex_line(None, Species("ghost", "dead", speaks=True), situation(), "boo", None)
