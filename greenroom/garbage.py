"""Keeps garbage collection out of the ticks: what start-up made is frozen, the young are collected between steps.

A full collection walks every object there is and stops all threads meanwhile: with five hundred
villagers, some 200 ms, which is four ticks. Frozen objects are walked no more (see `gc.freeze`), so
that only what came since is. Left to itself Python collects when so many objects were made, which is as like as
not in the middle of a step, and what is under way then survives and is walked again with the next generation: pauses
of 30 to 130 ms among ten thousand. After a step little is under way, so little survives.
"""

from __future__ import annotations

import gc
import time
from typing import Any

import structlog

log = structlog.get_logger("greenroom.garbage")

LONG_S = 0.025
"""A pause worth a line in the log: half a tick."""
_ONE_EVERY, _TWO_EVERY = 20, 6_000
"""Steps between two collections of the middle generation, and between two of all that is not frozen."""
_THRESHOLDS = (200_000, 20, 50)
"""Where nothing is stepped, or in a flood of objects, Python still collects by itself."""


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


class Sweeper:
    """Collects after each step: the young, now and then those that have lasted, and seldom all."""

    def __init__(self) -> None:
        self._steps = 0

    def __call__(self) -> None:
        """A step is over."""
        self._steps += 1
        if self._steps % _TWO_EVERY == 0:
            gc.collect(2)
        elif self._steps % _ONE_EVERY == 0:
            gc.collect(1)
        else:
            gc.collect(0)


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
