"""The newest answers' times, by class."""

from __future__ import annotations

from models.latency import KEPT, Latencies
from models.request import Priority, Reply


def reply(first_s: float, total_s: float, tokens: int) -> Reply:
    return Reply(1, "", "", completion_tokens=tokens, first_token_s=first_s, total_s=total_s)


def test_times_are_told_by_class_in_milliseconds() -> None:
    times = Latencies()
    for n in range(1, 101):
        times.note(Priority.SPEECH, reply(n / 1000, n / 1000 + 0.09, 10))
    times.note(Priority.BATTLE, reply(0.5, 0.5, 1))
    told = times.status()
    assert told["speech"] == {
        "first_token_p50_ms": 50.5, "first_token_p95_ms": 95.05,
        "token_p50_ms": 10.0, "token_p95_ms": 10.0,
    }  # fmt: skip
    assert told["battle"] == {"first_token_p50_ms": 500.0, "first_token_p95_ms": 500.0}
    assert set(told) == {"speech", "battle"}


def test_only_the_newest_count() -> None:
    times = Latencies()
    for _ in range(KEPT):
        times.note(Priority.NEAR, reply(9.0, 9.0, 1))
    for _ in range(KEPT):
        times.note(Priority.NEAR, reply(0.001, 0.001, 1))
    assert times.status()["near"]["first_token_p95_ms"] == 1.0
