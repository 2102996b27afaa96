"""Serves the crowded world as a player would meet it, idle and under load, and times each tick from inside."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from benchmarks._parts import longest
from benchmarks._stage import CROWD

PLAYERS: Final = 50
SETTLE_S: Final = 4.0
"""Until the load is what it will be."""
TICK_MS: Final = 50.0


@dataclass(frozen=True, slots=True)
class Land:
    """What is served, and from which tick on."""

    npcs: int
    entities: int
    side: int
    seed: int
    start: int


def idle(land: Land, seconds: float, settle_s: float = SETTLE_S) -> list[dict[str, Any]]:
    """Nobody there, no model, nothing told: rows of the server's ticks."""
    with _server(land, load=False, settle_s=settle_s) as server:
        server.ask("begin")
        time.sleep(seconds)
        told = server.ask("end")
    return _ticks("idle", told)


def loaded(
    land: Land, seconds: float, players: int = PLAYERS, settle_s: float = SETTLE_S
) -> list[dict[str, Any]]:
    """The dispatcher saturated, the engine decoding, players served: rows of ticks, load, and what players saw."""
    with _server(land, load=True, settle_s=settle_s) as server:
        command = [sys.executable, "-m", "benchmarks._players", server.address]
        command += [str(players), str(seconds + 2 * settle_s)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as crowd:
            try:
                _line(crowd)
                server.ask("begin")
                time.sleep(seconds)
                told = server.ask("end")
                seen = _line(crowd)
            finally:
                crowd.kill()
    rows = _ticks("under load", told, bound=True)
    return rows + _load(told, seen) + _players(told, seen)


class _Server:
    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        told = _line(process)
        self.address: str = told["game"]
        self.pid: int = told["pid"]

    def ask(self, what: str) -> dict[str, Any]:
        """Tell the server, and hear its answer."""
        assert self._process.stdin is not None
        self._process.stdin.write(what + "\n")
        self._process.stdin.flush()
        return _line(self._process)


@contextmanager
def _server(land: Land, *, load: bool, settle_s: float) -> Iterator[_Server]:
    with tempfile.TemporaryDirectory() as folder:
        wanted = {
            "npcs": land.npcs,
            "entities": land.entities,
            "side": land.side,
            "seed": land.seed,
            "from": land.start,
            "folder": f"{folder}/world",
            "load": load,
            "settle_s": settle_s,
        }
        command = [sys.executable, "-m", "benchmarks._stage", json.dumps(wanted)]
        pipe = subprocess.PIPE
        with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as process:
            try:
                yield _Server(process)
                assert process.stdin is not None
                process.stdin.close()
                process.wait(60)
            finally:
                process.kill()


def _line(process: subprocess.Popen[str]) -> dict[str, Any]:
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        raise RuntimeError(f"{process.args!r} ended before it had told all")
    told: dict[str, Any] = json.loads(line)
    return told


def _ticks(when: str, told: dict[str, Any], *, bound: bool = False) -> list[dict[str, Any]]:
    ticks, before, after = told["ticks"], told["before"]["pace"], told["after"]["pace"]
    step, frame = np.array(ticks["step"]), np.array(ticks["frame"])
    took, late = np.array(ticks["took"]), np.array(ticks["late"])
    cpu = np.array(ticks["cpu"])
    size = min(step.size, frame.size, took.size)
    if not size:
        raise RuntimeError("not one tick was lived")
    world = step[:size] + frame[:size]
    missed = after["missed"] - before["missed"]
    overdue = int((late + took > TICK_MS).sum())
    most = {"at_most": TICK_MS} if bound else {}
    stolen = [told[at]["stolen_ms"] for at in ("before", "after")]
    none = {"at_most": 0} if bound else {}
    rows = [
        row(f"{when}: step and frame, p99", "ms", _p(world, 99)) | most,
        row(f"{when}: step and frame, p50", "ms", _p(world, 50)),
        row(f"{when}: step and frame, longest", "ms", float(world.max())),
        row(f"{when}: ticks missed or begun a period late, of {size}", "ticks", missed) | none,
        row(f"{when}: ticks that ended after the next was due, of {size}", "ticks", overdue),
        row(f"{when}: the step, p99", "ms", _p(step, 99)),
        row(f"{when}: the frame, p99", "ms", _p(frame, 99)),
        row(f"{when}: the director's whole tick, p50", "ms", _p(took, 50)),
        row(f"{when}: the director's whole tick, p99", "ms", _p(took, 99)) | most,
        row(f"{when}: the director's whole tick, longest", "ms", float(took.max())),
        row(f"{when}: its thread on a core meanwhile, p99", "ms", _p(cpu, 99)),
        row(f"{when}: its thread on a core meanwhile, longest", "ms", float(cpu.max())),
        row(f"{when}: a tick began late by, p99", "ms", _p(late, 99)),
        row(f"{when}: a tick began late by, longest", "ms", float(late.max())),
    ]
    if None not in stolen:
        taken = stolen[1] - stolen[0]
        rows.append(row(f"{when}: the host took from these cores meanwhile", "ms", taken))
    n = int(took.argmax())
    worst = longest(when, took[n], ticks["parts"][n], ticks["cpu"][n], ticks["stolen"][n])
    rows += [row(metric, "ms", ms) for metric, ms in worst]
    kernels = (told[at]["kernels"] for at in ("before", "after"))
    had, has = (sum(found.values()) for found in kernels)
    rows.append(row(f"{when}: kernels compiled or loaded meanwhile", "kernels", has - had) | none)
    return rows


def _load(told: dict[str, Any], seen: dict[str, Any]) -> list[dict[str, Any]]:
    """What the server did beside its ticks."""
    before, after = told["before"], told["after"]
    seconds = float(after["at"] - before["at"])

    def rate(part: str, name: str) -> float:
        return float(after[part].get(name, 0) - before[part].get(name, 0)) / seconds

    handled = sum(rate("kinds", kind) for kind in after["kinds"])
    slow = {
        f"{kind}.{handler}": seen["longest_ms"]
        for kind, handlers in after["slow"].items()
        for handler, seen in handlers.items()
        if (kind, handler) != ("Director", "Step")
    }
    slowest = max(slow, key=lambda name: slow[name], default="none")
    return [
        row(f"longest handler beside the step ({slowest})", "ms", slow.get(slowest, 0.0)),
        row(f"lines told to {CROWD} minds", "1/s", rate("crier", "lines")),
        row("percepts told to them", "1/s", rate("crier", "percepts")),
        row("messages handled by all actors", "1/s", handled),
        row("the server's use of a core", "%", 100 * (after["cpu_s"] - before["cpu_s"]) / seconds),
        row("the players' use of a core", "%", 100 * seen["cpu_s"] / seen["seconds"]),
        row("the engine was busy", "%", 100 * rate("engine", "busy_s")) | {"at_least": 95},
        row("tokens that the engine made", "1/s", rate("engine", "completion_tokens")),
        row("tokens that the engine read", "1/s", rate("engine", "read_tokens")),
    ]


def _players(told: dict[str, Any], seen: dict[str, Any]) -> list[dict[str, Any]]:
    """What players saw of the ticks that were timed."""
    framed = dict(zip(told["ticks"]["tick"], told["ticks"]["framed"], strict=False))
    waits: list[float] = []
    apart: list[float] = []
    skipped = lacking = 0
    for frames in seen["frames"]:
        mine = [(tick, at) for tick, at in frames if tick in framed]
        lacking += not mine
        waits += [at - framed[tick] for tick, at in mine]
        apart += [b[1] - a[1] for a, b in itertools.pairwise(mine)]
        skipped += sum(b[0] - a[0] - 1 for a, b in itertools.pairwise(mine))
    if not waits:
        raise RuntimeError("no player saw a frame")
    due = len(framed) * len(seen["frames"])
    kept, gaps = np.array(waits) * 1e3, np.array(apart) * 1e3
    lost = sum(n for what, n in seen["outcomes"].items() if what.startswith("lost"))
    return [
        row("players without a single frame, or lost", "players", lacking + lost) | {"at_most": 0},
        row(f"frames that reached players, of {due}", "frames", kept.size),
        row("frames left out because a newer one was there", "frames", skipped),
        row("from a frame in the world to a player, p50", "ms", _p(kept, 50)),
        row("from a frame in the world to a player, p99", "ms", _p(kept, 99)),
        row("between a player's frames, p99", "ms", _p(gaps, 99)),
        row("between a player's frames, longest", "ms", float(gaps.max())),
        row("beings and things in a player's sight, mean", "entities", seen["in_sight"]),
        row("a player's act until it is durable, p50", "ms", seen["commit_ms"].get("p50", 0)),
        row("a player's act until it is durable, p99", "ms", seen["commit_ms"].get("p99", 0)),
        row("first words of an answer, p95", "ms", seen["first_words_ms"].get("p95", 0)),
    ]


def _p(values: NDArray[np.float64], percent: float) -> float:
    return float(np.percentile(values, percent))


def row(metric: str, unit: str, value: float) -> dict[str, Any]:
    """One result."""
    return {"metric": metric, "unit": unit, "value": round(value, 2)}
