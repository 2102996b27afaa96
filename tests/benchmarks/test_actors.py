"""The bench of actors, small: each of a crowd answers once and stops, and what is stated is what was measured."""

from __future__ import annotations

from benchmarks import actors
from greenroom.commands.bench import holds


def test_a_crowd_lives_answers_once_and_stops() -> None:
    found = actors._apart(3_000)
    assert set(found) == {"born", "lived", "starting", "answering", "stopping"}
    assert all(value > 0 for value in found.values())
    # An object with a mailbox and a reference can't be smaller than this; smaller was not measured.
    assert 300 < found["lived"] <= 4096


def test_bounds_are_stated_on_the_ratio_and_on_the_memory() -> None:
    small = actors._figure("resident memory an actor, after its answer", "B", 1855.4, at_most=4096)
    assert small["value"] == 1855
    assert holds(small) is True
    assert holds(small | {"value": 5000}) is False
