"""The bounded parts of a connection: token bucket, ring of reliable messages, idempotency keys."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any, Generic, TypeVar

from engine_bridge.errors import ProtocolError


class Verdict(Enum):
    """What to do with a frame that has just arrived."""

    TAKE = "take"
    WARN = "warn"
    CLOSE = "close"


class TokenBucket:
    """Refills at `rate` tokens a second up to `burst`; debt beyond `flood` ends the connection.

    Times are seconds of any monotonic clock, given by the caller.
    """

    def __init__(self, rate: float, burst: float, flood: float, now: float) -> None:
        self._rate = rate
        self._burst = burst
        self._flood = flood
        self._tokens = burst
        self._since = now

    def take(self, cost: float, now: float) -> bool:
        """Pay for one frame if it can be paid; one that is refused costs nothing."""
        self._refill(now)
        enough = self._tokens >= cost
        if enough:
            self._tokens -= cost
        return enough

    def spend(self, cost: float, now: float) -> Verdict:
        """Pay for one frame. A refused frame is paid for too, so flooding runs into debt."""
        self._refill(now)
        # Debt beyond the flood would only outlast it.
        self._tokens = max(self._tokens - cost, -self._flood - 1.0)
        if self._tokens >= 0:
            return Verdict.TAKE
        return Verdict.CLOSE if self._tokens < -self._flood else Verdict.WARN

    def _refill(self, now: float) -> None:
        elapsed = max(0.0, now - self._since)
        self._tokens = min(self._burst, self._tokens + elapsed * self._rate)
        self._since = now

    def wait_s(self) -> float:
        """Seconds until a frame of cost 1 is taken again."""
        return max(0.0, (1.0 - self._tokens) / self._rate)


@dataclass(frozen=True, slots=True)
class _Kept:
    seq: int
    message: dict[str, Any]
    size: int


class Ring:
    """The reliable messages of a session: numbered from 1, kept until acknowledged or pushed out."""

    def __init__(self, capacity: int, max_bytes: int) -> None:
        self._capacity = capacity
        self._max_bytes = max_bytes
        self._kept: deque[_Kept] = deque()
        self._bytes = 0
        self.last = 0
        self.acked = 0
        self.dropped = 0

    def __len__(self) -> int:
        return len(self._kept)

    def push(self, t: str, d: dict[str, Any], size: int) -> dict[str, Any]:
        """Number a message of about `size` bytes and keep it; the oldest makes room."""
        self.last += 1
        message = {"t": t, "seq": self.last, "d": d}
        self._kept.append(_Kept(self.last, message, size))
        self._bytes += size
        while len(self._kept) > self._capacity or self._bytes > self._max_bytes:
            self._drop()
            self.dropped += 1
        return message

    def ack(self, seq: int) -> None:
        """Forget everything up to `seq`. Raises `ProtocolError` for what was never sent."""
        if seq > self.last:
            raise ProtocolError("bad_message", f"ack of {seq}, but the last sent is {self.last}")
        self.acked = max(self.acked, seq)
        while self._kept and self._kept[0].seq <= self.acked:
            self._drop()

    def after(self, seq: int) -> tuple[list[dict[str, Any]], bool]:
        """The messages after `seq`, in order, and whether some of them were pushed out."""
        found = [kept.message for kept in self._kept if kept.seq > seq]
        return found, self.last - seq > len(found)

    def _drop(self) -> None:
        self._bytes -= self._kept.popleft().size


Value = TypeVar("Value")


class Keys(Generic[Value]):
    """Idempotency keys of a session with what became of each; the oldest finished makes room.

    A key belongs to one request: used for another, it is refused. `finished` tells whether a value is;
    where none is, the oldest goes.
    """

    def __init__(
        self, capacity: int, finished: Callable[[Value], bool] = lambda value: True
    ) -> None:
        self._capacity = capacity
        self._finished = finished
        self._entries: OrderedDict[str, tuple[Any, Value]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def find(self, key: str, request: object) -> Value | None:
        """What was stored for `key`, None when it is new. Raises `ProtocolError` on a mix-up."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        if entry[0] != request:
            raise ProtocolError(
                "bad_message",
                f"the key {key[:40]!r} was used for another request",
                "give each new request a new key",
            )
        return entry[1]

    def store(self, key: str, request: object, value: Value) -> None:
        """Remember `value` for `key`."""
        self._entries[key] = (request, value)
        self._entries.move_to_end(key)
        while len(self._entries) > self._capacity:
            over = (k for k, (_, kept) in self._entries.items() if self._finished(kept))
            self._entries.pop(next(over, next(iter(self._entries))))

    def forget(self, key: str) -> None:
        """Let the key be used again, as after an error that invites a retry."""
        self._entries.pop(key, None)
