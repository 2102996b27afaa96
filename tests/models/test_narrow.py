"""A narrowed reply model lets through what is offered and nothing else, in every use of its schema."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from models import grammar
from models.errors import ModelError
from models.narrow import NONE, narrowed
from models.prompts import Decision, Orders, tame

Factory = Callable[..., Path]
Hosts = Callable[..., Any]
FIELDS = ("action", "target")
MOMENT = (
    ("flee", "Snarl"), ("flee", "a wolf"), ("attack", "Snarl"), ("attack", "a wolf"),
    ("eat", "the Lantern"), ("rest", NONE), ("wait", NONE),
)  # fmt: skip

names = st.text(min_size=1, max_size=48).map(lambda text: tame(text, 48)).filter(bool)
offers = st.lists(st.tuples(names, names), min_size=1, max_size=12)


@given(offers, st.randoms())
def test_equal_sets_of_pairs_share_one_class_and_so_one_grammar(
    pairs: list[tuple[str, str]], order: Any
) -> None:
    model = narrowed(Decision, FIELDS, pairs)
    other = [*pairs, *pairs]
    order.shuffle(other)
    assert narrowed(Decision, FIELDS, other) is model
    assert list(model.model_fields) == list(Decision.model_fields)
    assert issubclass(model, Decision)


@given(offers)
def test_every_pair_offered_is_valid_and_every_other_is_refused(
    pairs: list[tuple[str, str]],
) -> None:
    model = narrowed(Decision, FIELDS, pairs)
    for pair in product({one for one, _ in pairs}, {other for _, other in pairs} | {NONE}):
        text = json.dumps({**dict(zip(FIELDS, pair, strict=True)), "reason": "so"})
        if pair in pairs:
            assert (made := grammar.parse(text, model)).model_dump()["target"] == pair[1]
            assert len(made.model_dump_json().encode()) <= grammar.longest_tokens(model)
        else:
            with pytest.raises(ModelError):
                grammar.parse(text, model)


@given(offers)
def test_the_json_schema_names_the_pairs_and_nothing_else(pairs: list[tuple[str, str]]) -> None:
    schema = grammar.compile_schema(narrowed(Decision, FIELDS, pairs)).schema
    named = [
        pair
        for part in schema.get("anyOf", [schema])
        for pair in product(*(part["properties"][field]["enum"] for field in FIELDS))
    ]
    assert len(named) == len(set(named))
    assert set(named) == set(pairs)


def test_a_product_of_both_fields_is_one_plain_object() -> None:
    pairs = product(("hold", "retreat"), ("none", "Ann"))
    schema = narrowed(Orders, ("tactic", "focus"), pairs).model_json_schema()
    assert schema["type"] == "object"
    assert schema["properties"]["focus"]["enum"] == ["Ann", "none"]


def test_what_is_not_offered_can_not_be_made_in_python_either() -> None:
    model = narrowed(Decision, FIELDS, MOMENT)
    assert model(action="wait", target=NONE, reason="").target == NONE
    with pytest.raises(ValidationError, match="not offered with"):
        model(action="flee", target=NONE, reason="")
    with pytest.raises(ValidationError, match="literal_error"):
        model(action="flee", target="the moon", reason="")


def test_nothing_offered_is_refused() -> None:
    with pytest.raises(ValueError, match="nothing is offered to a Decision"):
        narrowed(Decision, FIELDS, [])


@given(offers)
def test_llguidance_takes_whatever_is_offered(pairs: list[tuple[str, str]]) -> None:
    guidance = pytest.importorskip("llguidance")
    compiled = grammar.compile_schema(narrowed(Decision, FIELDS, pairs))
    assert guidance.LLMatcher.validate_grammar(compiled.grammar) == ""


@pytest.mark.engine
@pytest.mark.parametrize("vocab", ["bpe", "spm"])
def test_random_weights_name_only_what_is_offered_at_the_first_attempt(
    gguf_factory: Factory, host_factory: Hosts, vocab: str
) -> None:
    from asking import ask, request

    host = host_factory(gguf_factory(vocab=vocab, sharpness=2.0))
    strange = [
        ("greet", "Zoë 狼"),
        ("greet", "back\\slash"),
        ("pay", "🐺 the wolf"),
        ("wait", NONE),
    ]
    asked = []
    for n in range(40):
        # Each time another moment: a foe less, a name of its own, letters that JSON may escape.
        pairs = (*MOMENT[n % 3 :], ("flee", f"wolf {n}")) if n % 4 else strange
        model = narrowed(Decision, FIELDS, pairs)
        question = request(
            f"What now, {n}?",
            schema=model,
            max_tokens=grammar.longest_tokens(model),
            temperature=(0.0, 0.7, 2.0)[n % 3],
            seed=n,
        )
        asked.append((set(pairs), model, ask(host, question)))
    found = set()
    for pairs_, model, recorder in asked:
        parsed = recorder.reply.parsed
        assert isinstance(parsed, model)
        assert (parsed.action, parsed.target) in pairs_
        assert recorder.reply.finish == "stop"
        found.add((parsed.action, parsed.target))
    assert len(found) >= 5
