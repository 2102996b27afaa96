"""Garbage collection is kept out of the ticks, and given back when the server has stopped."""

from __future__ import annotations

import gc
from typing import Any

from greenroom import garbage


class Knot:
    def __init__(self) -> None:
        self.me = self


def test_what_was_there_is_frozen_and_what_comes_later_is_still_collected() -> None:
    before = gc.get_threshold()
    pauses = garbage.settle()
    try:
        assert gc.get_freeze_count() > 10_000
        for _ in range(1000):
            Knot()
        assert gc.collect() >= 1000
        assert 0.0 < pauses.longest_s < 10.0
    finally:
        garbage.unsettle(pauses)
    assert gc.get_freeze_count() == 0
    assert gc.get_threshold() == before
    assert pauses not in gc.callbacks


def test_what_a_step_leaves_is_collected_after_it_and_what_lasted_a_little_later() -> None:
    found: list[int] = []

    def note(phase: str, info: dict[str, Any]) -> None:
        if phase == "stop":
            found.append(info["generation"])

    gc.callbacks.append(note)
    try:
        sweep = garbage.Sweeper()
        for _ in range(40):
            sweep()
    finally:
        gc.callbacks.remove(note)
    assert found == ([0] * 19 + [1]) * 2
