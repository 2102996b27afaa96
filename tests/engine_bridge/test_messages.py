"""Every message has one model; what doesn't fit it is refused with the field's name."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine_bridge.errors import ERROR_MEANINGS, ProtocolError
from engine_bridge.messages import CLIENT, SERVER, parse_request
from world.actions import Attack, Move, Use
from world.content import ContentRequest
from world.inputs import RejectionCode

GOOD: dict[str, dict[str, Any]] = {
    "hello": {"client": "game", "sdk": "sdk 1", "features": ["resume"]},
    "resume": {"token": "abc", "last_seq": 0},
    "join": {"name": "Ann", "key": "k"},
    "leave": {"key": "k"},
    "watch": {"radius": 8},
    "say": {"to": 7, "text": "Good day", "key": "k"},
    "move": {"x": 1, "y": 2, "key": "k"},
    "attack": {"target": 7, "key": "k"},
    "use": {"target": 7, "key": "k"},
    "act": {"action": "wait", "body": {}, "key": "k"},
    "cancel": {"id": 3},
    "inspect": {"entity": 7},
    "content": {"seed": 7, "dimensions": [20, 20]},
    "ack": {"seq": 3},
    "ping": {},
}


def request(t: str, **changes: Any) -> dict[str, Any]:
    body = {key: value for key, value in {**GOOD[t], **changes}.items() if value is not ...}
    message = {"t": t, "id": 1, "d": body}
    if CLIENT[t].anonymous:
        del message["id"]
    return message


def fault(message: dict[str, Any]) -> ProtocolError:
    with pytest.raises(ProtocolError) as caught:
        parse_request(message)
    return caught.value


def test_there_is_an_example_of_every_request() -> None:
    assert set(GOOD) == set(CLIENT)


@pytest.mark.parametrize("t", CLIENT)
def test_a_good_request_is_read_whole(t: str) -> None:
    read = parse_request(request(t))
    assert read.t == t
    assert isinstance(read.body, CLIENT[t].body)


@pytest.mark.parametrize("t", CLIENT)
def test_a_field_that_is_not_declared_is_refused_by_name(t: str) -> None:
    error = fault(request(t, sudo=True))
    assert error.code == "bad_message"
    assert "sudo" in error.message


@pytest.mark.parametrize(
    ("t", "changes", "named"),
    [
        ("say", {"to": "7"}, "to"),
        ("say", {"to": 0}, "to"),
        ("say", {"to": 2**48}, "to"),
        ("say", {"to": True}, "to"),
        ("say", {"text": ""}, "text"),
        ("say", {"text": "x" * 401}, "text"),
        ("say", {"text": "a\x1b[2Jb"}, "text"),
        ("say", {"text": b"hello"}, "text"),
        ("say", {"key": ...}, "key"),
        ("say", {"key": ""}, "key"),
        ("say", {"key": "x" * 65}, "key"),
        ("join", {"name": "x" * 33}, "name"),
        ("join", {"name": "  "}, "name"),
        ("join", {"name": "a\nb"}, "name"),
        ("move", {"x": 1.5}, "x"),
        ("move", {"x": -1}, "x"),
        ("watch", {"radius": 0}, "radius"),
        ("hello", {"features": ["x"] * 33}, "features"),
        ("content", {"seed": -1}, "seed"),
        ("content", {"dimensions": [20]}, "dimensions"),
        ("ack", {"seq": -1}, "seq"),
    ],
)
def test_a_wrong_value_is_refused_and_its_field_named(
    t: str, changes: dict[str, Any], named: str
) -> None:
    error = fault(request(t, **changes))
    assert error.code == "bad_message"
    assert f"`{named}" in error.message


@pytest.mark.parametrize("number", [None, 0, -1, 1.0, "1", True, 2**53])
def test_a_request_needs_a_positive_integer_for_its_id(number: Any) -> None:
    error = fault({"t": "ping", "id": number, "d": {}})
    assert "`id`" in error.message


def test_an_acknowledgement_takes_no_id() -> None:
    assert "no id" in fault({"t": "ack", "id": 1, "d": {"seq": 1}}).message


@pytest.mark.parametrize("t", [None, 7, ["hello"], {}])
def test_a_message_needs_a_type(t: Any) -> None:
    assert fault({"t": t, "id": 1}).code == "bad_message"


def test_an_unknown_type_is_told_which_ones_there_are() -> None:
    error = fault({"t": "teleport", "id": 1, "d": {}})
    assert error.code == "unknown_type"
    assert "say" in error.hint


def test_an_unknown_field_beside_the_body_is_refused() -> None:
    assert "re" in fault({"t": "ping", "id": 1, "d": {}, "re": 1}).message


def test_a_body_that_is_not_a_map_is_refused() -> None:
    assert fault({"t": "ping", "id": 1, "d": [1]}).code == "bad_message"


def test_content_holds_no_binary_values() -> None:
    assert fault(request("content", biome=b"valley")).code == "bad_message"


@given(
    st.dictionaries(
        st.sampled_from(["t", "id", "d", "x"]),
        st.sampled_from([*CLIENT, 1, None, b"", [], {}, {"key": 1}, {"to": 1, "text": 3}]),
    )
)
def test_any_map_is_a_request_or_a_typed_refusal(message: dict[str, Any]) -> None:
    try:
        parse_request(message)
    except ProtocolError as error:
        assert error.code in ("bad_message", "unknown_type")


def test_actions_on_the_wire_are_the_worlds_own_models() -> None:
    for t, model in (("move", Move), ("attack", Attack), ("use", Use)):
        assert issubclass(CLIENT[t].body, model)
    assert CLIENT["content"].body is ContentRequest


def test_every_reply_that_a_request_names_exists() -> None:
    for kind in CLIENT.values():
        for t in kind.replies:
            assert SERVER[t].direction == "reply"


def test_every_rejection_of_the_world_has_a_meaning_on_the_wire() -> None:
    assert set(RejectionCode.__args__) <= set(ERROR_MEANINGS)


@pytest.mark.parametrize(
    "field",
    [{"cache": "always"}, {"backend": "Local"}, {"backend": "a" * 33}, {"cache_scope": "npc:1"}],
)
def test_a_line_takes_no_cache_scope_and_no_word_that_is_none(field: dict[str, str]) -> None:
    said = {"to": 100, "text": "hi", "key": "s"}
    assert parse_request({"t": "say", "id": 1, "d": said}).t == "say"
    with pytest.raises(ProtocolError, match=next(iter(field))):
        parse_request({"t": "say", "id": 1, "d": {**said, **field}})
