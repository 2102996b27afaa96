"""Game time: tick 0 is six in the morning, a day has as many ticks as the scene says."""

from __future__ import annotations

from typing import Final

DAY_TICKS: Final = 24_000
HZ: Final = 20
_MORNING = 6 * 60

TIMES: Final = ("dawn", "morning", "noon", "afternoon", "evening", "night")
_STARTS: Final = ((5, "dawn"), (7, "morning"), (11, "noon"), (14, "afternoon"), (17, "evening"))


def minute(tick: int, day_ticks: int = DAY_TICKS) -> int:
    """Minutes since midnight, 0..1439."""
    return (_MORNING + (tick % day_ticks) * 1440 // day_ticks) % 1440


def hour(tick: int, day_ticks: int = DAY_TICKS) -> int:
    """The hour on the clock, 0..23."""
    return minute(tick, day_ticks) // 60


def day(tick: int, day_ticks: int = DAY_TICKS) -> int:
    """How many midnights have passed since the world began."""
    return (tick + day_ticks // 4) // day_ticks


def time_of_day(tick: int, day_ticks: int = DAY_TICKS) -> str:
    """One of TIMES. Night lasts from nine in the evening to five."""
    now = hour(tick, day_ticks)
    name = "night"
    for start, part in _STARTS:
        if now >= start:
            name = part
    return "night" if now >= 21 else name
