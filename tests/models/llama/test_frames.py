"""Frames: whole ones come through, everything else is an error or the end."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.llama import frames

values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.text() | st.floats(allow_nan=False),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)  # fmt: skip


@given(st.lists(st.dictionaries(st.text(), values, max_size=4), max_size=4))
def test_what_is_sent_arrives_in_order(contents: list[dict[str, object]]) -> None:
    messages = [{**content, "t": "step"} for content in contents]
    stream = io.BytesIO(b"".join(frames.encode(message) for message in messages))
    assert [frames.read(stream) for _ in messages] == messages
    assert frames.read(stream) is None


@given(st.integers(0, 30))
def test_a_stream_that_ends_within_a_frame_has_ended(kept: int) -> None:
    data = frames.encode({"t": "text", "piece": "x" * 30})
    assert frames.read(io.BytesIO(data[:kept])) is None


@pytest.mark.parametrize(
    "data",
    [
        b"\xff\xff\xff\xff",
        b"\x01\x00\x00\x00\xc1",
        b"\x01\x00\x00\x00\x90",
        b"\x01\x00\x00\x00\x80",
        b"\x04\x00\x00\x00\x81\xa1t\x01",
    ],
    ids=["too long", "no msgpack", "no map", "no kind", "a kind that is no text"],
)
def test_anything_else_is_a_frame_error(data: bytes) -> None:
    with pytest.raises(frames.FrameError):
        frames.read(io.BytesIO(data))


def test_a_message_over_the_limit_is_never_sent() -> None:
    with pytest.raises(frames.FrameError, match="over the limit"):
        frames.encode({"t": "step", "piece": "x" * frames.MAX_FRAME})
