"""Gathers calls that come one by one and hands them on together, with a bound on the wait."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

from models.timings import WAIT_S, Histogram

_log = logging.getLogger("greenroom.models")

Item = TypeVar("Item")


class Collector(Generic[Item]):
    """Hands items on in the order they came, `size` at a time or when the first waited `wait_s`.

    `send` is called on the collector's own thread with 1 to `size` items; what it raises is logged
    and counted. How many may wait is for whoever puts them in to bound; `withdraw` takes one out.
    """

    def __init__(
        self,
        send: Callable[[list[Item]], None],
        *,
        size: int = 10,
        wait_s: float = 0.005,
        name: str = "collector",
    ) -> None:
        if size < 1 or not 0.0 <= wait_s <= 60.0:
            raise ValueError(f"size {size} must be at least 1, wait_s {wait_s} from 0 to 60")
        self._send = send
        self._size = size
        self._wait_s = wait_s
        self._items: deque[tuple[float, Item]] = deque()
        self._changed = threading.Condition()
        self._open = True
        self._batches = 0
        self._sent = 0
        self._full = 0
        self._faults = 0
        self._waits = Histogram(WAIT_S)
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def put(self, item: Item) -> bool:
        """Take an item; False once closed. Never blocks."""
        with self._changed:
            if not self._open:
                return False
            self._items.append((time.monotonic(), item))
            if len(self._items) in (1, self._size):
                self._changed.notify()
            return True

    def withdraw(self, item: Item) -> bool:
        """Take an item back that has not been handed on; False when it has."""
        with self._changed:
            for entry in self._items:
                if entry[1] is item:
                    self._items.remove(entry)
                    return True
            return False

    def status(self) -> dict[str, object]:
        """Batches handed on, items in them, their mean, how many batches were full, and who waits.

        `wait_s` is how long items waited to be handed on (a `Histogram`).
        """
        with self._changed:
            return {
                "batches": self._batches,
                "items": self._sent,
                "mean_size": round(self._sent / self._batches, 2) if self._batches else 0.0,
                "full": self._full,
                "waiting": len(self._items),
                "faults": self._faults,
                "wait_s": self._waits.status(),
            }

    def close(self, timeout_s: float = 5.0) -> list[Item]:
        """Stop; returns what was not handed on. Waits for a `send` under way, `timeout_s` at most."""
        with self._changed:
            self._open = False
            left = [item for _, item in self._items]
            self._items.clear()
            self._changed.notify()
        if threading.current_thread() is not self._thread:
            self._thread.join(timeout_s)
        return left

    def _run(self) -> None:
        while batch := self._next():
            try:
                self._send(batch)
            except Exception:
                _log.exception("a batch of %d could not be handed on", len(batch))
                with self._changed:
                    self._faults += 1

    def _next(self) -> list[Item]:
        """Wait for a batch; [] when closed."""
        with self._changed:
            while self._open:
                if not self._items:
                    self._changed.wait()
                    continue
                left = self._items[0][0] + self._wait_s - time.monotonic()
                if left > 0 and len(self._items) < self._size:
                    self._changed.wait(left)
                    continue
                count = min(self._size, len(self._items))
                now = time.monotonic()
                batch = []
                for _ in range(count):
                    came, item = self._items.popleft()
                    self._waits.note(now - came)
                    batch.append(item)
                self._batches += 1
                self._sent += count
                self._full += count == self._size
                return batch
            return []
