"""Rulesets: parts that fit are put together, parts that do not are named."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from world.actions import VOCABULARY
from world.considerations import CORE
from world.errors import RulesetError
from world.ruleset import CORE_ACTIVITIES, Activity, Consideration, Ruleset, Species

SHEEP = Species("sheep", "livestock", considerations=("graze", "bolt"))
WOLF = Species("wolf", "beasts", diet=("sheep",), hostile_to=("village",))
FARMER = Species("farmer", "village", hostile_to=("wolf",))
WELL = Species("well", "village", alive=False)


def build(*species, considerations=CORE, actions=VOCABULARY, version="1"):
    return Ruleset.build(species or (SHEEP, WOLF, FARMER, WELL), actions, considerations, version)


def test_species_factions_and_activities_have_codes():
    rules = build()
    assert rules.species_names == ("sheep", "wolf", "farmer", "well")
    assert rules.faction_names == ("beasts", "livestock", "village")
    assert rules.activity_names[: len(CORE_ACTIVITIES)] == tuple(a.name for a in CORE_ACTIVITIES)
    assert {"graze", "follow"} <= set(rules.activity_names)


def test_enmity_and_appetite_name_species_or_factions_but_never_things():
    rules = build()
    code, t = rules.species_code, rules.tables
    assert t.hostile[code["wolf"], code["farmer"]]
    assert not t.hostile[code["wolf"], code["well"]]
    assert t.hostile[code["farmer"], code["wolf"]]
    assert t.eats[code["wolf"], code["sheep"]]
    assert np.flatnonzero(t.threatens[code["sheep"]]).tolist() == [code["wolf"]]
    assert np.flatnonzero(t.threatens[code["wolf"]]).tolist() == [code["farmer"]]


@pytest.mark.parametrize(
    ("species", "why"),
    [
        (dataclasses.replace(SHEEP, name="wolf"), "'wolf' is defined twice"),
        (dataclasses.replace(SHEEP, name="big sheep"), "'big sheep' is unfit"),
        (dataclasses.replace(SHEEP, hp=0), "hp is 0"),
        (dataclasses.replace(SHEEP, speed=1.5), "speed is 1.5"),
        (dataclasses.replace(SHEEP, common_knowledge="x" * 1201), "is 1201 characters long"),
        (dataclasses.replace(SHEEP, common_knowledge=None), "common_knowledge is None"),
        (dataclasses.replace(SHEEP, considerations=("fly",)), "consideration 'fly'"),
        (dataclasses.replace(SHEEP, tactics=("bite",)), "tactic 'bite'"),
    ],
)
def test_an_unfit_species_is_named(species, why):
    with pytest.raises(RulesetError, match=why):
        build(WOLF, species)


def test_one_activity_cannot_mean_two_things():
    fast_graze = Consideration(
        "graze_fast", Activity("graze", pace=200), CORE[0].score, CORE[0].aim
    )
    with pytest.raises(RulesetError, match="'graze' is defined in two ways"):
        build(considerations=(*CORE, fast_graze))


def test_double_actions_are_named():
    with pytest.raises(RulesetError, match="action 'move' is defined twice"):
        build(actions=(*VOCABULARY, VOCABULARY[0]))


def test_what_is_only_told_to_minds_leaves_the_digest_and_old_journals_as_they_were():
    told = dataclasses.replace(WOLF, common_knowledge="All wolves know the smell of iron.")
    assert build(SHEEP, told, FARMER, WELL).digest() == build().digest()
    assert "common_knowledge" in Species.__dataclass_fields__


def test_the_digest_follows_every_number_and_stays_the_same_otherwise():
    assert build().digest() == build().digest()
    changed = [
        build(SHEEP, WOLF, FARMER),
        build(SHEEP, dataclasses.replace(WOLF, hp=21), FARMER, WELL),
        build(WOLF, SHEEP, FARMER, WELL),
        build(considerations=tuple(reversed(CORE))),
        build(actions=(*VOCABULARY[1:], dataclasses.replace(VOCABULARY[0], cooldown=1))),
        build(version="2"),
    ]
    digests = {r.digest() for r in changed} | {build().digest()}
    assert len(digests) == len(changed) + 1
