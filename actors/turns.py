"""One actor's turn: its messages one by one, and what happens when it starts, fails or ends."""

from __future__ import annotations

import contextlib
import logging
import sys
import time
from typing import Any

import pykka
from pykka._envelope import Envelope

from actors.actor import ActorDied, ActorGone, GreenActor, Recycle, here, tell_first
from actors.errors import MailboxFull
from actors.mailbox import PYKKA_MESSAGES, Mailbox
from actors.runqueue import RunQueues

__all__ = ["Turns"]

logger = logging.getLogger(__name__)


class Turns:
    """Runs turns for a dispatcher; `mailboxes` are those of its living actors."""

    def __init__(
        self,
        queues: RunQueues,
        mailboxes: dict[int, Mailbox],
        batch: int,
        slow_ms: float,
        manual: bool,
    ) -> None:
        self._queues = queues
        self._mailboxes = mailboxes
        self._batch = batch
        self._slow_ns = int(slow_ms * 1e6)
        self._manual = manual

    def run(self, mailbox: Mailbox) -> int:
        """Give an actor its turn; returns how many messages it handled."""
        here.mailbox = mailbox
        stats = mailbox.stats
        handled = 0
        urgent = self._queues.levels[0] if mailbox.level else ()
        began = time.perf_counter_ns()
        try:
            if not mailbox.begun and not mailbox.closed:
                self._begin(mailbox)
                ended = time.perf_counter_ns()
                stats.took("on_start", ended - began, self._slow_ns)
                began = ended
            while handled < self._batch and not (mailbox.closed or mailbox.suspended):
                envelope = mailbox.pop()
                if envelope is None:
                    break
                self._handle(mailbox, envelope)
                handled += 1
                ended = time.perf_counter_ns()
                took = ended - began
                began = ended
                if took > self._slow_ns or took > stats.longest_ns:
                    stats.took(_name_of(envelope.message), took, self._slow_ns)
                if urgent:
                    break
        finally:
            here.mailbox = None
            mailbox.handled += handled
            with stats.lock:
                stats.handled += handled
            if mailbox.closed:
                self.retire(mailbox)
            elif not mailbox.suspended:
                self._hand_back(mailbox)
        return handled

    def _hand_back(self, mailbox: Mailbox) -> None:
        if not mailbox.empty():
            self._queues.push(mailbox)
            return
        mailbox.turn.release()
        if not mailbox.empty() and mailbox.turn.acquire(False):
            self._queues.push(mailbox)

    def _begin(self, mailbox: Mailbox) -> None:
        mailbox.begun = True
        actor = mailbox.actor
        assert actor is not None
        try:
            actor.on_start()
        except BaseException as error:
            if self._manual and not isinstance(error, Exception):
                raise
            self._failed(mailbox, actor, "start", error, None)

    def _handle(self, mailbox: Mailbox, envelope: Envelope[Any]) -> None:
        actor = mailbox.actor
        assert actor is not None
        message, reply_to = envelope.message, envelope.reply_to
        if type(message) is Recycle:
            self._suspend(mailbox, actor, "recycle", message, None)
            return
        try:
            if type(message) in PYKKA_MESSAGES:
                response = actor._handle_receive(message)
            else:
                response = actor.on_receive(message)
            if reply_to is not None:
                reply_to.set(response)
        except Exception as error:
            if reply_to is not None:
                logger.info("Exception returned from %s to caller:", actor, exc_info=True)
                mailbox.stats.failed(error)
                reply_to.set_exception()
            else:
                self._failed(mailbox, actor, "receive", error, message)
        except BaseException as error:
            logger.debug("%r in %s. Stopping all actors.", error, actor)
            actor._stop()
            pykka.ActorRegistry.stop_all(block=False)
            if self._manual:
                raise

    def _failed(
        self,
        mailbox: Mailbox,
        actor: GreenActor,
        phase: str,
        error: BaseException,
        message: object,
    ) -> None:
        mailbox.stats.failed(error)
        watched = mailbox.supervision is not None and mailbox.supervision[0].is_alive()
        if not watched:
            actor._handle_failure(*sys.exc_info())
        else:
            logger.error("Unhandled exception in %s:", actor, exc_info=True)
        if phase == "receive":
            try:
                actor.on_failure(*sys.exc_info())
                actor.on_skipped(message)
            except Exception as second:
                mailbox.stats.failed(second)
                logger.error("Unhandled exception in on_failure of %s:", actor, exc_info=True)
        if watched:
            self._suspend(mailbox, actor, phase, error, message)

    def _suspend(
        self,
        mailbox: Mailbox,
        actor: GreenActor,
        phase: str,
        error: BaseException,
        message: object,
    ) -> None:
        if mailbox.supervision is None:
            return
        supervisor, key = mailbox.supervision
        mailbox.suspended = True
        try:
            tell_first(supervisor, ActorDied(key, actor.actor_ref, phase, error, message))
        except (pykka.ActorDeadError, MailboxFull):
            mailbox.suspended = False
            actor._handle_failure(type(error), error, error.__traceback__)

    def retire(self, mailbox: Mailbox) -> None:
        """Let go of a dead actor."""
        # The turn is never given back, so that nothing schedules a dead actor.
        mailbox.drain()
        mailbox.actor = None
        if mailbox.supervision is not None and mailbox.ref is not None:
            supervisor, key = mailbox.supervision
            with contextlib.suppress(pykka.ActorDeadError, MailboxFull):
                supervisor.tell(ActorGone(key, mailbox.ref))
        self._mailboxes.pop(id(mailbox), None)
        mailbox.stats.retired(mailbox.high, mailbox.dropped, mailbox.rejected)


def _name_of(message: Any) -> str:
    path = getattr(message, "attr_path", None)
    return ".".join(path) if path is not None else type(message).__name__
