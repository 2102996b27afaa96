"""Bounded mailboxes: an actor's inbox that schedules the actor when something arrives.

Putting is free of locks in the common case: `deque.append` and the try-lock `turn` are atomic.
Whoever wins `turn` hands the mailbox to the dispatcher; the worker gives it back after draining
and looks once more, so that no message is left behind. `idle` says that the turn may be had: it is
raised before the turn is given back, so a teller that finds it down is seen by that last look.
The bound may be passed by at most one message for each thread that tells at the same instant.

A message that is only told lies in the queue as it is, one that is asked in Pykka's envelope.
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


_making = threading.Lock()


class Policy(Enum):
    """What a full mailbox does with one message more. A stop is always taken."""

    REJECT = "reject"
    """The teller gets `MailboxFull`."""
    DROP_OLDEST = "drop_oldest"
    """The oldest message goes; if somebody waits for its answer, they get `MailboxFull`."""
    LATEST = "latest"
    """A message takes the place of a queued one with the same key; what has no key is rejected."""
    BLOCK = "block"
    """A thread outside any dispatcher waits for room; a handler or timer, which must not wait, is rejected."""


_UNKEYED: frozenset[type[Any]] = PYKKA_MESSAGES | {Envelope}


@dataclass(frozen=True, slots=True)
class MailboxSpec:
    """Bound and policy of a kind of actor's mailboxes.

    `key` names, for `LATEST`, what may be replaced by a newer one (None: never replaced); it is asked
    about messages that are told, and not about those that somebody waits for.
    `block_s` is the longest wait of `BLOCK`, in seconds.
    """

    limit: int = 1024
    policy: Policy = Policy.REJECT
    key: Callable[[Any], object] = type
    block_s: float = 5.0

    def __post_init__(self) -> None:
        if self.limit < 1:
            raise ValueError("a mailbox holds one message at least")


class Scheduler(Protocol):
    """What mailboxes and actors ask of the dispatcher they are on; see `dispatch.Dispatcher`."""

    @property
    def clock(self) -> Callable[[], float]: ...

    @property
    def capacity(self) -> int: ...

    @property
    def ready(self) -> Callable[[Mailbox], None]: ...

    def admit(self, mailbox: Mailbox) -> None: ...

    def new_mailbox(self, kind: Any) -> Mailbox: ...

    def may_wait(self) -> bool: ...

    def before_wait(self, future: Any, mailbox: Mailbox, timeout: float | None) -> None: ...

    def tell_after(
        self, delay_s: float, ref: pykka.ActorRef[Any], message: Any, *, vital: bool = False
    ) -> Timer: ...

    def run_blocking(self, work: Callable[[], Any], ref: pykka.ActorRef[Any], tag: Any) -> None: ...

    def revive(self, ref: pykka.ActorRef[Any], factory: Callable[[], Any]) -> None: ...

    def recycle(self, ref: pykka.ActorRef[Any]) -> None: ...

    def abandon(self, ref: pykka.ActorRef[Any]) -> None: ...


class Mailbox:
    """An actor's inbox (`pykka`'s `put`, `get`, `empty`) on a shared dispatcher.

    `room` is the depth below which a teller may append to `queue` without asking: the bound while
    the actor lives, 0 once it is dead or where the policy looks at each message. `high` is the
    deepest that a turn of the actor, or a refusal, has found the queue.
    """

    __slots__ = (
        "actor",
        "begun",
        "closed",
        "dispatcher",
        "dropped",
        "first",
        "handled",
        "high",
        "idle",
        "last_error",
        "level",
        "longest_handler",
        "longest_ns",
        "looked",
        "queue",
        "ref",
        "rejected",
        "restarts",
        "room",
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
        self.room = spec.limit
        self.level = level
        self.stats = stats
        self.turn = threading.Lock()
        # Held until the actor is started: messages told in __init__ must wait for on_start.
        self.turn.acquire()
        self.idle = False
        self.actor: Any = None
        self.ref: pykka.ActorRef[Any] | None = None
        self.supervision: tuple[pykka.ActorRef[Any], str] | None = None
        self.begun = False
        self.suspended = False
        self.closed = False
        self.high = 0
        self.handled = 0
        self.looked = 0
        self.longest_ns = 0
        self.longest_handler = ""
        self.last_error = ""
        self.restarts = 0
        self.dropped = 0
        self.rejected = 0
        self.queue: deque[Any] = deque()
        self.first: deque[Any] | None = None

    @property
    def name(self) -> str:
        """The actor's class and URN, for messages and logs."""
        return str(self.ref) if self.ref is not None else self.stats.kind

    def __len__(self) -> int:
        return len(self.queue) + len(self.first or ())

    def empty(self) -> bool:
        return not (self.queue or self.first)

    def get(self) -> Envelope[Any]:
        """Take the next envelope, as Pykka's own actors do.

        Raises:
            IndexError: the mailbox is empty; it never blocks.
        """
        item = self.take()
        return item if type(item) is Envelope else Envelope(item)

    def take(self) -> Any:
        """Take the next message or envelope, urgent ones first.

        Raises:
            IndexError: the mailbox is empty.
        """
        return self.first.popleft() if self.first else self.take_queued()

    def take_queued(self) -> Any:
        """Take the next that is not urgent.

        Raises:
            IndexError: there is none.
        """
        return self.queue.popleft()

    def put(self, envelope: Envelope[Any], /) -> None:
        """Queue an envelope and have the actor scheduled.

        Raises:
            MailboxFull: the bound is reached and the policy refuses the message.
        """
        if envelope.reply_to is None:
            self.put_item(envelope.message)
            return
        envelope.reply_to.asked = self  # type: ignore[attr-defined]
        self.put_item(envelope)

    def put_item(self, item: Any) -> None:
        """Queue a message that is told, or the envelope of one that is asked.

        Raises:
            MailboxFull: the bound is reached and the policy refuses the message.
        """
        if len(self.queue) >= self.spec.limit:
            self._make_room(item)
        self.queue.append(item)
        self.wake()

    def put_first(self, message: Any) -> None:
        """Queue a message before all ordinary ones; the lane has the mailbox's own bound.

        Raises:
            MailboxFull: the lane is full.
        """
        if self.first is None:
            with _making:
                if self.first is None:
                    self.first = deque()
        if len(self.first) >= self.spec.limit:
            self._refuse()
        self.first.append(message)
        self.wake()

    def wake(self) -> None:
        """Have the actor scheduled unless it is already, or answer for the dead."""
        if self.turn.acquire(False):
            self.idle = False
            self.dispatcher.ready(self)
        elif self.closed:
            self.drain()

    def stop(self) -> None:
        """Have the actor stop when it has handled what lies before; nobody waits for it."""
        self.put_item(_ActorStop())

    def close(self) -> None:
        """Take nothing more without asking: the actor is dead."""
        self.closed = True
        self.room = 0

    def failed(self, error: BaseException) -> None:
        """Note a failure of the actor, here and for its kind; the text of the last is kept, bounded."""
        self.last_error = self.stats.failed(error)

    def took(self, name: str, ns: int, slow_ns: int) -> None:
        """Note a handler's run that was the actor's longest so far, or over the bound."""
        if ns > self.longest_ns:
            self.longest_ns = ns
            self.longest_handler = name
        elif ns <= slow_ns:
            return
        self.stats.took(name, ns, slow_ns)

    def _make_room(self, item: Any) -> None:
        if _is_stop(item):
            return
        if self.spec.policy is Policy.DROP_OLDEST:
            self._drop_oldest()
        else:
            self._refuse()

    def _drop_oldest(self) -> None:
        self.high = self.spec.limit
        stops: list[Any] = []
        while True:
            try:
                oldest = self.queue.popleft()
            except IndexError:
                break
            if not _is_stop(oldest):
                self._lose(oldest)
                break
            stops.append(oldest)
        self.queue.extendleft(reversed(stops))

    def _refuse(self) -> None:
        self.rejected += 1
        self.high = max(self.high, self.spec.limit)
        raise MailboxFull(
            f"the mailbox of {self.name} holds its {self.spec.limit} messages",
            "tell it less often, or later",
        )

    def _lose(self, item: Any) -> None:
        """Count a dropped message and tell whoever waits for its answer."""
        self.dropped += 1
        if type(item) is Envelope and item.reply_to is not None:
            error = MailboxFull(f"{self.name} dropped the message for a newer one")
            item.reply_to.set_exception((MailboxFull, error, None))

    def drain(self) -> None:
        """Answer everything that waits in a dead actor's mailbox, as Pykka does."""
        while True:
            try:
                item = self.take()
            except IndexError:
                return
            if type(item) is not Envelope or item.reply_to is None:
                continue
            if _is_stop(item):
                item.reply_to.set(None)
            else:
                error = pykka.ActorDeadError(f"{self.name} stopped before handling the message")
                item.reply_to.set_exception((pykka.ActorDeadError, error, None))


def _is_stop(item: Any) -> bool:
    return type(item.message if type(item) is Envelope else item) is _ActorStop


class LatestMailbox(Mailbox):
    """Newer state replaces older state in the queue, where the older stood."""

    __slots__ = ("_keyed", "_keys", "_lock")

    def __init__(
        self, dispatcher: Scheduler, spec: MailboxSpec, level: int, stats: KindStats
    ) -> None:
        super().__init__(dispatcher, spec, level, stats)
        self.room = 0
        self._lock = threading.Lock()
        self._keyed: dict[object, Envelope[Any]] = {}
        self._keys: dict[int, object] = {}

    def take_queued(self) -> Any:
        with self._lock:
            item = self.queue.popleft()
            if type(item) is Envelope and item.reply_to is None:
                # By the key it came with: its message may have changed since.
                del self._keyed[self._keys.pop(id(item))]
            return item

    def put_item(self, item: Any) -> None:
        # A stop and a proxy's call are Pykka's, and never to be replaced; `key` knows only messages.
        key = self.spec.key(item) if type(item) not in _UNKEYED else None
        if key is None:
            super().put_item(item)
            return
        with self._lock:
            queued = self._keyed.get(key)
            if queued is not None:
                queued.message = item
                self.dropped += 1
                return
            if len(self.queue) >= self.spec.limit:
                self._refuse()
            # Only what may be replaced needs something around it that can be written to.
            self._keyed[key] = envelope = Envelope(item)
            self._keys[id(envelope)] = key
            self.queue.append(envelope)
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

    def take_queued(self) -> Any:
        item = self.queue.popleft()
        if self._waiting:
            with self._room:
                self._room.notify()
        return item

    def _make_room(self, item: Any) -> None:
        if _is_stop(item):
            return
        if not self.dispatcher.may_wait():
            self._refuse()
        deadline = time.monotonic() + self.spec.block_s
        with self._room:
            self._waiting += 1
            try:
                while len(self.queue) >= self.spec.limit and not self.closed:
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
