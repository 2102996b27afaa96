"""Names are plenty, pronounceable to a reader, and fit what they name."""

import re

from hypothesis import given, settings
from hypothesis import strategies as st

from world.generate import names
from world.generate.draw import Draw
from world.generate.terrain import BIOMES

WORD = re.compile(r"^[A-Z][a-z]+$")


def test_the_lists_hold_no_name_twice() -> None:
    assert len(set(names.WOMEN)) == len(names.WOMEN) >= 150
    assert len(set(names.MEN)) == len(names.MEN) >= 150
    assert not set(names.WOMEN) & set(names.MEN)


def test_there_are_family_names_for_thousands() -> None:
    drawn = {names.surname(Draw(seed, "family")) for seed in range(4_000)}
    assert len(drawn) > 3_000
    assert all(WORD.match(name) for name in drawn)


@given(st.integers(0, 2**63 - 1))
@settings(max_examples=100)
def test_given_names_tell_whose_they_are(seed: int) -> None:
    name, woman = names.given_name(Draw(seed))
    assert name in (names.WOMEN if woman else names.MEN)


@given(st.integers(0, 2**63 - 1), st.sampled_from([*BIOMES, "unheard of"]))
@settings(max_examples=100)
def test_places_beasts_and_rooms_have_names_of_a_fair_length(seed: int, biome: str) -> None:
    draw = Draw(seed)
    for name in (
        names.place_name(draw, biome),
        names.beast_name(draw),
        names.room_name(draw, "hall"),
    ):
        assert 2 <= len(name) <= 40
        assert name == name.strip() and "  " not in name
