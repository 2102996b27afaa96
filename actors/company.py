"""The company: all actors of a world, wired, started, run and stopped; the door others use.

Live, a metronome steps the world on the shared dispatcher. Headless, `run_headless` steps it on the
caller, as fast as it goes, and the same seed with replies that are pure gives the same world.
"""

from __future__ import annotations

import itertools
import logging
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any, Final

import pykka
from pydantic import ValidationError

from actors.actor import GreenActor, tell_first
from actors.attention import Question
from actors.choices import DecisionReply
from actors.conversation import Conversations, SpeechListener, SpeechStream
from actors.coordinator import Coordinator, CoordinatorMind
from actors.director import Director
from actors.dispatch import Dispatcher
from actors.errors import MailboxFull
from actors.ledger import Ledger, StoreLike
from actors.lines import persona_of, reflex_line
from actors.messages import (
    HZ,
    Join,
    Leave,
    Load,
    Look,
    Note,
    OnOutcome,
    Outcome,
    Overdue,
    Propose,
    Say,
    Step,
    Subscribe,
    Synced,
    Unsubscribe,
)
from actors.metronome import Metronome
from actors.monster_group import GroupActor, GroupMind
from actors.npc import Mind, MindCounts, NpcActor
from actors.pipeline import ContentListener, Pipeline, PipelineCounts, RunContent
from actors.plans import OrdersReply
from actors.settings import CompanySettings
from actors.supervision import Child, ChildSpec, Incident, RestartPolicy, Supervisor, supervise
from actors.terrain_builder import BuilderCounts, TerrainBuilder
from foundation.errors import UsageError
from models.grammar import longest_tokens
from models.prompts import OrdersSituation, Panel, Persona, decide, orders, speech
from models.request import Backend
from world.compiled import PersonaCard
from world.content import ContentRequest
from world.frame import Frame, Situation
from world.inputs import Input
from world.maths import TILE
from world.ruleset import Species
from world.tiles import Tile
from world.world import World

__all__ = ["Company", "VirtualClock"]

logger = logging.getLogger(__name__)

INCIDENTS_KEPT: Final = 200
_VITAL: Final = RestartPolicy(intensity=10, period_s=60.0, backoff_s=0.02, rest_s=5.0)


class VirtualClock:
    """A headless run's time: a tick is 1/20 s, however long it took."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Company:
    """Everyone who acts in one world.

    `personas` are the scene's cards by key. `backend` answers for minds and coordinator; without
    one all is reflex and rule. `store` keeps ticks and turns; without one nothing is durable and
    outcomes are told at once. `headless` makes a company that only `run_headless` moves. Backend and
    store are the caller's to close, after `stop`.

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
    ) -> None:
        self.settings = settings or CompanySettings()
        self.backend = backend
        self._store = store
        self._headless = headless
        self._clock = VirtualClock()
        self.dispatcher = (
            Dispatcher(workers=0, name="headless", clock=self._clock)
            if headless
            else Dispatcher(workers=1, name="stage")
        )
        self._personas = dict(personas or {})
        self._server = server
        self._keys = itertools.count(1)
        self._incidents: deque[Incident] = deque(maxlen=INCIDENTS_KEPT)
        self._incident_count = 0
        self.mind_counts = MindCounts()
        self.builder_counts = BuilderCounts()
        self.pipeline_counts = PipelineCounts()
        self.coordinator_mind = CoordinatorMind()
        self.group_minds: dict[int, GroupMind] = {}
        self.conversations = Conversations(store)
        known = world.ruleset.species
        self.ledger = Ledger(
            world,
            self.settings,
            store,
            headless=headless,
            thinks=backend is not None,
            player_species=player_species if player_species in known else _speaker(known),
        )
        self.ledger.recruit = self._recruit
        self.ledger.reflex = self._reflex
        self._about = _about(world, server)
        self._children: dict[str, dict[str, Child]] = {"stage": {}, "minds": {}, "groups": {}}
        self._metronome: Metronome | None = None
        self._undo_synced: Callable[[], None] = lambda: None
        self._started = False
        self._stopped = False
        self._boss: pykka.ActorRef[Supervisor]
        self._middle: dict[str, pykka.ActorRef[Supervisor]] = {}
        self.director: pykka.ActorRef[Director]
        self._pipeline: pykka.ActorRef[Pipeline]

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
        for name, children in self._children.items():
            self._middle[name] = supervise(
                self._boss, ChildSpec(name, self._supervisor_of(name, children)), self.dispatcher
            )
        ledger, settings = self.ledger, self.settings
        self.director = self._employ("director", lambda: Director(ledger))
        builder = self._employ(
            "terrain builder", lambda: TerrainBuilder(self.director, settings, self.builder_counts)
        )
        coordinator = self._employ(
            "coordinator",
            lambda: Coordinator(
                self.coordinator_mind, self.director, self.backend, settings, self._headless
            ),
        )
        self._pipeline = self._employ("pipeline", lambda: Pipeline(self.pipeline_counts))
        ledger.builder, ledger.coordinator = builder, coordinator
        self._cast()
        if self.backend is not None:
            _warm()
        self._keep_first()
        if self._store is not None:
            self._undo_synced = self._store.on_synced(self._synced)
        if self._headless:
            self.dispatcher.pump()
            return
        self._metronome = Metronome(self.director, ledger.pace)
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

    def _supervisor_of(self, name: str, children: dict[str, Child]) -> Callable[[], Supervisor]:
        return lambda: Supervisor(name, journal=self._journal, parent=self._boss, children=children)

    def _employ(self, key: str, factory: Callable[[], GreenActor]) -> pykka.ActorRef[Any]:
        spec = ChildSpec(key, factory, _VITAL)
        return supervise(self._middle["stage"], spec, self.dispatcher)

    def _cast(self) -> None:
        world = self.ledger.world
        columns = world.columns
        for entity in sorted(int(e) for e in columns.id[columns.live_rows()]):
            self._recruit_into(entity)
        for group, info in sorted(world.groups.items()):
            species = world.ruleset.species.get(info.species)
            if species is None or not species.tactics:
                continue
            mind = self.group_minds[group] = GroupMind(group)
            spec = ChildSpec(f"group:{group}", self._group_of(mind))
            ref = supervise(self._middle["groups"], spec, self.dispatcher)
            self.ledger.groups[group] = ref
            self.coordinator_mind.groups[group] = ref

    def _group_of(self, mind: GroupMind) -> Callable[[], GroupActor]:
        return lambda: GroupActor(mind, self.director, self.settings)

    def _recruit_into(self, entity: int) -> None:
        ref = self._recruit(entity)
        if ref is not None:
            self.ledger.minds[entity] = ref

    def _recruit(self, entity: int) -> pykka.ActorRef[Any] | None:
        """Start the mind of an entity that can speak and is no player."""
        world = self.ledger.world
        columns = world.columns
        row = columns.row_of(entity)
        if row < 0 or columns.player[row] or columns.died[row] >= 0:
            return None
        species = world.ruleset.species_list[int(columns.species[row])]
        if not species.speaks or not species.alive:
            return None
        card = self._card(world, entity, species)
        persona = _persona(card)
        if persona is not None and columns.group[row] > 0:
            self.coordinator_mind.personas[entity] = persona
        mind = Mind(entity, species, card if persona is not None else None)
        actions = tuple(world.ruleset.actions)
        spec = ChildSpec(
            f"npc:{entity}",
            lambda: NpcActor(
                mind,
                self.director,
                self.conversations,
                self.backend,
                self.settings,
                self.mind_counts,
                actions,
                self._headless,
            ),
        )
        return supervise(self._middle["minds"], spec, self.dispatcher)

    def _card(self, world: World, entity: int, species: Species) -> PersonaCard:
        card = self._personas.get(world.personas.get(entity, ""))
        if card is not None:
            return card
        name = world.view().name(entity)
        return PersonaCard(
            key="",
            name=name,
            trade=species.name,
            place=world.scene or "these parts",
            temper=species.voice or "plain",
            persona="",
        )

    def _reflex(self, world: World, entity: int, text: str) -> str:
        situation = world.situation(entity)
        row = world.columns.row_of(entity)
        if situation is None or row < 0:
            return "..."
        species = world.ruleset.species_list[int(world.columns.species[row])]
        return reflex_line(self._card(world, entity, species), species, situation, text, None)

    def _keep_first(self) -> None:
        if self._store is not None and self._store.last_tick < 0:
            self._keep(self.ledger.world)

    def _keep(self, world: World) -> None:
        ledger = self.ledger
        if self._store is None or ledger.backlog or ledger.storage_fault:
            return
        self._store.checkpoint(world.get_state(), state_hash=world.hash())

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
        if not self._headless or not self._started:
            raise UsageError("only a started headless company can be run", "pass headless=True")
        lived = 0
        for _ in range(ticks):
            tick = self.ledger.world.tick + 1
            self._clock.now = tick / HZ
            self.dispatcher.pump()
            self._await_answers(tick)
            self._step_until(tick)
            lived += 1
            if on_tick is not None and on_tick(self.ledger.world) is False:
                break
        return lived

    def _await_answers(self, tick: int) -> None:
        questions = self.ledger.questions
        deadline = time.monotonic() + self.settings.patience_s
        while waited := questions.waited_for(tick):
            if self.dispatcher.is_down(self.director):
                return  # only the clock, which moves with the step, brings it back
            left = deadline - time.monotonic()
            for question in waited:
                if left <= 0 or self._is_down(question):
                    self._tell(Overdue(question.token, question.stream))
            if not self.dispatcher.pump():
                self.dispatcher.wait(min(max(left, 0.0), 0.5))
                self.dispatcher.pump()

    def _is_down(self, question: Question) -> bool:
        """Whether the one who is to answer waits for a restart, which no waiting here brings on."""
        ledger = self.ledger
        asked = {
            "speech": [ledger.minds.get(question.entity)],
            "decision": [ledger.minds.get(question.entity)],
            "plan": [ledger.coordinator, ledger.groups.get(question.entity)],
            "flood": [ledger.builder],
        }[question.kind]
        return any(ref is None or self.dispatcher.is_down(ref) for ref in asked)

    def _step_until(self, tick: int) -> None:
        """Step once; a director that fails and comes back, or waits for storage, tries again."""
        deadline = time.monotonic() + self.settings.patience_s
        while self.ledger.world.tick < tick:
            tell_first(self.director, Step())
            self.dispatcher.pump()
            if self.ledger.world.tick >= tick:
                return
            if time.monotonic() > deadline:
                reason = self.ledger.storage_fault or "the director does not come back"
                raise UsageError(f"tick {tick} could not be lived: {reason}")
            # Restarts wait on the virtual clock, which only ticks move.
            self._clock.now += 1.0 / HZ
            self.dispatcher.wait(0.005)

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

    def say(self, speaker: int, to: int, text: str, listener: SpeechListener) -> Callable[[], None]:
        """A player's body says `text` to `to`; `listener` hears the answer. Returns the undo."""
        stream = SpeechStream(listener)
        if not self._tell(Say(speaker, to, text, stream)):
            stream.reject("retry", "too much is waiting")
        return stream.cancel

    def situation(self, entity: int, on_result: Callable[[Mapping[str, Any] | None], None]) -> None:
        """The public panel of one entity as plain values; None when there is no such entity."""
        self._tell(Look(lambda world: on_result(self._panel(world, entity))))

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

    def load(self, world: World, on_outcome: OnOutcome | None = None) -> None:
        """Go on with another state of a later epoch; answers of the present one are dropped."""

        def loaded(outcome: Outcome) -> None:
            if outcome.accepted:
                self._about = _about(world, self._server)
            if on_outcome is not None:
                on_outcome(outcome)

        self._tell(Load(world, loaded))

    def status(self) -> Mapping[str, Any]:
        """Plain values for operators: readiness, pace, queues, counts, what each kind has done."""
        ledger = self.ledger
        return {
            "ready": self._started and not self._stopped and not ledger.storage_fault,
            "tick": ledger.world.tick,
            "synced_tick": ledger.synced_tick,
            "epoch": ledger.world.epoch,
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
            "counts": dict(ledger.counts) | dict(ledger.questions.counts),
            "minds_did": asdict(self.mind_counts),
            "coordinator_did": {
                "model_plans": self.coordinator_mind.model_plans,
                "rule_plans": self.coordinator_mind.rule_plans,
                "model_intents": self.coordinator_mind.model_intents,
                "late": self.coordinator_mind.late,
            },
            "builder_did": asdict(self.builder_counts),
            "pipeline_did": asdict(self.pipeline_counts),
            "kinds": {name: asdict(kind) for name, kind in self.dispatcher.metrics().items()},
        }

    def inspect(self) -> Sequence[Mapping[str, Any]]:
        """One row of plain values an actor."""
        return self.dispatcher.each()

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
        panel = _public(situation)
        row = world.columns.row_of(entity)
        species = world.ruleset.species_list[int(world.columns.species[row])]
        if species.speaks and not situation.player:
            card = self._card(world, entity, species)
            panel["persona"] = {"trade": card.trade, "place": card.place, "temper": card.temper}
        return panel


def _public(situation: Situation) -> dict[str, Any]:
    return {
        "tick": situation.tick,
        "name": situation.name,
        "species": situation.species,
        "time": situation.time,
        "place": situation.place,
        "mood": situation.mood,
        "action": situation.action,
        "hp": situation.hp,
        "max_hp": situation.max_hp,
        "x": situation.x,
        "y": situation.y,
        "group": situation.group_name,
        "near": [{"id": near.id, "name": near.name} for near in situation.near],
        "trouble": list(situation.trouble),
        "player": situation.player,
        "alive": situation.alive,
        "downed": situation.downed,
    }


def _warm() -> None:
    """Make grammars and templates ready, so that no first handler pays for them."""
    panel = Panel(time="noon", mood="calm", place="here")
    someone = Persona(name="n", trade="t", place="p", temper="t")
    speech(someone, [], panel, "n", "l")
    decide(someone, panel, ["wait"])
    orders("g", "s", 1, ["hold"], OrdersSituation())
    for reply in (DecisionReply, OrdersReply):
        longest_tokens(reply)


def _persona(card: PersonaCard) -> Persona | None:
    try:
        return persona_of(card)
    except ValidationError as error:
        logger.warning("%s speaks by reflex only: %s", card.name, error)
        return None


def _speaker(species: Mapping[str, Species]) -> str:
    return next((name for name, s in species.items() if s.speaks and s.alive), "")


def _about(world: World, server: str) -> Mapping[str, Any]:
    rules = world.ruleset
    return {
        "scene": world.scene,
        "width": world.width,
        "height": world.height,
        "tile": TILE,
        "hz": HZ,
        "day_ticks": world.day_ticks,
        "epoch": world.epoch,
        "server": server,
        "species": [
            {"name": s.name, "symbol": s.symbol, "colour": s.colour, "speaks": s.speaks}
            for s in rules.species_list
        ],
        "factions": list(rules.faction_names),
        "activities": list(rules.activity_names),
        "actions": list(rules.actions),
        "tiles": [tile.name.lower() for tile in Tile],
    }
