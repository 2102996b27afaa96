"""Frames are strict and bounded: what is no message is refused with a code, whatever the bytes."""

from __future__ import annotations

import json

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine_bridge.codec import JsonCodec, MsgpackCodec, codecs
from engine_bridge.errors import CloseCode, ProtocolError

MSGPACK = MsgpackCodec()
JSON = JsonCodec()
BOTH = (MSGPACK, JSON)

text = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=12)
names = text.filter(lambda key: key != "$bin")
plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | text
    | st.binary(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(names, inner, max_size=4),
    max_leaves=20,
)
messages = st.dictionaries(names, plain, max_size=5)


def refusal(codec: MsgpackCodec | JsonCodec, frame: bytes | str) -> ProtocolError:
    with pytest.raises(ProtocolError) as caught:
        codec.decode(frame)
    return caught.value


def nested(depth: int) -> dict[str, object]:
    value: object = 1
    for _ in range(depth - 1):
        value = [value]
    return {"t": value}


@given(messages)
def test_a_message_survives_both_encodings_unchanged(message: dict[str, object]) -> None:
    for codec in BOTH:
        assert codec.decode(codec.encode(message)) == message


@settings(max_examples=300)
@given(st.binary(max_size=200))
def test_any_bytes_are_a_message_or_a_typed_refusal(frame: bytes) -> None:
    try:
        assert isinstance(MSGPACK.decode(frame), dict)
    except ProtocolError as error:
        assert error.code in ("bad_message", "too_deep")


@settings(max_examples=300)
@given(st.text(max_size=200) | st.text(alphabet='{}[]":,0123456789eE+-.\\u tfn', max_size=60))
def test_any_text_is_a_message_or_a_typed_refusal(frame: str) -> None:
    try:
        assert isinstance(JSON.decode(frame), dict)
    except ProtocolError as error:
        assert error.code in ("bad_message", "too_deep")


@given(messages, st.data())
def test_a_damaged_frame_never_raises_anything_untyped(
    message: dict[str, object], data: st.DataObject
) -> None:
    frame = bytearray(MSGPACK.encode(message))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(frame) - 1))
        frame[at] = data.draw(st.integers(0, 255))
    try:
        MSGPACK.decode(bytes(frame))
    except ProtocolError as error:
        assert error.code in ("bad_message", "too_deep", "too_large")


@pytest.mark.parametrize(
    ("name", "frame"),
    [
        ("nothing", b""),
        ("a reserved byte", b"\xc1"),
        ("half a map", b"\x81\xa1a"),
        ("something after the map", b"\x80\x00"),
        ("a list", b"\x90"),
        ("a number", b"\x07"),
        ("an integer as a key", b"\x81\x01\x02"),
        ("bytes as a key", b"\x81\xc4\x01a\x01"),
        ("a key twice", b"\x82\xa1a\x01\xa1a\x02"),
        ("an extension", b"\x81\xa1a\xd4\x01\x00"),
        ("a timestamp", b"\x81\xa1a\xd6\xff\x00\x00\x00\x01"),
        ("a string that is not UTF-8", b"\x81\xa1a\xa2\xff\xff"),
        ("a surrogate in UTF-8", b"\x81\xa1a\xa3\xed\xa0\x80"),
        ("not a number", b"\x81\xa1a\xcb\x7f\xf8\x00\x00\x00\x00\x00\x00"),
        ("infinity", b"\x81\xa1a\xca\x7f\x80\x00\x00"),
        ("an integer beyond 64 bits with its sign", b"\x81\xa1a\xcf\x80" + bytes(7)),
        ("a NUL in text", b"\x81\xa1a\xa1\x00"),
        ("a map that claims four thousand million entries", b"\xdf\xff\xff\xff\xff"),
        ("a text frame", '{"t":"ping"}'),
    ],
)
def test_msgpack_that_is_no_message_closes_the_connection(name: str, frame: bytes | str) -> None:
    error = refusal(MSGPACK, frame)
    assert (error.code, error.close) == ("bad_message", CloseCode.PROTOCOL), name


@pytest.mark.parametrize(
    ("name", "frame"),
    [
        ("nothing", ""),
        ("a list", "[]"),
        ("half a map", '{"a":'),
        ("two maps", "{}{}"),
        ("a key twice", '{"a":1,"a":2}'),
        ("not a number", '{"a":NaN}'),
        ("infinity", '{"a":-Infinity}'),
        ("a float beyond all bounds", '{"a":1e999}'),
        ("an integer beyond 64 bits", '{"a":9223372036854775808}'),
        ("a NUL", '{"a":"\\u0000"}'),
        ("an integer of ten thousand digits", '{"a":' + "9" * 10_000 + "}"),
        ("a lone surrogate", '{"a":"\\ud800"}'),
        ("a lone surrogate in a key", '{"\\udfff":1}'),
        ("bytes that are not base64", '{"a":{"$bin":"*"}}'),
        ("bytes that are not text", '{"a":{"$bin":7}}'),
        ("bytes for a frame", '{"$bin":""}'),
        ("a binary frame", b"{}"),
    ],
)
def test_json_that_is_no_message_closes_the_connection(name: str, frame: bytes | str) -> None:
    error = refusal(JSON, frame)
    assert (error.code, error.close) == ("bad_message", CloseCode.PROTOCOL), name


@pytest.mark.parametrize("codec", BOTH, ids=lambda codec: codec.subprotocol)
def test_sixteen_levels_are_taken_and_seventeen_refused(codec: MsgpackCodec | JsonCodec) -> None:
    assert codec.decode(codec.encode(nested(16))) == nested(16)
    error = refusal(codec, codec.encode(nested(17)))
    assert (error.code, error.close) == ("too_deep", None)


@pytest.mark.parametrize("levels", [1_000, 30_000])
def test_nesting_beyond_the_decoders_own_stack_is_too_deep_as_well(levels: int) -> None:
    assert refusal(MSGPACK, b"\x81\xa1a" + b"\x91" * levels + b"\x01").code == "too_deep"
    assert refusal(JSON, '{"a":' + "[" * levels + "]" * levels + "}").code == "too_deep"


@pytest.mark.parametrize("codec", BOTH, ids=lambda codec: codec.subprotocol)
def test_a_frame_of_exactly_the_limit_is_taken_and_one_byte_more_refused(
    codec: MsgpackCodec | JsonCodec,
) -> None:
    def frame(size: int) -> bytes | str:
        text = "x" * size
        while len(codec.encode({"t": text})) > size:
            text = text[:-1]
        return codec.encode({"t": text})

    assert codec.decode(frame(64 * 1024))
    error = refusal(codec, frame(64 * 1024 + 1))
    assert (error.code, error.close) == ("too_large", CloseCode.TOO_LARGE)


def test_json_counts_bytes_not_characters() -> None:
    frame = json.dumps({"t": "ü" * 40_000}, ensure_ascii=False)
    assert len(frame) < 64 * 1024
    assert refusal(JSON, frame).code == "too_large"


@pytest.mark.parametrize("value", [2**64, -(2**63) - 1, object(), {1, 2}])
def test_what_cannot_be_written_is_a_value_error(value: object) -> None:
    with pytest.raises(ValueError):
        MSGPACK.encode({"a": value})


def test_json_refuses_to_write_what_is_not_finite() -> None:
    with pytest.raises(ValueError):
        JSON.encode({"a": float("nan")})


def test_bytes_are_base64_under_one_key_in_json() -> None:
    assert JSON.encode({"a": b"\x00\xff"}) == '{"a":{"$bin":"AP8="}}'


def test_msgpack_writes_bytes_as_bin_and_text_as_str() -> None:
    assert MSGPACK.encode({"a": b"x"}) == b"\x81\xa1a\xc4\x01x"
    assert msgpack.unpackb(MSGPACK.encode({"a": "x"})) == {"a": "x"}


def test_msgpack_is_the_preferred_encoding() -> None:
    assert list(codecs()) == ["greenroom.v1.msgpack", "greenroom.v1.json"]
