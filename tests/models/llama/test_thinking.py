"""A thinking model's reasoning is never spoken and never endless."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.llama.thinking import Reasoning


def spoken(reasoning: Reasoning, pieces: list[bytes]) -> bytes:
    return b"".join(reasoning.push(piece) for piece in pieces) + reasoning.finish()


def test_a_thought_is_left_out_and_what_follows_is_spoken() -> None:
    pieces = [b"\n", b"<th", b"ink>", b"The wolf", b" is near.</thi", b"nk>", b"\n\nRun", b"!"]
    assert spoken(Reasoning(99), pieces) == b"\n\nRun!"


def test_a_thought_that_the_prompt_began_is_left_out() -> None:
    assert spoken(Reasoning(99, begun=True), [b"Hm.", b"</think>", b"Good day."]) == b"Good day."


@given(st.lists(st.binary(min_size=1, max_size=4), max_size=20))
def test_speech_without_a_thought_passes_unchanged(pieces: list[bytes]) -> None:
    text = b"".join(pieces)
    if not text.lstrip().startswith(b"<think>"):
        assert spoken(Reasoning(99), pieces) == text


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
