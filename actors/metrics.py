"""What each kind of actor has done: counts, depths, the longest and the slow handlers."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Protocol

from actors import wording

__all__ = ["KindSnapshot", "KindStats", "Slow", "snapshot"]

MAX_NAMES = 64
"""Different slow handlers remembered for one kind of actor; later names count as "other"."""


@dataclass(frozen=True, slots=True)
class Slow:
    """A handler that ran over the bound: how often, and its longest run in milliseconds."""

    count: int
    longest_ms: float


@dataclass(frozen=True, slots=True)
class KindSnapshot:
    """Plain values about one kind of actor; `depth_max` is the deepest any mailbox has been."""

    kind: str
    alive: int
    handled: int
    depth_max: int
    queued: int
    longest_ms: float
    longest_handler: str
    slow: dict[str, Slow]
    failures: int
    restarts: int
    dropped: int
    rejected: int
    last_error: str


@dataclass(slots=True)
class KindStats:
    """The running counts of one kind; `handled`, `dropped` and `rejected` are those of its dead actors."""

    kind: str
    handled: int = 0
    longest_ns: int = 0
    longest_handler: str = ""
    slow: dict[str, tuple[int, int]] = field(default_factory=dict)
    failures: int = 0
    restarts: int = 0
    last_error: str = ""
    depth_max: int = 0
    dropped: int = 0
    rejected: int = 0
    looked: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def took(self, name: str, ns: int, slow_ns: int) -> None:
        """Note a handler's run that was the longest so far, or over the bound."""
        with self.lock:
            if ns > self.longest_ns:
                self.longest_ns = ns
                self.longest_handler = name
            if ns > slow_ns:
                if name not in self.slow and len(self.slow) >= MAX_NAMES:
                    name = "other"
                count, longest = self.slow.get(name, (0, 0))
                self.slow[name] = (count + 1, max(longest, ns))

    def failed(self, error: BaseException) -> str:
        """Note a failure; the text of the last one is kept, bounded, and returned."""
        with self.lock:
            self.failures += 1
            self.last_error = wording.of_error(error)
            return self.last_error

    def retired(self, handled: int, depth: int, dropped: int, rejected: int) -> None:
        """Keep what a closing mailbox has counted."""
        with self.lock:
            self.handled += handled
            self.depth_max = max(self.depth_max, depth)
            self.dropped += dropped
            self.rejected += rejected


class Counted(Protocol):
    """The part of a mailbox that counts."""

    @property
    def stats(self) -> KindStats: ...

    @property
    def handled(self) -> int: ...

    @property
    def high(self) -> int: ...

    @property
    def dropped(self) -> int: ...

    @property
    def rejected(self) -> int: ...

    def __len__(self) -> int: ...


def snapshot(kinds: Iterable[KindStats], mailboxes: Iterable[Counted]) -> dict[str, KindSnapshot]:
    """Join the kinds' counts with those of the mailboxes that are alive."""
    alive: dict[str, list[Counted]] = {}
    for mailbox in mailboxes:
        alive.setdefault(mailbox.stats.kind, []).append(mailbox)
    result = {}
    for stats in kinds:
        boxes = alive.get(stats.kind, [])
        with stats.lock:
            result[stats.kind] = KindSnapshot(
                kind=stats.kind,
                alive=len(boxes),
                handled=stats.handled + sum(box.handled for box in boxes),
                depth_max=max([stats.depth_max, *(max(box.high, len(box)) for box in boxes)]),
                queued=sum(len(box) for box in boxes),
                longest_ms=stats.longest_ns / 1e6,
                longest_handler=stats.longest_handler,
                slow={
                    name: Slow(count, longest / 1e6)
                    for name, (count, longest) in stats.slow.items()
                },
                failures=stats.failures,
                restarts=stats.restarts,
                dropped=stats.dropped + sum(box.dropped for box in boxes),
                rejected=stats.rejected + sum(box.rejected for box in boxes),
                last_error=stats.last_error,
            )
    return result
