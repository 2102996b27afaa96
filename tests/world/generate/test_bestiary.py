"""Monsters follow from seed, kind, land and grade, each by itself."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from world.generate import bestiary
from world.generate.terrain import BIOMES


@settings(max_examples=150, deadline=None)
@given(
    st.integers(0, bestiary.MOST - 1),
    st.sampled_from([*bestiary.known_types(), "kelpie", "clockwork_hen"]),
    st.sampled_from(BIOMES),
    st.integers(16, 256),
    st.integers(0, 2**63 - 1),
)
def test_every_monster_keeps_the_bounds_and_is_made_again_the_same(
    index: int, kind: str, biome: str, size: int, seed: int
) -> None:
    beast = bestiary.monster(index, kind, biome, size, seed)
    assert beast == bestiary.MonsterBase.model_validate(beast.model_dump())
    assert beast == bestiary.monster(index, kind, biome, size, seed)
    assert beast.monster_type == kind and beast.index == index


def test_kinds_differ_in_body_as_their_names_say() -> None:
    def mean(kind: str, stat: str) -> float:
        return (
            sum(getattr(bestiary.monster(0, kind, "valley", 64, s), stat) for s in range(60)) / 60
        )

    assert mean("dragon", "hp") > 3 * mean("wolf", "hp")
    assert mean("bat", "speed") > mean("troll", "speed")
    assert mean("vampire", "cunning") > mean("boar", "cunning")


def test_elders_are_stronger_than_the_young() -> None:
    pack = [bestiary.monster(0, "wolf", "forest", 64, seed) for seed in range(400)]
    by_grade = {
        grade: [beast.attack for beast in pack if beast.grade == grade]
        for grade in ("young", "elder")
    }
    assert min(map(len, by_grade.values())) > 5
    assert min(by_grade["elder"]) > max(by_grade["young"])


def test_a_kind_only_a_mod_knows_has_one_body_of_its_own() -> None:
    hens = [bestiary.monster(0, "clockwork_hen", "valley", 64, seed).hp for seed in range(40)]
    bats = [bestiary.monster(0, "bell_bat", "valley", 64, seed).hp for seed in range(40)]
    assert max(hens) <= 4 * min(hens)
    assert sorted(hens) != sorted(bats)


@pytest.mark.parametrize(("size", "count"), [(16, 1), (64, 4), (256, 16), (1024, 32)])
def test_wide_lands_feed_more(size: int, count: int) -> None:
    assert bestiary.how_many(size) == count
