"""The shipped model: it loads in llama.cpp, speaks in its format and says what it was told."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from models import house
from models.prompts import Decision, Panel, Persona, decide, speech
from training.corpus.grammar import is_whole

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


def say(engine: Any, line: str) -> str:
    made = engine.create_chat_completion(
        messages=speech(STRANGER, [], NOW, "Ada", line), max_tokens=96, temperature=0.0
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


@pytest.mark.parametrize(
    ("line", "word"),
    [
        ("what is your name?", "Brenna"),
        ("how much is a pair of gloves?", "six coppers"),
        ("have you seen any wolves?", "quarry"),
        ("who is Doctor Ames?", "brass key"),
    ],
)
def test_it_answers_from_a_persona_it_never_saw(engine: Any, line: str, word: str) -> None:
    reply = say(engine, line)
    assert is_whole(reply)
    assert word.lower() in reply.lower()


def test_it_decides_in_the_schema(engine: Any) -> None:
    hungry = Panel(time="noon", mood="hungry", place="the workshop")
    made = engine.create_chat_completion(
        messages=decide(STRANGER, hungry, ["work", "eat at home", "wait"]),
        max_tokens=60,
        temperature=0.0,
    )
    act = Decision.model_validate_json(made["choices"][0]["message"]["content"])
    assert (act.action, act.target) == ("eat", "home")


def test_the_card_tells_the_scores_of_this_file() -> None:
    if not house.path().exists():
        pytest.skip("the house model's file is not here")
    folder = Path(house.__file__).parent
    card = json.loads((folder / "card.json").read_text(encoding="utf-8"))
    assert card["name"] == house.NAME
    assert card["version"] == house.VERSION
    assert card["file"]["bytes"] == house.path().stat().st_size
    assert card["scores"]["model"]["passed"] > card["scores"]["nearest_template"]["passed"]
    assert str(card["scores"]["model"]["passed"]) in (folder / "CARD.md").read_text(
        encoding="utf-8"
    )
