"""A Pykka actor without a thread of its own, the future it answers with, and how it takes messages."""

from __future__ import annotations

import logging
import sys
import threading
import traceback
from collections.abc import Callable, Collection
from enum import IntEnum
from types import TracebackType
from typing import Any, ClassVar, TypeVar

import pykka
from pykka._envelope import Envelope

from actors.errors import ActorError
from actors.mailbox import Mailbox, MailboxSpec, Scheduler

__all__ = [
    "ActorDied",
    "ActorGone",
    "GreenActor",
    "GreenFuture",
    "Level",
    "Recycle",
    "receives",
    "tell_first",
]

logger = logging.getLogger(__name__)

T = TypeVar("T")
Method = TypeVar("Method", bound=Callable[..., Any])


class Level(IntEnum):
    """Run queues, most urgent first; a waiting lower one still gets its turns."""

    STEP = 0
    SYSTEM = 1
    NORMAL = 2
    BACKGROUND = 3


class Here(threading.local):
    """What this thread is running now."""

    dispatcher: Scheduler | None = None
    mailbox: Mailbox | None = None
    starting: Scheduler | None = None
    adopting: Mailbox | None = None


here = Here()

_default_maker: list[Callable[[], Scheduler]] = []


def use_default(make: Callable[[], Scheduler]) -> None:
    """Say where actors run that are started outside any dispatcher."""
    _default_maker[:] = [make]


def _default() -> Scheduler:
    if not _default_maker:
        raise ActorError(
            "no dispatcher to start on", "use Dispatcher.start, or import actors.dispatch"
        )
    return _default_maker[0]()


class ActorDied:
    """Told to a supervisor: its child `key` failed and waits, suspended, with its mailbox.

    `phase` is "create" (its factory raised), "start" (`on_start` did), "receive" (a handler did, on
    `message`, which is not handled again) or "recycle" (the supervisor asked for it).
    """

    __slots__ = ("deferred", "error", "key", "kind", "message", "phase", "ref", "trace")

    def __init__(
        self, key: str, ref: pykka.ActorRef[Any], phase: str, error: BaseException, message: object
    ) -> None:
        self.key = key
        self.ref = ref
        self.kind = ref.actor_class.__name__
        self.phase = phase
        self.deferred = False
        self.error = f"{type(error).__name__}: {error}"[:300]
        self.message = "" if message is None else repr(message)[:300]
        self.trace = "".join(traceback.format_exception(error))[-4000:]


class ActorGone:
    """Told to a supervisor: its child `key` has stopped for good."""

    __slots__ = ("key", "ref")

    def __init__(self, key: str, ref: pykka.ActorRef[Any]) -> None:
        self.key = key
        self.ref = ref


class Recycle(Exception):
    """Told to a supervised actor: suspend yourself as if you had failed, to be made anew."""


class GreenFuture(pykka.ThreadingFuture[T]):
    """A future that knows whose answer it waits for, and refuses a wait that could never end."""

    asked: Mailbox | None = None

    def get(self, *, timeout: float | None = None) -> Any:
        """As `pykka.Future.get`.

        Raises:
            WouldDeadlock: called by a handler for an actor of the handler's own dispatcher.
        """
        if self._result is None and self.asked is not None:
            self.asked.dispatcher.before_wait(self, self.asked, timeout)
        return super().get(timeout=timeout)

    def done(self) -> bool:
        """Whether `get` would return or raise at once."""
        return self._result is not None


def receives(kind: type) -> Callable[[Method], Method]:
    """Mark a method as the handler of messages of exactly this type."""

    def mark(method: Method) -> Method:
        method._receives = kind  # type: ignore[attr-defined]
        return method

    return mark


class GreenActor(pykka.Actor):
    """A Pykka actor that shares a dispatcher's threads.

    `level` and `mailbox` are its kind's run queue and its mailbox's bound and policy. Handlers are
    methods marked with `receives`, or an `on_receive` of its own. `start()` uses the dispatcher of
    the handler that calls it, or else the process's default; `Dispatcher.start` names one.
    """

    level: ClassVar[Level] = Level.NORMAL
    mailbox: ClassVar[MailboxSpec] = MailboxSpec(limit=100_000)
    _handlers: ClassVar[dict[type, str]] = {}

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        found = dict(cls._handlers)
        for name, attribute in vars(cls).items():
            kind = getattr(attribute, "_receives", None)
            if kind is not None:
                found[kind] = name
        cls._handlers = found

    def __init__(self, *_args: Any, **_kwargs: Any) -> None:
        adopted = here.adopting
        if adopted is not None and adopted.ref is not None:
            # A restart: the new instance moves in behind the mailbox and the reference in use.
            here.adopting = None
            self.actor_urn = adopted.ref.actor_urn
            self.actor_inbox = adopted
            self.actor_stopped = adopted.ref.actor_stopped
            self._actor_ref = adopted.ref
            return
        super().__init__()
        inbox = self._inbox()
        inbox.actor = self
        inbox.ref = self._actor_ref

    def _create_actor_inbox(self) -> Mailbox:  # type: ignore[override]
        dispatcher = here.starting or here.dispatcher or _default()
        return dispatcher.new_mailbox(type(self))

    @staticmethod
    def _create_future() -> pykka.Future[Any]:
        return GreenFuture()

    def _start_actor_loop(self) -> None:
        inbox = self._inbox()
        inbox.dispatcher.admit(inbox)

    def _inbox(self) -> Mailbox:
        inbox = self.actor_inbox
        assert isinstance(inbox, Mailbox)
        return inbox

    @property
    def _dispatcher(self) -> Scheduler:
        """The dispatcher that this actor runs on."""
        return self._inbox().dispatcher

    def _stop(self) -> None:
        inbox = self._inbox()
        inbox.closed = True
        if inbox.registered:
            inbox.registered = False
            unregister([self._actor_ref])
        self.actor_stopped.set()
        logger.debug("Stopped %s", self)
        try:
            self.on_stop()
        except Exception as error:
            inbox.stats.failed(error)
            self._handle_failure(*sys.exc_info())

    def _handle_failure(
        self,
        exception_type: type[BaseException] | None,
        exception_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        inbox = self._inbox()
        inbox.closed = True
        inbox.registered = False
        super()._handle_failure(exception_type, exception_value, traceback)

    def on_skipped(self, message: Any) -> None:
        """Hear of the message that this actor has failed on, and that nobody will handle.

        For whoever waits for an answer to it; called as `on_failure` is, and after it.
        """

    def on_receive(self, message: Any) -> Any:
        """Hand the message to the method marked for its type; others are logged, as in Pykka."""
        name = self._handlers.get(type(message))
        if name is None:
            return super().on_receive(message)
        return getattr(self, name)(message)


def tell_first(ref: pykka.ActorRef[Any], message: Any) -> None:
    """Tell a `GreenActor` something that goes before its ordinary messages.

    Raises:
        pykka.ActorDeadError: it has stopped.
        MailboxFull: its urgent lane is full.
    """
    if not ref.is_alive():
        raise pykka.ActorDeadError(f"{ref} not found")
    inbox = ref.actor_inbox
    assert isinstance(inbox, Mailbox)
    inbox.put_first(Envelope(message))


def unregister(refs: Collection[pykka.ActorRef[Any]]) -> None:
    """Take references out of Pykka's registry, many at the cost of one.

    Pykka searches its list from the front for each, which makes stopping n actors cost n². One is
    searched from the back here, since the last started is usually the first stopped.
    """
    registry = pykka.ActorRegistry
    with registry._actor_refs_lock:
        if len(refs) == 1:
            (gone,) = refs
            for index in range(len(registry._actor_refs) - 1, -1, -1):
                if registry._actor_refs[index] is gone:
                    del registry._actor_refs[index]
                    return
        elif refs:
            urns = {ref.actor_urn for ref in refs}
            registry._actor_refs[:] = [r for r in registry._actor_refs if r.actor_urn not in urns]
