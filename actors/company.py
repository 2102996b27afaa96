"""The company: all actors of a world, wired, started, run and stopped; the door others use.

Live, a metronome steps the world on the shared dispatcher. Headless, `run_headless` steps it on the
caller, as fast as it goes, and the same seed with replies that are pure gives the same world.
"""

from __future__ import annotations

import itertools
import logging
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any, Final

import pykka
from pydantic import ValidationError

from actors.actor import GreenActor
from actors.casting import Casting, first_speaker, warm
from actors.conversation import Conversations, SpeechListener, SpeechStream
from actors.coordinator import Coordinator, CoordinatorMind
from actors.director import Director
from actors.dispatch import Dispatcher
from actors.errors import MailboxFull
from actors.facts import about, public
from actors.faults import Faults
from actors.foresight import Foresight
from actors.headless import HeadlessRun, VirtualClock
from actors.inspection import Sort
from actors.ledger import Ledger, StoreLike
from actors.messages import (
    Hold,
    Join,
    Leave,
    Load,
    Look,
    Note,
    OnOutcome,
    Outcome,
    Propose,
    Release,
    Say,
    Subscribe,
    Synced,
    Unsubscribe,
)
from actors.metronome import Metronome
from actors.monster_group import GroupMind
from actors.npc import MindCounts
from actors.pipeline import ContentListener, Pipeline, PipelineCounts, RunContent
from actors.planning import Planner
from actors.settings import CompanySettings
from actors.supervision import ChildSpec, Incident, RestartPolicy, Supervisor, supervise
from actors.terrain_builder import BuilderCounts, TerrainBuilder
from foundation.errors import UsageError
from models.ahead import AskingAhead
from models.prompts import SHIPPED, PromptBook
from models.request import NO_PREFERENCE, Backend, Preference
from world.compiled import CommonKnowledge, PersonaCard
from world.content import ContentRequest
from world.frame import Frame
from world.inputs import Input
from world.world import World

__all__ = ["Company", "VirtualClock"]

logger = logging.getLogger(__name__)

INCIDENTS_KEPT: Final = 200
NOTHING_COMMON: Final = CommonKnowledge()
_VITAL: Final = RestartPolicy(intensity=10, period_s=60.0, backoff_s=0.02, rest_s=5.0)


class Company:
    """Everyone who acts in one world.

    `personas` are the scene's cards by key. `backend` answers for minds and coordinator; without
    one all is reflex and rule. `store` keeps ticks and turns; without one nothing is durable and
    outcomes are told at once. `prompts` is what minds are asked with, `common` what the scene says that
    they all know. `headless` makes a company that
    only `run_headless` moves. `faults` go wrong on purpose, for tests. `between_steps` is called after each
    step, for what had better be done before the next. Backend and store are the caller's to close, after `stop`.

    The methods that the bridge uses neither block nor raise for a refusal; callbacks fire on the
    dispatcher's thread and must return at once.
    """

    def __init__(
        self,
        world: World,
        *,
        personas: Mapping[str, PersonaCard] | None = None,
        backend: Backend | None = None,
        store: StoreLike | None = None,
        settings: CompanySettings | None = None,
        headless: bool = False,
        player_species: str = "traveller",
        server: str = "greenroom",
        prompts: PromptBook = SHIPPED,
        common: CommonKnowledge = NOTHING_COMMON,
        faults: Faults | None = None,
        between_steps: Callable[[], None] = lambda: None,
    ) -> None:
        self.settings = settings or CompanySettings()
        self._ahead: AskingAhead | None = None
        if headless and backend is not None and self.settings.ahead_ticks:
            backend = self._ahead = AskingAhead(backend)
        self.backend = backend
        self._prompts = prompts
        self._store = store
        self._headless = headless
        self._clock = VirtualClock()
        self.dispatcher = (
            Dispatcher(workers=0, name="headless", clock=self._clock, faults=faults)
            if headless
            else Dispatcher(workers=1, name="stage", faults=faults)
        )
        self._server = server
        self._keys = itertools.count(1)
        self._incidents: deque[Incident] = deque(maxlen=INCIDENTS_KEPT)
        self._incident_count = 0
        self.builder_counts = BuilderCounts()
        self.pipeline_counts = PipelineCounts()
        self.conversations = Conversations(store)
        known = world.ruleset.species
        self.ledger = Ledger(
            world,
            self.settings,
            store,
            headless=headless,
            thinks=backend is not None,
            player_species=player_species if player_species in known else first_speaker(known),
        )
        self.casting = Casting(
            self.ledger,
            personas or {},
            backend,
            self.conversations,
            self.settings,
            prompts,
            common,
        )
        self.ledger.between_steps = between_steps
        self.ledger.recruit = self.casting.recruit
        self.ledger.dismiss = self.casting.dismiss
        self.ledger.reflex = self.casting.reflex
        self.ledger.recast = self.casting.recast
        self._about = about(world, server)
        self._metronome: Metronome | None = None
        self._run: HeadlessRun | None = None
        self._foresight: Foresight | None = None
        self._undo_synced: Callable[[], None] = lambda: None
        self._started = False
        self._stopped = False
        self._boss: pykka.ActorRef[Supervisor]
        self._middle: dict[str, pykka.ActorRef[Supervisor]] = {}
        self.director: pykka.ActorRef[Director]
        self._pipeline: pykka.ActorRef[Pipeline]

    @property
    def mind_counts(self) -> MindCounts:
        """What all minds together have done."""
        return self.casting.mind_counts

    @property
    def coordinator_mind(self) -> CoordinatorMind:
        """What the coordinator knows and has done."""
        return self.casting.coordinator_mind

    @property
    def group_minds(self) -> Mapping[int, GroupMind]:
        """What each group's leader has in mind."""
        return self.casting.group_minds

    # -- beginning and end ---------------------------------------------------------------------------

    def start(self) -> None:
        """Start all actors and, live, the metronome.

        Raises:
            UsageError: the company has been started before.
        """
        if self._started:
            raise UsageError("the company has been started", "make a new one")
        self._started = True
        self._boss = self.dispatcher.start(Supervisor, "company", journal=self._journal)
        for name in ("stage", "minds", "groups"):
            self._middle[name] = supervise(
                self._boss, ChildSpec(name, self._supervisor_of(name)), self.dispatcher
            )
        ledger, settings, prompts = self.ledger, self.settings, self._prompts
        self.director = self._employ("director", lambda: Director(ledger))
        builder = self._employ(
            "terrain builder", lambda: TerrainBuilder(self.director, settings, self.builder_counts)
        )
        coordinator = self._employ(
            "coordinator",
            lambda: Coordinator(
                self.casting.coordinator_mind,
                self.director,
                self.backend,
                settings,
                self._headless,
                prompts,
            ),
        )
        self._pipeline = self._employ("pipeline", lambda: Pipeline(self.pipeline_counts))
        ledger.builder, ledger.coordinator = builder, coordinator
        self.casting.begin(
            self.dispatcher, self.director, self._middle["minds"], self._middle["groups"]
        )
        if self.backend is not None:
            warm(self._prompts)
        self._keep_first()
        if self._store is not None:
            self._undo_synced = self._store.on_synced(self._synced)
        if self._headless:
            if self._ahead is not None:
                ticks = settings.ahead_ticks
                mind = self.casting.coordinator_mind
                self._foresight = Foresight(
                    ledger,
                    self.casting.asking,
                    Planner(mind.personas, mind.layers, prompts, settings, headless=True),
                    self.casting.group_minds,
                    self._ahead,
                    ticks,
                )
            self._run = HeadlessRun(
                ledger, self.dispatcher, self._clock, self.director, self._foresight
            )
            self.dispatcher.pump()
            return
        self._metronome = Metronome(self.director, ledger.pace, ledger.right_of_way)
        ledger.on_stepped = self._metronome.stepped
        self._metronome.start()

    def stop(self, timeout: float = 10.0) -> None:
        """End all actors. Who still waits for an outcome or an answer is told first.

        What has been lived is checkpointed; flushing and closing the store is the caller's.
        """
        if self._stopped or not self._started:
            return
        self._stopped = True
        if self._metronome is not None:
            self._metronome.stop()
        deadline = time.monotonic() + timeout
        while self.ledger.desk.unsynced and self._store is not None:
            if time.monotonic() > deadline or self.ledger.storage_fault:
                break
            self._let_pass(0.02)
        self._tell(Look(lambda world: self._keep(world)))
        left = self.dispatcher.close(timeout)
        self._undo_synced()
        if left:
            logger.warning("%d actors had to be left", left)

    def __enter__(self) -> Company:
        self.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self.stop()

    def _let_pass(self, seconds: float) -> None:
        if self._headless:
            if not self.dispatcher.pump():
                self.dispatcher.wait(seconds)
        else:
            time.sleep(seconds)

    def _supervisor_of(self, name: str) -> Callable[[], Supervisor]:
        return lambda: Supervisor(name, journal=self._journal, parent=self._boss)

    def _employ(self, key: str, factory: Callable[[], GreenActor]) -> pykka.ActorRef[Any]:
        spec = ChildSpec(key, factory, _VITAL)
        return supervise(self._middle["stage"], spec, self.dispatcher)

    def _keep_first(self) -> None:
        if self._store is not None and self._store.last_tick < 0:
            self._keep(self.ledger.world)

    def _keep(self, world: World) -> None:
        ledger = self.ledger
        if self._store is None or ledger.backlog or ledger.storage_fault:
            return
        self._store.checkpoint(world.moment(), state_hash=world.hash())

    def _synced(self, tick: int) -> None:
        self._tell(Synced(tick))

    def _journal(self, incident: Incident) -> None:
        self._incidents.append(incident)
        self._incident_count += 1
        text = f"{incident.key} failed ({incident.phase}: {incident.error}): {incident.action}"
        self._tell(Note(text[:400]))

    def _tell(self, message: object) -> bool:
        try:
            self.director.tell(message)
        except (pykka.ActorDeadError, MailboxFull):
            return False
        return True

    # -- headless ----------------------------------------------------------------------------------------

    def run_headless(
        self, ticks: int, on_tick: Callable[[World], bool | None] | None = None
    ) -> int:
        """Live `ticks` ticks on the calling thread; returns how many were lived.

        An answer of a mind is admitted exactly at its virtual latency, and the step waits for it, at
        most `patience_s` seconds of real time. `on_tick` sees the world after each tick and ends the
        run by returning False.

        Raises:
            UsageError: the company is a live one.
        """
        if self._run is None:
            raise UsageError("only a started headless company can be run", "pass headless=True")
        return self._run.live(ticks, on_tick)

    # -- the door --------------------------------------------------------------------------------------------

    def about(self) -> Mapping[str, Any]:
        """Facts that hold for this epoch, as plain values."""
        return self._about

    def subscribe(self, on_frame: Callable[[Frame], None]) -> Callable[[], None]:
        """Call `on_frame` after each step; returns the undo."""
        key = next(self._keys)
        self._tell(Subscribe(key, on_frame))

        def undo() -> None:
            self._tell(Unsubscribe(key))

        return undo

    def give_way(self) -> None:
        """Wait while a step is due or under way: for threads that work beside it, before each slice of their work.

        Returns after a tick's time in any case. Must not be called by a handler.
        """
        self.ledger.right_of_way.give_way()

    def full_frame(self, on_frame: Callable[[Frame], None]) -> None:
        """Give one frame, taken between two steps, that holds all names and all tiles."""
        self._tell(Look(lambda world: on_frame(world.frame(full=True))))

    def look(self, read: Callable[[World], None]) -> None:
        """Let `read` look at the world between two steps; it must be short and must not keep it."""
        self._tell(Look(read))

    def join(self, name: str, on_outcome: OnOutcome) -> None:
        """Make a player's body at a start of the scene."""
        if not self._tell(Join(name, on_outcome)):
            on_outcome(self._busy())

    def leave(self, entity: int, on_outcome: OnOutcome | None = None) -> None:
        """Take a player's body out of the world."""
        if not self._tell(Leave(entity, on_outcome)) and on_outcome is not None:
            on_outcome(self._busy(entity))

    def propose(self, proposal: Input, on_outcome: OnOutcome | None = None) -> None:
        """Hand a typed proposal to the director."""
        if not self._tell(Propose(proposal, on_outcome)) and on_outcome is not None:
            on_outcome(self._busy(proposal.entity))

    def say(
        self,
        speaker: int,
        to: int,
        text: str,
        listener: SpeechListener,
        preference: Preference = NO_PREFERENCE,
    ) -> Callable[[], None]:
        """A player's body says `text` to `to`; `listener` hears the answer. Returns the undo."""
        stream = SpeechStream(listener)
        if not self._tell(Say(speaker, to, text, stream, preference)):
            stream.reject("retry", "too much is waiting")
        return stream.cancel

    def situation(self, entity: int, on_result: Callable[[Mapping[str, Any] | None], None]) -> None:
        """The public panel of one entity as plain values; None when there is none or the stage is full."""
        if not self._tell(Look(lambda world: on_result(self._panel(world, entity)))):
            on_result(None)

    def content(self, request: Mapping[str, Any], listener: ContentListener) -> Callable[[], None]:
        """Run the content pipeline for a `ContentRequest`'s values. Returns the undo."""
        withdrawn = False

        def cancel() -> None:
            nonlocal withdrawn
            withdrawn = True

        try:
            wanted = ContentRequest.model_validate(dict(request))
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            where = ".".join(str(part) for part in first["loc"])
            listener.on_rejected("bad_message", f"{where}: {first['msg']}"[:200])
            return cancel
        try:
            self._pipeline.tell(RunContent(wanted, listener, lambda: withdrawn))
        except (pykka.ActorDeadError, MailboxFull):
            listener.on_rejected("retry", "too much is waiting")
        return cancel

    def hold(self, on_held: Callable[[], None]) -> bool:
        """Step no more until `load` or `release`; all that is under way ends. False when too busy.

        `on_held` is called, on the dispatcher's thread, when nothing more of this epoch reaches the store.
        """
        return self._tell(Hold(on_held))

    def release(self) -> bool:
        """Go on with the world as it stood when it was held. False when too busy."""
        return self._tell(Release())

    def load(self, world: World, on_outcome: OnOutcome | None = None, note: str = "") -> None:
        """Go on with another state of a later epoch; answers of the present one are dropped.

        `note` is journalled in the first tick of the new epoch.
        """

        def loaded(outcome: Outcome) -> None:
            if outcome.accepted:
                self._about = about(world, self._server)
            if on_outcome is not None:
                on_outcome(outcome)

        if not self._tell(Load(world, loaded, note)) and on_outcome is not None:
            on_outcome(self._busy())

    def status(self) -> Mapping[str, Any]:
        """Plain values for operators: readiness, pace, queues, counts, what each kind has done."""
        ledger = self.ledger
        return {
            "ready": self._started
            and not self._stopped
            and not ledger.storage_fault
            and not ledger.behind,
            "tick": ledger.world.tick,
            "synced_tick": ledger.synced_tick,
            "epoch": ledger.world.epoch,
            "far": int(ledger.world.far.sum()),
            "headless": self._headless,
            "actors": self.dispatcher.actors,
            "minds": len(ledger.minds),
            "groups": len(ledger.groups),
            "model": self.backend.name if self.backend is not None else "",
            "models": dict(self.backend.status()) if self.backend is not None else {},
            "pace": asdict(ledger.pace.snapshot()),
            "proposals_waiting": ledger.desk.waiting,
            "outcomes_waiting": ledger.desk.unsynced,
            "records_waiting": len(ledger.backlog),
            "questions_open": len(ledger.questions),
            "percepts_waiting": len(ledger.attention),
            "percepts_dropped": ledger.attention.dropped,
            "alarms": len(ledger.alarms),
            "storage_fault": ledger.storage_fault,
            "incidents": self._incident_count,
            "faults": dict(ledger.world.faults),
            "resets": dict(ledger.watch.counts),
            "injected": self.dispatcher.injected,
            "counts": dict(ledger.counts) | dict(ledger.questions.counts),
            "conversations": self.conversations.status(),
            "minds_did": asdict(self.mind_counts),
            "coordinator_did": {
                "model_plans": self.coordinator_mind.model_plans,
                "rule_plans": self.coordinator_mind.rule_plans,
                "model_intents": self.coordinator_mind.model_intents,
                "late": self.coordinator_mind.late,
            },
            "ahead": self._foresight.status() if self._foresight is not None else {},
            "builder_did": asdict(self.builder_counts),
            "pipeline_did": asdict(self.pipeline_counts),
            "kinds": {name: asdict(kind) for name, kind in self.dispatcher.metrics().items()},
        }

    def inspect(self, sort: Sort = "rate", limit: int = 50) -> Mapping[str, Any]:
        """The kinds of actors and the busiest actors, as `Dispatcher.inspect` tells them."""
        return self.dispatcher.inspect(sort, limit)

    def incidents(self) -> tuple[Incident, ...]:
        """The last failures and what was done about them, oldest first."""
        return tuple(self._incidents)

    def _busy(self, entity: int = 0) -> Outcome:
        tick = self.ledger.world.tick
        return Outcome(tick, False, "retry", "too much is waiting", entity)

    def _panel(self, world: World, entity: int) -> Mapping[str, Any] | None:
        situation = world.situation(entity)
        if situation is None:
            return None
        panel = public(situation)
        row = world.columns.row_of(entity)
        species = world.ruleset.species_list[int(world.columns.species[row])]
        if species.speaks and not situation.player:
            card = self.casting.card(world, entity, species)
            panel["persona"] = {"trade": card.trade, "place": card.place, "temper": card.temper}
        return panel
