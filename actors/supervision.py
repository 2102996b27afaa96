"""Supervisors: a child that fails comes back with its reference and mailbox, within a budget.

The message a child failed on is not given to it again. Every incident goes to a journal. Past the
budget a child rests before it is tried again, or is given up and its parent told.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

import pykka

from actors.actor import ActorDied, ActorGone, GreenActor, Level, receives
from actors.dispatch import Dispatcher
from actors.mailbox import MailboxSpec
from actors.timers import Timer

__all__ = [
    "Child",
    "ChildGivenUp",
    "ChildSpec",
    "Incident",
    "RestartPolicy",
    "Strategy",
    "Supervisor",
    "supervise",
]

logger = logging.getLogger(__name__)


class Strategy(Enum):
    """Who is restarted when a child fails."""

    ONE_FOR_ONE = "one_for_one"
    REST_FOR_ONE = "rest_for_one"
    """The child and all that were started after it, in order."""


@dataclass(frozen=True, slots=True)
class RestartPolicy:
    """How often a child may fail, and how long it waits.

    The n-th failure within `period_s` seconds waits `backoff_s` · 2^(n-1), at most `backoff_max_s`.
    More than `intensity` of them: it rests for `rest_s`, then has a fresh budget; with `rest_s`
    None it is given up.
    """

    intensity: int = 5
    period_s: float = 30.0
    backoff_s: float = 0.05
    backoff_max_s: float = 5.0
    rest_s: float | None = 60.0


@dataclass(frozen=True, slots=True)
class ChildSpec:
    """A child: its name among its siblings, and how one is made (called again for each restart)."""

    key: str
    factory: Callable[[], GreenActor]
    policy: RestartPolicy = RestartPolicy()


@dataclass(frozen=True, slots=True)
class Incident:
    """One failure and what was done: `action` is "restart", "rest", "give up" or "with its elder".

    `phase` is "create", "start" or "receive"; `message` the message skipped, as text; `delay_s` the
    wait before the restart.
    """

    supervisor: str
    key: str
    kind: str
    phase: str
    error: str
    message: str
    trace: str
    action: str
    delay_s: float


@dataclass(frozen=True, slots=True)
class ChildGivenUp:
    """Told to a supervisor's parent: the child's budget is spent and it has been ended."""

    supervisor: str
    incident: Incident


@dataclass(slots=True)
class Child:
    """What a supervisor knows of a child; outlives the supervisor's own restarts."""

    spec: ChildSpec
    ref: pykka.ActorRef[Any]
    failures: deque[float] = field(default_factory=deque)
    timer: Timer | None = None
    recycling: bool = False


@dataclass(frozen=True, slots=True)
class _Adopt:
    spec: ChildSpec
    ref: pykka.ActorRef[Any]


@dataclass(frozen=True, slots=True)
class _Revive:
    key: str


def supervise(
    supervisor: pykka.ActorRef[Supervisor], spec: ChildSpec, dispatcher: Dispatcher
) -> pykka.ActorRef[Any]:
    """Start a child under a supervisor and return its reference, good over all its restarts.

    May be called on any thread, in handlers too. Raises whatever the factory raises.
    """
    return dispatcher.launch(
        spec.factory,
        supervision=(supervisor, spec.key),
        before=lambda ref: supervisor.tell(_Adopt(spec, ref)),
    )


class Supervisor(GreenActor):
    """Watches children and restarts them.

    `children` may be handed in so that a restarted supervisor still knows them. `journal` hears of
    every incident on the dispatcher's thread and returns at once.
    """

    level = Level.SYSTEM
    mailbox = MailboxSpec(limit=200_000)

    def __init__(
        self,
        name: str,
        *,
        strategy: Strategy = Strategy.ONE_FOR_ONE,
        journal: Callable[[Incident], None] | None = None,
        parent: pykka.ActorRef[Any] | None = None,
        children: dict[str, Child] | None = None,
    ) -> None:
        super().__init__()
        self.name = name
        self._strategy = strategy
        self._journal = journal
        self._parent = parent
        self._children = children if children is not None else {}

    def on_start(self) -> None:
        for child in self._children.values():
            if child.timer is not None:
                child.timer.cancel()
                self._later(child, child.spec.policy.backoff_s)

    def on_stop(self) -> None:
        for child in reversed(list(self._children.values())):
            if child.timer is not None:
                child.timer.cancel()
            if child.ref.is_alive():
                self._dispatcher.abandon(child.ref)
            if child.ref.is_alive():
                child.ref.stop(block=False)
        self._children.clear()

    def keys(self) -> list[str]:
        """The children's names, first started first."""
        return list(self._children)

    @receives(_Adopt)
    def adopt(self, message: _Adopt) -> None:
        """Take note of a child that is being started."""
        self._children[message.spec.key] = Child(message.spec, message.ref)

    @receives(ActorGone)
    def gone(self, message: ActorGone) -> None:
        """Forget a child that was stopped."""
        child = self._children.get(message.key)
        if child is not None and child.ref is message.ref:
            if child.timer is not None:
                child.timer.cancel()
            del self._children[message.key]

    @receives(ActorDied)
    def died(self, message: ActorDied) -> None:
        """Decide what becomes of a failed child: restart, rest, or the end."""
        child = self._children.get(message.key)
        if child is None:
            # Its start may still be on the way to this mailbox: urgent reports overtake it.
            if not message.deferred:
                message.deferred = True
                self.actor_ref.tell(message)
            return
        if message.phase == "recycle":
            if child.recycling:
                child.recycling = False
                self._note(message, "with its elder", 0.0)
                self._revive(child)
            return
        policy, now = child.spec.policy, self._dispatcher.clock()
        child.failures.append(now)
        while child.failures and child.failures[0] < now - policy.period_s:
            child.failures.popleft()
        count = len(child.failures)
        if count <= policy.intensity:
            delay = min(policy.backoff_max_s, policy.backoff_s * 2.0 ** (count - 1))
            self._note(message, "restart", delay)
            self._later(child, delay)
        elif policy.rest_s is not None:
            child.failures.clear()
            self._note(message, "rest", policy.rest_s)
            self._later(child, policy.rest_s)
        else:
            self._give_up(child, message)

    @receives(_Revive)
    def revive(self, message: _Revive) -> None:
        """The wait is over: bring the child back."""
        child = self._children.get(message.key)
        if child is None or child.timer is None:
            return
        child.timer = None
        if not self._revive(child) or self._strategy is Strategy.ONE_FOR_ONE:
            return
        keys = list(self._children)
        for key in keys[keys.index(message.key) + 1 :]:
            younger = self._children[key]
            if younger.timer is None and not younger.recycling:
                younger.recycling = True
                self._dispatcher.recycle(younger.ref)

    @receives(ChildGivenUp)
    def given_up(self, message: ChildGivenUp) -> None:
        """A supervisor below has ended a child; it is journalled here and told upwards."""
        self._write(message.incident)
        self._tell_parent(message)

    def _later(self, child: Child, delay_s: float) -> None:
        child.timer = self._dispatcher.tell_after(delay_s, self.actor_ref, _Revive(child.spec.key))

    def _revive(self, child: Child) -> bool:
        try:
            self._dispatcher.revive(child.ref, child.spec.factory)
        except Exception as error:
            logger.error("%s could not be made again:", child.ref, exc_info=True)
            self.died(ActorDied(child.spec.key, child.ref, "create", error, None))
            return False
        return True

    def _give_up(self, child: Child, report: ActorDied) -> None:
        incident = self._note(report, "give up", 0.0)
        self._dispatcher.abandon(child.ref)
        self._children.pop(child.spec.key, None)
        self._tell_parent(ChildGivenUp(self.name, incident))

    def _tell_parent(self, message: ChildGivenUp) -> None:
        if self._parent is not None and self._parent.is_alive():
            self._parent.tell(message)

    def _note(self, report: ActorDied, action: str, delay_s: float) -> Incident:
        incident = Incident(
            supervisor=self.name,
            key=report.key,
            kind=report.kind,
            phase=report.phase,
            error=report.error,
            message=report.message,
            trace=report.trace,
            action=action,
            delay_s=delay_s,
        )
        self._write(incident)
        return incident

    def _write(self, incident: Incident) -> None:
        if self._journal is None:
            return
        try:
            self._journal(incident)
        except Exception:
            # Bringing the child back matters more than telling of it.
            logger.error("the journal refused an incident of %s:", incident.key, exc_info=True)
