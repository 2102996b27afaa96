"""The coordinator: gives a group in battle a general's view, by a model in time or else by rule.

Each member that can think is asked for its own intent in the same breath as the group's order is,
so that a batching engine decides them together; the others' intents come from rules.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from typing import Any, Final

import pykka

from actors.actor import GreenActor, receives
from actors.asking import Relay
from actors.choices import Choice, match, reply_to
from actors.errors import MailboxFull
from actors.fighters import Fighter, GroupView
from actors.mailbox import MailboxSpec, Policy
from actors.messages import (
    Answer,
    Battle,
    ModelDone,
    ModelFailed,
    Obey,
    TimeUp,
)
from actors.orders import focus_said, orders_to, seen_by
from actors.plans import (
    BattleExecutionPlan,
    MonsterIntent,
    OrdersReply,
    focus_of,
    intents,
    tactic_by_rule,
)
from actors.settings import CompanySettings
from actors.timers import Timer
from foundation.errors import GreenroomError
from models.grammar import longest_tokens
from models.prompts import SHIPPED, Decision, Orders, OrdersSituation, Panel, Persona, PromptBook
from models.request import Backend, Handle, ModelRequest, Priority

__all__ = ["Coordinator", "CoordinatorMind"]

MAX_THINKERS: Final = 8
"""Members of one group who are asked each for themselves."""


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
    seen: OrdersSituation
    waits: dict[int, tuple[Handle | None, Fighter | None, tuple[Choice, ...]]]
    timer: Timer | None = None
    orders: Orders | None = None
    source: str = "rules"
    intents: dict[int, MonsterIntent] = field(default_factory=dict)


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
        self._prompts = prompts
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
        planning = _Planning(message, seen_by(view), {})
        orders = orders_to(view, planning.seen)
        if backend is None or orders is None:
            self._finish(planning)
            return
        limit = self._settings.patience_s if self._headless else self._settings.plan_s
        asked: list[tuple[ModelRequest, Fighter | None, tuple[Choice, ...]]] = [
            (self._orders_request(view, planning.seen, orders, limit), None, ())
        ]
        for member in view.members:
            persona = self._mind.personas.get(member.id)
            if persona is not None and len(asked) <= MAX_THINKERS:
                choices = _choices(view, member)
                asked.append(
                    (self._intent_request(view, member, persona, choices, limit), member, choices)
                )
        self._plannings[message.token] = planning
        for request, asker, choices in asked:
            self._of_request[request.id] = message.token
            planning.waits[request.id] = (None, asker, choices)
        planning.timer = self._dispatcher.tell_after(limit, self.actor_ref, TimeUp(message.token))
        relay = Relay(self.actor_ref, pieces=False)
        for request, asker, choices in asked:
            try:
                handle = backend.submit(request, relay)
            except GreenroomError:
                self._settle(request.id, None, "")
                continue
            if request.id in planning.waits:
                planning.waits[request.id] = (handle, asker, choices)

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
        _, member, choices = planning.waits.pop(request_id)
        if isinstance(parsed, Orders):
            planning.orders, planning.source = parsed, source
        elif isinstance(parsed, Decision) and member is not None:
            choice = match(parsed, choices)
            if choice is not None:
                planning.intents[member.id] = _intent(member, choice, source)
        if not planning.waits:
            self._finish(planning)

    def _finish(self, planning: _Planning) -> None:
        message = planning.battle
        self._plannings.pop(message.token, None)
        if planning.timer is not None:
            planning.timer.cancel()
        for request_id, (handle, _, _) in planning.waits.items():
            self._of_request.pop(request_id, None)
            if handle is not None:
                handle.cancel()
        plan = self._plan(planning)
        group = self._mind.groups.get(message.view.group)
        if group is not None:
            with contextlib.suppress(pykka.ActorDeadError, MailboxFull):
                group.tell(Obey(message.token, plan))
                return
        with contextlib.suppress(pykka.ActorDeadError, MailboxFull):
            self._director.tell(Answer(message.token, message.view.epoch))

    def _plan(self, planning: _Planning) -> BattleExecutionPlan:
        view = planning.battle.view
        tactic, reason = tactic_by_rule(view)
        focus, source = focus_of(view), "rules"
        said = planning.orders
        if said is not None and said.tactic in view.tactics:
            tactic, reason, source = said.tactic, said.reason, planning.source
            focus = focus_said(view, planning.seen, said, focus)
            self._mind.model_plans += 1
        else:
            self._mind.rule_plans += 1
        self._mind.model_intents += len(planning.intents)
        start = view.tick + (self._settings.plan_ticks if self._headless else 0)
        return BattleExecutionPlan(
            group=view.group,
            epoch=view.epoch,
            start=start,
            end=start + self._settings.obey_ticks,
            tactic=tactic,
            focus=focus,
            intents=tuple(
                planning.intents.get(own.entity, own) for own in intents(view, tactic, focus)
            ),
            source=source[:80],
            reason=reason[:160],
        )

    def _orders_request(
        self, view: GroupView, seen: OrdersSituation, reply: type[OrdersReply], limit: float
    ) -> ModelRequest:
        return ModelRequest(
            messages=self._prompts.orders(
                view.name,
                view.species,
                len(view.members),
                view.tactics,
                seen,
                self._mind.layers.get(view.group, ()),
            ),
            purpose="plan",
            max_tokens=longest_tokens(reply),
            temperature=0.3,
            seed=(view.group * 0x9E3779B1 + view.tick) & 0x7FFFFFFF,
            schema=reply,
            priority=Priority.BATTLE,
            deadline_s=limit,
            epoch=view.epoch,
            asker="coordinator",
            # The built-in adapters are trained on what their kind says and does, never on orders
            # (training/adapt.py), which the bare model has learnt.
            adapter="",
        )

    def _intent_request(
        self,
        view: GroupView,
        member: Fighter,
        persona: Persona,
        choices: tuple[Choice, ...],
        limit: float,
    ) -> ModelRequest:
        hurt = member.hp * 2 < member.max_hp
        panel = Panel(
            time="night",
            mood="hurt" if hurt else "wary",
            place=view.ground,
            near=tuple(foe.name for foe in view.foes),
            trouble=(f"a fight with {view.foes[0].name}",) if view.foes else (),
        )
        reply = reply_to(choices)
        return ModelRequest(
            messages=self._prompts.decide(persona, panel, [choice.text for choice in choices]),
            purpose="decide",
            max_tokens=longest_tokens(reply),
            temperature=0.3,
            seed=(member.id * 0x85EBCA6B + view.tick) & 0x7FFFFFFF,
            schema=reply,
            priority=Priority.BATTLE,
            deadline_s=limit,
            epoch=view.epoch,
            asker=f"group:{view.group}",
            adapter=member.species,
        )


def _choices(view: GroupView, member: Fighter) -> tuple[Choice, ...]:
    found = [Choice("wait", "wait")]
    for foe in view.foes[:4]:
        if member.attack > 0:
            found.append(Choice(f"attack {foe.name}", "attack", {"target": foe.id}))
        found.append(Choice(f"flee from {foe.name}", "flee", {"from_": foe.id}))
    return tuple(found)


def _intent(member: Fighter, choice: Choice, source: str) -> MonsterIntent:
    if choice.kind == "attack":
        target = int(choice.body["target"])
        return MonsterIntent(entity=member.id, act="attack", target=target, source=source[:80])
    if choice.kind == "flee":
        target = int(choice.body["from_"])
        return MonsterIntent(entity=member.id, act="flee", target=target, source=source[:80])
    return MonsterIntent(entity=member.id, act="hold", source=source[:80])
