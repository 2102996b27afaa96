"""Bounded mailboxes: an actor's inbox that schedules the actor when something arrives.

Putting is free of locks in the common case: `deque.append` and the try-lock `turn` are atomic.
Whoever wins `turn` hands the mailbox to the dispatcher; the worker gives it back after draining
and looks once more, so that no message is left behind. The bound may be passed by at most one
message for each thread that tells at the same instant.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any, Protocol

import pykka
from pykka._envelope import Envelope
from pykka.messages import ProxyCall, ProxyGetAttr, ProxySetAttr, _ActorStop

from actors.errors import MailboxFull
from actors.metrics import KindStats
from actors.timers import Timer

__all__ = ["PYKKA_MESSAGES", "Mailbox", "MailboxSpec", "Policy", "Scheduler"]

PYKKA_MESSAGES: frozenset[type[Any]] = frozenset(
    {_ActorStop, ProxyCall, ProxyGetAttr, ProxySetAttr}
)


class Policy(Enum):
    """What a full mailbox does with one message more. A stop is always taken."""

    REJECT = "reject"
    """The teller gets `MailboxFull`."""
    DROP_OLDEST = "drop_oldest"
    """The oldest message goes; if somebody waits for its answer, they get `MailboxFull`."""
    LATEST = "latest"
    """A message takes the place of a queued one with the same key; what has no key is rejected."""
    BLOCK = "block"
    """A thread outside the dispatcher waits for room; a handler, which must not wait, is rejected."""


def _by_type(message: Any) -> object:
    return None if type(message) in PYKKA_MESSAGES else type(message)


@dataclass(frozen=True, slots=True)
class MailboxSpec:
    """Bound and policy of a kind of actor's mailboxes.

    `key` names, for `LATEST`, what may be replaced by a newer one (None: never replaced).
    `block_s` is the longest wait of `BLOCK`, in seconds.
    """

    limit: int = 1024
    policy: Policy = Policy.REJECT
    key: Callable[[Any], object] = _by_type
    block_s: float = 5.0

    def __post_init__(self) -> None:
        if self.limit < 1:
            raise ValueError("a mailbox holds one message at least")


class Scheduler(Protocol):
    """What mailboxes and actors ask of the dispatcher they are on; see `dispatch.Dispatcher`."""

    @property
    def clock(self) -> Callable[[], float]: ...

    def ready(self, mailbox: Mailbox) -> None: ...

    def admit(self, mailbox: Mailbox) -> None: ...

    def new_mailbox(self, kind: Any) -> Mailbox: ...

    def may_wait(self) -> bool: ...

    def before_wait(self, future: Any, mailbox: Mailbox, timeout: float | None) -> None: ...

    def tell_after(self, delay_s: float, ref: pykka.ActorRef[Any], message: Any) -> Timer: ...

    def run_blocking(self, work: Callable[[], Any], ref: pykka.ActorRef[Any], tag: Any) -> None: ...

    def revive(self, ref: pykka.ActorRef[Any], factory: Callable[[], Any]) -> None: ...

    def recycle(self, ref: pykka.ActorRef[Any]) -> None: ...

    def abandon(self, ref: pykka.ActorRef[Any]) -> None: ...


class Mailbox:
    """An actor's inbox (`pykka`'s `put`, `get`, `empty`) on a shared dispatcher."""

    __slots__ = (
        "_first",
        "_queue",
        "actor",
        "begun",
        "closed",
        "dispatcher",
        "dropped",
        "handled",
        "high",
        "level",
        "ref",
        "registered",
        "rejected",
        "restarts",
        "spec",
        "stats",
        "supervision",
        "suspended",
        "turn",
    )

    def __init__(
        self, dispatcher: Scheduler, spec: MailboxSpec, level: int, stats: KindStats
    ) -> None:
        self.dispatcher = dispatcher
        self.spec = spec
        self.level = level
        self.stats = stats
        self.turn = threading.Lock()
        # Held until the actor is started: messages told in __init__ must wait for on_start.
        self.turn.acquire()
        self.actor: Any = None
        self.ref: pykka.ActorRef[Any] | None = None
        self.supervision: tuple[pykka.ActorRef[Any], str] | None = None
        self.begun = False
        self.registered = False
        self.suspended = False
        self.closed = False
        self.high = 0
        self.handled = 0
        self.restarts = 0
        self.dropped = 0
        self.rejected = 0
        self._queue: deque[Envelope[Any]] = deque()
        self._first: deque[Envelope[Any]] = deque()

    @property
    def name(self) -> str:
        """The actor's class and URN, for messages and logs."""
        return str(self.ref) if self.ref is not None else self.stats.kind

    def __len__(self) -> int:
        return len(self._queue) + len(self._first)

    def empty(self) -> bool:
        return not (self._queue or self._first)

    def get(self) -> Envelope[Any]:
        """Take the next envelope.

        Raises:
            IndexError: the mailbox is empty; it never blocks.
        """
        envelope = self.pop()
        if envelope is None:
            raise IndexError("empty mailbox")
        return envelope

    def pop(self) -> Envelope[Any] | None:
        """Take the next envelope, urgent ones first; None when empty."""
        if self._first:
            return self._first.popleft()
        try:
            return self._queue.popleft()
        except IndexError:
            return None

    def put(self, envelope: Envelope[Any], /) -> None:
        """Queue an envelope and have the actor scheduled.

        Raises:
            MailboxFull: the bound is reached and the policy refuses the message.
        """
        if envelope.reply_to is not None:
            envelope.reply_to.asked = self  # type: ignore[attr-defined]
        depth = len(self._queue)
        if depth >= self.spec.limit:
            self._make_room(envelope)
        self._queue.append(envelope)
        if depth >= self.high:
            self.high = depth + 1
        self.wake()

    def put_first(self, envelope: Envelope[Any]) -> None:
        """Queue an envelope before all ordinary ones; the lane has the mailbox's own bound."""
        if len(self._first) >= self.spec.limit:
            self._refuse()
        if envelope.reply_to is not None:
            envelope.reply_to.asked = self  # type: ignore[attr-defined]
        self._first.append(envelope)
        self.wake()

    def wake(self) -> None:
        """Have the actor scheduled unless it is already, or answer for the dead."""
        if self.turn.acquire(False):
            self.dispatcher.ready(self)
        elif self.closed:
            self.drain()

    def _make_room(self, envelope: Envelope[Any]) -> None:
        if type(envelope.message) is _ActorStop:
            return
        if self.spec.policy is Policy.DROP_OLDEST:
            self._drop_oldest()
        else:
            self._refuse()

    def _drop_oldest(self) -> None:
        stops: list[Envelope[Any]] = []
        while True:
            try:
                oldest = self._queue.popleft()
            except IndexError:
                break
            if type(oldest.message) is not _ActorStop:
                self.lose(oldest)
                break
            stops.append(oldest)
        self._queue.extendleft(reversed(stops))

    def _refuse(self) -> None:
        self.rejected += 1
        raise MailboxFull(
            f"the mailbox of {self.name} holds its {self.spec.limit} messages",
            "tell it less often, or later",
        )

    def lose(self, envelope: Envelope[Any]) -> None:
        """Count a dropped envelope and tell whoever waits for its answer."""
        self.dropped += 1
        if envelope.reply_to is not None:
            error = MailboxFull(f"{self.name} dropped the message for a newer one")
            envelope.reply_to.set_exception((MailboxFull, error, None))

    def drain(self) -> None:
        """Answer everything that waits in a dead actor's mailbox, as Pykka does."""
        while (envelope := self.pop()) is not None:
            if envelope.reply_to is None:
                continue
            if isinstance(envelope.message, _ActorStop):
                envelope.reply_to.set(None)
            else:
                error = pykka.ActorDeadError(f"{self.name} stopped before handling the message")
                envelope.reply_to.set_exception((pykka.ActorDeadError, error, None))


class LatestMailbox(Mailbox):
    """Newer state replaces older state in the queue, where the older stood."""

    __slots__ = ("_keyed", "_lock")

    def __init__(
        self, dispatcher: Scheduler, spec: MailboxSpec, level: int, stats: KindStats
    ) -> None:
        super().__init__(dispatcher, spec, level, stats)
        self._lock = threading.Lock()
        self._keyed: dict[object, Envelope[Any]] = {}

    def pop(self) -> Envelope[Any] | None:
        with self._lock:
            envelope = super().pop()
            if envelope is not None and self._keyed and envelope.reply_to is None:
                key = self.spec.key(envelope.message)
                if key is not None and self._keyed.get(key) is envelope:
                    del self._keyed[key]
            return envelope

    def put(self, envelope: Envelope[Any], /) -> None:
        key = self.spec.key(envelope.message) if envelope.reply_to is None else None
        if key is None:
            super().put(envelope)
            return
        with self._lock:
            queued = self._keyed.get(key)
            if queued is not None:
                queued.message = envelope.message
                self.dropped += 1
                return
            if len(self._queue) >= self.spec.limit:
                self._refuse()
            self._keyed[key] = envelope
            self._queue.append(envelope)
            self.high = max(self.high, len(self._queue))
        self.wake()


class BlockingMailbox(Mailbox):
    """Threads outside the dispatcher wait, boundedly, for room."""

    __slots__ = ("_room", "_waiting")

    def __init__(
        self, dispatcher: Scheduler, spec: MailboxSpec, level: int, stats: KindStats
    ) -> None:
        super().__init__(dispatcher, spec, level, stats)
        self._room = threading.Condition()
        self._waiting = 0

    def pop(self) -> Envelope[Any] | None:
        envelope = super().pop()
        if self._waiting and envelope is not None:
            with self._room:
                self._room.notify()
        return envelope

    def _make_room(self, envelope: Envelope[Any]) -> None:
        if type(envelope.message) is _ActorStop:
            return
        if not self.dispatcher.may_wait():
            self._refuse()
        deadline = time.monotonic() + self.spec.block_s
        with self._room:
            self._waiting += 1
            try:
                while len(self._queue) >= self.spec.limit and not self.closed:
                    left = deadline - time.monotonic()
                    if left <= 0 or not self._room.wait(left):
                        self._refuse()
            finally:
                self._waiting -= 1

    def drain(self) -> None:
        super().drain()
        with self._room:
            self._room.notify_all()


def create(dispatcher: Scheduler, spec: MailboxSpec, level: int, stats: KindStats) -> Mailbox:
    """Make the kind of mailbox that `spec` asks for."""
    kinds = {Policy.LATEST: LatestMailbox, Policy.BLOCK: BlockingMailbox}
    return kinds.get(spec.policy, Mailbox)(dispatcher, spec, level, stats)
