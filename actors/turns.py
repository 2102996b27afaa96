"""One actor's turn: its messages one by one, and what happens when it starts, fails or ends."""

from __future__ import annotations

import contextlib
import logging
import sys
import time
from collections.abc import Sized
from typing import Any, Final

import pykka
from pykka._envelope import Envelope

from actors import wording
from actors.actor import ActorDied, ActorGone, GreenActor, Recycle, here, tell_first
from actors.errors import MailboxFull
from actors.mailbox import PYKKA_MESSAGES, Mailbox
from actors.runqueue import RunQueues

__all__ = ["ALIKE", "NOTED_NS", "Turns"]

logger = logging.getLogger(__name__)

NOTED_NS: Final = 20_000
"""Runs shorter than this are not worth remembering as a longest one."""

ALIKE: Final = 8
"""So many messages of one type are timed as one while they are brief; a slow one among them counts with the rest."""

_BRIEF_NS: Final = NOTED_NS // ALIKE
"""A message that takes less is brief."""

_NEVER_NS: Final = 2**62
_OVER: Final = (True,)
_OTHERS: Final = PYKKA_MESSAGES | {Envelope, Recycle}


class Turns:
    """Runs turns for a dispatcher; `mailboxes` are those of its living actors."""

    def __init__(
        self,
        queues: RunQueues,
        mailboxes: dict[Mailbox, None],
        batch: int,
        slow_ms: float,
        manual: bool,
    ) -> None:
        self._queues = queues
        self._mailboxes = mailboxes
        self._batch = batch
        self._slow_ns = int(slow_ms * 1e6)
        self._noted_ns = min(self._slow_ns, NOTED_NS)
        # A reproducible run hangs on no clock.
        self._turn_ns = _NEVER_NS if manual else self._slow_ns
        self._manual = manual

    def run(self, mailbox: Mailbox) -> int:
        """Give an actor its turn; returns how many messages it handled."""
        here.mailbox = mailbox
        before = mailbox.handled
        parked = False
        try:
            if not mailbox.begun and not mailbox.closed:
                began = time.perf_counter_ns()
                parked = self._begin(mailbox)
                took = time.perf_counter_ns() - began
                if took > self._noted_ns:
                    mailbox.took("on_start", took, self._slow_ns)
            if not parked and not mailbox.closed:
                parked = self._receive(mailbox)
        finally:
            handled = mailbox.handled - before
            # A parked mailbox is its supervisor's: another worker may be running it already.
            if parked:
                pass
            elif mailbox.closed:
                self.retire(mailbox)
            elif mailbox.queue or mailbox.first:
                self._queues.push(mailbox)
            else:
                mailbox.idle = True
                mailbox.turn.release()
                if mailbox.queue or mailbox.first:
                    mailbox.wake()
        return handled

    def _receive(self, mailbox: Mailbox) -> bool:
        """Handle what waits, a batch at the most; returns whether the actor is parked.

        Each line of the loop is paid for every message, and the clock costs as much as the rest. So
        it is read between two messages only while they are of different types, or not brief: of one
        type, `ALIKE` that follow brief ones are timed as one.
        """
        queue, actor = mailbox.queue, mailbox.actor
        # The plain mailbox's queue is read directly: a method between costs a tenth of a message.
        take = queue.popleft if type(mailbox) is Mailbox else mailbox.take_queued
        if len(queue) > mailbox.high:
            mailbox.high = len(queue)
        urgent: Sized = self._queues.levels[0] if mailbox.level else ()
        clock, noted = time.perf_counter_ns, self._noted_ns
        left = self._batch
        kind: type[Any] | None = None
        first: Any = None
        began = until = alike = ends = 0
        parked = plain = False
        try:
            while left and (queue or mailbox.first):
                try:
                    item = mailbox.first.popleft() if mailbox.first else take()
                except IndexError:
                    break
                left -= 1
                if type(item) is not kind or left < until:
                    now = clock()
                    brief = plain and type(item) is kind and now - began < alike * _BRIEF_NS
                    if kind is None:
                        ends = now + self._turn_ns
                    elif now > ends:
                        urgent = _OVER
                    if now - began > noted and kind is not None:
                        mailbox.took(_name_of(first), now - began, self._slow_ns)
                    kind, first, began = type(item), item, now
                    alike = ALIKE if brief else 1
                    until = left - alike + 1
                    plain = kind not in _OTHERS
                if plain:
                    try:
                        actor.on_receive(item)
                    except BaseException as error:
                        parked = self._raised(mailbox, actor, error, item)
                        if parked or mailbox.closed:
                            break
                else:
                    parked = self._handle(mailbox, actor, item)
                    if parked or mailbox.closed:
                        break
                if urgent:
                    break
            took = clock() - began
            if took > noted and kind is not None:
                mailbox.took(_name_of(first), took, self._slow_ns)
        finally:
            mailbox.handled += self._batch - left
        return parked

    def _begin(self, mailbox: Mailbox) -> bool:
        mailbox.begun = True
        actor = mailbox.actor
        try:
            actor.on_start()
        except BaseException as error:
            if self._manual and not isinstance(error, Exception):
                raise
            return self._failed(mailbox, actor, "start", error, None)
        return False

    def _handle(self, mailbox: Mailbox, actor: GreenActor, item: Any) -> bool:
        """Handle what is not simply told to `on_receive`; returns whether the actor is parked."""
        message, reply_to = item, None
        if type(item) is Envelope:
            message, reply_to = item.message, item.reply_to
        if type(message) is Recycle:
            return self._suspend(mailbox, actor, "recycle", message, None)
        try:
            if type(message) in PYKKA_MESSAGES:
                response = actor._handle_receive(message)
            else:
                response = actor.on_receive(message)
            if reply_to is not None:
                reply_to.set(response)
        except BaseException as error:
            if reply_to is not None and not isinstance(error, Exception):
                # It is not the asker's to be interrupted, nor to wait for an answer that never comes.
                gone = pykka.ActorDeadError(
                    f"{mailbox.name} was stopped by {wording.of_error(error)}"
                )
                reply_to.set_exception((pykka.ActorDeadError, gone, None))
            if reply_to is None or not isinstance(error, Exception):
                return self._raised(mailbox, actor, error, message)
            logger.info("Exception returned from %s to caller:", actor, exc_info=True)
            mailbox.failed(error)
            reply_to.set_exception()
        return False

    def _raised(
        self, mailbox: Mailbox, actor: GreenActor, error: BaseException, message: object
    ) -> bool:
        """Deal with the exception being handled, for which nobody waits; returns whether parked."""
        if isinstance(error, Exception):
            return self._failed(mailbox, actor, "receive", error, message)
        logger.debug("%r in %s. Stopping all actors.", error, actor)
        if not mailbox.closed:
            # Its own on_stop may raise the like: it is logged, and the others are stopped all the same.
            with contextlib.suppress(BaseException):
                actor._stop()
        pykka.ActorRegistry.stop_all(block=False)
        if self._manual:
            raise error
        return False

    def _failed(
        self,
        mailbox: Mailbox,
        actor: GreenActor,
        phase: str,
        error: BaseException,
        message: object,
    ) -> bool:
        mailbox.failed(error)
        watched = mailbox.supervision is not None and mailbox.supervision[0].is_alive()
        if not watched:
            actor._handle_failure(*sys.exc_info())
        else:
            logger.error("Unhandled exception in %s:", actor, exc_info=True)
        if phase == "receive":
            try:
                actor.on_failure(*sys.exc_info())
                actor.on_skipped(message)
            except BaseException as second:
                if self._manual and not isinstance(second, Exception):
                    raise
                mailbox.failed(second)
                logger.error("Unhandled exception in on_failure of %s:", actor, exc_info=True)
        return watched and self._suspend(mailbox, actor, phase, error, message)

    def _suspend(
        self,
        mailbox: Mailbox,
        actor: GreenActor,
        phase: str,
        error: BaseException,
        message: object,
    ) -> bool:
        if mailbox.supervision is None:
            return False
        supervisor, key = mailbox.supervision
        mailbox.suspended = True
        try:
            tell_first(supervisor, ActorDied(key, actor.actor_ref, phase, error, message))
        except (pykka.ActorDeadError, MailboxFull):
            mailbox.suspended = False
            actor._handle_failure(type(error), error, error.__traceback__)
            return False
        return True

    def retire(self, mailbox: Mailbox) -> None:
        """Let go of a dead actor."""
        # The turn is never given back, so that nothing schedules a dead actor.
        mailbox.drain()
        mailbox.actor = None
        if mailbox.supervision is not None and mailbox.ref is not None:
            supervisor, key = mailbox.supervision
            with contextlib.suppress(pykka.ActorDeadError, MailboxFull):
                supervisor.tell(ActorGone(key, mailbox.ref))
        self._mailboxes.pop(mailbox, None)
        mailbox.stats.retired(mailbox.handled, mailbox.high, mailbox.dropped, mailbox.rejected)


def _name_of(item: Any) -> str:
    message = item.message if type(item) is Envelope else item
    # Only of Pykka's own: any other message's attributes are its own affair.
    path = getattr(message, "attr_path", None) if type(message) in PYKKA_MESSAGES else None
    return ".".join(path) if path is not None else type(message).__name__
