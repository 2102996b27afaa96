"""A mod's own action: pure data out, checked like everyone's, harmless when it misbehaves."""

from __future__ import annotations

import numpy as np
import pytest

from plugins.api import (
    ActionSpec,
    Bear,
    Begin,
    Emit,
    Harm,
    Need,
    Outcome,
    Paint,
    Refusal,
    SetGlobal,
    StrictModel,
)
from world.actions import VOCABULARY
from world.compiled import CompiledScene, Spawn
from world.considerations import CORE
from world.inputs import Input
from world.ruleset import Ruleset, Species
from world.tiles import Tile
from world.world import World

FOLK = Species("folk", "x", hp=50, considerations=("idle",), speaks=True)


class Cast(StrictModel):
    """Cast a spell."""

    power: int = 0


def world_with(handler, **spec):
    rules = Ruleset.build(
        [FOLK], [*VOCABULARY, ActionSpec("cast", Cast, "Cast.", handler, **spec)], CORE
    )
    tiles = np.full((16, 16), Tile.GRASS, dtype=np.uint8)
    spawns = (Spawn("folk", 1000, 1000, name="Mage"), Spawn("folk", 1200, 1000, name="Frog"))
    world = World(CompiledScene("ring", (16, 16), tiles, {}, spawns, (), 1), rules, 1)
    ids = {name: entity for entity, name in world.names.items()}
    return world, ids["Mage"], ids["Frog"]


def test_effects_of_every_kind_are_committed_together():
    def cast(view, row, body):
        me = view.id(row)
        other = next(int(i) for i in view.c.id[: view.c.high] if i != me)
        return Outcome(
            (
                Harm(other, 5, me),
                Need(me, "fatigue", 300),
                Begin(me, "rest", view.tick + 50),
                Paint(2, 3, 1, 1, bytes([Tile.MUD])),
                SetGlobal("spells", body.power),
                Bear("folk", 2000, 2000, name="Imp"),
                Emit("cast", me, other, {"power": body.power}),
            ),
            {"did": "magic"},
        )

    world, mage, frog = world_with(cast, cooldown=30)
    result = world.step([Input("cast", mage, "npc:" + str(mage), 0, {"power": 9})])
    c = world.columns
    assert c.hp[c.row_of(frog)] == 45
    assert c.fatigue[c.row_of(mage)] >= 300
    assert world.tiles[3, 2] == Tile.MUD
    assert world.globals["spells"] == 9
    assert "Imp" in world.names.values()
    assert result.accepted[0].detail["did"] == "magic"
    assert {"cast", "attacked", "tiles", "spawned"} <= {e.kind for e in result.events}
    again = world.step([Input("cast", mage, "x", 1, {"power": 1})])
    assert again.rejections[0].code == "cooling_down"


@pytest.mark.parametrize(
    "outcome",
    [
        lambda view, row, body: 1 / 0,
        lambda view, row, body: None,
        lambda view, row, body: Outcome([]),
        lambda view, row, body: Outcome(("boo",)),
        lambda view, row, body: Outcome((Need(view.id(row), "hp", -5), Harm(777, 1))),
        lambda view, row, body: Outcome((Need(view.id(row), "luck", 1),)),
        lambda view, row, body: Outcome((Need(view.id(row), "hunger", 1.5),)),
        lambda view, row, body: Outcome((Harm(view.id(row), -5),)),
        lambda view, row, body: Outcome((Paint(15, 15, 2, 2, b"\3\3\3\3"),)),
        lambda view, row, body: Outcome((Paint(0, 0, 1, 1, b"\x63"),)),
        lambda view, row, body: Outcome((Emit("cast", view.id(row), 0, {"o": object()}),)),
        lambda view, row, body: Outcome((Emit("cast", view.id(row), 0, {"o": "x" * 4096}),)),
        lambda view, row, body: Outcome((Begin(view.id(row), "fly", 5),)),
        lambda view, row, body: Outcome((Begin(view.id(row), "rest", 5, (9**9, 0)),)),
        lambda view, row, body: Outcome((Bear("dragon", 5, 5),)),
        lambda view, row, body: Outcome((SetGlobal("x", 2**60),)),
        lambda view, row, body: Outcome((SetGlobal("\ud800", 1),)),
        lambda view, row, body: Outcome((Need(view.id(row), "fear", 1),) * 300),
        lambda view, row, body: view.c.hp.__setitem__(row, 1),
        lambda view, row, body: view.tiles.__setitem__((0, 0), 1),
        lambda view, row, body: Refusal("blocked", "not today"),
    ],
)
def test_an_action_that_misbehaves_is_refused_whole(outcome):
    world, mage, _ = world_with(outcome)
    twin, _, _ = world_with(outcome)
    result = world.step([Input("cast", mage, "npc:" + str(mage), 0, {})])
    assert [r.code for r in result.rejections] == ["blocked"]
    assert result.rejections[0].reason
    assert result.hash == twin.step().hash == world.full_hash()
