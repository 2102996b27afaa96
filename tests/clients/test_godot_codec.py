"""The Godot codec reads and writes the same bytes as the Python one, and refuses what it must."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import msgpack
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

pytestmark = pytest.mark.godot

VECTORS = Path(__file__).parents[1] / "vectors"
MAX_DEPTH = 16
MAX_BYTES = 1 << 20


def described(value: Any) -> list[Any]:
    """The value with its types spelled out, as the scenario `codec` does."""
    match value:
        case None:
            return ["nil"]
        case bool():
            return ["bool", value]
        case int():
            return ["int", str(value)]
        case float():
            return ["float", struct.pack("<d", value).hex()]
        case str():
            return ["str", value.encode().hex()]
        case bytes():
            return ["bin", value.hex()]
        case list():
            return ["array", [described(item) for item in value]]
        case dict():
            return ["map", [[described(key), described(item)] for key, item in value.items()]]
    raise AssertionError(f"not a value of the protocol: {value!r}")


def through_godot(
    play: Any, folder: Path, frames: list[bytes], max_depth: int = MAX_DEPTH
) -> list[Any]:
    """What Godot makes of the frames: (described value, encoded again) or the reason of a refusal."""
    given_frames = folder / "frames.json"
    given_frames.write_text(
        json.dumps(
            {
                "max_depth": max_depth,
                "max_bytes": MAX_BYTES,
                "frames": [frame.hex() for frame in frames],
            }
        )
    )
    lines = play("codec", given_frames).finish()
    assert len(lines) == len(frames)
    return [
        line.data["reason"]
        if line.what == "refused"
        else (line.data["value"], bytes.fromhex(line.data["again"]))
        for line in lines
    ]


INDEX = json.loads((VECTORS / "index.json").read_text())


def test_every_message_of_the_protocol_is_read_and_written_byte_for_byte(
    play: Any, tmp_path: Path
) -> None:
    frames = [(VECTORS / f"{vector['name']}.bin").read_bytes() for vector in INDEX["messages"]]

    found = through_godot(play, tmp_path, frames)

    assert len(frames) > 30
    assert found == [(described(msgpack.unpackb(frame)), frame) for frame in frames]


def test_what_is_no_message_is_refused_as_the_vectors_say(play: Any, tmp_path: Path) -> None:
    # A list is sound msgpack: that it is no message is for the connection to say.
    broken = [
        one
        for one in INDEX["refused"]
        if one["name"] != "not a map" and (one["close"] == 4000 or one["code"] == "too_deep")
    ]

    found = through_godot(play, tmp_path, [bytes.fromhex(one["frame"]) for one in broken])

    assert len(broken) > 10
    for vector, outcome in zip(broken, found, strict=True):
        assert isinstance(outcome, str), f"{vector['name']} was taken for {outcome}"


EDGES: list[Any] = [
    None,
    True,
    False,
    *(
        sign * (2**bits + off)
        for bits in (5, 7, 8, 15, 16, 31, 32, 62)
        for off in (-1, 0, 1)
        for sign in (1, -1)
    ),
    2**63 - 1,
    -(2**63),
    0.0,
    -0.0,
    1.5,
    5e-324,
    1.7976931348623157e308,
    "",
    "Ångström, 東京 and 🐺",
    "\ufeffa mark in front",
    *("x" * size for size in (31, 32, 255, 256, 65_535, 65_536)),
    *(b"\x00\xff" * size for size in (0, 1, 127, 128, 32_768)),
    *([7] * size for size in (0, 15, 16, 65_536)),
    {f"key {number}": number for number in range(15)},
    {f"key {number}": number for number in range(16)},
    {
        "t": "delta",
        "d": {"tick": 12, "leave": b"\x01" + bytes(7), "change": {"x": {"i": b"", "v": b""}}},
    },
]


def test_every_form_of_every_type_is_read_and_written_in_its_shortest_form(
    play: Any, tmp_path: Path
) -> None:
    frames = [msgpack.packb(value) for value in EDGES]

    for value, frame, found in zip(
        EDGES, frames, through_godot(play, tmp_path, frames), strict=True
    ):
        assert found == (described(value), frame), repr(value)[:80]


def test_longer_forms_than_needed_are_read_too(play: Any, tmp_path: Path) -> None:
    forms = {
        bytes.fromhex("cc05"): 5,
        bytes.fromhex("cd0005"): 5,
        bytes.fromhex("cf0000000000000005"): 5,
        bytes.fromhex("d3ffffffffffffffff"): -1,
        bytes.fromhex("da000161"): "a",
        bytes.fromhex("db0000000161"): "a",
        bytes.fromhex("c6000000017f"): b"\x7f",
        bytes.fromhex("dd0000000101"): [1],
        bytes.fromhex("df00000001a16101"): {"a": 1},
        bytes.fromhex("ca3fc00000"): 1.5,
    }

    found = through_godot(play, tmp_path, list(forms))

    assert [value for value, _ in found] == [described(value) for value in forms.values()]


def nested(depth: int) -> bytes:
    return b"\x91" * depth + b"\xc0"


REFUSED: dict[str, tuple[bytes, str]] = {
    "an empty frame": (b"", "ends in the middle"),
    "a text cut short": (b"\xa5abc", "ends in the middle"),
    "an array that lies about its size": (bytes.fromhex("dd7fffffff"), "ends in the middle"),
    "a map that lies about its size": (bytes.fromhex("df7fffffff"), "ends in the middle"),
    "bytes that lie about their size": (bytes.fromhex("c6ffffffff"), "ends in the middle"),
    "something after the value": (b"\x01\x01", "follow the message"),
    "the type byte that is never used": (b"\xc1", "0xc1"),
    "an extension type": (bytes.fromhex("d40100"), "extension"),
    "a time stamp": (bytes.fromhex("d6ff00000000"), "extension"),
    "an integer that does not fit": (bytes.fromhex("cf8000000000000000"), "2^63-1"),
    "not a number": (bytes.fromhex("cb7ff8000000000000"), "NaN"),
    "infinity": (bytes.fromhex("ca7f800000"), "NaN"),
    "an overlong text": (b"\xa2\xc0\x80", "UTF-8"),
    "half of a surrogate pair": (b"\xa3\xed\xa0\x80", "UTF-8"),
    "text beyond the last character": (b"\xa4\xf4\x90\x80\x80", "UTF-8"),
    "a lone continuation byte": (b"\xa9aaaaaaaa\x80", "UTF-8"),
    "a text with a NUL": (b"\xa3a\x00b", "NUL"),
    "a key twice": (bytes.fromhex("82a16101a16102"), "twice"),
    "a key that is no text": (bytes.fromhex("810101"), "keys"),
    "nesting that is too deep": (nested(MAX_DEPTH + 1), "deeper"),
    "a frame that is too large": (
        b"\xc6" + MAX_BYTES.to_bytes(4, "big") + bytes(MAX_BYTES),
        "limit",
    ),
}


def test_what_the_protocol_forbids_is_refused_with_its_reason(play: Any, tmp_path: Path) -> None:
    found = through_godot(play, tmp_path, [frame for frame, _ in REFUSED.values()])

    for (name, (_, reason)), outcome in zip(REFUSED.items(), found, strict=True):
        assert isinstance(outcome, str), f"{name} was taken for {outcome}"
        assert reason in outcome, name


def test_nesting_up_to_the_limit_is_read(play: Any, tmp_path: Path) -> None:
    (found,) = through_godot(play, tmp_path, [nested(MAX_DEPTH)])

    assert found[1] == nested(MAX_DEPTH)


texts = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=40)
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts
    | st.binary(max_size=40),
    lambda inner: st.lists(inner, max_size=18) | st.dictionaries(texts, inner, max_size=18),
    max_leaves=8,
)


@given(batch=st.lists(values, min_size=20, max_size=40))
@settings(max_examples=5, deadline=None, suppress_health_check=list(HealthCheck))
def test_any_message_comes_back_byte_for_byte(
    batch: list[Any], play: Any, tmp_path_factory: pytest.TempPathFactory
) -> None:
    frames = [msgpack.packb(value) for value in batch]

    found = through_godot(play, tmp_path_factory.mktemp("frames"), frames)

    assert found == [(described(value), frame) for value, frame in zip(batch, frames, strict=True)]


@given(frames=st.lists(st.binary(max_size=60), min_size=100, max_size=200))
@settings(max_examples=3, deadline=None, suppress_health_check=list(HealthCheck))
def test_any_bytes_are_either_refused_or_read_like_python_reads_them(
    frames: list[bytes], play: Any, tmp_path_factory: pytest.TempPathFactory
) -> None:
    for frame, outcome in zip(
        frames, through_godot(play, tmp_path_factory.mktemp("frames"), frames), strict=True
    ):
        if not isinstance(outcome, str):
            assert outcome[0] == described(msgpack.unpackb(frame))
