"""A tick of a crowded world: ten thousand beings who move, fifty thousand entities, one thread.

First a real server is measured from inside, in a process of its own (`_stage.py`): idle, without model and players;
and under load, with its dispatcher saturated, the local engine decoding on one thread, and fifty players, in a
process of their own (`_players.py`), who watch, walk, strike and talk over loopback. Server, engine and players share
whatever cores there are. Then the world alone is: its step by the built-in rules, and the frame that clients are
shown. A tick is missed when it can't begin when it is due, because the one before has taken more than 50 ms.
"""

from __future__ import annotations

import gc
import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from benchmarks import _served
from benchmarks._crowded import SIDE, crowded
from benchmarks._machine import machine
from benchmarks._parts import Parts, Stolen, longest
from benchmarks._players import NICE
from benchmarks._served import PLAYERS, TICK_MS, Land
from benchmarks._stage import CROWD, SEVEN
from models.llama.child import NICE as ENGINE
from plugins.manager import build_ruleset
from world.inputs import Input
from world.maths import TILE
from world.tiles import WALKABLE
from world.world import World

NPCS: Final = 10_000
ENTITIES: Final = 50_000
TICKS: Final = 1_200
SECONDS: Final = 60.0
IDLE_S: Final = 20.0
_SENT: Final = 500
_FAR: Final = 30 * TILE


def run(*, scale: float = 1.0, seed: int = 7) -> dict[str, Any]:
    """Serve the crowded land in the morning, when most go to work, idle and under load; then live it without a server.

    The world alone lives by reflex, and then with minds that send everybody who stands somewhere within 30 tiles
    of home, so that nearly all are under way at once. At scale 1 there are 10,000 NPCs and 50,000 entities on
    1,024 x 1,024 tiles; `scale` changes the beings, the land and the times with them.
    Returns {bench, machine, npcs, entities, hash, notes, results: [{metric, unit, value, at_most | at_least}]}.
    """
    npcs = max(20, int(NPCS * scale))
    entities = max(npcs, int(ENTITIES * scale))
    side = int(np.clip(SIDE * np.sqrt(scale), 128, SIDE))
    ticks = max(60, int(TICKS * min(1.0, scale)))
    start = SEVEN if scale >= 1 else ticks
    land = Land(npcs, entities, side, seed, start)
    results = _served.loaded(land, max(4.0, SECONDS * min(1.0, scale)))
    results += _served.idle(land, max(4.0, IDLE_S * min(1.0, scale)))
    began = time.perf_counter()
    scene = crowded(npcs, entities - npcs, seed, side)
    world = World(scene, build_ruleset(), seed)
    made = time.perf_counter() - began
    results.append(_row("making the land and all who live there", "s", made))
    _live(world, start, _nobody)
    results += _figures("the world alone, by reflex", _live(world, ticks, _nobody))
    minds = Minds(world, seed)
    _live(world, npcs // _SENT + 40, minds.send)
    lived = _live(world, ticks, minds.send)
    results += _figures("the world alone, all sent on their way", lived)
    results += _shares(lived)
    return {
        "bench": "tick",
        "machine": machine(),
        "npcs": npcs,
        "entities": len(world.columns),
        "hash": f"{world.hash():016x}",
        "notes": [
            f"server, engine (one thread, nice {ENGINE}) and {PLAYERS} players (nice {NICE}) share the cores named above",
            f"saturated: an actor tells {CROWD} minds lines as fast as the dispatcher takes them, so that its queue is "
            "never empty; each mind recalls, answers by reflex and tells the director",
        ],
        "results": results,
    }


class Minds:
    """Stand-ins for ten thousand minds: each that stands gets a place to go to, at most 500 a tick."""

    def __init__(self, world: World, seed: int) -> None:
        self._world = world
        self._rng = np.random.default_rng(seed)
        self._n = 0

    def send(self) -> list[Input]:
        """What they propose for the next tick."""
        world = self._world
        c, tables = world.columns, world.ruleset.tables
        up = (c.id > 0) & (c.died < 0) & (c.downed_until < 0) & (c.pace == 0)
        rows = (up & tables.alive[c.species]).nonzero()[0][:_SENT]
        spread = self._rng.integers(-_FAR, _FAR, (2, rows.size))
        x = np.clip(c.home_x[rows] + spread[0], 0, world.width * TILE - 1)
        y = np.clip(c.home_y[rows] + spread[1], 0, world.height * TILE - 1)
        fits = WALKABLE[world.tiles[y // TILE, x // TILE]]
        sent = []
        for entity, gx, gy in zip(
            c.id[rows[fits]].tolist(), x[fits].tolist(), y[fits].tolist(), strict=True
        ):
            self._n += 1
            sent.append(Input("move", entity, f"npc:{entity}", self._n, {"x": gx, "y": gy}))
        return sent


def _nobody() -> list[Input]:
    return []


class Lived:
    """What each of many ticks took, in milliseconds, and how many were under way."""

    def __init__(self, ticks: int) -> None:
        self.steps, self.frames, self.cpu = np.zeros((3, ticks))
        self.moving = np.zeros(ticks, dtype=np.int64)
        self.parts: list[dict[str, float]] = []
        self.stolen: list[float | None] = []


def _live(world: World, ticks: int, propose: Callable[[], list[Input]]) -> Lived:
    """Step and frame so many times, and time each."""
    lived = Lived(ticks)
    parts, stolen_now = Parts(), Stolen()
    parts.watch_worlds()
    gc.collect()
    gc.freeze()
    for k in range(ticks):
        inputs = propose()
        parts.take()
        stolen, on_core = stolen_now(), time.thread_time()
        began = time.perf_counter()
        world.step(inputs)
        stepped = time.perf_counter()
        world.frame()
        lived.frames[k] = (time.perf_counter() - stepped) * 1e3
        lived.steps[k] = (stepped - began) * 1e3
        lived.cpu[k] = (time.thread_time() - on_core) * 1e3
        now = stolen_now()
        lived.stolen.append(None if now is None or stolen is None else now - stolen)
        lived.parts.append(parts.take())
        lived.moving[k] = np.count_nonzero(world.columns.pace)
    gc.unfreeze()
    parts.undo()
    return lived


def _figures(how: str, lived: Lived) -> list[dict[str, Any]]:
    whole = lived.steps + lived.frames
    missed = int((whole > TICK_MS).sum())
    n = int(whole.argmax())
    worst = longest(how, whole[n], lived.parts[n], lived.cpu[n], lived.stolen[n])
    return [
        _row(f"{how}: step and frame, p99", "ms", _p(whole, 99)) | {"at_most": TICK_MS},
        _row(f"{how}: step and frame, p50", "ms", _p(whole, 50)),
        _row(f"{how}: step and frame, longest", "ms", float(whole.max())),
        _row(f"{how}: ticks missed of {whole.size}", "ticks", missed) | {"at_most": 0},
        *(_row(metric, "ms", ms) for metric, ms in worst),
        _row(f"{how}: the step, p99", "ms", _p(lived.steps, 99)),
        _row(f"{how}: the frame, p99", "ms", _p(lived.frames, 99)),
        _row(f"{how}: its thread on a core, p99", "ms", _p(lived.cpu, 99)),
        _row(f"{how}: under way, mean", "NPCs", float(lived.moving.mean())),
    ]


def _shares(lived: Lived) -> list[dict[str, Any]]:
    """Where the time of all ticks went, a mean for each part."""
    spent: dict[str, float] = defaultdict(float)
    for parts in lived.parts:
        for part, ms in parts.items():
            spent[part] += ms
    many = len(lived.parts)
    return [_row(f"a tick's mean share: {part}", "ms", ms / many) for part, ms in spent.items()]


def _p(values: NDArray[np.float64], percent: float) -> float:
    return float(np.percentile(values, percent))


def _row(metric: str, unit: str, value: float) -> dict[str, Any]:
    return {"metric": metric, "unit": unit, "value": round(value, 2)}
