"""What many askers share is pinned, and pins stay within their bounds."""

from __future__ import annotations

from array import array

from hypothesis import given
from hypothesis import strategies as st

from models.llama.pins import ASKERS, Pins, Prefix

WORLD = array("i", range(64))
WOLVES = WORLD + array("i", range(1000, 1064))
ELVES = WORLD + array("i", range(2000, 2064))


def nobody(_: Prefix) -> int:
    return -1


def noted(pins: Pins, tokens: array[int], sequence: int, askers: int = ASKERS) -> None:
    for number in range(askers):
        pins.note(tokens, len(tokens), "", f"{tokens[-1]}.{number}", sequence)


def test_a_prefix_is_pinned_once_enough_different_askers_have_gone_on_from_it() -> None:
    pins = Pins(16, 4000)
    for _ in range(9):
        pins.note(WORLD, 70, "", "npc:1", 3)
    noted(pins, WORLD, 3, ASKERS - 2)
    assert pins.floors() == {}
    pins.note(WOLVES, 128, "", "npc:2", 5)
    assert (pins.count, pins.floors()) == (1, {5: 64})


def test_one_keeper_keeps_what_is_nested_in_its_prefix() -> None:
    pins = Pins(16, 4000)
    noted(pins, WORLD, 3)
    noted(pins, WOLVES, 5)
    assert (pins.count, pins.floors()) == (2, {5: 128})


def test_adapters_share_no_prefix() -> None:
    pins = Pins(16, 4000)
    for number in range(ASKERS):
        pins.note(WORLD, 64, "wolf" if number % 2 else "elf", str(number), 1)
    assert pins.count == 0


def test_what_the_keeper_lost_another_keeps_or_nobody() -> None:
    pins = Pins(16, 4000)
    noted(pins, WORLD, 3)
    pins.lost(3, 64, nobody)
    assert pins.floors() == {3: 64}
    pins.lost(3, 63, lambda _: 7)
    assert pins.floors() == {7: 64}
    pins.lost(7, 0, nobody)
    assert pins.floors() == {}
    pins.note(WORLD, 64, "", "npc:9", 2)
    assert pins.floors() == {2: 64}


def test_at_the_bound_the_one_used_longest_ago_loses_its_pin_and_must_earn_it_again() -> None:
    pins = Pins(8, 4000)
    noted(pins, WOLVES, 1)
    noted(pins, ELVES, 2)
    assert pins.floors() == {2: 128}
    pins.note(WOLVES, 128, "", "another", 1)
    assert pins.floors() == {2: 128}


def test_a_prefix_that_is_too_long_is_not_pinned_and_takes_nobodys_place() -> None:
    pins = Pins(8, 400)
    noted(pins, WORLD, 1)
    noted(pins, WOLVES, 2)
    assert pins.floors() == {1: 64}


def test_few_sequences_pin_nothing() -> None:
    pins = Pins(7, 4000)
    noted(pins, WORLD, 1)
    assert pins.count == 0


@given(st.lists(st.tuples(st.lists(st.integers(0, 2), max_size=4), st.integers(0, 9)), max_size=80))
def test_pins_stay_within_their_shares(work: list[tuple[list[int], int]]) -> None:
    pins = Pins(24, 1000)
    for blocks, asker in work:
        tokens = array("i", [block for block in blocks for _ in range(32)])
        pins.note(tokens, len(tokens), "", str(asker), asker)
        floors = pins.floors()
        assert len(floors) <= 3
        assert sum(floors.values()) <= 250
