"""After a rehearsal no step waits for a compiler."""

from __future__ import annotations

import os
import subprocess
import sys

_LIVE = """
import importlib, pkgutil
import numpy as np
import world.kernels
from numba.core.dispatcher import Dispatcher
from plugins.manager import build_ruleset
from world.compiled import CompiledScene, GroupInfo, Spawn
from world.rehearsal import rehearse
from world.tiles import Tile
from world.world import World

modules = [importlib.import_module(f"world.kernels.{m.name}") for m in pkgutil.iter_modules(world.kernels.__path__)]
kernels = {f for m in modules for f in vars(m).values() if isinstance(f, Dispatcher)}
rules = build_ruleset()
rehearse(rules)
ready = {k: len(k.signatures) for k in kernels}
ys, xs = np.mgrid[0:60, 0:60]
tiles = np.full((60, 60), Tile.GRASS, dtype=np.uint8)
tiles[(xs * 7 + ys * 13) % 11 == 0] = Tile.WALL
kinds = ("villager", "guard", "wolf", "vampire", "deer", "sheep")
spawns = tuple(
    Spawn(kinds[i % 6], 300 + i * 157 % 14000, 300 + i * 311 % 14000, group=int(i % 6 == 2))
    for i in range(48)
)
living = World(CompiledScene("patch", (60, 60), tiles, {}, spawns, (), 1, 600, {1: GroupInfo("p", "wolf")}), rules, 3)
for _ in range(300):
    living.step()
    living.frame()
living.situation(int(living.columns.id[0]))
print([k.__name__ for k in kernels if len(k.signatures) != ready[k]], sum(map(bool, ready.values())))
"""


def test_a_rehearsed_world_compiles_nothing_more() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _LIVE],
        env=os.environ,
        capture_output=True,
        text=True,
        timeout=170,
        check=True,
    )
    more, compiled = done.stdout.rsplit(maxsplit=1)
    assert more == "[]"
    assert int(compiled) >= 7
