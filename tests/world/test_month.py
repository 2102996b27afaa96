"""A month in the valley: nobody's kind dies out, nothing drifts out of bounds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import greenroom.scenes
from world.scene import compile_scene, load
from world.world import World

VALLEY = Path(greenroom.scenes.__path__[0]) / "valley"
KINDS = ("villager", "wolf", "vampire", "deer", "sheep", "hare")


def _count(world: World) -> dict[str, int]:
    c = world.columns
    rows = c.live_rows()
    species = c.species[rows[c.died[rows] < 0]]
    return {k: int((species == world.ruleset.species_code[k]).sum()) for k in KINDS}


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_the_valley_lives_through_a_month(rules) -> None:
    world = World(compile_scene(load(VALLEY), rules.species_names, None, None), rules, 7)
    start = _count(world)
    fewest = dict(start)
    for tick in range(720_000):
        events = world.step().events
        assert len(events) < 500
        if tick % 2_400 == 0:
            now = _count(world)
            fewest = {k: min(fewest[k], now[k]) for k in KINDS}
    assert fewest["villager"] == start["villager"]
    assert fewest["vampire"] == start["vampire"]
    assert all(fewest[k] >= start[k] // 3 for k in ("wolf", "deer", "sheep", "hare")), fewest
    assert world.hash() == world.full_hash()
    assert not world.faults
    c = world.columns
    assert np.isin(c.id[c.live_rows()], list(world.names)).any()
