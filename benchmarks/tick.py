"""A tick of a crowded world: ten thousand beings who move, fifty thousand entities, one thread.

Measured is what the director does for the world alone: the step by the built-in rules, and the frame that clients
are shown. A tick is missed when both together take more than 50 ms, its time at 20 Hz.
"""

from __future__ import annotations

import gc
import time
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from benchmarks._crowded import SIDE, crowded
from benchmarks._machine import machine
from plugins.manager import build_ruleset
from world.world import World

NPCS: Final = 10_000
ENTITIES: Final = 50_000
TICKS: Final = 1_200
TICK_MS: Final = 50.0


def run(*, scale: float = 1.0, seed: int = 7) -> dict[str, Any]:
    """Live a minute of the crowded land after a first quarter of one, and time each tick.

    At scale 1 there are 10,000 NPCs and 50,000 entities on 1,024 x 1,024 tiles; `scale` changes the beings, the
    land and the ticks with them. Returns {bench, machine, npcs, entities, hash, results: [{metric, unit, value, at_most}]}.
    """
    npcs = max(20, int(NPCS * scale))
    entities = max(npcs, int(ENTITIES * scale))
    side = int(np.clip(SIDE * np.sqrt(scale), 128, SIDE))
    began = time.perf_counter()
    scene = crowded(npcs, entities - npcs, seed, side)
    world = World(scene, build_ruleset(), seed)
    made = time.perf_counter() - began
    ticks = max(60, int(TICKS * min(1.0, scale)))
    _live(world, ticks // 4)
    gc.collect()
    gc.freeze()
    steps, frames = _live(world, ticks)
    gc.unfreeze()
    whole = steps + frames
    moving = int((world.columns.pace > 0).sum())
    return {
        "bench": "tick",
        "machine": machine(),
        "npcs": npcs,
        "entities": len(world.columns),
        "hash": f"{world.hash():016x}",
        "results": [
            _row(f"step and frame, p99 of {ticks} ticks", "ms", _p(whole, 99))
            | {"at_most": TICK_MS},
            _row("step and frame, p50", "ms", _p(whole, 50)),
            _row("step and frame, longest", "ms", float(whole.max())),
            _row("ticks that took longer than a tick", "ticks", int((whole > TICK_MS).sum()))
            | {"at_most": 0},
            _row("the step, p99", "ms", _p(steps, 99)),
            _row("the frame, p99", "ms", _p(frames, 99)),
            _row("under way at the end", "NPCs", moving),
            _row("making the land and all who live there", "s", made),
        ],
    }


def _live(world: World, ticks: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Milliseconds that each step and each frame took."""
    steps, frames = np.zeros(ticks), np.zeros(ticks)
    for k in range(ticks):
        began = time.perf_counter()
        world.step(())
        stepped = time.perf_counter()
        world.frame()
        frames[k] = (time.perf_counter() - stepped) * 1e3
        steps[k] = (stepped - began) * 1e3
    return steps, frames


def _p(values: NDArray[np.float64], percent: float) -> float:
    return float(np.percentile(values, percent))


def _row(metric: str, unit: str, value: float) -> dict[str, Any]:
    return {"metric": metric, "unit": unit, "value": round(value, 2)}
