"""An NPC's mind: answers whoever speaks to it, and thinks when its situation changes.

It never waits: models answer by message, and an answer to a player always comes, by reflex if need
be. Whatever it does reaches the world only as a proposal through the director.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pykka

from actors.actor import GreenActor, receives
from actors.asking import Relay
from actors.choices import Choice
from actors.conversation import Conversations
from actors.deciding import Asking, chosen, request_seed
from actors.errors import MailboxFull
from actors.importance import weights
from actors.lines import check, panel_of, reflex_line
from actors.mailbox import MailboxSpec, Policy
from actors.messages import (
    Abandon,
    Answer,
    Hear,
    ModelDone,
    ModelFailed,
    ModelText,
    Outcome,
    Overdue,
    Percept,
    Reset,
    TimeUp,
)
from actors.opening import Opening, opening
from actors.settings import CompanySettings
from actors.telling import told
from actors.timers import Timer
from foundation.errors import GreenroomError
from models.prompts import SHIPPED, Panel, Persona, PromptBook, Turn
from models.request import Backend, Handle, ModelRequest, Priority, Reply
from world.compiled import PersonaCard
from world.inputs import Input
from world.ruleset import Species

__all__ = ["Mind", "MindCounts", "NpcActor"]

REFLEX = "reflex"


@dataclass(slots=True)
class MindCounts:
    """What all minds together have done."""

    model_lines: int = 0
    reflex_lines: int = 0
    cut_lines: int = 0
    refused_lines: int = 0
    decisions: int = 0
    no_decisions: int = 0
    late: int = 0


@dataclass(slots=True)
class Mind:
    """What of an NPC outlives a restart of its actor: who it is, and the answers it owes.

    `persona` is the card as prompts tell of it; who has none speaks by reflex only.
    """

    entity: int
    species: Species
    card: PersonaCard | None = None
    persona: Persona | None = None
    owed: dict[int, Hear] = field(default_factory=dict)

    def asking(self, prompts: PromptBook, actions: Sequence[str], limit_s: float) -> Asking | None:
        """How it is asked for decisions; None for one who can't be."""
        if self.persona is None:
            return None
        return Asking(self.entity, self.species, self.persona, prompts, actions, limit_s)

    def propose(self, token: int, kind: str, body: dict[str, Any]) -> Input:
        """The input that answers a question.

        Its counter is the question's token: questions are numbered when they are asked, so that the
        order of inputs doesn't depend on which answer came first.
        """
        return Input(kind, self.entity, f"npc:{self.entity}", token, body)


@dataclass(slots=True)
class _Speech:
    hear: Hear
    panel: Panel
    before: str | None
    told: Sequence[tuple[Panel, Turn]] = ()
    handle: Handle | None = None
    timer: Timer | None = None
    text: str = ""
    muted: bool = False

    def left_out(self, dropped: Sequence[int]) -> list[tuple[Panel, Turn]]:
        """The turns behind a reply's `dropped`: each is two messages, after the system's."""
        turns = sorted({(place - 1) // 2 for place in dropped})
        return [self.told[turn] for turn in turns if 0 <= turn < len(self.told)]


@dataclass(slots=True)
class _Thought:
    percept: Percept
    choices: tuple[Choice, ...]
    handle: Handle | None = None
    timer: Timer | None = None


@dataclass(frozen=True, slots=True)
class _Cancelled:
    token: int


def _percepts(message: Any) -> object:
    return Percept if type(message) is Percept else None


class NpcActor(GreenActor):
    """One NPC. Of several percepts that wait only the latest counts."""

    mailbox = MailboxSpec(limit=512, policy=Policy.LATEST, key=_percepts)

    def __init__(
        self,
        mind: Mind,
        director: pykka.ActorRef[Any],
        conversations: Conversations,
        backend: Backend | None,
        settings: CompanySettings,
        counts: MindCounts,
        actions: tuple[str, ...],
        headless: bool = False,
        prompts: PromptBook = SHIPPED,
    ) -> None:
        super().__init__()
        self._mind = mind
        self._prompts = prompts
        self._director = director
        self._conversations = conversations
        self._backend = backend
        self._settings = settings
        self._counts = counts
        self._actions = actions
        self._headless = headless
        self._persona = mind.persona
        self._asking = mind.asking(prompts, actions, self._limit(settings.decision_s))
        self._speeches: dict[int, _Speech] = {}
        self._thoughts: dict[int, _Thought] = {}

    def on_start(self) -> None:
        # What an earlier instance left unanswered when it failed.
        for token in list(self._mind.owed):
            hear = self._mind.owed.pop(token)
            try:
                self._reflex(hear, None)
            except Exception:
                # Owed on, it would keep every next instance from starting; the director speaks instead.
                told(self._director, Overdue(token, hear.stream))
                raise

    def on_stop(self) -> None:
        for speech_ in list(self._speeches.values()):
            self._withdraw(speech_)
        for thought in list(self._thoughts.values()):
            self._withdraw(thought)
        for hear in list(self._mind.owed.values()):
            self._reflex(hear, None)

    # -- speech ------------------------------------------------------------------------------

    @receives(Hear)
    def hear(self, message: Hear) -> None:
        """Answer whoever spoke: by the model if there is one and it is free, else by reflex."""
        if message.stream.over:
            self._settle(message, None)
            return
        self._mind.owed[message.token] = message
        history = self._conversations.recall(self._mind.entity, message.speaker_name)
        answered = [(panel, turn) for panel, turn in history if turn.reply]
        before = answered[-1][1].reply if answered else None
        if self._backend is None or self._persona is None or not message.model:
            self._reflex(message, before)
            return
        panel = panel_of(message.situation)
        limit = self._limit(self._settings.speech_s)
        first = Opening()
        if self._settings.cached_openings:
            first = opening(
                self._prompts,
                self._mind.entity,
                self._persona,
                answered,
                panel,
                message.speaker_name,
                message.text,
            )
        request = ModelRequest(
            messages=self._prompts.speech(
                self._persona, answered, panel, message.speaker_name, message.text
            ),
            purpose="speech",
            max_tokens=self._settings.speech_tokens,
            window=self._settings.window,
            importance=weights(answered, self._persona.name),
            temperature=self._settings.speech_temperature,
            seed=request_seed(self._mind.entity, message.situation.tick),
            priority=Priority.SPEECH,
            deadline_s=limit,
            epoch=message.epoch,
            asker=f"npc:{self._mind.entity}",
            adapter=self._mind.species.name,
            cache_scope=first.scope,
            cache_question=first.question,
            cache_unless=first.unless,
            backend=message.preference.backend,
            cache=message.preference.cache,
        )
        speech_ = _Speech(message, panel, before, answered)
        self._speeches[request.id] = speech_
        speech_.timer = self._dispatcher.tell_after(limit, self.actor_ref, TimeUp(request.id))
        ref, token = self.actor_ref, message.token
        message.stream.when_cancelled(lambda: _quietly(ref, _Cancelled(token)))
        try:
            speech_.handle = self._backend.submit(request, Relay(self.actor_ref))
        except GreenroomError:
            self._end_speech(request.id, None)

    @receives(ModelText)
    def piece(self, message: ModelText) -> None:
        """Pass a piece of the answer on, as long as it looks like speech."""
        speech_ = self._speeches.get(message.request_id)
        if speech_ is None or speech_.muted:
            return
        piece = message.text if speech_.text else message.text.lstrip()
        if "<" in piece or "\n" in piece:
            # A template marker, perhaps in pieces: the check of the whole decides what is said.
            speech_.muted = True
        speech_.text += message.text
        if not speech_.muted and len(speech_.text) <= 400:
            speech_.hear.stream.piece(piece)

    @receives(ModelDone)
    def replied(self, message: ModelDone) -> None:
        """A model's reply: the end of a speech or of a thought."""
        request_id = message.reply.request_id
        if request_id in self._speeches:
            self._end_speech(request_id, message)
        elif request_id in self._thoughts:
            self._end_thought(request_id, message.reply)
        else:
            self._counts.late += 1

    @receives(ModelFailed)
    def failed(self, message: ModelFailed) -> None:
        """No reply will come."""
        self._end_speech(message.request_id, None)
        self._end_thought(message.request_id, None)

    @receives(TimeUp)
    def time_up(self, message: TimeUp) -> None:
        """A request has had its time."""
        self._end_speech(message.request_id, None)
        self._end_thought(message.request_id, None)

    @receives(Abandon)
    def abandon(self, message: Abandon) -> None:
        """The epoch is over: whoever waited was told, and models need not go on."""
        for speech_ in self._speeches.values():
            self._withdraw(speech_)
        for thought in self._thoughts.values():
            self._withdraw(thought)
        self._speeches.clear()
        self._thoughts.clear()
        self._mind.owed.clear()

    @receives(_Cancelled)
    def cancelled(self, message: _Cancelled) -> None:
        """Whoever spoke no longer wants the answer."""
        for request_id, speech_ in list(self._speeches.items()):
            if speech_.hear.token == message.token:
                del self._speeches[request_id]
                self._withdraw(speech_)
                self._settle(speech_.hear, None)

    def _end_speech(self, request_id: int, done: ModelDone | None) -> None:
        speech_ = self._speeches.pop(request_id, None)
        if speech_ is None:
            return
        self._withdraw(speech_)
        if done is not None:
            reply = done.reply
            if reply.dropped:
                self._conversations.trim(
                    self._mind.entity, speech_.hear.speaker_name, speech_.left_out(reply.dropped)
                )
            checked = check(reply.text, speech_.before, whole=reply.finish == "stop")
            source = reply.source
        else:
            checked = check(speech_.text, speech_.before, whole=False)
            source = f"{self._backend.name} (cut short)" if self._backend else REFLEX
        if not checked.text:
            self._counts.refused_lines += checked.fault not in ("empty", "cut")
            self._reflex(speech_.hear, speech_.before)
            return
        if checked.fault:
            self._counts.cut_lines += 1
        self._counts.model_lines += 1
        self._say(speech_.hear, speech_.panel, checked.text, source, done.reply if done else None)

    def _reflex(self, hear: Hear, before: str | None) -> None:
        self._counts.reflex_lines += 1
        line = reflex_line(self._mind.card, self._mind.species, hear.situation, hear.text, before)
        self._say(hear, panel_of(hear.situation), line, REFLEX, None)

    def _say(self, hear: Hear, panel: Panel, line: str, source: str, reply: object | None) -> None:
        npc, conversations = self._mind.entity, self._conversations
        turn = Turn(speaker=hear.speaker_name, line=hear.text, reply=line)
        own = self._persona.name if self._persona is not None else ""

        # Both also when the world refused the line (whoever asked has walked away): it was given. Not
        # so when it came too late: then another line was given, or that life of the world is over.
        def remember(outcome: Outcome) -> None:
            if outcome.code == "too_late":
                return
            conversations.remember(npc, hear.speaker_name, panel, turn, outcome.tick, source, own)

        def tell(outcome: Outcome) -> None:
            if outcome.code == "too_late":
                hear.stream.reject(outcome.code, outcome.reason)
            else:
                hear.stream.finish()

        hear.stream.ready(line, source, reply)
        said = self._mind.propose(hear.token, "say", {"to": hear.speaker, "text": line})
        self._settle(hear, Answer(hear.token, hear.epoch, said, tell, remember))

    def _settle(self, hear: Hear, answer: Answer | None) -> None:
        self._mind.owed.pop(hear.token, None)
        settled = answer or Answer(hear.token, hear.epoch)
        try:
            self._director.tell(settled)
        except (pykka.ActorDeadError, MailboxFull):
            if settled.on_outcome is not None:
                settled.on_outcome(
                    Outcome(hear.situation.tick, False, "retry", "the world is closing")
                )

    # -- decisions -----------------------------------------------------------------------------

    @receives(Percept)
    def perceive(self, message: Percept) -> None:
        """Think about what has changed; a newer percept makes an older thought moot."""
        for request_id in list(self._thoughts):
            self._end_thought(request_id, None)
        asking = self._asking
        choices = asking.choices(message.situation) if asking is not None else ()
        if self._backend is None or asking is None or not choices:
            self._answer(message, None)
            return
        request = asking.request(message.situation, choices, message.epoch)
        thought = _Thought(message, choices)
        self._thoughts[request.id] = thought
        limit = self._limit(self._settings.decision_s)
        thought.timer = self._dispatcher.tell_after(limit, self.actor_ref, TimeUp(request.id))
        try:
            thought.handle = self._backend.submit(request, Relay(self.actor_ref, pieces=False))
        except GreenroomError:
            self._end_thought(request.id, None)

    def _end_thought(self, request_id: int, reply: Reply | None) -> None:
        thought = self._thoughts.pop(request_id, None)
        if thought is None:
            return
        self._withdraw(thought)
        choice = chosen(reply, thought.choices) if reply is not None else None
        self._answer(thought.percept, choice)

    def _answer(self, percept: Percept, choice: Choice | None) -> None:
        proposal = None
        if choice is None:
            self._counts.no_decisions += 1
        else:
            self._counts.decisions += 1
            proposal = self._mind.propose(percept.token, choice.kind, dict(choice.body))
        with contextlib.suppress(pykka.ActorDeadError, MailboxFull):
            self._director.tell(Answer(percept.token, percept.epoch, proposal))

    @receives(Reset)
    def reset(self, message: Reset) -> None:
        """Drop what is being thought; of a mind that repeats itself, what it would repeat, too."""
        for request_id in list(self._thoughts):
            self._end_thought(request_id, None)
        if message.reason == "repeating":
            self._conversations.start_over(self._mind.entity)

    # -- both ------------------------------------------------------------------------------------

    def _withdraw(self, work: _Speech | _Thought) -> None:
        if work.timer is not None:
            work.timer.cancel()
        if work.handle is not None:
            work.handle.cancel()

    def _limit(self, seconds: float) -> float:
        return self._settings.patience_s if self._headless else seconds


def _quietly(ref: pykka.ActorRef[Any], message: object) -> None:
    with contextlib.suppress(pykka.ActorDeadError, MailboxFull):
        ref.tell(message)
