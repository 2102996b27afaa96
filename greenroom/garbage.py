"""Keeps garbage collection out of the ticks: what start-up made is frozen, and long pauses are told.

A full collection walks every object there is and stops all threads meanwhile: with five hundred
villagers, some 200 ms, which is four ticks. Frozen objects are walked no more (see `gc.freeze`), so
that only what came since is; and the young are collected less often, since most of what a tick makes
is freed by its reference count alone.
"""

from __future__ import annotations

import gc
import time
from typing import Any

import structlog

log = structlog.get_logger("greenroom.garbage")

LONG_S = 0.025
"""A pause worth a line in the log: half a tick."""
_THRESHOLDS = (10_000, 20, 50)


class Pauses:
    """Measures every collection; seconds. `before` are the thresholds that held until now."""

    def __init__(self, before: tuple[int, int, int]) -> None:
        self.before = before
        self.longest_s = 0.0
        self._begun = 0.0

    def __call__(self, phase: str, info: dict[str, Any]) -> None:
        """What `gc.callbacks` calls."""
        if phase == "start":
            self._begun = time.perf_counter()
            return
        pause = time.perf_counter() - self._begun
        self.longest_s = max(self.longest_s, pause)
        if pause >= LONG_S:
            log.warning(
                "a garbage collection stopped everything",
                ms=round(pause * 1000),
                generation=info["generation"],
            )


def settle() -> Pauses:
    """Collect once more, freeze what is left, and watch from now on; for the end of a start-up."""
    gc.collect()
    gc.freeze()
    pauses = Pauses(gc.get_threshold())
    gc.set_threshold(*_THRESHOLDS)
    gc.callbacks.append(pauses)
    return pauses


def unsettle(pauses: Pauses) -> None:
    """Undo `settle`, so that what is frozen can be collected again."""
    gc.callbacks.remove(pauses)
    gc.unfreeze()
    gc.set_threshold(*pauses.before)
