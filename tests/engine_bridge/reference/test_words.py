"""A model's fields are told in words that a reader of the page understands."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from engine_bridge.reference import words
from foundation.strict import StrictModel


class Place(StrictModel):
    """Where it is,
    in tiles.

    More than the page has room for.
    """

    x: int
    y: int


class Order(StrictModel):
    """An order."""

    id: Annotated[int, Field(ge=1, le=2**53 - 1)]
    text: Annotated[str, Field(min_length=1, max_length=400, description="what is said")]
    kind: Literal["now", "later"] = "now"
    target: int | None = None
    at: Place
    path: tuple[tuple[int, int], ...] = ()
    names: dict[str, str]


def test_the_first_paragraph_is_one_line() -> None:
    assert words.first_paragraph(Place) == "Where it is, in tiles."


def test_fields_have_a_type_with_bounds_and_a_note() -> None:
    assert list(words.fields(Order)) == [
        words.Field("id", "int 1…2^53-1", False, ""),
        words.Field("text", "str 1…400", False, "what is said"),
        words.Field("kind", '`"now"` or `"later"`', True, ""),
        words.Field("target", "int", True, ""),
        words.Field("at", "{x: int, y: int}", False, "Where it is, in tiles."),
        words.Field("path", "list of [int, int]", True, ""),
        words.Field("names", "map of str to str", False, ""),
    ]


def test_a_signature_marks_what_may_be_left_out() -> None:
    class Use(StrictModel):
        item: int
        how: Literal["eat", "throw"] = "eat"

    assert words.signature(Use) == "`item` integer, `how`? `eat` or `throw`"
