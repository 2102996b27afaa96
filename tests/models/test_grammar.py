"""Reply schemas: what is refused, how long a reply can get, and that llguidance agrees."""

from __future__ import annotations

import json
from collections.abc import Callable
from enum import StrEnum
from typing import Annotated, Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field, create_model

from foundation.strict import StrictModel
from models import grammar
from models.errors import ModelError, RequestRefused


class Tactic(StrEnum):
    FLANK = "flank"
    HOLD = "hold"


class Nobody(StrEnum):
    """As an enum of valid targets is when there are none."""


class Focus(StrictModel):
    kind: Literal["player", "wolf"]
    weight: int = Field(ge=-5, lt=100)


class Orders(StrictModel):
    tactic: Tactic
    focus: Focus | None
    path: list[Annotated[int, Field(ge=0, le=9)]] = Field(max_length=3)
    pair: tuple[bool, bool]
    reason: Annotated[str, Field(max_length=12, pattern="^[a-z ]*$")]
    shout: str = Field(max_length=4)


def refused(**fields: Any) -> RequestRefused:
    model = create_model("Loose", __base__=StrictModel, **fields)
    with pytest.raises(RequestRefused) as caught:
        grammar.compile_schema(model)
    return caught.value


@pytest.mark.parametrize(
    ("annotation", "fault"),
    [
        (str, "string without end"),
        (int, "number without bounds"),
        (float, "is a float"),
        (list[bool], "list without end"),
        (Annotated[set[bool], Field(max_length=2)], "is a set"),
        (dict[str, bool], "takes unknown keys"),
        (Any, "may be anything"),
        (Annotated[list[str], Field(max_length=2)], "string without end"),
        (int | None, "number without bounds"),
        (Nobody, "offers nothing to choose"),
        (Annotated[int, Field(ge=5, le=2)], "at least 5 and at most 2"),
        (Annotated[int, Field(ge=0, le=10**30)], "wider than 64 bits"),
        (Annotated[str, Field(min_length=5, max_length=3)], "at least 5 and at most 3 characters"),
        (Annotated[list[bool], Field(min_length=2, max_length=1)], "at most 1 items"),
    ],
)
def test_a_field_without_bounds_is_refused_by_name(annotation: Any, fault: str) -> None:
    error = refused(loose=(annotation, ...))
    assert "Loose.loose" in error.message
    assert fault in error.message
    assert error.hint


def test_a_model_without_a_json_schema_is_refused_by_name() -> None:
    error = refused(act=(Callable[[int], int], ...))
    assert "Loose can't be a reply: it has no JSON Schema" in error.message
    assert error.hint


def test_a_model_that_takes_extras_is_refused() -> None:
    class Open(BaseModel):
        model_config = ConfigDict(extra="allow")
        yes: bool

    with pytest.raises(RequestRefused, match="unknown keys"):
        grammar.compile_schema(Open)


class Tree(StrictModel):
    child: Tree | None


def test_a_model_that_contains_itself_is_refused() -> None:
    with pytest.raises(RequestRefused, match="contains itself"):
        grammar.compile_schema(Tree)


def test_a_model_nested_too_deep_is_refused() -> None:
    inner: type[BaseModel] = create_model("L0", __base__=StrictModel, yes=(bool, ...))
    for depth in range(1, grammar.MAX_DEPTH + 1):
        inner = create_model(f"L{depth}", __base__=StrictModel, down=(inner, ...))
    with pytest.raises(RequestRefused, match="nested deeper"):
        grammar.compile_schema(inner)


def test_a_schema_whose_longest_reply_does_not_fit_is_refused_at_registration() -> None:
    longest = grammar.longest_tokens(Orders)
    assert grammar.register(Orders, longest).longest == longest
    with pytest.raises(RequestRefused, match=f"takes {longest} tokens, more than {longest - 1}"):
        grammar.register(Orders, longest - 1)


words = st.text(alphabet="abcdefghij ", max_size=12)
shouts = st.text(alphabet=st.characters(min_codepoint=0xAC00, max_codepoint=0xD7A3), max_size=4)
orders = st.builds(
    Orders,
    tactic=st.sampled_from(Tactic),
    focus=st.none()
    | st.builds(
        Focus, kind=st.sampled_from(["player", "wolf"]), weight=st.integers(-5, 99)
    ),
    path=st.lists(st.integers(0, 9), max_size=3),
    pair=st.tuples(st.booleans(), st.booleans()),
    reason=words,
    shout=shouts,
)  # fmt: skip


@given(orders)
def test_no_reply_is_longer_than_the_bound_and_each_parses_back(made: Orders) -> None:
    text = made.model_dump_json()
    assert len(text.encode()) <= grammar.longest_tokens(Orders)
    assert grammar.parse(text, Orders) == made


def test_the_longest_reply_reaches_the_bound() -> None:
    made = Orders(
        tactic=Tactic.FLANK,
        focus=Focus(kind="player", weight=-5),
        path=[0, 1, 2],
        pair=(False, False),
        reason="a" * 12,
        shout="한" * 4,
    )
    spare = grammar.longest_tokens(Orders) - len(made.model_dump_json().encode())
    # An int of up to two digits may spend a third byte on nothing; a digit, one on "-0".
    assert 0 <= spare <= 3


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("", "the reply"),
        ("{}", "tactic"),
        ('{"tactic":"dance"}', "tactic"),
        ("null", "the reply"),
    ],
)
def test_a_reply_that_does_not_fit_names_where(text: str, where: str) -> None:
    with pytest.raises(ModelError) as caught:
        grammar.parse(text, Orders)
    assert where in caught.value.message
    assert "Orders" in caught.value.message


@pytest.mark.engine
def test_llguidance_takes_every_feature_of_the_grammar() -> None:
    guidance = pytest.importorskip("llguidance")
    compiled = grammar.compile_schema(Orders)
    assert guidance.LLMatcher.validate_grammar(compiled.grammar) == ""
    assert json.loads(compiled.grammar)["grammars"][0]["json_schema"]["required"] == list(
        Orders.model_fields
    )
