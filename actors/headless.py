"""A company lived on the calling thread, in simulated time, as fast as it goes."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pykka

from actors.actor import tell_first
from actors.attention import Question
from actors.dispatch import Dispatcher
from actors.foresight import Foresight
from actors.ledger import Ledger
from actors.messages import HZ, Overdue, Step
from actors.telling import told
from foundation.errors import UsageError
from world.world import World

__all__ = ["HeadlessRun", "VirtualClock"]


class VirtualClock:
    """A headless run's time: a tick is 1/20 s, however long it took."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class HeadlessRun:
    """Steps a world on a manual dispatcher. A mind's answer is admitted in the very tick it is due."""

    def __init__(
        self,
        ledger: Ledger,
        dispatcher: Dispatcher,
        clock: VirtualClock,
        director: pykka.ActorRef[Any],
        foresight: Foresight | None = None,
    ) -> None:
        self._ledger = ledger
        self._dispatcher = dispatcher
        self._clock = clock
        self._director = director
        self._foresight = foresight

    def live(self, ticks: int, on_tick: Callable[[World], bool | None] | None = None) -> int:
        """Live so many ticks; returns how many were lived. `on_tick` returning False ends it.

        Raises:
            UsageError: a tick could not be lived for `patience_s` seconds: storage or director fail.
        """
        lived = 0
        last = self._ledger.world.tick + ticks
        for _ in range(ticks):
            tick = self._ledger.world.tick + 1
            self._clock.now = tick / HZ
            self._dispatcher.pump()
            self._await_answers(tick, last)
            self._step_until(tick)
            lived += 1
            if on_tick is not None and on_tick(self._ledger.world) is False:
                break
        return lived

    def _await_answers(self, tick: int, last: int) -> None:
        questions = self._ledger.questions
        deadline = time.monotonic() + self._ledger.settings.patience_s
        while waited := questions.waited_for(tick):
            if self._dispatcher.is_down(self._director):
                return  # only the clock, which moves with the step, brings it back
            left = deadline - time.monotonic()
            for question in waited:
                if left <= 0 or self._is_down(question):
                    told(self._director, Overdue(question.token, question.stream))
            if self._dispatcher.pump():
                continue
            if self._foresight is not None:
                # To be busy is no reason to be late: the time spent here doesn't count against who is asked.
                began = time.monotonic()
                self._foresight.look(lambda: self._dispatcher.wait(0.0), last)
                deadline += time.monotonic() - began
            self._dispatcher.wait(min(max(left, 0.0), 0.5))
            self._dispatcher.pump()

    def _why(self) -> str:
        """What keeps a tick from being lived."""
        ledger = self._ledger
        if ledger.backlog and not ledger.storage_fault:
            return f"storage takes no more, {len(ledger.backlog)} ticks wait for it"
        return ledger.storage_fault or "the director does not come back"

    def _is_down(self, question: Question) -> bool:
        """Whether the one who is to answer waits for a restart, which no waiting here brings on."""
        ledger = self._ledger
        asked = {
            "speech": [ledger.minds.get(question.entity)],
            "decision": [ledger.minds.get(question.entity)],
            "plan": [ledger.coordinator, ledger.groups.get(question.entity)],
            "flood": [ledger.builder],
        }[question.kind]
        return any(ref is None or self._dispatcher.is_down(ref) for ref in asked)

    def _step_until(self, tick: int) -> None:
        """Step once; a director that fails and comes back, or waits for storage, tries again."""
        deadline = time.monotonic() + self._ledger.settings.patience_s
        while self._ledger.world.tick < tick:
            if not self._dispatcher.is_down(self._director):
                # Steps told to one who is down would all be lived at once when it comes back.
                tell_first(self._director, Step())
            self._dispatcher.pump()
            if self._ledger.world.tick >= tick:
                return
            if time.monotonic() > deadline:
                raise UsageError(f"tick {tick} could not be lived: {self._why()}")
            # Restarts wait on the virtual clock, which only ticks move.
            self._clock.now += 1.0 / HZ
            self._dispatcher.wait(0.005)
