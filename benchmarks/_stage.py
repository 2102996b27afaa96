"""A crowded world, served in a process of its own as `greenroom serve` does it, with a probe in its ticks.

`python -m benchmarks._stage WANTED` (JSON: npcs, entities, seed, side, folder, load) prints the game's address
once clients can connect, then obeys its input line by line: `begin` empties the probe and, with `load`, lets
the crier loose; `end` prints what was measured as one JSON object. When the input ends, so does the world.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections import Counter
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Final

import pykka

from actors.actor import GreenActor, receives
from actors.company import Company
from actors.conversation import SpeechStream
from actors.director import Director
from actors.errors import MailboxFull
from actors.journal import Journal
from actors.messages import HZ, Hear, Percept
from actors.pace import Pace
from benchmarks._crowded import crowded
from benchmarks._parts import Parts, Stolen
from greenroom import settings
from greenroom.app import App
from greenroom.worlds import OpenWorld
from plugins.manager import load_builtin_and_installed
from world.clock import DAY_TICKS
from world.events import Event
from world.store.records import WorldMeta
from world.store.store import Store
from world.world import World

SEVEN: Final = DAY_TICKS // 24
"""The tick at which the first go to work."""
CROWD: Final = 400
"""Minds that the crier tells things."""
_AT_ONCE: Final = 4
_THOUGHTS: Final = 2
"""Percepts that make a mind ask the model, a tick."""


@dataclass
class Probe:
    """Milliseconds of each tick's parts, and when its frame was made, on the monotonic clock.

    `took` is the director's whole tick, `cpu` what its thread was on a core for meanwhile, `stolen` what the host took from
    all cores; `parts` tells where the time went.
    """

    tick: list[int] = field(default_factory=list)
    step: list[float] = field(default_factory=list)
    frame: list[float] = field(default_factory=list)
    late: list[float] = field(default_factory=list)
    took: list[float] = field(default_factory=list)
    framed: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    stolen: list[float | None] = field(default_factory=list)
    parts: list[dict[str, float]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.stolen_now = Stolen()
        self._spent = Parts()
        self._began = 0.0
        self._stolen: float | None = None
        # Ticks are noted on the director's thread and asked for on another.
        self._whole = threading.Lock()

    def clear(self) -> None:
        """Begin anew."""
        with self._whole:
            for part in fields(self):
                getattr(self, part.name).clear()

    def told(self) -> dict[str, Any]:
        """A list a field; those of what is noted when a tick is over are of the same ticks."""
        with self._whole:
            return asdict(self)

    def watch(self, world: World) -> None:
        """Time the world's own part of each tick, and what the director does beside it."""
        self._spent.watch_worlds()
        self._spent.watch(Director, "_notice", "telling minds and groups")
        self._spent.watch(Director, "_show", "showing the frame")
        self._spent.watch(Journal, "record", "the journal")
        self._spent.watch(Journal, "keep", "checkpoints")
        step, frame = world.step, world.frame

        def timed_step(*args: Any) -> Any:
            self._spent.take()
            self._stolen = self.stolen_now()
            self._began = time.thread_time()
            began = time.perf_counter()
            result = step(*args)
            self.step.append((time.perf_counter() - began) * 1e3)
            self.tick.append(result.tick)
            return result

        def timed_frame(full: bool = False) -> Any:
            began = time.perf_counter()
            made = frame(full)
            if not full:
                self.frame.append((time.perf_counter() - began) * 1e3)
                self.framed.append(time.monotonic())
            return made

        vars(world).update(step=timed_step, frame=timed_frame)

    def stepped(self, late_s: float, took_s: float) -> None:
        """The director's tick is over."""
        now, before = self.stolen_now(), self._stolen
        with self._whole:
            self.late.append(late_s * 1e3)
            self.took.append(took_s * 1e3)
            self.cpu.append((time.thread_time() - self._began) * 1e3)
            self.stolen.append(None if now is None or before is None else now - before)
            self.parts.append(self._spent.take())


class NotedPace(Pace):
    """The server's own pace, which also keeps every tick's figures."""

    def __init__(self, probe: Probe) -> None:
        super().__init__(1.0 / HZ)
        self._probe = probe

    def stepped(self, late_s: float, took_s: float) -> None:
        super().stepped(late_s, took_s)
        self._probe.stepped(late_s, took_s)


class _Cry:
    """To the crier, from itself: tell some more."""


class Listener:
    """Counts the answers to lines that were told by the crier."""

    def __init__(self) -> None:
        self.answered = 0

    def on_text(self, text: str) -> None:
        """A piece."""

    def on_done(self, text: str, source: str, reply: object | None) -> None:
        """An answer."""
        self.answered += 1

    def on_rejected(self, code: str, reason: str) -> None:
        """An answer to a question that was never the director's: the world drops it."""
        self.answered += 1


class Crier(GreenActor):
    """Never lets the dispatcher's queue be empty: it tells a few minds of its crowd a line each, and then itself.

    A mind recalls what was said before, answers by reflex, and tells the director, which finds that it did not ask
    and says so. Each tick some minds get a percept as well, for which they ask the model.
    """

    def __init__(self, company: Company, listener: Listener, counts: Counter[str]) -> None:
        super().__init__()
        self._company = company
        self._listener = listener
        self._counts = counts
        minds = sorted(company.ledger.minds.items())
        self._crowd = minds[:: max(1, len(minds) // CROWD)][:CROWD]
        world = company.ledger.world
        self._situations = {entity: world.situation(entity) for entity, _ in self._crowd}
        self._at = 0
        self._tick = 0

    @receives(_Cry)
    def cry(self, message: _Cry) -> None:
        """Tell the next few, and come again."""
        epoch = self._company.ledger.world.epoch
        for _ in range(_AT_ONCE):
            entity, mind = self._next()
            situation = self._situations[entity]
            if situation is None:
                continue
            stream = SpeechStream(self._listener)
            hear = Hear(0, epoch, 0, "the crier", "Hear me! What news?", situation, stream, False)
            self._tell(mind, hear, "lines")
        tick = self._company.ledger.world.tick
        if tick > self._tick:
            self._tick = tick
            for _ in range(_THOUGHTS):
                entity, mind = self._next()
                situation = self._company.ledger.world.situation(entity)
                if situation is not None:
                    event = Event(tick, "calm", entity, 0, {})
                    self._tell(mind, Percept(0, epoch, event, situation), "percepts")
        self.actor_ref.tell(message)

    def _next(self) -> tuple[int, pykka.ActorRef[Any]]:
        self._at = (self._at + 1) % len(self._crowd)
        return self._crowd[self._at]

    def _tell(self, mind: pykka.ActorRef[Any], message: object, what: str) -> None:
        try:
            mind.tell(message)
        except (pykka.ActorDeadError, MailboxFull):
            self._counts["not told"] += 1
        else:
            self._counts[what] += 1


class Stage(App):
    """The server, whose world is the crowded one at seven in the morning."""

    def __init__(self, wanted: dict[str, Any]) -> None:
        models = {"enabled": bool(wanted["load"]), "local_only": True, "threads": 1}
        super().__init__(
            settings.load(
                None,
                server={"port": 0, "http_port": 0},
                world={"data": Path(wanted["folder"])},
                models=models,
            )
        )
        self._wanted = wanted
        self.probe = Probe()
        self.counts: Counter[str] = Counter()
        self.listener = Listener()

    def _open(self) -> OpenWorld:
        wanted = self._wanted
        npcs, seed = wanted["npcs"], wanted["seed"]
        plugins = load_builtin_and_installed()
        ruleset = plugins.ruleset()
        scene = crowded(npcs, wanted["entities"] - npcs, seed, wanted["side"])
        world = World(scene, ruleset, seed)
        for _ in range(wanted["from"]):
            world.step()
        meta = WorldMeta(scene="crowded", seed=seed, npcs=npcs)
        store = Store.open(self.folder, create=meta)
        store.recover()
        store.checkpoint(world.moment(), state_hash=world.hash())
        return OpenWorld(world, store, scene, ruleset, plugins, None, ())

    def _company(self) -> Company:
        company = super()._company()
        self.probe.watch(self.opened.world)
        company.ledger.pace = NotedPace(self.probe)
        return company

    def let_loose(self) -> None:
        """Saturate the dispatcher from now on."""
        crier = self.company.dispatcher.start(Crier, self.company, self.listener, self.counts)
        crier.tell(_Cry())

    def figures(self) -> dict[str, Any]:
        """Counts up to now: the server's own, the crier's, and the engine's."""
        status = self.company.status()
        engine = self.minds.engine.status() if self.minds and self.minds.engine else {}
        return {
            "pace": status["pace"],
            "kinds": {name: kind["handled"] for name, kind in status["kinds"].items()},
            "crier": dict(self.counts) | {"answered": self.listener.answered},
            "engine": engine.get("engine", {}),
            "slow": {name: kind["slow"] for name, kind in status["kinds"].items() if kind["slow"]},
            "stolen_ms": self.probe.stolen_now(),
            "kernels": _kernels(),
            "cpu_s": time.process_time(),
            "at": time.monotonic(),
        }


def _kernels() -> dict[str, int]:
    """In how many forms each compiled function of this project is loaded."""
    found = {}
    for name, module in list(sys.modules.items()):
        if name.startswith(("world.", "engine_bridge.")):
            for key, value in vars(module).items():
                if hasattr(value, "signatures") and value.py_func.__module__ == name:
                    found[f"{name}.{key}"] = len(value.signatures)
    return found


def main() -> None:
    """Serve, obey, print."""
    wanted = json.loads(sys.argv[1])
    out = sys.stdout
    sys.stdout = sys.stderr
    with Stage(wanted) as stage:
        if stage.minds is not None:
            stage.minds.wait_ready(120.0)
        print(json.dumps({"game": stage.bridge.address, "pid": os.getpid()}), file=out, flush=True)
        before = stage.figures()
        for line in sys.stdin:
            if line.strip() == "begin":
                if wanted["load"]:
                    stage.let_loose()
                time.sleep(wanted["settle_s"])
                stage.probe.clear()
                before = stage.figures()
                print(json.dumps({"begun": True}), file=out, flush=True)
            elif line.strip() == "end":
                # Figures first: making plain values of all ticks stops them for a moment.
                after = stage.figures()
                told = {"ticks": stage.probe.told(), "before": before, "after": after}
                print(json.dumps(told), file=out, flush=True)


if __name__ == "__main__":
    main()
