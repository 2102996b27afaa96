"""The part of the director that asks minds and takes their answers: speech, decisions, plans."""

from __future__ import annotations

from typing import Any

import numpy as np
import pykka

from actors.actor import GreenActor, receives
from actors.attention import Kind, Question
from actors.called import groups_told, minds_called, wants_plan
from actors.fighters import GroupView
from actors.ledger import FOR_A_MIND, FOR_A_PLAYER, Ledger
from actors.messages import (
    HZ,
    Answer,
    Battle,
    DamBroken,
    GroupPercept,
    Hear,
    OnOutcome,
    Outcome,
    Overdue,
    Percept,
    Say,
)
from actors.telling import Told, told
from models.prompts import tame
from world.events import Event
from world.inputs import Input
from world.world import StepResult

__all__ = ["Prompter"]


class Prompter(GreenActor):
    """Questions go out bounded; an answer counts if its question is still open and of this epoch."""

    def __init__(self, ledger: Ledger) -> None:
        super().__init__()
        self._ledger = ledger
        self._told = Told(ledger.counts)

    # -- admission -----------------------------------------------------------------------------

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
        if ledger.held:
            ledger.counts["retry"] += 1
            reason = "another state is being loaded"
            self._refuse(on_commit, "retry", reason, proposal.entity)
            self._refuse(on_outcome, "retry", reason, proposal.entity)
            return False
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
        proposer = f"{FOR_A_PLAYER}:{message.speaker}"
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
        self._watch(question, self._limit("speech"))
        hear = Hear(
            token=question.token,
            epoch=world.epoch,
            speaker=message.speaker,
            speaker_name=world.view().name(message.speaker),
            text=message.text,
            situation=situation,
            stream=message.stream,
            model=crowd < settings.speeches_per_npc,
            preference=message.preference,
        )
        if mind is None or not told(mind, hear):
            self._speak_for(question, message.text)
        else:
            self._attend(message.to, "speech")

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
        proposer = f"{FOR_A_MIND}:{question.entity}"
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

    def _limit(self, kind: Kind) -> float:
        """Seconds after which the director itself ends the wait for an answer."""
        settings = self._ledger.settings
        if kind == "flood":
            return settings.patience_s
        limits = {
            "speech": settings.speech_s,
            "decision": settings.decision_s,
            "plan": settings.plan_s,
        }
        return limits[kind] + settings.grace_s

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
        told_now = groups_told(
            ledger.alarms, result, ledger.world, ledger.groups, ledger.group_info
        )
        for group, view in told_now:
            self._tell_group(group, view)

    def _dismiss(self, entity: int) -> None:
        self._ledger.forget(entity)
        mind = self._ledger.minds.pop(entity, None)
        if mind is not None and mind.is_alive():
            mind.stop(block=False)

    def _ask_minds(self) -> None:
        ledger = self._ledger
        settings, world = ledger.settings, ledger.world
        busy = ledger.questions.asked("decision")
        for entity, event, situation in minds_called(ledger.attention, world, settings, busy):
            mind = self._mind(entity)
            if mind is None:
                continue
            question = ledger.questions.ask("decision", entity, world.tick, settings.think_ticks)
            self._watch(question, self._limit("decision"))
            if not told(mind, Percept(question.token, world.epoch, event, situation)):
                ledger.questions.close(question.token)
            else:
                self._attend(entity, "decision")

    def _attend(self, entity: int, kind: Kind) -> None:
        """Have someone who is asked be lived in full until the answer is there, wherever players go."""
        if not self._ledger.world.detail_tiles:
            return
        seconds = self._limit(kind)
        n = self._ledger.number("director:attend")
        body = {"ticks": int(seconds * HZ) + 1}
        self._take(Input("attend", entity, "director:attend", n, body), None)

    def _tell_group(self, group: int, view: GroupView) -> None:
        ledger = self._ledger
        settings, world = ledger.settings, ledger.world
        if not told(ledger.groups[group], GroupPercept(view)) or ledger.coordinator is None:
            return
        if not wants_plan(ledger.alarms, view, group in ledger.questions.asked("plan")):
            return
        question = ledger.questions.ask("plan", group, world.tick, settings.plan_ticks)
        self._watch(question, self._limit("plan"))
        if not told(ledger.coordinator, Battle(question.token, view)):
            ledger.questions.close(question.token)

    def _dam_broken(self, event: Event) -> None:
        ledger = self._ledger
        if ledger.builder is None:
            return
        world = ledger.world
        x, y, w, h = (int(event.data.get(key, 0)) for key in ("x", "y", "w", "h"))
        cells = [(x + at % w, y + at // w) for at in range(min(w * h, 1024))]
        question = ledger.questions.ask("flood", 0, world.tick, ledger.settings.plan_ticks)
        self._watch(question, self._limit("flood"))
        tiles = np.array(world.tiles, copy=True)
        broken = DamBroken(world.tick, world.epoch, question.token, tuple(cells), tiles)
        if not told(ledger.builder, broken):
            ledger.questions.close(question.token)
