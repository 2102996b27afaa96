"""Out of order against lock-step: a recorded run of the valley replayed over a stated model server."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from actors.company import Company
from actors.settings import CompanySettings
from actors.trace import Recorder, Trace, Traced
from benchmarks import _server
from benchmarks._machine import machine
from benchmarks._replay import Replay, Replayed, Schedule
from benchmarks._server import SLOTS, Batching, Curve, Unlimited
from benchmarks.llm import find
from greenroom import worlds
from models import house
from models.request import Message
from models.scripted import ScriptedBackend
from plugins.manager import load_builtin_and_installed
from world.influence import Influence
from world.ruleset import Ruleset
from world.world import World

TICKS = 1200
"""Somewhat more than a game hour: morning comes at tick 1,000, and all are asked."""
CROWDS = ((25, 1.3), (500, 2.5))
ORACLE_SHARE = 0.85
_MANY = 4096


log = logging.getLogger("greenroom.bench")


def counters() -> tuple[Callable[[Sequence[Message]], Sequence[int]], Callable[[str], int]]:
    """The tokens of a prompt, and how many a reply has, by the house model's own template and tokenizer."""
    from models.llama.library import LogTail, Model
    from models.llama.settings import EngineSettings
    from models.llama.template import ChatTemplate

    model = Model(house.path(), EngineSettings(gpu_layers=0), LogTail())
    template = ChatTemplate(model.template(), model.vocabulary)
    return (
        lambda messages: template.tokens([(m["role"], m["content"]) for m in messages]),
        lambda text: len(model.vocabulary.tokenise(text, control=False)) + 1,
    )


def record(npcs: int, ticks: int) -> Trace:
    """A headless run of the valley in which every mind whose situation changes is asked.

    Nobody waits for a free place among the questions, so that no mind's turn hangs on another's.
    """
    plugins = load_builtin_and_installed()
    ruleset = plugins.ruleset()
    scene = worlds.compiled("valley", ruleset, None, npcs)
    recorder = Recorder(*counters())
    backend = ScriptedBackend()
    company = Company(
        World(scene, ruleset, scene.seed),
        personas=scene.personas,
        backend=Traced(backend, recorder),
        settings=CompanySettings(decisions=_MANY, percepts_a_tick=_MANY, percepts_waiting=_MANY),
        headless=True,
        prompts=plugins.prompt_book(),
        common=scene.common,
    )
    try:
        with company:
            recorder.follow(company)
            company.run_headless(ticks, recorder.ticked)
    finally:
        backend.close()
    return recorder.trace()


def influence_of(trace: Trace, ruleset: Ruleset) -> Influence:
    """The rule over a trace."""
    asks = np.zeros((trace.blocks, trace.beings.size), dtype=bool)
    asks[np.maximum(0, trace.calls[:, 1] - 1) // trace.every, trace.calls[:, 0]] = True
    return Influence(
        trace.x,
        trace.y,
        trace.species,
        trace.there.astype(bool),
        trace.groups,
        asks,
        ruleset,
        trace.every,
    )


def replay(
    trace: Trace,
    schedule: Schedule,
    curve: Curve,
    influence: Influence | None = None,
    *,
    unlimited: bool = False,
) -> Replayed:
    """A replay, in the best of the queue's orders, and which that was."""
    tried = []
    for first in firsts:
        server = Unlimited(curve) if unlimited else Batching(curve)
        tried.append((Replay(trace, schedule, server, influence, first).run(), first))
        if unlimited:
            break
    return min(tried, key=lambda pair: pair[0].seconds)


def run(
    *,
    scale: float = 1.0,
    threads: int | None = None,
    measured: list[Path] | None = None,
) -> dict[str, Any]:
    """Record at 25 and at 500 NPCs, and replay over the step times of a 250M model on this machine.

    `measured` names files with step times (see `Curve`) to replay over in place of measuring. Returns {bench,
    machine, results, curves, replays, notes}. The bounds are on the measured curve; the flat one is stated
    beside it as information. Recorded are `scale` times 1,200 ticks, in which morning comes at tick 1,000.
    """
    if measured:
        curves = [Curve.read(path) for path in measured]
    else:
        curves = [_server.measure(find.model("250m"), threads or 2)]
    ruleset = load_builtin_and_installed().ruleset()
    results: list[dict[str, Any]] = []
    replays: list[dict[str, Any]] = []
    notes: list[str] = []
    for npcs, at_least in CROWDS:
        log.info("recording %d NPCs", npcs)
        trace = record(npcs, max(1040, round(TICKS * scale)))
        if not len(trace.calls):
            notes.append(f"{npcs} NPCs: nobody was asked anything in {trace.ticks} ticks")
            continue
        influence = influence_of(trace, ruleset)
        for curve in [*curves, _server.FLAT]:
            log.info("%d NPCs over %s", npcs, curve.name)
            ours, first = replay(trace, "out of order", curve, influence)
            lock, _ = replay(trace, "lock-step", curve)
            best, _ = replay(trace, "oracle", curve)
            alone, _ = replay(trace, "oracle", curve, unlimited=True)
            replays.append(
                {
                    "npcs": npcs,
                    "curve": curve.name,
                    "calls": len(trace.calls),
                    "prompt_tokens": int(trace.calls[:, 3].sum()),
                    "reply_tokens": int(trace.calls[:, 4].sum()),
                    "lock_step_s": lock.seconds,
                    "out_of_order_s": ours.seconds,
                    "oracle_s": best.seconds,
                    "critical_path_s": alone.seconds,
                    "slots_used": {
                        "lock-step": lock.slots,
                        "out of order": ours.slots,
                        "oracle": best.slots,
                    },
                    "queue": first,
                }
            )
            if curve is _server.FLAT:
                notes.append(
                    f"{npcs} NPCs over the {curve.name} curve, for information: "
                    f"{lock.seconds / ours.seconds:.2f} times lock-step, the oracle "
                    f"{lock.seconds / best.seconds:.2f}"
                )
                continue
            results.append(
                {
                    "metric": f"model time out of order, {npcs} NPCs, {SLOTS} slots",
                    "unit": "s",
                    "value": round(ours.seconds, 3),
                    "peer": "lock-step",
                    "peer_value": round(lock.seconds, 3),
                    "ratio": round(lock.seconds / ours.seconds, 3),
                    "at_least": at_least,
                    "note": f"the oracle is {lock.seconds / best.seconds:.2f} times as fast as lock-step",
                }
            )
            results.append(
                {
                    "metric": f"share of the slot-limited oracle, {npcs} NPCs",
                    "unit": "share",
                    "value": round(best.seconds / ours.seconds, 3),
                    "at_least": ORACLE_SHARE,
                }
            )
    return {
        "bench": "schedule",
        "machine": machine(),
        "results": results,
        "curves": [curve.told() for curve in [*curves, _server.FLAT]],
        "replays": replays,
        "notes": notes,
    }
