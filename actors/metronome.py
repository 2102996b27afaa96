"""The thread that asks the director for a step twenty times a second, and counts what was missed."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pykka

from actors.actor import tell_first
from actors.errors import MailboxFull
from actors.messages import HZ, Step
from actors.pace import Pace
from actors.right_of_way import RightOfWay

__all__ = ["Metronome"]


class Metronome:
    """Posts a `Step` every period; at most one is on its way.

    When the director is still at the last step when the next is due, that tick is missed and
    counted, never queued: the world then runs slower rather than in bursts. A step that is posted has the
    right of `way`, which the director gives back. `sleep` waits so many seconds or until stopped, and
    says whether it was stopped.
    """

    def __init__(
        self,
        director: pykka.ActorRef[Any],
        pace: Pace,
        way: RightOfWay,
        *,
        hz: float = HZ,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], bool] | None = None,
    ) -> None:
        self._director = director
        self._pace = pace
        self._way = way
        self._period = 1.0 / hz
        self._clock = clock
        self._stopping = threading.Event()
        self._sleep = sleep or self._stopping.wait
        self._under_way = threading.Event()
        self._thread = threading.Thread(target=self._run, name="metronome", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End; no step is posted after this returns."""
        self._stopping.set()
        if self._thread.is_alive() and threading.current_thread() is not self._thread:
            self._thread.join(5.0)
        self._way.release()

    def stepped(self) -> None:
        """Told by the director when a step is over."""
        self._under_way.clear()

    def _run(self) -> None:
        due = self._clock()
        while not self._stopping.is_set():
            if not self.beat(due):
                return
            due += self._period
            now = self._clock()
            behind = int((now - due) / self._period)
            if behind > 0:
                # The process was held up (a suspended laptop, a stopped container): go on from now.
                self._pace.skipped(behind)
                due += behind * self._period
            if self._sleep(max(0.0, due - now)):
                return

    def beat(self, due: float) -> bool:
        """Post one step, or count it as missed; False when the director has gone."""
        if self._under_way.is_set():
            self._pace.skipped(1)
            if self._director.is_alive():
                return True
            self._way.release()
            return False
        self._under_way.set()
        self._way.claim()
        try:
            tell_first(self._director, Step(due))
        except MailboxFull:
            self._pace.skipped(1)
            self._way.release()
            self._under_way.clear()
        except pykka.ActorDeadError:
            self._way.release()
            return False
        return True
