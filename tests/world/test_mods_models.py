"""A mod's action whose model misbehaves is refused; the step goes on."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import field_validator

from foundation.strict import StrictModel
from plugins.manager import load_builtin_and_installed
from world.actions import VOCABULARY
from world.effects import Outcome
from world.inputs import Input
from world.ruleset import ActionSpec, Ruleset
from world.scene import compile_scene, load
from world.world import World

VALLEY = Path(__file__).parents[2] / "greenroom" / "scenes" / "valley"


class Explosive(StrictModel):
    """A body whose validator raises what pydantic does not catch."""

    fuse: int

    @field_validator("fuse")
    @classmethod
    def light(cls, value: int) -> int:
        raise RuntimeError("the mod's own mistake")


class Unfinished(StrictModel):
    """A body that names a type nobody defined."""

    part: "Missing"  # type: ignore[name-defined]  # noqa: F821, UP037


@pytest.mark.parametrize("model", [Explosive, Unfinished], ids=lambda model: model.__name__)
def test_a_model_that_raises_is_a_refused_body_not_a_broken_step(model: type[StrictModel]) -> None:
    rules = load_builtin_and_installed().ruleset()
    mine = ActionSpec("boom", model, "Goes wrong.", lambda view, row, body: Outcome(()))
    ruleset = Ruleset.build(
        rules.species_list, [*VOCABULARY, mine], rules.considerations, rules.version
    )
    world = World(compile_scene(load(VALLEY), ruleset.species_names), ruleset, 7)
    villager = next(e for e, name in world.names.items() if name == "Marta Kell")
    result = world.step([Input("boom", villager, f"npc:{villager}", 1, {"fuse": 1, "part": 1})])
    assert [(r.code, r.input.kind) for r in result.rejections] == [("bad_body", "boom")]
    assert world.hash() == world.full_hash()
