"""Supervisors: a child that fails comes back with its reference and mailbox, within a budget.

The message a child failed on is not given to it again. Every incident goes to a journal. Past the
budget a child rests before it is tried again, or is given up and its parent told, or its supervisor
counts as failed itself: the parent then restarts it with all its children, within a budget of its
own, up to the root, which has a policy for what nobody above it can take.
"""

from __future__ import annotations

import logging
import weakref
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

import pykka

from actors.actor import ActorDied, ActorGone, GreenActor, Level, receives
from actors.dispatch import Dispatcher
from actors.errors import Escalation
from actors.mailbox import Mailbox, MailboxSpec
from actors.timers import Timer

__all__ = [
    "Child",
    "ChildGivenUp",
    "ChildSpec",
    "Incident",
    "RestartPolicy",
    "Root",
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


class Root(Enum):
    """What a supervisor that nobody supervises does with a failure it should escalate."""

    REST = "rest"
    """The child rests for `ROOT_REST_S`, then has a fresh budget."""
    STOP = "stop"
    """The supervisor stops, and with it, last started first, all that is below it."""


ROOT_REST_S = 60.0


@dataclass(frozen=True, slots=True)
class RestartPolicy:
    """How often a child may fail, and how long it waits.

    The n-th failure within `period_s` seconds waits `backoff_s` · 2^(n-1), at most `backoff_max_s`.
    More than `intensity` of them: with `escalate` its supervisor fails, too, and is restarted with
    all its children by its own; without, it rests for `rest_s`, then has a fresh budget; with
    `rest_s` None it is given up.
    """

    intensity: int = 5
    period_s: float = 30.0
    backoff_s: float = 0.05
    backoff_max_s: float = 5.0
    rest_s: float | None = 60.0
    escalate: bool = False


@dataclass(frozen=True, slots=True)
class ChildSpec:
    """A child: its name among its siblings, and how one is made (called again for each restart)."""

    key: str
    factory: Callable[[], GreenActor]
    policy: RestartPolicy = RestartPolicy()


@dataclass(frozen=True, slots=True)
class Incident:
    """One failure and what was done.

    `action` is "restart", "rest", "give up", "escalate", "stop" (all below the root), "with its
    elder", "with its supervisor", "back already" (another restart was quicker than the report) or
    "replaced" (another child has its key by now, so it has been ended).

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
    recycling: str = ""
    """Why it was asked to suspend itself."""
    renew: bool = False

    @property
    def suspended(self) -> bool:
        """Whether it waits for a restart."""
        inbox = self.ref.actor_inbox
        return isinstance(inbox, Mailbox) and inbox.suspended and not inbox.closed

    @property
    def instance(self) -> GreenActor | None:
        """The one behind the reference now."""
        inbox = self.ref.actor_inbox
        return inbox.actor if isinstance(inbox, Mailbox) else None


_specs: weakref.WeakKeyDictionary[pykka.ActorRef[Any], ChildSpec] = weakref.WeakKeyDictionary()
"""How each child is made, should its supervisor fail on the very message that tells it."""


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

    def before(ref: pykka.ActorRef[Any]) -> None:
        _specs[ref] = spec
        supervisor.tell(_Adopt(spec, ref))

    return dispatcher.launch(spec.factory, supervision=(supervisor, spec.key), before=before)


class Supervisor(GreenActor):
    """Watches children and restarts them.

    A restarted supervisor still knows its children: the one that restarts it hands them on.
    `journal` hears of every incident on the dispatcher's thread and returns at once. `root` counts
    only where nobody supervises this one.
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
        root: Root = Root.REST,
    ) -> None:
        super().__init__()
        self.name = name
        self._strategy = strategy
        self._journal = journal
        self._parent = parent
        self._children = children if children is not None else {}
        self._root = root

    def on_start(self) -> None:
        for child in self._children.values():
            renew, child.renew = child.renew, False
            if renew:
                child.failures.clear()
            # A report may have been lost with the instance that failed on it.
            if child.timer is not None or child.suspended:
                self._later(child, child.spec.policy.backoff_s)
            elif renew and not child.recycling:
                child.recycling = "with its supervisor"
                self._dispatcher.recycle(child.ref)

    def renew(self) -> None:
        """Have all children made anew when the next instance of this supervisor starts."""
        for child in self._children.values():
            child.renew = True

    def on_stop(self) -> None:
        for child in reversed(list(self._children.values())):
            if child.timer is not None:
                child.timer.cancel()
            if child.ref.is_alive():
                self._end(child)
            if child.ref.is_alive():
                child.ref.stop(block=False)
        self._children.clear()

    def keys(self) -> list[str]:
        """The children's names, first started first."""
        return list(self._children)

    @receives(_Adopt)
    def adopt(self, message: _Adopt) -> None:
        """Take note of a child that is being started; one that waits under its key is ended."""
        known = self._children.get(message.spec.key)
        if known is not None and known.ref is message.ref:
            return
        if known is not None:
            if known.timer is not None:
                known.timer.cancel()
            # Nobody would bring it back. One that is well goes on until it stops or fails.
            self._end(known)
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
            spec = _specs.get(message.ref)
            if spec is None or not message.ref.is_alive():
                return
            child = self._children[message.key] = Child(spec, message.ref)
        if child.ref is not message.ref:
            self._note(message, "replaced", 0.0)
            self._end(Child(child.spec, message.ref))
            return
        if message.phase == "recycle":
            self._recycled(child, message)
            return
        if message.phase != "create" and not child.suspended:
            self._note(message, "back already", 0.0)
            return
        policy, now = child.spec.policy, self._dispatcher.clock()
        child.failures.append(now)
        while child.failures and child.failures[0] < now - policy.period_s:
            child.failures.popleft()
        count = len(child.failures)
        if count <= policy.intensity:
            # 2^60 is past any bound, and floats end.
            delay = min(policy.backoff_max_s, policy.backoff_s * 2.0 ** min(count - 1, 60))
            self._note(message, "restart", delay)
            self._later(child, delay)
        elif policy.escalate:
            self._escalate(child, message)
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
                younger.recycling = "with its elder"
                self._dispatcher.recycle(younger.ref)

    @receives(ChildGivenUp)
    def given_up(self, message: ChildGivenUp) -> None:
        """A supervisor below has ended a child; it is journalled here and told upwards."""
        self._write(message.incident)
        self._tell_parent(message)

    def _recycled(self, child: Child, message: ActorDied) -> None:
        """A child has suspended itself because all around it is made anew."""
        if not child.suspended:
            return
        why, child.recycling = child.recycling or "with its supervisor", ""
        self._note(message, why, 0.0)
        below = child.instance
        if isinstance(below, Supervisor):
            below.renew()
        self._revive(child)

    def _escalate(self, child: Child, report: ActorDied) -> None:
        """Fail in the child's place; at the root there is nobody to fail to."""
        child.failures.clear()
        if self._inbox().supervision is not None:
            self._note(report, "escalate", 0.0)
            self.renew()
            raise Escalation(f"{self.name} can't keep {report.key} up: {report.error}"[:300])
        if self._root is Root.REST:
            self._note(report, "rest", ROOT_REST_S)
            self._later(child, ROOT_REST_S)
            return
        self._note(report, "stop", 0.0)
        self.stop()

    def _later(self, child: Child, delay_s: float) -> None:
        if child.timer is not None:
            child.timer.cancel()
        again = _Revive(child.spec.key)
        child.timer = self._dispatcher.tell_after(delay_s, self.actor_ref, again, vital=True)

    def _revive(self, child: Child) -> bool:
        if not child.suspended:
            return False
        if child.timer is not None:
            child.timer.cancel()
            child.timer = None
        try:
            self._dispatcher.revive(child.ref, _heir(child))
        except Exception as error:
            logger.error("%s could not be made again:", child.ref, exc_info=True)
            self.died(ActorDied(child.spec.key, child.ref, "create", error, None))
            return False
        return True

    def _give_up(self, child: Child, report: ActorDied) -> None:
        incident = self._note(report, "give up", 0.0)
        self._end(child)
        self._children.pop(child.spec.key, None)
        self._tell_parent(ChildGivenUp(self.name, incident))

    def _end(self, child: Child) -> None:
        """End a child that waits for a restart, and all that is below it."""
        below = child.instance
        if child.suspended and isinstance(below, Supervisor):
            below.on_stop()
        self._dispatcher.abandon(child.ref)

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


def _heir(child: Child) -> Callable[[], GreenActor]:
    """How to make a child's next instance; a supervisor's gets the children of the one before."""
    before, factory = child.instance, child.spec.factory
    if not isinstance(before, Supervisor):
        return factory

    def make() -> GreenActor:
        made = factory()
        if isinstance(made, Supervisor):
            made._children = before._children
        return made

    return make
