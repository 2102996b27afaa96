"""A thinking model's reasoning is never spoken and never endless."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.llama.thinking import MARKS, Reasoning


def spoken(reasoning: Reasoning, pieces: list[bytes]) -> bytes:
    return b"".join(reasoning.push(piece) for piece in pieces) + reasoning.finish()


def test_a_thought_is_left_out_and_what_follows_is_spoken() -> None:
    pieces = [b"\n", b"<th", b"ink>", b"The wolf", b" is near.</thi", b"nk>", b"\n\nRun", b"!"]
    assert spoken(Reasoning(99), pieces) == b"\n\nRun!"


def test_a_thought_that_the_prompt_began_is_left_out() -> None:
    assert (
        spoken(Reasoning(99, mark=b"<think>"), [b"Hm.", b"</think>", b"Good day."]) == b"Good day."
    )


@given(st.lists(st.binary(min_size=1, max_size=4), max_size=20))
def test_speech_without_a_thought_passes_unchanged(pieces: list[bytes]) -> None:
    text = b"".join(pieces)
    if not text.lstrip().startswith((b"<think>", b"<thinking>")):
        assert spoken(Reasoning(99), pieces) == text


@pytest.mark.parametrize("mark", list(MARKS))
def test_each_mark_is_closed_by_its_own(mark: bytes) -> None:
    close = MARKS[mark]
    pieces = [mark, b"</", b"thin", b"k or thinking", close[:4], close[4:], b"Go!"]
    assert spoken(Reasoning(99), pieces) == b"Go!"


def test_where_none_may_be_a_thought_is_closed_as_soon_as_it_is_opened() -> None:
    reasoning = Reasoning(0)
    assert [reasoning.push(piece) for piece in (b"\n", b"<th", b"ink")] == [b"", b"", b""]
    assert not reasoning.long
    assert reasoning.push(b">") == b"" and reasoning.long
    reasoning.close(3)
    assert not reasoning.long
    assert (reasoning.push(b"Good day."), reasoning.tokens) == (b"Good day.", 7)


def test_speech_counts_nothing_as_thought() -> None:
    reasoning = Reasoning(9)
    assert spoken(reasoning, [b"<", b"th", b"at>"]) == b"<that>"
    assert reasoning.tokens == 0


def test_what_may_be_no_thought_counts_as_spoken() -> None:
    reasoning = Reasoning(8)
    for piece in (b" ", b"<th", b"ink"):
        assert (reasoning.push(piece), reasoning.tokens) == (b"", 0)
    assert (reasoning.push(b">"), reasoning.tokens) == (b"", 4)


@given(st.integers(1, 9))
def test_a_thought_is_long_once_it_has_taken_its_tokens(most: int) -> None:
    reasoning = Reasoning(most)
    reasoning.push(b"<think>")
    while not reasoning.long:
        reasoning.push(b" hm")
    assert reasoning.tokens == most
    assert reasoning.push(b"</think> Yes.") == b" Yes."
    assert not reasoning.long


@pytest.mark.parametrize("pieces", [[b"<think>", b"never ends"], []])
def test_an_unfinished_thought_is_not_spoken(pieces: list[bytes]) -> None:
    assert spoken(Reasoning(99), pieces) == b""
