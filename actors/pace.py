"""How punctual steps are: lateness, duration, and those that were missed."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass

__all__ = ["Pace", "PaceSnapshot"]

WINDOW = 2400
"""Steps that the percentiles look back on: two minutes of live ticks."""


@dataclass(frozen=True, slots=True)
class PaceSnapshot:
    """Milliseconds: how late steps began, and how long they took. `missed`: began over a period late."""

    steps: int
    missed: int
    late_p50_ms: float
    late_p99_ms: float
    late_max_ms: float
    took_p50_ms: float
    took_p99_ms: float
    took_max_ms: float


class Pace:
    """Counts steps against their due times; told by the director, read by anyone."""

    def __init__(self, period_s: float) -> None:
        self._period = period_s
        self._lock = threading.Lock()
        self._late: deque[float] = deque(maxlen=WINDOW)
        self._took: deque[float] = deque(maxlen=WINDOW)
        self._late_max = 0.0
        self._took_max = 0.0
        self._steps = 0
        self._missed = 0

    def stepped(self, late_s: float, took_s: float) -> None:
        """A step that was due `late_s` seconds before it began has taken `took_s`."""
        with self._lock:
            self._steps += 1
            self._missed += late_s > self._period
            self._late.append(late_s)
            self._took.append(took_s)
            self._late_max = max(self._late_max, late_s)
            self._took_max = max(self._took_max, took_s)

    def skipped(self, ticks: int) -> None:
        """So many ticks were not begun at all when they were due."""
        with self._lock:
            self._missed += ticks

    def snapshot(self) -> PaceSnapshot:
        """The figures now."""
        with self._lock:
            late, took = sorted(self._late), sorted(self._took)
            return PaceSnapshot(
                steps=self._steps,
                missed=self._missed,
                late_p50_ms=_at(late, 0.50) * 1e3,
                late_p99_ms=_at(late, 0.99) * 1e3,
                late_max_ms=self._late_max * 1e3,
                took_p50_ms=_at(took, 0.50) * 1e3,
                took_p99_ms=_at(took, 0.99) * 1e3,
                took_max_ms=self._took_max * 1e3,
            )


def _at(values: list[float], share: float) -> float:
    return values[min(len(values) - 1, int(len(values) * share))] if values else 0.0
