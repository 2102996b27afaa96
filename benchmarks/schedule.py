"""A headless run that asks ahead against one in lock-step: the valley, lived over a stated model server."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from actors.company import Company
from actors.settings import CompanySettings
from actors.trace import Recorder, Trace, Traced
from benchmarks import _replay, _server
from benchmarks._asked import Served, waits_for
from benchmarks._machine import machine
from benchmarks._server import SLOTS, Batching, Curve, Unlimited
from foundation.errors import GreenroomError
from greenroom import worlds
from greenroom.headless import AHEAD_TICKS
from models import house
from models.request import Message
from plugins.manager import load_builtin_and_installed
from world.world import World

CROWDS = ((25, 6_000, 1.3), (500, 1_600, 2.5))
"""NPCs, ticks at scale 1 (a day is 24,000, from six; morning begins at 1,000), and the least that is promised over lock-step."""
ORACLE_SHARE = 0.85
_MANY = 4096

log = logging.getLogger("greenroom.bench")

Tokens = tuple[Callable[[Sequence[Message]], Sequence[int]], Callable[[str], int]]


def tokens() -> Tokens:
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


@dataclass(frozen=True, slots=True)
class Lived:
    """What a run came to: seconds of the server's time, slots in use over them, and how it was asked."""

    seconds: float
    slots: float
    state_hash: int
    calls: int
    in_vain: int
    forks: int
    steps_ahead: int
    wall_s: float


def live(
    npcs: int, ticks: int, ahead: int, curve: Curve, count: Tokens, recorder: Recorder | None = None
) -> Lived:
    """Live the valley over a simulated server, `ahead` ticks ahead (0: in lock-step).

    Every mind whose situation changes is asked: none waits for a free place among the questions.
    """
    plugins = load_builtin_and_installed()
    ruleset = plugins.ruleset()
    scene = worlds.compiled("valley", ruleset, None, npcs)
    served = Served(curve, *count)
    company = Company(
        World(scene, ruleset, scene.seed),
        personas=scene.personas,
        backend=served if recorder is None else Traced(served, recorder),
        settings=CompanySettings(
            decisions=_MANY, percepts_a_tick=_MANY, percepts_waiting=_MANY, ahead_ticks=ahead
        ),
        headless=True,
        prompts=plugins.prompt_book(),
        common=scene.common,
    )
    waits_for(served, company)
    began = time.perf_counter()
    with company:
        if recorder is not None:
            recorder.follow(company)
        company.run_headless(ticks, recorder.ticked if recorder is not None else None)
        seconds, wall = served.server.now, time.perf_counter() - began
        looked = company.status()["ahead"]
        state_hash = company.ledger.world.hash()
    served.close()
    return Lived(
        seconds,
        served.server.rows,
        state_hash,
        served.calls,
        int(looked.get("in_vain", 0)),
        int(looked.get("forks", 0)),
        int(looked.get("steps", 0)),
        wall,
    )


def curve_of(threads: int) -> tuple[Curve, str]:
    """Step times of the 250M model measured here where its file is, else the stated ones; and a note which."""
    from benchmarks.llm import find

    try:
        path = find.model("250m")
    except GreenroomError as error:
        return _server.STATED, f"no 250M model here ({error}): the stated step times are used"
    return _server.measure(path, threads), "step times measured on the 250M model, here and now"


def run(
    *,
    scale: float = 1.0,
    threads: int | None = None,
    measured: list[Path] | None = None,
) -> dict[str, Any]:
    """Live the valley in lock-step and asking ahead, with 25 and with 500 NPCs, over the step times of a 250M model.

    `measured` names files with step times (see `Curve`) to live over in place of measuring. Returns {bench,
    machine, results, curves, replays, notes}. Only the server's time is counted. The oracles are replays of
    the trace of the run in lock-step. The same is told of a flat curve, stated and not measured. `scale` shortens the runs.
    """
    notes: list[str] = []
    if measured:
        curves = [Curve.read(path) for path in measured]
    else:
        curve, note = curve_of(threads or 2)
        curves = [curve, _server.FLAT]
        notes.append(note)
        notes.append(
            "where steps grow with their tokens, as on few cores, a server is no faster for being asked "
            "more at once, and even the oracle gains little; the flat curve is for servers whose memory is the limit"
        )
    count = tokens()
    results: list[dict[str, Any]] = []
    replays: list[dict[str, Any]] = []
    for npcs, day, at_least in CROWDS:
        ticks = max(1_200, round(day * scale))
        for curve in curves:
            log.info("%d NPCs, %d ticks over %s: in lock-step", npcs, ticks, curve.name)
            recorder = Recorder(*count)
            lock = live(npcs, ticks, 0, curve, count, recorder)
            log.info("asking ahead")
            ours = live(npcs, ticks, AHEAD_TICKS, curve, count)
            trace = recorder.trace()
            found = judged(npcs, at_least, curve, lock, ours, trace)
            results += found[0]
            replays.append(found[1])
    return {
        "bench": "schedule",
        "machine": machine(),
        "results": results,
        "curves": [curve.told() for curve in curves],
        "replays": replays,
        "notes": notes,
    }


def judged(
    npcs: int, at_least: float, curve: Curve, lock: Lived, ours: Lived, trace: Trace
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """The results and the details of one crowd over one curve."""
    again = _replay.lock_step(trace, Batching(curve))
    best = _replay.oracle(trace, Batching(curve))
    alone = _replay.oracle(trace, Unlimited(curve))
    what = f"{npcs} NPCs, {trace.ticks} ticks, {SLOTS} slots, {curve.name}"
    results = [
        {
            "metric": f"model time asking ahead, {what}",
            "unit": "s",
            "value": round(ours.seconds, 3),
            "peer": "lock-step",
            "peer_value": round(lock.seconds, 3),
            "ratio": round(lock.seconds / ours.seconds, 3),
            "at_least": at_least,
            "note": f"{ours.calls} calls against {lock.calls}, {ours.in_vain} in vain; the oracle is "
            f"{lock.seconds / best:.2f} times as fast as lock-step",
        },
        {
            "metric": f"share of the slot-limited oracle, {npcs} NPCs, {curve.name}",
            "unit": "share",
            "value": round(best / ours.seconds, 3),
            "at_least": ORACLE_SHARE,
        },
        {
            "metric": f"worlds that differ from lock-step's, {npcs} NPCs, {curve.name}",
            "unit": "worlds",
            "value": int(ours.state_hash != lock.state_hash),
            "at_most": 0,
        },
    ]
    return results, {
        "npcs": npcs,
        "ticks": trace.ticks,
        "curve": curve.name,
        "calls": len(trace.calls),
        "prompt_tokens": sum(trace.column("prompt")),
        "tokens_read": sum(trace.column("fresh")),
        "reply_tokens": sum(trace.column("reply")),
        "lock_step_s": lock.seconds,
        "lock_step_replayed_s": again,
        "asking_ahead_s": ours.seconds,
        "oracle_s": best,
        "critical_path_s": alone,
        "slots_used": {"lock-step": lock.slots, "asking ahead": ours.slots},
        "calls_in_vain": ours.in_vain,
        "forks": ours.forks,
        "steps_ahead": ours.steps_ahead,
        "wall_s": {"lock-step": lock.wall_s, "asking ahead": ours.wall_s},
        "state_hash": f"{ours.state_hash:016x}",
    }
