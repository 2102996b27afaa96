"""The director owns the world and steps it; everything that changes the world goes through it."""

from __future__ import annotations

import contextlib
import logging
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pykka

from actors.actor import GreenActor, Level, receives
from actors.admission import Telling
from actors.attention import Question
from actors.battlefield import distances_to_players, group_view
from actors.errors import MailboxFull
from actors.ledger import Ledger, StoreLike
from actors.mailbox import MailboxSpec
from actors.messages import (
    Answer,
    Battle,
    DamBroken,
    GroupPercept,
    Hear,
    Join,
    Leave,
    Load,
    Look,
    Note,
    OnOutcome,
    Outcome,
    Overdue,
    Percept,
    Propose,
    Say,
    Step,
    Subscribe,
    Synced,
    Unsubscribe,
)
from foundation.errors import GreenroomError, LimitError
from models.prompts import tame
from world.errors import StorageError
from world.events import Event
from world.frame import Frame
from world.inputs import Input
from world.store.records import record_of
from world.world import StepResult

__all__ = ["Director", "Ledger", "StoreLike"]

logger = logging.getLogger(__name__)

MAX_SUBSCRIBERS = 64


@dataclass(slots=True)
class _Told:
    """Calls listeners; one that raises is counted and changes nothing for the others."""

    counts: Counter[str] = field(default_factory=Counter)

    def all(self, tellings: Iterable[Telling]) -> None:
        for on_outcome, outcome in tellings:
            self.one(on_outcome, outcome)

    def one(self, listener: Callable[[Any], None] | None, value: Any) -> None:
        if listener is None:
            return
        try:
            listener(value)
        except Exception:
            self.counts["listener_failures"] += 1
            logger.warning("a listener failed", exc_info=True)


class Director(GreenActor):
    """The one writer. Its step goes before everything else on the dispatcher."""

    level = Level.STEP
    mailbox = MailboxSpec(limit=20_000)

    def __init__(self, ledger: Ledger) -> None:
        super().__init__()
        self._ledger = ledger
        self._told = _Told(ledger.counts)

    def on_stop(self) -> None:
        closing = Outcome(self._ledger.world.tick, False, "retry", "the world is closing")
        for on_outcome in self._ledger.desk.clear():
            self._told.one(on_outcome, closing)
        for question in self._ledger.questions.close_all():
            if question.stream is not None:
                question.stream.reject(closing.code, closing.reason)

    # -- the tick ----------------------------------------------------------------------------------

    @receives(Step)
    def step(self, message: Step) -> None:
        """Live one tick."""
        began = time.monotonic()
        try:
            self._step()
        finally:
            self._ledger.on_stepped()
        ended = time.monotonic()
        late = max(0.0, began - message.due) if message.due else 0.0
        self._ledger.pace.stepped(late, ended - began)

    def _step(self) -> None:
        ledger = self._ledger
        self._hand_over()
        if len(ledger.backlog) >= ledger.settings.records_waiting:
            # Going on would leave a hole in the journal; the world pauses until storage is back.
            ledger.counts["stalled_ticks"] += 1
            return
        tick = ledger.world.tick + 1
        if ledger.headless:
            ledger.questions.close_answered(tick)
        result = self._live(ledger.desk.admit(tick))
        ledger.rewind.stepped(result.inputs, result.hash)
        commits, refusals = ledger.desk.settle(result)
        self._told.all(commits)
        self._record(result)
        self._told.all(refusals)
        frame = ledger.world.frame()
        for key, on_frame in list(ledger.subscribers.items()):
            self._show(key, on_frame, frame)
        self._notice(result)
        if len(ledger.rewind) >= ledger.settings.checkpoint_ticks:
            self._checkpoint(result.hash)

    def _live(self, inputs: list[Input]) -> StepResult:
        ledger = self._ledger
        try:
            return ledger.world.step(inputs)
        except Exception:
            # The rules promise never to raise. Should they, the half-lived tick is undone and lived
            # again without what was proposed, which is then refused.
            logger.error("tick %d failed; living it again", ledger.world.tick, exc_info=True)
            ledger.counts["failed_ticks"] += 1
            ledger.world = ledger.rewind.world()
            text = f"tick {ledger.world.tick + 1} failed with {len(inputs)} inputs: all refused"
            return ledger.world.step([self._note(text)])

    def _record(self, result: StepResult) -> None:
        ledger = self._ledger
        if ledger.store is None:
            self._told.all(ledger.desk.release(result.tick))
            return
        ledger.backlog.append(record_of(result, ledger.world.epoch))
        self._hand_over()

    def _hand_over(self) -> None:
        ledger = self._ledger
        if ledger.store is None:
            return
        wait = ledger.settings.patience_s if ledger.headless else 0.0
        while ledger.backlog:
            try:
                ledger.store.append(ledger.backlog[0], timeout=wait)
            except LimitError:
                ledger.counts["records_held"] += 1
                return
            except StorageError as error:
                ledger.storage_fault = str(error)
                ledger.counts["storage_faults"] += 1
                return
            ledger.backlog.popleft()
            ledger.storage_fault = ""

    def _checkpoint(self, state_hash: int) -> None:
        ledger = self._ledger
        state = ledger.rewind.mark(ledger.world)
        if ledger.store is None or ledger.backlog:
            return
        try:
            ledger.store.checkpoint(state, state_hash=state_hash)
        except GreenroomError as error:
            ledger.counts["checkpoint_faults"] += 1
            logger.warning("no checkpoint at tick %d: %s", ledger.world.tick, error)

    def _show(self, key: int, on_frame: Callable[[Frame], None], frame: Frame) -> None:
        try:
            on_frame(frame)
        except Exception:
            self._ledger.subscribers.pop(key, None)
            self._ledger.counts["subscribers_dropped"] += 1
            logger.warning("a subscriber failed and gets no more frames", exc_info=True)

    @receives(Synced)
    def synced(self, message: Synced) -> None:
        """Storage has caught up: tell what it now covers."""
        self._ledger.synced_tick = max(self._ledger.synced_tick, message.tick)
        self._told.all(self._ledger.desk.release(message.tick))

    # -- proposals -----------------------------------------------------------------------------------

    @receives(Propose)
    def propose(self, message: Propose) -> None:
        """Keep a proposal for its tick, or ask for a later try."""
        self._take(message.input, message.on_outcome, due=message.due)

    @receives(Join)
    def join(self, message: Join) -> None:
        """Make a player's body at one of the scene's starts, each in its turn."""
        ledger = self._ledger
        starts = ledger.world.player_starts
        if not ledger.player_species or not starts:
            refusal = "this world has no place for players"
            self._refuse(message.on_outcome, "no_valid_target", refusal)
            return
        n = ledger.number("director:join")
        x, y = starts[n % len(starts)]
        body = {
            "species": ledger.player_species,
            "x": x,
            "y": y,
            "name": tame(message.name, 32),
            "player": True,
        }
        self._take(Input("spawn", 0, "director:join", n, body), message.on_outcome)

    @receives(Leave)
    def leave(self, message: Leave) -> None:
        """Take a player's body away."""
        ledger = self._ledger
        row = ledger.world.columns.row_of(message.entity)
        if row < 0 or not ledger.world.columns.player[row]:
            self._refuse(
                message.on_outcome,
                "no_such_entity",
                f"{message.entity} is no player's body",
                message.entity,
            )
            return
        n = ledger.number("director:leave")
        proposal = Input("despawn", message.entity, "director:leave", n)
        self._take(proposal, message.on_outcome)

    @receives(Note)
    def note(self, message: Note) -> None:
        """Journal a decision that a clock took."""
        self._ledger.desk.take(self._note(message.text))

    def _note(self, text: str) -> Input:
        n = self._ledger.number("director:note")
        return Input("note", 0, "director:note", n, {"text": tame(text, 400) or "-"})

    def _take(
        self,
        proposal: Input,
        on_outcome: OnOutcome | None,
        *,
        due: int = 0,
        on_commit: OnOutcome | None = None,
    ) -> bool:
        ledger = self._ledger
        outside = proposal.proposer.startswith(("client:", "director:join"))
        behind = outside and not ledger.headless and ledger.behind
        taken = not behind and ledger.desk.take(proposal, on_outcome, due=due, on_commit=on_commit)
        if not taken:
            ledger.counts["retry"] += 1
            reason = "storage is behind" if behind else "too much is waiting"
            self._refuse(on_commit, "retry", reason, proposal.entity)
            self._refuse(on_outcome, "retry", reason, proposal.entity)
        return taken

    def _refuse(self, listener: OnOutcome | None, code: str, reason: str, entity: int = 0) -> None:
        self._told.one(listener, Outcome(self._ledger.world.tick, False, code, reason, entity))

    # -- speech ----------------------------------------------------------------------------------------

    @receives(Say)
    def say(self, message: Say) -> None:
        """Let a player's body speak; when the world has accepted it, the listener's mind hears it."""
        ledger = self._ledger
        code, reason = self._can_answer(message)
        if code:
            message.stream.reject(code, reason)
            return
        proposer = f"client:say:{message.speaker}"
        said = Input(
            "say",
            message.speaker,
            proposer,
            ledger.number(proposer),
            {"to": message.to, "text": message.text},
        )

        def committed(outcome: Outcome) -> None:
            if outcome.accepted:
                self._heard(message)
            else:
                message.stream.reject(outcome.code, outcome.reason)

        self._take(said, None, on_commit=committed)

    def _can_answer(self, message: Say) -> tuple[str, str]:
        ledger = self._ledger
        world, columns = ledger.world, ledger.world.columns
        row, speaker = columns.row_of(message.to), columns.row_of(message.speaker)
        if speaker < 0:
            return "no_such_entity", f"there is no entity {message.speaker}"
        if row < 0 or message.to == message.speaker:
            return "no_valid_target", "there is nobody like that to talk to"
        if columns.player[row] or not world.ruleset.species_list[int(columns.species[row])].speaks:
            return "no_valid_target", f"{world.view().name(message.to)} doesn't answer"
        if columns.died[row] >= 0 or columns.downed_until[row] >= 0:
            return "dead", f"{world.view().name(message.to)} can't answer"
        if ledger.questions.busy("speech") >= ledger.settings.speeches:
            return "busy", "too many are being answered; ask again in a moment"
        return "", ""

    def _heard(self, message: Say) -> None:
        ledger = self._ledger
        settings, world = ledger.settings, ledger.world
        situation = world.situation(message.to)
        mind = self._mind(message.to)
        if situation is None or message.stream.over:
            message.stream.reject("no_valid_target", "there is nobody to answer")
            return
        crowd = ledger.questions.of("speech", message.to)
        question = ledger.questions.ask(
            "speech", message.to, world.tick, settings.speak_ticks, message.stream
        )
        self._watch(question, settings.speech_s + settings.grace_s)
        hear = Hear(
            token=question.token,
            epoch=world.epoch,
            speaker=message.speaker,
            speaker_name=world.view().name(message.speaker),
            text=message.text,
            situation=situation,
            stream=message.stream,
            model=crowd < settings.speeches_per_npc,
        )
        if mind is None or not _told(mind, hear):
            self._speak_for(question, message.text)

    def _speak_for(self, question: Question, text: str) -> None:
        """Answer in place of a mind that can't."""
        ledger = self._ledger
        ledger.questions.close(question.token)
        ledger.counts["spoken_for"] += 1
        stream = question.stream
        if stream is None or stream.over:
            return
        line = ledger.reflex(ledger.world, question.entity, text)
        stream.done(line, "reflex")
        proposer = f"director:say:{question.entity}"
        said = Input(
            "say", question.entity, proposer, ledger.number(proposer), {"to": 0, "text": line}
        )
        ledger.desk.take(said)

    # -- questions to minds ------------------------------------------------------------------------------

    @receives(Answer)
    def answer(self, message: Answer) -> None:
        """A mind's answer: admitted if its question is open and of this epoch, else dropped."""
        ledger = self._ledger
        question = ledger.questions.get(message.token)
        stale = message.epoch != ledger.world.epoch
        if question is None or question.answered or stale:
            ledger.counts["stale_answers" if stale else "late_answers"] += 1
            self._refuse(message.on_commit, "too_late", "the question was closed")
            self._refuse(message.on_outcome, "too_late", "the question was closed")
            return
        question.answered = True
        if not ledger.headless:
            ledger.questions.close(message.token)
        if message.input is not None:
            self._take(
                message.input,
                message.on_outcome,
                due=question.due if ledger.headless else 0,
                on_commit=message.on_commit,
            )

    @receives(Overdue)
    def overdue(self, message: Overdue) -> None:
        """A question that nobody answered: it is closed, and a player still gets an answer."""
        ledger = self._ledger
        question = ledger.questions.get(message.token)
        if question is None or question.answered:
            return
        ledger.counts[f"{question.kind}_overdue"] += 1
        self._ledger.desk.take(self._note(f"no {question.kind} of {question.entity} came in time"))
        if question.kind == "speech":
            self._speak_for(question, "")
        else:
            ledger.questions.close(message.token)

    def _watch(self, question: Question, seconds: float) -> None:
        question.timer = self._dispatcher.tell_after(
            seconds, self.actor_ref, Overdue(question.token)
        )

    def _mind(self, entity: int) -> pykka.ActorRef[Any] | None:
        ledger = self._ledger
        mind = ledger.minds.get(entity)
        if mind is None or not mind.is_alive():
            mind = ledger.recruit(entity)
            if mind is not None:
                ledger.minds[entity] = mind
        return mind

    # -- what has happened ---------------------------------------------------------------------------------

    def _notice(self, result: StepResult) -> None:
        ledger = self._ledger
        for event in result.events:
            if event.kind == "despawned":
                self._dismiss(event.entity)
            elif event.kind == "spawned" and not event.data.get("player", False):
                self._mind(event.entity)
            elif event.kind == "dam_broken":
                self._dam_broken(event)
        if ledger.thinks:
            ledger.attention.notice(result.events, ledger.minds)
            self._ask_minds()
        ledger.alarms.notice(result.events, ledger.world, ledger.groups)
        for group in ledger.alarms.due(result.tick):
            self._tell_group(group)

    def _dismiss(self, entity: int) -> None:
        self._ledger.attention.forget(entity)
        mind = self._ledger.minds.pop(entity, None)
        if mind is not None and mind.is_alive():
            mind.stop(block=False)

    def _ask_minds(self) -> None:
        ledger = self._ledger
        settings, world = ledger.settings, ledger.world
        free = settings.decisions - ledger.questions.busy("decision")
        chosen = ledger.attention.pick(
            min(free, settings.percepts_a_tick),
            world.tick,
            lambda entities: distances_to_players(world, entities),
        )
        for entity, event in chosen:
            mind, situation = self._mind(entity), world.situation(entity)
            if mind is None or situation is None or not situation.alive or situation.downed:
                continue
            if ledger.questions.of("decision", entity):
                continue
            question = ledger.questions.ask("decision", entity, world.tick, settings.think_ticks)
            self._watch(question, settings.decision_s + settings.grace_s)
            if not _told(mind, Percept(question.token, world.epoch, event, situation)):
                ledger.questions.close(question.token)

    def _tell_group(self, group: int) -> None:
        ledger = self._ledger
        settings, world = ledger.settings, ledger.world
        actor = ledger.groups.get(group)
        view = group_view(world, group, ledger.group_info.get(group))
        if actor is None or view is None:
            return
        if not _told(actor, GroupPercept(view)) or not view.foes or ledger.coordinator is None:
            return
        if ledger.questions.of("plan", group) or not ledger.alarms.plan_due(group, world.tick):
            return
        question = ledger.questions.ask("plan", group, world.tick, settings.plan_ticks)
        self._watch(question, settings.plan_s + settings.grace_s)
        if not _told(ledger.coordinator, Battle(question.token, view)):
            ledger.questions.close(question.token)

    def _dam_broken(self, event: Event) -> None:
        ledger = self._ledger
        if ledger.builder is None:
            return
        world = ledger.world
        x, y, w, h = (int(event.data.get(key, 0)) for key in ("x", "y", "w", "h"))
        cells = [(x + at % w, y + at // w) for at in range(min(w * h, 1024))]
        question = ledger.questions.ask("flood", 0, world.tick, ledger.settings.plan_ticks)
        self._watch(question, ledger.settings.patience_s)
        tiles = np.array(world.tiles, copy=True)
        broken = DamBroken(world.tick, world.epoch, question.token, tuple(cells), tiles)
        if not _told(ledger.builder, broken):
            ledger.questions.close(question.token)

    # -- another life ----------------------------------------------------------------------------------------

    @receives(Load)
    def load(self, message: Load) -> None:
        """Go on with another world, of a later epoch: what was asked in this one is abandoned."""
        ledger, world = self._ledger, message.world
        if world.epoch <= ledger.world.epoch:
            reason = f"epoch {world.epoch} is not after {ledger.world.epoch}"
            self._refuse(message.on_outcome, "stale_epoch", reason)
            return
        abandoned = Outcome(ledger.world.tick, False, "too_late", "another state was loaded")
        for on_outcome in ledger.desk.clear():
            self._told.one(on_outcome, abandoned)
        for question in ledger.questions.close_all():
            if question.stream is not None:
                question.stream.reject(abandoned.code, abandoned.reason)
        ledger.world = world
        ledger.rewind.mark(world)
        ledger.backlog.clear()
        ledger.synced_tick = world.tick
        for entity in [entity for entity in ledger.minds if entity not in world.columns]:
            self._dismiss(entity)
        self._told.one(message.on_outcome, Outcome(world.tick, True))

    # -- those who watch -----------------------------------------------------------------------------------

    @receives(Look)
    def look(self, message: Look) -> None:
        """Let someone read the world between two steps."""
        self._told.one(message.read, self._ledger.world)

    @receives(Subscribe)
    def subscribe(self, message: Subscribe) -> None:
        """Show the frames to one more."""
        if len(self._ledger.subscribers) >= MAX_SUBSCRIBERS:
            self._ledger.counts["subscribers_refused"] += 1
            return
        self._ledger.subscribers[message.key] = message.on_frame

    @receives(Unsubscribe)
    def unsubscribe(self, message: Unsubscribe) -> None:
        """Show the frames to one less."""
        self._ledger.subscribers.pop(message.key, None)


def _told(ref: pykka.ActorRef[Any], message: object) -> bool:
    with contextlib.suppress(pykka.ActorDeadError, MailboxFull):
        ref.tell(message)
        return True
    return False
