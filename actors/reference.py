"""The reference to a `GreenActor`, whose `tell` goes straight to the mailbox, and its stopped flag."""

from __future__ import annotations

import threading
from typing import Any, TypeVar

import pykka

from actors.mailbox import Mailbox

__all__ = ["GreenRef", "Stopped"]

A = TypeVar("A", bound=pykka.Actor)

_making = threading.Lock()


class Stopped(threading.Event):
    """A `threading.Event` that makes its condition, a kilobyte of it, only when somebody waits."""

    __slots__ = ("_is_set", "_room")

    def __init__(self) -> None:
        self._is_set = False
        self._room: threading.Condition | None = None

    def is_set(self) -> bool:
        """Whether `set` has been called."""
        return self._is_set

    def set(self) -> None:
        """Raise the flag and wake who waits."""
        # The flag goes first: who makes the condition after this look finds the flag raised.
        self._is_set = True
        if self._room is not None:
            with self._room:
                self._room.notify_all()

    def clear(self) -> None:
        """Lower the flag."""
        self._is_set = False

    def wait(self, timeout: float | None = None) -> bool:
        """Wait for the flag, at most `timeout` seconds; returns whether it is raised."""
        if self._room is None:
            with _making:
                if self._room is None:
                    self._room = threading.Condition()
        with self._room:
            return self._room.wait_for(self.is_set, timeout)

    def __repr__(self) -> str:
        return f"<Stopped: {'set' if self._is_set else 'unset'}>"


class GreenRef(pykka.ActorRef[A]):
    """A `pykka.ActorRef`; a message that is only told needs no envelope around it."""

    actor_inbox: Mailbox

    def tell(self, message: Any) -> None:
        """As `pykka.ActorRef.tell`.

        Raises:
            pykka.ActorDeadError: the actor has stopped.
            MailboxFull: the mailbox is at its bound and its policy refuses the message.
        """
        inbox = self.actor_inbox
        queue = inbox.queue
        if len(queue) < inbox.room:
            queue.append(message)
            if inbox.idle:
                inbox.wake()
            return
        if self.actor_stopped.is_set():
            raise pykka.ActorDeadError(f"{self} not found")
        inbox.put_item(message)
