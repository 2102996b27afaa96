"""Timers of a dispatcher: messages to be told later, in order of time, then of asking."""

from __future__ import annotations

import heapq
import itertools
import threading
from typing import Any

import pykka

from actors.errors import TooManyTimers

__all__ = ["Timer", "Timers"]


class Timer:
    """A message that is due at a time; `cancel` withdraws it."""

    __slots__ = ("cancelled", "due", "message", "order", "ref")

    def __init__(self, due: float, order: int, ref: pykka.ActorRef[Any], message: Any) -> None:
        self.due = due
        self.order = order
        self.ref = ref
        self.message = message
        self.cancelled = False

    def cancel(self) -> None:
        """Withdraw the message; harmless when it has already been told."""
        self.cancelled = True
        self.message = None

    def __lt__(self, other: Timer) -> bool:
        return (self.due, self.order) < (other.due, other.order)


class Timers:
    """A bounded heap of timers."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self.heap: list[Timer] = []
        self._order = itertools.count()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self.heap)

    @property
    def next_due(self) -> float | None:
        """When the first timer is due, on the dispatcher's clock; None without timers."""
        try:
            return self.heap[0].due
        except IndexError:
            return None

    def add(
        self, due: float, ref: pykka.ActorRef[Any], message: Any, *, vital: bool = False
    ) -> Timer:
        """Hold `message` for `ref` until `due`; a vital one is held past the bound, too.

        Raises:
            TooManyTimers: the bound is reached, cancelled ones not counted.
        """
        with self._lock:
            if len(self.heap) >= self._limit:
                self.heap[:] = [timer for timer in self.heap if not timer.cancelled]
                heapq.heapify(self.heap)
                if len(self.heap) >= self._limit and not vital:
                    raise TooManyTimers(f"{self._limit} timers are pending", "cancel some")
            timer = Timer(due, next(self._order), ref, message)
            heapq.heappush(self.heap, timer)
            return timer

    def again(self, timer: Timer, due: float) -> None:
        """Hold a timer that was taken out until `due`, bound or no bound: it has had its place."""
        with self._lock:
            timer.due = due
            heapq.heappush(self.heap, timer)

    def due(self, now: float) -> list[Timer]:
        """Take out what is due at `now`, in order."""
        taken: list[Timer] = []
        with self._lock:
            while self.heap and self.heap[0].due <= now:
                timer = heapq.heappop(self.heap)
                if not timer.cancelled:
                    taken.append(timer)
        return taken

    def clear(self) -> None:
        """Forget all of them."""
        with self._lock:
            self.heap.clear()
