"""A tick's time is told by part: each its own, none counted twice, and what is left over named as such."""

from __future__ import annotations

import pytest

from benchmarks import _parts
from benchmarks._parts import Parts, Stolen, longest
from world import movement, needs
from world.rules import Rules


class Clock:
    """Seconds that pass only where the work says so."""

    def __init__(self) -> None:
        self.now = 0.0

    def perf_counter(self) -> float:
        return self.now


class Work:
    """A function within a function, each with a time of its own."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock

    def outer(self, inner_times: int) -> str:
        self.clock.now += 0.005
        for _ in range(inner_times):
            self.inner()
        return "done"

    def inner(self) -> None:
        self.clock.now += 0.002

    def fail(self) -> None:
        self.clock.now += 0.001
        raise ValueError("midway")


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(_parts, "time", clock)
    return clock


def test_a_part_is_what_its_calls_took_less_what_they_spent_in_other_parts(clock: Clock) -> None:
    work, parts = Work(clock), Parts()
    parts.watch(work, "outer", "around")
    parts.watch(work, "inner", "within")
    assert work.outer(3) == "done"
    work.inner()
    taken = parts.take()
    assert taken == pytest.approx({"around": 5.0, "within": 8.0})
    assert sum(taken.values()) == pytest.approx(clock.now * 1e3)


def test_what_was_taken_is_not_told_again(clock: Clock) -> None:
    work, parts = Work(clock), Parts()
    parts.watch(work, "inner", "within")
    work.inner()
    parts.take()
    assert parts.take() == {}


def test_a_call_that_raises_is_counted_too_and_leaves_nothing_to_the_next(clock: Clock) -> None:
    work, parts = Work(clock), Parts()
    parts.watch(work, "fail", "failing")
    parts.watch(work, "outer", "around")
    with pytest.raises(ValueError, match="midway"):
        work.fail()
    work.outer(0)
    assert parts.take() == pytest.approx({"failing": 1.0, "around": 5.0})


def test_after_undoing_nothing_is_watched_however_often_it_was(clock: Clock) -> None:
    plain, parts = Work.inner, Parts()
    parts.watch(Work, "inner", "once")
    parts.watch(Work, "inner", "twice")
    Work(clock).inner()
    assert parts.take() == pytest.approx({"once": 2.0, "twice": 0.0})
    parts.undo()
    Work(clock).inner()
    assert Work.inner is plain
    assert parts.take() == {}


def test_the_parts_of_any_worlds_step_are_put_back_as_they_were() -> None:
    before, parts = (Rules.apply, movement.walk, needs.drift), Parts()
    parts.watch_worlds()
    assert Rules.apply is not before[0]
    parts.undo()
    assert (Rules.apply, movement.walk, needs.drift) == before


def test_the_longest_tick_names_its_largest_parts_and_the_rest() -> None:
    parts = {"a": 1.0, "b": 9.0, "c": 4.0, "d": 2.0, "e": 3.0}
    told = dict(longest("idle", 25.0, parts, 21.0, None))
    assert list(told.items())[:4] == [
        ("idle: the longest tick, b", 9.0),
        ("idle: the longest tick, c", 4.0),
        ("idle: the longest tick, e", 3.0),
        ("idle: the longest tick, d", 2.0),
    ]
    assert told["idle: the longest tick, the rest"] == pytest.approx(7.0)
    assert told["idle: the longest tick, of it not on a core"] == pytest.approx(4.0)
    assert len(told) == 6


def test_nothing_is_told_as_less_than_nothing() -> None:
    told = dict(longest("idle", 5.0, {"a": 6.0}, 7.0, 10.0))
    assert told["idle: the longest tick, the rest"] == 0.0
    assert told["idle: the longest tick, of it not on a core"] == 0.0
    assert told["idle: the longest tick, the host took from all cores meanwhile"] == 10.0


def test_what_the_host_took_is_none_where_nobody_tells(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_args: object) -> int:
        raise FileNotFoundError

    monkeypatch.setattr(_parts.os, "open", missing)
    assert Stolen()() is None
