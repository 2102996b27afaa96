"""A scene lived without a game: as fast as it goes, recorded, and pictured at the end."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog

from actors.company import Company
from actors.faults import FaultPlan, Faults
from actors.settings import CompanySettings
from foundation.errors import UsageError
from greenroom import minds, worlds
from greenroom.app import SWITCH_INTERVAL_S
from greenroom.report.recorder import RunRecorder
from greenroom.settings import ModelSettings
from models.request import Backend
from models.scripted import ScriptedBackend
from world.store.layout import DATA_NAME
from world.store.options import StoreOptions
from world.world import World

log = structlog.get_logger("greenroom")

MOST_CHECKPOINTS = 64
FAULT_RATE = 0.02
"""Of a hundred messages that a fault can hit, two meet it: each of crash, delay, lost reply, full mailbox."""
_UNANSWERED_S = 0.3
"""Under faults, how long a step waits for a reply that may have been lost."""
AHEAD_TICKS = 0
"""How far a run looks ahead for whom it can ask: lock-step unless it is wanted."""
AHEAD_ROOM = 4
"""With so many calls under way ahead no more are risked that may be in vain; 64 for a server that answers 64 as fast as one."""
DECISIONS = CompanySettings().decisions
# Whoever wants every sample and place reads report.json.
_TOO_LONG = ("series", "final")


@dataclass(frozen=True, slots=True)
class RunRequest:
    """What to live: `models.enabled = False` for reflexes only. `ahead`: ticks that are looked ahead, 0 for lock-step;
    `ahead_room`: with how many calls under way none are risked. `decisions`: how many may be made at once; another
    number is another world.

    With `faults`, the seed of a plan, minds are scripted and things go wrong on purpose, in lock-step.
    """

    scene: str
    ticks: int
    seed: int | None
    npcs: int | None
    models: ModelSettings
    out: Path
    faults: int | None = None
    ahead: int = AHEAD_TICKS
    ahead_room: int = AHEAD_ROOM
    decisions: int = DECISIONS


def simulate(request: RunRequest, on_tick: Callable[[int], None]) -> dict[str, Any]:
    """Live the scene and write the run into `request.out`; returns the report's values.

    `on_tick(tick)` is called after each tick. The folder holds `world/` (store and journal from the
    first tick on), report.json, report.html, pictures and charts. Raises `UsageError` when the folder
    already holds a run, `SceneError`, `ModelError` when a model was asked for and can't be used.
    """
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    folder = request.out / worlds.RUN_WORLD
    if (request.out / DATA_NAME).exists():
        raise UsageError(f"{request.out} holds a served world", "name another folder")
    opened = worlds.open_world(
        folder,
        scene=request.scene,
        seed=request.seed,
        npcs=request.npcs,
        fresh=True,
        # Every checkpoint is kept, so that a replay starts at the first tick.
        options=StoreOptions(keep_checkpoints=MOST_CHECKPOINTS * 2),
    )
    for warning in opened.plugins.errors:
        log.warning("plugin switched off", plugin=warning.plugin, why=str(warning))
    gathered = None
    backend: Backend | None = None
    plan = None if request.faults is None else FaultPlan.for_company(request.faults, FAULT_RATE)
    faults = None if plan is None else Faults(plan)
    # What a cache answers hangs on the clock: only for whoever wants it in runs, too.
    caches = request.models.cache == "always"
    try:
        if faults is None:
            gathered = minds.gather(
                request.models,
                opened.plugins,
                cache_in=folder if caches else None,
            )
        if gathered is not None:
            gathered.wait_ready(600.0)
            backend = gathered.backend
        elif faults is not None:
            backend = ScriptedBackend(inline=True)
        company = Company(
            opened.world,
            personas=opened.scene.personas,
            backend=backend,
            store=opened.store,
            settings=_bounds(request, caches),
            headless=True,
            prompts=opened.plugins.prompt_book(),
            common=opened.scene.common,
            faults=faults,
        )
        recorder = RunRecorder(opened.world)
        with company:
            seconds = _live(company, recorder, request.ticks, on_tick)
        opened.store.flush()
        report = recorder.write(request.out)
        status = company.status()
        # A step that failed was undone into another object: the company knows which one lives.
        world = company.ledger.world
    finally:
        if gathered is not None:
            gathered.close()
        opened.store.close()
    told = {
        **{key: value for key, value in report.items() if key not in _TOO_LONG},
        "state_hash": f"{world.hash():016x}",
        "scene": request.scene,
        "seed": world.seed,
        "ticks": world.tick,
        "seconds": round(seconds, 3),
        "ticks_per_second": round(world.tick / seconds, 1) if seconds else None,
        "model": status["model"],
        "minds": status["minds_did"],
        "coordinator": status["coordinator_did"],
        "counts": status["counts"],
        "ahead": status["ahead"],
        "actors": company.inspect()["kinds"],
        "out": str(request.out),
    }
    if faults is not None:
        told["faults"] = {
            "seed": request.faults,
            "rate": FAULT_RATE,
            "injected": faults.by_kind(),
            "restarts": sum(kind["restarts"] for kind in status["kinds"].values()),
            "stuck": status["resets"],
        }
    return told


def _bounds(request: RunRequest, caches: bool) -> CompanySettings:
    usual = CompanySettings()
    bounds: dict[str, Any] = {
        "checkpoint_ticks": max(usual.checkpoint_ticks, request.ticks // MOST_CHECKPOINTS),
        "decisions": request.decisions,
        "percepts_a_tick": max(usual.percepts_a_tick, request.decisions),
        "percepts_waiting": max(usual.percepts_waiting, request.decisions),
    }
    if request.faults is not None:
        bounds |= {"patience_s": _UNANSWERED_S}
    else:
        bounds |= {
            "cached_openings": caches,
            "ahead_ticks": request.ahead,
            "ahead_room": request.ahead_room,
        }
    return CompanySettings(**bounds)


def _live(
    company: Company, recorder: RunRecorder, ticks: int, on_tick: Callable[[int], None]
) -> float:
    begun = last = time.perf_counter()

    def lived(world: World) -> None:
        nonlocal last
        recorder.follow(world)
        frame = world.frame()
        recorder.sample(frame, (time.perf_counter() - last) * 1000, frame.events)
        on_tick(world.tick)
        last = time.perf_counter()

    company.run_headless(ticks, lived)
    return time.perf_counter() - begun
