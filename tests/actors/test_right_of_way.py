"""While a step is under way other threads wait, but not for ever."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from actors import right_of_way
from actors.company import Company
from actors.right_of_way import RightOfWay


def test_whoever_gives_way_goes_on_when_the_step_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(right_of_way, "LONGEST_S", 60.0)
    way = RightOfWay()
    way.give_way()
    passed = threading.Event()

    def work() -> None:
        way.give_way()
        passed.set()

    with way:
        beside = threading.Thread(target=work)
        beside.start()
        assert not passed.wait(0.05)
    beside.join()
    assert passed.is_set()


def test_a_step_that_fails_leaves_the_way_free() -> None:
    way = RightOfWay()
    try:
        with way:
            raise RuntimeError("a step that fails")
    except RuntimeError:
        pass
    assert way._free.is_set()


def test_nobody_waits_for_a_step_that_does_not_end() -> None:
    way = RightOfWay()
    with way:
        way.give_way()


def test_what_is_to_be_done_between_steps_is_done_outside_the_step(
    company: Callable[..., Company],
) -> None:
    free: list[bool] = []
    under_way: list[bool] = []
    c = company()
    way = c.ledger.right_of_way
    c.ledger.between_steps = lambda: free.append(way._free.is_set())
    c.subscribe(lambda frame: under_way.append(not way._free.is_set()))
    c.run_headless(5)
    assert free == [True] * 5
    assert under_way == [True] * 5
