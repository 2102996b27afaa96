"""Under faults by seed a company lives on: nobody stuck, no tick missed, replay equal; and twice the same."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import greenroom.scenes
from actors.company import Company
from actors.dispatch import Dispatcher, GreenActor
from actors.faults import Fault, FaultPlan, Faults, Rates
from actors.messages import Answer
from actors.settings import CompanySettings
from actors.supervision import ChildSpec, RestartPolicy, Supervisor, supervise
from models.scripted import ScriptedBackend
from world.replay import replay
from world.ruleset import Ruleset
from world.scene import compile_scene, load
from world.store.options import StoreOptions
from world.store.records import WorldMeta
from world.store.store import Store
from world.world import World

VALLEY = Path(greenroom.scenes.__path__[0]) / "valley"
QUESTIONS = ("speech", "decision", "plan", "flood")


class Life:
    """A headless company under faults, with a player who talks and, if it is `kept`, a store of its own."""

    def __init__(
        self,
        where: Path,
        world: World,
        personas: Any,
        ruleset: Ruleset,
        faults: Faults,
        patience_s: float,
        kept: bool,
    ) -> None:
        self.faults = faults
        self.world = world
        self.backend = ScriptedBackend(inline=True)
        meta = WorldMeta(scene=world.scene, seed=world.seed, ruleset_digest=ruleset.digest())
        options = StoreOptions(keep_checkpoints=100)
        self.store = Store.open(where, create=meta, options=options) if kept else None
        self.company = Company(
            world,
            personas=personas,
            backend=self.backend,
            store=self.store,
            settings=CompanySettings(patience_s=patience_s),
            headless=True,
            faults=faults,
        )

    def live(self, ticks: int, heard: Any, outcomes: Any) -> dict[str, Any]:
        c = self.company
        listeners: list[Any] = []
        seen: list[int] = []
        bodies: list[int] = []

        def join(outcome: Any) -> None:
            bodies.extend([outcome.entity] if outcome.accepted else [])

        def each(world: World) -> None:
            seen.append(world.tick)
            if world.tick % 200 == 1 and not bodies:
                c.join("Ann", join)
            if world.tick % 40 == 0 and bodies:
                near = self.near(world, bodies[0])
                if near:
                    listeners.append(heard())
                    c.say(bodies[0], near, f"What of tick {world.tick}?", listeners[-1])

        began = time.perf_counter()
        with c:
            assert c.run_headless(ticks, each) == ticks
            took = time.perf_counter() - began
            self.faults.stop()
            c.run_headless(20 * 90)
            status = c.status()
            states = {row["state"] for row in c.inspect(limit=1000)["actors"]}
            world = c.ledger.world
            told = {
                "ticks_a_second": round(ticks / took),
                "injected": self.faults.by_kind(),
                "by_actor": {
                    f"{fault} {kind}": n for (fault, kind), n in sorted(self.faults.counts.items())
                },
                "restarts": sum(kind["restarts"] for kind in status["kinds"].values()),
                "resets": status["resets"],
                "overdue": {kind: status["counts"].get(f"{kind}_overdue", 0) for kind in QUESTIONS},
                "questions": status["questions_open"],
                "minds": status["minds_did"],
                "conversations": len(listeners),
                "hash": f"{world.hash():016x}",
                "last": world.tick,
            }
        assert seen == list(range(1, ticks + 1)), "a tick was missed"
        assert states == {"alive"}
        assert all(listener.ends == 1 for listener in listeners)
        assert told["questions"] <= c.settings.decisions + 1
        assert world.hash() == world.full_hash()
        if self.store is not None:
            self.store.flush()
            self.store.close()
        self.backend.close()
        return told

    @staticmethod
    def near(world: World, body: int) -> int:
        c = world.columns
        row = c.row_of(body)
        if row < 0:
            return 0
        speaks = world.ruleset.tables.speaks[c.species[: c.high]] & (c.id[: c.high] != 0)
        speaks &= (c.player[: c.high] == 0) & (c.died[: c.high] < 0)
        d2 = (c.x[: c.high] - c.x[row]) ** 2 + (c.y[: c.high] - c.y[row]) ** 2
        d2[~speaks] = 2**62
        return int(c.id[int(d2.argmin())])


@pytest.fixture
def valley(tmp_path: Path, ruleset: Ruleset, heard: Any, outcomes: Any) -> Callable[..., Any]:
    """Lives the valley under a plan; gives what came of it, and its replay."""

    def run(
        plan: FaultPlan,
        ticks: int,
        name: str = "w",
        npcs: int | None = None,
        replays: bool = True,
        patience_s: float = 0.3,
    ) -> Any:
        scene = compile_scene(load(VALLEY), ruleset.species_names, 7, npcs)
        world = World(scene, ruleset, 7)
        where = tmp_path / name
        life = Life(where, world, scene.personas, ruleset, Faults(plan), patience_s, replays)
        told = life.live(ticks, heard, outcomes)
        again = (
            replay(where, ruleset, start=lambda _meta: World(scene, ruleset, 7))
            if replays
            else None
        )
        return told, again

    return run


def test_the_valley_lives_through_seeded_faults_and_its_replay_agrees(valley: Any) -> None:
    told, again = valley(FaultPlan.for_company(5, 0.04), 2_000)
    assert set(told["injected"]) == {fault.label for fault in Fault}
    assert told["restarts"] > 5
    assert told["resets"] == {}
    assert again.first_difference is None, again.reason
    assert f"{again.final_hash:016x}" == told["hash"]
    assert again.last_tick == told["last"]


def test_the_same_seed_of_faults_gives_the_same_faults_and_the_same_world(valley: Any) -> None:
    def lived(seed: int, name: str) -> Any:
        # The player joins once that is durable, which a disk decides: so nothing is kept. Patience goes by the clock, too:
        # long, so that it ends for what was lost, never for a slow moment.
        plan = FaultPlan.for_company(seed, 0.04)
        return valley(plan, 500, name, replays=False, patience_s=2.0)[0]

    first, second, other = lived(9, "a"), lived(9, "b"), lived(10, "c")
    for told in (first, second, other):
        del told["ticks_a_second"]
    assert first == second
    assert other["by_actor"] != first["by_actor"]


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_a_day_in_the_valley_under_seeded_faults(valley: Any, capsys: Any) -> None:
    told, again = valley(FaultPlan.for_company(3, 0.02), 24_000)
    with capsys.disabled():
        print(told, again)
    assert again.first_difference is None, again.reason
    assert f"{again.final_hash:016x}" == told["hash"]
    assert told["resets"] == {}


class Scribe(GreenActor):
    def __init__(self, log: list[Any]) -> None:
        super().__init__()
        self.log = log

    def on_receive(self, message: Any) -> None:
        self.log.append(message)


def small(faults: Faults | None, log: list[Any]) -> tuple[Dispatcher, Any, list[float]]:
    now = [0.0]
    dispatcher = Dispatcher(workers=0, clock=lambda: now[0], faults=faults)
    boss = dispatcher.start(Supervisor, "boss")
    policy = RestartPolicy(intensity=10_000, backoff_s=0.01, backoff_max_s=0.01)
    ref = supervise(boss, ChildSpec("scribe", lambda: Scribe(log), policy), dispatcher)
    return dispatcher, ref, now


def run(dispatcher: Dispatcher, now: list[float], seconds: float) -> None:
    end = now[0] + seconds
    while now[0] < end:
        dispatcher.pump()
        now[0] += 0.05


@pytest.mark.parametrize(
    ("rates", "fault"),
    [(Rates(lost=0.3), "lost"), (Rates(delay=0.3), "delay"), (Rates(crash=0.3), "crash")],
)
def test_each_fault_hits_as_often_as_planned_and_where_the_seed_says(
    rates: Rates, fault: str
) -> None:
    logs: list[list[Any]] = []
    for _ in range(2):
        log: list[Any] = []
        faults = Faults(FaultPlan(11, rates))
        dispatcher, ref, now = small(faults, log)
        for n in range(400):
            ref.tell(Answer(n, 1))
        run(dispatcher, now, 30.0)
        hit = faults.by_kind()[fault]
        assert 80 <= hit <= 400
        tokens = [answer.token for answer in log]
        if fault == "lost":
            assert len(tokens) == 400 - hit
        elif fault == "delay":
            assert sorted(tokens) == list(range(400))
            assert tokens != sorted(tokens)
        else:
            assert 400 - hit < len(tokens) < 400
        dispatcher.close()
        logs.append(tokens)
    assert logs[0] == logs[1]


def test_a_full_mailbox_is_refused_to_the_teller() -> None:
    log: list[Any] = []
    faults = Faults(FaultPlan(1, Rates(full=0.5)))
    dispatcher, ref, now = small(faults, log)
    refused = 0
    for n in range(100):
        try:
            ref.tell(Answer(n, 1))
        except Exception as error:
            assert error.code == "mailbox_full"  # type: ignore[attr-defined]
            refused += 1
    run(dispatcher, now, 1.0)
    assert 30 < refused < 70
    assert faults.by_kind() == {"full": refused}
    assert len(log) == 100 - refused
    dispatcher.close()


def test_without_a_plan_nothing_is_put_between_an_actor_and_its_messages() -> None:
    log: list[Any] = []
    dispatcher, ref, _ = small(None, log)
    actor = ref._actor_weakref()
    assert not {"on_receive", "on_start"} & vars(actor).keys()
    assert dispatcher.injected == {}
    dispatcher.close()


def test_a_kind_has_the_rates_of_its_own() -> None:
    log: list[Any] = []
    faults = Faults(FaultPlan(1, Rates(1.0, 1.0, 1.0, 1.0), kinds={"Scribe": Rates()}))
    dispatcher, ref, now = small(faults, log)
    for n in range(50):
        ref.tell(Answer(n, 1))
    run(dispatcher, now, 1.0)
    assert len(log) == 50
    assert faults.by_kind() == {}
    dispatcher.close()
