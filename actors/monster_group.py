"""A monster group's leader: picks tactics by rule, and follows the coordinator's plan while it stands."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pykka

from actors.actor import GreenActor, receives
from actors.errors import MailboxFull
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
        view, mind = message.view, self._mind
        if mind.in_force(view.tick, view.epoch) is not None:
            mind.tactic = "none"
            return
        tactic, _ = tactic_by_rule(view)
        focus = focus_of(view)
        lasts = 4 * self._settings.group_ticks
        same = (tactic, focus) == (mind.tactic, mind.focus)
        if tactic == "none" or (same and view.tick < mind.ordered + lasts // 2):
            return
        mind.tactic, mind.focus, mind.ordered = tactic, focus, view.tick
        mind.own_orders += 1
        mind.n += 1
        body = self._order(tactic, focus, lasts)
        order = Input("order", 0, f"group:{mind.group}", mind.n, body)
        self._tell(Propose(order, epoch=view.epoch))

    @receives(Obey)
    def obey(self, message: Obey) -> None:
        """Take over the coordinator's plan, as the answer to the question it was asked."""
        plan, mind, token = message.plan, self._mind, message.token
        mind.plans.append(plan)
        mind.obeyed += 1
        # "plan:" sorts behind "group:": in a tick that holds both, the plan is the one that stands.
        proposer = f"plan:{mind.group}"
        if plan.tactic != "retreat":
            for intent in [i for i in plan.intents if i.act == "flee"][:MAX_FLEEING]:
                flee = Input("flee", intent.entity, proposer, token, {"from_": intent.target})
                self._tell(Propose(flee, due=plan.start, epoch=plan.epoch))
        body = self._order(plan.tactic, plan.focus, max(1, plan.end - plan.start))
        order = Input("order", 0, proposer, token, body)
        self._tell(Answer(token, plan.epoch, order))

    def _order(self, tactic: str, focus: int, ticks: int) -> Mapping[str, Any]:
        return {"group": self._mind.group, "tactic": tactic, "focus": focus, "ticks": ticks}

    def _tell(self, message: Propose | Answer) -> None:
        with contextlib.suppress(pykka.ActorDeadError, MailboxFull):
            self._director.tell(message)
