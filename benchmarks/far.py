"""What a step costs when almost all are far from the one player there is, beside the same land lived in full."""

from __future__ import annotations

import gc
import time
from dataclasses import replace
from typing import Any, Final

import numpy as np

from benchmarks._crowded import SIDE, crowded
from benchmarks._machine import machine
from plugins.manager import build_ruleset
from world.compiled import CompiledScene
from world.detail import KEY, LOOK_EVERY
from world.inputs import Input
from world.reflexes import DECIDE_EVERY
from world.world import World

TILES: Final = 64
"""Around a player all are lived in full within so many tiles: twice what a client sees."""
_SETTLE: Final = 300
"""Ticks lived before the two part, and again before they are timed: then a game hour of quiet is left before most go to work."""
_AT_WORK: Final = 3_600
"""Ticks lived before the two part where most have gone to work."""
_HUNTERS: Final = ("wolf",)


def run(*, scale: float = 1.0, seed: int = 7) -> dict[str, Any]:
    """Live the crowded land with and without level of detail; `scale` changes the beings, the land and the ticks.

    Returns {bench, machine, results: [{metric, unit, value, peer, peer_value, ratio}]}, all of CPU time, ratio full over far.
    """
    npcs = max(40, int(10_000 * scale))
    side = int(np.clip(SIDE * np.sqrt(scale), 192, SIDE))
    ticks = max(10 * LOOK_EVERY, int(2_000 * min(1.0, scale)))
    results = rows(npcs=npcs, entities=5 * npcs, ticks=ticks, seed=seed, side=side)
    return {"bench": "far", "machine": machine(), "results": results}


def rows(
    *,
    npcs: int = 10_000,
    entities: int = 50_000,
    ticks: int = 2_000,
    seed: int = 7,
    side: int = SIDE,
) -> list[dict[str, Any]]:
    """Result rows for the crowded land: without wolves, with nobody there and with one player in a town, by morning and at work, and with all its wolves too.

    Each land is lived twice side by side from the same state, with and without level of detail, in short turns,
    so that whatever else the machine does falls on both. Milliseconds of the thread's own CPU time; `ratio` is full over far.
    """
    scene = crowded(npcs, entities - npcs, seed, side)
    calm = replace(scene, spawns=tuple(s for s in scene.spawns if s.species not in _HUNTERS))
    found: list[dict[str, Any]] = []
    for name, land, players, settle in (
        ("nobody comes", calm, 0, _SETTLE),
        ("nobody comes, all at work", calm, 0, _AT_WORK),
        ("one player", calm, 1, _SETTLE),
        ("one player, all at work", calm, 1, _AT_WORK),
        ("one player and wolves", scene, 1, _SETTLE),
    ):
        found += _compared(name, land, players, settle, ticks, seed)
    return found


def _compared(
    name: str, scene: CompiledScene, players: int, settle: int, ticks: int, seed: int
) -> list[dict[str, Any]]:
    full = World(scene, build_ruleset(), seed)
    x, y = full.player_starts[0]
    comes = {"species": "traveller", "x": x, "y": y, "player": True}
    full.step([Input("spawn", 0, "director:join", n, comes) for n in range(players)])
    for _ in range(settle - 1):
        full.step()
    # Both begin anew, so that neither knows ways which the other must find.
    kept = full.get_state()
    full, far = (World.from_state(kept, full.ruleset) for _ in range(2))
    far.step([Input("global", 0, "director:detail", 0, {"key": KEY, "value": TILES})])
    full.step()
    for world in (full, far):
        for _ in range(_SETTLE):
            world.step()
    gc.collect()
    gc.freeze()
    spent = np.zeros((2, ticks))
    shown = np.zeros((2, ticks))
    away = []
    for start in range(0, ticks, LOOK_EVERY):
        for i, world in enumerate((full, far)):
            for k in range(start, min(ticks, start + LOOK_EVERY)):
                began = time.thread_time()
                world.step()
                stepped = time.thread_time()
                world.frame()
                shown[i, k] = (time.thread_time() - stepped) * 1e3
                spent[i, k] = (stepped - began) * 1e3
        away.append(int(far.far.sum()))
    gc.unfreeze()
    living = int((full.columns.phase[: full.columns.high] >= 0).sum())

    def row(metric: str, unit: str, ours: float, peer: float) -> dict[str, Any]:
        return {
            "metric": f"{name}: {metric}",
            "unit": unit,
            "value": round(ours, 3),
            "peer": "all lived in full",
            "peer_value": round(peer, 3),
            "ratio": round(peer / ours, 2) if ours else None,
        }

    n = full.tick - ticks + 1 + np.arange(ticks)
    looks, decides = n % LOOK_EVERY == 0, n % DECIDE_EVERY == 0
    seconds = spent[:, : ticks // LOOK_EVERY * LOOK_EVERY].reshape(2, -1, LOOK_EVERY).mean(axis=2)
    return [
        {
            "metric": f"{name}: far of {living} who live, mean",
            "unit": "NPCs",
            "value": round(float(np.mean(away))),
        },
        row("a step, mean", "ms", *spent.mean(axis=1)[::-1]),
        row(
            "a step, median of the means of a look's ticks", "ms", *np.median(seconds, axis=1)[::-1]
        ),
        *(
            row(f"{which}, mean", "ms", *spent[:, ticks_of].mean(axis=1)[::-1])
            for which, ticks_of in (
                ("a tick of a look", looks),
                ("other ticks of decisions", decides & ~looks),
                ("the rest", ~decides),
            )
        ),
        row("a step, p50", "ms", *np.percentile(spent, 50, axis=1)[::-1]),
        row("a step, p99", "ms", *np.percentile(spent, 99, axis=1)[::-1]),
        row("a frame, mean", "ms", *shown.mean(axis=1)[::-1]),
    ]
