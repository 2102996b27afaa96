"""The bounded parts: token bucket, ring of reliable messages, idempotency keys."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine_bridge.bounds import Keys, Ring, TokenBucket, Verdict
from engine_bridge.errors import ProtocolError


def test_a_bucket_takes_a_burst_then_warns_then_closes() -> None:
    bucket = TokenBucket(rate=10, burst=5, flood=3, now=0.0)
    verdicts = [bucket.spend(1, 0.0) for _ in range(10)]
    assert verdicts == [Verdict.TAKE] * 5 + [Verdict.WARN] * 3 + [Verdict.CLOSE] * 2


def test_waiting_as_long_as_the_bucket_says_makes_room_for_one_frame() -> None:
    bucket = TokenBucket(rate=10, burst=1, flood=100, now=0.0)
    bucket.spend(1, 0.0)
    assert bucket.spend(1, 0.0) is Verdict.WARN
    now = bucket.wait_s()
    assert bucket.spend(1, now) is Verdict.TAKE
    assert bucket.spend(1, now) is Verdict.WARN


@given(st.lists(st.tuples(st.floats(0, 2), st.floats(0.1, 3)), max_size=60))
def test_a_bucket_never_takes_more_than_burst_and_rate_allow(
    frames: list[tuple[float, float]],
) -> None:
    bucket = TokenBucket(rate=5, burst=10, flood=1e9, now=0.0)
    now = taken = 0.0
    for pause, cost in frames:
        now += pause
        if bucket.spend(cost, now) is Verdict.TAKE:
            taken += cost
    assert taken <= 10 + 5 * now + 1e-6


def test_a_clock_that_goes_back_gives_nothing_away() -> None:
    bucket = TokenBucket(rate=1, burst=1, flood=10, now=100.0)
    bucket.spend(1, 100.0)
    assert bucket.spend(1, 50.0) is Verdict.WARN


def seqs(ring: Ring, after: int) -> list[int]:
    return [message["seq"] for message in ring.after(after)[0]]


def test_a_ring_numbers_from_one_and_replays_what_was_not_seen() -> None:
    ring = Ring(8, 10_000)
    for n in range(5):
        assert ring.push("event", {"n": n}, 10) == {"t": "event", "seq": n + 1, "d": {"n": n}}
    assert seqs(ring, 2) == [3, 4, 5]
    assert ring.after(2)[1] is False


def test_a_ring_forgets_what_was_acknowledged() -> None:
    ring = Ring(8, 10_000)
    for _ in range(5):
        ring.push("event", {}, 10)
    ring.ack(3)
    assert len(ring) == 2
    ring.ack(1)
    assert seqs(ring, 3) == [4, 5]


@pytest.mark.parametrize(("capacity", "max_bytes"), [(3, 10_000), (100, 30)])
def test_a_full_ring_drops_the_oldest_and_says_that_some_are_lost(
    capacity: int, max_bytes: int
) -> None:
    ring = Ring(capacity, max_bytes)
    for _ in range(5):
        ring.push("event", {}, 10)
    assert seqs(ring, 0) == [3, 4, 5]
    assert ring.after(0)[1] is True
    assert ring.after(2)[1] is False
    assert ring.dropped == 2


def test_acknowledging_what_was_never_sent_is_refused() -> None:
    ring = Ring(8, 10_000)
    ring.push("event", {}, 10)
    with pytest.raises(ProtocolError):
        ring.ack(2)


@given(st.lists(st.integers(0, 40), max_size=80), st.integers(1, 10))
def test_what_a_ring_replays_is_always_the_newest_in_order(acks: list[int], capacity: int) -> None:
    ring = Ring(capacity, 10_000)
    for ack in acks:
        ring.push("event", {}, 1)
        if ack <= ring.last:
            ring.ack(ack)
    kept = seqs(ring, 0)
    assert kept == list(range(ring.last - len(kept) + 1, ring.last + 1))
    assert len(ring) <= capacity


def test_a_key_brings_back_what_was_stored() -> None:
    keys: Keys[str] = Keys(4)
    keys.store("a", "request", "answer")
    assert keys.find("a", "request") == "answer"
    assert keys.find("b", "request") is None


def test_a_key_used_for_another_request_is_refused() -> None:
    keys: Keys[str] = Keys(4)
    keys.store("a", "one", "answer")
    with pytest.raises(ProtocolError, match="another request"):
        keys.find("a", "two")


def test_the_oldest_keys_make_room() -> None:
    keys: Keys[int] = Keys(2)
    for n, key in enumerate("abc"):
        keys.store(key, key, n)
    assert [keys.find(key, key) for key in "abc"] == [None, 1, 2]
    assert len(keys) == 2


def test_a_forgotten_key_is_new_again() -> None:
    keys: Keys[int] = Keys(2)
    keys.store("a", "one", 1)
    keys.forget("a")
    assert keys.find("a", "two") is None


def test_debt_ends_soon_after_the_flood() -> None:
    bucket = TokenBucket(rate=10.0, burst=10.0, flood=5.0, now=0.0)
    for _ in range(10_000):
        bucket.spend(1.0, 0.0)
    assert bucket.spend(1.0, 1.0) is Verdict.TAKE


def test_what_is_refused_without_a_charge_leaves_the_rate_to_the_rest() -> None:
    bucket = TokenBucket(rate=10.0, burst=10.0, flood=0.0, now=0.0)
    taken = sum(bucket.take(1.0, n / 12) for n in range(1200))
    assert 1000 <= taken <= 1011
