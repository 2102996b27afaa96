"""The coordinator: gives a group in battle a general's view, by a model in time or else by rule.

Each member that can think is asked for its own intent in the same breath as the group's order is,
so that a batching engine decides them together; the others' intents come from rules.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from typing import Any

import pykka

from actors.actor import GreenActor, receives
from actors.asking import Relay
from actors.errors import MailboxFull
from actors.mailbox import MailboxSpec, Policy
from actors.messages import (
    Answer,
    Battle,
    ModelDone,
    ModelFailed,
    Obey,
    TimeUp,
)
from actors.planning import Asked, Planner
from actors.settings import CompanySettings
from actors.timers import Timer
from foundation.errors import GreenroomError
from models.prompts import SHIPPED, Persona, PromptBook
from models.request import Backend, Handle

__all__ = ["Coordinator", "CoordinatorMind"]


@dataclass(slots=True)
class CoordinatorMind:
    """What outlives a restart: where groups are, who of the members can think, the counts.

    `layers` are what the members of a group all know, by group, as in their personas.
    """

    groups: dict[int, pykka.ActorRef[Any]] = field(default_factory=dict)
    personas: dict[int, Persona] = field(default_factory=dict)
    layers: dict[int, tuple[str, ...]] = field(default_factory=dict)
    model_plans: int = 0
    rule_plans: int = 0
    model_intents: int = 0
    late: int = 0


@dataclass(slots=True)
class _Planning:
    battle: Battle
    waits: dict[int, tuple[Handle | None, Asked]]
    heard: list[tuple[Asked, object, str]] = field(default_factory=list)
    timer: Timer | None = None


class Coordinator(GreenActor):
    """Answers `Battle` with a plan, always: what the models have not said in time, rules say."""

    mailbox = MailboxSpec(limit=256, policy=Policy.DROP_OLDEST)

    def __init__(
        self,
        mind: CoordinatorMind,
        director: pykka.ActorRef[Any],
        backend: Backend | None,
        settings: CompanySettings,
        headless: bool = False,
        prompts: PromptBook = SHIPPED,
    ) -> None:
        super().__init__()
        self._mind = mind
        self._planner = Planner(mind.personas, mind.layers, prompts, settings, headless)
        self._director = director
        self._backend = backend
        self._settings = settings
        self._headless = headless
        self._plannings: dict[int, _Planning] = {}
        self._of_request: dict[int, int] = {}

    @receives(Battle)
    def battle(self, message: Battle) -> None:
        """Ask for orders and intents, all at once; without a model plan by rule."""
        backend, view = self._backend, message.view
        planning = _Planning(message, {})
        limit = self._settings.patience_s if self._headless else self._settings.plan_s
        asked = self._planner.asks(view, limit) if backend is not None else []
        if backend is None or not asked:
            self._finish(planning)
            return
        self._plannings[message.token] = planning
        for ask in asked:
            self._of_request[ask.request.id] = message.token
            planning.waits[ask.request.id] = (None, ask)
        planning.timer = self._dispatcher.tell_after(limit, self.actor_ref, TimeUp(message.token))
        relay = Relay(self.actor_ref, pieces=False)
        for ask in asked:
            try:
                handle = backend.submit(ask.request, relay)
            except GreenroomError:
                self._settle(ask.request.id, None, "")
                continue
            if ask.request.id in planning.waits:
                planning.waits[ask.request.id] = (handle, ask)

    @receives(ModelDone)
    def replied(self, message: ModelDone) -> None:
        """One of the answers."""
        reply = message.reply
        self._settle(reply.request_id, reply.parsed, reply.source)

    @receives(ModelFailed)
    def failed(self, message: ModelFailed) -> None:
        """One of the answers will not come."""
        self._settle(message.request_id, None, "")

    @receives(TimeUp)
    def time_up(self, message: TimeUp) -> None:
        """The plan is due: it is made of what has come."""
        planning = self._plannings.get(message.request_id)
        if planning is not None:
            self._finish(planning)

    def _settle(self, request_id: int, parsed: object, source: str) -> None:
        token = self._of_request.pop(request_id, None)
        planning = self._plannings.get(token) if token is not None else None
        if planning is None:
            self._mind.late += 1
            return
        _, ask = planning.waits.pop(request_id)
        planning.heard.append((ask, parsed, source))
        if not planning.waits:
            self._finish(planning)

    def _finish(self, planning: _Planning) -> None:
        message = planning.battle
        self._plannings.pop(message.token, None)
        if planning.timer is not None:
            planning.timer.cancel()
        for request_id, (handle, _) in planning.waits.items():
            self._of_request.pop(request_id, None)
            if handle is not None:
                handle.cancel()
        plan, by_model, thought = self._planner.plan(message.view, planning.heard)
        self._mind.model_plans += by_model
        self._mind.rule_plans += not by_model
        self._mind.model_intents += thought
        group = self._mind.groups.get(message.view.group)
        if group is not None:
            with contextlib.suppress(pykka.ActorDeadError, MailboxFull):
                group.tell(Obey(message.token, plan))
                return
        with contextlib.suppress(pykka.ActorDeadError, MailboxFull):
            self._director.tell(Answer(message.token, message.view.epoch))
