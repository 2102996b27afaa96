"""A Pykka actor without a thread of its own, the future it answers with, and how it takes messages."""

from __future__ import annotations

import logging
import sys
import threading
import traceback
import uuid
from collections.abc import Callable
from enum import IntEnum
from types import TracebackType
from typing import Any, ClassVar, TypeVar

import pykka

from actors import wording
from actors.errors import ActorError
from actors.mailbox import Mailbox, MailboxSpec, Scheduler
from actors.reference import GreenRef, Stopped
from actors.registry import install
from actors.waiting import WAITS

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
        self.error = wording.of_error(error)
        self.message = wording.of_message(message)
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
            WouldDeadlock: called by a handler for an actor of the handler's own dispatcher, or of
                another whose threads wait, through others or not, for the handler's own.
        """
        asked = self.asked
        if self._result is not None or asked is None:
            return super().get(timeout=timeout)
        if here.mailbox is None or here.dispatcher is None:
            asked.dispatcher.before_wait(self, asked, timeout)
            return super().get(timeout=timeout)
        with WAITS.wait(here.dispatcher, here.mailbox, asked, self):
            asked.dispatcher.before_wait(self, asked, timeout)
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
        if (
            adopted is not None
            and adopted.ref is not None
            and type(self) is adopted.ref.actor_class
        ):
            # A restart: the new instance moves in behind the mailbox and the reference in use. An
            # actor of another class is only a helper that the factory starts before it.
            here.adopting = None
            self.actor_urn = adopted.ref.actor_urn
            self.actor_inbox = adopted
            self.actor_stopped = adopted.ref.actor_stopped
            self._actor_ref = adopted.ref
            return
        # In Pykka's stead: its own reference and event are larger, and slower to tell.
        self.actor_urn = uuid.uuid4().urn
        self.actor_inbox = inbox = self._create_actor_inbox()
        self.actor_stopped = Stopped()
        self._actor_ref = inbox.ref = GreenRef(self)
        inbox.actor = self

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
        inbox.close()
        pykka.ActorRegistry.unregister(self._actor_ref)
        self.actor_stopped.set()
        logger.debug("Stopped %s", self)
        try:
            self.on_stop()
        except BaseException as error:
            inbox.failed(error)
            self._handle_failure(*sys.exc_info())
            if not isinstance(error, Exception):
                raise

    def _handle_failure(
        self,
        exception_type: type[BaseException] | None,
        exception_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._inbox().close()
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
    inbox.put_first(message)


install()
