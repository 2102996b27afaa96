"""Ticks and moments in words."""

from __future__ import annotations

from greenroom.report.run import EventRow
from world.clock import day, minute


def clock(tick: int, day_ticks: int) -> str:
    """Return a tick as "day 3, 14:05"; the world's first day is day 1."""
    now = minute(tick, day_ticks)
    return f"day {day(tick, day_ticks) + 1}, {now // 60:02d}:{now % 60:02d}"


def told(moment: EventRow) -> str:
    """Return a moment as a short clause: "Little Thaw killed a deer"."""
    who, whom = moment.who or "someone", moment.whom
    if moment.kind == "died":
        return f"{whom} killed {who}" if whom else f"{who} died"
    if moment.kind == "downed":
        return f"{whom} felled {who}" if whom else f"{who} fell"
    if moment.kind == "recovered":
        return f"{who} recovered"
    if moment.kind == "dam_broken":
        return f"{who} broke the dam"
    if moment.kind == "order":
        return f"a group was sent at {whom}" if whom else "a group was ordered anew"
    return f"{who} {moment.kind.replace('_', ' ')}" + (f" ({whom})" if whom else "")
