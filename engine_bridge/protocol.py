"""The connection as a state machine without I/O: frames and times in, effects out.

A connection is `opened` until hello is accepted, `ready` until it ends, then `closed`. The caller
feeds frames and asks `poll` when `deadline` has come; it carries out the effects in order.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from math import ceil
from typing import Any

from engine_bridge.bounds import TokenBucket, Verdict
from engine_bridge.codec import Codec
from engine_bridge.errors import HINTS, RETRYABLE, CloseCode, ProtocolError
from engine_bridge.messages import Request, parse_request, request_id
from engine_bridge.settings import BridgeSettings

_BYTES_A_TOKEN = 4096
_REASON_BYTES = 120
_MISSED_HEARTBEATS = 3
_FAULT_COST = 4.0


class State(Enum):
    """Where a connection is in its life."""

    OPENED = "opened"
    READY = "ready"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class Send:
    """Send this message to the client."""

    message: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Handle:
    """Do what the client asks and reply to `request.id`."""

    request: Request


@dataclass(frozen=True, slots=True)
class Probe:
    """Send a WebSocket ping; call `alive` when its pong arrives."""


@dataclass(frozen=True, slots=True)
class Close:
    """Send what waits, say goodbye and close."""

    code: CloseCode
    reason: str


Effect = Send | Handle | Probe | Close


def error_message(
    re: int | None, code: str, message: str, hint: str = "", retry_after_ms: int = 0
) -> dict[str, Any]:
    """The wire's error. `re` is left out when the request it answers can't be told."""
    out: dict[str, Any] = {"t": "error"}
    if re is not None:
        out["re"] = re
    out["d"] = {
        "code": code,
        "message": message,
        "retryable": code in RETRYABLE,
        "retry_after_ms": retry_after_ms,
        "hint": hint or HINTS.get(code, ""),
    }
    return out


def short_reason(reason: str) -> str:
    """At most 120 bytes of UTF-8: a close frame holds no more."""
    return reason.encode()[:_REASON_BYTES].decode(errors="ignore")


class Connection:
    """One client's connection. Times are seconds of a monotonic clock that the caller reads.

    The first request that comes out is always hello; call `accept` when it was answered with
    welcome, `refuse` when it wasn't.
    """

    def __init__(self, codec: Codec, settings: BridgeSettings, now: float) -> None:
        self.codec = codec
        self.state = State.OPENED
        self.tick = 0
        self._settings = settings
        self._bucket = TokenBucket(settings.rate, settings.burst, settings.flood, now)
        self._hello_due = now + settings.hello_s
        self._hello_taken = False
        self._heard = now
        self._beat_due = now + settings.heartbeat_s

    def receive(self, frame: bytes | str, now: float) -> list[Effect]:
        """What a frame leads to. Never raises for what a client sends."""
        if self.state is State.CLOSED:
            return []
        self._heard = now
        verdict = self._bucket.spend(1.0 + len(frame) / _BYTES_A_TOKEN, now)
        if verdict is Verdict.CLOSE:
            return [self._close(CloseCode.FLOOD, "too many frames")]
        try:
            message = self.codec.decode(frame)
        except ProtocolError as error:
            return self._fault(error, None, now)
        re = request_id(message)
        if verdict is Verdict.WARN:
            wait_ms = ceil(self._bucket.wait_s() * 1000)
            return [Send(error_message(re, "rate_limited", "too many frames", "", wait_ms))]
        try:
            return [Handle(self._admit(parse_request(message)))]
        except ProtocolError as error:
            return self._fault(error, re, now)

    def accept(self, now: float) -> None:
        """Hello was answered with welcome: the connection is ready."""
        if self.state is State.OPENED:
            self.state = State.READY
            self._beat_due = now + self._settings.heartbeat_s

    def refuse(self, code: CloseCode, reason: str) -> Close:
        """End the connection for a reason found outside this core."""
        return self._close(code, reason)

    def alive(self, now: float) -> None:
        """The client gave a sign of life that was no frame: a pong."""
        self._heard = now

    def deadline(self) -> float:
        """When `poll` wants to be called next; infinity once closed."""
        if self.state is State.CLOSED:
            return float("inf")
        if self.state is State.OPENED:
            return self._hello_due
        return min(self._beat_due, self._lost_at())

    def poll(self, now: float) -> list[Effect]:
        """What the passing of time leads to."""
        if self.state is State.CLOSED:
            return []
        if self.state is State.OPENED:
            if now < self._hello_due:
                return []
            return [self._close(CloseCode.HELLO_TIMEOUT, "hello did not come in time")]
        if now >= self._lost_at():
            return [self._close(CloseCode.HEARTBEAT, "no sign of life from the client")]
        if now < self._beat_due:
            return []
        self._beat_due = now + self._settings.heartbeat_s
        return [Send({"t": "heartbeat", "d": {"tick": self.tick}}), Probe()]

    def _lost_at(self) -> float:
        return self._heard + _MISSED_HEARTBEATS * self._settings.heartbeat_s

    def _admit(self, request: Request) -> Request:
        if request.t == "hello":
            if self._hello_taken:
                raise ProtocolError("bad_message", "hello comes once")
            self._hello_taken = True
        elif self.state is State.OPENED:
            raise ProtocolError("not_ready", f"{request.t} before welcome", "send hello first")
        return request

    def _fault(self, error: ProtocolError, re: int | None, now: float) -> list[Effect]:
        effects: list[Effect] = [Send(error_message(re, error.code, error.message, error.hint))]
        # Faults cost the server more than requests do, so they count for more.
        if self._bucket.spend(_FAULT_COST, now) is Verdict.CLOSE:
            return [self._close(CloseCode.FLOOD, "too many faulty frames")]
        if error.close is not None:
            effects.append(self._close(error.close, error.message))
        return effects

    def _close(self, code: CloseCode, reason: str) -> Close:
        self.state = State.CLOSED
        return Close(code, short_reason(reason))
