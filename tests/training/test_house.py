"""The shipped model: it loads in llama.cpp, speaks in its format and says what it was told."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from models import house
from models.prompts import SHIPPED, Decision, Panel, Persona
from training.corpus.grammar import is_whole
from training.corpus.people import valley

pytestmark = pytest.mark.engine

STRANGER = Persona(
    name="Brenna Hask",
    trade="glover",
    place="Harrowgate",
    temper="cheerful and blunt",
    persona="Brenna sews gloves by the window and talks to everyone who passes.",
    knows=(
        "A pair of gloves costs six coppers.",
        "Wolves were seen near the quarry at dusk.",
        "Doctor Ames lost the brass key at cards.",
    ),
)
NOW = Panel(time="morning", mood="calm", place="the workshop")


@pytest.fixture(scope="module")
def engine() -> Iterator[Any]:
    llama_cpp = pytest.importorskip("llama_cpp")
    if not house.path().exists():
        pytest.skip("the house model's file is not here")
    loaded = llama_cpp.Llama(str(house.path()), n_ctx=1024, n_threads=2, verbose=False)
    yield loaded
    loaded.close()


def say(engine: Any, persona: Persona, line: str) -> str:
    made = engine.create_chat_completion(
        messages=SHIPPED.speech(persona, [], NOW, "Ada", line), max_tokens=96, temperature=0.0
    )
    assert made["choices"][0]["finish_reason"] == "stop"
    return str(made["choices"][0]["message"]["content"])


def test_the_file_is_small_and_names_itself(engine: Any) -> None:
    assert house.path().stat().st_size < 16 * 2**20
    assert engine.metadata["general.name"] == house.NAME
    assert engine.metadata["general.version"] == str(house.VERSION)
    assert engine.metadata["general.license"] == "MIT"
    assert "<|im_start|>" in engine.metadata["tokenizer.chat_template"]


def test_its_template_renders_what_it_was_trained_on(engine: Any) -> None:
    marked = b"<|im_start|>user\nhi<|im_end|>\n"
    tokens = engine.tokenize(marked, add_bos=False, special=True)
    assert engine.token_eos() in tokens
    assert engine.detokenize(tokens, special=True) == marked


@pytest.mark.parametrize("line", ["what is your name?", "have you seen any wolves?", "farewell"])
def test_it_answers_a_persona_it_never_saw_in_whole_sentences(engine: Any, line: str) -> None:
    # How often it finds a stranger's own facts is measured on the card, not promised here.
    assert is_whole(say(engine, STRANGER, line))


@pytest.mark.parametrize(
    ("who", "line", "word"),
    [
        ("marta", "What news of the wolves?", "grimwood"),
        ("will", "i want wool, what would a fleece be", "six coppers"),
        ("nina", "how expensive is your bread, I mean a loaf", "one copper"),
        ("orla", "What do you pay for wolf pelts?", "two silver"),
    ],
)
def test_the_valleys_people_tell_what_they_know(
    engine: Any, who: str, line: str, word: str
) -> None:
    villager = next(one for one in valley() if one.key == who)
    reply = say(engine, villager.persona, line)
    assert is_whole(reply)
    assert word in reply.lower()


def test_it_decides_in_the_schema(engine: Any) -> None:
    hungry = Panel(time="noon", mood="hungry", place="the workshop")
    made = engine.create_chat_completion(
        messages=SHIPPED.decide(STRANGER, hungry, ["work", "eat at home", "wait"]),
        max_tokens=60,
        temperature=0.0,
    )
    act = Decision.model_validate_json(made["choices"][0]["message"]["content"])
    assert act.action in {"work", "eat", "wait"}


def test_the_card_tells_the_scores_of_this_file() -> None:
    if not house.path().exists():
        pytest.skip("the house model's file is not here")
    folder = Path(house.__file__).parent
    card = json.loads((folder / "card.json").read_text(encoding="utf-8"))
    assert card["name"] == house.NAME
    assert card["version"] == house.VERSION
    assert card["file"]["bytes"] == house.path().stat().st_size
    assert card["file"]["sha256"] == hashlib.sha256(house.path().read_bytes()).hexdigest()
    assert str(card["scores"]["model"]["passed"]) in (folder / "CARD.md").read_text(
        encoding="utf-8"
    )
    assert card["scores"]["model"]["passed"] > card["scores"]["nearest_template"]["passed"]
