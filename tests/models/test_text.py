"""Streaming: whatever way the bytes are cut, the pieces join to the same text."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from models.text import TextStream

spoken = st.text(alphabet=st.characters(exclude_categories=["Cs", "Cc"]), max_size=60)


def stream(data: bytes, cuts: list[int], stop: tuple[str, ...], trim: bool) -> tuple[str, bool]:
    assembler = TextStream(stop, trim=trim)
    edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    pieces = [assembler.push(data[a:b]) for a, b in pairwise(edges)]
    return "".join(pieces) + assembler.finish(), assembler.stopped


@given(spoken, st.lists(st.integers(0, 300), max_size=20))
def test_pieces_join_to_the_text_however_the_bytes_are_cut(text: str, cuts: list[int]) -> None:
    assert stream(text.encode(), cuts, (), trim=False) == (text, False)
    assert stream(text.encode(), cuts, (), trim=True) == (text.strip(), False)


@given(spoken, spoken, st.lists(st.integers(0, 300), max_size=20))
def test_nothing_from_a_stop_string_on_is_ever_shown(
    before: str, after: str, cuts: list[int]
) -> None:
    text = f"{before}STOP{after}"
    shown, stopped = stream(text.encode(), cuts, ("STOP", "STONE"), trim=False)
    assert (shown, stopped) == (text[: text.index("STOP")], True)


def test_the_beginning_of_a_stop_string_waits_until_it_is_none() -> None:
    assembler = TextStream(("</s>",))
    assert assembler.push(b"Well </") == "Well"
    assert assembler.push(b"b>") == " </b>"


def test_half_a_character_waits_for_the_rest() -> None:
    assembler = TextStream()
    euro = "€".encode()
    assert assembler.push(euro[:2]) == ""
    assert assembler.push(euro[2:]) == "€"


def test_control_characters_are_dropped() -> None:
    assembler = TextStream()
    assert assembler.push(b"a\x1b[31m\x07b\x9f".replace(b"\x9f", b"\xc2\x9f")) == "a[31mb"
