"""The same seed gives the same hashes on CPUs that lack the newer vector instructions."""

from __future__ import annotations

import os
import subprocess
import sys

_LIVE = """
import numpy as np
from plugins.manager import build_ruleset
from world.compiled import CompiledScene, GroupInfo, Spawn
from world.inputs import Input
from world.tiles import Tile
from world.world import World

ys, xs = np.mgrid[0:80, 0:80]
tiles = np.full((80, 80), Tile.GRASS, dtype=np.uint8)
tiles[(xs * 7 + ys * 13) % 11 == 0] = Tile.WALL
tiles[xs > 50] = Tile.FOREST
kinds = ("villager", "guard", "hunter", "wolf", "vampire", "deer", "sheep", "hare")
spawns = tuple(
    Spawn(kinds[i % 8], 300 + i * 157 % 19000, 300 + i * 311 % 19000, group=int(i % 8 == 3))
    for i in range(64)
)
scene = CompiledScene("patch", (80, 80), tiles, {}, spawns, (), 1, 600, {1: GroupInfo("p", "wolf")})
world = World(scene, build_ruleset(), 11)
for tick in range(600):
    world.step([Input("note", 0, "director", tick, {"text": "x"})])
print(world.hash(), world.full_hash())
"""


def _lived(**environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", _LIVE],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=170,
        check=True,
    )
    return done.stdout


def test_hashes_do_not_depend_on_the_cpus_vector_instructions() -> None:
    plain = _lived(NPY_DISABLE_CPU_FEATURES="X86_V3 X86_V4 AVX512_ICL AVX512_SPR")
    assert plain == _lived()
    incremental, full = plain.split()
    assert incremental == full
