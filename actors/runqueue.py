"""The run queues of a dispatcher: who is next, by urgency but fairly, and how workers sleep."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from typing import Final

import pykka

from actors.errors import MailboxFull
from actors.mailbox import Mailbox
from actors.timers import Timers

__all__ = ["PATIENCE", "RunQueues"]

logger = logging.getLogger(__name__)

PATIENCE: Final = 32
"""Every so many turns each run queue in its turn goes first, whatever waits above it."""

RETRY_S: Final = 0.1
"""Until a timed message that found a full mailbox is tried again."""

LONGEST_S: Final = 3600.0
"""A sleeper looks again after so long: a system's own sleeps end where its clock does."""


class RunQueues:
    """One queue of mailboxes a level, and the timers that wake actors up."""

    def __init__(self, levels: int, timers: Timers, clock: Callable[[], float]) -> None:
        self.levels: tuple[deque[Mailbox], ...] = tuple(deque() for _ in range(levels))
        self.cond = threading.Condition()
        self.dead_letters = 0
        self._timers = timers
        self._clock = clock
        self.sleepers = 0
        self._turns = 0
        self._favoured = 0

    def __bool__(self) -> bool:
        return any(self.levels)

    def push(self, mailbox: Mailbox) -> None:
        """Queue a mailbox whose turn the caller has won."""
        self.levels[mailbox.level].append(mailbox)
        if self.sleepers:
            self.wake()

    def wake(self) -> None:
        """Let one sleeper look again."""
        with self.cond:
            self.cond.notify()

    def pop(self) -> Mailbox | None:
        """The next mailbox to have a turn; None when there is none now."""
        if self._timers.heap:
            self._fire()
        self._turns += 1
        if not self._turns % PATIENCE:
            self._favoured = (self._favoured + 1) % len(self.levels)
            if favoured := self.levels[self._favoured]:
                try:
                    return favoured.popleft()
                except IndexError:
                    return None  # another worker was quicker; the caller looks again
        for queue in self.levels:
            if queue:
                try:
                    return queue.popleft()
                except IndexError:
                    continue
        return None

    def _fire(self) -> None:
        due = self._timers.next_due
        if due is None or due > (now := self._clock()):
            return
        for timer in self._timers.due(now):
            message = timer.message
            # Only now: who withdraws it clears the message after raising the flag.
            if timer.cancelled:
                continue
            try:
                timer.ref.tell(message)
            except MailboxFull:
                # It may be what ends somebody's wait: it comes again when there may be room.
                self._timers.again(timer, now + RETRY_S)
            except pykka.ActorDeadError as error:
                self.dead_letters += 1
                logger.debug("A timed message for %s was lost: %s", timer.ref, error)
            except Exception:
                # A mailbox's own `key` can raise; the timers behind this one are not to pay for it.
                self.dead_letters += 1
                logger.error("A timed message for %s was lost:", timer.ref, exc_info=True)

    def sleep(self, timeout: float | None) -> None:
        """Wait for work, a timer or `timeout` seconds; the caller holds `cond`."""
        # Counting sleepers before looking is what makes `push` free of locks: either it sees the
        # sleeper and wakes it, or the sleeper sees the mailbox.
        self.sleepers += 1
        try:
            if self:
                return
            due = self._timers.next_due
            if due is not None:
                left = max(0.0, due - self._clock())
                timeout = left if timeout is None else min(left, timeout)
            if timeout is None or timeout > 0:
                self.cond.wait(None if timeout is None else min(timeout, LONGEST_S))
        finally:
            self.sleepers -= 1
