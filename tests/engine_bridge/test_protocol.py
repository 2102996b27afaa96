"""The connection core alone: frames and times in, effects out, no socket and no loop."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine_bridge.codec import MsgpackCodec
from engine_bridge.errors import CloseCode
from engine_bridge.protocol import (
    Close,
    Connection,
    Effect,
    Handle,
    Probe,
    Send,
    State,
    short_reason,
)
from engine_bridge.settings import BridgeSettings

CODEC = MsgpackCodec()
HELLO = {"t": "hello", "id": 1, "d": {"client": "c", "sdk": "s"}}


def connection(**changes: Any) -> Connection:
    return Connection(CODEC, BridgeSettings(**changes), now=0.0)


def feed(core: Connection, message: dict[str, Any], now: float = 0.0) -> list[Effect]:
    return core.receive(CODEC.encode(message), now)


def ready(**changes: Any) -> Connection:
    core = connection(**changes)
    feed(core, HELLO)
    core.accept(0.0)
    return core


def ping(number: int) -> dict[str, Any]:
    return {"t": "ping", "id": number, "d": {}}


def error_codes(effects: list[Effect]) -> list[str]:
    return [
        effect.message["d"]["code"]
        for effect in effects
        if isinstance(effect, Send) and effect.message["t"] == "error"
    ]


def closes(effects: list[Effect]) -> list[CloseCode]:
    return [effect.code for effect in effects if isinstance(effect, Close)]


def test_hello_comes_out_first_and_makes_the_connection_ready_once_accepted() -> None:
    core = connection()
    (effect,) = feed(core, HELLO)
    assert isinstance(effect, Handle)
    assert effect.request.t == "hello"
    assert core.state is State.OPENED
    core.accept(0.0)
    assert core.state is State.READY


def test_anything_before_hello_is_answered_not_ready_and_the_connection_lives() -> None:
    core = connection()
    effects = feed(core, ping(7))
    assert error_codes(effects) == ["not_ready"]
    assert effects[0].message["re"] == 7
    assert core.state is State.OPENED


def test_a_second_hello_is_refused() -> None:
    core = ready()
    assert error_codes(feed(core, {**HELLO, "id": 2})) == ["bad_message"]
    assert core.state is State.READY


def test_no_hello_in_time_closes_4002() -> None:
    core = connection(hello_s=5.0)
    assert core.poll(4.9) == []
    assert core.deadline() == 5.0
    assert closes(core.poll(5.0)) == [CloseCode.HELLO_TIMEOUT]
    assert core.state is State.CLOSED


def test_a_frame_that_is_no_msgpack_is_told_and_closes_4000() -> None:
    effects = ready().receive(b"\xc1", 0.0)
    assert error_codes(effects) == ["bad_message"]
    assert closes(effects) == [CloseCode.PROTOCOL]


def test_a_frame_too_large_is_told_and_closes_4006() -> None:
    effects = ready().receive(b"\x00" * (64 * 1024 + 1), 0.0)
    assert error_codes(effects) == ["too_large"]
    assert closes(effects) == [CloseCode.TOO_LARGE]


def test_a_frame_too_deep_or_of_unknown_type_is_told_and_the_connection_lives() -> None:
    core = ready()
    deep: Any = 1
    for _ in range(20):
        deep = [deep]
    assert error_codes(feed(core, {"t": "act", "id": 5, "d": {"x": deep}})) == ["too_deep"]
    effects = feed(core, {"t": "dance", "id": 6, "d": {}})
    assert error_codes(effects) == ["unknown_type"]
    assert effects[0].message["re"] == 6
    assert core.state is State.READY


def test_a_flood_is_warned_with_the_time_to_wait_and_then_closed_4003() -> None:
    core = ready(rate=10.0, burst=5.0, flood=5.0)
    outcomes = [feed(core, ping(n)) for n in range(2, 20)]
    warned = [effects for effects in outcomes if error_codes(effects) == ["rate_limited"]]
    assert warned
    assert all(effects[0].message["d"]["retryable"] for effects in warned)
    assert all(effects[0].message["d"]["retry_after_ms"] > 0 for effects in warned)
    assert sum(closes(effects) == [CloseCode.FLOOD] for effects in outcomes) == 1
    assert core.state is State.CLOSED
    assert feed(core, ping(99)) == []


def test_who_waits_as_long_as_told_is_served_again() -> None:
    core = ready(rate=10.0, burst=3.0, flood=50.0)
    now, warning = 0.0, None
    for n in range(2, 10):
        effects = feed(core, ping(n), now)
        if error_codes(effects):
            warning = effects[0].message["d"]
            break
    assert warning is not None
    now += warning["retry_after_ms"] / 1000
    assert isinstance(feed(core, ping(50), now)[0], Handle)


def test_faulty_frames_count_for_more_than_requests() -> None:
    def survived(message: dict[str, Any]) -> int:
        core = ready(rate=1.0, burst=20.0, flood=20.0)
        for n in range(1000):
            if closes(feed(core, {**message, "id": n + 2})):
                return n
        raise AssertionError("never closed")

    assert survived({"t": "dance", "d": {}}) < survived({"t": "ping", "d": {}})


def test_a_heartbeat_with_the_tick_goes_out_each_interval_with_a_probe() -> None:
    core = ready(heartbeat_s=10.0)
    core.tick = 77
    assert core.poll(9.9) == []
    effects = core.poll(10.0)
    assert effects == [Send({"t": "heartbeat", "d": {"tick": 77}}), Probe()]
    assert core.poll(10.1) == []
    assert core.deadline() == 20.0


def test_silence_for_three_heartbeats_closes_4005() -> None:
    core = ready(heartbeat_s=10.0)
    for now in (10.0, 20.0):
        assert not closes(core.poll(now))
    assert closes(core.poll(30.0)) == [CloseCode.HEARTBEAT]


@pytest.mark.parametrize("sign", ["frame", "pong"])
def test_a_frame_or_a_pong_is_a_sign_of_life(sign: str) -> None:
    core = ready(heartbeat_s=10.0)
    if sign == "frame":
        feed(core, ping(2), 25.0)
    else:
        core.alive(25.0)
    assert not closes(core.poll(54.9))
    assert closes(core.poll(55.0)) == [CloseCode.HEARTBEAT]


def test_a_closed_connection_has_no_deadline_and_does_nothing() -> None:
    core = ready()
    core.refuse(CloseCode.AUTH, "no")
    assert core.deadline() == float("inf")
    assert core.poll(1e9) == []
    assert core.receive(b"\xc1", 0.0) == []


@given(st.text(max_size=200))
def test_a_reason_fits_a_close_frame_and_stays_text(reason: str) -> None:
    short = short_reason(reason)
    assert len(short.encode()) <= 120
    assert reason.startswith(short)


frames = st.one_of(
    st.binary(max_size=60),
    st.builds(
        CODEC.encode,
        st.fixed_dictionaries(
            {
                "t": st.sampled_from(["hello", "ping", "say", "ack", "dance"]),
                "id": st.integers(-1, 5),
                "d": st.dictionaries(
                    st.sampled_from(["client", "sdk", "seq", "to", "text", "key"]),
                    st.integers(-2, 5) | st.text(max_size=5),
                ),
            }
        ),
    ),
)


@settings(max_examples=200)
@given(st.lists(st.tuples(frames, st.floats(0, 3)), max_size=40))
def test_whatever_arrives_whenever_the_core_keeps_its_promises(
    arrivals: list[tuple[bytes, float]],
) -> None:
    core = connection(rate=5.0, burst=5.0, flood=5.0, hello_s=4.0, heartbeat_s=2.0)
    now, hellos, closed = 0.0, 0, 0
    for frame, pause in arrivals:
        now += pause
        for effect in [*core.poll(now), *core.receive(frame, now)]:
            match effect:
                case Handle(request):
                    assert request.t == "hello" or core.state is State.READY
                    assert closed == 0
                    if request.t == "hello":
                        hellos += 1
                        core.accept(now)
                case Close():
                    closed += 1
        assert core.deadline() >= now or closed
    assert hellos <= 1
    assert closed <= 1
    assert (core.state is State.CLOSED) == bool(closed)
