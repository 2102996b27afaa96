"""Which handlers wait for which actors, over all dispatchers: a ring of waits is refused, not entered.

A dispatcher is stuck when each of its threads waits, in a handler, for an actor of a dispatcher
that is stuck. A wait that would make its own dispatcher so is a deadlock, and raises instead.
Waits for actors of another kind, Pykka's threads say, can't be seen: give those a timeout.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, Protocol

from actors.errors import WouldDeadlock
from actors.mailbox import Mailbox, Scheduler

__all__ = ["WAITS", "Waits"]


class Answer(Protocol):
    """The part of a future that says whether waiting for it is over."""

    def done(self) -> bool: ...


@dataclass(frozen=True, slots=True, eq=False)
class _Wait:
    dispatcher: Scheduler
    waiter: Mailbox
    awaited: Mailbox
    answer: Answer


class Waits:
    """The waits of a process that have begun and not ended."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waits: list[_Wait] = []

    @contextmanager
    def wait(
        self, dispatcher: Scheduler, waiter: Mailbox, awaited: Mailbox, answer: Answer
    ) -> Iterator[None]:
        """Hold the note that a handler of `waiter`, run by `dispatcher`, waits for `awaited`.

        Raises:
            WouldDeadlock: the answer could never come.
        """
        wait = _Wait(dispatcher, waiter, awaited, answer)
        with self._lock:
            self._waits.append(wait)
            ring: list[_Wait] = []
            if self._stuck(dispatcher, set(), ring) and not answer.done():
                self._waits.remove(wait)
                chain = "; ".join(f"{each.waiter.name} for {each.awaited.name}" for each in ring)
                raise WouldDeadlock(
                    f"handlers wait in a ring: {chain}", "tell it, and take the answer as a message"
                )
        try:
            yield
        finally:
            with self._lock:
                self._waits.remove(wait)

    def _stuck(self, dispatcher: Scheduler, assumed: set[int], ring: list[_Wait]) -> bool:
        if id(dispatcher) in assumed:
            return True
        # Who has its answer only has not woken yet.
        waits = [w for w in self._waits if w.dispatcher is dispatcher and not w.answer.done()]
        if len(waits) < dispatcher.capacity:
            return False
        assumed.add(id(dispatcher))
        ring.extend(waits)
        return all(self._stuck(wait.awaited.dispatcher, assumed, ring) for wait in waits)


WAITS: Final = Waits()
