"""Looking ahead: the world of a run in lock-step, with fewer waits, and nobody asked what another's answer decides."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pytest

from actors.company import Company
from benchmarks._asked import waits_for
from models.request import Handle, Listener, ModelRequest
from models.scripted import ScriptedBackend
from world.compiled import CompiledScene, GroupInfo, Spawn
from world.inputs import Input
from world.maths import TILE
from world.ruleset import Ruleset
from world.tiles import Tile
from world.world import World

Make = Callable[..., Company]
TICKS = 2200
"""Into the morning of tick 1,000, to which all minds turn within 1,000 ticks."""


@dataclass
class Counting:
    """Answers each call a while after it was asked, and counts how many were under way together."""

    inner: ScriptedBackend
    together: int = 0
    asked: list[ModelRequest] = field(default_factory=list)
    _open: set[int] = field(default_factory=set)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    name: str = "counting"

    def submit(self, request: ModelRequest, listener: Listener) -> Handle:
        with self._lock:
            self.asked.append(request)
            self._open.add(request.id)
            self.together = max(self.together, len(self._open))
        return self.inner.submit(request, _Ends(listener, self))

    def ended(self, request_id: int) -> None:
        with self._lock:
            self._open.discard(request_id)

    def status(self) -> dict[str, object]:
        return {}

    def close(self) -> None:
        self.inner.close()


@dataclass
class _Ends:
    listener: Listener
    counting: Counting

    def on_text(self, request_id: int, text: str) -> None:
        self.listener.on_text(request_id, text)

    def on_done(self, reply) -> None:  # type: ignore[no-untyped-def]
        self.counting.ended(reply.request_id)
        self.listener.on_done(reply)

    def on_error(self, request_id: int, error) -> None:  # type: ignore[no-untyped-def]
        self.counting.ended(request_id)
        self.listener.on_error(request_id, error)


@dataclass
class Silent:
    """Takes calls and answers none."""

    asked: list[ModelRequest] = field(default_factory=list)
    name: str = "silent"

    def submit(self, request: ModelRequest, listener: Listener) -> Handle:
        self.asked.append(request)
        return _Nothing(request)

    def status(self) -> dict[str, object]:
        return {}

    def close(self) -> None:
        pass


@dataclass
class _Nothing:
    request: ModelRequest

    def cancel(self) -> None:
        pass


def lived(company: Make, ahead: int, **more: int) -> tuple[list[int], Company, Counting]:
    backend = Counting(ScriptedBackend(latency_s=0.02))
    c = company(backend=backend, settings={"ahead_ticks": ahead, **more})
    hashes: list[int] = []
    c.run_headless(TICKS, lambda world: hashes.append(world.hash()))
    backend.close()
    return hashes, c, backend


@pytest.mark.parametrize("limits", [{}, {"decisions": 1}, {"turn_ticks": 0}], ids=str)
def test_every_tick_is_that_of_a_run_in_lock_step(company: Make, limits: dict[str, int]) -> None:
    apart, c, _ = lived(company, 1000, **limits)
    in_step, _, asked = lived(company, 0, **limits)
    assert asked.asked
    assert apart == in_step
    # Of one question at a time, or of all at once, what is claimed hangs on how fast the machine is.
    assert c.status()["ahead"]["claimed"] > 0 or limits


def test_calls_are_under_way_together_that_lock_step_makes_one_by_one(company: Make) -> None:
    _, _, in_step = lived(company, 0)
    _, c, apart = lived(company, 1000)
    assert in_step.together == 1
    assert apart.together > 1
    ahead = c.status()["ahead"]
    assert len(apart.asked) == len(in_step.asked) + ahead["asked"] - ahead["claimed"]


def test_one_who_is_near_another_whose_answer_is_missing_is_not_asked_ahead(company: Make) -> None:
    """The innkeeper and the guard live side by side; Fen is far away from both. Nobody is ever answered."""
    backend = Silent()
    c = company(backend=backend, settings={"ahead_ticks": 1000, "patience_s": 2.0})
    # The first tick that had to wait: the one in which the first call's answer was due.
    c.run_headless(2000, lambda world: world.tick < 1001 or not c.ledger.counts["decision_overdue"])
    names = c.ledger.world.names
    askers = {names[int(request.asker.partition(":")[2])] for request in backend.asked}
    assert len(backend.asked) == 2
    assert "Far Away Fen" in askers


def test_a_fork_goes_the_way_of_its_world_and_leaves_it_as_it_is(world: World) -> None:
    for _ in range(50):
        world.step()
    before, fork = world.full_hash(), world.fork()
    hashes = [fork.step().hash for _ in range(300)]
    assert world.full_hash() == before
    assert [world.step().hash for _ in range(300)] == hashes


class WhenWaited:
    """Answers the call that was made first, and only when the run has nothing to do but wait."""

    name = "when waited for"

    def __init__(self) -> None:
        self.asked: list[ModelRequest] = []
        self._inner = ScriptedBackend(inline=True)
        self._waiting: list[tuple[ModelRequest, Listener]] = []

    def submit(self, request: ModelRequest, listener: Listener) -> Handle:
        self.asked.append(request)
        self._waiting.append((request, listener))
        return _Nothing(request)

    def advance(self) -> None:
        if self._waiting:
            self._inner.submit(*self._waiting.pop(0))

    def status(self) -> dict[str, object]:
        return {}

    def close(self) -> None:
        self._inner.close()


def two_raids(ruleset: Ruleset, seed: int) -> World:
    """Two hamlets far from each other, each with a pack at its doors, as night falls."""
    spawns = []
    for n, left in enumerate((10, 200)):
        spawns += [
            Spawn("villager", (left + 2 * k) * TILE, 20 * TILE, f"V{n}{k}") for k in range(4)
        ]
        spawns += [Spawn("guard", (left + 4) * TILE, 24 * TILE, f"G{n}")]
        spawns += [Spawn("wolf", (left + k) * TILE, 36 * TILE, group=n + 1) for k in range(4)]
    scene = CompiledScene(
        name="hamlets",
        size=(240, 64),
        tiles=np.full((64, 240), Tile.GRASS, dtype=np.uint8),
        places={},
        spawns=tuple(spawns),
        player_starts=(),
        seed=seed,
        groups={n: GroupInfo(f"pack {n}", "wolf") for n in (1, 2)},
    )
    return World.from_state(World(scene, ruleset, seed).get_state() | {"tick": 15_000}, ruleset)


def test_of_two_raids_far_apart_neither_waits_for_the_others_answers(
    company: Make, ruleset: Ruleset
) -> None:
    planned = 0
    for seed in (1, 2, 3):
        runs = []
        for ahead in (0, 1000):
            backend = WhenWaited()
            c = company(
                backend=backend,
                world=two_raids(ruleset, seed),
                settings={
                    "ahead_ticks": ahead,
                    "ahead_room": 0,
                    "decisions": 64,
                    "percepts_a_tick": 64,
                },
            )
            waits_for(backend.advance, c)
            c.run_headless(300)
            runs.append((c.ledger.world.hash(), len(backend.asked)))
            backend.close()
        # The same world by the same calls: none was made in vain.
        assert runs[0] == runs[1]
        counts = c.status()["ahead"]
        assert counts["claimed"] > 0
        assert counts["in_vain"] == 0
        planned += sum(asked.purpose == "plan" and asked.wanted > 0 for asked in backend.asked)
    assert planned > 0


def pack_and_players(ruleset: Ruleset) -> World:
    """A pack struck by players' bodies, who have no minds, and one with a mind who sees nothing of it."""
    wolves = [Spawn("wolf", (30 + k) * TILE, 30 * TILE, group=1) for k in range(6)]
    scene = CompiledScene(
        name="clearing",
        size=(64, 64),
        tiles=np.full((64, 64), Tile.GRASS, dtype=np.uint8),
        places={},
        spawns=(*wolves, Spawn("villager", 10 * TILE, 60 * TILE, "Out Of Sight")),
        player_starts=(),
        seed=5,
        groups={1: GroupInfo("the pack", "wolf")},
    )
    world = World.from_state(World(scene, ruleset, 5).get_state() | {"tick": 15_000}, ruleset)
    body = {"species": "traveller", "y": 31 * TILE, "player": True}
    bodies = [body | {"name": f"P{n}", "x": (30 + n) * TILE} for n in range(2)]
    world.step([Input("spawn", 0, "director:join", n, one) for n, one in enumerate(bodies)])
    columns = world.columns
    rows = columns.live_rows()
    wolf = int(columns.id[rows[columns.group[rows] == 1]][0])
    players = columns.id[rows[columns.player[rows] == 1]].tolist()
    world.step([Input("attack", one, f"player:{one}", 1, {"target": wolf}) for one in players])
    return world


def test_no_plan_is_asked_boldly_for_a_group_whose_last_one_is_missing(
    company: Make, ruleset: Ruleset
) -> None:
    backend = Silent()
    c = company(
        backend=backend,
        world=pack_and_players(ruleset),
        settings={"ahead_ticks": 1000, "ahead_room": 64, "patience_s": 1.2},
    )
    # Until the run has waited in vain for the first plan.
    c.run_headless(400, lambda _world: not c.ledger.counts["plan_overdue"])
    assert c.ledger.counts["plan_overdue"] == 1
    assert c.status()["ahead"]["bold_steps"] > 100
    assert [request.purpose for request in backend.asked] == ["plan"]
