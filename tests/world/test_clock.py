"""Game time."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from world import clock


@pytest.mark.parametrize(
    ("tick", "hour", "name"),
    [
        (0, 6, "dawn"),
        (999, 6, "dawn"),
        (1_000, 7, "morning"),
        (6_000, 12, "noon"),
        (8_000, 14, "afternoon"),
        (12_000, 18, "evening"),
        (15_000, 21, "night"),
        (18_000, 0, "night"),
        (22_999, 4, "night"),
        (23_000, 5, "dawn"),
        (24_000, 6, "dawn"),
    ],
)
def test_a_day_has_its_times(tick: int, hour: int, name: str) -> None:
    assert clock.hour(tick) == hour
    assert clock.time_of_day(tick) == name


def test_a_day_passes_at_midnight() -> None:
    assert clock.day(17_999) == 0
    assert clock.day(18_000) == 1
    assert clock.day(18_000 + 24_000) == 2


@given(st.integers(0, 2**40), st.integers(240, 10**6))
def test_every_tick_has_a_time_and_days_repeat(tick: int, length: int) -> None:
    assert clock.time_of_day(tick, length) in clock.TIMES
    assert 0 <= clock.minute(tick, length) < 1440
    assert clock.minute(tick + length, length) == clock.minute(tick, length)
