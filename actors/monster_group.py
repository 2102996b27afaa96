"""A monster group's leader: picks tactics by rule, and follows the coordinator's plan while it stands."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pykka

from actors.actor import GreenActor, receives
from actors.errors import MailboxFull
from actors.fighters import GroupView
from actors.mailbox import MailboxSpec, Policy
from actors.messages import Answer, GroupPercept, Obey, Propose
from actors.plans import BattleExecutionPlan, focus_of, tactic_by_rule
from actors.settings import CompanySettings
from world.inputs import Input

__all__ = ["GroupActor", "GroupMind"]

MAX_FLEEING = 8
"""Members of a plan who are sent away one by one; a whole group retreats by its tactic."""


@dataclass(slots=True)
class GroupMind:
    """What of a group outlives a restart of its actor: its own order, and the plans it was given."""

    group: int
    n: int = 0
    tactic: str = "none"
    focus: int = 0
    ordered: int = 0
    plans: deque[BattleExecutionPlan] = field(default_factory=lambda: deque(maxlen=4))
    own_orders: int = 0
    obeyed: int = 0

    def forget(self) -> None:
        """Let go of orders and plans: their epoch is over."""
        self.tactic, self.focus, self.ordered = "none", 0, 0
        self.plans.clear()

    def in_force(self, tick: int, epoch: int) -> BattleExecutionPlan | None:
        """The plan to follow at this tick."""
        for plan in reversed(self.plans):
            if plan.epoch == epoch and plan.start <= tick <= plan.end:
                return plan
        return None

    def copy(self) -> GroupMind:
        """One that goes its own way from here."""
        return replace(self, plans=self.plans.copy())

    def decide(self, view: GroupView, group_ticks: int) -> Input | None:
        """The order that it gives by rule now, if it is new or the last one runs out."""
        if self.in_force(view.tick, view.epoch) is not None:
            self.tactic = "none"
            return None
        tactic, _ = tactic_by_rule(view)
        focus = focus_of(view)
        lasts = 4 * group_ticks
        same = (tactic, focus) == (self.tactic, self.focus)
        if tactic == "none" or (same and view.tick < self.ordered + lasts // 2):
            return None
        self.tactic, self.focus, self.ordered = tactic, focus, view.tick
        self.own_orders += 1
        self.n += 1
        body = self._order(tactic, focus, lasts)
        return Input("order", 0, f"group:{self.group}", self.n, body)

    def follow(self, plan: BattleExecutionPlan, token: int) -> list[Input]:
        """Take a plan over: its order, and who is sent away one by one."""
        self.plans.append(plan)
        self.obeyed += 1
        # "plan:" sorts behind "group:": in a tick that holds both, the plan is the one that stands.
        proposer = f"plan:{self.group}"
        body = self._order(plan.tactic, plan.focus, max(1, plan.end - plan.start))
        found = [Input("order", 0, proposer, token, body)]
        if plan.tactic != "retreat":
            for intent in [i for i in plan.intents if i.act == "flee"][:MAX_FLEEING]:
                body = {"from_": intent.target}
                found.append(Input("flee", intent.entity, proposer, token, body))
        return found

    def _order(self, tactic: str, focus: int, ticks: int) -> Mapping[str, Any]:
        return {"group": self.group, "tactic": tactic, "focus": focus, "ticks": ticks}


class GroupActor(GreenActor):
    """One pack, coven or watch."""

    mailbox = MailboxSpec(limit=64, policy=Policy.DROP_OLDEST)

    def __init__(
        self, mind: GroupMind, director: pykka.ActorRef[Any], settings: CompanySettings
    ) -> None:
        super().__init__()
        self._mind = mind
        self._director = director
        self._settings = settings

    @receives(GroupPercept)
    def perceive(self, message: GroupPercept) -> None:
        """Choose a tactic, unless a plan is in force; order it when it is new or runs out."""
        order = self._mind.decide(message.view, self._settings.group_ticks)
        if order is not None:
            self._tell(Propose(order, epoch=message.view.epoch))

    @receives(Obey)
    def obey(self, message: Obey) -> None:
        """Take over the coordinator's plan, as the answer to the question it was asked."""
        plan = message.plan
        order, *flights = self._mind.follow(plan, message.token)
        for flee in flights:
            self._tell(Propose(flee, due=plan.start, epoch=plan.epoch))
        self._tell(Answer(message.token, plan.epoch, order))

    def _tell(self, message: Propose | Answer) -> None:
        with contextlib.suppress(pykka.ActorDeadError, MailboxFull):
            self._director.tell(message)
