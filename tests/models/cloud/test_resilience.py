"""Politeness and calm, without waiting: every clock is the test's."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.cloud.resilience import Breaker, Retry, TokenBucket


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@given(st.floats(1, 600), st.integers(1, 10), st.lists(st.floats(0, 30), min_size=1, max_size=40))
def test_no_window_holds_more_calls_than_the_rate_and_the_burst(
    per_minute: float, burst: int, pauses: list[float]
) -> None:
    clock = Clock()
    bucket = TokenBucket(per_minute, burst, clock)
    made: list[float] = []
    for pause in pauses:
        clock.now += pause
        made.append(clock.now + bucket.take())
    made.sort()
    for first, begun in enumerate(made):
        for last in range(first, len(made)):
            window = made[last] - begun
            assert last - first + 1 <= burst + window * per_minute / 60 + 1e-6


def test_a_call_that_was_not_made_takes_nothing() -> None:
    bucket = TokenBucket(60, 1, Clock())
    assert bucket.take() == 0.0
    assert bucket.take() == pytest.approx(1.0)
    bucket.give_back()
    assert bucket.take() == pytest.approx(1.0)


def test_a_bucket_needs_a_rate() -> None:
    with pytest.raises(ValueError, match="rate"):
        TokenBucket(0, 1)


def test_a_breaker_opens_rests_and_lets_one_call_decide() -> None:
    clock = Clock()
    breaker = Breaker(failures=5, rest_s=30, clock=clock)
    for _ in range(4):
        assert breaker.allow()
        breaker.fail()
    assert breaker.state == "closed"
    breaker.fail()
    assert (breaker.state, breaker.allow()) == ("open", False)
    clock.now = 30
    assert breaker.state == "half open"
    assert [breaker.allow(), breaker.allow()] == [True, False]
    breaker.fail()
    assert (breaker.state, breaker.allow()) == ("open", False)
    clock.now = 60
    assert breaker.allow()
    breaker.succeed()
    assert (breaker.state, breaker.allow(), breaker.allow()) == ("closed", True, True)


def test_a_withdrawn_trial_leaves_the_place_to_the_next() -> None:
    clock = Clock()
    breaker = Breaker(failures=1, rest_s=1, clock=clock)
    breaker.fail()
    clock.now = 1
    assert breaker.allow()
    breaker.abandon()
    assert breaker.allow()


def test_an_answer_in_between_makes_failures_count_anew() -> None:
    breaker = Breaker(failures=2)
    for _ in range(5):
        breaker.fail()
        breaker.succeed()
    assert breaker.state == "closed"


@given(st.integers(1, 2), st.floats(0, 1), st.floats(0.0, 100))
def test_pauses_grow_jitter_and_never_reach_the_deadline(
    attempt: int, chance: float, left: float
) -> None:
    retry = Retry(attempts=3, first_s=0.5, most_s=8, chance=lambda: chance)
    pause = retry.pause(attempt, left)
    if pause is None:
        assert left <= 0.5 * attempt
    else:
        assert 0 <= pause <= 0.5 * attempt
        assert pause < left
        assert pause == pytest.approx(chance * 0.5 * attempt)


def test_what_the_service_asks_for_goes_before_the_own_pace() -> None:
    retry = Retry(attempts=3)
    assert retry.pause(1, 10.0, asked_s=7.0) == 7.0
    assert retry.pause(1, 5.0, asked_s=7.0) is None
    assert retry.pause(3, 100.0, asked_s=0.0) is None
